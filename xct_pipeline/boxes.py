"""Boxes of voxels, as one slice along each axis: their size, their margins, their parts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

Region = tuple[slice, ...]


def size_of(region: Region) -> int:
    """Return the number of elements of a region."""
    return math.prod(part.stop - part.start for part in region)


def widen(region: Region, halo: Sequence[int], frame: Sequence[int]) -> Region:
    """Return a region with a margin on both sides, clipped to the frame."""
    return tuple(
        slice(max(0, part.start - margin), min(n, part.stop + margin))
        for part, margin, n in zip(region, halo, frame, strict=True)
    )


def around(region: Region, margin: int, frame: Sequence[int]) -> Region:
    """Return a region with the same margin along every axis, clipped to the frame."""
    return widen(region, (margin,) * len(region), frame)


def cut(region: Region, sizes: Sequence[int], offsets: Sequence[int] | None = None) -> Iterator[Region]:
    """Cut a region at multiples of a size along each axis, counted from `offsets` before the frame's first voxel."""
    cuts = []
    for part, size, offset in zip(region, sizes, offsets or (0,) * len(sizes), strict=True):
        first, last = (part.start + offset) // size, (part.stop - 1 + offset) // size
        edges = [max(part.start, k * size - offset) for k in range(first, last + 1)]
        ends = [*edges[1:], part.stop]
        cuts.append([slice(a, b) for a, b in zip(edges, ends, strict=True)] if part.stop > part.start else [])
    return itertools.product(*cuts)


def inside(outer: Region, inner: Region) -> Region:
    """Return the slices that cut `inner` out of a block that covers `outer`."""
    return tuple(slice(b.start - a.start, b.stop - a.start) for a, b in zip(outer, inner, strict=True))
