"""The part of an image that mass is measured on: read at the size of a picture, with its mask and its place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xct_pipeline.config import RegionOfMass
from xct_pipeline.region import place_region
from xct_pipeline.report.contents import AbsentError, Array, Contents, Level, open_level
from xct_pipeline.store.image import CHUNK

COARSE = 128
MARGIN = 0.04


@dataclass(frozen=True)
class Part:
    """The box around the region of one plane along t.

    Attributes
    ----------
    values, inside : numpy.ndarray
        (z, y, x) numbers, 0 where unknown or outside, and where the region is.
    level : Level
    window : tuple of slice
        Of the level's voxels that were read, thinned.
    step : float
        Edge of a voxel in the level's unit of length.
    origin : numpy.ndarray
        (z, y, x) middle of the first voxel from the corner of the volume.
    """

    values: Array
    inside: Array
    level: Level
    window: tuple[slice, ...]
    step: float
    origin: Array


def read_part(contents: Contents, path: str, t: int, side: int) -> Part:
    """Read the region's box of an image with at most `side` voxels along an axis, from the finest level that gives it.

    Raises
    ------
    AbsentError
        No such image, or no such plane.
    """
    coarse = open_level(contents, path, COARSE, t)
    whole = tuple(slice(0, n) for n in coarse.shape)
    box = _bounds(region_mask(contents, coarse, whole))
    widest = max(s.stop - s.start for s in box) * coarse.factor
    fine = open_level(contents, path, max(1, side * max(coarse.full) // widest), t)
    ratio = coarse.factor / fine.factor
    window = tuple(
        slice(min(int(s.start * ratio), n - 1), min(math.ceil(s.stop * ratio), n))
        for s, n in zip(box, fine.shape, strict=True)
    )
    stride = max(1, math.ceil(max(s.stop - s.start for s in window) / side))
    window = tuple(slice(s.start, s.stop, stride) for s in window)
    values = _read(fine, window)
    inside = region_mask(contents, fine, window) & np.isfinite(values)
    origin = np.array([(s.start + 0.5) * fine.step for s in window])
    return Part(np.where(inside, values, 0), inside, fine, window, fine.step * stride, origin)


def _read(level: Level, window: tuple[slice, ...]) -> Array:
    """Read a thinned window slab by slab."""
    z, y, x = window
    stride = z.step or 1
    thick = max(CHUNK // stride, 1) * stride
    parts = [
        level.read(slice(start, min(start + thick, z.stop)), slice(y.start, y.stop), slice(x.start, x.stop))
        for start in range(z.start, z.stop, thick)
    ]
    return np.concatenate([part[::stride, ::stride, ::stride] for part in parts])


def region_mask(contents: Contents, level: Level, window: Sequence[slice]) -> Array:
    """Return the region of the mass as bool on a window of a level; everywhere where the configuration names none.

    Raises
    ------
    AbsentError
        The labels or the painted mask are not there.
    """
    part = tuple(slice(*s.indices(n)) for s, n in zip(window, level.shape, strict=True))
    table = (contents.config.get("variation") or {}).get("region")
    if not table:
        return np.ones([len(range(s.start, s.stop, s.step)) for s in part], bool)
    frame = (level.full[0], level.full[1], level.full[2])
    try:
        region = place_region(RegionOfMass.model_validate(table), frame, contents.store, contents.reference)
        return region.box(part, level.factor.bit_length() - 1)
    except ValueError as error:
        raise AbsentError(f"variation.region: {error}") from None


def _bounds(region: Array) -> tuple[slice, ...]:
    """Return the box around a region, with a margin; all of it where it is empty."""
    if not region.any():
        return tuple(slice(0, n) for n in region.shape)
    box = []
    for axis, n in enumerate(region.shape):
        there = np.flatnonzero(region.any(axis=tuple(k for k in range(region.ndim) if k != axis)))
        margin = max(1, round(MARGIN * (there[-1] - there[0])))
        box.append(slice(max(0, int(there[0]) - margin), min(n, int(there[-1]) + 1 + margin)))
    return tuple(box)


def smoothed(part: Part, sigma: float) -> Array:
    """Average a part over neighbours inside the region, with a Gaussian of `sigma` voxels; 0 outside."""
    from scipy import ndimage

    weight = ndimage.gaussian_filter(part.inside.astype(np.float32), sigma)
    mean = ndimage.gaussian_filter(part.values.astype(np.float32), sigma) / np.maximum(weight, 0.05)
    return np.where(part.inside, mean, np.float32(0))
