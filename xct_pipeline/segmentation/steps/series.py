"""The registered series as the stage works on it: its facts, and boxes of it that reductions read."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from xct_pipeline.boxes import Region, cut, inside, widen
from xct_pipeline.engine.blocks import Array, ImageSource, Reduction
from xct_pipeline.engine.execution import image_identity
from xct_pipeline.registration.steps import stage as registration
from xct_pipeline.registration.steps.stage import PATH, Registered
from xct_pipeline.store.store import Store

VERSION = 6  # of every operation and reduction of the stage
GRANULE = registration.GRANULE
FINE_GRANULE = (64, 128, 128)  # of the classifier, whose features take twenty times the memory of a block


@dataclass(frozen=True)
class Facts(Registered):
    """The series to label; scans that failed get the label 0.

    Attributes
    ----------
    times_s : tuple of float or None
    """

    times_s: tuple[float | None, ...]


@dataclass(frozen=True)
class BoxSource:
    """Reads boxes (1, z, y, x) of a series as (z, y, x), with a halo that is clipped to the frame."""

    image: ImageSource
    halo: tuple[int, int, int] = (0, 0, 0)

    def span(self, region: Region) -> Region:
        """Return the voxels (z, y, x) that are read for a region."""
        return widen(region[1:], self.halo, self.image.shape[1:])

    def core(self, region: Region) -> Region:
        """Return the region without its halo, in indices of what is read."""
        return inside(self.span(region), region[1:])

    def read(self, region: Region) -> Array:
        """Read a box."""
        return np.asarray(self.image.read((region[0], *self.span(region)))[0])

    def nbytes(self, region: Region) -> int:
        """Return the bytes of reading it."""
        return int(self.image.nbytes((region[0], *self.span(region))))


def box_source(
    facts: Facts, store: Store, path: str, itemsize: int = 1, halo: int | tuple[int, int, int] = 0
) -> BoxSource:
    """Return a source of boxes of an image (t, z, y, x) of the series, which need not be there yet."""
    return BoxSource(series_source(facts, store, path, itemsize), (halo,) * 3 if isinstance(halo, int) else halo)


def series_source(facts: Facts, store: Store, path: str, itemsize: int) -> ImageSource:
    """Return a source of an image (t, z, y, x) of the series, which need not be there yet."""
    return ImageSource(str(store.path / path / "0"), (len(facts.names), *facts.volume.shape), itemsize)


def voxels(facts: Facts) -> float:
    """Return the voxels of all scans that are there."""
    return float(len(facts.good) * np.prod(facts.volume.shape))


def box_step(
    name: str,
    chunk: Any,
    combine: Any,
    source: BoxSource,
    facts: Facts,
    scratch: float,
    rate: float,
    parameters: Mapping[str, Any] | None = None,
    regions: Sequence[Region] | None = None,
) -> Reduction:
    """Return a reduction over boxes of all scans, each scan's by itself.

    Parameters
    ----------
    scratch : float
        Memory of a chunk beyond what it reads, as a multiple of that, measured.
    rate : float
        Voxels per CPU-second.
    regions : sequence of Region, optional
        All boxes by default.
    """
    regions = boxes(facts) if regions is None else regions
    return Reduction(
        f"segmentation/{name}",
        VERSION,
        chunk,
        partial(by_scan, regions=regions, combine=combine),
        parameters or {},
        source=source,
        regions=regions,
        scratch=scratch,
        cpu_s=voxels(facts) / rate,
    )


def boxes(facts: Facts, planes: range | None = None) -> list[Region]:
    """Cut the volumes of all good scans into boxes of one grid; only those that touch `planes`, where given."""
    return [
        (slice(t, t + 1), *box)
        for t in facts.good
        for box in cut(tuple(slice(0, n) for n in facts.volume.shape), GRANULE)
        if planes is None or (box[0].start < planes.stop and box[0].stop > planes.start)
    ]


def sampled_boxes(facts: Facts, most: float) -> list[Region]:
    """Draw eighths of the boxes of all good scans, as many of each, that hold about `most` voxels together.

    The draw follows from the shape and the number of a scan alone.
    """
    shape = facts.volume.shape
    eighths = list(cut(tuple(slice(0, n) for n in shape), tuple(n // 2 for n in GRANULE)))
    count = min(len(eighths), math.ceil(len(eighths) * most / voxels(facts)))
    drawn = {t: np.random.default_rng([t, *shape]).permutation(len(eighths))[:count] for t in facts.good}
    return [(slice(t, t + 1), *eighths[k]) for t, chosen in drawn.items() for k in np.sort(chosen)]


def by_scan(
    partials: list[dict[str, Array]], regions: Sequence[Region], combine: Callable[[list[dict[str, Array]]], Any]
) -> dict[str, Array]:
    """Combine the partial results of each scan on their own; keys are ``t0_...``."""
    found: dict[str, Array] = {}
    for t in dict.fromkeys(region[0].start for region in regions):
        mine = [part for part, region in zip(partials, regions, strict=True) if region[0].start == t]
        found |= {f"t{t}_{key}": value for key, value in combine(mine).items()}
    return found


def of_scan(found: Mapping[str, Array], t: int) -> dict[str, Array]:
    """Return what `by_scan` found for one scan."""
    start = f"t{t}_"
    return {key.removeprefix(start): value for key, value in found.items() if key.startswith(start)}


def inputs_of(store: Store, *paths: str) -> dict[str, str]:
    """Return what identifies the registered series and other images."""
    return {path: image_identity(store, path) for path in (PATH, *paths)}
