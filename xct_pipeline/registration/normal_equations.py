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
from xct_pipeline.registration.sampling import ends_of, row_room, sample_row, samples_room, weigh_row

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
    values, used, room = empty(nx, np.float32), empty(nx, np.bool_), row_room(nx)
    samples = samples_room(nx)
    across, place = empty(nx, np.float64), empty(nx, np.int64)
    for x in range(nx):
        across[x] = x - center[2]
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
            sample_row(moving, transform, float(z + z_start), float(y), used, first, size, margin, room, values)
            expect_along_row(expected, z + z_start, y, cells, change)
            start, stop = ends_of(used)
            found = weigh_row(reference, z, y, start, stop, values, used, change, (gain, offset), inverse_cut, samples)
            _add_moments(found, values[start:stop], sums[base + 1 : base + 10])
            _add_histogram(found, bin_width, place, sums[base + 10 :])
            _sum_row(found, across[start:stop], row)
            _add_row(sums, row, z + z_start - center[0], y - center[1])


_REORDERED = {"reassoc", "nsz"}  # sums may be taken in vectors


@njit(inner=True, fastmath=_REORDERED)
def _add_moments(found: Any, moved: Array, out: Array) -> None:
    good, here, plain, energy, weight = found.good, found.here, found.plain, found.energy, found.weight
    n, squares, w_sum, e_sum = 0, 0.0, 0.0, 0.0
    r_sum, m_sum, rr, mm, rm = 0.0, 0.0, 0.0, 0.0, 0.0
    for x in range(len(weight)):
        w, r, m = weight[x], float(here[x]), float(moved[x])
        e = w * energy[x]
        n += good[x]
        squares += plain[x] * plain[x]
        w_sum += w
        e_sum += e
        r_sum += e * r
        m_sum += e * m
        rr += e * r * r
        mm += e * m * m
        rm += e * r * m
    sums = (float(n), squares, w_sum, e_sum, r_sum, m_sum, rr, mm, rm)
    for k in range(len(sums)):
        out[k] += sums[k]


@njit(inner=True)
def _add_histogram(found: Any, bin_width: float, place: Array, out: Array) -> None:
    left, energy, last = found.left, found.energy, float(len(out) - 1)
    for x in range(len(left)):
        place[x] = int(min(abs(left[x]) / bin_width, last))
    for x in range(len(left)):
        out[place[x]] += energy[x]


@njit(inner=True)
def _sum_row(found: Any, across: Array, row: Array) -> None:
    """Sum products along a row, by the powers of x that the parameters need."""
    slopes, pair = (found.gz, found.gy, found.gx), 0
    for a in range(3):
        for b in range(a, 3):
            row[pair], row[6 + pair], row[12 + pair] = _sums_along(found.weight, slopes[a], slopes[b], across)
            pair += 1
        row[18 + a], row[21 + a], _ = _sums_along(found.weight, slopes[a], found.left, across)


@njit(inner=True, fastmath=_REORDERED)
def _sums_along(weight: Array, a: Array, b: Array, across: Array) -> Any:
    one, by_x, by_square = 0.0, 0.0, 0.0
    for x in range(len(weight)):
        value, u = weight[x] * a[x] * b[x], across[x]
        one += value
        by_x += value * u
        by_square += value * u * u
    return one, by_x, by_square


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
