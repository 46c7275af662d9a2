"""Column-wise operations on one sinogram that every stripe method of Vo 2018 is made of.

A *sinogram* is ``(angle, column)``. Its *sorted* form is ``(column, angle)``: each detector column's values in
ascending order, angle innermost, so that a column is contiguous for sorting and neighbouring ranks are
contiguous for the running median across columns.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from xct_pipeline.compiled import empty, njit, zeros
from xct_pipeline.device import Array, array_namespace, is_cupy, ndimage_of

TILE = 32  # columns transposed together: one tile's lines of both layouts stay in the first-level cache


def sort_columns(sinogram: Array) -> tuple[Any, Any]:
    """Sort each column of a sinogram by value, equal values by angle.

    Parameters
    ----------
    sinogram : float32 array (angle, column), finite

    Returns
    -------
    values : float32 array (column, angle), ascending along the angle
    order : int64 or uint64 array (column, angle); the low 32 bits are the angle each value came from
    """
    xp = array_namespace(sinogram)
    if is_cupy(sinogram):
        return _sort_columns_plain(sinogram, xp)
    keys = np.empty(sinogram.shape[::-1], np.uint64)
    values = np.empty(sinogram.shape[::-1], np.float32)
    _pack_keys(sinogram, sinogram.view(np.uint32), keys)
    keys.sort(axis=1)  # numpy sorts 64-bit integers with vector instructions, and whole keys are all distinct
    _unpack_values(keys, values.view(np.uint32))
    return values, keys


def unsort_columns(values: Array, order: Array) -> Any:
    """Put sorted values back to the angles they came from: the inverse of `sort_columns`.

    Parameters
    ----------
    values : float32 array (column, angle)
    order : the second result of `sort_columns`

    Returns
    -------
    float32 array (angle, column)
    """
    if is_cupy(values):
        return _unsort_columns_plain(values, order, array_namespace(values))
    sinogram = np.empty(values.shape[::-1], np.float32)
    _scatter_columns(values, order, sinogram)
    return sinogram


def angular_activity(sinogram: Array, size: int) -> Any:
    """Sum over angles of what a column's value differs from its own running mean over `size` angles.

    Zero for a column that never changes, large for one that flickers; differences at the level of single
    precision rounding count as none. Ends are reflected.

    Parameters
    ----------
    sinogram : float32 array (angle, column)
    size : int
        Window of the mean, in angles.

    Returns
    -------
    float64 array (column,)
    """
    xp = array_namespace(sinogram)
    if is_cupy(sinogram):
        activity, magnitude = _activity_plain(sinogram, size, xp)
    else:
        activity, magnitude = _activity(np.ascontiguousarray(sinogram), size)
    return xp.where(activity > magnitude * float(4 * np.finfo(np.float32).eps), activity, 0.0)


def interpolate_columns(sinogram: Array, mask: np.ndarray[Any, Any]) -> Any:
    """Replace masked columns by the straight line between the nearest columns that are not masked.

    Parameters
    ----------
    sinogram : float32 array (angle, column)
    mask : bool array (column,) on the host; columns beyond the first or last good one take its value. With
        no good column the sinogram is returned as it is.

    Returns
    -------
    float32 array (angle, column), a new array
    """
    xp = array_namespace(sinogram)
    result = xp.array(sinogram)
    bad, good = np.flatnonzero(mask), np.flatnonzero(~mask)
    if bad.size == 0 or good.size == 0:
        return result
    place = np.searchsorted(good, bad)
    left, right = good[np.maximum(place - 1, 0)], good[np.minimum(place, good.size - 1)]
    share = np.clip((bad - left) / np.maximum(right - left, 1), 0.0, 1.0).astype(np.float32)
    weight, left, right = xp.asarray(share), xp.asarray(left), xp.asarray(right)
    result[:, xp.asarray(bad)] = sinogram[:, left] * (1 - weight) + sinogram[:, right] * weight
    return result


def product(left: Array, right: Array) -> Any:
    """Matrix product whose bits do not depend on the number of threads a BLAS library takes.

    Parameters
    ----------
    left, right : floating arrays (i, k) and (k, j) of one dtype; meant for a k or an i of some dozens

    Returns
    -------
    array (i, j) of that dtype; every entry is summed in the order of k
    """
    if is_cupy(right):
        return left @ right
    result = np.empty((left.shape[0], right.shape[1]), right.dtype)
    _product(np.ascontiguousarray(left), np.ascontiguousarray(right), result)
    return result


def _sort_columns_plain(sinogram: Array, xp: ModuleType) -> tuple[Any, Any]:
    """Plain formulation of `sort_columns`; the fast path gives the same values and order exactly."""
    columns = xp.ascontiguousarray(sinogram.T)
    order = xp.argsort(columns, axis=1, kind="stable")
    return xp.take_along_axis(columns, order, axis=1), order


def _unsort_columns_plain(values: Array, order: Array, xp: ModuleType) -> Any:
    """Plain formulation of `unsort_columns`; the fast path gives the same array exactly."""
    back = xp.argsort(order, axis=1, kind="stable")
    return xp.ascontiguousarray(xp.take_along_axis(values, back, axis=1).T)


def _activity_plain(sinogram: Array, size: int, xp: ModuleType) -> tuple[Any, Any]:
    """Plain formulation of `_activity`; the fast path agrees to 1e-6 relative."""
    mean = ndimage_of(sinogram).uniform_filter1d(sinogram.astype(xp.float64), size, axis=0, mode="reflect")
    return xp.abs(sinogram - mean).sum(axis=0), xp.abs(sinogram).sum(axis=0, dtype=xp.float64)


@njit
def _pack_keys(sinogram: Array, bits: Array, keys: Array) -> None:
    """Write (value, angle) of each column as integers whose order is the order of the values."""
    angles, columns = sinogram.shape
    for start in range(0, columns, TILE):
        stop = min(start + TILE, columns)
        for angle in range(angles):
            for column in range(start, stop):
                pattern = bits[angle, column]
                # A negative zero must sort as a zero; negative floats order backwards as integers.
                if sinogram[angle, column] == 0.0:
                    pattern = np.uint32(0)
                sign = np.uint32(0x80000000)
                flipped = ~pattern if pattern & sign else pattern | sign
                keys[column, angle] = (np.uint64(np.uint32(flipped)) << np.uint64(32)) | np.uint64(angle)


@njit
def _unpack_values(keys: Array, bits: Array) -> None:
    """Recover the float bit patterns from sorted keys."""
    sign = np.uint32(0x80000000)
    for column in range(keys.shape[0]):
        for rank in range(keys.shape[1]):
            pattern = np.uint32(keys[column, rank] >> np.uint64(32))
            bits[column, rank] = pattern ^ sign if pattern & sign else ~pattern


@njit
def _scatter_columns(values: Array, keys: Array, sinogram: Array) -> None:
    """Send each value to its angle, sixteen columns (one cache line of the result) at a time."""
    columns, angles = values.shape
    tile = empty((angles, 16), np.float32)
    for start in range(0, columns, 16):
        width = min(16, columns - start)
        for lane in range(width):
            for rank in range(angles):
                home = np.int64(keys[start + lane, rank] & np.uint64(0xFFFFFFFF))
                tile[home, lane] = values[start + lane, rank]
        for angle in range(angles):
            for lane in range(width):
                sinogram[angle, start + lane] = tile[angle, lane]


@njit
def _activity(sinogram: Array, size: int) -> tuple[Array, Array]:
    """Sums over angles of |value - running mean| and of |value| for each column, in double precision."""
    angles, columns = sinogram.shape
    first = size // 2
    total = zeros(columns, np.float64)
    activity = zeros(columns, np.float64)
    magnitude = zeros(columns, np.float64)
    for offset in range(-first, size - first):
        row = sinogram[_reflect(offset, angles)]
        for column in range(columns):
            total[column] += row[column]
    scale = 1.0 / size
    for angle in range(angles):
        row = sinogram[angle]
        leaving = sinogram[_reflect(angle - first, angles)]
        entering = sinogram[_reflect(angle + size - first, angles)]
        for column in range(columns):
            activity[column] += abs(row[column] - total[column] * scale)
            magnitude[column] += abs(row[column])
            total[column] += np.float64(entering[column]) - np.float64(leaving[column])
    return activity, magnitude


@njit
def _reflect(index: int, count: int) -> int:
    """Index of the sample at `index` of an axis that is reflected at its ends without end."""
    index = index % (2 * count)
    return index if index < count else 2 * count - 1 - index


@njit
def _product(left: Array, right: Array, result: Array) -> None:
    """Product by tiles of 16 x 128 sums that stay in the first-level cache."""
    rows, terms = left.shape
    columns = right.shape[1]
    sums = empty((16, 128), right.dtype)
    for start in range(0, columns, 128):
        width = min(128, columns - start)
        for top in range(0, rows, 16):
            height = min(16, rows - top)
            sums[:] = 0
            for term in range(terms):
                line = right[term, start : start + width]
                for row in range(height):
                    factor = left[top + row, term]
                    for column in range(width):
                        sums[row, column] += factor * line[column]
            for row in range(height):
                for column in range(width):
                    result[top + row, start + column] = sums[row, column]
