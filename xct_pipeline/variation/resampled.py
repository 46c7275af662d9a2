"""What resampling makes of noise: its autocovariance after interpolation between voxels."""

from __future__ import annotations

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
