"""What a row shows at all angles alike: rings of the reconstruction, and edges concentric with the axis.

A fixed pattern is its own mirror image about many columns, and strong rings so outweigh the sample when a scan is
matched with its mirror image. Edges that are concentric with the axis are a fixed pattern, too, but the same on
both sides of the axis, which rings are not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

Array = npt.NDArray[Any]
WIDTHS = (8.0, 4.0)  # columns: what is finer is taken for a pattern; the second tells how much the choice matters
FINE = 1.5  # columns, by which rings are told from smooth parts of the sample
MOST_ANGLES = 90


def fixed_pattern(sinograms: Array, width: float) -> Array:
    """Return what all projections have in common that is finer than `width` columns.

    The median over angles, which edges of the sample pass a column too seldom to move.

    Parameters
    ----------
    sinograms : array (angle, row, column)
    width : float
        Standard deviation of the Gaussian that what is coarser is taken off with.

    Returns
    -------
    array (row, column)
    """
    return np.asarray(np.median(_finer(sinograms, width), axis=0), np.float32)


def noise_beside(sinograms: Array, pattern: Array, width: float) -> float:
    """Return how much single projections scatter about a pattern, as a share of the sample's line integrals.

    That of the quietest columns: as much light as there comes through them fell on the flats everywhere.
    """
    noise = 1.4826 * np.median(np.abs(_finer(sinograms, width) - pattern), axis=0)
    return float(np.quantile(noise, 0.1)) / _usual(sinograms)


def _finer(sinograms: Array, width: float) -> Array:
    few = np.nan_to_num(sinograms[:: max(1, len(sinograms) // MOST_ANGLES)], posinf=0.0, neginf=0.0)
    return np.asarray(few - scipy.ndimage.gaussian_filter1d(few, width, axis=-1, mode="nearest"))


def _usual(sinograms: Array) -> float:
    """Return the line integrals of the sample; not finite where there are none."""
    few = sinograms[:: max(1, len(sinograms) // MOST_ANGLES)]
    finite = few[np.isfinite(few)]
    if not finite.size:
        return float("inf")
    low, high = np.quantile(finite, [0.05, 0.95])  # where air is put below zero, the sample reaches up from there
    return max(float(np.quantile(np.abs(finite), 0.95)), float(high - low), 1e-6)


def unlike_mirrored(pattern: Array, sinograms: Array, center: float) -> tuple[float, float]:
    """Return how strong the part of a pattern (row, column) is that differs on both sides of `center`.

    Robust standard deviations over columns as a share of the sample's line integrals, of single rows and of what all
    rows have in common; a few columns do not count.
    """
    columns = np.arange(pattern.shape[1])
    mirror = 2 * center - columns
    seen = (mirror >= 0) & (mirror <= len(columns) - 1)
    usual = _usual(sinograms)
    if seen.sum() < 16 or not np.isfinite(usual):
        return 0.0, 0.0
    odd = np.stack([row[seen] - np.interp(mirror[seen], columns, row) for row in pattern]) / 2
    single, mean = (1.4826 * float(np.median(np.abs(part))) / usual for part in (odd, odd.mean(axis=0)))
    if len(odd) == 1:
        return single, single
    rows = len(odd)
    return single, float(np.sqrt(max(mean**2 - single**2 / rows, 0.0) * rows / (rows - 1)))
