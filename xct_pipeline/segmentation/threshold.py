"""Thresholds from the histogram of a whole volume, and their use on blocks.

A threshold is a property of the volume, never of a block: blocks give their counts in bins that add up exactly, and
the thresholds follow from the sum. Voxels without data (NaN) take no part. Hysteresis keeps the connected
voxels above a weak threshold that hold one above a strong threshold, wherever in the volume that one lies.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from xct_pipeline.compiled import empty, njit
from xct_pipeline.device import Array, array_namespace, to_host
from xct_pipeline.segmentation.label import Partial, keep_objects, label_partial, merge_labels, relabel_block

Counts = npt.NDArray[np.int64]
Thresholds = npt.NDArray[np.float64]

MOST_THRESHOLDS = 254  # labels are uint8
LANES = 64  # values that are looked at at a time


def without_clipped(block: Array) -> Any:
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


def value_range(block: Array) -> Partial:
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
        values = np.ravel(block)
        low, high = (float(each.reduce(values, initial=e)) for each, e in ((np.fmin, np.inf), (np.fmax, -np.inf)))
        if low == -np.inf or high == np.inf:  # of which NaN is none
            return value_range(values[np.isfinite(values)])
    else:
        finite = xp.isfinite(block)
        low = float(xp.where(finite, block, xp.inf).min()) if block.size else np.inf
        high = float(xp.where(finite, block, -xp.inf).max()) if block.size else -np.inf
    return {"range": np.array([low, high])}


def histogram(*values: Array, bins: Sequence[int]) -> Partial:
    """Count the values of a block, or the tuples of values of several, in bins that other blocks' counts add up with.

    A bin is as wide as the smallest power of two with which `bins` of them hold all values of the block, and bins
    begin at whole multiples of their width. So counts of narrow bins add up to those of wide ones exactly, a wider
    range needs no second look at the values, and the sum over blocks is the histogram of the volume however it is cut.

    Parameters
    ----------
    *values : arrays (numpy or CuPy) of one shape
        Attenuation, 1/cm, or what goes with it; left out where one of them is not finite.
    bins : sequence of int
        For each array, the largest number of bins; more than half of them are used, unless values are too few.

    Returns
    -------
    dict
        ``counts``, int64, one axis for each array, of size 0 without data; ``first`` and ``power``, int64: bin ``k`` is
        ``2**power`` wide and begins at ``(first + k) * 2**power``.
    """
    ranges = [value_range(part)["range"] for part in values]
    if not np.isfinite(ranges).all():
        return _no_counts(len(values))
    axes = [_aligned(low, high, most) for (low, high), most in zip(ranges, bins, strict=True)]
    first, count, power = (np.array(column, np.int64) for column in zip(*axes, strict=True))
    scale = 2.0**-power
    flat = [array_namespace(part).ravel(part) for part in values]
    if array_namespace(flat[0]) is not np:
        counts = to_host(_count_plainly(flat, scale, first, count))
    else:
        counts = np.zeros(count, np.int64)
        if len(flat) == 1:
            _count(flat[0], scale[0], first[0], counts)
        else:
            _count_pairs(flat[0], flat[1], scale, first, counts)
    return {"counts": counts.astype(np.int64), "first": first, "power": power}


def combine_histograms(partials: Sequence[Mapping[str, Any]], bins: Sequence[int]) -> Partial:
    """Add the counts of blocks in bins that hold all of them; arguments and result as for `histogram`."""
    known = [part for part in partials if part["counts"].size]
    if not known:
        return _no_counts(len(bins))
    first, count = np.zeros(len(bins), np.int64), np.zeros(len(bins), np.int64)
    power = np.max([part["power"] for part in known], axis=0)
    for axis, most in enumerate(bins):
        while True:
            ends = [_at(part, axis, power[axis])[[0, -1]] for part in known]
            first[axis], count[axis] = np.min(ends), np.ptp(ends) + 1
            if count[axis] <= most:
                break
            power[axis] += 1
    total = np.zeros(count, np.int64)
    for part in known:
        counts = part["counts"]
        places = [_at(part, axis, power[axis]) - first[axis] for axis in range(counts.ndim)]
        for axis, place in enumerate(places):
            if power[axis] > part["power"][axis]:  # bins that fall into one
                counts = np.add.reduceat(counts, np.flatnonzero(np.diff(place, prepend=-1)), axis=axis)
        total[tuple(slice(place[0], place[-1] + 1) for place in places)] += counts
    return {"counts": total, "first": first, "power": power}


def span_of(found: Mapping[str, Any]) -> tuple[float, float]:
    """Return where the last axis of a histogram begins and ends, 1/cm.

    Raises
    ------
    ValueError
        No value is finite, or all are the same.
    """
    counts, first, power = found["counts"], int(found["first"][-1]), int(found["power"][-1])
    if not counts.size:
        raise ValueError("the volume holds no finite value, so it cannot be segmented: look at the registered images")
    low, high = first * 2.0**power, (first + counts.shape[-1]) * 2.0**power
    if counts.shape[-1] < 2:
        raise ValueError(f"all voxels hold one value, {low:g} 1/cm: the volume is uniform or empty")
    return low, high


def _no_counts(axes: int) -> Partial:
    return {"counts": np.zeros((0,) * axes, np.int64), **{key: np.zeros(axes, np.int64) for key in ("first", "power")}}


def _aligned(low: float, high: float, most: int) -> tuple[int, int, int]:
    """Return the first bin, the number of bins and the power of two of the narrowest bins that hold a range."""
    power = int(np.frexp(np.spacing(np.float32(max(abs(low), abs(high)))))[1]) - 1  # values differ by no less
    while (count := math.floor(high * 2.0**-power) - math.floor(low * 2.0**-power) + 1) > most:
        power += 1
    return math.floor(low * 2.0**-power), count, power


def _at(part: Mapping[str, Any], axis: int, power: int) -> npt.NDArray[np.int64]:
    """Return the wider bin that each bin of an axis falls into."""
    narrow = part["first"][axis] + np.arange(part["counts"].shape[axis])
    return np.asarray(narrow >> min(int(power - part["power"][axis]), 63))


def flat_rows(counts: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Tell which bins of the first axis lie below Otsu's threshold of these."""
    rows = len(counts)
    cut = multi_otsu(counts.sum(axis=1), low=0.0, high=float(rows), classes=2)[0]
    return np.asarray(np.arange(rows) < cut - 1e-6)


def _count_plainly(values: Sequence[Any], scale: Array, first: Array, count: Array) -> Any:
    """Count as `histogram` does, in steps of numpy."""
    xp = array_namespace(values[0])
    known = xp.ones(values[0].shape, bool)
    for part in values:
        known &= xp.isfinite(part)
    place = xp.zeros(int(known.sum()), xp.int64)
    for part, factor, start, size in zip(values, scale.tolist(), first.tolist(), count.tolist(), strict=True):
        place = place * size + xp.floor(part[known].astype(xp.float64) * factor).astype(xp.int64) - start
    return xp.bincount(place, minlength=math.prod(count.tolist())).reshape(tuple(count.tolist()))


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


def apply_thresholds(block: Array, thresholds: Sequence[float] | npt.NDArray[Any]) -> Any:
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


def _compare_plainly(block: Array, thresholds: Thresholds) -> Any:
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
    block: Array, region: tuple[slice, ...], frame: Sequence[int], *, weak: float, strong: float, connectivity: int = 26
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
    block: Array,
    region: tuple[slice, ...],
    merged: Mapping[str, Any],
    *,
    weak: float,
    strong: float,
    connectivity: int = 26,
) -> Any:
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


def _beyond(block: Array, level: float, *, bright: bool) -> Any:
    return block >= level if bright else block <= level


@njit
def _count(values: Array, scale: float, first: int, counts: Array) -> None:
    for value in values:
        if np.isfinite(value):
            counts[int(np.floor(float(value) * scale)) - first] += 1


@njit
def _count_pairs(rows: Array, columns: Array, scale: Array, first: Array, counts: Array) -> None:
    """Count pairs of values: the bins of a run of them are worked out in vectors, -1 where a value is not finite."""
    place = empty((2, LANES), np.int64)
    for start in range(0, len(rows), LANES):
        stop = min(start + LANES, len(rows))
        for axis, values in enumerate((rows, columns)):
            for x in range(stop - start):
                value = values[start + x]
                known = abs(value) < np.float32(np.inf)
                bin_ = np.int64(np.floor(np.float64(value if known else np.float32(0)) * scale[axis])) - first[axis]
                place[axis, x] = bin_ if known else np.int64(-1)
        for x in range(stop - start):
            if place[0, x] >= 0 and place[1, x] >= 0:
                counts[place[0, x], place[1, x]] += 1


@njit
def _compare(values: Array, thresholds: Array, labels: Array) -> None:
    for i in range(len(values)):
        label = 0
        for threshold in thresholds:
            label += values[i] >= threshold
        labels[i] = label
