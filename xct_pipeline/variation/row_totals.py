"""Change of mass per detector row straight from sinograms: one estimate at each angle, without a reconstruction.

All rays of a row together see the whole cross-section of the sample: the sum of a parallel projection over its columns
is the same at every angle (the zeroth condition of Ludwig, Comm. Pure Appl. Math. 19, 49 (1966)). So each angle is an
estimate of its own, the scatter of which is an error that rests on no model of noise; what fixes the pattern of a row
at all angles (the flats' own noise) shows as scatter between rows. A sum that follows the angle tells of drift, or of
a sample that reaches beyond the detector.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

Floats = npt.NDArray[np.float64]

BATCHES = 16  # of neighbouring angles, whose means tell slow changes from noise
SURE = 0.999  # from which on the scatter of batches counts as larger than that of single angles predicts
FEWEST_ROWS = 8  # that tell how much rows scatter against each other


@dataclass(frozen=True)
class RowTotals:
    """Change of the sums of rows between two scans.

    Attributes
    ----------
    rows : (row,) float64
        Mean over the angles, NaN for a row that one of the two scans does not see.
    sigma : (row,) float64
        Its standard error, from the scatter over angles and between rows.
    total, scatter, fixed : float
        Sum over the rows that were asked for; its standard error from the scatter over angles, and that from what is
        fixed to the detector.
    trend, trend_sigma : float
        Change of the total from the first angle to the last, and its standard error.
    seen : int
        Rows in the total.
    """

    rows: Floats
    sigma: Floats
    total: float
    scatter: float
    fixed: float
    trend: float
    trend_sigma: float
    seen: int


def row_totals(
    moving: npt.ArrayLike, fixed: npt.ArrayLike, places: npt.ArrayLike, planes: slice, *, paired: bool
) -> RowTotals:
    """Compare the sums of rows of two scans.

    Parameters
    ----------
    moving, fixed : (angle, row)
        Sums over columns, line integrals times columns, in the order of time.
    places : (row,)
        Row of the moving scan, not whole, in which what row z of the fixed scan shows is seen.
    planes : slice
        Rows of the fixed scan that the total is taken over.
    paired : bool
        Both scans have the same angles; else the error of the fixed scan's mean is added.

    Returns
    -------
    RowTotals
        In the unit of the sums.

    Raises
    ------
    ValueError
        Fewer than four angles, or as many places as rows are not given.
    """
    there, here = np.asarray(moving, np.float64), np.asarray(fixed, np.float64)
    at = np.asarray(places, np.float64)
    if min(len(there), len(here)) < 4 or at.shape != here.shape[1:]:
        raise ValueError(f"sums of shapes {there.shape} and {here.shape} at {at.size} rows: at least four angles each")
    moved = _at_rows(there, at)
    other = None if paired else here
    change = moved - (here if other is None else here.mean(axis=0))
    mean, own = change.mean(axis=0), error_of_mean(change)
    if other is not None:
        own = np.hypot(own, error_of_mean(other))
    fixed_row = _fixed_pattern(mean, own)
    inside = np.zeros(at.shape, bool)
    inside[planes] = True
    inside &= np.isfinite(mean)
    seen = int(inside.sum())
    together = change[:, inside].sum(axis=1)
    scatter = float(error_of_mean(together))
    if other is not None:
        scatter = math.hypot(scatter, float(error_of_mean(other[:, inside].sum(axis=1))))
    slope, slope_sigma = _trend(together)
    return RowTotals(
        mean,
        np.hypot(own, fixed_row),
        float(together.mean()) if seen else math.nan,
        scatter,
        fixed_row * math.sqrt(seen),
        slope,
        slope_sigma,
        seen,
    )


def error_of_mean(values: npt.ArrayLike) -> Floats:
    """Return the standard error of the mean over the first axis, from the values' own scatter.

    That of independent values; where the means of batches of neighbours scatter significantly more (chi-squared test),
    that of the batches: what changes slowly does not average out.
    """
    data = np.asarray(values, np.float64)
    count = len(data)
    plain = data.var(axis=0, ddof=1) / count
    batches = min(BATCHES, count // 4)
    if batches < 4:
        return np.asarray(np.sqrt(plain))
    means = np.stack([part.mean(axis=0) for part in np.array_split(data, batches)])
    slow = means.var(axis=0, ddof=1) / batches
    bound = 2 * scipy.special.gammaincinv((batches - 1) / 2, SURE) / (batches - 1)
    return np.asarray(np.sqrt(np.where(slow > bound * plain, slow, plain)), np.float64)


def level_error(moving: npt.ArrayLike, fixed: npt.ArrayLike) -> float:
    """Return the standard error of a line integral from the level of air that projections are scaled to.

    All columns and rows share it. The level is the mean over the pixels of a margin, in which every pixel deviates by
    what the flats have wrong there: that is told by how much the pixels differ. Flats that both scans share cancel.

    Parameters
    ----------
    moving, fixed : (row, column)
        Mean line integral over the angles in the margins of the two scans; empty where there was none.
    """
    there, here = np.asarray(moving, np.float64), np.asarray(fixed, np.float64)
    patterns = [there - here] if there.shape == here.shape else [there, here]
    return math.sqrt(sum(p.var(ddof=1) / p.size for p in patterns if p.size > 1))


def _at_rows(sums: Floats, places: Floats) -> Floats:
    """Interpolate sums (angle, row) linearly between rows; NaN beyond the first and last."""
    last = sums.shape[1] - 1
    low = np.clip(np.floor(places), 0, max(last - 1, 0)).astype(int)
    part = places - low
    found = sums[:, low] * (1 - part) + sums[:, np.minimum(low + 1, last)] * part
    found[:, (places < -1e-6) | (places > last + 1e-6)] = np.nan
    return np.asarray(found, np.float64)


def _fixed_pattern(mean: Floats, own: Floats) -> float:
    """Return what rows scatter against their neighbours beyond their own errors: it is the same at all angles.

    From second differences, in which a smooth change along the rows cancels; their median, so that faces do not count.
    """
    second = mean[2:] - 2 * mean[1:-1] + mean[:-2]
    second = second[np.isfinite(second)]
    if len(second) < FEWEST_ROWS:
        return 0.0
    between = float(np.median(np.abs(second)) / scipy.special.ndtri(0.75)) ** 2 / 6
    return math.sqrt(max(between - float(np.nanmedian(own)) ** 2, 0.0))


def _trend(values: Floats) -> tuple[float, float]:
    """Return the change of a line through the values from the first to the last, and its standard error."""
    place = np.linspace(-0.5, 0.5, len(values))
    square = float((place**2).sum())
    slope = float((place * values).sum()) / square
    return slope, float(error_of_mean(values - slope * place)) * math.sqrt(len(values) / square)
