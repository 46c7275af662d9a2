"""Which share of a tapered sum of the autocovariance the noise of large sums keeps, where a ramp filter made it.

Filtered back-projection leaves little noise at low frequencies: its power rises with the frequency, so that the noise
of a sum over a set grows with the set's outline rather than with its area. Lags of a few voxels do not show that, as
what takes the noise away lies in a long negative tail of the autocovariance, -1 over the cube of the lag. So the sum
over these lags (`noise.sum_variance`) is multiplied by what it would be off for noise of exactly that kind, whose
variance of the sum is known: ``integral of |nu| |W|^2``, W the transform of the set. Between that and the whole sum
lies noise that has a part without such a tail, whose share is measured on sums over windows.

References
----------
S. J. Riederer, N. J. Pelc, D. A. Chesler, Phys. Med. Biol. 23, 446 (1978) (the noise power of filtered
back-projection).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy

from xct_pipeline.device import Array

MEAN_OF_FIRST = (math.sqrt(2) + math.asinh(1)) / 6  # of |nu| over the square about frequency zero, in its sides
WIDER = 2.0  # than the set and its reach is the field that it is transformed in
LEAST = 128  # voxels of that field
BANDWIDTH = 0.5  # cycles per voxel


class Shares(NamedTuple):
    """What the variance of a sum is of what lags of a few voxels say of it."""

    whole: float = 1.0
    """of the sum over all measured lags"""
    tapered: float = 1.0
    """of the same with a triangular taper"""

    def above(self, floor: float) -> Shares:
        """Return the shares for noise of which a part `floor` of the tapered sum has no tail."""
        part = min(max(floor, 0.0), 1.0)
        return Shares(*(part + (1 - part) * share for share in self))


ALL = Shares()


def of_box(size: Sequence[int], lag: Sequence[int]) -> Shares:
    """Return the shares of sums over boxes of `size` (y, x) voxels, for lags up to `lag` (y, x)."""
    return _of_box(int(size[0]), int(size[1]), int(lag[0]), int(lag[1]))


@functools.lru_cache(maxsize=1024)
def _of_box(height: int, width: int, far: int, wide: int) -> Shares:
    return _shares(np.ones((height, width)), (far, wide))


def of_set(inside: Array, pairs: Array, lag: Sequence[int]) -> Shares:
    """Return the shares of the sum over a set of voxels, for lags up to `lag` (y, x).

    Parameters
    ----------
    inside : array of bool, (y, x)
        Columns in which it lies.
    pairs : array
        Pairs of its voxels at each lag. Where its slices have a longer outline than the columns, as those of a sponge
        do, their noise is larger in proportion.
    """
    y, x = np.nonzero(inside)
    if not len(y):
        return ALL
    cut = np.ascontiguousarray(inside[y.min() : y.max() + 1, x.min() : x.max() + 1], bool)
    shares, outline = _of_map(cut.shape, cut.tobytes(), (int(lag[0]), int(lag[1])))
    longer = max(_outline(pairs[pairs.shape[0] // 2]) / outline, 1.0)
    return Shares(*(min(longer * share, 1.0) for share in shares))


@functools.lru_cache(maxsize=4)
def _of_map(shape: tuple[int, int], inside: bytes, lag: tuple[int, int]) -> tuple[Shares, float]:
    mask = np.frombuffer(inside, bool).reshape(shape)
    wide = np.pad(mask, 1)
    edges = np.count_nonzero(wide[1:] != wide[:-1]) + np.count_nonzero(wide[:, 1:] != wide[:, :-1])
    return _shares(mask.astype(np.float64), lag), edges / np.count_nonzero(mask)


def _outline(pairs: Array) -> float:
    """Return the sides of a set's voxels within its slices that face none of it, per voxel, from pairs in a slice."""
    y, x = (n // 2 for n in pairs.shape)
    return float(4 - 2 * (pairs[y + 1, x] + pairs[y, x + 1]) / max(pairs[y, x], 1e-300))


def _shares(weights: Array, lag: tuple[int, int]) -> Shares:
    """Return the shares of a set: one of its variance, others of it by sums over pairs that are not far apart."""
    side = scipy.fft.next_fast_len(max(int(WIDER * (max(weights.shape) + 2 * max(lag))), LEAST), real=True)
    square = np.abs(scipy.fft.rfft2(weights, (side, side))) ** 2
    nu = np.hypot(scipy.fft.fftfreq(side)[:, None], scipy.fft.rfftfreq(side))
    power = np.where(nu < BANDWIDTH, nu, 0.0)
    power[0, 0] = MEAN_OF_FIRST / side
    pairs = _about_zero(scipy.fft.irfft2(square, (side, side)), lag)
    terms = pairs * _autocovariance(*lag)
    taper = np.multiply.outer(*(1 - np.abs(np.arange(-n, n + 1)) / (n + 1) for n in lag))
    of_half = square * power
    last = of_half[:, -1].sum() if side % 2 == 0 else 0.0
    variance = float(2 * of_half.sum() - of_half[:, 0].sum() - last) / side**2
    whole, tapered = float(terms.sum()), float((terms * taper).sum())
    return Shares(min(variance / whole, 1.0) if whole > 0 else 1.0, min(variance / tapered, 1.0))


def _about_zero(lags: Array, lag: tuple[int, int]) -> Array:
    return np.asarray(np.roll(lags, lag, (0, 1))[: 2 * lag[0] + 1, : 2 * lag[1] + 1])


@functools.lru_cache(maxsize=8)
def _autocovariance(far: int, wide: int) -> Array:
    """Return the autocovariance of such noise at lags up to (y, x): of power |nu| within the band."""
    y, x = np.arange(-far, far + 1)[:, None], np.arange(-wide, wide + 1)
    nu = (np.arange(4096) + 0.5) * (BANDWIDTH / 4096)
    waves = scipy.special.j0(2 * np.pi * np.hypot(y, x)[..., None] * nu)
    return np.asarray((waves * (2 * np.pi * nu**2)).sum(axis=-1) * (BANDWIDTH / 4096))
