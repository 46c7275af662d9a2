"""How the noise of an areal map averages out over square bins, from the autocovariance that was measured.

Neighbouring pixels of a map are correlated as the voxels above them are, so the noise of a bin's mean does not fall as
that of independent pixels. It follows from the autocovariance of the difference and the voxel pairs in the bin's
columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from xct_pipeline.variation import noise, ring_terms
from xct_pipeline.variation.budget import Measured
from xct_pipeline.variation.noise import Noise

COLUMNS = ["scan", "bin_pixels", "noise_ratio", "noise_voxels"]
ACROSS = 8
"""Bins across a map at least, as far as its ratio is told."""
LARGEST = 128


def noise_ratio(
    found: Sequence[Noise], slopes: Sequence[float], height: int, inside: npt.NDArray[np.bool_], largest: int
) -> npt.NDArray[np.float64]:
    """Return the noise of the mean over s x s pixels of a map over that of one pixel, for s = 1, 2, ... `largest`.

    Parameters
    ----------
    found : sequence of Noise
        Of the difference, one per energy.
    slopes : sequence of float
        Change of density per change of attenuation at each energy; noise of several energies is added by them.
    height : int
        Voxels that a pixel of the map is the sum of.
    inside : array of bool, (y, x)
        Pixels of the map, over which what rings add is averaged.
    largest : int
        Pixels along the edge of the largest bin.

    Returns
    -------
    numpy.ndarray
        (largest,), 1 for one pixel.
    """
    variance = np.zeros(largest)
    for one, slope in zip(found, slopes, strict=True):
        rings = ring_terms.square_variance(one, inside, height, largest)
        for k in range(largest):
            inflation = one.column_inflation if k == 0 else max(one.column_inflation, one.region_inflation)
            variance[k] += (slope * inflation) ** 2 * _variance(one, height, k + 1, float(rings[k]))
        variance += slope**2 * rings
    if variance[0] <= 0:
        return np.ones(largest)
    return np.asarray(np.sqrt(variance / variance[0]) / np.arange(1, largest + 1) ** 2)


def _variance(found: Noise, height: int, size: int, rings: float) -> float:
    """Return the variance of the sum over a bin's columns beside rings; one column as the map's own error has it."""
    if size == 1:
        return float(noise.column_variance(found.covariance, np.array([height]))[0])
    return found.box_variance((height, size, size), rings)


def rows(scan: str, measured: Sequence[Measured]) -> list[dict[str, object]]:
    """Return the rows of the table ``areal_noise`` for one scan; none where the two scans are one."""
    found = [m.noise for m in measured if m.noise is not None]
    count = measured[0].sums["count"]
    if len(found) < len(measured) or not count.any():
        return []
    largest = min(max(count.shape[0] // ACROSS, count.shape[1] // ACROSS, 1), LARGEST)
    height = round(float(np.median(count[count > 0])))
    ratio = noise_ratio(found, [m.slope for m in measured], height, count > 0, largest)
    voxels = min(one.voxels for one in found)
    return [
        {"scan": scan, "bin_pixels": k + 1, "noise_ratio": value, "noise_voxels": voxels}
        for k, value in enumerate(ratio.tolist())
    ]
