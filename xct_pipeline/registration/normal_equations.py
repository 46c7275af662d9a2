"""Sums over voxel samples from which one Gauss-Newton step of the registration is solved.

At every sample: residual ``r = R - gain M(T p) - offset`` with R the reference and M the moving volume, both smoothed
alike. The step is sought as a motion of the reference (inverse-compositional, Baker and Matthews, Int. J. Computer
Vision 56 (2004) 221), so the gradient is the reference's. That choice is what keeps noise from pulling the solution
towards half-voxel positions, where interpolation smooths more: the solution is a zero of ``sum(grad R * r)``, in which
the noise of M is not correlated with anything and the noise of R meets its own gradient, an odd filter of itself. Both
vanish on average, where a least sum of squares would be biased.

All affine parameters are summed; a rigid or translation step is a projection of the same sums. Gain and offset are
unknowns of the same iteration, found from moments weighted by the squared gradient: in the flat parts, which may
be most of a volume, a change of grey value would pass for a gain. At the end, changes of grey value that were found
around (`changes.lines`) are taken out of r as well.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xct_pipeline.compiled import empty, njit, zeros
from xct_pipeline.device import Array
from xct_pipeline.registration.changes import Changes, expect_along_row

PARAMETERS = 12  # 3 x (z, y, x, 1)
BINS = 1024  # of the histogram of |r|
_MOMENTS = 10


class Sums(NamedTuple):
    """Sums over the samples of one pass, float64."""

    hessian: NDArray[np.float64]
    """(12, 12) sum of weight * J J^T."""
    gradient: NDArray[np.float64]
    """(12,) sum of weight * J r."""
    moments: NDArray[np.float64]
    """n in the mask, n used, sum of r^2 (expected changes included), of the weight, and sums of 1, R, M, R^2, M^2, R M
    by weight * |grad R|^2."""
    histogram: NDArray[np.float64]
    """|r| in `BINS` bins, every sample counted by |grad R|^2: edges say how far the images are apart."""


def add(parts: list[NDArray[np.float64]]) -> Sums:
    """Add rows of `accumulate` in the order given (the same for any split into slabs)."""
    total = np.concatenate(parts).sum(axis=0)
    n = PARAMETERS
    hessian = total[: n * n].reshape(n, n)
    hessian = np.triu(hessian) + np.triu(hessian, 1).T
    rest = total[n * n :]
    return Sums(hessian, rest[:n], rest[n : n + _MOMENTS], rest[n + _MOMENTS :])


def accumulate(
    reference: NDArray[np.float32],
    mask: NDArray[np.uint8],
    moving: NDArray[np.float32],
    transform: NDArray[np.float64],
    *,
    z_start: int,
    moving_start: int,
    moving_size: int,
    margin: int,
    center: NDArray[np.float64],
    gain: float,
    offset: float,
    cut: float,
    bin_width: float,
    expected: Changes,
) -> NDArray[np.float64]:
    """Sum one slab of the reference.

    Parameters
    ----------
    reference : (nz + 2, ny, nx) smoothed reference with one more plane on each side
    mask : (nz, ny, nx), not 0 where a voxel is a sample
    moving : smoothed planes of the moving volume, from plane `moving_start` of `moving_size`; its values are taken
        as the coefficients of a cubic B-spline, which smooths a little more: the reference must have had the same
    transform : 3 x 4 in voxels
    z_start : index in the reference of the slab's first plane
    margin : samples nearer than this to a border of either volume are left out
    center : (z, y, x) of the origin of the motion's parameters
    gain, offset : of the moving volume
    cut : Tukey's cut in units of r; infinity for equal weights
    bin_width : of the histogram
    expected : changes of grey value, which are taken out of the residual

    Returns
    -------
    float64 (nz, n): one row of sums per plane, for `add`.
    """
    nz = mask.shape[0]
    out = np.zeros((nz, PARAMETERS * PARAMETERS + PARAMETERS + _MOMENTS + BINS))
    _accumulate(
        reference,
        mask,
        moving,
        np.ascontiguousarray(transform, np.float64),
        z_start,
        moving_start,
        moving_size,
        margin,
        center,
        gain,
        offset,
        cut,
        bin_width,
        expected,
        out,
    )
    return out


@njit(inner=True)
def sample_row(
    moving: Array, transform: Array, pz: float, py: float, used: Array, first: int, size: int, margin: int, out: Array
) -> None:
    """Evaluate the cubic B-spline with coefficients `moving` along one row; clears `used` where there is no value."""
    bz = transform[0, 0] * pz + transform[0, 1] * py + transform[0, 3]
    by = transform[1, 0] * pz + transform[1, 1] * py + transform[1, 3]
    bx = transform[2, 0] * pz + transform[2, 1] * py + transform[2, 3]
    sixth, two_thirds, half, one = np.float32(1 / 6), np.float32(2 / 3), np.float32(0.5), np.float32(1.0)
    low = max(margin, 1)
    top_z, top_y, top_x = size - 1 - low, moving.shape[1] - 1 - low, moving.shape[2] - 1 - low
    for x in range(out.size):
        out[x] = np.float32(0.0)
        if not used[x]:
            continue
        qz, qy, qx = bz + transform[0, 2] * x, by + transform[1, 2] * x, bx + transform[2, 2] * x
        if not (low <= qz < top_z and low <= qy < top_y and low <= qx < top_x):
            used[x] = False
            continue
        fz, fy, fx = np.floor(qz), np.floor(qy), np.floor(qx)
        iz, iy, ix = int(fz) - first - 1, int(fy) - 1, int(fx) - 1
        if iz < 0 or iz + 4 > moving.shape[0]:
            used[x] = False
            continue
        a, b, c = np.float32(qz - fz), np.float32(qy - fy), np.float32(qx - fx)
        a1, b1, c1 = one - a, one - b, one - c
        wz = (
            a1 * a1 * a1 * sixth,
            two_thirds - a * a * (one - half * a),
            two_thirds - a1 * a1 * (one - half * a1),
            a * a * a * sixth,
        )
        wy = (
            b1 * b1 * b1 * sixth,
            two_thirds - b * b * (one - half * b),
            two_thirds - b1 * b1 * (one - half * b1),
            b * b * b * sixth,
        )
        wx = (
            c1 * c1 * c1 * sixth,
            two_thirds - c * c * (one - half * c),
            two_thirds - c1 * c1 * (one - half * c1),
            c * c * c * sixth,
        )
        total = np.float32(0.0)
        for i in range(4):
            plane = np.float32(0.0)
            for j in range(4):
                line = (
                    wx[0] * moving[iz + i, iy + j, ix]
                    + wx[1] * moving[iz + i, iy + j, ix + 1]
                    + wx[2] * moving[iz + i, iy + j, ix + 2]
                    + wx[3] * moving[iz + i, iy + j, ix + 3]
                )
                plane += wy[j] * line
            total += wz[i] * plane
        if np.isnan(total):
            used[x] = False
        else:
            out[x] = total


@njit
def _accumulate(
    reference: Array,
    mask: Array,
    moving: Array,
    transform: Array,
    z_start: int,
    first: int,
    size: int,
    margin: int,
    center: Array,
    gain: float,
    offset: float,
    cut: float,
    bin_width: float,
    expected: Array,
    out: Array,
) -> None:
    nz, ny, nx = mask.shape
    values = empty(nx, np.float32)
    used = empty(nx, np.bool_)
    # over a row: w g_a g_b x^k (18 sums), w g_a r x^k (6)
    row = empty(24, np.float64)
    change, cells = zeros((2, nx), np.float32), empty((2, expected.shape[3]), np.float32)
    inverse_cut = 0.0 if np.isinf(cut) else 1.0 / (cut * cut)
    base = PARAMETERS * PARAMETERS + PARAMETERS
    for z in range(nz):
        sums = out[z]
        low = max(margin, 1)
        for y in range(low, ny - low):
            n_mask = 0
            for x in range(nx):
                inside = mask[z, y, x] != 0 and low <= x < nx - low
                used[x] = inside
                n_mask += inside
            if n_mask == 0:
                continue
            sums[base] += n_mask
            sample_row(moving, transform, float(z + z_start), float(y), used, first, size, margin, values)
            expect_along_row(expected, z + z_start, y, cells, change)
            row[:] = 0.0
            for x in range(low, nx - low):
                if not used[x]:
                    continue
                here = float(reference[z + 1, y, x])
                gz = 0.5 * (reference[z + 2, y, x] - reference[z, y, x])
                gy = 0.5 * (reference[z + 1, y + 1, x] - reference[z + 1, y - 1, x])
                gx = 0.5 * (reference[z + 1, y, x + 1] - reference[z + 1, y, x - 1])
                m = float(values[x])
                plain = here - gain * m - offset
                r = plain - change[0, x] - change[1, x] * (here - 0.5 * plain)
                energy = gz * gz + gy * gy + gx * gx
                if np.isnan(r) or np.isnan(energy):
                    continue
                t = 1.0 - r * r * inverse_cut
                w = t * t if t > 0.0 else 0.0
                sums[base + 1] += 1.0
                sums[base + 2] += plain * plain
                sums[base + 10 + min(int(abs(r) / bin_width), BINS - 1)] += energy
                if w == 0.0:
                    continue
                e = w * energy
                sums[base + 3] += w
                sums[base + 4] += e
                sums[base + 5] += e * here
                sums[base + 6] += e * m
                sums[base + 7] += e * here * here
                sums[base + 8] += e * m * m
                sums[base + 9] += e * here * m
                _add_sample(row, w, gz, gy, gx, r, x - center[2])
            _add_row(sums, row, z + z_start - center[0], y - center[1])


@njit(inline="always")
def _add_sample(row: Array, w: float, gz: float, gy: float, gx: float, r: float, u: float) -> None:
    wz, wy, wx = w * gz, w * gy, w * gx
    s0, s1, s2, s3, s4, s5 = wz * gz, wz * gy, wz * gx, wy * gy, wy * gx, wx * gx
    uu = u * u
    row[0] += s0
    row[1] += s1
    row[2] += s2
    row[3] += s3
    row[4] += s4
    row[5] += s5
    row[6] += s0 * u
    row[7] += s1 * u
    row[8] += s2 * u
    row[9] += s3 * u
    row[10] += s4 * u
    row[11] += s5 * u
    row[12] += s0 * uu
    row[13] += s1 * uu
    row[14] += s2 * uu
    row[15] += s3 * uu
    row[16] += s4 * uu
    row[17] += s5 * uu
    row[18] += wz * r
    row[19] += wy * r
    row[20] += wx * r
    row[21] += wz * r * u
    row[22] += wy * r * u
    row[23] += wx * r * u


@njit(inner=True)
def _add_row(sums: Array, row: Array, uz: float, uy: float) -> None:
    """Expand a row's sums: along it z and y are constant, so x appears as powers only."""
    scale = (uz, uy, 1.0, 1.0)
    power = (0, 0, 1, 0)
    pair = 0
    for a in range(3):
        for b in range(a, 3):
            for c in range(4):
                for d in range(4):
                    if a < b or c <= d:
                        value = scale[c] * scale[d] * row[6 * (power[c] + power[d]) + pair]
                        sums[PARAMETERS * (4 * a + c) + 4 * b + d] += value
            pair += 1
        for c in range(4):
            sums[PARAMETERS * PARAMETERS + 4 * a + c] += scale[c] * row[18 + 3 * power[c] + a]


@njit
def residual_slab(
    reference: Array,
    moving: Array,
    transform: Array,
    z_start: int,
    first: int,
    size: int,
    gain: float,
    offset: float,
    every: int,
) -> Any:
    """Return ``R - gain M(T p) - offset`` on a slab of the reference (as in `accumulate`), NaN without data.

    Only on every `every`-th plane, NaN on the others.
    """
    nz, ny, nx = reference.shape
    out, nan = empty((nz, ny, nx), np.float32), np.float32(np.nan)
    values = empty(nx, np.float32)
    used = empty(nx, np.bool_)
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                used[x] = z % every == 0
            sample_row(moving, transform, float(z + z_start), float(y), used, first, size, np.int64(1), values)
            for x in range(nx):
                out[z, y, x] = reference[z, y, x] - gain * values[x] - offset if used[x] else nan
    return out
