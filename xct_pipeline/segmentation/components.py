"""Connected components of a block in the host's memory, by runs of voxels.

A run of a row is joined with those that it touches in the rows before it; union-find then tells which runs belong
together. A voxel is looked at twice, however many neighbours it has.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xct_pipeline.compiled import empty, njit, zeros
from xct_pipeline.device import Array

WORD = 8  # bytes
BEFORE = ((0, -1), (-1, -1), (-1, 0), (-1, 1))  # steps along z and y to the rows that a row may touch


def label_runs(mask: Array, rank: int, lookup: Array | None = None) -> tuple[Any, int]:
    """Label connected components of a mask, numbered by their first voxel in C order.

    Parameters
    ----------
    mask : array of bool (z, y, x)
    rank : {1, 2, 3}
        Axes along which a neighbour may differ.
    lookup : array of int32, optional
        What to label the first component with, the second and so on; more than it holds get 0.

    Returns
    -------
    labels : int32 array (z, y, x), 0 outside the mask
    count : int
    """
    solid = np.ascontiguousarray(mask, np.bool_)
    labels = np.zeros(solid.shape, np.int32)
    rows = np.zeros(solid.shape[0] * solid.shape[1] + 1, np.int64)
    runs = np.empty((_count_runs(solid, rows), 2), np.int32)
    _find_runs(solid, rows, runs)
    known = np.zeros(0, np.int32) if lookup is None else np.ascontiguousarray(lookup, np.int32)
    return labels, int(_label(rows, runs, np.array(BEFORE), rank, lookup is None, known, labels))


@njit
def _count_runs(mask: Array, rows: Array) -> Any:
    """Count the runs before each row."""
    nz, ny, nx = mask.shape
    for z in range(nz):
        for y in range(ny):
            row = mask[z, y]
            count = np.int64(nx > 0 and row[0])
            for x in range(1, nx):
                count += row[x] & ~row[x - 1]
            rows[z * ny + y + 1] = rows[z * ny + y] + count
    return rows[-1]


@njit(inline="always")
def run_ends(row: Array, words: Array, ends: Array) -> int:
    """Set where each run of equal values of a row ends, and return their number: changes are looked for by words.

    `words` has an integer of 64 bits for every `WORD` values and one more, `ends` one place more than the row.
    """
    changes = words.view(np.uint8)
    for x in range(1, len(row)):
        changes[x] = row[x] != row[x - 1]
    changes[len(row)] = True
    count = 0
    for w in range(len(words)):
        if words[w] == 0:
            continue
        for x in range(w * WORD, (w + 1) * WORD):
            ends[count] = x
            count += changes[x]
    return count


@njit
def _find_runs(mask: Array, rows: Array, runs: Array) -> None:
    """Set the first voxel of each run and the one after its last."""
    nz, ny, nx = mask.shape
    words, ends = zeros(nx // WORD + 1, np.uint64), empty(nx + 1, np.int64)
    for k in range(nz * ny):
        row, i = mask[k // ny, k % ny], rows[k]
        if i == rows[k + 1]:
            continue
        start = 0
        for e in range(run_ends(row, words, ends)):
            if row[start]:
                runs[i, 0], runs[i, 1] = start, ends[e]
                i += 1
            start = ends[e]


@njit
def _label(rows: Array, runs: Array, before: Array, rank: int, plain: bool, lookup: Array, labels: Array) -> int:
    nz, ny, _ = labels.shape
    parent = empty(len(runs), np.int64)
    for i in range(len(runs)):
        parent[i] = i
    for z in range(nz):
        for y in range(ny):
            for dz, dy in before:
                aside = rank - abs(dz) - abs(dy)  # further steps along x
                if aside >= 0 and z + dz >= 0 and 0 <= y + dy < ny:
                    _join_rows(rows, runs, parent, z * ny + y, (z + dz) * ny + y + dy, min(aside, 1))
    number = empty(len(runs), np.int32)
    count = 0
    for k in range(nz * ny):
        row = labels[k // ny, k % ny]
        for i in range(rows[k], rows[k + 1]):
            root = root_of(parent, i)
            if root == i:  # its first run, for joined runs go by the least
                count += 1
                number[i] = count if plain else lookup[count - 1] if count <= len(lookup) else 0
            for x in range(runs[i, 0], runs[i, 1]):
                row[x] = number[root]
    return count


@njit(inline="always")
def _join_rows(rows: Array, runs: Array, parent: Array, here: int, there: int, aside: int) -> None:
    """Join the runs of two rows that overlap, or touch where a step aside is allowed."""
    i, j = rows[here], rows[there]
    while i < rows[here + 1] and j < rows[there + 1]:
        if runs[i, 0] < runs[j, 1] + aside and runs[j, 0] < runs[i, 1] + aside:
            a, b = root_of(parent, i), root_of(parent, j)
            parent[max(a, b)] = min(a, b)
        if runs[i, 1] < runs[j, 1]:
            i += 1
        else:
            j += 1


@njit(inner=True)
def root_of(parent: Array, i: int) -> Any:
    """Return the least of what `i` has been joined with, where joining sets ``parent[max] = min`` of two roots."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i
