"""Cubes of a block that need a closer look, put together to boxes."""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt

from xct_pipeline.boxes import Region, around
from xct_pipeline.compiled import empty, njit
from xct_pipeline.device import Array

TILE = 8  # voxels along each axis that are looked at together
WORTH = 0.85  # a part is divided where that leaves less than this share of what is looked at


def boxes_of(busy: npt.NDArray[np.bool_], part: Region, margin: int) -> list[Region]:
    """Return boxes of voxels that hold all tiles of a part of a block which are True.

    Parameters
    ----------
    busy : array of bool
        Of each tile, counted from the first voxel of the block.
    part : tuple of slice
        That the boxes lie in.
    margin : int
        Voxels around a box that are looked at with it: a few large boxes may be better than many small ones.
    """
    grid = tuple(slice(p.start // TILE, -(-p.stop // TILE)) for p in part)
    return [
        tuple(slice(max(c.start * TILE, p.start), min(c.stop * TILE, p.stop)) for c, p in zip(cells, part, strict=True))
        for cells in _cells(busy, grid, -(-margin // TILE))
    ]


def _cells(busy: npt.NDArray[np.bool_], part: Region, margin: int) -> list[Region]:
    """Return boxes of all that is True in a part of a mask, as many as make what is looked at small."""
    found = np.argwhere(busy[part])
    if not len(found):
        return []
    ends = zip(found.min(axis=0).tolist(), found.max(axis=0).tolist(), part, strict=True)
    box = tuple(slice(p.start + low, p.start + high + 1) for low, high, p in ends)
    axis = max(range(3), key=lambda k: box[k].stop - box[k].start)
    middle = (box[axis].start + box[axis].stop) // 2
    if box[axis].stop - box[axis].start < max(2, 2 * margin) or 2 * len(found) > math.prod(
        p.stop - p.start for p in box
    ):
        return [box]
    halves = (slice(box[axis].start, middle), slice(middle, box[axis].stop))
    parts = [_cells(busy, (*box[:axis], half, *box[axis + 1 :]), margin) for half in halves]
    several = list(itertools.chain.from_iterable(parts))
    cost = sum(_looked_at(one, margin, busy.shape) for one in several)
    return several if cost < WORTH * _looked_at(box, margin, busy.shape) else [box]


def _looked_at(box: Region, margin: int, shape: tuple[int, ...]) -> int:
    return math.prod(part.stop - part.start for part in around(box, margin, shape))


def labels_of_tiles(labels: npt.NDArray[np.int32]) -> Array:
    """Return the least, the second and the largest label of each tile of a block; equal where there are not as many.

    Returns
    -------
    int32 array (3, z, y, x)
    """
    found = np.empty((3, *(-(-n // TILE) for n in labels.shape)), np.int32)
    _find_labels(labels, found)
    return found


def with_neighbours(labels: Array) -> Array:
    """Return what `labels_of_tiles` does, of each tile and those that touch it."""
    for axis in (1, 2, 3):
        rows = np.ascontiguousarray(np.moveaxis(labels, axis, 1))
        wide = np.empty_like(rows)
        _take_in(rows.reshape(*rows.shape[:2], -1), wide.reshape(*rows.shape[:2], -1))
        labels = np.moveaxis(wide, 1, axis)
    return labels


@njit
def _find_labels(labels: Array, found: Array) -> None:
    nz, ny, nx = labels.shape
    least, second, most = empty(nx, np.int32), empty(nx, np.int32), empty(nx, np.int32)
    for i in range(found.shape[1]):
        for j in range(found.shape[2]):
            for x in range(nx):
                least[x] = second[x] = most[x] = labels[i * TILE, j * TILE, x]
            for z in range(i * TILE, min((i + 1) * TILE, nz)):
                for y in range(j * TILE, min((j + 1) * TILE, ny)):
                    row = labels[z, y]
                    _widen(row, row, row, least, second, most)
            for x in range(nx):
                k = x // TILE
                if x % TILE == 0:
                    found[0, i, j, k], found[1, i, j, k], found[2, i, j, k] = least[x], second[x], most[x]
                    continue
                low, high = min(found[0, i, j, k], least[x]), max(found[2, i, j, k], most[x])
                found[1, i, j, k] = _second(low, high, found[0, i, j, k], found[1, i, j, k], least[x], second[x])
                found[0, i, j, k], found[2, i, j, k] = low, high


@njit
def _take_in(labels: Array, wide: Array) -> None:
    """Join each row with the one before and the one after it."""
    wide[:] = labels
    last = labels.shape[1] - 1
    for k in range(last):
        for a, b in ((k, k + 1), (k + 1, k)):
            _widen(labels[0, a], labels[1, a], labels[2, a], wide[0, b], wide[1, b], wide[2, b])


@njit(inline="always")
def _widen(low: Array, middle: Array, high: Array, least: Array, second: Array, most: Array) -> None:
    """Take in the least, the second and the largest of other labels."""
    for x in range(len(least)):
        a, b = min(least[x], low[x]), max(most[x], high[x])
        second[x] = _second(a, b, least[x], second[x], low[x], middle[x])
        least[x], most[x] = a, b


@njit(inline="always")
def _second(low: int, high: int, a: int, b: int, c: int, d: int) -> int:
    """Return the least of four labels that is above the lowest, the highest if there is none."""
    a, b = a if a > low else high, b if b > low else high
    c, d = c if c > low else high, d if d > low else high
    return min(min(a, b), min(c, d))
