"""Sinograms on few pixels: what distortions of all line integrals are looked for in, without reading them again."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from xct_pipeline.reconstruction.gridding import GROUP

MOST_COLUMNS = 100
ANGLES = 1.6  # per column that is kept, about


class CoarseRays(NamedTuple):
    """Means of line integrals over blocks of rows, columns and neighbouring angles.

    Attributes
    ----------
    coarse : (row, angle, column) float16
        A thousandth of a line integral is far below the noise of a ray.
    coarse_rows : (row,)
        Middle of each block, in rows of the volume.
    coarse_angles : (angle,)
        Mean of each block, radians, increasing.
    """

    coarse: npt.NDArray[np.float16]
    coarse_rows: npt.NDArray[np.float64]
    coarse_angles: npt.NDArray[np.float64]


def factor_of(columns: int) -> int:
    """Return how many columns become one: a power of two up to `GROUP`, so that a level of the pyramid is alike."""
    factor = 1
    while columns / factor > MOST_COLUMNS and factor < GROUP:
        factor *= 2
    return factor


def coarse(block: npt.NDArray[np.float32], angles: npt.ArrayLike, first: int, offset: int) -> CoarseRays:
    """Average a block of sinograms; rows and columns that do not fill a block are left out.

    Parameters
    ----------
    block : (angle, row, column) float32
    angles : (angle,) radians
        In any order.
    first, offset : int
        Row of the detector that the block begins with, and that of the volume's first slice. Blocks are counted from
        row 0 of the detector, as the groups are in which rows are read.
    """
    theta, factor = np.asarray(angles, np.float64), factor_of(block.shape[2])
    order, rows = np.argsort(theta, kind="stable"), factor
    count = max(1, min(len(theta), round(ANGLES * block.shape[2] / factor)))
    parts = np.array_split(order, count)
    skipped = -first % rows
    high, wide = (block.shape[1] - skipped) // rows, block.shape[2] // factor
    high = max(high, 0)
    kept = block[:, skipped : skipped + high * rows].reshape(len(theta), high, rows, block.shape[2])
    tall = kept.mean(axis=2)[:, :, : wide * factor]  # rows first: columns are what lies together
    small = tall.reshape(len(theta), high, wide, factor).mean(axis=3, dtype=np.float64)
    mean = np.stack([small[part].mean(axis=0) for part in parts], axis=1)
    middles = first - offset + skipped + (np.arange(high) + 0.5) * rows - 0.5
    return CoarseRays(mean.astype(np.float16), middles, np.array([theta[part].mean() for part in parts]))


def nothing(few: CoarseRays) -> CoarseRays:
    """Return no rows of them."""
    return CoarseRays(few.coarse[:0], few.coarse_rows[:0], few.coarse_angles)


def nbytes(angles: int, columns: int) -> int:
    """Return the bytes that are kept of a block of `GROUP` rows, about."""
    factor = factor_of(columns)
    kept = min(angles, round(ANGLES * columns / factor)) * (columns // factor)
    return 2 * kept * (GROUP // factor)
