"""Centre of rotation from the values of projections half a turn apart, where the sample has no structure to match.

Parallel rays from opposite sides see the same, p(theta + pi, c - u) = p(theta, c + u). Registration compares edges,
which do not suffer from drifts of the beam; a sample that is smooth where the two halves of a half acquisition
overlap has none, but its slope still tells the centre.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy

Array = npt.NDArray[Any]

SMALLEST = 16  # columns of overlap
EDGE = 4  # columns at the ends of the overlap, where smoothing sees what lies beyond
SMOOTH = 1.5  # columns
GROUPS = 4  # of pairs, whose scatter tells the error


class ValueCenter(NamedTuple):
    """Centre in columns, its standard error, and the mean squared difference there over the variance."""

    center: float
    sigma: float
    misfit: float


def center_from_values(first: Array, second: Array) -> ValueCenter:
    """Find the centre at which opposite projections differ least, anywhere on the detector.

    Parameters
    ----------
    first, second : array (pair, row, column)
        Line integrals; `second` half a turn after `first`.
    """
    one, two = _smoothed(first), _smoothed(second)
    columns = one.shape[1]
    few = slice(None, None, max(1, len(one) // 16))
    steps = np.arange(SMALLEST, 2 * columns - 1 - SMALLEST)
    start = steps[int(np.argmin([_at_half_columns(one[few], two[few], int(s)) for s in steps]))] / 2
    splines = scipy.ndimage.spline_filter1d(two, axis=1, mode="mirror")
    center = _refine(one, splines, start)
    pair = np.arange(len(one)) // first.shape[1] % GROUPS
    parts = np.array([_refine(one[pair == k], splines[pair == k], center) for k in np.unique(pair)])
    sigma = float(parts.std(ddof=1) / np.sqrt(len(parts))) if len(parts) > 1 else 1.0
    return ValueCenter(center, max(sigma, 0.002), misfit(first, second, center))


def misfit(first: Array, second: Array, center: float) -> float:
    """Mean squared difference of opposite projections over the overlap, divided by their variance there."""
    splines = scipy.ndimage.spline_filter1d(_smoothed(second), axis=1, mode="mirror")
    return _difference(_smoothed(first), splines, center)


def _smoothed(projections: Array) -> Array:
    """Lines of a smoothness at which interpolation between columns changes nothing, noise included."""
    lines = np.asarray(projections, np.float64).reshape(-1, projections.shape[-1])
    return np.asarray(scipy.ndimage.gaussian_filter1d(lines, SMOOTH, axis=1, mode="nearest"))


def _ratio(one: Array, two: Array, whole: float) -> float:
    """Difference over variance; 1 where there is next to nothing of the `whole` variance, so that air does not win."""
    little = 1e-6 * whole + 1e-30
    return float((np.mean((one - two) ** 2) + little) / (one.var() + two.var() + little))


def _at_half_columns(one: Array, two: Array, twice: int) -> float:
    """As `_difference` where twice the centre is a whole number of columns."""
    columns = one.shape[1]
    low, high = max(0, twice - columns + 1) + EDGE, min(columns - 1, twice) - EDGE
    return _ratio(one[:, low : high + 1], two[:, twice - high : twice - low + 1][:, ::-1], one.var())


def _difference(one: Array, splines: Array, center: float) -> float:
    columns = one.shape[1]
    low, high = max(0, int(np.ceil(2 * center - columns + 1))), min(columns - 1, int(2 * center))
    x = np.arange(low + EDGE, high - EDGE + 1)
    mirrored = np.empty((len(one), len(x)))
    for line, out in zip(splines, mirrored, strict=True):
        scipy.ndimage.map_coordinates(line, [2 * center - x], out, order=3, mode="mirror", prefilter=False)
    return _ratio(one[:, x], mirrored, one.var())


def _refine(one: Array, splines: Array, start: float) -> float:
    """Follow the minimum by parabolas through three centres, ever closer to each other."""
    center = start
    for step in (0.25, 0.25, 0.1, 0.1):
        below, here, above = (_difference(one, splines, center + d) for d in (-step, 0.0, step))
        bend = below + above - 2 * here
        if bend <= 0:
            break
        center += float(np.clip(step * (below - above) / (2 * bend), -2 * step, 2 * step))
    return center
