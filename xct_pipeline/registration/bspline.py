"""B-spline interpolation weights and the filters they need, with every output a fixed function of its neighbours.

The recursive prefilter of B-spline interpolation (Unser, IEEE Signal Processing Magazine 16 (1999) 22) reaches to the
end of the array and so depends on where a block was cut. Here the inverse filter is cut off where it has fallen below
float32's precision and applied as a symmetric finite sum, always in the same order: a voxel's value is the same bits
in whatever block it is computed.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xct_pipeline.compiled import empty, njit
from xct_pipeline.device import Array, array_namespace

SUPPORT = {"linear": 2, "cubic": 4, "quintic": 6}
DEGREE = {"linear": 1, "cubic": 3, "quintic": 5}
STRIP = 32  # rows that are filtered together
# The poles of the inverse filters are -0.268 (cubic) and -0.431 (quintic): these lengths leave less than 2e-7.
PREFILTER_RADIUS = {"linear": 0, "cubic": 12, "quintic": 19}
_SAMPLES = {"linear": (1.0,), "cubic": (4 / 6, 1 / 6), "quintic": (66 / 120, 26 / 120, 1 / 120)}


def support_of(order: str) -> int:
    """Return the number of taps per axis of an interpolation order; ValueError for an unknown one."""
    if order not in SUPPORT:
        raise ValueError(f'unknown interpolation order "{order}"; use one of {", ".join(SUPPORT)}')
    return SUPPORT[order]


@functools.cache
def prefilter_taps(order: str) -> NDArray[np.float64]:
    """Return the one-sided taps ``h[0..K]`` of the truncated inverse B-spline filter, their two-sided sum being 1."""
    support_of(order)
    length = 256  # the response has long died away: the periodic copy is exact
    samples = np.zeros(length)
    for k, value in enumerate(_SAMPLES[order]):
        samples[k] = samples[-k] = value
    response = np.fft.irfft(1.0 / np.fft.rfft(samples).real, length)
    taps = response[: PREFILTER_RADIUS[order] + 1].copy()
    return np.asarray(taps / (taps[0] + 2.0 * taps[1:].sum()), dtype=np.float64)


@functools.cache
def gaussian_taps(sigma: float) -> NDArray[np.float64]:
    """Return the one-sided taps of a Gaussian of `sigma` samples, cut at 3 sigma, with two-sided sum 1."""
    radius = max(1, math.ceil(3.0 * sigma))
    taps = np.exp(-0.5 * (np.arange(radius + 1) / sigma) ** 2)
    return np.asarray(taps / (taps[0] + 2.0 * taps[1:].sum()), dtype=np.float64)


def knot_taps(sigma: float) -> NDArray[np.float64]:
    """Return the one-sided taps of `gaussian_taps` followed by a cubic B-spline sampled at its knots.

    A volume filtered with `gaussian_taps`, taken as the coefficients of a cubic B-spline, is a smoothed image that can
    be evaluated anywhere; at the voxel centres it equals the volume filtered with these taps.
    """
    taps = gaussian_taps(sigma)
    two_sided = np.convolve(np.concatenate([taps[:0:-1], taps]), [1 / 6, 4 / 6, 1 / 6])
    return two_sided[len(two_sided) // 2 :]


def weights(fraction: ArrayLike, order: str) -> NDArray[np.float64]:
    """Return the B-spline weights of the taps around a position, on a new last axis.

    The position is `fraction` (0 <= fraction < 1) past sample 0; the taps start at sample ``1 - support / 2``.
    """
    f = np.asarray(fraction, np.float64)[..., None]
    distance = np.abs(f - np.arange(1 - support_of(order) // 2, support_of(order) // 2 + 1))
    if order == "linear":
        return np.asarray(1.0 - distance)
    if order == "cubic":
        inner = 2 / 3 - distance**2 + distance**3 / 2
        return np.asarray(np.where(distance < 1, inner, (2.0 - distance).clip(0) ** 3 / 6))
    d = distance
    inner = 11 / 20 - d**2 / 2 + d**4 / 4 - d**5 / 12
    middle = 17 / 40 + 5 * d / 8 - 7 * d**2 / 4 + 5 * d**3 / 4 - 3 * d**4 / 8 + d**5 / 24
    return np.asarray(np.where(d < 1, inner, np.where(d < 2, middle, (3.0 - d).clip(0) ** 5 / 120)))


def mirror(index: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Reflect indices about the first and the last sample of an axis of `size` samples (``c b | a b c | b a``)."""
    if size == 1:
        return np.zeros_like(index)
    folded = np.mod(index, 2 * (size - 1))
    return np.where(folded < size, folded, 2 * (size - 1) - folded)


def filter_separable(block: Array, taps: NDArray[np.float64], indices: Sequence[NDArray[np.int64]]) -> Any:
    """Apply a symmetric filter along z, y and x.

    Parameters
    ----------
    block : array (z, y, x), float32, numpy or CuPy
    taps : one-sided taps ``h[0..K]``
    indices : for each axis the source index in `block` of every padded position: ``n + 2 K`` entries for n outputs,
        which is where the caller's rule for the border of the frame stands

    Returns
    -------
    array (nz, ny, nx), float32, in the namespace of `block`. Sums run from the outermost tap inwards, so that equal
    neighbourhoods give equal bits; the plain formulation agrees with the fast path to the last bit.
    """
    if len(taps) == 1:
        xp = array_namespace(block)
        for axis, index in enumerate(indices):
            block = xp.take(block, xp.asarray(index), axis=axis)
        return block
    if array_namespace(block) is not np:
        return filter_plain(block, taps, indices)
    h = taps.astype(np.float32)
    source = np.ascontiguousarray(block, dtype=np.float32)
    nz, ny = (len(index) - 2 * (len(taps) - 1) for index in indices[:2])
    rows = np.empty((1, nz, *source.shape[1:]), np.float32)
    _filter_lines(source[None], indices[0], h, rows)
    filtered = np.empty((nz, ny, 1, source.shape[2]), np.float32)
    _filter_lines(rows[0, :, :, None], indices[1], h, filtered)
    return _filter_x(filtered[:, :, 0], indices[2], h)


def filter_plain(block: Array, taps: NDArray[np.float64], indices: Sequence[NDArray[np.int64]]) -> Any:
    """Apply `filter_separable` as whole-array sums (any namespace): its definition."""
    xp = array_namespace(block)
    h = taps.astype(np.float32)
    k_max = len(taps) - 1
    for axis, index in enumerate(indices):
        n = len(index) - 2 * k_max
        source = xp.asarray(index)
        total = None
        for k in range(k_max, 0, -1):
            low = xp.take(block, source[k_max - k : k_max - k + n], axis=axis)
            high = xp.take(block, source[k_max + k : k_max + k + n], axis=axis)
            term = h[k] * (low + high)
            total = term if total is None else total + term
        middle = h[0] * xp.take(block, source[k_max : k_max + n], axis=axis)
        block = middle if total is None else total + middle
    return block


@njit
def _filter_lines(block: Array, index: Array, taps: Array, out: Array) -> None:
    """Filter (a, n, b, x) along its second axis, a strip of rows at a time: what is looked at again is in the cache."""
    k_max = taps.size - 1
    for a in range(out.shape[0]):
        for start in range(0, out.shape[2], STRIP):
            for i in range(out.shape[1]):
                for b in range(start, min(start + STRIP, out.shape[2])):
                    target = out[a, i, b]
                    low, high = block[a, index[i], b], block[a, index[i + 2 * k_max], b]
                    _set_outermost(low, high, taps[k_max], target)
                    k = k_max - 1
                    while k > 1:
                        low, high = block[a, index[i + k_max - k], b], block[a, index[i + k_max + k], b]
                        near, far = block[a, index[i + k_max - k + 1], b], block[a, index[i + k_max + k - 1], b]
                        _add_two(low, high, taps[k], near, far, taps[k - 1], target)
                        k -= 2
                    low, high = block[a, index[i + k_max - k], b], block[a, index[i + k_max + k], b]
                    _add_last(low, high, taps[k], block[a, index[i + k_max], b], taps[0], k, target)


@njit
def _filter_x(block: Array, index: Array, taps: Array) -> Any:
    k_max = taps.size - 1
    nx = index.size - 2 * k_max
    out = empty((block.shape[0], block.shape[1], nx), np.float32)
    row = empty(index.size, np.float32)
    for z in range(block.shape[0]):
        for y in range(block.shape[1]):
            line = block[z, y]
            for i in range(index.size):
                row[i] = line[index[i]]
            target = out[z, y]
            _set_outermost(row[:nx], row[2 * k_max :], taps[k_max], target)
            k = k_max - 1
            while k > 1:
                near, far = row[k_max - k + 1 :], row[k_max + k - 1 :]
                _add_two(row[k_max - k :], row[k_max + k :], taps[k], near, far, taps[k - 1], target)
                k -= 2
            _add_last(row[k_max - k :], row[k_max + k :], taps[k], row[k_max:], taps[0], k, target)
    return out


@njit(inline="always")
def _set_outermost(low: Array, high: Array, tap: np.float32, target: Array) -> None:
    for x in range(target.shape[0]):
        target[x] = tap * (low[x] + high[x])


@njit(inline="always")
def _add_two(
    low: Array, high: Array, tap: np.float32, near: Array, far: Array, inner: np.float32, target: Array
) -> None:
    """Add two pairs of taps, the outer ones first, while the sum is in a register."""
    for x in range(target.shape[0]):
        target[x] = (target[x] + tap * (low[x] + high[x])) + inner * (near[x] + far[x])


@njit(inline="always")
def _add_last(
    low: Array, high: Array, tap: np.float32, middle: Array, inner: np.float32, k: int, target: Array
) -> None:
    """Add the middle tap, and before it the pair beside it where that is left (k = 1)."""
    if k == 1:
        for x in range(target.shape[0]):
            target[x] = (target[x] + tap * (low[x] + high[x])) + inner * middle[x]
    else:
        for x in range(target.shape[0]):
            target[x] = target[x] + inner * middle[x]
