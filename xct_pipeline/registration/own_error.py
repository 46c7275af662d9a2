"""The error of a motion from the motion itself: how much parts of the volume disagree on it.

At the solution the sum of the scores ``w J r`` is 0, but that of each part of the volume is not: what moves it is
noise, what changed there, and what is left of rings. With H the curvature, the motion's covariance is
``H^-1 (sum over parts of g g^T) H^-1``, which is the jackknife over the parts in its linear form (the infinitesimal
jackknife, B. Efron, J. R. Statist. Soc. B 54 (1992) 83; in econometrics the cluster-robust covariance). Parts are
cubes larger than the reach of noise, of its smoothing and of single changes.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from xct_pipeline.compiled import empty, njit, zeros
from xct_pipeline.device import Array
from xct_pipeline.registration import parameters as prm
from xct_pipeline.registration.changes import expect_along_row
from xct_pipeline.registration.levels import Estimate, PreparedLevel, moving_slab, reference_slab, slabs_of
from xct_pipeline.registration.normal_equations import PARAMETERS
from xct_pipeline.registration.sampling import row_room, sample_row

_GRID = 8  # voxels: side of the cells whose scores are summed
_SIDE = 2  # cells: of the cubes, 1 where the mask is smaller than
_SMALL = 64  # voxels
_DRAWS = 256  # of motions, whose largest distances say how large the error is
_DIRECTIONS = 200  # in which the mask's ends are taken, where a linear map has its largest distances


def covariance(p: PreparedLevel, s: Estimate, model: str, held: tuple[str, ...]) -> NDArray[np.float64]:
    """Return the covariance of the parameters of `model` that are searched (those held have 0), from all scores."""
    assert s.sums is not None
    free = np.array([name not in held for name in prm.names(model)])
    matrix = prm.projection(model)[:, free]
    parts = list(p.parallel_map(partial(_slab_scores, p, s), slabs_of(p.level.reference.shape)))
    scores = np.concatenate([part for part, _ in parts]) @ matrix
    weight, slope = np.concatenate([rows for _, rows in parts]).sum(axis=0)
    # the weights fall where residuals rise, so that the score's curvature is less than the normal equations'
    longer = max(s.relaxation, weight / slope if slope > 0.0 else 1.0)
    hessian = matrix.T @ s.sums.hessian @ matrix
    scale = np.sqrt(np.maximum(np.diag(hessian), 1e-300))
    inverse = longer * np.linalg.pinv(hessian / scale[:, None] / scale, rcond=1e-7, hermitian=True)
    inverse = inverse / scale[:, None] / scale
    out = np.zeros((free.size, free.size))
    out[np.ix_(free, free)] = (
        inverse @ _spread_of(scores, _SIDE if np.ptp(p.points, axis=0).max() >= _SMALL else 1) @ inverse
    )
    return out


def _spread_of(scores: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Return the sum of g g^T over cubes of `side` cells."""
    nz, ny, nx, n = scores.shape
    index = [np.arange(k) // side for k in (nz, ny, nx)]
    key = (index[0][:, None, None] * ny + index[1][None, :, None]) * nx + index[2][None, None, :]
    return _clustered(scores.reshape(-1, n), key.ravel())


def _clustered(scores: NDArray[np.float64], key: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the sum of g g^T over groups of scores with one key; a group takes part in the solution of all."""
    _, place = np.unique(key, return_inverse=True)
    sums = np.zeros((int(place.max()) + 1, scores.shape[1]))
    np.add.at(sums, place, scores)
    used = sums.any(axis=1)
    count = max(int(used.sum()), 2)
    return np.asarray(sums.T @ sums * (count / (count - 1)), dtype=np.float64)


def largest_error(cov: NDArray[np.float64], model: str, p: PreparedLevel) -> float:
    """Return the root mean square of the largest distance over the mask by which motions of a covariance differ."""
    values, vectors = np.linalg.eigh(cov)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    random = np.random.default_rng(0)
    draws = random.standard_normal((_DRAWS, len(cov))) @ root.T
    columns = (draws @ prm.projection(model).T).reshape(-1, 4)
    points = p.points - p.center
    points = points[np.unique(np.argmax(random.standard_normal((_DIRECTIONS, 3)) @ points.T, axis=1))]
    away = np.concatenate([points, np.ones((len(points), 1))], axis=1)
    distances = np.square(columns @ away.T).reshape(_DRAWS, 3, -1).sum(axis=1).max(axis=1)
    return float(p.level.scale * np.sqrt(distances.mean()))


def _slab_scores(
    p: PreparedLevel, s: Estimate, slab: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the scores of a slab's cells, and by plane the sums of Tukey's weight and of the slope of ``w r``."""
    moving, first = moving_slab(p, *slab, s.transform)
    nz, ny, nx = slab[1] - slab[0], *p.level.reference.shape[1:]
    out = np.zeros((-(-nz // _GRID), -(-ny // _GRID), -(-nx // _GRID), PARAMETERS))
    weights = np.zeros((nz, 2))
    _sum_scores(
        reference_slab(p, *slab),
        p.mask(*slab),
        moving,
        np.ascontiguousarray(s.transform, np.float64),
        slab[0],
        first,
        p.level.moving.shape[0],
        p.margin,
        p.center,
        s.gain,
        s.offset,
        0.0 if np.isinf(s.cut) else 1.0 / s.cut**2,
        p.expected,
        out,
        weights,
    )
    return out, weights


@njit
def _sum_scores(
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
    inverse_cut: float,
    expected: Array,
    out: Array,
    weights: Array,
) -> None:
    """Sum ``w J r`` (12 affine parameters, as `normal_equations.accumulate`) in cells."""
    nz, ny, nx = mask.shape
    values, used, room = empty(nx, np.float32), empty(nx, np.bool_), row_room(nx)
    change, cells = zeros((2, nx), np.float32), empty((2, expected.shape[3]), np.float32)
    low = max(margin, 1)
    place = empty(4, np.float64)
    place[3] = 1.0
    for z in range(nz):
        place[0] = z + z_start - center[0]
        for y in range(low, ny - low):
            place[1] = y - center[1]
            for x in range(nx):
                used[x] = mask[z, y, x] != 0 and low <= x < nx - low
            sample_row(moving, transform, float(z + z_start), float(y), used, first, size, margin, room, values)
            expect_along_row(expected, z + z_start, y, cells, change)
            row = out[z // _GRID, y // _GRID]
            for x in range(low, nx - low):
                if not used[x]:
                    continue
                here = float(reference[z + 1, y, x])
                gz = 0.5 * (reference[z + 2, y, x] - reference[z, y, x])
                gy = 0.5 * (reference[z + 1, y + 1, x] - reference[z + 1, y - 1, x])
                gx = 0.5 * (reference[z + 1, y, x + 1] - reference[z + 1, y, x - 1])
                plain = here - gain * float(values[x]) - offset
                r = plain - change[0, x] - change[1, x] * (here - 0.5 * plain)
                t = 1.0 - r * r * inverse_cut
                if np.isnan(r) or np.isnan(gz + gy + gx) or t <= 0.0:
                    continue
                energy = gz * gz + gy * gy + gx * gx
                weights[z, 0] += t * t * energy
                weights[z, 1] += t * (5.0 * t - 4.0) * energy
                place[2] = x - center[2]
                cell = row[x // _GRID]
                for c in range(4):
                    u = t * t * r * place[c]
                    cell[c] += gz * u
                    cell[4 + c] += gy * u
                    cell[8 + c] += gx * u
