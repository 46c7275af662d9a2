"""Rings: what a detector leaves in every slice about the rotation axis, where it stays while the sample moves.

Each volume has a profile over radius, row and sectors of azimuth, taken in its own frame. It begins as the azimuthal
mean of what is narrow along the radius (after J. Sijbers and A. Postnov, Phys. Med. Biol. 49 (2004) N247). That holds
some of the sample as well, so once a motion is known the profiles of both volumes are found from the residual, in
which the sample cancels and the rings do not: ``r(p) = a(p) - gain b(T p)``, solved by conjugate gradients.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray

from xct_pipeline.compiled import empty, njit, zeros
from xct_pipeline.device import Array

Profile = NDArray[np.float32]
"""(sectors, rows, radii): grey value on knots one voxel apart along the radius, interpolated linearly, 1/cm"""


class Rings(NamedTuple):
    """Rings of the two volumes of a level."""

    reference: Profile
    moving: Profile
    axis: tuple[float, float]
    """(y, x) of the rotation axis, voxels of the level"""


@njit(inline="always")
def _place(y: float, x: float, sectors: int) -> Any:
    """Return the radius about the axis, and the two sectors between whose middles a place lies, with the share."""
    radius = np.sqrt(y * y + x * x)
    if sectors == 1:
        return radius, 0, 0, 0.0
    size = abs(x) + abs(y)
    t = y / size if size > 0.0 else 0.0  # runs as the azimuth does, and equals it at its eighths
    turn = t if x >= 0.0 else 2.0 - t
    turn = (turn if turn >= 0.0 else turn + 4.0) * 0.25 * sectors
    first = min(int(turn), sectors - 1)
    return radius, first, (first + 1) % sectors, turn - first


@njit
def subtract(volume: Array, z_start: int, profile: Array, axis_y: float, axis_x: float) -> None:
    """Subtract a profile from the planes of a volume from `z_start` on, in place; planes beyond its rows are folded."""
    sectors, rows, radii = profile.shape
    for z in range(volume.shape[0]):
        k = abs(z + z_start)
        k = k if k < rows else 2 * (rows - 1) - k
        for y in range(volume.shape[1]):
            for x in range(volume.shape[2]):
                radius, a, b, share = _place(y - axis_y, x - axis_x, sectors)
                i = int(radius)
                if i + 1 >= radii:
                    continue
                f, h = np.float32(radius - i), np.float32(share)
                value = profile[a, k, i] + f * (profile[a, k, i + 1] - profile[a, k, i])
                if sectors > 1:
                    other = profile[b, k, i] + f * (profile[b, k, i + 1] - profile[b, k, i])
                    value += h * (other - value)
                volume[z, y, x] -= value


@njit
def sum_azimuth(volume: Array, mask: Array, axis_y: float, axis_x: float, sectors: int, radii: int) -> Any:
    """Sum a volume over azimuth on linear knots along the radius.

    Returns
    -------
    float64 (sectors, planes, radii, 3): sums of the value by the knots' weights, and the diagonal and the next to it of
    the normal equations. A voxel belongs to one sector.
    """
    out = zeros((sectors, volume.shape[0], radii, 3), np.float64)
    for z in range(volume.shape[0]):
        for y in range(volume.shape[1]):
            for x in range(volume.shape[2]):
                value = float(volume[z, y, x])
                if mask[z, y, x] == 0 or np.isnan(value):
                    continue
                radius, a, _, _ = _place(y - axis_y, x - axis_x, sectors)
                i = int(radius)
                if i + 1 >= radii:
                    continue
                f = radius - i
                g = 1.0 - f
                low, high = out[a, z, i], out[a, z, i + 1]
                low[0] += g * value
                high[0] += f * value
                low[1] += g * g
                high[1] += f * f
                low[2] += f * g
    return out


def fit_azimuth(sums: NDArray[np.float64], damping: float = 1.0) -> NDArray[np.float64]:
    """Return the profile (..., radii) of the sums of `sum_azimuth`: tridiagonal equations, all solved at once."""
    right, diagonal, beside = sums[..., 0].copy(), sums[..., 1] + damping, sums[..., 2]
    radii = right.shape[-1]
    diagonal = diagonal.copy()
    for i in range(1, radii):
        factor = beside[..., i - 1] / diagonal[..., i - 1]
        diagonal[..., i] -= factor * beside[..., i - 1]
        right[..., i] -= factor * right[..., i - 1]
    out = np.empty_like(right)
    out[..., -1] = right[..., -1] / diagonal[..., -1]
    for i in range(radii - 2, -1, -1):
        out[..., i] = (right[..., i] - beside[..., i] * out[..., i + 1]) / diagonal[..., i]
    return out


def narrow(profile: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Return what is narrow along the radius: less the running median, which follows the steps of a sample."""
    size = [1] * (profile.ndim - 1) + [window]
    return np.asarray(profile - scipy.ndimage.median_filter(profile, size, mode="nearest"))


@njit
def project(
    samples: Array,
    data: float,
    one: Array,
    other: Array,
    theta: Array,
    transform: Array,
    center: Array,
    gain: float,
    axis_y: float,
    axis_x: float,
    z_start: int,
    step: int,
    back_one: Array,
    back_other: Array,
    back_theta: Array,
    norms: Array,
    hessian: Array,
) -> None:
    """Add the adjoint of ``w (data residual - one(p) + gain other(T p) - columns theta)`` onto all unknowns.

    `samples` (6, planes, rows / step, nx): residual, weight, gradient (z, y, x) and value of the reference; `one`,
    `other` as `Profile`; `norms` (2, sectors, rows, radii) and `hessian` get the diagonal of the normal equations and
    the block of theta where they have any size.
    """
    sectors, rows, radii = one.shape
    column, total = empty(8, np.float64), zeros(8, np.float64)
    residual, weights = samples[0], samples[1]
    slope_z, slope_y, slope_x, value = samples[2], samples[3], samples[4], samples[5]
    for z in range(residual.shape[0]):
        k = z + z_start
        for row in range(residual.shape[1]):
            y = float(row * step)
            bz = transform[0, 0] * k + transform[0, 1] * y + transform[0, 3]
            by = transform[1, 0] * k + transform[1, 1] * y + transform[1, 3] - axis_y
            bx = transform[2, 0] * k + transform[2, 1] * y + transform[2, 3] - axis_x
            for x in range(residual.shape[2]):
                w = weights[z, row, x]
                if w == 0.0:
                    continue
                radius, a, b, h = _place(y - axis_y, x - axis_x, sectors)
                i = int(radius)
                qz = bz + transform[0, 2] * x
                radius_q, c, d, e = _place(by + transform[1, 2] * x, bx + transform[2, 2] * x, sectors)
                j, m = int(radius_q), int(qz)
                if i + 1 >= radii or j + 1 >= radii or qz < 0.0 or m + 1 >= rows:
                    continue
                f, fj, fz = radius - i, radius_q - j, qz - m
                w0, w1 = (1.0 - f), f
                v00, v01, v10, v11 = (1.0 - fz) * (1.0 - fj), (1.0 - fz) * fj, fz * (1.0 - fj), fz * fj
                fit = w0 * one[a, k, i] + w1 * one[a, k, i + 1]
                fit_q = v00 * other[c, m, j] + v01 * other[c, m, j + 1]
                fit_q += v10 * other[c, m + 1, j] + v11 * other[c, m + 1, j + 1]
                if sectors > 1:
                    fit += h * (w0 * one[b, k, i] + w1 * one[b, k, i + 1] - fit)
                    next_q = v00 * other[d, m, j] + v01 * other[d, m, j + 1]
                    next_q += v10 * other[d, m + 1, j] + v11 * other[d, m + 1, j + 1]
                    fit_q += e * (next_q - fit_q)
                gz, gy, gx = slope_z[z, row, x], slope_y[z, row, x], slope_x[z, row, x]
                uz, uy, ux = k - center[0], y - center[1], x - center[2]
                column[0], column[1], column[2] = gz, gy, gx
                column[3], column[4], column[5] = gx * uy - gy * ux, gz * ux - gx * uz, gy * uz - gz * uy
                column[6], column[7] = value[z, row, x], 1.0
                explained = 0.0
                for n in range(8):
                    explained += column[n] * theta[n]
                left = w * (data * residual[z, row, x] - fit + gain * fit_q - explained)
                for n in range(8):
                    total[n] += left * column[n]
                if hessian.size > 0:
                    for n in range(8):
                        for q in range(8):
                            hessian[n, q] += w * column[n] * column[q]
                for side in range(1 if sectors == 1 else 2):
                    s, sq = (a, c) if side == 0 else (b, d)
                    u = left * ((1.0 - h) if side == 0 else h)
                    uq = -gain * left * ((1.0 - e) if side == 0 else e)
                    back_one[s, k, i] += u * w0
                    back_one[s, k, i + 1] += u * w1
                    back_other[sq, m, j] += uq * v00
                    back_other[sq, m, j + 1] += uq * v01
                    back_other[sq, m + 1, j] += uq * v10
                    back_other[sq, m + 1, j + 1] += uq * v11
                    if norms.size > 0:
                        t = w * ((1.0 - h) if side == 0 else h)
                        tq = w * gain * gain * ((1.0 - e) if side == 0 else e)
                        norms[0, s, k, i] += t * w0
                        norms[0, s, k, i + 1] += t * w1
                        norms[1, sq, m, j] += tq * v00
                        norms[1, sq, m, j + 1] += tq * v01
                        norms[1, sq, m + 1, j] += tq * v10
                        norms[1, sq, m + 1, j + 1] += tq * v11
    back_theta += total
