"""Which detector rows the centre is found on, and which of their columns are left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy

from xct_pipeline.device import to_host

Array = npt.NDArray[Any]


def row_content(projections: Array) -> Array:
    """How much structure for registration each detector row holds.

    Mean square of the smoothed column-to-column difference of line integrals (angle, row, column); single bad
    pixels and columns are capped, the noise floor is taken off. One non-negative number per row.
    """
    data = np.nan_to_num(np.asarray(to_host(projections), np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    slope = scipy.ndimage.gaussian_filter1d(data, 2.0, axis=-1, order=1)
    cap = np.quantile(np.abs(slope), 0.995, axis=-1, keepdims=True)
    energy = (np.clip(slope, -cap, cap) ** 2).mean(axis=(0, -1), dtype=np.float64)
    noise = np.diff(data, axis=-1)
    # median of the squared difference of white noise is 0.455 * 2 sigma^2; the filter passes 1/(4 sqrt(pi) 8) of it
    floor = np.median(noise**2, axis=-1).mean(axis=0) / 0.91 / (4 * np.sqrt(np.pi) * 8)
    return np.asarray(np.maximum(energy - floor, 0))


def choose_rows(content: Array, count: int) -> npt.NDArray[np.intp]:
    """Choose detector rows to find the centre on: rich in content and spread over the detector.

    Parameters
    ----------
    content : array
        One non-negative number per row, e.g. from `row_content`.
    count : int
        Rows wanted; fewer are returned where fewer hold content.

    Returns
    -------
    numpy.ndarray of int
        Increasing rows. Rows with less than a tenth of the content of rich rows are never chosen.

    Raises
    ------
    ValueError
        Where no row holds content.
    """
    values = np.nan_to_num(np.asarray(to_host(content), np.float64))
    rich = np.quantile(values, 0.9) if values.size else 0.0
    rich = rich if rich > 0 else float(values.max(initial=0.0))
    if rich <= 0 or count < 1:
        raise ValueError("no detector row holds any structure to find the centre of rotation on; give the centre")
    usable = np.flatnonzero(values >= 0.1 * rich)
    groups = np.array_split(usable, min(count, len(usable)))
    # the cap keeps a row with a defect that looks like content from winning
    return np.array([g[np.argmax(np.minimum(values[g], 1.5 * rich))] for g in groups], np.intp)


class ColumnValues(NamedTuple):
    """What the columns of a sinogram are judged by: share of finite values, mean, and change from angle to angle."""

    finite: Array
    mean: Array
    change: Array


def column_values(sinogram: Array) -> ColumnValues:
    """Measure a sinogram (angle, column) whose projections are in the order of their angles."""
    finite = np.isfinite(sinogram)
    data = np.where(finite, sinogram, 0).astype(np.float32)
    change = np.abs(np.diff(data, axis=0)).mean(axis=0, dtype=np.float64)
    change = np.log(change + 0.15 * np.quantile(change, 0.98) + 1e-6)
    return ColumnValues(finite.mean(axis=0), data.mean(axis=0, dtype=np.float64), change)


def outlying_columns(
    values: ColumnValues, center: float | None = None, residual: Array | None = None
) -> npt.NDArray[np.bool_]:
    """Mark columns of a sinogram that stand out from neighbours at all angles or are not finite.

    An edge concentric with the axis stands out on both sides alike: with `center` given such columns are kept,
    and what is marked is marked with its mirror image, so that leaving it out favours no centre. `residual`
    (column), projections less their mirror images half a turn later, must show what stands out as well: it is free
    of the sample.
    """
    bad = values.finite < 0.9
    if residual is not None:
        rest = residual - scipy.ndimage.median_filter(residual, 7, mode="nearest")
    for value, floor in ((values.mean, 0.01 * float(np.ptp(values.mean))), (values.change, 0.7)):
        excess = value - scipy.ndimage.median_filter(value, 7, mode="nearest")
        limit = 6 * 1.4826 * float(np.median(np.abs(excess))) + floor
        spots = np.flatnonzero(np.abs(excess) > limit)
        if center is not None:
            near = np.round(2 * center - spots[:, None] + np.arange(-2, 3)).astype(int)
            mirrored = excess[np.clip(near, 0, len(value) - 1)]
            mirrored[(near < 0) | (near >= len(value))] = 0
            unlike = np.abs(excess[spots, None] - mirrored) - 0.25 * np.abs(mirrored)
            spots = spots[unlike.min(axis=1, initial=np.inf) > limit]
        if residual is not None and value is values.mean:
            least = np.maximum(0.4 * np.abs(excess[spots]), 4 * float(np.median(np.abs(rest))))
            spots = spots[rest[spots] * np.sign(excess[spots]) > least]
        bad[spots] = True
    if center is not None:
        mirror = 2 * center - np.flatnonzero(bad)
        both = np.concatenate([np.floor(mirror), np.ceil(mirror)]).astype(int)
        bad[both[(both >= 0) & (both < len(bad))]] = True
    return np.asarray(bad)


def without_columns(sinogram: Array, bad: Array) -> Array:
    """Copy of a sinogram (angle, column) with bad columns and non-finite samples interpolated along the row."""
    data = np.array(sinogram, np.float32)
    good = np.flatnonzero(~bad)
    if len(good) < 16:
        raise ValueError("fewer than 16 usable columns in a row: the centre of rotation cannot be found")
    spots = np.flatnonzero(bad)
    right = np.clip(np.searchsorted(good, spots), 1, len(good) - 1)
    a, b = good[right - 1], good[right]
    part = np.clip((spots - a) / (b - a), 0, 1).astype(np.float32)
    data[:, spots] = data[:, a] * (1 - part) + data[:, b] * part
    for angle in np.flatnonzero(~np.isfinite(data).all(axis=1)):
        line = data[angle]
        ok = np.isfinite(line)
        data[angle] = np.interp(np.arange(len(line)), np.flatnonzero(ok), line[ok]) if ok.any() else 0.0
    return data


def values_of_rows(sinograms: Array) -> list[ColumnValues]:
    """What the columns of each row of (angle, row, column) are judged by."""
    return [column_values(sinograms[:, r]) for r in range(sinograms.shape[1])]


def clean(projections: Array, bad: Sequence[Array]) -> Array:
    """Projections (angle, row, column) with the bad columns of each row interpolated."""
    out = np.empty(projections.shape, np.float32)
    for r, marked in enumerate(bad):
        out[:, r] = without_columns(projections[:, r], marked)
    return out


def unlike_mirror_image(
    values: Sequence[ColumnValues], first: Array, second: Array, center: float
) -> list[npt.NDArray[np.bool_]]:
    """Mark the outlying columns of each row that differ from what is seen half a turn later, by pairs `first, second`.

    What differs from its mirror image shows best at a good centre.
    """
    columns = first.shape[-1]
    mirror = 2 * center - np.arange(columns)
    marked = []
    for r, row in enumerate(values):
        # the partner without its own defects, or each would show twice
        partner = without_columns(second[:, r], outlying_columns(row)).mean(axis=0)
        ahead = np.nan_to_num(first[:, r], posinf=0, neginf=0).mean(axis=0)
        residual = ahead - np.interp(mirror, np.arange(columns), partner)
        residual[(mirror < 0) | (mirror > columns - 1)] = 0
        marked.append(outlying_columns(row, center, residual))
    return marked
