"""Connected components of a volume that does not fit into memory.

Each block is labelled on its own and hands over the labels on its six outer planes. At every cut between blocks the
planes on both sides are put together over the whole frame and compared, diagonal neighbours included, so faces, edges
and corners of blocks are all seen. Union-find joins what touches. Objects are numbered by their first voxel in C
order, so the numbers do not depend on the blocks either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from xct_pipeline.boxes import Region
from xct_pipeline.compiled import empty, njit, zeros
from xct_pipeline.device import Array, array_namespace, ndimage_of, to_host
from xct_pipeline.segmentation.components import WORD, label_runs, root_of, run_ends

Partial = dict[str, npt.NDArray[Any]]

RANKS = {6: 1, 18: 2, 26: 3}
FEW = 4096  # labels that are counted from 1, whichever of them a block holds


def label_block(mask: Array, *, connectivity: int = 26, lookup: Array | None = None) -> tuple[Any, int]:
    """Label the connected components of one block.

    Parameters
    ----------
    mask : array of bool (z, y, x), numpy or CuPy
    connectivity : {6, 18, 26}
        Neighbours across faces, also edges, also corners.
    lookup : array of int32, optional
        What to label the first component with, the second and so on.

    Returns
    -------
    labels : int32 array (z, y, x), 0 outside the mask
    count : int
        Of components, for which `lookup` must have entries.
    """
    xp, structure = array_namespace(mask), _structure(connectivity)
    if xp is np:
        return label_runs(mask, RANKS[connectivity], lookup)
    labels, count = ndimage_of(mask).label(mask, xp.asarray(structure))
    plain = lookup is None or int(count) != len(lookup)
    return labels if plain else xp.asarray(np.concatenate([[0], lookup]).astype(np.int32))[labels], int(count)


def _structure(connectivity: int) -> Array:
    if connectivity not in RANKS:
        raise ValueError(f"connectivity {connectivity}: give 6 (faces), 18 (and edges) or 26 (and corners)")
    steps = np.abs(np.indices((3, 3, 3)) - 1).sum(axis=0)
    return np.asarray(steps <= RANKS[connectivity])


def label_range(labels: Array) -> tuple[int, int]:
    """Return a label that none above 0 of a block in the host's memory is below, and the largest; 1, 0 without any.

    The least is looked for where counting from 1 would take room for many labels that are not there.
    """
    most = int(labels.max(initial=0))
    if most <= FEW:
        return 1, most
    unsigned = labels.view(f"u{labels.dtype.itemsize}")
    one = unsigned.dtype.type(1)  # taken off, 0 and what is negative come last
    return int(min((plane - one).min() for plane in unsigned)) + 1, most


def as_labels(labels: Array) -> Array:
    """Return labels of the host's memory as kernels take them, materials and objects alike: contiguous, int32."""
    return np.ascontiguousarray(labels, np.int32 if np.can_cast(labels.dtype, np.int32) else labels.dtype)


def label_boxes(labels: Array) -> tuple[int, Array, Array]:
    """Return where each label of a block lies, from the least on.

    Returns
    -------
    least : int
        Of `label_range`.
    low, high : int64 arrays (n, 3)
        First voxel of label ``least + k``, and the one after its last; 0 where there is no such label.
    """
    least, most = label_range(labels)
    count = max(most - least + 1, 0)
    low, high = np.full((count, 3), np.iinfo(np.int64).max), np.zeros((count, 3), np.int64)
    _find_boxes(as_labels(labels), least, low, high)
    low[high[:, 0] == 0] = 0
    return least, low, high


def label_partial(
    mask: Array, region: Region, frame: Sequence[int], *, connectivity: int = 26, marked: Array | None = None
) -> Partial:
    """Label a block and return what is needed to join it to its neighbours.

    Parameters
    ----------
    mask : array of bool (z, y, x)
        The voxels of `region`, without a halo.
    region : tuple of slice
        Where the block lies; all regions together form a grid that fills a box.
    frame : sequence of int
        Shape of the volume, which gives the order of voxels.
    connectivity : {6, 18, 26}
    marked : array of bool (z, y, x), optional
        Objects with such a voxel are told apart in ``marked`` of the result.

    Returns
    -------
    dict of arrays
        ``region`` (3, 2); ``first`` (n,), the index in the frame of the first voxel of each object; ``marked`` (n,);
        ``low0 ... high2``, the labels on the outer planes.
    """
    return labelled_partial(*label_block(mask, connectivity=connectivity), region, frame, marked=marked)


def labelled_partial(
    labels: Array, count: int, region: Region, frame: Sequence[int], *, marked: Array | None = None
) -> Partial:
    """Return what `label_partial` does of a block that `label_block` has labelled."""
    _check_region(labels, region)
    labels = to_host(labels)
    first = np.full(count, -1, np.int64)
    origin = np.array([part.start for part in region], np.int64)
    _find_first(labels, origin, np.array(frame, np.int64), first)
    seen = np.zeros(count + 1, np.uint8)
    if marked is not None:
        seen[labels[to_host(marked)]] = 1
    partial: Partial = {
        "region": np.array([(part.start, part.stop) for part in region], np.int64),
        "first": first,
        "marked": seen[1:],
    }
    for axis in range(3):
        partial[f"low{axis}"] = np.array(labels.take(0, axis=axis))
        partial[f"high{axis}"] = np.array(labels.take(-1, axis=axis))
    return partial


def _check_region(block: Array, region: Region) -> None:
    shape = tuple(part.stop - part.start for part in region)
    if block.shape != shape:
        raise ValueError(f"a block of {block.shape} voxels was given for a region of {shape}: leave out the halo")


def merge_labels(partials: Sequence[Mapping[str, Any]], *, connectivity: int = 26) -> Partial:
    """Join the objects of all blocks.

    Parameters
    ----------
    partials : sequence of mapping
        From `label_partial`, one for each region of a grid, in any order.
    connectivity : {6, 18, 26}
        As given to `label_partial`.

    Returns
    -------
    dict of arrays
        ``lookup``: number in the volume of each object of each block, block after block; ``start`` (blocks + 1,) where
        the entries of a block begin; ``regions`` (blocks, 3, 2); ``first`` and ``marked`` (objects,) as in
        `label_partial`. Objects are numbered from 1 by their first voxel in C order.

    Raises
    ------
    ValueError
        There is no region, or the regions are no grid.
    """
    _structure(connectivity)
    if not partials:
        raise ValueError("no region to label")
    counts = [len(partial["first"]) for partial in partials]
    start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    regions = np.array([partial["region"] for partial in partials], np.int64)
    parent = np.arange(start[-1] + 1)  # entry 0 stands for the background
    for axis in range(3):
        for cut in np.unique(regions[:, axis, 0])[1:]:
            below = _assemble(partials, start, regions, axis, int(cut), upper=False)
            above = _assemble(partials, start, regions, axis, int(cut), upper=True)
            _join(parent, below, above, RANKS[connectivity] - 1)
    root = _flatten(parent)[1:]
    first = np.concatenate([partial["first"] for partial in partials]).astype(np.int64)
    marked = np.concatenate([partial["marked"] for partial in partials]).astype(np.uint8)
    earliest = np.full(len(parent), np.iinfo(np.int64).max)
    np.minimum.at(earliest, root, first)
    roots = np.unique(root)
    roots = roots[np.argsort(earliest[roots])]
    number = np.zeros(len(parent), np.int32)
    number[roots] = np.arange(1, len(roots) + 1)
    lookup = number[root]
    joined = np.zeros(len(roots), np.uint8)
    np.maximum.at(joined, lookup - 1, marked)
    return {"lookup": lookup, "start": start, "regions": regions, "first": earliest[roots], "marked": joined}


def _assemble(
    partials: Sequence[Mapping[str, Any]], start: Array, regions: Array, axis: int, cut: int, *, upper: bool
) -> Array:
    """Put together the planes on one side of a cut, numbered throughout all blocks (0 is background)."""
    others = [a for a in range(3) if a != axis]
    low, high = regions[:, others, 0].min(axis=0), regions[:, others, 1].max(axis=0)
    plane = np.zeros(high - low, np.int64)
    touching = np.flatnonzero(regions[:, axis, 0 if upper else 1] == cut)
    area = 0
    for k in touching.tolist():
        labels = np.asarray(partials[k][f"{'low' if upper else 'high'}{axis}"], np.int64)
        (y0, y1), (x0, x1) = regions[k, others] - low[:, None]
        plane[y0:y1, x0:x1] = np.where(labels > 0, labels + start[k], 0)
        area += labels.size
    if area != plane.size:
        raise ValueError(f"the regions are not a grid: those at {cut} along axis {axis} cover {area} of {plane.size}")
    return plane


def keep_objects(merged: Mapping[str, Any], kept: npt.NDArray[np.bool_]) -> Partial:
    """Leave out objects (`kept` is False) and number the others anew in the same order."""
    number = np.concatenate([[0], np.where(kept, np.cumsum(kept), 0)]).astype(np.int32)
    result = {key: np.asarray(value) for key, value in merged.items()}
    result["lookup"] = number[np.asarray(merged["lookup"])]
    return {**result, "first": result["first"][kept], "marked": result["marked"][kept]}


def relabel_block(mask: Array, region: Region, merged: Mapping[str, Any], *, connectivity: int = 26) -> Any:
    """Label a block with the numbers of the whole volume.

    Parameters
    ----------
    mask, region, connectivity
        Exactly as given to `label_partial`.
    merged : mapping
        From `merge_labels` or `keep_objects`.

    Returns
    -------
    int32 array (z, y, x), 0 outside objects.

    Raises
    ------
    ValueError
        The region was not labelled, or with another mask.
    """
    _check_region(mask, region)
    bounds = np.array([(part.start, part.stop) for part in region])
    found = np.flatnonzero((np.asarray(merged["regions"]) == bounds).all(axis=(1, 2)))
    if not len(found):
        raise ValueError(f"the region {bounds.tolist()} is none of those that were labelled: use the same blocks")
    k = int(found[0])
    lookup = np.asarray(merged["lookup"])[merged["start"][k] : merged["start"][k + 1]]
    labels, count = label_block(mask, connectivity=connectivity, lookup=lookup)
    if count != len(lookup):
        raise ValueError(f"the region {bounds.tolist()} now holds {count} objects instead of {len(lookup)}")
    return labels


@njit
def _find_boxes(labels: Array, least: int, low: Array, high: Array) -> None:
    """Widen the box of each label by every run of it in a row."""
    nz, ny, nx = labels.shape
    words, ends = zeros(nx // WORD + 1, np.uint64), empty(nx + 1, np.int64)
    for z in range(nz):
        for y in range(ny):
            start = 0
            row = labels[z, y]
            for e in range(run_ends(row, words, ends)):
                x = ends[e]
                if row[start] > 0:
                    k = np.int64(row[start]) - least
                    low[k, 0], high[k, 0] = min(low[k, 0], z), max(high[k, 0], z + 1)
                    low[k, 1], high[k, 1] = min(low[k, 1], y), max(high[k, 1], y + 1)
                    low[k, 2], high[k, 2] = min(low[k, 2], start), max(high[k, 2], x)
                start = x


@njit
def _find_first(labels: Array, origin: Array, frame: Array, first: Array) -> None:
    nz, ny, nx = labels.shape
    words, ends = zeros(nx // WORD + 1, np.uint64), empty(nx + 1, np.int64)
    for z in range(nz):
        for y in range(ny):
            place = ((z + origin[0]) * frame[1] + y + origin[1]) * frame[2] + origin[2]
            row, start = labels[z, y], 0
            for e in range(run_ends(row, words, ends)):
                label = row[start]
                if label > 0 and first[label - 1] < 0:
                    first[label - 1] = place + start
                start = ends[e]


@njit
def _join(parent: Array, below: Array, above: Array, rank: int) -> None:
    """Join objects on two planes that touch; `rank` further steps within the plane are allowed."""
    ny, nx = below.shape
    for y in range(ny):
        for x in range(nx):
            label = below[y, x]
            if label == 0:
                continue
            for v in range(max(0, y - 1), min(ny, y + 2)):
                for u in range(max(0, x - 1), min(nx, x + 2)):
                    other = above[v, u]
                    if other == 0 or abs(v - y) + abs(u - x) > rank:
                        continue
                    a, b = root_of(parent, label), root_of(parent, other)
                    parent[max(a, b)] = min(a, b)


@njit
def _flatten(parent: Array) -> Any:
    root = np.empty_like(parent)
    for i in range(len(parent)):
        root[i] = root_of(parent, i)
    return root
