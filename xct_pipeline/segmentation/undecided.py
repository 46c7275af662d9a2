"""Where in a block a watershed may have anything to decide.

Most of a sample is the inside of materials. Where neighbours differ by less than a steep gradient needs, every voxel is
a marker with the class of its value, so that only the rest is looked at any closer.
"""

from __future__ import annotations

import math

import numpy as np
import scipy

from xct_pipeline.boxes import Region
from xct_pipeline.compiled import empty, njit
from xct_pipeline.device import Array
from xct_pipeline.segmentation.tiles import TILE, boxes_of
from xct_pipeline.smoothing import gaussian_reach, gaussian_taps

SAFE = 0.999  # of a bound, for rounding


def undecided_boxes(block: Array, core: Region, *, sigma: float, edge: float, filled: int, margin: int) -> list[Region]:
    """Return boxes that hold all voxels of a block that may be steep.

    Parameters
    ----------
    block : float32 array (z, y, x)
        1/cm; NaN where there are no data, which are continued from values within `filled` voxels.
    core : tuple of slice
        What the boxes lie in.
    sigma : float
        Of the Gaussian whose derivatives make the gradient, voxels.
    edge : float
        Gradient of a steep voxel, 1/cm per voxel.
    margin : int
        Voxels around a box that are looked at with it: a few large boxes may be better than many small ones.
    """
    slope, reach = gaussian_taps(sigma)[1].astype(np.float64), gaussian_reach(sigma)
    low, high, steps, gaps = _bounds(np.ascontiguousarray(block, np.float32))
    # a derivative of a Gaussian is a sum of differences of neighbours, whose weights add up to this ...
    bound = 2 * float(slope @ np.arange(len(slope))) * np.sqrt(sum(_most(step, reach) ** 2 for step in steps))
    # ... and of differences of values between two bounds, which holds for what gaps are filled with, too
    far = reach + filled
    spread = math.sqrt(3) * float(slope.sum()) * (_most(high, far) + _most(-low, far))
    busy = np.where(_most(gaps, reach) > 0, spread, bound) >= SAFE * edge
    return boxes_of(busy, core, margin)


def _most(values: Array, reach: int) -> Array:
    """Return the largest value of the tiles within some voxels of each."""
    return np.asarray(scipy.ndimage.maximum_filter(values, 2 * -(-reach // TILE) + 1, mode="nearest"))


def _bounds(block: Array) -> tuple[Array, Array, Array, Array]:
    """Return of each tile the least and the largest value, the largest steps along z, y, x, and 1 where one is NaN."""
    counts = [-(-n // TILE) for n in block.shape]
    found = np.zeros((6, *counts), np.float32)
    found[0], found[1] = np.inf, -np.inf
    _find_bounds(block, found)
    return found[0], found[1], found[2:5], found[5]


@njit
def _find_bounds(block: Array, found: Array) -> None:
    nz, ny, nx = block.shape
    low, high, gap = empty(nx, np.float32), empty(nx, np.float32), empty(nx, np.float32)
    along_z, along_y, along_x = empty(nx, np.float32), empty(nx, np.float32), empty(nx, np.float32)
    for i in range(found.shape[1]):
        for j in range(found.shape[2]):
            low[:], high[:], gap[:] = np.float32(np.inf), np.float32(-np.inf), np.float32(0)
            along_z[:], along_y[:], along_x[:] = np.float32(0), np.float32(0), np.float32(0)
            for z in range(i * TILE, min((i + 1) * TILE, nz)):
                for y in range(j * TILE, min((j + 1) * TILE, ny)):
                    row = block[z, y]
                    _widen(row, low, high, gap)
                    _raise_to(row, block[min(z + 1, nz - 1), y], along_z)
                    _raise_to(row, block[z, min(y + 1, ny - 1)], along_y)
                    _raise_to(row[: nx - 1], row[1:], along_x)
            for x in range(nx):
                k = x // TILE
                found[0, i, j, k] = min(found[0, i, j, k], low[x])
                found[1, i, j, k] = max(found[1, i, j, k], high[x])
                found[2, i, j, k] = max(found[2, i, j, k], along_z[x])
                found[3, i, j, k] = max(found[3, i, j, k], along_y[x])
                found[4, i, j, k] = max(found[4, i, j, k], along_x[x])
                found[5, i, j, k] = max(found[5, i, j, k], gap[x])


@njit(inline="always")
def _widen(row: Array, low: Array, high: Array, gap: Array) -> None:
    for x in range(len(row)):
        value = row[x]
        low[x] = value if value < low[x] else low[x]
        high[x] = value if value > high[x] else high[x]
        gap[x] = gap[x] if value == value else np.float32(1)


@njit(inline="always")
def _raise_to(row: Array, other: Array, most: Array) -> None:
    """Raise what is known as the largest difference between two rows; NaN counts for nothing."""
    for x in range(len(row)):
        step = abs(other[x] - row[x])
        most[x] = step if step > most[x] else most[x]
