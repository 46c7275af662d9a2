"""Did the dark level rise in one scan? A share of the light on top of all counts but the darks, from line integrals.

A level a on top of flats and projections turns the transmission T into (T + a) / (1 + a), and a line integral p into
``p - a (exp(p) - 1)``: what is dense comes out too light, most where it is densest. In one scan that cannot be told
from a material that attenuates less. Between two scans it can, along rays through a dense material that does not
change: the difference of their line integrals, both seen in one pose, follows ``exp(p) - 1``, where another energy of
the beam follows p. The two are told apart by their curvature and, as that takes very many rays, by how steady the
energy of a beamline is.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy

Floats = npt.NDArray[np.float64]

MOST = 6.0  # line integral beyond which a ray counts no less
STEADY = 1e-3  # standard error of the share by which attenuation differs between scans as the energy drifted
STILL = (0.5, 0.5, 0.5, 0.5, 0.02)  # of what is left of the motions: pixels, and radians about the axis
STEEP = 0.01  # of the largest line integral: curvature (per pixel squared) next to which reprojections are not trusted
GROW = 3  # columns about such a place that are left out
OWN = 6e-4  # of the light: what reprojections of sound cells leave beyond noise
EDGE = 3  # columns at the detector's edges that are left out
BLOCKS = (3, 8)  # of rows and columns, whose estimates without one another tell the error
LEAST = 0.2  # line integral that has to be reached: thinner samples tell nothing
ROUNDS = 5  # of the variance of what is fixed to the detector
FEWEST = 100  # pixels of the detector


class DarkLevel(NamedTuple):
    """By how much the dark level of a scan lies above that of the reference."""

    level: float
    """share of the full light"""
    sigma: float
    gain: float
    """share by which the attenuation differs besides, held near 0"""
    gain_sigma: float


NOTHING = DarkLevel(0.0, 0.0, 0.0, 0.0)


class _Sums(NamedTuple):
    """Weighted sums of each pixel of the detector over the angles."""

    normal: Floats  # (row, column, unknown, unknown)
    right: Floats  # (row, column, unknown)
    parts: Floats  # (unknown, row, column)
    data: Floats  # (row, column)
    weight: Floats  # (row, column)
    square: float
    rays: int


def dark_level(difference: npt.ArrayLike, expected: npt.ArrayLike, angles: npt.ArrayLike, rows: slice) -> DarkLevel:
    """Estimate by how much the dark level differs between two scans.

    The level of each projection is free, as air tells it with an error that all rays share; what pixels of the detector
    are off by at all angles alike is integrated out with the size that the data tell; small motions are fitted along.

    Parameters
    ----------
    difference : (row, angle, column)
        Line integrals of a scan minus those of the reference in the same pose.
    expected : (row, angle, column)
        Line integrals that are free of noise as far as can be.
    angles : (angle,) radians
    rows : slice
        Those that see the unchanging material and nothing that changes; the others are for slopes across rows.

    Returns
    -------
    DarkLevel

    Raises
    ------
    ValueError
        Too few rays through what is dense.
    """
    paths = np.asarray(expected, np.float64)
    weights = np.exp(-np.clip(paths[rows], 0, MOST)) * _trusted(paths)[rows]
    weights[:, :, :EDGE] = weights[:, :, -EDGE:] = 0
    if int((weights.sum(axis=1) > 0).sum()) < FEWEST or float((paths[rows] * (weights > 0)).max()) < LEAST:
        raise ValueError("too few rays pass a dense material away from the region and from edges")
    design = _design(paths, np.asarray(angles, np.float64), rows)
    sums = _summed(design, np.asarray(difference, np.float64)[rows], weights)
    return _estimate(sums)


def _trusted(paths: Floats) -> npt.NDArray[np.bool_]:
    """Tell which rays are away from edges, where a reprojection depends on how it interpolates."""
    smooth = scipy.ndimage.gaussian_filter(paths, (1.0, 0.0, 1.0), mode="nearest")
    bent = [np.gradient(np.gradient(smooth, axis=axis), axis=axis) for axis in (0, 2)]
    curved = scipy.ndimage.maximum_filter1d(np.hypot(*bent), GROW, axis=2)
    return np.asarray(curved < STEEP * paths.max())


def _design(paths: Floats, angles: Floats, rows: slice) -> Floats:
    """Return what a unit of each unknown adds: level, gain, motions along the columns (3), rows, about the axis."""
    along, up, about = (np.gradient(paths, axis=2), np.gradient(paths, axis=0), np.gradient(paths, angles, axis=1))
    turn = angles[:, None]
    slopes = [along, along * np.cos(turn), along * np.sin(turn), up, about]
    return np.stack([one[rows] for one in (-np.expm1(np.clip(paths, None, MOST)), paths, *slopes)])


def _summed(design: Floats, data: Floats, weights: Floats) -> _Sums:
    total = weights.sum(axis=(0, 2))

    def level_free(values: Floats) -> Floats:
        mean = (values * weights).sum(axis=(-3, -1)) / np.maximum(total, 1e-12)
        return np.asarray(values - mean[..., None, :, None])

    x, d = level_free(design), level_free(data)
    weighted = x * weights
    return _Sums(
        np.einsum("iraz,jraz->rzij", weighted, x, optimize=True),
        np.einsum("iraz,raz->rzi", weighted, d, optimize=True),
        weighted.sum(axis=2),
        (weights * d).sum(axis=1),
        weights.sum(axis=1),
        float((weights * d**2).sum()),
        int((weights > 0).sum()),
    )


def _estimate(sums: _Sums) -> DarkLevel:
    """Solve for all unknowns; errors from blocks of the detector, and from what the energy may have done."""
    used = sums.weight > 0.1 * sums.weight.max()
    fixed, noise = 0.0, 1.0  # variances of what is fixed to a pixel, and of a ray of weight 1
    for _ in range(ROUNDS):
        normal, right, share = _without_fixed(sums, fixed / noise)
        steady = noise * np.diag([0.0, *(1 / error**2 for error in (STEADY, *STILL))])
        inverse = np.linalg.inv(normal.sum(axis=(0, 1)) + steady)
        found = inverse @ right.sum(axis=(0, 1))
        square = sums.square - float((share * sums.data**2).sum()) - float(right.sum(axis=(0, 1)) @ found)
        noise = max(square, 1e-30) / max(sums.rays - len(found) - float((share * sums.weight).sum()), 1.0)
        weight = sums.weight[used] / noise
        left = (sums.data - np.tensordot(found, sums.parts, 1))[used] / sums.weight[used]
        fixed = max((float((weight * left**2).sum()) - left.size) / float(weight.sum()), 0.0)
    counted = inverse @ normal.sum(axis=(0, 1)) @ inverse * noise
    errors = np.maximum(np.diag(counted), _jackknife(normal, right, steady))
    errors += (inverse[:, 1] * steady[1, 1] * STEADY) ** 2  # of the energy, as far as the data do not tell it
    level, gain = np.sqrt(errors[0] + OWN**2), np.sqrt(errors[1])
    return DarkLevel(float(found[0]), float(level), float(found[1]), float(gain))


def _without_fixed(sums: _Sums, ratio: float) -> tuple[Floats, Floats, Floats]:
    """Integrate out an offset of each pixel whose variance is a `ratio` to that of a ray of weight 1."""
    share = ratio / (1 + ratio * sums.weight)
    normal = sums.normal - np.einsum("irz,rz,jrz->rzij", sums.parts, share, sums.parts)
    right = sums.right - np.einsum("irz,rz,rz->rzi", sums.parts, share, sums.data)
    return normal, right, share


def _jackknife(normal: Floats, right: Floats, steady: Floats) -> Floats:
    """Return variances from how far what is found moves when one block of the detector after another is left out."""
    blocks = [
        (normal[np.ix_(row, column)].sum(axis=(0, 1)), right[np.ix_(row, column)].sum(axis=(0, 1)))
        for row in np.array_split(np.arange(normal.shape[0]), BLOCKS[0])
        for column in np.array_split(np.arange(normal.shape[1]), BLOCKS[1])
        if row.size
    ]
    whole, product = sum(n for n, _ in blocks) + steady, sum(r for _, r in blocks)
    without = np.array([np.linalg.solve(whole - n, product - r) for n, r in blocks])
    moved = without - without.mean(axis=0)
    return np.asarray((moved**2).sum(axis=0) * (len(blocks) - 1) / len(blocks))
