"""Exact running median along one axis, for many lines at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from xct_pipeline.compiled import empty, njit, zeros
from xct_pipeline.device import Array, is_cupy, ndimage_of

GROUP = 64  # lines handled together: four AVX-512 vectors, so every compare-exchange is a vector operation


def running_median(array: Array, size: int, *, axis: int = -1) -> Any:
    """Replace every value by the median of a window of `size` values along one axis.

    The ends are extended as ``scipy.ndimage`` does in mode ``reflect`` (d c b a | a b c d | d c b a), and
    the result equals ``scipy.ndimage.median_filter(..., mode="reflect")`` to the last bit (for an even size
    too, where both take the upper of the two middle values). Fast where `axis` is the first one of a
    C-ordered array; other axes are copied into that order and back.

    Parameters
    ----------
    array : numpy or CuPy array of any shape
        Must hold no NaN (NaN has no place in an order). Integers are handled exactly.
    size : int
        Length of the window, at least 1; it may exceed the length of the axis.
    axis : int
        The axis along which the window slides.

    Returns
    -------
    array of the same shape and dtype

    Raises
    ------
    ValueError
        Where the window is shorter than 1 or the array has no axis.

    References
    ----------
    The idea of one sorted window per line that is updated rather than sorted anew: T. Huang, G. Yang and
    G. Tang, IEEE Trans. Acoust. Speech Signal Process. 27, 13 (1979), doi:10.1109/TASSP.1979.1163188.
    """
    if size < 1:
        raise ValueError(f"the window of a running median must hold at least 1 value, not {size}")
    if array.ndim == 0:
        raise ValueError("a running median needs an array with at least one axis")
    if is_cupy(array):
        window = [1] * array.ndim
        window[axis] = size
        return ndimage_of(array).median_filter(array, size=tuple(window), mode="reflect")
    if size == 1 or array.size == 0:
        return np.array(array)
    moved = np.moveaxis(array, axis, 0)
    lines = np.ascontiguousarray(moved.reshape(moved.shape[0], -1), dtype=_working_type(array.dtype))
    result = np.empty_like(lines)
    _slide(lines, _reflected_positions(lines.shape[0], size), size, result)
    result = np.moveaxis(result.reshape(moved.shape), 0, axis)
    return result.astype(array.dtype, copy=False)


def _working_type(dtype: np.dtype[Any]) -> type[np.floating[Any]]:
    """Floating type that holds every value of `dtype` exactly (up to 2**53 for long integers)."""
    small = dtype.itemsize <= 2 or dtype == np.float32
    return np.float32 if small else np.float64


def _reflected_positions(count: int, size: int) -> np.ndarray[Any, Any]:
    """Index of the value at each position of the axis extended by reflection for windows of `size`."""
    position = np.arange(-(size // 2), count + size - size // 2) % (2 * count)
    return np.where(position < count, position, 2 * count - 1 - position)


@njit
def _slide(lines: Array, positions: Array, size: int, result: Array) -> None:
    """Slide one sorted window per line along the first axis of `lines`."""
    count, total = lines.shape
    # One slot more than the window: it stays infinite, the neighbour of the last value.
    window = empty((size + 1, GROUP), lines.dtype)
    old = zeros(GROUP, lines.dtype)
    new = zeros(GROUP, lines.dtype)
    below = zeros(GROUP, lines.dtype)
    for start in range(0, total, GROUP):
        width = min(GROUP, total - start)
        window[:] = np.inf
        for step in range(size):
            old[:] = np.inf  # an empty slot gives way
            for lane in range(width):
                new[lane] = lines[positions[step], start + lane]
            _replace(window, old, new, below)
        for index in range(count):
            for lane in range(width):
                result[index, start + lane] = window[size // 2, lane]
            if index + 1 < count:
                for lane in range(width):
                    old[lane] = lines[positions[index], start + lane]
                    new[lane] = lines[positions[index + size], start + lane]
                _replace(window, old, new, below)


@njit(inline="always")
def _replace(window: Array, old: Array, new: Array, below: Array) -> None:
    """Take `old` out of every sorted window and put `new` in, without a branch.

    The window without `old` keeps the values below it and shifts the others down; inserting `new` into a
    sorted list leaves, at each place, `new` limited to the list's neighbours.
    """
    below[:] = -np.inf
    for slot in range(window.shape[0] - 1):
        for lane in range(GROUP):
            here = window[slot, lane]
            kept = here if here < old[lane] else window[slot + 1, lane]
            least = kept if kept < new[lane] else new[lane]
            window[slot, lane] = below[lane] if below[lane] > least else least
            below[lane] = kept
