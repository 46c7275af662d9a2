"""Sums of a change of density over regions, block by block.

Every measure has the same three steps: a ``*_sums`` function turns one block into a `Sums` (float64 totals and
counts over a box of the result), `merge` adds two of them, and a plain function turns the merged sums into
mg/cm2, mg or a mean. Totals are float64, so the size of the blocks changes them by about 1e-15.

Volumes are (z, y, x), `offset` is the index of a block's first voxel in the frame, densities g/cm3, lengths
micrometre. Blocks may be numpy or CuPy arrays; `Sums` always hold numpy arrays.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from xct_pipeline.device import Array, array_namespace, to_host

Index = tuple[int, ...]
UM_TO_CM = 1e-4


def change(reference: Array, moving: Array) -> Any:
    """Change from one scan to another, ``moving - reference``; swapping the two flips the sign exactly."""
    return moving - reference


def check_not_empty(voxels: int, region: str) -> None:
    """Raise ValueError where a region turned out to hold no voxel at all."""
    if voxels == 0:
        raise ValueError(f"region {region} holds no voxel: nothing can be summed over it")


# Sums ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sums:
    """Totals and counts over a box of cells (pixels of a map, bins, labels, depths).

    Attributes
    ----------
    origin : tuple of int
        Index of the first cell in the whole result.
    total : numpy.ndarray of float64
        Sum of the values that fell into each cell.
    count : numpy.ndarray of int64
        How many did.
    """

    origin: Index
    total: npt.NDArray[np.float64]
    count: npt.NDArray[np.int64]

    def full(self, shape: Index) -> Sums:
        """Return the same sums over all cells from 0 to `shape`, zero where nothing fell."""
        return merge(self, Sums((0,) * len(shape), np.zeros(shape), np.zeros(shape, np.int64)))

    @property
    def mean(self) -> npt.NDArray[np.float64]:
        """Mean per cell, NaN in empty cells."""
        return np.where(self.count > 0, self.total / np.maximum(self.count, 1), np.nan)


def merge(a: Sums, b: Sums) -> Sums:
    """Add two sums over (possibly different) boxes of cells; the result covers both."""
    ends = [np.add(s.origin, s.total.shape) for s in (a, b)]
    origin = np.minimum(a.origin, b.origin)
    shape = np.maximum(*ends) - origin
    total, count = np.zeros(shape), np.zeros(shape, np.int64)
    for part in (a, b):
        cells = tuple(slice(o - f, o - f + n) for o, f, n in zip(part.origin, origin, part.total.shape, strict=True))
        total[cells] += part.total
        count[cells] += part.count
    return Sums(tuple(int(o) for o in origin), total, count)


def areal_sums(values: Array, mask: Array, offset: Index) -> Sums:
    """Sum of a block's values inside `mask` along z, per (y, x) of the frame."""
    xp = array_namespace(values)
    total = xp.where(mask, values, 0).sum(axis=0, dtype=xp.float64)
    return Sums(offset[1:], to_host(total), to_host(mask.sum(axis=0)).astype(np.int64))


def bin_sums(values: Array, mask: Array, offset: Index, size: Index) -> Sums:
    """Sum of a block's values inside `mask` per bin of `size` (z, y, x) voxels, counted from voxel 0.

    Bins need not divide the block or the frame: a bin cut by a block's face gets its parts from both.
    """
    xp = array_namespace(values)
    total = xp.where(mask, values, 0).astype(xp.float64)
    count = mask.astype(xp.int64)
    origin = tuple(o // s for o, s in zip(offset, size, strict=True))
    for axis in range(values.ndim):
        first = offset[axis] - origin[axis] * size[axis]
        n = -(-(first + values.shape[axis]) // size[axis])
        pad = [(0, 0)] * values.ndim
        pad[axis] = (first, n * size[axis] - first - values.shape[axis])
        split = (*total.shape[:axis], n, size[axis], *total.shape[axis + 1 :])
        total = xp.pad(total, pad).reshape(split).sum(axis=axis + 1)
        count = xp.pad(count, pad).reshape(split).sum(axis=axis + 1)
    return Sums(origin, to_host(total), to_host(count))


def bin_index(offset: Index, shape: Index, size: Index, counts: Index, *, xp: ModuleType = np) -> Any:
    """Number of the bin (in C order) of each voxel of a block; bins of `size` voxels are counted from voxel 0.

    Parameters
    ----------
    offset, shape : (z, y, x)
        The block.
    size : (z, y, x)
        Voxels per bin.
    counts : (z, y, x)
        Number of bins of the frame.
    """
    z, y, x = (xp.arange(o, o + n) // s for o, n, s in zip(offset, shape, size, strict=True))
    return (z[:, None, None] * counts[1] + y[:, None]) * counts[2] + x


def region_sums(values: Array, mask: Array) -> Sums:
    """Sum of a block's values inside `mask`, as one cell."""
    xp = array_namespace(values)
    total = to_host(xp.where(mask, values, 0).sum(dtype=xp.float64))
    return Sums((0,), np.array([float(total)]), np.array([int(mask.sum())]))


# Coordinates of profiles --------------------------------------------------------------------------------


def surface_heights(ceramic: Array, offset: Index, *, upward: bool = True) -> Sums:
    """Highest ceramic voxel of a block per (y, x), merged with `merge_surface`.

    Parameters
    ----------
    ceramic : array of bool, (z, y, x)
        Voxels of the ceramic; small islands should be removed before.
    offset : (z, y, x)
        Index of the first voxel.
    upward : bool
        The anode lies at larger z than the ceramic. False: the lowest voxel counts.

    Returns
    -------
    Sums
        `total` is the z index of that voxel, `count` 1 where the column meets ceramic and 0 elsewhere.
    """
    xp = array_namespace(ceramic)
    found = ceramic.any(axis=0)
    step = xp.argmax(ceramic[::-1] if upward else ceramic, axis=0)
    z = offset[0] + (ceramic.shape[0] - 1 - step if upward else step)
    return Sums(offset[1:], to_host(xp.where(found, z, 0)).astype(np.float64), to_host(found).astype(np.int64))


def merge_surface(a: Sums, b: Sums, *, upward: bool = True) -> Sums:
    """Combine the surfaces of two blocks: the higher one (the lower one unless `upward`) wins."""
    low = tuple(np.minimum(a.origin, b.origin))
    end = np.maximum(np.add(a.origin, a.total.shape), np.add(b.origin, b.total.shape))
    shape = tuple(end - low)
    height, found = np.full(shape, -np.inf if upward else np.inf), np.zeros(shape, np.int64)
    for part in (a, b):
        cells = tuple(slice(o - f, o - f + n) for o, f, n in zip(part.origin, low, part.total.shape, strict=True))
        known = np.where(part.count > 0, part.total, -np.inf if upward else np.inf)
        height[cells] = (np.maximum if upward else np.minimum)(height[cells], known)
        found[cells] |= part.count
    return Sums(tuple(int(o) for o in low), np.where(found > 0, height, 0.0), found)


def depth_index(
    surface: npt.NDArray[np.float64],
    offset: Index,
    shape: Index,
    *,
    upward: bool = True,
    xp: ModuleType = np,
    cosine: npt.NDArray[np.float64] | None = None,
) -> Any:
    """Depth of each voxel of a block in the anode, in voxels from the local ceramic surface.

    0 is the first voxel beyond the ceramic, negative values lie in it. The distance along z is multiplied by
    the cosine of the surface's slope (smoothed over 5 pixels), which makes it the distance along the normal.

    Parameters
    ----------
    surface : numpy.ndarray, (y, x) of the frame
        z index of the ceramic's last voxel per column, NaN where a column has none.
    offset, shape : (z, y, x)
        The block.
    cosine : numpy.ndarray, (y, x) of the frame, optional
        From `surface_cosine`, where it is wanted for more than one block.

    Returns
    -------
    array of int64, (z, y, x)
        -1 - (a large number) where the column has no ceramic.
    """
    cosine = surface_cosine(surface) if cosine is None else cosine
    cells = tuple(slice(o, o + n) for o, n in zip(offset[1:], shape[1:], strict=True))
    height, cosine = xp.asarray(surface[cells]), xp.asarray(cosine[cells])
    z = xp.arange(offset[0], offset[0] + shape[0], dtype=xp.float64)[:, None, None]
    distance = (z - height if upward else height - z) - 1
    depth = xp.floor(distance * cosine + 1e-9)
    return xp.where(xp.isfinite(depth), depth, -(2**31)).astype(xp.int64)


def surface_cosine(surface: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the cosine of a surface's slope (y, x), smoothed over 5 pixels; see `depth_index`."""
    from scipy.ndimage import uniform_filter

    known = np.isfinite(surface)
    weight = uniform_filter(known.astype(np.float64), 5)
    smooth = uniform_filter(np.where(known, surface, 0.0), 5) / np.maximum(weight, 1e-12)
    smooth = np.where(weight > 1e-6, smooth, np.nanmean(surface) if known.any() else 0.0)
    gy, gx = np.gradient(smooth)
    result: npt.NDArray[np.float64] = 1 / np.sqrt(1 + gy**2 + gx**2)
    return result


def radial_index(frame: Index, offset: Index, shape: Index, *, width: float = 1.0, xp: ModuleType = np) -> Any:
    """Shell number of each voxel of a block: distance from the frame's axis over `width` (voxels), floored."""
    y = xp.arange(offset[1], offset[1] + shape[1]) - (frame[1] - 1) / 2
    x = xp.arange(offset[2], offset[2] + shape[2]) - (frame[2] - 1) / 2
    index = xp.floor(xp.sqrt(y[:, None] ** 2 + x[None, :] ** 2) / width).astype(xp.int64)
    return xp.broadcast_to(index, shape)


# Results ------------------------------------------------------------------------------------------------


def areal_map(sums: Sums, voxel_size_um: float) -> npt.NDArray[np.float64]:
    """Areal change of mass, mg/cm2, from `areal_sums` of a density; NaN where the region has no voxel."""
    return np.where(sums.count > 0, sums.total * voxel_size_um * UM_TO_CM * 1e3, np.nan)


def mass_mg(sums: Sums, voxel_size_um: float) -> npt.NDArray[np.float64]:
    """Change of mass per cell, mg, from sums of a density."""
    return sums.total * (voxel_size_um * UM_TO_CM) ** 3 * 1e3


def area_cm2(sums: Sums, voxel_size_um: float) -> float:
    """Area of the region seen along z, cm2, from `areal_sums`."""
    return float(np.count_nonzero(sums.count)) * (voxel_size_um * UM_TO_CM) ** 2
