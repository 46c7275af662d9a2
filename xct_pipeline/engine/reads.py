"""Boxes of images that several computations of one task need, read once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Iterator
from contextvars import ContextVar
from typing import Any

import numpy.typing as npt

from xct_pipeline.boxes import Region, inside

Array = npt.NDArray[Any]
_kept: ContextVar[list[tuple[Hashable, Region, Array]] | None] = ContextVar("boxes read by this task", default=None)


@contextlib.contextmanager
def once() -> Iterator[None]:
    """Keep what is read meanwhile: a box inside of one that was read is cut out of that, and must not be written to."""
    token = _kept.set([])
    try:
        yield
    finally:
        _kept.reset(token)


def box(image: Hashable, region: Region, read: Callable[[Region], Array]) -> Array:
    """Return a box of an image: cut out of a larger one that is kept, else read."""
    kept = _kept.get()
    for other, wide, block in kept or ():
        if other == image and all(w.start <= r.start and r.stop <= w.stop for w, r in zip(wide, region, strict=True)):
            return block[inside(wide, region)]
    block = read(region)
    if kept is not None:
        kept.append((image, region, block))
    return block
