"""Projections against each other by what they must have in common: their mass, and the path of its centre.

The sum of the line integrals of a row is the same at every angle, and their centre of mass moves on a sinusoid
(the consistency conditions of Helgason and Ludwig; Natterer, The Mathematics of Computerized Tomography, 1986,
chapter II.4), wherever the whole sample is in view. A frame that is torn, shifted, of another angle or no projection
at all breaks one or the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

Floats = npt.NDArray[np.floating[Any]]
MOVING = 7  # degree of the polynomial that a slow motion is
LEAST_MASS = 0.02  # mean line integral of a row below which it is noise
MASS_CHANGE = 0.3  # a slab seen edge on changes by a tenth within one step, where edges share pixels
DEEP = 0.1  # transmission below which the mass is not kept: counts near the dark, hard rays, scatter
NOISY = 0.05  # share by which masses scatter, from which on a centre of mass is not taken over its own
SIGMAS = 8.0
BREAK = 3.0  # change of the profile from one projection to the next, against the largest of the two before and after
SLOW = 8  # projections in a row whose mean tells what is slow
WANDER_SHARE = 1e-3  # of the columns, that a centre of mass may leave its path by
JITTER_SIGMAS = 4.0  # of its own error, from which on what two bands share is a shift and not their noise


@dataclass(frozen=True)
class Consistency:
    """How projections fit together.

    Attributes
    ----------
    outliers : numpy.ndarray of int
        Projections that do not belong.
    jumps : numpy.ndarray of int
        Projections at which those from there on do not continue those before.
    jitter : float
        Columns by which single projections are shifted at random, rms; with one row, noise included.
    worst : float
        The largest departure of an outlier's centre of mass, columns.
    wander : float
        The largest departure of the mean centre of mass of several projections in a row from its sinusoid, columns;
        0 where noise, or a part of a pixel that is covered, explains it.
    """

    outliers: npt.NDArray[np.intp]
    jumps: npt.NDArray[np.intp]
    jitter: float
    worst: float
    wander: float = 0.0


def consistency(
    transmission: Floats, angles: Floats, left: int, right: int, moving: bool = False
) -> Consistency | None:
    """Compare mass and centre of mass of projections.

    Parameters
    ----------
    transmission : array (angle, row, column)
        Of sampled rows, 1 in air.
    angles : (angle,)
        Radians.
    left, right : int
        Columns of air at either edge.
    moving : bool
        Whether the sample may move slowly, as a polynomial in the number of the projection.

    Returns
    -------
    Consistency or None
        None where there is too little in the beam to tell.
    """
    n, rows, columns = transmission.shape
    if n < 12 or min(left, right) < 1:
        return None
    p = -np.log(np.maximum(transmission, 1e-5))
    lowest = lowest_transmission(transmission)
    bands = np.array_split(np.arange(rows), 2 if rows > 1 else 1)
    u = np.arange(columns) - (columns - 1) / 2
    allowed = 0.1 + 0.5 * partial_volume(lowest)
    outlying, jumped = np.zeros(n, bool), _breaks(p, angles)
    jitter: list[float] = []
    rests: list[Floats] = []
    worst = 0.0
    order = np.argsort(np.mod(angles, np.pi), kind="stable")
    for band in bands:
        profile = p[:, band].mean(axis=1, dtype=np.float64)
        mass = profile.sum(axis=1)
        usual = float(np.median(mass))
        if usual < LEAST_MASS * columns * 0.25:
            continue
        change = np.zeros(n)
        change[order] = mass[order] / scipy.ndimage.median_filter(mass[order], size=min(15, n), mode="wrap") - 1
        spread = 1.483 * float(np.median(np.abs(change)))
        wrong = (np.abs(change) > max(SIGMAS * spread, MASS_CHANGE)) & (lowest > DEEP)
        over = mass if spread < NOISY else np.full(n, usual)  # a mass that is mostly noise would be divided by
        center = (profile * u).sum(axis=1) / np.where(mass > 0.2 * usual, over, np.inf)
        rest, sigma = sinusoid_residuals(center, angles, wrong, MOVING if moving else 0)
        off = np.abs(rest) > np.maximum(SIGMAS * sigma, allowed)
        worst = max(worst, float(np.max(np.abs(rest[off & ~wrong]), initial=0.0)))
        jitter.append(sigma)
        rests.append(rest)
        outlying |= wrong | off
        jumped |= _jumps(rest, angles, wrong | off)
    if not jitter:
        return None
    jumped &= ~outlying
    shared = _shared(*rests) if len(rests) == 2 else jitter[0]
    wander = _wander(np.mean(rests, axis=0), outlying, allowed, columns)
    return Consistency(np.flatnonzero(outlying), np.flatnonzero(jumped), shared, worst, wander)


def _shared(upper: Floats, lower: Floats) -> float:
    """Return the robust standard deviation of what two bands of rows share: a stage moves both, noise either."""
    together, apart = (1.483 * float(np.median(np.abs(v - np.median(v)))) for v in (upper + lower, upper - lower))
    shared = together**2 - apart**2
    error = 2 * 1.17 / np.sqrt(len(upper)) * float(np.hypot(together**2, apart**2))  # 1.17: of a median deviation
    return float(np.sqrt(shared) / 2) if shared > JITTER_SIGMAS * error else 0.0


def _wander(rest: Floats, wrong: npt.NDArray[np.bool_], allowed: Floats, columns: int) -> float:
    """Return by how much means over a few projections in a row leave the sinusoid; 0 where that is to be expected.

    Hard rays, scatter and the beam's own drift move the centre of mass of a dense sample a little, and slowly.
    """
    kept = np.flatnonzero(~wrong)
    if len(kept) < 4 * SLOW:
        return 0.0
    values = rest[kept]
    means = np.convolve(values, np.full(SLOW, 1 / SLOW), mode="valid")
    noise = 1.483 * float(np.median(np.abs(np.diff(values)))) / np.sqrt(2 * SLOW)
    expected = np.convolve(allowed[kept], np.full(SLOW, 1 / SLOW), mode="valid")
    beyond = np.abs(means) > np.maximum.reduce(
        [np.full(len(means), max(SIGMAS * noise, WANDER_SHARE * columns)), expected]
    )
    return float(np.abs(means[beyond]).max(initial=0.0))


def lowest_transmission(transmission: Floats) -> Floats:
    """Return the lowest transmission of each projection (angle, row, column), were it of half a column only.

    Every few pixels are looked at, at a distance that shares no factor with the columns: it meets all of them.
    """
    n, _, columns = transmission.shape
    step = next(step for step in (3, 5, 7, 11, 13, 1) if columns % step)
    some = transmission.reshape(n, -1)[:, ::step]
    return np.asarray(np.quantile(some, min(0.02, 0.5 / columns), axis=1, method="lower"))


def partial_volume(lowest: Floats) -> Floats:
    """Return by how much, at most, a pixel half covered by what is densest moves a centre of mass, columns.

    Its mean transmission is that of less than half of what covers it: a slab seen edge on loses a part of one side.

    Parameters
    ----------
    lowest : array (angle,)
        The lowest transmission of each projection.
    """
    deepest = np.maximum(-np.log(np.maximum(lowest, 1e-5)), 1e-6)
    return np.asarray((deepest / 2 + np.log((1 + np.exp(-deepest)) / 2)) / deepest)


def _breaks(p: Floats, angles: Floats) -> npt.NDArray[np.bool_]:
    """Find where the profile (mean over rows) changes far more than in the two steps before and after.

    Blocks of frames that changed places, or a part of a scan that is lost, show here even where the centre of mass
    happens to be the same. A frame that alone is different changes it twice in a row, and is none of this.
    """
    profile = p.mean(axis=1, dtype=np.float64)
    change = np.sqrt(np.mean(np.diff(profile, axis=0) ** 2, axis=1))
    if len(change) < 20:
        return np.zeros(len(profile), bool)
    near = np.full(len(change), np.inf)
    beside = [np.roll(change, shift) for shift in (-2, -1, 1, 2)]
    near[2:-2] = np.max(beside, axis=0)[2:-2]
    near[1], near[-2] = np.max(change[[0, 2, 3]]), np.max(change[[-4, -3, -1]])
    turn = turned(angles)
    even = np.abs(turn - np.median(turn)) < 0.5 * float(np.median(turn)) + 1e-9
    alike = np.all([np.roll(even, shift) for shift in (-2, -1, 0, 1, 2)], axis=0)  # or views differ more by themselves
    return np.append(False, (change > BREAK * near) & alike)


def turned(angles: Floats) -> Floats:
    """Return by how much the sample is turned from each projection to the next, radians, at most half a turn."""
    return np.asarray(np.abs(np.mod(np.diff(angles) + np.pi, 2 * np.pi) - np.pi))


def sinusoid_residuals(
    center: Floats, angles: Floats, wrong: npt.NDArray[np.bool_], degree: int = 0
) -> tuple[Floats, float]:
    """Fit a sinusoid robustly (Tukey's biweight); return what is left, and its robust standard deviation.

    With a `degree` a polynomial in the number of the projection is fitted beside it.
    """
    slow = np.polynomial.legendre.legvander(np.linspace(-1, 1, len(angles)), degree)
    design = np.column_stack([np.cos(angles), np.sin(angles), slow])
    weight = np.where(wrong, 0.0, 1.0)
    rest, sigma = center, float("inf")
    for _ in range(12):
        root = np.sqrt(weight)
        found = np.linalg.lstsq(design * root[:, None], center * root, rcond=None)[0]
        rest = center - design @ found
        sigma = 1.483 * float(np.median(np.abs(rest[~wrong]))) if (~wrong).any() else 0.0
        x = rest / max(4.7 * sigma, 1e-9)
        weight = np.where((np.abs(x) < 1) & ~wrong, (1 - x**2) ** 2, 0.0)
    return rest, sigma


def _jumps(rest: Floats, angles: Floats, wrong: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Find where means over a few projections before and after differ by far more than single ones scatter."""
    n, window = len(rest), 4
    jumped = np.zeros(n, bool)
    kept = np.flatnonzero(~wrong)
    if len(kept) < 8 * window:
        return jumped
    step = np.diff(rest[kept])
    sigma = 1.483 * float(np.median(np.abs(step))) / np.sqrt(2)
    total = np.concatenate([[0.0], np.cumsum(rest[kept])])
    at = np.arange(window, len(kept) - window)
    after = (total[at + window] - total[at]) / window
    before = (total[at] - total[at - window]) / window
    size = np.abs(after - before)
    turn = np.abs(np.diff(np.unwrap(angles[kept])))
    near = turn[at - 1] < 5 * np.median(turn) + 1e-9
    peak = size >= np.maximum.reduce([np.roll(size, k) for k in range(-window, window + 1)])
    found = peak & near & (size > max(SIGMAS * sigma * np.sqrt(2 / window), 0.15)) & (np.abs(step[at - 1]) > 0.5 * size)
    jumped[kept[at[found]]] = True
    return jumped
