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
    """Look at eight rows at a time: with few rows in a loop, and one that is written, it is done in vectors."""
    nz, ny, nx = block.shape
    low, high, gap = empty(nx, np.float32), empty(nx, np.float32), empty(nx, np.float32)
    along_z, along_y, along_x = empty(nx, np.float32), empty(nx, np.float32), empty(nx, np.float32)
    for i in range(found.shape[1]):
        for j in range(found.shape[2]):
            low[:], high[:], gap[:] = np.float32(np.inf), np.float32(-np.inf), np.float32(0)
            along_z[:], along_y[:], along_x[:] = np.float32(0), np.float32(0), np.float32(0)
            y, last = j * TILE, ny - 1
            for z in range(i * TILE, min((i + 1) * TILE, nz)):
                here, above = block[z], block[min(z + 1, nz - 1)]
                # where the block ends its last row stands for those beyond, from which it does not differ
                t, u, v = min(y + 1, last), min(y + 2, last), min(y + 3, last)
                p, q, r, s = min(y + 4, last), min(y + 5, last), min(y + 6, last), min(y + 7, last)
                a, b, c, d, e, f, g, h = here[y], here[t], here[u], here[v], here[p], here[q], here[r], here[s]
                _lower_to(a, b, c, d, e, f, g, h, low)
                _raise_to(a, b, c, d, e, f, g, h, high)
                _note_gaps(a, b, c, d, e, f, g, h, gap)
                _raise_to_steps(a, above[y], b, above[t], c, above[u], d, above[v], along_z)
                _raise_to_steps(e, above[p], f, above[q], g, above[r], h, above[s], along_z)
                _raise_to_steps(a, b, b, c, c, d, d, e, along_y)
                _raise_to_steps(e, f, f, g, g, h, h, here[min(y + 8, last)], along_y)
                _raise_to_steps(a, a[1:], b, b[1:], c, c[1:], d, d[1:], along_x[: nx - 1])
                _raise_to_steps(e, e[1:], f, f[1:], g, g[1:], h, h[1:], along_x[: nx - 1])
            for x in range(nx):
                k = x // TILE
                found[0, i, j, k] = min(found[0, i, j, k], low[x])
                found[1, i, j, k] = max(found[1, i, j, k], high[x])
                found[2, i, j, k] = max(found[2, i, j, k], along_z[x])
                found[3, i, j, k] = max(found[3, i, j, k], along_y[x])
                found[4, i, j, k] = max(found[4, i, j, k], along_x[x])
                found[5, i, j, k] = max(found[5, i, j, k], gap[x])


@njit(inline="always")
def _less(value: np.float32, other: np.float32) -> np.float32:
    """Return the lesser of two values, the second where the first is NaN."""
    return value if value < other else other


@njit(inline="always")
def _more(value: np.float32, other: np.float32) -> np.float32:
    """Return the larger of two values, the second where the first is NaN."""
    return value if value > other else other


@njit(inline="always")
def _lower_to(a: Array, b: Array, c: Array, d: Array, e: Array, f: Array, g: Array, h: Array, low: Array) -> None:
    """Lower what is known as the least values to those of eight rows; NaN counts for nothing."""
    for x in range(len(low)):
        least = _less(d[x], _less(c[x], _less(b[x], _less(a[x], low[x]))))
        low[x] = _less(h[x], _less(g[x], _less(f[x], _less(e[x], least))))


@njit(inline="always")
def _raise_to(a: Array, b: Array, c: Array, d: Array, e: Array, f: Array, g: Array, h: Array, high: Array) -> None:
    for x in range(len(high)):
        most = _more(d[x], _more(c[x], _more(b[x], _more(a[x], high[x]))))
        high[x] = _more(h[x], _more(g[x], _more(f[x], _more(e[x], most))))


@njit(inline="always")
def _note_gaps(a: Array, b: Array, c: Array, d: Array, e: Array, f: Array, g: Array, h: Array, gap: Array) -> None:
    for x in range(len(gap)):
        one = (a[x] != a[x]) | (b[x] != b[x]) | (c[x] != c[x]) | (d[x] != d[x])
        other = (e[x] != e[x]) | (f[x] != f[x]) | (g[x] != g[x]) | (h[x] != h[x])
        gap[x] = np.float32(1) if one | other else gap[x]


@njit(inline="always")
def _raise_to_steps(
    a: Array, b: Array, c: Array, d: Array, e: Array, f: Array, g: Array, h: Array, most: Array
) -> None:
    """Raise what is known as the largest difference between rows to that of four pairs; NaN counts for nothing."""
    for x in range(len(most)):
        step = _more(abs(b[x] - a[x]), _more(abs(d[x] - c[x]), most[x]))
        most[x] = _more(abs(f[x] - e[x]), _more(abs(h[x] - g[x]), step))
