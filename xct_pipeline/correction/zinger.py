"""Zingers (single bright pixels from direct hits on the sensor) and dead pixels of the detector."""

from __future__ import annotations

from types import ModuleType
from typing import Any, Literal

import numpy as np

from xct_pipeline.compiled import empty, njit
from xct_pipeline.device import Array, array_namespace, is_cupy, ndimage_of, to_host

Plane = Literal["projection", "sinogram"]
Sign = Literal["positive", "negative", "both"]


def remove_zingers(
    block: Array,
    *,
    threshold: float = 0.2,
    size: int = 3,
    plane: Plane = "projection",
    sign: Sign = "positive",
    rows: slice = slice(None),
) -> tuple[Any, np.ndarray[Any, Any]]:
    """Replace single outlying pixels by the median of their neighbourhood (selective median).

    A pixel is replaced where it lies beyond the median of its `size` x `size` neighbourhood by more than
    `threshold` times that median's magnitude. All other pixels are returned bit by bit. At the edges of the
    block the neighbourhood is reflected, so for `plane="projection"` a caller that works on part of the rows
    passes ``size // 2`` rows more on either side, and in `rows` those that are wanted.

    Parameters
    ----------
    block : array (angle, row, column)
        Raw counts (integers up to 16 bits, or floating) or normalised intensities. Best applied to counts:
        the excess of a zinger is additive there. A NaN is never replaced, nor is a pixel beside one
        sure to be.
    threshold : float
        Relative excess, 0 or more. Noise that exceeds it is replaced too; about 6 times the relative noise
        of a count is safe.
    size : int
        Odd side of the neighbourhood; 3 is the fast one.
    plane : 'projection' or 'sinogram'
        Whether the neighbourhood lies in (row, column) or in (angle, column).
    sign : 'positive', 'negative' or 'both'
        Which side of the median counts as an outlier.
    rows : slice
        Rows of the block that are returned; the others are only looked at.

    Returns
    -------
    corrected : array (angle, row, column), same dtype
    counts : int64 numpy array (row,)
        Pixels replaced in each of these detector rows.

    Raises
    ------
    ValueError
        Where the block has not three axes, the threshold is negative or the size even.

    References
    ----------
    Replacement by a local average above a threshold: N. T. Vo et al., Opt. Express 29, 17849 (2021),
    doi:10.1364/OE.418448. Median of nine from sorted columns: J. L. Smith, Xcell 23, 16 (1996).
    """
    if block.ndim != 3:
        raise ValueError(f"zinger removal needs a block (angle, row, column), not {block.ndim} axes")
    if not threshold >= 0:
        raise ValueError(f"the threshold for zingers must be 0 or more, not {threshold}")
    if size < 1 or size % 2 == 0:
        raise ValueError(f"the neighbourhood of a zinger must have an odd side, not {size}")
    xp = array_namespace(block)
    if is_cupy(block) or size != 3 or block.size == 0 or _working_type(block.dtype) == np.float64:
        corrected, replaced = (part[:, rows] for part in _replace_plain(block, threshold, size, plane, sign))
        return corrected, np.asarray(to_host(replaced.sum(axis=(0, 2), dtype=xp.int64)))
    first, stop, _ = rows.indices(block.shape[1])
    corrected = np.empty((block.shape[0], stop - first, block.shape[2]), block.dtype)
    planes, target = (block, corrected) if plane == "projection" else (_swap(block[:, first:stop]), _swap(corrected))
    counts = np.zeros(target.shape[:2], np.int64)
    upward, downward = sign != "negative", sign != "positive"
    _replace_3x3(planes, first if plane == "projection" else 0, np.float32(threshold), upward, downward, target, counts)
    return corrected, counts.sum(axis=0 if plane == "projection" else 1)


def interpolate_pixels(block: Array, mask: Array) -> tuple[Any, int]:
    """Fill dead detector pixels from their neighbours, linearly across columns, else across rows.

    A masked pixel takes the straight line between the nearest good pixels of its row (the nearest one alone
    at the edge). A row that is masked as a whole takes the line between the nearest rows that are not.

    Parameters
    ----------
    block : array (angle, row, column)
        Counts or intensities, any real dtype; integers are rounded.
    mask : bool array (row, column)
        True where the detector is dead. A caller that works on part of the rows passes enough of them for a
        wholly dead row to find its neighbours.

    Returns
    -------
    corrected : array (angle, row, column), same dtype
    count : int
        Detector pixels filled: all masked ones, or 0 where no pixel is good.

    Raises
    ------
    ValueError
        Where the mask's shape is not the block's (row, column).
    """
    if block.ndim != 3 or mask.shape != block.shape[1:]:
        raise ValueError(f"a mask (row, column) of shape {mask.shape} does not fit a block of {block.shape}")
    xp = array_namespace(block)
    bad = np.asarray(to_host(mask), bool)
    corrected = xp.array(block)
    if not bad.any() or bad.all():
        return corrected, 0
    whole = np.asarray(bad.all(axis=1))
    rows, columns = np.nonzero(bad & ~whole[:, None])
    left, right, weight = np.empty(rows.size, int), np.empty(rows.size, int), np.empty(rows.size)
    for row in np.unique(rows):
        here = rows == row
        left[here], right[here], weight[here] = _neighbours(columns[here], np.flatnonzero(~bad[row]))
    row, column, left, right = (xp.asarray(index) for index in (rows, columns, left, right))
    corrected[:, row, column] = _mix(block[:, row, left], block[:, row, right], weight, xp)
    lost = np.flatnonzero(whole)
    if lost.size:
        above, below, share = _neighbours(lost, np.flatnonzero(~whole))
        above, below, lost = (xp.asarray(index) for index in (above, below, lost))
        corrected[:, lost] = _mix(corrected[:, above], corrected[:, below], share[:, None], xp)
    return corrected, int(bad.sum())


def _neighbours(bad: np.ndarray[Any, Any], good: np.ndarray[Any, Any]) -> tuple[Any, Any, Any]:
    """Nearest good index below and above each bad one, and the weight of the one above."""
    place = np.searchsorted(good, bad)
    low = good[np.clip(place - 1, 0, good.size - 1)]
    high = good[np.clip(place, 0, good.size - 1)]
    weight = np.clip((bad - low) / np.maximum(high - low, 1), 0.0, 1.0)
    return low, high, weight


def _mix(first: Array, second: Array, weight: np.ndarray[Any, Any], xp: ModuleType) -> Any:
    """Weighted mean of two arrays in double precision, rounded for integers."""
    share = xp.asarray(weight)
    mixed = first.astype(np.float64) * (1 - share) + second.astype(np.float64) * share
    return mixed.astype(first.dtype) if first.dtype.kind == "f" else xp.rint(mixed).astype(first.dtype)


def _swap(block: Array) -> Any:
    return block.swapaxes(0, 1)


def _working_type(dtype: np.dtype[Any]) -> type[np.floating[Any]]:
    """Floating type in which values of `dtype` are compared without loss."""
    small = dtype.itemsize <= 2 or dtype == np.float32
    return np.float32 if small else np.float64


def _replace_plain(block: Array, threshold: float, size: int, plane: Plane, sign: Sign) -> tuple[Any, Any]:
    """Plain formulation; the fast path gives the same pixels exactly."""
    window = (1, size, size) if plane == "projection" else (size, 1, size)
    kind = _working_type(block.dtype)
    xp = array_namespace(block)
    median = ndimage_of(block).median_filter(block, size=window, mode="reflect")
    value, middle = block.astype(kind), median.astype(kind)
    limit = xp.abs(middle) * kind(threshold)
    high, low = value - middle > limit, middle - value > limit
    replaced = high | low if sign == "both" else high if sign == "positive" else low
    return xp.where(replaced, median, block), replaced


@njit
def _replace_3x3(
    block: Array, first: int, threshold: np.float32, upward: bool, downward: bool, corrected: Array, counts: Array
) -> None:
    """Selective 3 x 3 median in the last two axes of `block`, from line `first`; counts (first axis, second axis)."""
    planes, lines, width = block.shape
    rows = empty((3, width), np.float32)
    low = empty(width + 2, np.float32)
    mid = empty(width + 2, np.float32)
    high = empty(width + 2, np.float32)
    for plane in range(planes):
        for line in range(corrected.shape[1]):
            for tap in range(3):
                source = min(max(first + line + tap - 1, 0), lines - 1)  # reflecting by one is repeating the edge
                for column in range(width):
                    rows[tap, column] = block[plane, source, column]
            _sort_triples(rows, low, mid, high)
            counts[plane, line] = _select(
                rows[1], low, mid, high, threshold, upward, downward, block[plane, first + line], corrected[plane, line]
            )


@njit(inner=True)
def _sort_triples(rows: Array, low: Array, mid: Array, high: Array) -> None:
    """Sort the three values above each other in every column; the edges are repeated once."""
    width = rows.shape[1]
    for column in range(width):
        a, b, c = rows[0, column], rows[1, column], rows[2, column]
        small = a if a < b else b
        large = b if a < b else a
        middle = large if large < c else c
        high[column + 1] = c if large < c else large
        low[column + 1] = small if small < middle else middle
        mid[column + 1] = middle if small < middle else small
    for part in (low, mid, high):
        part[0] = part[1]
        part[width + 1] = part[width]


@njit(inner=True)
def _select(
    values: Array,
    low: Array,
    mid: Array,
    high: Array,
    threshold: np.float32,
    upward: bool,
    downward: bool,
    source: Array,
    corrected: Array,
) -> int:
    """Median of nine as the median of (largest low, median mid, smallest high); replace outliers by it."""
    count = 0
    for column in range(values.size):
        floor = max(low[column], max(low[column + 1], low[column + 2]))
        ceiling = min(high[column], min(high[column + 1], high[column + 2]))
        a, b, c = mid[column], mid[column + 1], mid[column + 2]
        centre = max(min(a, b), min(max(a, b), c))
        median = max(min(floor, ceiling), min(max(floor, ceiling), centre))
        limit = threshold * abs(median)
        excess = values[column] - median
        outlier = (upward and excess > limit) or (downward and -excess > limit)
        corrected[column] = median if outlier else source[column]
        count += outlier
    return count
