"""Where a block lacks data: found in one sweep, so that what is whole costs no more than being looked at."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from xct_pipeline.boxes import Region, around, cut
from xct_pipeline.compiled import njit
from xct_pipeline.device import Array, array_namespace, to_host

TILE = (32, 32, 64)  # voxels that are looked at together


def has_gaps(block: Array) -> bool:
    """Tell whether any voxel (z, y, x) of a block, numpy or CuPy, is not finite."""
    xp = array_namespace(block)
    return bool(_tiles(block).any()) if xp is np else not bool(xp.isfinite(block).all())


def has_data(block: Array) -> bool:
    """Tell whether any voxel (z, y, x) of a block, numpy or CuPy, is finite; most often one of a few is."""
    xp = array_namespace(block)
    return any(bool(xp.isfinite(part).any()) for part in (block[:: TILE[0], :: TILE[1], :: TILE[2]], block))


def clear_gaps(values: Array, core: Region, block: Array, missing: float = np.nan) -> None:
    """Set what was computed for a part of a block to NaN, or another value, where the block has no data, in place."""
    xp = array_namespace(block)
    if xp is not np:
        values[~xp.isfinite(block[core])] = missing
        return
    tiles = _tiles(block)
    if not tiles.any():
        return
    for tile in cut(core, TILE):
        if tiles[_cells(tile)].any():
            part = tuple(slice(t.start - c.start, t.stop - c.start) for t, c in zip(tile, core, strict=True))
            values[part][~np.isfinite(block[tile])] = missing


def parts_near_gaps(block: Array, part: Region, reach: int) -> Iterator[Region]:
    """Yield boxes that hold all voxels of a part of a block within some voxels of one without data: few of the others.

    One box on a device.
    """
    xp = array_namespace(block)
    tiles = _tiles(block) if xp is np else np.array([[[has_gaps(block)]]])
    if not tiles.any():
        return
    for tile in cut(part, TILE) if xp is np else [part]:
        near = around(tile, reach, block.shape)
        if xp is np and not tiles[_cells(near)].any():
            continue
        box = _box_of(~xp.isfinite(block[near]))
        if box is not None:
            moved = tuple(slice(b.start + p.start, b.stop + p.start) for b, p in zip(box, near, strict=True))
            wide = around(moved, reach, block.shape)
            yield tuple(slice(max(w.start, t.start), min(w.stop, t.stop)) for w, t in zip(wide, tile, strict=True))


def _tiles(block: Array) -> npt.NDArray[np.bool_]:
    """Tell which tiles of a block, counted from its first voxel, hold one without data."""
    rows = np.empty((*block.shape[:2], -(-block.shape[2] // TILE[2])), np.bool_)
    _find(np.ascontiguousarray(block, np.float32), TILE[2], rows)
    for axis in (1, 0):
        rows = np.logical_or.reduceat(rows, np.arange(0, rows.shape[axis], TILE[axis]), axis=axis)
    return rows


def _cells(box: Region) -> Region:
    """Return the tiles that a box of voxels meets."""
    return tuple(slice(p.start // size, -(-p.stop // size)) for p, size in zip(box, TILE, strict=True))


def _box_of(mask: Array) -> Region | None:
    """Return the smallest box that holds all voxels of a mask, None where there is none."""
    box = []
    for axis in range(3):
        found = np.flatnonzero(to_host(mask.any(axis=tuple(a for a in range(3) if a != axis))))
        if not len(found):
            return None
        box.append(slice(int(found[0]), int(found[-1]) + 1))
    return tuple(box)


@njit
def _find(block: Array, width: int, found: Array) -> None:
    for z in range(block.shape[0]):
        for y in range(block.shape[1]):
            for k in range(found.shape[2]):
                values, count = block[z, y, k * width : (k + 1) * width], np.int32(0)
                for x in range(len(values)):
                    count += np.int32(not abs(values[x]) < np.float32(np.inf))
                found[z, y, k] = count > 0
