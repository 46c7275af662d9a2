"""Sums over equal windows of what does not change: do they scatter as the autocovariance of the noise predicts?

Rings, slow drifts and what no ramp filter has passed correlate voxels further apart than the autocovariance reaches.
Windows as large as the sums in question see them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from xct_pipeline.device import Array
from xct_pipeline.variation import ramp
from xct_pipeline.variation.noise import box_overlap, sum_variance

LEAST = 10  # windows


def window_radii(mask: Array, size: Sequence[int], place: Array, radii: int) -> Array:
    """Count the whole windows of a block by the distance of their middle from an axis.

    Parameters
    ----------
    mask : array of bool, (z, y, x)
    size : (z, y, x)
        Window, voxels; windows begin with the block.
    place : array, (2, 4)
        (z, y, x, 1) of the block to (y, x) about the axis.
    radii : int
        Length of the result.
    """
    n = [m // s for m, s in zip(mask.shape, size, strict=True)]
    cut = mask[: n[0] * size[0], : n[1] * size[1], : n[2] * size[2]]
    whole = cut.reshape(n[0], size[0], n[1], size[1], n[2], size[2]).all(axis=(1, 3, 5))
    middle = np.argwhere(whole) * size + (np.array(size) - 1) / 2
    radius = np.hypot(*(place[:, :3] @ middle.T + place[:, 3:])).astype(np.int64)
    return np.bincount(radius[radius < radii], minlength=radii).astype(np.float64)


def floor_of(covariance: Array, windows: Array, size: Sequence[int], rings: float = 0.0) -> float:
    """Return which share of the tapered sum of the autocovariance has no tail that takes it away, see `ramp`.

    Parameters
    ----------
    covariance, windows, size, rings
        As for `window_check`.

    Returns
    -------
    float
        Not bounded: 0 for noise of filtered back-projection, 1 for white noise; NaN where it cannot be told.
    """
    count, total, squares = (float(value) for value in windows)
    lag = tuple(n // 2 for n in covariance.shape)
    taper = sum_variance(covariance, box_overlap(size, lag), 0.0, ramp.Shares(0.0, 1.0))
    share = ramp.of_box(size[1:], lag[1:]).tapered
    if count < LEAST or not taper > 0 or share >= 1:
        return math.nan
    variance = (squares - total**2 / count) / (count - 1) - rings
    return (variance / taper - share) / (1 - share)


def window_check(
    covariance: Array, windows: Array, size: Sequence[int], rings: float = 0.0, floor: float = 1.0
) -> tuple[float, float, int]:
    """Compare sums over equal windows of uniform material with what the autocovariance predicts.

    Parameters
    ----------
    covariance : array
        From `autocovariance`.
    windows : array
        From `lags.window_sums` of the same difference, its mean taken away, and mask.
    size : (z, y, x)
        Window, voxels.
    rings : float
        Variance of the sums by rings, which are not in the autocovariance.
    floor : float
        See `Noise`.

    Returns
    -------
    inflation, error, windows : float, float, int
        Measured over predicted standard deviation of the sums, its statistical error, and the number of whole
        windows; (nan, nan, n) below ten windows and where rings leave no noise that could be compared. An inflation
        above 1 by more than two errors should multiply every noise term.
    """
    count, total, squares = (float(value) for value in windows)
    if count < LEAST:
        return math.nan, math.nan, int(count)
    lag = tuple(n // 2 for n in covariance.shape)
    left = ramp.of_box(size[1:], lag[1:]).above(floor)
    predicted = sum_variance(covariance, box_overlap(size, lag), 0.0, left)
    if not predicted > 0:
        return math.nan, math.nan, int(count)
    variance = (squares - total**2 / count) / (count - 1)
    ratio = math.sqrt(max(variance - rings, 0.0) / predicted)
    error = variance / predicted / max(ratio, 1e-300) / math.sqrt(2 * (count - 1))
    return ratio, error, int(count)


def inflation(covariance: Array, windows: Array, size: Sequence[int], rings: float = 0.0, floor: float = 1.0) -> float:
    """Return by how much sums over windows scatter more than is expected of noise and rings, at least 1.

    Arguments as for `window_check`.
    """
    ratio, error, _ = window_check(covariance, windows, size, rings, floor)
    return float(ratio) if np.isfinite(ratio) and ratio > 1 + 2 * error else 1.0
