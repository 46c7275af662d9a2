"""Stripes of the detector, and nothing but the detector.

The walls of a cell that is concentric with the rotation axis are constant in angle, as a defective column is.
What tells them apart, and is asked for here, all at once: a defect is narrow and *isolated* (the line integrals
on both sides continue each other), has *no mirror image* on the other side of the rotation axis (parallel rays
from opposite sides see the same object, p(theta + pi, -u) = p(theta, u), so what is constant in angle is even),
is constant from one part of the rotation to the next, and is the same in all scans of one detector.
Everything else is left alone. The classification of defects (full stripes, unresponsive and fluctuating
pixels) follows Vo, Atwood and Drakopoulos, Opt. Express 26 (2018) 28396; the method is our own.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from xct_pipeline.compiled import njit
from xct_pipeline.correction.defects.search import isolated_offsets, local_scatter, mirror_maximum
from xct_pipeline.correction.defects.templates import FLANK
from xct_pipeline.correction.moments import turned
from xct_pipeline.device import Array, array_namespace, is_cupy, to_host

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

SEGMENTS = 8  # parts of the rotation that must agree
HARMLESS = 1e-4  # standard error of the mean below which a scatter is not looked at
BAND_BYTES = 12e6  # of the statistics of all scans that are searched at a time
PASSES = 6  # a defect beside a much larger one, or beside a pair, is found once that is gone


@dataclass(frozen=True)
class Defects:
    """What belongs to the detector.

    Attributes
    ----------
    offset : float32 array (row, column)
        To be subtracted from the line integrals; 0 nearly everywhere.
    dead : bool array (row, column)
        Pixels without a usable value, to be interpolated across columns.
    n_offset, n_dead : int
        Pixels with an offset, dead pixels.
    n_symmetric : int
        Isolated narrow features that were left because they have a mirror image about the rotation axis.
    n_clean_rows : int
        Detector rows in which nothing was found; they stay as they are.
    """

    offset: npt.NDArray[np.float32]
    dead: Bools
    n_offset: int
    n_dead: int
    n_symmetric: int
    n_clean_rows: int


def column_statistics(p: Array) -> Any:
    """Measure what `find_defects` decides on; each detector row by itself.

    Parameters
    ----------
    p : float32 array (angle, row, column)
        Line integrals of all angles of some rows; numpy or CuPy. 24 angles or more.

    Returns
    -------
    float32 array (SEGMENTS + 1, row, column)
        The means over successive parts of the rotation, then the standard error of the mean over all angles
        from the scatter of one projection against its two neighbours (median over the parts).
    """
    if p.ndim != 3 or p.shape[0] < 3 * SEGMENTS:
        raise ValueError(f"p must be (angle, row, column) with {3 * SEGMENTS} angles or more, not {p.shape}")
    xp = array_namespace(p)
    bounds = segment_bounds(p.shape[0])
    if is_cupy(p):
        parts = [p[a:b] for a, b in itertools.pairwise(bounds)]
        means = xp.stack([s.mean(axis=0, dtype=xp.float64) for s in parts])
        rough = xp.stack([xp.abs(xp.diff(s, n=2, axis=0)).mean(axis=0, dtype=xp.float64) for s in parts])
    else:
        parts = [segment_sums([p[a:b]], b - a) for a, b in itertools.pairwise(bounds)]
        means, rough = np.stack(parts, axis=1)
    return joined_statistics(means, rough, p.shape[0])


def segment_bounds(angles: int) -> list[int]:
    """Return the first projection of each part of the rotation, and the number of projections."""
    return [int(k) for k in np.linspace(0, angles, SEGMENTS + 1).astype(np.int64)]


def order_in_angle(angles: Floats) -> npt.NDArray[np.intp] | None:
    """Return the order in which projections turn evenly, None where they were taken in it.

    Statistics of a column compare successive projections; of angles by the golden section, or interlaced, these are of
    quite different views.

    Parameters
    ----------
    angles : (angle,)
        Radians.
    """
    folded = np.mod(angles, 2 * np.pi)
    order = np.argsort(folded, kind="stable")
    even = float(np.median(np.diff(folded[order])))
    return order if float(np.median(turned(angles))) > 1.5 * even + 1e-9 else None


def joined_statistics(means: Array, rough: Array, angles: int) -> Any:
    """Return `column_statistics` from the means and the roughness of each part, (SEGMENTS, row, column)."""
    xp = array_namespace(means)
    # mean |x| of a normal variable is sqrt(2 / pi) sigma; a second difference has sqrt(6) of one value's sigma
    error = xp.median(rough, axis=0, keepdims=True) * np.sqrt(np.pi / 12 / angles)
    return xp.concatenate((means, error)).astype(xp.float32)


def segment_sums(blocks: Iterable[Any], count: int) -> Floats:
    """Measure one part of the rotation, given as successive blocks of projections; the blocks make no difference.

    Parameters
    ----------
    blocks : iterable of float32 arrays (angle, row, column)
        `count` projections together.

    Returns
    -------
    float64 array (2, row, column)
        Mean, and mean absolute second difference in angle.
    """
    sums = last = np.zeros((0, 0, 0))
    done = 0
    for block in blocks:
        if not done:
            sums, last = np.zeros((2, *block.shape[1:])), np.zeros((2, *block.shape[1:]), np.float32)
        _add_projections(np.ascontiguousarray(block), last, done, sums[0], sums[1], 1.0 / count, 1.0 / (count - 2))
        done += len(block)
    return sums


@njit
def _add_projections(
    p: Array, last: Array, done: int, mean: Array, rough: Array, share: float, rough_share: float
) -> None:
    """Add projections to a mean and to a mean absolute second difference; `last` are the two before, and is renewed."""
    for a in range(p.shape[0]):
        for r in range(p.shape[1]):
            row, before, middle, total = p[a, r], last[0, r], last[1, r], rough[r]
            for c in range(p.shape[2]):
                mean[r, c] += share * row[c]
            if done + a >= 2:
                for c in range(p.shape[2]):
                    total[c] += rough_share * abs(row[c] - middle[c] - (middle[c] - before[c]))
            for c in range(p.shape[2]):
                before[c] = middle[c]
                middle[c] = row[c]


def find_defects(
    statistics: Sequence[Any],
    *,
    centers: Sequence[float] | None = None,
    snr: float = 5.0,
    max_width: int = 3,
    minimum: float = 5e-4,
    dead_offset: float = 0.5,
) -> Defects:
    """Find defective and dead pixels of one detector from one or several scans.

    The offset is the pooled one: the same correction in each scan cancels in their difference.

    Parameters
    ----------
    statistics : sequence of arrays (SEGMENTS + 1, row, column)
        `column_statistics` of each scan, all rows that are wanted. Rows do not influence each other.
    centers : sequence of float, optional
        Rotation axis of each scan in columns. Without it nothing is known of mirror images, and a thin
        concentric wall may be taken for a defect.
    snr : float
        An offset counts from this many standard errors: of the counting noise, of the local scatter
        between columns, and of the fit to the neighbouring columns, whichever is largest.
    max_width : int
        Columns; what is wider is not looked for.
    minimum : float
        Smallest offset (line integral) worth correcting.
    dead_offset : float
        A larger offset is not one: the pixel is dead.

    Raises
    ------
    ValueError
        No scan, shapes that differ, fewer columns than a prediction needs, or not one center per scan.
    """
    check_statistics(statistics, centers, max_width)
    axes = None if centers is None else [float(c) for c in centers]
    shape = statistics[0].shape[1:]
    # rows do not influence each other: a few at a time, because the search takes many copies in double precision
    count = max(1, int(BAND_BYTES / (8 * len(statistics) * (SEGMENTS + 1) * shape[1])))
    offset, dead, symmetric = np.zeros(shape), np.zeros(shape, bool), np.zeros(shape, bool)
    for first in range(0, shape[0], count):
        rows = slice(first, min(first + count, shape[0]))
        band = np.stack([np.asarray(to_host(s[:, rows]), np.float64) for s in statistics])
        offset[rows], dead[rows], symmetric[rows] = _search_band(band, axes, snr, max_width, minimum, dead_offset)
    found = dead | (offset != 0)
    return Defects(
        offset.astype(np.float32),
        dead,
        int(np.count_nonzero(offset)),
        int(np.count_nonzero(dead)),
        int(np.count_nonzero(symmetric & ~found)),
        int(np.count_nonzero(~found.any(axis=1))),
    )


def _search_band(
    scans: Floats, axes: list[float] | None, snr: float, max_width: int, minimum: float, dead_offset: float
) -> tuple[Floats, Bools, Bools]:
    """Return offsets, dead pixels and symmetric features of some rows from (scan, SEGMENTS + 1, row, column)."""
    means, errors = scans[:, :-1], scans[:, -1]
    dead = _unstable_pixels(means.mean(axis=1), errors, axes, snr, max_width)
    means = np.stack([interpolate_dead(m, dead) for m in means])
    offset = np.zeros(dead.shape)
    symmetric = np.zeros(dead.shape, bool)
    for _ in range(PASSES):
        step, mirrored = isolated_offsets(means, errors, axes, snr, max_width, minimum)
        symmetric |= mirrored
        if not step.any():
            break
        offset += step
        means = means - step
    dead |= np.abs(offset) > dead_offset
    offset[dead] = 0
    return offset, dead, symmetric


def check_statistics(statistics: Sequence[Any], centers: Sequence[float] | None, max_width: int) -> None:
    """Raise ValueError where the statistics are not those of scans of one detector, one center each."""
    if not statistics or any(s.shape != statistics[0].shape for s in statistics):
        raise ValueError("statistics must be those of one or more scans of one detector, of equal shape")
    shape = statistics[0].shape
    if len(shape) != 3 or shape[0] != SEGMENTS + 1 or shape[2] < 2 * FLANK + max_width + 1:
        raise ValueError(f"statistics of shape {shape} are not (segments + 1, row, column) of enough columns")
    if max_width < 1:
        raise ValueError(f"max_width is {max_width}; a defect is 1 column wide or more")
    if centers is not None and len(centers) != len(statistics):
        raise ValueError(f"{len(centers)} centers were given for {len(statistics)} scans")


def _unstable_pixels(means: Floats, errors: Floats, centers: list[float] | None, snr: float, max_width: int) -> Bools:
    """Pixels whose scatter in angle is 4 times larger or smaller than around them, in every scan.

    Counting noise grows with attenuation (a thin strong wall is noisy in few columns): a pixel must stand out
    before and after division by exp(p / 2).
    """
    bad = np.ones(means.shape[1:], bool)
    for i, (mean, error) in enumerate(zip(means, errors, strict=True)):
        raw = np.log(np.maximum(error, HARMLESS))
        excess = [_against_neighbours(x, max_width) for x in (raw, raw - np.minimum(mean, 8.0) / 2)]
        limit = [np.maximum(np.log(4.0), snr * local_scatter(e)) for e in excess]
        kinds = [np.logical_and(*(sign * e > q for e, q in zip(excess, limit, strict=True))) for sign in (1, -1)]
        if centers is not None:
            kinds = [k & ~mirror_maximum(k.astype(float), centers[i], 1).astype(bool) for k in kinds]
        bad &= kinds[0] | kinds[1]
    return bad & ~_wide(bad, max_width)


def _against_neighbours(x: Floats, max_width: int) -> Floats:
    """Difference from the median of 8 columns on either side."""
    from scipy.ndimage import median_filter

    size = 4 * max(max_width, 2) + 5
    return np.asarray(x - median_filter(x, size=(1, size), mode="reflect"))


def _wide(mask: Bools, max_width: int) -> Bools:
    """Those pixels of a mask that lie in a run of more than `max_width` columns."""
    from scipy.ndimage import binary_opening

    return np.asarray(binary_opening(mask, np.ones((1, max_width + 1), bool)))


def interpolate_dead(p: Array, dead: Bools) -> Any:
    """Replace dead pixels by linear interpolation between the nearest good columns of their row.

    Parameters
    ----------
    p : array (angle, row, column)
        Line integrals; numpy or CuPy.
    dead : bool array (row, column)
        At the detector's edge the nearest good column is repeated; a row without a good column stays as it is.
    """
    xp = array_namespace(p)
    mask = np.asarray(to_host(dead), bool)
    mask = mask & ~mask.all(axis=1, keepdims=True)
    rows, columns = np.nonzero(mask)
    if not rows.size:
        return p
    index = np.arange(mask.shape[1])
    left = np.maximum.accumulate(np.where(mask, -1, index), axis=1)[rows, columns]
    right = np.minimum.accumulate(np.where(mask, mask.shape[1], index)[:, ::-1], axis=1)[:, ::-1][rows, columns]
    left, right = np.where(left < 0, right, left), np.where(right >= mask.shape[1], left, right)
    share = xp.asarray(((columns - left) / np.maximum(right - left, 1)).astype(p.dtype))
    rows, columns, left, right = (xp.asarray(index) for index in (rows, columns, left, right))
    out = p.copy()
    start, end = p[:, rows, left], p[:, rows, right]
    out[:, rows, columns] = start + share * (end - start)
    return out


def correct_defects(p: Array, offset: Array, dead: Bools) -> Any:
    """Subtract the offsets of defective pixels and interpolate dead ones.

    Parameters
    ----------
    p : float32 array (angle, row, column)
        Line integrals; numpy or CuPy.
    offset : array (row, column)
        `Defects.offset` of these rows.
    dead : bool array (row, column)
        `Defects.dead` of these rows.

    Returns
    -------
    float32 array (angle, row, column)
        Pixels without a defect are returned bit by bit.
    """
    if tuple(offset.shape) != tuple(p.shape[1:]) or tuple(dead.shape) != tuple(p.shape[1:]):
        raise ValueError(f"offset {offset.shape} and dead {dead.shape} must be (row, column) of p {p.shape}")
    xp = array_namespace(p)
    return interpolate_dead(p - xp.asarray(offset, p.dtype), dead)


def with_offset(found: Defects, offset: npt.NDArray[np.float32]) -> Defects:
    """Return the same defects with other offsets, counted anew."""
    corrected = found.dead | (offset != 0)
    return replace(
        found,
        offset=offset,
        n_offset=int(np.count_nonzero(offset)),
        n_clean_rows=int(np.count_nonzero(~corrected.any(axis=1))),
    )
