"""Sums of a pair of scans over a region in one compiled sweep: per column, and per cell that a voxel belongs to.

Ten values of every voxel are added up in double precision: its change, what it is in either scan, how the reference's
attenuation changes with each of six motions, and one. The motions are shifts along z, y, x (per voxel) and rotations
about z, y, x (per radian, right-handed in x, y, z, about the centre of the frame).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xct_pipeline.compiled import empty, njit
from xct_pipeline.device import Array

NUMBER = 10


def by_name(table: Array, prefix: str = "") -> dict[str, Array]:
    """Return the sums of a table (10, ...) by their names."""
    names = {"change": table[0], "fixed": table[1], "moving": table[2], "motions": table[3:9]}
    return {f"{prefix}{name}": values for name, values in names.items()} | {f"{prefix}count": table[9].astype(np.int64)}


def add_columns(
    fixed: Array,
    moving: Array,
    known: Array,
    first: Sequence[int],
    place: Sequence[int],
    frame: Sequence[int],
    maps: Array,
    index: Array,
    cells: Array,
) -> None:
    """Add the values of the voxels of some planes to maps and to cells.

    Parameters
    ----------
    fixed : array
        Of the reference, without gaps, with a margin of one voxel where the frame has it.
    moving : array, (z, y, x)
        Of the other scan.
    known : array of bool or uint8, (z, y, x)
        How many voxels each stands for.
    first, place : (z, y, x)
        Of the first voxel of `moving`: where it lies in `fixed`, and in the frame.
    frame : (z, y, x)
        Size of the volume; rotations are about its centre.
    maps : array, (10, y, x)
        Of the columns of `moving`, added to.
    index : array of int, (kinds, z, y, x)
        Cell of each voxel, negative where it has none.
    cells : array, (cells, 10)
        Added to.
    """
    start = np.array([p - (n - 1) / 2 for p, n in zip(place, frame, strict=True)])
    _add_columns(fixed, moving, known.view(np.uint8), np.array(first), start, maps, index, cells)


@njit
def _add_columns(
    fixed: Array, moving: Array, known: Array, first: Array, start: Array, maps: Array, index: Array, cells: Array
) -> None:
    nz, ny, nx = moving.shape
    depth, height, width = fixed.shape
    half = np.float32(0.5)
    row = empty((NUMBER, nx), np.float64)
    line = empty(nx + 2, np.float32)
    for k in range(nz):
        at, z = first[0] + k, start[0] + k
        for j in range(ny):
            inside = known[k, j]
            seen = np.uint8(0)
            for i in range(nx):
                seen |= inside[i]
            if seen == 0:
                continue
            b, y = first[1] + j, start[1] + j
            for i in range(nx + 2):
                line[i] = fixed[at, b, min(max(first[2] + i - 1, 0), width - 1)]
            below, above = fixed[max(at - 1, 0), b, first[2] :], fixed[min(at + 1, depth - 1), b, first[2] :]
            near, far = fixed[at, max(b - 1, 0), first[2] :], fixed[at, min(b + 1, height - 1), first[2] :]
            later = moving[k, j]
            for i in range(nx):
                use = np.float64(inside[i])
                value, other = (line[i + 1], later[i]) if inside[i] else (np.float32(0), np.float32(0))
                gz = np.float64((above[i] - below[i]) * half) * use
                gy = np.float64((far[i] - near[i]) * half) * use
                gx = np.float64((line[i + 2] - line[i]) * half) * use
                x = start[2] + i
                row[0, i] = np.float64(other - value) * use
                row[1, i], row[2, i] = np.float64(value) * use, np.float64(other) * use
                row[3, i], row[4, i], row[5, i] = gz, gy, gx
                row[6, i] = x * gy - y * gx
                row[7, i] = z * gx - x * gz
                row[8, i] = y * gz - z * gy
                row[9, i] = use
            for n in range(NUMBER):
                for i in range(nx):
                    maps[n, j, i] += row[n, i]
            for kind in range(len(index)):
                for i in range(nx):
                    cell = index[kind, k, j, i]
                    if inside[i] and cell >= 0:
                        for n in range(NUMBER):
                            cells[cell, n] += row[n, i]
