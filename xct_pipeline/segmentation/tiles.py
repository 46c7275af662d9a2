"""Cubes of a block that need a closer look, put together to boxes."""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt
import scipy

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


def label_ranges(labels: npt.NDArray[np.int32]) -> tuple[Array, Array]:
    """Return the least and the largest label of each tile of a block."""
    counts = [-(-n // TILE) for n in labels.shape]
    least, most = np.empty(counts, np.int32), np.empty(counts, np.int32)
    _find_ranges(labels, least, most)
    return least, most


def mixed_tiles(least: Array, most: Array, label: int) -> npt.NDArray[np.bool_]:
    """Return the tiles that, with those around them, lie neither inside nor outside of a label."""
    some, all_ = (least <= label) & (label <= most), (least == label) & (most == label)
    near = {"size": 3, "mode": "nearest"}
    return np.asarray(scipy.ndimage.maximum_filter(some, **near) & ~scipy.ndimage.minimum_filter(all_, **near))


@njit
def _find_ranges(labels: Array, least: Array, most: Array) -> None:
    nz, ny, nx = labels.shape
    low, high = empty(nx, np.int32), empty(nx, np.int32)
    for i in range(least.shape[0]):
        for j in range(least.shape[1]):
            for x in range(nx):
                low[x] = high[x] = labels[i * TILE, j * TILE, x]
            for z in range(i * TILE, min((i + 1) * TILE, nz)):
                for y in range(j * TILE, min((j + 1) * TILE, ny)):
                    _widen(labels[z, y], low, high)
            for x in range(nx):
                k = x // TILE
                least[i, j, k] = low[x] if x % TILE == 0 else min(least[i, j, k], low[x])
                most[i, j, k] = high[x] if x % TILE == 0 else max(most[i, j, k], high[x])


@njit(inline="always")
def _widen(row: Array, low: Array, high: Array) -> None:
    for x in range(len(row)):
        low[x] = row[x] if row[x] < low[x] else low[x]
        high[x] = row[x] if row[x] > high[x] else high[x]
