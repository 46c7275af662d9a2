"""Sums over pairs of voxels that lie a lag apart: compiled, without a transform, each pair taken once.

A pair is counted by the one of its voxels that comes first in memory; results are made even in the lag. Where a row of
a mask is empty nothing is done, so the cost follows the voxels of the mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from xct_pipeline.compiled import empty, njit
from xct_pipeline.device import Array

WORD = 64  # voxels whose masks are counted together


def products(values: Array, first: Array, lag: Sequence[int]) -> Array:
    """Sum products of values of all pairs of voxels up to `lag` apart.

    Parameters
    ----------
    values : array, (z, y, x)
        Zero outside the mask.
    first : array of bool, (z, y, x)
        Voxels that may come first in a pair.
    lag : (z, y, x)
        Largest lag along each axis.

    Returns
    -------
    numpy.ndarray
        ``2 lag + 1`` sums, lag zero in the middle.
    """
    there = np.pad(np.asarray(values, np.float64), ((0, 0), (0, 0), (lag[2], lag[2])))
    here = np.where(first, np.asarray(values, np.float64), 0.0)
    used = np.stack([here.any(axis=2), there.any(axis=2)])
    total = np.zeros([2 * n + 1 for n in lag])
    _products(here, there, used, total)
    return _both_ways(total)


def pair_counts(mask: Array, first: Array, lag: Sequence[int]) -> Array:
    """Count the pairs of voxels of a mask up to `lag` apart; arguments and result as for `products`."""
    there = np.stack([_words(_moved(mask, step)) for step in range(-lag[2], lag[2] + 1)], axis=2)
    here = _words(mask & first)
    used = np.stack([here.any(axis=2), mask.any(axis=2)])
    total = np.zeros([2 * n + 1 for n in lag], np.int64)
    _pair_counts(here, there, used, total)
    return _both_ways(total).astype(np.float64)


def _both_ways(total: Array) -> Array:
    """Fill in the lags whose pairs were counted at the opposite lag."""
    flat = total.ravel()
    flat[: flat.size // 2] = flat[: flat.size // 2 : -1]
    return total


def _moved(mask: Array, step: int) -> Array:
    """Return a mask whose voxel x is that of x + `step`."""
    moved = np.zeros_like(mask)
    if abs(step) < mask.shape[2]:
        moved[:, :, max(-step, 0) : mask.shape[2] - max(step, 0)] = mask[
            :, :, max(step, 0) : mask.shape[2] + min(step, 0)
        ]
    return moved


def _words(mask: Array) -> Array:
    """Pack a mask (z, y, x) along x into words of 64 voxels."""
    padded = np.pad(mask, ((0, 0), (0, 0), (0, -mask.shape[2] % WORD)))
    return np.packbits(padded, axis=2).view(np.uint64)


def window_sums(values: Array, mask: Array, size: tuple[int, int, int]) -> Array:
    """Return (windows, sum, sum of squares) of sums over the windows of a block that lie wholly in a mask.

    Parameters
    ----------
    values : array, (z, y, x)
        Zero outside the mask.
    mask : array of bool, (z, y, x)
    size : (z, y, x)
        Window, voxels, counted from the block's first voxel.
    """
    result = np.zeros(3)
    _window_sums(np.asarray(values), mask.view(np.uint8), *size, result)
    return result


@njit(cache=False)  # numba cannot keep generators
def _rows_apart(used: Array, lz: int, ly: int) -> Any:
    """Yield each row and how far on lies another that it is paired with; rows without voxels are passed over."""
    nz, ny = used.shape[1:]
    for z in range(nz):
        for y in range(ny):
            if not used[0, z, y]:
                continue
            for dz in range(min(lz, nz - 1 - z) + 1):
                for dy in range(max(-ly if dz else 0, -y), min(ly, ny - 1 - y) + 1):
                    if used[1, z + dz, y + dy]:
                        yield z, y, dz, dy


@njit(fastmath={"reassoc", "contract", "nsz"})
def _products(here: Array, there: Array, used: Array, total: Array) -> None:
    nx = here.shape[2]
    lz, ly, lx = total.shape[0] // 2, total.shape[1] // 2, total.shape[2] // 2
    for z, y, dz, dy in _rows_apart(used, lz, ly):
        a = here[z, y]
        row = there[z + dz, y + dy]
        for dx in range(2 * lx + 1):
            b = row[dx : dx + nx]
            dot = 0.0
            for x in range(nx):
                dot += a[x] * b[x]
            total[lz + dz, ly + dy, dx] += dot


@njit
def _pair_counts(here: Array, there: Array, used: Array, total: Array) -> None:
    words = here.shape[2]
    lz, ly, steps = total.shape[0] // 2, total.shape[1] // 2, total.shape[2]
    m1, m2, m4 = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333), np.uint64(0x0F0F0F0F0F0F0F0F)
    ones = np.uint64(0x0101010101010101)
    s1, s2, s4, top = np.uint64(1), np.uint64(2), np.uint64(4), np.uint64(56)
    for z, y, dz, dy in _rows_apart(used, lz, ly):
        a = here[z, y]
        for dx in range(steps):
            b = there[z + dz, y + dy, dx]
            found = np.uint64(0)
            for k in range(words):  # the bits of a word, counted in parallel
                bits = a[k] & b[k]
                bits = bits - ((bits >> s1) & m1)
                bits = (bits & m2) + ((bits >> s2) & m2)
                bits = (bits + (bits >> s4)) & m4
                found += (bits * ones) >> top
            total[lz + dz, ly + dy, dx] += np.int64(found)


@njit
def _window_sums(values: Array, mask: Array, depth: int, height: int, width: int, result: Array) -> None:
    nz, ny, nx = values.shape
    across = nx // width
    total, count = empty(across, np.float64), empty(across, np.int64)
    for z in range(0, nz - depth + 1, depth):
        for y in range(0, ny - height + 1, height):
            total[:], count[:] = 0.0, 0
            for dz in range(depth):
                for dy in range(height):
                    line, inside = values[z + dz, y + dy], mask[z + dz, y + dy]
                    for k in range(across):
                        for x in range(k * width, (k + 1) * width):
                            total[k] += line[x]
                            count[k] += inside[x]
            for k in range(across):
                if count[k] == depth * height * width:
                    result[0] += 1
                    result[1] += total[k]
                    result[2] += total[k] * total[k]
