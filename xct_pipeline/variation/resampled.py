"""What resampling makes of noise: its autocovariance after interpolation between voxels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy

Array = npt.NDArray[np.float64]

REACH = 8  # voxels beyond which weights of an interpolation are nothing


def resampled(covariance: Array, weights: Array) -> Array:
    """Return the autocovariance of noise after interpolation at positions between voxels.

    Each interpolated voxel is a sum of measured ones, so that the autocovariance is convolved with the
    autocorrelation of their weights, here in its mean over positions.

    Parameters
    ----------
    covariance : array, (2 lag + 1) along each axis
        Of the measured voxels; taken for 0 beyond the largest lag.
    weights : array, (position, 3, voxel)
        Of measured voxels in an interpolated one, along z, y and x.
    """
    taps = weights.shape[-1]
    middle = slice(taps - 1 - min(taps - 1, REACH), taps + min(taps - 1, REACH))
    auto = [np.stack([np.correlate(line, line, "full")[middle] for line in weights[:, axis]]) for axis in range(3)]
    across = np.einsum("py,px->pyx", auto[1], auto[2]).reshape(len(weights), -1)
    side = auto[0].shape[1]
    mean = (auto[0].T @ across).reshape(side, side, side) / len(weights)
    return np.asarray(scipy.signal.fftconvolve(covariance, mean, mode="same"))


def interpolation_factor(shift: Sequence[float], order: int = 3, along: Sequence[bool] | None = None) -> float:
    """Standard deviation of white noise after a sub-voxel shift by spline interpolation, relative to before.

    A diagnostic: the errors of sums come from the autocovariance of the registered difference. The factor is
    the root of the sum of squared weights of the cardinal spline, multiplied over the axes. At
    (0.5, 0.37, 0.21): 0.42 (linear), 0.73 (cubic), 0.82 (quintic).

    Parameters
    ----------
    shift : sequence of float
        Voxels, per axis.
    order : int
        Of the B-spline.
    along : sequence of bool, optional
        Axes that are summed over afterwards, which keep their noise.
    """
    factor = 1.0
    for axis, step in enumerate(shift):
        if along is None or not along[axis]:
            impulse = np.zeros(65)
            impulse[32] = 1
            weights = scipy.ndimage.shift(impulse, step, order=order)
            factor *= float(np.sqrt((weights**2).sum()))
    return factor
