"""Stripe removal by N. T. Vo, R. C. Atwood and M. Drakopoulos, Opt. Express 26, 28396 (2018).

doi:10.1364/OE.26.028396; numbers of algorithms are those of the paper. All functions take and return blocks
``(angle, row, column)`` of line integrals; see `stripe` for what they share.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from xct_pipeline.correction.running_median import running_median
from xct_pipeline.correction.stripes.columns import (
    angular_activity,
    interpolate_columns,
    product,
    sort_columns,
    unsort_columns,
)
from xct_pipeline.correction.stripes.common import (
    Model,
    check_block,
    default_windows,
    detect_stripes,
    each_row,
    each_row_mask,
    one_row,
)
from xct_pipeline.device import Array, array_namespace, fft_of, ndimage_of, to_host

ACTIVITY_WINDOW = 10  # angles over which a column's flicker is measured, as in the authors' own code
EDGE = 2  # columns at either edge that are never called dead: nothing lies beyond them to interpolate from


def remove_stripe_sorting(block: Array, *, size: int = 21) -> Any:
    """Remove full and partial stripes by sorting (algorithm 3).

    Each column is sorted by value, a median runs across columns at each rank, and the values go back to
    their angles: stripes that shift a column's whole distribution vanish, structures survive.

    Parameters
    ----------
    block : array (angle, row, column)
        Line integrals or transmissions.
    size : int
        Window of the median in columns, odd; larger than the widest stripe, but it flattens what is constant
        in angle and narrower than half of it.

    Returns
    -------
    float32 array (angle, row, column)
    """
    _check_window(size)

    def correct(sinogram: Array) -> Any:
        values, order = sort_columns(sinogram)
        return unsort_columns(running_median(values, size, axis=0), order)

    return each_row(block, correct)


def remove_stripe_filtering(block: Array, *, sigma: float = 3.0, size: int = 21) -> Any:
    """Remove stripes from the slowly varying part of each column only (algorithm 2, with sorting).

    Parameters
    ----------
    block : array (angle, row, column)
        Line integrals or transmissions.
    sigma : float
        Width of the Gaussian low-pass along the angle, in cycles per padded scan. Larger takes more of the
        signal as slow and removes shorter partial stripes.
    size : int
        Window of the median in columns, odd.

    Returns
    -------
    float32 array (angle, row, column)
    """
    _check_window(size)
    if sigma <= 0:
        raise ValueError(f"sigma must be positive, not {sigma}")

    def correct(sinogram: Array) -> Any:
        slow = _low_pass_angles(sinogram, sigma)
        values, order = sort_columns(slow)
        return sinogram - slow + unsort_columns(running_median(values, size, axis=0), order)

    return each_row(block, correct)


def remove_stripe_fitting(block: Array, *, order: int = 2, sigma: float | None = None, model: Model = "offset") -> Any:
    """Remove stripes from a polynomial fit of each column (algorithm 1).

    Each column is fitted by a polynomial in the angle, the fit is smoothed across columns, and the column is
    corrected by the difference (or ratio) of the two fits. For stripes that vary slowly with the angle on
    samples without sharp edges; a column that is constant in angle and narrow is flattened.

    Parameters
    ----------
    block : array (angle, row, column)
    order : int
        Order of the polynomial.
    sigma : float or None
        Width of the Gaussian across columns, in columns; None takes a 60th of the width.
    model : 'offset' or 'gain'
        'offset' for line integrals; 'gain', the paper's ratio, for transmissions.

    Returns
    -------
    float32 array (angle, row, column)
    """
    if order < 0:
        raise ValueError(f"the order of a polynomial cannot be {order}")
    width = max(1.0, block.shape[-1] / 60) if sigma is None else sigma
    if width <= 0:
        raise ValueError(f"sigma must be positive, not {sigma}")

    def correct(sinogram: Array) -> Any:
        xp, ndimage = array_namespace(sinogram), ndimage_of(sinogram)
        basis = xp.asarray(_polynomials(sinogram.shape[0], order))
        fitted = product(basis.T, sinogram)
        smooth = ndimage.gaussian_filter1d(fitted, width, axis=1, mode="nearest")
        if model == "offset":
            return sinogram + product(basis, smooth - fitted)
        fit, target = product(basis, fitted), product(basis, smooth)
        usable = (fit > 0) & (target > 0)
        return sinogram * xp.where(usable, target / xp.where(usable, fit, 1), 1)

    return each_row(block, correct)


def remove_large_stripe(
    block: Array,
    *,
    snr: float = 3.0,
    size: int = 51,
    drop: float = 0.1,
    normalize: bool = True,
    model: Model = "offset",
) -> Any:
    """Remove large stripes (algorithm 5).

    A column's offset is the mean of its sorted values less that of the median across columns; columns whose
    offset stands out (`detect_stripes`) and their neighbours take the sorted, smoothed values. Unlike in the
    paper, a row in which nothing stands out is left alone altogether, not normalised either.

    Parameters
    ----------
    block : array (angle, row, column)
    snr : float
        Threshold of detection; larger is less sensitive.
    size : int
        Window of the median in columns, odd; more than twice the widest stripe.
    drop : float
        Share of the extreme values of each column left out of the mean, 0 to 0.8.
    normalize : bool
        In a row with large stripes, take the offset (or ratio) out of all columns too, as the paper does,
        rather than only replace those that were detected.
    model : 'offset' or 'gain'
        'offset' for line integrals, where a wrong gain is a constant added; 'gain', the paper's ratio, for
        transmissions. The ratio has no meaning where line integrals are about zero, that is in air.

    Returns
    -------
    float32 array (angle, row, column)
    """
    _check_window(size)
    _check_drop(drop)

    def correct(sinogram: Array) -> Any:
        values, order = sort_columns(sinogram)
        return unsort_columns(_flatten_large(values, snr, size, drop, normalize, model)[0], order)

    return each_row(block, correct)


def detect_large_stripes(
    block: Array, *, snr: float = 3.0, size: int = 51, drop: float = 0.1, model: Model = "offset"
) -> np.ndarray[Any, Any]:
    """Find the columns that `remove_large_stripe` replaces: a bool numpy array (row, column)."""
    _check_window(size)
    _check_drop(drop)

    def detect(sinogram: Array) -> np.ndarray[Any, Any]:
        return _flatten_large(sort_columns(sinogram)[0], snr, size, drop, False, model)[1]

    return each_row_mask(block, detect)


def remove_dead_stripe(
    block: Array, *, snr: float = 3.0, size: int = 51, residual: bool = True, model: Model = "offset"
) -> Any:
    """Remove unresponsive and fluctuating columns by interpolation (algorithm 6).

    Parameters
    ----------
    block : array (angle, row, column)
    snr : float
        Threshold of detection; larger is less sensitive.
    size : int
        Window of the median, in columns, that the activity of a column is compared with.
    residual : bool
        Apply `remove_large_stripe` to the result, as the paper does.
    model : 'offset' or 'gain'
        Passed to `remove_large_stripe`.

    Returns
    -------
    float32 array (angle, row, column)
    """
    _check_window(size)

    def correct(sinogram: Array) -> Any:
        filled = interpolate_columns(sinogram, _dead_columns(sinogram, snr, size))
        if not residual:
            return filled
        values, order = sort_columns(filled)
        return unsort_columns(_flatten_large(values, snr, size, 0.1, True, model)[0], order)

    return each_row(block, correct)


def detect_dead_stripes(block: Array, *, snr: float = 3.0, size: int = 51) -> np.ndarray[Any, Any]:
    """Find the columns that `remove_dead_stripe` interpolates: a bool numpy array (row, column)."""
    _check_window(size)
    return each_row_mask(block, lambda sinogram: _dead_columns(sinogram, snr, size))


def remove_all_stripe(
    block: Array,
    *,
    snr: float = 3.0,
    large_size: int | None = None,
    small_size: int | None = None,
    drop: float = 0.1,
    model: Model = "offset",
) -> Any:
    """Remove all kinds of stripes: dead columns, then large stripes, then the rest by sorting.

    Parameters
    ----------
    block : array (angle, row, column)
    snr, drop, model
        As in `remove_large_stripe`.
    large_size, small_size : int or None
        Windows of the medians for large stripes and for sorting, odd; None takes `stripe.default_windows`
        of each row by itself.

    Returns
    -------
    float32 array (angle, row, column)
    """
    return remove_all_stripe_masks(
        block, snr=snr, large_size=large_size, small_size=small_size, drop=drop, model=model
    )[0]


def remove_all_stripe_masks(
    block: Array,
    *,
    snr: float = 3.0,
    large_size: int | None = None,
    small_size: int | None = None,
    drop: float = 0.1,
    model: Model = "offset",
) -> tuple[Any, np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Do what `remove_all_stripe` does and say what was decided, at no extra cost.

    Returns
    -------
    corrected : float32 array (angle, row, column)
    dead : bool numpy array (row, column)
        Columns that were interpolated.
    large : bool numpy array (row, column)
        Columns that were replaced as large stripes. Rows without any were only sorted.
    """
    for size in (large_size, small_size):
        if size is not None:
            _check_window(size)
    _check_drop(drop)
    check_block(block)
    dead, large = np.zeros((2, *block.shape[1:]), bool)

    def correct(row: int, sinogram: Array) -> Any:
        chosen = default_windows(sinogram[:, None, :]) if None in (large_size, small_size) else (0, 0)
        wide, narrow = large_size or chosen[0], small_size or chosen[1]
        dead[row] = _dead_columns(sinogram, snr, wide)
        values, order = sort_columns(interpolate_columns(sinogram, dead[row]))
        values, large[row] = _flatten_large(values, snr, wide, drop, True, model)
        # The correction kept every column's order, so the sorting step needs no second sort.
        return unsort_columns(running_median(values, narrow, axis=0), order)

    result = array_namespace(block).empty(block.shape, np.float32)
    for row in range(block.shape[1]):
        result[:, row] = one_row(block[:, row], partial(correct, row))
    return result, dead, large


def _check_window(size: int) -> None:
    if size < 1 or size % 2 == 0:
        raise ValueError(f"the window of a stripe filter must be an odd number of columns, not {size}")


def _check_drop(drop: float) -> None:
    if not 0 <= drop <= 0.8:
        raise ValueError(f"drop must lie between 0 and 0.8, not {drop}")


def _polynomials(count: int, order: int) -> np.ndarray[Any, Any]:
    """Orthonormal polynomials up to `order` on `count` equal steps: float32 (count, order + 1)."""
    basis: list[np.ndarray[Any, Any]] = []
    for power in np.polynomial.legendre.legvander(np.linspace(-1, 1, count), min(order, count - 1)).T:
        vector = power
        for known in basis * 2:  # twice, against rounding; sums, since a BLAS may depend on its threads
            vector = vector - (vector * known).sum() * known
        basis.append(vector / np.sqrt((vector * vector).sum()))
    return np.stack(basis, axis=1).astype(np.float32)


def _low_pass_angles(sinogram: Array, sigma: float) -> Any:
    """Gaussian low-pass of each column along the angle, `sigma` in cycles per padded length."""
    xp, fft = array_namespace(sinogram), fft_of(sinogram)
    angles = sinogram.shape[0]
    pad = min(150, angles // 10)
    padded = xp.pad(sinogram, ((pad, pad), (0, 0)), mode="reflect")
    count = padded.shape[0]
    spectrum = fft.rfft(padded, axis=0)
    window = np.exp(-0.5 * (np.arange(spectrum.shape[0]) / sigma) ** 2).astype(np.float32)
    return fft.irfft(spectrum * xp.asarray(window)[:, None], count, axis=0)[pad : pad + angles]


def _flatten_large(
    values: Array, snr: float, size: int, drop: float, normalize: bool, model: Model
) -> tuple[Any, np.ndarray[Any, Any]]:
    """Algorithm 5 on a sorted sinogram (column, angle): the corrected values, still sorted, and the mask."""
    xp = array_namespace(values)
    smooth = running_median(values, size, axis=0)
    angles = values.shape[1]
    edge = int(0.5 * drop * angles)
    mean = to_host(values[:, edge : angles - edge].mean(axis=1, dtype=np.float64))
    target = to_host(smooth[:, edge : angles - edge].mean(axis=1, dtype=np.float64))
    if model == "offset":
        profile, floor = mean - target, 1e-5 * float(np.abs(target).mean())
    else:
        usable = (mean > 0) & (target > 0)  # a ratio of anything else would turn the order of a column round
        profile, floor = np.where(usable, mean / np.where(usable, target, 1), 1), 1e-5
    mask = _dilate(detect_stripes(profile, snr, floor=floor))
    if not mask.any():
        return values, mask
    if normalize:
        shift = xp.asarray(profile.astype(np.float32))[:, None]
        values = values - shift if model == "offset" else values / shift
    else:
        values = values.copy()
    replaced = xp.asarray(np.flatnonzero(mask))
    values[replaced] = smooth[replaced]
    return values, mask


def _dead_columns(sinogram: Array, snr: float, size: int) -> np.ndarray[Any, Any]:
    """Columns whose activity along the angle stands out of their neighbours', on either side."""
    activity = to_host(angular_activity(sinogram, ACTIVITY_WINDOW))
    background = to_host(running_median(activity, size))
    average = background.mean()
    if average == 0:
        return np.zeros(activity.size, bool)
    ratio = activity / np.where(background > 0, background, average)
    ratio[(background == 0) & (activity == 0)] = 1.0  # nothing happens there at all: no reason to suspect
    mask = _dilate(detect_stripes(ratio, snr))
    mask[:EDGE] = mask[-EDGE:] = False
    # A third of the detector cannot be interpolated: then the noise, not the detector, was detected.
    return mask if mask.sum() < activity.size // 3 else np.zeros(activity.size, bool)


def _dilate(mask: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Add the neighbours of every masked column."""
    wider = mask.copy()
    wider[1:] |= mask[:-1]
    wider[:-1] |= mask[1:]
    return wider
