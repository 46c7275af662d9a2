"""The error budget of a change of mass: one term per cause, for maps and for totals, and limits from it.

A term is a standard deviation in the unit of what it belongs to (mg/cm2 of a map, mg of a total). Counting
noise averages out over a region as its autocovariance says (`noise`); every other cause moves all voxels
together, so its term is worked out on sums over the region and never divided by a number of voxels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from xct_pipeline.device import array_namespace, is_cupy, ndimage_of
from xct_pipeline.variation import faces
from xct_pipeline.variation.mass import Sums

Array = npt.NDArray[np.float64]

DECISION, DETECTION = 1.645, 3.29
"""Limits in units of sigma, for 5 % errors of either kind (L. A. Currie, Anal. Chem. 40 (1968) 586)."""


def limits(sigma: float | npt.NDArray[Any]) -> tuple[Any, Any]:
    """Decision and detection limit: above the first a change is seen, from the second on reliably."""
    return DECISION * sigma, DETECTION * sigma


def combine(terms: Mapping[str, Any]) -> Any:
    """Root of the sum of squares of independent terms (arrays of one shape, or numbers)."""
    if not terms:
        raise ValueError("an error budget needs at least one term")
    return np.sqrt(sum(np.square(np.asarray(term, dtype=np.float64)) for term in terms.values()))


def relative_term(mass: float | npt.NDArray[Any], relative: float) -> Any:
    """Error of a mass that is inversely proportional to an uncertain coefficient (linear closures)."""
    return np.abs(mass) * relative


def closure_term(results: Sequence[Any]) -> Any:
    """Half the range of the results of several defensible closures (or density models)."""
    stack = np.stack([np.asarray(r, dtype=np.float64) for r in results])
    return (stack.max(axis=0) - stack.min(axis=0)) / 2


def calibration_term(
    moving: Sums, reference: Sums, covariance: Array, covariance_reference: Array | None = None
) -> Array:
    """Error of a sum of dmu from the grey-value calibration of the two scans, 1/cm times voxels.

    Each scan is calibrated on its own as ``mu = gain g + offset``. With the error of the gain taken relative
    to its value, the sum over n voxels moves by ``gain_error sum(mu) + n offset_error``.

    Parameters
    ----------
    moving, reference : Sums
        Sums of mu (not of the change) over the same cells.
    covariance : array, (2, 2)
        Of (relative gain, offset in 1/cm) of the moving scan; the same for the reference unless given.

    Returns
    -------
    numpy.ndarray
        Standard deviation per cell; 1/cm times voxels.
    """
    second = covariance if covariance_reference is None else covariance_reference
    variance = np.zeros(moving.total.shape)
    for sums, c in ((moving, covariance), (reference, second)):
        n = sums.count
        variance += c[0, 0] * sums.total**2 + 2 * c[0, 1] * sums.total * n + c[1, 1] * n**2.0
    return np.sqrt(np.maximum(variance, 0.0))


# Registration -----------------------------------------------------------------------------------------------


def registration_term(motions: Array, covariance: Array) -> Array:
    """Error of sums of dmu from the error of the transform, 1/cm times voxels.

    ``sqrt(g' C g)`` with g the change per motion: correlated over the whole region, so for a total give the
    sum of `motions` over (y, x).

    Parameters
    ----------
    motions : array, (6, ...)
        Sums from `column_sums`, per column or over a region.
    covariance : array, (3, 3) or (6, 6)
        Of the shifts (voxels) or the shifts and rotations (radians), order as there.
    """
    n = len(covariance)
    g = motions[:n]
    variance: Array = np.einsum("i...,ij,j...->...", g, covariance, g)
    return np.sqrt(np.maximum(variance, 0.0))


def edge_shell(block: npt.NDArray[Any], *, threshold: float, width: int = 2) -> Any:
    """Flag the voxels within `width` voxels of a strong face of the reference scan.

    A face is where the gradient of the scan, smoothed by a Gaussian of one voxel, exceeds `threshold`; take a
    fifth of the step in attenuation between the two materials (a sharp step has a peak gradient of 0.4 times
    the step per voxel after that smoothing).

    Parameters
    ----------
    block : array, (z, y, x)
        Reference scan, 1/cm, with a halo of ``shell_halo(width)``.
    threshold : float
        1/cm per voxel.
    width : int
        Voxels (2 or 3).

    Returns
    -------
    array of bool
        Of the block's shape; the halo is for the caller to cut off.
    """
    if not is_cupy(block):
        return faces.grow(faces.find_faces(faces.smoothed(block), threshold), faces.ball(width))
    xp, ndimage = array_namespace(block), ndimage_of(block)
    smooth = ndimage.gaussian_filter(block, 1.0, mode="nearest", truncate=faces.TRUNCATE)
    square = xp.zeros(block.shape, block.dtype)
    for axis in range(3):
        square += ndimage.correlate1d(smooth, xp.asarray([-0.5, 0, 0.5]), axis=axis, mode="nearest") ** 2
    steep = square > block.dtype.type(threshold**2)
    reach = xp.arange(-width, width + 1)
    ball = reach[:, None, None] ** 2 + reach[:, None] ** 2 + reach**2 <= width**2 + 0.5
    return ndimage.binary_dilation(steep, structure=ball)


def shell_halo(width: int = 2) -> int:
    """Voxels around a block that `edge_shell` looks at."""
    return faces.REACH + 1 + width
