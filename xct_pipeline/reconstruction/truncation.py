"""Samples that reach beyond the detector: which rows they are, and what stands for the part that was not seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from xct_pipeline.device import Array, array_namespace, is_cupy
from xct_pipeline.reconstruction.packing import mean_edges

NOISE_COLUMNS = 8  # at an edge, that tell its noise


def edge_columns(n_columns: int) -> int:
    """Number of columns whose mean stands for the edge of the detector."""
    return max(2, n_columns // 128)


def is_truncated(
    sinograms: Array, *, level: float = 0.05, least: float = 0.0, sides: Sequence[str] = ("left", "right")
) -> Any:
    """Tell for each row whether the sample reaches beyond the detector.

    A row is truncated if, in over 2 % of the projections, the mean of the outermost columns of a side
    exceeds `level` times the largest column of the mean projection, four times its own noise, and `least`.

    Parameters
    ----------
    sinograms : (angle, row, column), numpy or CuPy
    level : fraction of the largest mean line integral
    least : line integral, so that errors of the flats in a nearly empty row are not taken for a sample
    sides : edges of the detector to look at; for a half acquisition the one away from the axis

    Returns
    -------
    (row,) bool, same kind of array
    """
    xp = array_namespace(sinograms)
    n = edge_columns(sinograms.shape[2])
    scale = sinograms.mean(axis=0).max(axis=-1)
    flagged = xp.zeros(sinograms.shape[1], bool)
    for name in sides:
        side = sinograms[..., :n] if name == "left" else sinograms[..., -n:]
        mean = side.mean(axis=-1)
        # Second differences hold the noise times the square root of six. More columns than the mean's tell it, and a
        # column of a defect, filled from its neighbour, is not one more in the mean.
        strip = max(NOISE_COLUMNS, n)
        wide = sinograms[..., :strip] if name == "left" else sinograms[..., -strip:]
        single = xp.median(xp.abs(xp.diff(wide, n=2, axis=-1)), axis=(0, 2)) * (1.483 / np.sqrt(6))
        filled = (xp.diff(side, axis=-1) == 0).all(axis=0).sum(axis=-1)
        noise = single / xp.sqrt(n - filled)
        high = mean > xp.maximum(xp.maximum(level * scale, 4.0 * noise), least)[None]
        flagged |= (high & (scale > 0)[None]).mean(axis=0) > 0.02
    return flagged


def extension(sinograms: Array, center: float, n_extend: int) -> Any:
    """Decay (side, row, column outside the detector) float32 of the edge's value, from 1 to 0.

    It follows a circle about the axis: the square of a disc's projection falls linearly with the square of
    the distance, and a fit of the row's mean projection over a quarter of the detector says where it ends
    (Hsieh et al., Med. Phys. 31, 2385, 2004, fit each projection; their mean is hardly affected by noise).
    """
    xp = array_namespace(sinograms)
    n = max(2, sinograms.shape[2] // 4)
    if not n_extend:
        return xp.zeros((2, sinograms.shape[1], 0), np.float32)
    if is_cupy(sinograms):
        left, right = (part.mean(axis=0, dtype=np.float64) for part in (sinograms[..., :n], sinograms[..., -n:]))
        square = xp.stack([left, right[:, ::-1]]) ** 2
    else:
        square = mean_edges(sinograms, n) ** 2
    edge = xp.asarray([max(center, 1.0), max(sinograms.shape[2] - 1 - center, 1.0)])[:, None, None]
    inward = (edge - xp.arange(n)) ** 2
    x = inward - inward.mean(axis=-1, keepdims=True)
    slope = (x * square).sum(axis=-1, keepdims=True)
    slope = xp.minimum(slope / (x * x).sum(axis=-1, keepdims=True), -1e-12)
    with np.errstate(invalid="ignore"):  # rows that are not finite are named as an error later
        radius = inward.mean(axis=-1, keepdims=True) - square.mean(axis=-1, keepdims=True) / slope
    radius = xp.clip(xp.sqrt(radius), edge + 2.0, edge + n_extend)
    outward = (edge + 1.0 + xp.arange(n_extend)) ** 2
    decay = xp.maximum(radius**2 - outward, 0.0) / (radius**2 - edge**2)
    return xp.sqrt(decay).astype(np.float32)
