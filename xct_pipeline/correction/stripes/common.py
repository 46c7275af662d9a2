"""What all stripe methods share: the loop over detector rows, detection, and windows that follow the data.

Convention of every stripe kernel here: it takes line integrals as a block ``(angle, row, column)``, treats
each detector row by itself, and returns the corrected block, a new float32 array. Where a kernel decides
(is this column dead?), the decision is a mask ``(row, column)`` from a separate function ``detect_...``.
Non-finite values stay as they are; the rest of their row is corrected as if they held their column's mean.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any, Literal

import numpy as np

from xct_pipeline.device import Array, array_namespace, to_host

Model = Literal["offset", "gain"]
"""How a stripe enters: a defective gain offsets a line integral; it multiplies a transmission."""

NOISE_PAIRS = 64  # pairs of neighbouring projections from which the noise is taken


def each_row(block: Array, correct: Callable[[Array], Array]) -> Any:
    """Apply a correction of one sinogram to every detector row of a block.

    Parameters
    ----------
    block : array (angle, row, column)
    correct : function
        Takes and returns a finite float32 sinogram (angle, column) and leaves its input alone.

    Returns
    -------
    float32 array (angle, row, column)

    Raises
    ------
    ValueError
        Where the block has not three axes.
    """
    check_block(block)
    result = array_namespace(block).empty(block.shape, np.float32)
    for row in range(block.shape[1]):
        result[:, row] = one_row(block[:, row], correct)
    return result


def one_row(sinogram: Array, correct: Callable[[Array], Array]) -> Any:
    """Apply a correction to one sinogram (angle, column), whose values need not be finite; see `each_row`."""
    xp = array_namespace(sinogram)
    sinogram = xp.ascontiguousarray(sinogram, dtype=np.float32)
    finite = xp.isfinite(sinogram)
    if sinogram.shape[0] < 2 or sinogram.shape[1] < 3 or not finite.any():
        return sinogram  # nothing to compare a column with
    if finite.all():
        return correct(sinogram)
    return xp.where(finite, correct(_fill_columns(sinogram, finite, xp)), sinogram)


def each_row_mask(block: Array, detect: Callable[[Array], np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """Apply a detector of columns in one sinogram to every detector row of a block.

    Parameters
    ----------
    block : array (angle, row, column)
    detect : function
        Takes a finite float32 sinogram (angle, column), returns a bool array (column,) on the host.

    Returns
    -------
    bool numpy array (row, column)
    """
    check_block(block)
    masks = np.zeros(block.shape[1:], bool)

    def look(row: int, sinogram: Array) -> Any:
        masks[row] = detect(sinogram)
        return sinogram

    for row in range(block.shape[1]):
        one_row(block[:, row], partial(look, row))
    return masks


def check_block(block: Array) -> None:
    """Raise ValueError where `block` is not ``(angle, row, column)``."""
    if block.ndim != 3:
        raise ValueError(f"a stripe kernel needs a block (angle, row, column), not {block.ndim} axes")


def _fill_columns(sinogram: Array, finite: Array, xp: ModuleType) -> Any:
    """Replace non-finite values by the mean of the finite ones in their column, or of all without any."""
    known = xp.where(finite, sinogram, 0).astype(np.float64)
    count = finite.sum(axis=0)
    overall = known.sum() / finite.sum()
    mean = xp.where(count > 0, known.sum(axis=0) / xp.maximum(count, 1), overall)
    return xp.where(finite, sinogram, mean.astype(np.float32))


def detect_stripes(profile: Array, snr: float = 3.0, *, floor: float = 1e-5) -> np.ndarray[Any, Any]:
    """Find the columns of a normalised profile that stand out of its noise (algorithm 4 of Vo 2018).

    The sorted profile is nearly a straight line in its middle half; the rise of that line over the whole
    profile is the noise. Where the largest (smallest) value lies more than `snr` times the noise beyond the
    end of the line, all columns more than ``snr / 2`` times the noise beyond it are stripes.

    Parameters
    ----------
    profile : array (column,)
        About constant without stripes, for instance the ratio of a column's mean to its smoothed mean.
    snr : float
        Larger is less sensitive.
    floor : float
        A profile whose noise is no more than this, in the units of `profile`, holds nothing that can be told
        from rounding: no stripes are found. Never an error.

    Returns
    -------
    bool numpy array (column,)

    References
    ----------
    N. T. Vo, R. C. Atwood and M. Drakopoulos, Opt. Express 26, 28396 (2018), doi:10.1364/OE.26.028396.
    """
    values = np.asarray(to_host(profile), np.float64)
    mask = np.zeros(values.size, bool)
    if values.size < 8 or not np.isfinite(values).all():
        return mask
    ordered = np.sort(values)
    drop = values.size // 4
    rank = np.arange(drop, values.size - drop - 1)
    centred = rank - rank.mean()
    slope = float((centred * ordered[rank]).sum() / (centred * centred).sum())
    low = float(ordered[rank].mean()) - slope * float(rank.mean())
    high = low + slope * (values.size - 1)
    noise = high - low
    if noise <= floor:
        return mask
    if ordered[-1] - high >= snr * noise:
        mask |= values > high + 0.5 * snr * noise
    if low - ordered[0] >= snr * noise:
        mask |= values <= low - 0.5 * snr * noise
    return mask


def default_windows(block: Array) -> tuple[int, int]:
    """Choose the windows (large, small) of the median filters from the width and the noise of a block.

    A median over w columns smooths a profile of curvature k with a bias of about k w^2 / 24 and lets
    s sqrt(pi / 2 w) of the noise s of a column's mean through. The two balance at a w that grows as
    (s / k)^(2/5); with a curvature of the contrast p over the width W squared,

        small = 0.25 W (s / p)^(2/5), limited to 5 ... max(5, W / 50),
        large = 2.5 small, limited to 11 ... max(11, W / 20), both made odd.

    2048 columns, 1801 angles, noise 0.03 and contrast 2 give (53, 21), about what the paper uses; noise-free
    data give the shortest windows, so that they are shaved least. s is the median over columns of the noise (from
    differences of neighbouring projections) over the square root of the number of angles; p is the span of
    the columns' means from their 5th to their 95th percentile. Estimate once per scan from a few rows and
    pass the result on, so that all rows are treated alike.

    Parameters
    ----------
    block : array (angle, row, column) of line integrals

    Returns
    -------
    (large, small) : tuple of int
    """
    check_block(block)
    angles, _, width = block.shape
    step = max(1, angles // (2 * NOISE_PAIRS)) * 2
    first = to_host(block[0 : angles - 1 : step]).astype(np.float64)
    second = to_host(block[1:angles:step]).astype(np.float64)
    usable = np.isfinite(first) & np.isfinite(second)
    if width == 0 or not usable.any():
        return 11, 5
    weight = np.maximum(usable.sum(axis=0), 1)
    difference = np.where(usable, np.abs(first - second), 0).sum(axis=0) / weight
    means = np.where(usable, first + second, 0).sum(axis=0) / (2 * weight)
    noise = 0.5 * np.sqrt(np.pi) * float(np.median(difference)) / np.sqrt(angles)
    contrast = float(np.mean(np.percentile(means, 95, axis=1) - np.percentile(means, 5, axis=1)))
    share = min(1.0, noise / contrast) if contrast > 0 else 0.0
    small = _odd(0.25 * width * share**0.4, 5, width / 50)
    return _odd(2.5 * small, 11, width / 20), small


def _odd(value: float, least: int, most: float) -> int:
    """Round to an odd integer within limits, of which the lower one wins."""
    return 2 * int(max(least, min(value, most)) / 2) + 1
