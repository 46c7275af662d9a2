"""Surface area and local thickness of labelled material, block by block.

Faces of voxels overestimate the area of a sphere by half. So the material's indicator is smoothed and its half-height
surface is meshed by marching cubes; a triangle belongs to the block that owns its cell, so areas add up exactly.
Smoothing draws a curved surface inwards; to first order half its variance times the Laplacian, taken off before the
mesh is made, puts it back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from xct_pipeline.boxes import Region, around, inside
from xct_pipeline.compiled import empty, njit
from xct_pipeline.device import Array, to_host
from xct_pipeline.segmentation.isosurface import surface_areas
from xct_pipeline.segmentation.label import as_labels, label_boxes
from xct_pipeline.segmentation.tiles import TILE, boxes_of, labels_of_tiles, with_neighbours
from xct_pipeline.smoothing import gaussian_reach, smooth_block, take_bend_off

Partial = dict[str, npt.NDArray[Any]]

SMALL = 2**18  # voxels up to which all cells are looked at
SKIPPED, OWN = 0, 1  # kinds of tiles: whose surface is left out, a label's own; others are shared with another label
SMOOTH = 1.2  # voxels: less keeps the staircase of voxels in flat surfaces, more takes small objects away


def area_halo(smooth: float = SMOOTH) -> int:
    """Return the voxels that `area_partial` needs around a block: the Gaussian's reach, the Laplacian's, one cell."""
    return gaussian_reach(smooth) + 2


def area_partial(labels: Array, core: Region, *, smooth: float = SMOOTH) -> Partial:
    """Measure the surface of every label within a block.

    Parameters
    ----------
    labels : integer array (z, y, x)
        Materials or objects, 0 outside, with a halo of `area_halo` clipped to the volume.
    core : tuple of slice
        The block itself, in indices of `labels`.
    smooth : float
        Standard deviation of the Gaussian, voxels. Structures of a radius below about 1.3 times it vanish.

    Returns
    -------
    dict of arrays
        ``label`` and ``area`` in squared voxel sides. The border of the volume counts as no surface: what it cuts is
        taken to continue.
    """
    values = to_host(labels)
    numbers = as_labels(values)
    least, low, high = label_boxes(numbers)
    boxes = {
        int(k) + least: tuple(slice(start, stop) for start, stop in zip(low[k].tolist(), high[k].tolist(), strict=True))
        for k in np.flatnonzero(high[:, 0])
    }
    large = [number for number, own in boxes.items() if math.prod(part.stop - part.start for part in own) > SMALL]
    areas = dict.fromkeys(boxes, 0.0)
    cells, everywhere = tuple(slice(c.start, c.stop + 1) for c in core), np.full((1, 1, 1), OWN, np.uint8)
    for number in boxes.keys() - set(large):
        found = _half_height_areas(values, number, boxes[number], cells, smooth, everywhere, values.size)
        areas[number] = found[0, OWN]
    if large:
        tiles = with_neighbours(labels_of_tiles(numbers))
        _add_large(values, tiles, core, {number: boxes[number] for number in large}, smooth, areas)
    there = [number for number, area in areas.items() if area > 0]
    return {"label": np.array(there, np.int64), "area": np.array([areas[number] for number in there], np.float64)}


def _add_large(
    values: Array, tiles: Array, core: Region, boxes: Mapping[int, Region], smooth: float, areas: dict[int, float]
) -> None:
    """Add the areas of labels that fill much of a block, looking only at tiles that a surface may pass through.

    Four voxels inside or outside, the indicator's mean is within 0.01 of what it is there, and with half the variance
    times the Laplacian taken off within 0.1: no cell of a tile that is uniform with those around it is crossed. Where
    two labels are all there is as far as a cell looks, its surface is that of both, and made once.
    """
    least, second, most = tiles
    two = (second == most) & (least < most) & (area_halo(smooth) <= TILE)
    for number, own in sorted(boxes.items()):
        kinds = ((least <= number) & (number <= most) & (least < most)).astype(np.uint8)
        kinds[two & (most == number) & np.isin(least, list(boxes))] = SKIPPED  # made with that of the other one
        above = two & (least == number) & (kinds == OWN)
        partners = [other for other in np.unique(most[above]).tolist() if other in boxes]
        for kind, other in enumerate(partners, start=OWN + 1):
            kinds[above & (most == other)] = kind
        for box in boxes_of(kinds != SKIPPED, core, area_halo(smooth)):
            cells = tuple(slice(part.start, part.stop + 1) for part in box)
            found = _half_height_areas(values, number, own, cells, smooth, kinds, TILE)
            areas[number] += found[0].sum()
            for kind, other in enumerate(partners, start=OWN + 1):
                areas[other] += found[1, kind]


def _half_height_areas(
    labels: Array, label: int, own: Region, cells: Region, smooth: float, kinds: Array, tile: int
) -> Array:
    """Return the area of the surface of a label, which lies in the box `own`, in cells of each kind of tiles.

    Cells are given by their corners; areas are those of `surface_areas`.
    """
    near = around(own, area_halo(smooth), labels.shape)
    cells = tuple(slice(max(c.start, n.start), min(c.stop, n.stop)) for c, n in zip(cells, near, strict=True))
    if any(part.stop - part.start < 2 for part in cells):
        return np.zeros((2, int(kinds.max()) + 1))
    wide = tuple(
        slice(max(n.start, w.start), min(n.stop, w.stop))
        for n, w in zip(near, around(cells, area_halo(smooth), labels.shape), strict=True)
    )
    field = (labels[wide] == label).astype(np.float32)
    corners = inside(wide, cells)
    if smooth > 0:
        soft_part = around(corners, 1, field.shape)
        soft = smooth_block(field, smooth, soft_part)
        field = np.empty([part.stop - part.start for part in cells], np.float32)
        first = tuple(part.start for part in inside(soft_part, corners))
        _sharpen(soft, first, np.float32(0.5 * smooth**2), field)
    else:
        field = field[corners]
    return surface_areas(field, 0.5, kinds, tuple(part.start for part in cells), tile)


def combine_areas(partials: Sequence[Mapping[str, Any]]) -> Partial:
    """Add the areas of all blocks; ``label`` (increasing) and ``area`` in squared voxel sides."""
    label = np.concatenate([np.zeros(0, np.int64), *[part["label"] for part in partials]])
    area = np.concatenate([np.zeros(0), *[part["area"] for part in partials]])
    known, index = np.unique(label, return_inverse=True)
    total = np.zeros(len(known))
    np.add.at(total, index, area)
    return {"label": known, "area": total}


def thickness_halo(largest: float) -> int:
    """Return the voxels that `local_thickness` needs around a block for thicknesses up to `largest` voxels."""
    return 2 * int(np.ceil(largest / 2)) + 1


def local_thickness(mask: Array, *, largest: float, step: float = 0.5) -> npt.NDArray[np.float32]:
    """Return the diameter of the largest ball that fits into the material and holds the voxel.

    Parameters
    ----------
    mask : array of bool (z, y, x)
        The material, with a halo of `thickness_halo` clipped to the volume; the result is valid inside it.
    largest : float
        Thicknesses are measured up to this one, voxels; wider places give `largest`. It is what bounds the halo and
        makes the result independent of blocks.
    step : float
        Resolution of the diameters, voxels.

    Returns
    -------
    float32 array (z, y, x), voxels, within half a voxel; 0 outside the material. The border of the volume does not
    bound the material.

    References
    ----------
    T. Hildebrand, P. Ruegsegger, J. Microscopy 185 (1997) 67.
    """
    if not (largest > 0 and step > 0):
        raise ValueError(f"local thickness up to {largest} in steps of {step} voxels: both must be positive")
    solid = to_host(mask).astype(bool)
    thickness = np.zeros(solid.shape, np.float32)
    if not solid.any():
        return thickness
    if solid.all():
        return np.full(solid.shape, largest, np.float32)
    # balls are centred on voxels: n voxels hold one of diameter n (odd) or n - 1 (even); a quarter makes it n +- 0.5
    radius = np.sqrt(_squared_distance(solid, int(np.ceil(largest / 2)) + 1).astype(np.float32)) - np.float32(0.25)
    for diameter in np.append(np.arange(step, largest, step), largest):
        centres = radius >= diameter / 2
        if not centres.any():
            break
        away = _squared_distance(~centres, int(np.ceil(diameter / 2)))
        np.copyto(thickness, np.float32(diameter), where=(away < max(diameter / 2, 0.5) ** 2) & solid)
    return thickness


def thickness_partial(thickness: Array, labels: Array, *, largest: float, bins: int, names: Sequence[int]) -> Partial:
    """Count the local thicknesses of labels in a block (without its halo).

    Returns
    -------
    dict
        ``counts``, int64 (labels, bins): bins of equal width from 0 to `largest` voxels, inclusive.
    """
    values, materials = to_host(thickness), to_host(labels)
    counts = [
        np.histogram(values[(materials == name) & (values > 0)], bins=bins, range=(0, largest))[0] for name in names
    ]
    return {"counts": np.array(counts, np.int64).reshape(len(names), bins)}


def combine_thicknesses(partials: Sequence[Mapping[str, Any]]) -> Partial:
    """Add the counts of all blocks."""
    return {"counts": np.sum([partial["counts"] for partial in partials], axis=0)}


@njit
def _sharpen(soft: Array, first: tuple[int, ...], strength: np.float32, field: Array) -> None:
    """Take a multiple of the Laplacian off; the border is continued by its own values."""
    nz, ny, nx = soft.shape
    padded = empty(nx + 2, np.float32)
    for k in range(field.shape[0]):
        z = first[0] + k
        for j in range(field.shape[1]):
            y = first[1] + j
            for x in range(nx):
                padded[x + 1] = soft[z, y, x]
            padded[0], padded[nx + 1] = padded[1], padded[nx]
            take_bend_off(
                padded[first[2] :],
                soft[max(z - 1, 0), y, first[2] :],
                soft[min(z + 1, nz - 1), y, first[2] :],
                soft[z, max(y - 1, 0), first[2] :],
                soft[z, min(y + 1, ny - 1), first[2] :],
                strength,
                np.float32(0),
                field[k, j],
            )


@njit
def _squared_distance(inside: Array, reach: int) -> Any:
    """Return the squared distance to the nearest voxel that is False, exact up to `reach`, a larger number beyond.

    Distances are short, so a search along each axis in turn over `reach` voxels, many columns at once, is faster than
    an algorithm for any distance.
    """
    nz, ny, nx = inside.shape
    far = np.int32(4 * (reach + 1) ** 2)
    along_x = empty((nz, ny, nx), np.int32)
    for z in range(nz):
        for y in range(ny):
            gap = 2 * (reach + 1)
            for x in range(nx):
                gap = min(gap + 1, 2 * (reach + 1)) if inside[z, y, x] else 0
                along_x[z, y, x] = gap * gap
            gap = 2 * (reach + 1)
            for x in range(nx - 1, -1, -1):
                gap = min(gap + 1, 2 * (reach + 1)) if inside[z, y, x] else 0
                along_x[z, y, x] = min(along_x[z, y, x], gap * gap)
    along_y = along_x.copy()
    for z in range(nz):
        for y in range(ny):
            for v in range(max(0, y - reach), min(ny, y + reach + 1)):
                _lower(along_y[z, y], along_x[z, v], np.int32((v - y) ** 2))
    result = along_x
    for z in range(nz):
        for y in range(ny):
            result[z, y] = far
            for v in range(max(0, z - reach), min(nz, z + reach + 1)):
                _lower(result[z, y], along_y[v, y], np.int32((v - z) ** 2))
    return result


@njit
def _lower(values: Array, other: Array, plus: np.int32) -> None:
    for x in range(len(values)):
        values[x] = min(values[x], other[x] + plus)
