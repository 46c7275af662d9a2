"""Change of mass in bins by weighted least squares on projections: without a reconstruction of the difference.

Filtered back-projection weighs all rays alike; where some pass a dense ceramic, their noise is spread over everything
beside it. Where it is known what may change (the region), its bins are few unknowns of very many rays, each of which
counts by its own noise. What the beam did is fitted along: a level and a slope across the detector, both changing
linearly with the angle, and an offset of every column (what the flats leave there), whose size the data tell.
Statistical weighting of transmission data: Sauer and Bouman, IEEE Trans. Signal Process. 41, 534 (1993).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Projector = Callable[[Singles, Floats], Singles]

ANGLES = 64  # that are worked on together
MOST = 9.0  # line integral beyond which a ray counts no less: it is scatter and read-out that reach the detector
BEAM = 4  # unknowns of the beam
SURE = 2.0  # standard deviations of chi-squared from which on offsets of columns are taken to be there
LAGS = 4  # columns over which noise may be correlated


@dataclass(frozen=True)
class Fit:
    """Changes in bins.

    Attributes
    ----------
    values : (bin,) float64
        Change of attenuation times one pixel.
    covariance : (bin, bin) float64
    spread : float
        Root of the residual's mean square in units of the weights' errors.
    column : float
        Standard deviation of the offsets of columns, line integral.
    """

    values: Floats
    covariance: Floats
    spread: float
    column: float

    def total(self, sizes: Floats) -> tuple[float, float]:
        """Return the sum over bins of some `sizes` (pixels) and its standard error."""
        return float(sizes @ self.values), math.sqrt(float(sizes @ self.covariance @ sizes))


@dataclass
class _Sums:
    """What least squares needs of all rays: sums over them, and sums over the angles for each column."""

    normal: Floats
    right: Floats
    columns: Floats  # (unknown, column)
    weight: Floats
    data: Floats
    square: float
    rays: int


def bins_of(coverage: npt.ArrayLike, edge: int) -> Singles:
    """Cut what may change in a slice into square bins.

    Parameters
    ----------
    coverage : (y, x)
        Share of each pixel that belongs to the region.
    edge : int
        Pixels along a bin. Bins of less than a quarter of its area are joined with the largest of their neighbours'.

    Returns
    -------
    (bin, y, x) float32
        Their sum is the coverage.
    """
    cover = np.asarray(coverage, np.float32)
    y, x = (np.asarray(index) for index in np.indices(cover.shape))
    inside = cover > 0
    if not inside.any():
        return np.zeros((0, *cover.shape), np.float32)
    y, x = y - np.min(y[inside]), x - np.min(x[inside])
    _, numbers = np.unique(np.where(inside, y // edge * 100_000 + x // edge, -1), return_inverse=True)
    numbers = np.asarray(numbers).reshape(cover.shape)
    found = [np.where((numbers == k) & inside, cover, 0) for k in np.unique(numbers[inside])]
    small = [part for part in found if part.sum() < edge**2 / 4]
    kept = [part for part in found if part.sum() >= edge**2 / 4] or [small.pop()]
    middles = [_middle(part) for part in kept]
    for part in small:
        nearest = int(np.argmin([np.hypot(*(_middle(part) - middle)) for middle in middles]))
        kept[nearest] = kept[nearest] + part
    return np.stack(kept).astype(np.float32)


def _middle(part: npt.NDArray[np.float32]) -> Floats:
    weights = part / part.sum()
    return np.array([(np.arange(n) * weights.sum(axis=1 - axis)).sum() for axis, n in enumerate(part.shape)])


def fit_bins(
    difference: npt.ArrayLike, expected: npt.ArrayLike, bins: Singles, angles: npt.ArrayLike, projector: Projector
) -> Fit:
    """Fit the change in each bin to a difference of sinograms.

    Parameters
    ----------
    difference : (angle, column)
        Line integrals of a scan minus those of the reference in the same pose.
    expected : (angle, column)
        Line integrals, free of noise as far as can be: their exponential is the variance, up to a common factor.
    bins : (bin, y, x) float32
        Share of each pixel in each bin, in the pose of the scan.
    angles : (angle,) radians
    projector : callable
        Takes slices (slice, y, x) and angles to sinograms (slice, angle, column).

    Returns
    -------
    Fit
        Line integrals per pixel: times the pixel's edge in cm, a change of attenuation in 1/cm.

    Raises
    ------
    ValueError
        No bins, or fewer rays than unknowns.
    """
    data, turn = np.asarray(difference, np.float64), np.asarray(angles, np.float64)
    weights = np.exp(-np.clip(np.asarray(expected, np.float64), 0, MOST))
    if len(bins) == 0 or data.size <= 2 * (len(bins) + BEAM):
        raise ValueError(f"{len(bins)} bins cannot be fitted to {data.size} rays")
    sums = _summed(data, weights, bins, turn, projector)
    first = _solve(sums, 0.0)
    offsets = _column_variance(sums, first[0], first[2])
    solution, covariance, scale = _solve(sums, offsets / first[2]) if offsets > 0 else first
    count = len(bins)
    covariance = covariance[:count, :count] * scale * _correlation(data, weights)
    return Fit(solution[:count], covariance, math.sqrt(scale), math.sqrt(offsets))


def _summed(data: Floats, weights: Floats, bins: Singles, angles: Floats, projector: Projector) -> _Sums:
    """Take the sums over all rays."""
    count, columns = len(bins) + BEAM, data.shape[1]
    squares, of_columns = np.zeros((count, count)), np.zeros((count, columns))
    sums = _Sums(squares, np.zeros(count), of_columns, np.zeros(columns), np.zeros(columns), 0, 0)
    for part, rows in _designs(data.shape, bins, angles, projector):
        w, d = weights[part], data[part]
        weighted = rows * w
        flat = weighted.reshape(count, -1)
        sums.normal += flat @ rows.reshape(count, -1).T
        sums.right += flat @ d.ravel()
        sums.columns += weighted.sum(axis=1)
        sums.weight += w.sum(axis=0)
        sums.data += (w * d).sum(axis=0)
        sums.square += float((w * d**2).sum())
        sums.rays += d.size
    return sums


def _designs(
    shape: tuple[int, ...], bins: Singles, angles: Floats, projector: Projector
) -> Iterator[tuple[slice, npt.NDArray[np.float64]]]:
    """Yield blocks of angles with what a unit of each unknown adds to their rays: (unknown, angle, column)."""
    u, time = np.linspace(-1, 1, shape[1]), np.linspace(-1, 1, shape[0])
    for first in range(0, shape[0], ANGLES):
        part = slice(first, min(first + ANGLES, shape[0]))
        of_bins = projector(bins, angles[part])
        t = time[part, None]
        beam = [np.ones_like(t) * np.ones_like(u), t * np.ones_like(u), np.ones_like(t) * u, t * u]
        yield part, np.concatenate([of_bins, np.stack(beam)])


def _solve(sums: _Sums, ratio: float) -> tuple[Floats, Floats, float]:
    """Return the unknowns, their covariance for weights that are inverse variances, and the factor on that.

    `ratio` is the variance of the offsets of columns, in units of that of a ray of weight 1; they are integrated out.
    """
    share = ratio / (1 + ratio * sums.weight)
    normal = sums.normal - (sums.columns * share) @ sums.columns.T
    right = sums.right - (sums.columns * share) @ sums.data
    covariance = np.asarray(np.linalg.inv(normal), np.float64)
    solution = covariance @ right
    square = sums.square - float((share * sums.data**2).sum()) - float(right @ solution)
    free = sums.rays - len(right) - float((share * sums.weight).sum())
    return solution, covariance, max(square, 0.0) / free


def _column_variance(sums: _Sums, solution: Floats, scale: float) -> float:
    """Return the variance of the offsets of columns: what their mean residuals scatter beyond the rays' noise."""
    seen = sums.weight > 1e-3 * sums.weight.max()
    residual = (sums.data - solution @ sums.columns)[seen] / sums.weight[seen]
    weight = sums.weight[seen] / scale if scale > 0 else sums.weight[seen]
    # the weighted mean square of residuals of variance 1/weight + offsets
    free = max(len(residual) - len(solution), 1)
    excess = float((weight * residual**2).sum()) - free
    return excess / float(weight.sum()) if excess > SURE * math.sqrt(2 * free) else 0.0


def _correlation(data: Floats, weights: Floats) -> float:
    """Return the factor on variances of sums over columns from the noise's correlation between neighbours, at least 1.

    From what a ray differs from the same column's rays before and after: structure is smooth there, noise is not.
    """
    if len(data) < 8 or data.shape[1] < 8 * LAGS:
        return 1.0
    rough = (data[1:-1] - (data[:-2] + data[2:]) / 2) * np.sqrt(weights[1:-1])
    rough -= rough.mean(axis=0)
    power = float((rough**2).mean())
    if power == 0:
        return 1.0
    lags = [float((rough[:, lag:] * rough[:, :-lag]).mean()) / power for lag in range(1, LAGS + 1)]
    doubt = 2 / math.sqrt(rough.size)
    return max(1.0, 1 + 2 * sum(value for value in lags if abs(value) > doubt))
