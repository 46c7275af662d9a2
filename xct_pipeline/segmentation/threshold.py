"""Thresholds from the histogram of a whole volume, and their use on blocks.

A threshold is a property of the volume, never of a block: blocks give their extremes, then their counts in common
bins, and the thresholds follow from the sum. Voxels without data (NaN) take no part. Hysteresis keeps the connected
voxels above a weak threshold that hold one above a strong threshold, wherever in the volume that one lies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from xct_pipeline.device import array_namespace, to_host
from xct_pipeline.segmentation.label import Partial, keep_objects, label_partial, merge_labels, relabel_block

Counts = npt.NDArray[np.int64]
Thresholds = npt.NDArray[np.float64]

MOST_THRESHOLDS = 254  # labels are uint8


def without_clipped(block: Any) -> Any:
    """Turn an integer image into float32 with NaN where it is clipped.

    Volumes exported as integers are scaled and cut: what stands at either end of the type is of unknown value, and its
    peak in the histogram would pull thresholds towards itself. Images of floating point are returned as they are.
    """
    xp = array_namespace(block)
    if block.dtype.kind not in "ui":
        return block
    limits = np.iinfo(block.dtype)
    clipped = (block == limits.min) | (block == limits.max)
    return xp.where(clipped, xp.float32(np.nan), block.astype(xp.float32))


def value_range(block: Any) -> Partial:
    """Find the extremes of a block.

    Parameters
    ----------
    block : array (numpy or CuPy), any shape
        Attenuation, 1/cm; non-finite values are left out.

    Returns
    -------
    dict
        ``range``, float64 (2,): minimum and maximum, (inf, -inf) for a block without data.
    """
    xp = array_namespace(block)
    if xp is np:
        low, high = _extremes(np.ravel(block))
    else:
        finite = xp.isfinite(block)
        low = float(xp.where(finite, block, xp.inf).min()) if block.size else np.inf
        high = float(xp.where(finite, block, -xp.inf).max()) if block.size else -np.inf
    return {"range": np.array([low, high])}


def combine_ranges(partials: Sequence[Mapping[str, Any]]) -> Partial:
    """Combine the extremes of all blocks; ``range``, float64 (2,).

    Raises
    ------
    ValueError
        No block holds a finite value.
    """
    ranges = np.array([partial["range"] for partial in partials]).reshape(-1, 2)
    if not len(ranges) or not np.isfinite(ranges[:, 0].min()):
        raise ValueError("the volume holds no finite value, so it cannot be segmented: look at the registered images")
    return {"range": np.array([ranges[:, 0].min(), ranges[:, 1].max()])}


def histogram(block: Any, *, low: float, high: float, bins: int = 256) -> Partial:
    """Count the values of a block in equal bins between `low` and `high`.

    Values outside are counted in the first and last bin, non-finite values nowhere, so that the counts of blocks
    add up to those of the volume exactly.

    Parameters
    ----------
    block : array (numpy or CuPy), any shape
        Attenuation, 1/cm.
    low, high : float
        The same for all blocks, 1/cm.
    bins : int
        Number of bins.

    Returns
    -------
    dict
        ``counts``, int64 (bins,).

    Raises
    ------
    ValueError
        The range is empty.
    """
    _check_width(low, high)
    scale = bins / (float(high) - float(low))
    if array_namespace(block) is np:
        counts = np.zeros(bins, np.int64)
        _count(np.ravel(block), float(low), scale, counts)
        return {"counts": counts}
    return {"counts": to_host(_count_plainly(block, float(low), scale, bins)).astype(np.int64)}


def joint_histogram(
    first: Any, second: Any, low: Sequence[float], high: Sequence[float], bins: Sequence[int]
) -> Partial:
    """Count pairs of values of two blocks in equal bins; `low`, `high` and `bins` are of the one and the other.

    Returns
    -------
    dict
        ``counts``, int64 (first bins, second bins), values counted as by `histogram`; pairs with a non-finite value
        are left out.
    """
    scale = []
    for a, b, n in zip(low, high, bins, strict=True):
        _check_width(a, b)
        scale.append(n / (b - a))
    if array_namespace(first) is np:
        counts = np.zeros(tuple(bins), np.int64)
        _count_pairs(np.ravel(first), np.ravel(second), low[0], low[1], scale[0], scale[1], counts)
        return {"counts": counts}
    xp = array_namespace(first)
    first, second = xp.ravel(first), xp.ravel(second)
    known = xp.isfinite(first) & xp.isfinite(second)
    place = _places(first[known], low[0], scale[0], bins[0]) * bins[1] + _places(
        second[known], low[1], scale[1], bins[1]
    )
    found = to_host(xp.bincount(place, minlength=bins[0] * bins[1]))
    return {"counts": found.reshape(tuple(bins)).astype(np.int64)}


def below_otsu(counts: npt.NDArray[Any]) -> Counts:
    """Return the counts over the second axis for values on the first below Otsu's threshold of these."""
    rows = len(counts)
    cut = multi_otsu(counts.sum(axis=1), low=0.0, high=float(rows), classes=2)[0]
    return np.asarray(counts[np.arange(rows) < cut - 1e-6].sum(axis=0))


def _check_width(low: float, high: float) -> None:
    if not (np.isfinite(low) and np.isfinite(high) and high > low):
        raise ValueError(f"a histogram from {low:g} to {high:g} 1/cm has no width: the volume is uniform or empty")


def _count_plainly(block: Any, low: float, scale: float, bins: int) -> Any:
    xp = array_namespace(block)
    values = xp.ravel(block)
    return xp.bincount(_places(values[xp.isfinite(values)], low, scale, bins), minlength=bins)


def _places(values: Any, low: float, scale: float, bins: int) -> Any:
    """Bin of each value, those outside in the first and the last."""
    xp = array_namespace(values)
    return xp.clip(xp.floor((values.astype(xp.float64) - low) * scale), 0, bins - 1).astype(xp.int64)


def combine_histograms(partials: Sequence[Mapping[str, Any]]) -> Partial:
    """Add the counts of all blocks."""
    return {"counts": np.array([partial["counts"] for partial in partials], np.int64).sum(axis=0)}


def multi_otsu(counts: npt.ArrayLike, *, low: float, high: float, classes: int = 2) -> Thresholds:
    """Divide a histogram into classes with the least variance within them.

    The best division is found exactly by dynamic programming, at a cost of ``classes x bins**2``. A boundary that
    falls into a range of empty bins is put into the middle of that range, where noise moves it least.

    Parameters
    ----------
    counts : array_like of int (bins,)
        Counts between `low` and `high`.
    low, high : float
        1/cm.
    classes : int
        At least 2; 2 is Otsu's method.

    Returns
    -------
    ndarray, float64 (classes - 1,)
        Increasing; 1/cm. A value belongs to the class above a threshold where it is equal to it.

    Raises
    ------
    ValueError
        Fewer bins hold values than there are classes.

    References
    ----------
    N. Otsu, IEEE Trans. SMC 9 (1979) 62; P.-S. Liao, T.-S. Chen, P.-C. Chung, J. Inf. Sci. Eng. 17 (2001) 713.
    """
    n = np.asarray(counts, np.float64)
    filled = np.flatnonzero(n)
    if classes < 2 or classes - 1 > MOST_THRESHOLDS:
        raise ValueError(f"{classes} classes: give 2 to {MOST_THRESHOLDS + 1}")
    if len(filled) < classes:
        raise ValueError(
            f"the histogram holds {len(filled)} different values, too few for {classes} classes: "
            "ask for fewer classes or more bins"
        )
    bins = len(n)
    position = np.arange(bins) - np.average(np.arange(bins), weights=n)
    weight = np.concatenate([[0.0], np.cumsum(n)])
    moment = np.concatenate([[0.0], np.cumsum(n * position)])
    mass = weight[None, :] - weight[:, None]
    gain = np.where(mass > 0, (moment[None, :] - moment[:, None]) ** 2 / np.where(mass > 0, mass, 1.0), -np.inf)
    best, cuts = gain[0], []
    for _ in range(classes - 1):
        total = best[:, None] + gain
        cuts.append(total.argmax(axis=0))
        best = total.max(axis=0)
    boundary, boundaries = bins, []
    for cut in reversed(cuts):
        boundary = int(cut[boundary])
        below, above = filled[filled < boundary][-1], filled[filled >= boundary][0]
        boundaries.append(0.5 * (below + 1 + above))
    return np.asarray(low + np.array(boundaries[::-1]) * (float(high) - float(low)) / bins)


def class_means(
    counts: npt.ArrayLike, thresholds: Sequence[float] | npt.NDArray[Any], *, low: float, high: float
) -> npt.NDArray[np.float64]:
    """Return the mean value of each class of a histogram, 1/cm; NaN for a class without values.

    Parameters
    ----------
    counts : array_like of int (bins,)
        Counts between `low` and `high`, 1/cm.
    thresholds : sequence of float
        Between the classes, 1/cm.
    """
    n = np.asarray(counts, np.float64)
    values = low + (np.arange(len(n)) + 0.5) * (high - low) / len(n)
    member = np.searchsorted(check_thresholds(thresholds), values, side="right")
    size = len(np.asarray(thresholds).ravel()) + 1
    total = np.bincount(member, weights=n, minlength=size)
    moment = np.bincount(member, weights=n * values, minlength=size)
    return np.where(total > 0, moment / np.where(total > 0, total, 1.0), np.nan)


def check_thresholds(thresholds: Sequence[float] | npt.NDArray[Any]) -> Thresholds:
    """Return given thresholds as an array; ValueError unless they are finite, increasing and 1 to 254 in number."""
    values = np.asarray(thresholds, np.float64).ravel()
    if not 1 <= len(values) <= MOST_THRESHOLDS:
        raise ValueError(f"{len(values)} thresholds: give 1 to {MOST_THRESHOLDS}")
    if not np.all(np.isfinite(values)) or not np.all(np.diff(values) > 0):
        raise ValueError(f"thresholds {values.tolist()}: give finite, increasing values in 1/cm")
    return values


def apply_thresholds(block: Any, thresholds: Sequence[float] | npt.NDArray[Any]) -> Any:
    """Label every voxel with the number of thresholds it reaches.

    Parameters
    ----------
    block : array (numpy or CuPy), any shape
        Attenuation, 1/cm.
    thresholds : sequence of float
        Increasing, 1/cm.

    Returns
    -------
    array of uint8
        0 below the first threshold *and* where there is no data (NaN): label 0 is background.
    """
    values = check_thresholds(thresholds)
    xp = array_namespace(block)
    if xp is np:
        labels = np.empty(block.shape, np.uint8)
        flat = np.ravel(block)
        # compared in the block's own precision: as exact as in float64 once the threshold is rounded up to it
        bounds = rounded_up(values, flat.dtype)
        _compare(flat, bounds, labels.reshape(-1))
        return labels
    return _compare_plainly(block, values)


def _compare_plainly(block: Any, thresholds: Thresholds) -> Any:
    xp = array_namespace(block)
    labels = xp.zeros(block.shape, xp.uint8)
    for threshold in thresholds:
        labels += (block >= xp.float64(threshold)).astype(xp.uint8)
    return labels


def rounded_up(values: Thresholds, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return thresholds that a float32 is compared with to the same effect as with those in float64."""
    if dtype != np.float32:
        return values
    rounded = values.astype(np.float32)
    return np.where(rounded < values, np.nextafter(rounded, np.float32(np.inf)), rounded)


def hysteresis_partial(
    block: Any, region: tuple[slice, ...], frame: Sequence[int], *, weak: float, strong: float, connectivity: int = 26
) -> Partial:
    """Label the voxels of a block beyond the weak threshold and note which objects reach the strong one.

    Parameters
    ----------
    block : array (z, y, x)
        Attenuation, 1/cm, of `region` without a halo.
    region : tuple of slice
        Where the block lies in a volume of shape `frame`; the regions form a grid.
    weak, strong : float
        1/cm; bright objects where ``strong >= weak``, dark ones otherwise.
    connectivity : {6, 18, 26}
        Which neighbours belong together.

    Returns
    -------
    dict of arrays
        For `combine_hysteresis`.
    """
    bright = strong >= weak
    mask, marked = _beyond(block, weak, bright=bright), _beyond(block, strong, bright=bright)
    return label_partial(mask, region, frame, connectivity=connectivity, marked=marked)


def combine_hysteresis(partials: Sequence[Mapping[str, Any]], *, connectivity: int = 26) -> Partial:
    """Join the objects of all blocks and keep those that reach the strong threshold anywhere."""
    merged = merge_labels(partials, connectivity=connectivity)
    return keep_objects(merged, merged["marked"] > 0)


def apply_hysteresis(
    block: Any, region: tuple[slice, ...], merged: Mapping[str, Any], *, weak: float, strong: float,
    connectivity: int = 26,
) -> Any:  # fmt: skip
    """Return the voxels of the kept objects.

    Parameters
    ----------
    block, region, weak, strong, connectivity
        As for `hysteresis_partial`, with the same regions.
    merged : mapping
        From `combine_hysteresis`.

    Returns
    -------
    bool array (z, y, x).
    """
    mask = _beyond(block, weak, bright=strong >= weak)
    return relabel_block(mask, region, merged, connectivity=connectivity) > 0


def _beyond(block: Any, level: float, *, bright: bool) -> Any:
    return block >= level if bright else block <= level


@njit(cache=True, nogil=True)
def _extremes(values: Any) -> Any:
    low, high = np.inf, -np.inf
    for value in values:
        if np.isfinite(value):
            low = min(low, float(value))
            high = max(high, float(value))
    return low, high


@njit(cache=True, nogil=True)
def _count(values: Any, low: float, scale: float, counts: Any) -> None:
    last = len(counts) - 1
    for value in values:
        if np.isfinite(value):
            index = (float(value) - low) * scale
            counts[int(min(max(index, 0.0), float(last)))] += 1


@njit(cache=True, nogil=True)
def _count_pairs(
    first: Any, second: Any, low: float, second_low: float, scale: float, second_scale: float, counts: Any
) -> None:
    last, second_last = counts.shape[0] - 1, counts.shape[1] - 1
    for i in range(len(first)):
        if np.isfinite(first[i]) and np.isfinite(second[i]):
            row = (float(first[i]) - low) * scale
            column = (float(second[i]) - second_low) * second_scale
            counts[int(min(max(row, 0.0), float(last))), int(min(max(column, 0.0), float(second_last)))] += 1


@njit(cache=True, nogil=True)
def _compare(values: Any, thresholds: Any, labels: Any) -> None:
    for i in range(len(values)):
        label = 0
        for threshold in thresholds:
            label += values[i] >= threshold
        labels[i] = label
