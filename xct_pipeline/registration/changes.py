"""Smooth changes of grey value between two aligned volumes, found in flat parts and carried to the faces between them.

Where what lies at a face changes, so does the step there: matched as it stands, the face seems to have moved by about
half the change over the step, in widths of the edge, and every sample of the face agrees on it. But on the whole way
through such a face the difference of the two volumes is a straight function of their grey value, which the flat parts
on either side fix without knowing where the face is. So both are averaged over the flat voxels around, and a line
through the averages says what to expect in between.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from xct_pipeline.compiled import njit, zeros
from xct_pipeline.device import Array

Changes = NDArray[np.float32]
"""(2, cells along z, y, x): the difference that is expected, ``[0] + [1] * (mean of both volumes)``; no cells: none"""

CELL = 4  # voxels a side, on which the averages are taken
_REACH = 1.0  # cells: standard deviation of the averages' window
_FEW = 0.125  # flat voxels a cell, that many agreeing on no change are assumed beside those found
_STEEPEST = 0.5  # of the line; beyond it the two volumes show different things
_SUMS = 6
_TINY = 1e-30

NONE: Changes = np.zeros((2, 0, 0, 0), np.float32)


@njit
def sum_flat(reference: Array, residual: Array, flat: float) -> Any:
    """Sum the flat voxels of a slab by cells, the first of which begins with the slab.

    Parameters
    ----------
    reference : (nz + 2, ny, nx), with one more plane on each side
    residual : (nz, ny, nx), reference minus calibrated moving volume, NaN without data
    flat : gradient at which a voxel counts half, 1/cm per voxel

    Returns
    -------
    float64 (cells along z, y, x, 6): of the weight, the residual r, the mean of both volumes s, r s, s^2 and r^2.
    """
    nz, ny, nx = residual.shape
    out = zeros(((nz - 1) // CELL + 1, (ny - 1) // CELL + 1, (nx - 1) // CELL + 1, _SUMS), np.float64)
    inverse = 0.25 / (flat * flat)  # the differences below span two voxels
    for z in range(nz):
        for y in range(1, ny - 1):
            row = out[z // CELL, y // CELL]
            for x in range(1, nx - 1):
                gz = reference[z + 2, y, x] - reference[z, y, x]
                gy = reference[z + 1, y + 1, x] - reference[z + 1, y - 1, x]
                gx = reference[z + 1, y, x + 1] - reference[z + 1, y, x - 1]
                r = residual[z, y, x]
                w = 1.0 / (1.0 + inverse * (gz * gz + gy * gy + gx * gx))
                if np.isnan(r) or np.isnan(w):
                    continue
                s = reference[z + 1, y, x] - 0.5 * r
                sums = row[x // CELL]
                sums[0] += w
                sums[1] += w * r
                sums[2] += w * s
                sums[3] += w * r * s
                sums[4] += w * s * s
                sums[5] += w * r * r
    return out


def lines(sums: NDArray[np.float64]) -> Changes:
    """Return the changes from the sums of all cells.

    The line is fitted to the difference and the mean of the two volumes, whose noise is not correlated: against either
    volume alone it would be tilted by that volume's noise. It counts by the share that it explains of what the
    difference holds beyond noise: where the volumes show different things there is no smooth change to be found.
    """
    windows = (scipy.ndimage.gaussian_filter(sums[..., k], _REACH, mode="constant") for k in range(_SUMS))
    weight, r, s, rs, ss, rr = windows
    seen = weight > _FEW
    weight += _FEW
    r, s, rs, ss, rr = r / weight, s / weight, rs / weight, ss / weight, rr / weight
    common, spread = rs - r * s, np.maximum(ss - s * s, _TINY)
    slope = np.clip(common / spread, -_STEEPEST, _STEEPEST)
    explained = r * r + slope * (2.0 * common - slope * spread)
    scatter = rr - explained
    noise = float(np.median(scatter[seen])) if seen.any() else 0.0  # most windows show no change or a smooth one
    share = explained / (explained + np.maximum(scatter - noise, 0.0) + _TINY)
    return np.stack([share * (r - slope * s), share * slope]).astype(np.float32)


@njit
def expect_along_row(changes: Array, z: int, y: int, cells: Array, out: Array) -> None:
    """Interpolate the changes linearly between the cells' centres along row (z, y), into `out` (2, nx).

    `cells` (2, cells along x) is room to work in. Without cells `out` is left as it is.
    """
    nz, ny, nx = changes.shape[1:]
    if nz == 0:
        return
    z0, z1, fz = _around(z, nz)
    y0, y1, fy = _around(y, ny)
    one, width = np.float32(1.0), out.shape[1]
    for k in range(2):
        c, line, target = changes[k], cells[k], out[k]
        for i in range(nx):
            near = (one - fy) * c[z0, y0, i] + fy * c[z0, y1, i]
            far = (one - fy) * c[z1, y0, i] + fy * c[z1, y1, i]
            line[i] = (one - fz) * near + fz * far
        for i in range(-1, nx):
            left, right = line[max(i, 0)], line[min(i + 1, nx - 1)]
            start = CELL * i + CELL // 2
            for x in range(max(start, 0), min(start + CELL, width)):
                target[x] = left + (right - left) * np.float32((x - start + 0.5) / CELL)


@njit(inline="always")
def _around(position: int, count: int) -> Any:
    """Return the two cells between whose centres a voxel lies, and how far past the first of them, in cells."""
    p = (position + 0.5) / CELL - 0.5
    low = int(np.floor(p))
    return max(low, 0), min(low + 1, count - 1), np.float32(p - low)
