"""Medians and sums of the voxels of a region, in single passes over a volume."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xct_pipeline.compiled import njit
from xct_pipeline.device import Array

_BINS = 65536  # of a histogram that says where a median lies


def median_of(sample: NDArray[np.float32]) -> float:
    """Return the median, exactly: values of the bin that holds it are sorted, all others counted."""
    low, high = float(sample.min()), float(sample.max())
    if not high > low:
        return low
    scale = (_BINS - 1) / (high - low)
    counts = np.zeros(_BINS, np.int64)
    _count(sample, low, scale, counts)
    below = np.cumsum(counts)
    ranks = np.array([(sample.size - 1) // 2, sample.size // 2])
    first, last = (int(k) for k in np.searchsorted(below, ranks, side="right"))
    chosen = np.empty(int(counts[first : last + 1].sum()), np.float32)
    _take_bins(sample, low, scale, first, last, chosen)
    chosen.sort()
    return float(chosen[ranks - int(below[first] - counts[first])].mean())


def chosen_values(values: NDArray[np.float32], mask: NDArray[np.bool_], count: int) -> NDArray[np.float32]:
    """Return the values of the `count` voxels of a mask."""
    out = np.empty(count, np.float32)
    _take(values, mask, out)
    return out


def cell_sums(
    values: NDArray[np.float32], inside: NDArray[np.bool_], wider: NDArray[np.bool_], layer: int, cell: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Return voxels and sums of a region by cells, (layers of planes, cells along y and x), and the mean over `wider`.

    A cell is `layer` planes of `cell` rows and columns.
    """
    nz, ny, nx = (-(-n // size) for n, size in zip(values.shape, (layer, cell, cell), strict=True))
    out = np.zeros((2, nz, ny, nx))
    rows = np.zeros((values.shape[0], 2))
    _sum_cells(values, inside, wider, layer, cell, out, rows)
    total, count = rows.sum(axis=0)
    counts, totals = out.reshape(2, nz, ny * nx)
    return counts, totals, float(total / count)


@njit
def leave_out(values: Array, middle: np.float32, reach: np.float32, wider: Array, inside: Array) -> None:
    """Clear voxels of two masks, the one within the other, whose value is farther than `reach` from `middle`."""
    for z in range(values.shape[0]):
        for y in range(values.shape[1]):
            row, one, other = values[z, y], wider[z, y], inside[z, y]
            for x in range(len(row)):
                near = abs(row[x] - middle) <= reach
                one[x] &= near
                other[x] &= near


@njit
def _count(sample: Array, low: float, scale: float, counts: Array) -> None:
    for k in range(len(sample)):
        counts[np.uint64((sample[k] - low) * scale)] += 1


@njit
def _take_bins(sample: Array, low: float, scale: float, first: int, last: int, out: Array) -> None:
    n = 0
    for k in range(len(sample)):
        if first <= int((sample[k] - low) * scale) <= last:
            out[n] = sample[k]
            n += 1


@njit
def _take(values: Array, mask: Array, out: Array) -> None:
    n = 0
    for z in range(values.shape[0]):
        for y in range(values.shape[1]):
            for x in range(values.shape[2]):
                if mask[z, y, x]:
                    out[n] = values[z, y, x]
                    n += 1


@njit
def _sum_cells(values: Array, inside: Array, wider: Array, layer: int, cell: int, out: Array, rows: Array) -> None:
    counts, totals = out
    for z in range(values.shape[0]):
        for y in range(values.shape[1]):
            row, chosen, more = values[z, y], inside[z, y], wider[z, y]
            count, total = counts[z // layer, y // cell], totals[z // layer, y // cell]
            for x in range(len(row)):
                if more[x]:
                    rows[z, 0] += row[x]
                    rows[z, 1] += 1.0
                    if chosen[x]:
                        count[x // cell] += 1.0
                        total[x // cell] += row[x]
