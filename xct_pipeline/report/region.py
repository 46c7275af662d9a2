"""The part of an image that mass is measured on: read at the size of a picture, with its mask and its place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xct_pipeline.report.contents import Array, Contents, Level, label_names, open_level
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
    """Return the region of the mass as bool on a window of a level; everywhere where the configuration names none."""
    region = (contents.config.get("variation") or {}).get("region") or {}
    z, y, x = (level.positions(axis)[s] for axis, s in enumerate(window))
    inside = np.ones((len(z), len(y), len(x)), bool)
    if cylinder := region.get("cylinder"):
        centre = [(n - 1) / 2 for n in level.full]
        disc = np.hypot((y - centre[1])[:, None], (x - centre[2])[None, :]) <= cylinder["radius"]
        inside &= _between(z, cylinder["z"])[:, None, None] & disc
    if box := region.get("box"):
        inside &= _between(z, box["z"])[:, None, None] & _between(y, box["y"])[:, None] & _between(x, box["x"])
    if label := region.get("label"):
        materials = open_level(contents, "registered/labels/materials", max(level.shape), contents.reference)
        values = [int(k) for k, name in label_names(materials).items() if name == label]
        whole = tuple(slice(s.start, s.stop, s.step or 1) for s in window)
        inside &= np.isin(_read(materials, whole), values)
    return inside


def _between(centres: Array, span: Sequence[int]) -> Array:
    return np.asarray((centres >= span[0] - 0.5) & (centres < span[1] - 0.5))


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
