"""Light that no longer fits the flats: how far line integrals are off by it, alike at all angles.

A beam whose pattern moved since its flats leaves that change in every projection. As what single columns are off by, it
becomes rings, but wide ones: neighbouring columns and rows have it in common. Air at the edges of the detector shows
how much there is of it. Bands that run along the rows are no rings: the filter of the reconstruction takes what has no
edge across a row from all but the grey scale. So what counts is by how much columns at one edge differ, the more the
further they lie apart; over how many columns it would reach its full size is bounded by the size that air shows.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LENGTHS = np.geomspace(1.0, 64.0, 25)  # of the correlation along a row, columns
FEWEST = 4  # columns at an edge
ROWS_LEAST = 32
SURE = 6.0  # standard errors, from which it is believed in
ALIKE = 6.0  # squares of what a fit leaves over those of the best, up to which its length may be true
BEYOND = 2  # columns apart, from which on no interpolation of a projection makes pixels alike
NEAR = 3  # columns apart, up to which they are taken for alike
LEAST_LEFT = 0.5  # share of the variance, where hardly any rows differ
ROWS = 0.25  # share of the rows that two may lie apart in


class UnevenLight(NamedTuple):
    """What line integrals are off by in a scan, or in the difference of two."""

    variance: tuple[float, ...]
    """covariance of a column's errors in rows 0, 1, 2 ... apart"""
    lengths: tuple[tuple[float, float], ...]
    """(columns, share of the variance): lengths over which they may be alike, each with the size that goes with it"""


def uneven_light(left: npt.ArrayLike, right: npt.ArrayLike) -> UnevenLight | None:
    """Return how far line integrals are off, None where air shows nothing beyond chance or is too little to tell.

    Parameters
    ----------
    left, right : (row, column)
        Mean line integrals over the angles in air at the edges. What a column is off by in all rows is left out.
    """
    sides = [np.asarray(side, np.float64) for side in (left, right)]
    sides = [side - side.mean(axis=0) for side in sides if side.shape[1] >= FEWEST]
    if not sides or len(sides[0]) < ROWS_LEAST:
        return None
    total = _apart(sides)
    rise, chance = _rise(total, sides)
    if not rise > SURE * chance:
        return None
    lengths, amounts = _lengths(total, _size(sides))
    largest = float(amounts.max())
    if not largest > 0:
        return None
    shares = (amounts / largest).tolist()
    alike = _along_rows(sides)
    left = _left(alike, len(sides[0]))
    largest *= (1 + 2 * (1 - left)) / left  # as few rows as are independent tell little
    variance = tuple((largest * alike).tolist())
    return UnevenLight(variance, tuple(zip(lengths.tolist(), shares, strict=True)))


def _apart(sides: list[Floats]) -> Floats:
    """Return sums of half the squares of what columns of a row differ by, and their number (columns apart, 2)."""
    found = np.zeros((max(side.shape[1] for side in sides), 2))
    for side in sides:
        for apart in range(BEYOND, side.shape[1]):
            difference = side[:, apart:] - side[:, :-apart]
            found[apart] += float((difference**2).sum()) / 2, difference.size
    return found


def _rise(sums: Floats, sides: list[Floats]) -> tuple[float, float]:
    """Return by how much squares of differences rise with the square of the distance, and by how much by chance.

    By chance where pixels are independent: of a sum of squares of their differences, a quadratic form of the pixels of
    a row, the variance is that of a pixel, squared, times twice the trace of the form's square.
    """
    (apart,) = np.nonzero(sums[:, 1])
    square = apart.astype(np.float64) ** 2
    square -= (sums[apart, 1] * square).sum() / sums[apart, 1].sum()
    share = np.zeros(len(sums))
    share[apart] = square / float((sums[apart, 1] * square**2).sum())
    trace = 0.0
    for side in sides:
        columns = np.arange(side.shape[1])
        form = -share[np.abs(np.subtract.outer(columns, columns))]
        form[columns, columns] = -form.sum(axis=1)
        trace += len(side) * float((form**2).sum()) / 4
    of_pixel = sums[BEYOND, 0] / sums[BEYOND, 1]
    return float((share * sums[:, 0]).sum()), float(of_pixel * math.sqrt(2 * trace))


def _size(sides: list[Floats]) -> float:
    """Return the variance of what neighbours of a row have in common: bands, and what is looked for."""
    products = [side[:, apart:] * side[:, :-apart] for side in sides for apart in range(BEYOND, NEAR + 1)]
    return float(np.concatenate([part.ravel() for part in products]).mean())


def _lengths(sums: Floats, most: float) -> tuple[Floats, Floats]:
    """Return the lengths that differences of columns agree with, and the variance with each, at most what air shows."""
    (apart,) = np.nonzero(sums[:, 1])
    mean, weight = sums[apart, 0] / sums[apart, 1], sums[apart, 1]
    models = 1 - np.exp(-0.5 * (apart / LENGTHS[:, None]) ** 2)
    about = models - (weight * models).sum(axis=1, keepdims=True) / weight.sum()
    value = mean - (weight * mean).sum() / weight.sum()  # what each pixel is off by alone is in the mean
    amounts = np.maximum((weight * about * value).sum(axis=1) / (weight * about**2).sum(axis=1), 0.0)
    amounts = np.minimum(amounts, max(most, 0.0))
    left = (weight * (value - amounts[:, None] * about) ** 2).sum(axis=1)
    like = left <= ALIKE * left.min()
    return LENGTHS[like], amounts[like]


def _along_rows(sides: list[Floats]) -> Floats:
    """Return how alike rows 0, 1, 2 ... apart are in what their columns differ by, up to where nothing is left."""
    found = np.zeros(max(int(ROWS * len(sides[0])), 2) + 1)
    for side in sides:
        half = side.shape[1] // 2
        change = side[:, :half].mean(axis=1) - side[:, -half:].mean(axis=1)
        for apart in range(1, len(found)):
            found[apart] += float((change[apart:] * change[:-apart]).mean())
    if not found[1] > 0:
        return np.ones(1)
    found[0] = max((4 * found[1] - found[2]) / 3, found[1])  # without what each pixel is off by alone
    none = np.flatnonzero(found <= 0)
    return np.asarray((found[: none[0]] if len(none) else found) / found[0])


def _left(alike: Floats, rows: int) -> float:
    """Return which share of the variance is left once the mean over the rows is taken off, if rows are so alike."""
    number = rows - np.arange(len(alike), dtype=np.float64)
    mean = (2 * float((number * alike).sum()) - rows) / rows**2
    return max(1 - mean, LEAST_LEFT)
