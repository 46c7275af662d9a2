"""Markers for a watershed: voxels whose material is certain, and the class of each.

Certain is what lies within a class and away from faces, and the middle of what is too small to have an inside.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from xct_pipeline.compiled import empty, njit
from xct_pipeline.device import Array, to_host
from xct_pipeline.segmentation.threshold import check_thresholds, rounded_up
from xct_pipeline.smoothing import take_bend_off

OVERSHOOT = 1.5  # of the first order of deblurring, for the orders that are left out
LEAST_BEND = 3.0  # edges: noise bends less
MARCH = 4  # voxels up the gradient where a denser material is looked for
LARGEST_FOOT = 2.0  # edges that the tail of a face may add for the material below it to be told
NEAREST_FOOT = 1.8  # standard deviations of the blur that such a face is away at least
STEEPEST_FOOT = 1.6  # of what a voxel lacks to the densest material: from 1.5 on the face is no distance away


def marker_edge(means: npt.ArrayLike) -> float:
    """Return the gradient from which a voxel is left to the watershed, 1/cm per voxel, from the means of the classes.

    A blurred face between the lightest and the densest material passes through the values of all those between, and a
    threshold puts a false layer there. Half the smallest step between neighbouring classes, per voxel, is less than the
    gradient in such a layer, and more than that of a face between these two themselves, which thresholds place well.

    Raises
    ------
    ValueError
        Fewer than two classes have values.
    """
    known = np.asarray(means, np.float64)
    known = np.sort(known[np.isfinite(known)])
    if len(known) < 2 or not np.diff(known).min() > 0:
        raise ValueError(f"{len(known)} classes with values have no faces: the watershed needs two or more")
    return 0.5 * float(np.diff(known).min())


def flat_classes(
    block: Array, core: tuple[slice, ...], thresholds: Sequence[float], *, edge: float, blur: float = 0.0
) -> npt.NDArray[np.uint8]:
    """Return the class, from 0, that each voxel of a part of a block has as a marker, where it is one; 0 for NaN.

    Parameters
    ----------
    block : float32 array (z, y, x)
        1/cm, with a voxel around the part or to the border of the volume.
    core : tuple of slice
        The part.
    thresholds, edge, blur
        As for `class_markers`.
    """
    first = tuple(part.start for part in core)
    classes = np.empty([part.stop - part.start for part in core], np.uint8)
    limits = rounded_up(check_thresholds(thresholds), np.dtype(np.float32))
    values = np.ascontiguousarray(block, np.float32)
    _classify(values, first, limits, np.float32(0.5 * OVERSHOOT * blur**2), np.float32(LEAST_BEND * edge), classes)
    return classes


def class_markers(
    block: Array,
    gradient: Array,
    thresholds: Sequence[float],
    *,
    edge: float,
    blur: float = 0.0,
    means: Sequence[float | None] | None = None,
    sigma: float = 1.0,
) -> npt.NDArray[np.uint8]:
    """Return the class of every voxel that is certain: away from faces, or the middle of something small.

    A pore of a few voxels is steep all over, so no voxel of it is away from faces. Its middle is a local extreme, which
    a voxel on a face, however blurred, is not. But blur has filled that middle up: a pore in ceramic may read like
    metal. To first order blur of variance ``s**2`` adds ``s**2 / 2`` times the Laplacian. Where one and a half times
    that is at least three times `edge`, it is taken off before the class is told.

    Beside a dense material blur's tail makes voxels steep whose own material is nevertheless plain. The gradient tells
    how far the face is, and that what the tail adds; where that is little, it is taken off and the voxel certain too.

    Parameters
    ----------
    block, gradient : arrays (z, y, x)
        1/cm, and 1/cm per voxel from `gradient_magnitude`.
    thresholds : sequence of float
        Between the classes, 1/cm.
    edge : float
        Gradient from which a voxel is left to the watershed, 1/cm per voxel: one for the whole volume, for instance
        `marker_edge`.
    blur : float
        Standard deviation of the Gaussian that the block is blurred by, denoising included, voxels; 0 takes values as
        they are.
    means : sequence of float, optional
        Of the classes, 1/cm; tails of faces are taken off where they are given.
    sigma : float
        Of the gradient, voxels.

    Returns
    -------
    uint8 array (z, y, x)
        1 for the lowest class and so on, 0 for voxels to be flooded and for those without data. On the host.
    """
    if not edge > 0:
        raise ValueError(f"an edge of {edge} 1/cm per voxel leaves no markers: give a positive one")
    if len(thresholds) > 253:
        raise ValueError(f"{len(thresholds)} thresholds: markers hold at most 254 classes")
    values = np.ascontiguousarray(to_host(block), np.float32)
    slope = np.ascontiguousarray(to_host(gradient), np.float32)
    markers = np.empty(values.shape, np.uint8)
    limits = rounded_up(check_thresholds(thresholds), values.dtype)
    strength, least_bend = np.float32(0.5 * OVERSHOOT * blur**2), np.float32(LEAST_BEND * edge)
    _mark(values, slope, limits, np.float32(edge), strength, least_bend, markers)
    if means is not None and blur > 0:
        known = np.asarray(means, np.float64).astype(np.float32)
        _mark_feet(values, slope, limits, known, edge, float(blur), float(np.hypot(blur, sigma)), markers)
    return markers


@njit
def _mark_feet(
    block: Array, gradient: Array, limits: Array, means: Array, edge: float, blur: float, wide: float, markers: Array
) -> None:
    """Mark voxels beside a denser material to which its tail, of a blurred step that far away, adds little."""
    nz, ny, nx = block.shape
    densest = np.float32(-np.inf)  # a material that is not there has no mean
    for mean in means:
        densest = mean if mean > densest else densest
    for z in range(1, nz - 1):
        for y in range(1, ny - 1):
            for x in range(1, nx - 1):
                if markers[z, y, x] > 0 or not np.isfinite(gradient[z, y, x]):
                    continue
                steep = gradient[z, y, x] * wide * math.sqrt(2 * math.pi)
                if not steep < STEEPEST_FOOT * (densest - block[z, y, x]):
                    continue
                contrast, distance = _across(block, limits, means, z, y, x)
                if contrast == 0.0:
                    continue
                foot = 0.0
                for _ in range(2):  # the contrast is that to the material, of which the value holds the tail
                    height = contrast + foot
                    share = steep / height
                    away = wide * math.sqrt(-2 * math.log(share)) if share < 1.0 else 0.0
                    foot = 0.5 * height * math.erfc(away / (blur * math.sqrt(2.0)))
                if foot > LARGEST_FOOT * edge or away < NEAREST_FOOT * blur or abs(away - distance) > 1.2:
                    continue
                bell = math.exp(-0.5 * (away / blur) ** 2) / math.sqrt(2 * math.pi)
                bend = height * away * bell / blur**3  # of a flat face: a pore's wall bends more
                if _bend(block, z, y, x) > 1.5 * bend + edge:
                    continue
                value = block[z, y, x] - foot
                label = np.uint8(1)
                for limit in limits:
                    label += np.uint8(value >= limit)
                if abs(value - means[label - 1]) < edge:  # else no such step explains it
                    markers[z, y, x] = label


@njit(inner=True)
def _bend(block: Array, z: int, y: int, x: int) -> float:
    around = block[z - 1, y, x] + block[z + 1, y, x] + block[z, y - 1, x] + block[z, y + 1, x]
    return float(around + block[z, y, x - 1] + block[z, y, x + 1] - np.float32(6) * block[z, y, x])


@njit(inner=True)
def _across(block: Array, limits: Array, means: Array, z: int, y: int, x: int) -> tuple[float, float]:
    """Return how much denser the densest material within `MARCH` steps up the gradient is, and how far away; or 0."""
    nz, ny, nx = block.shape
    value = block[z, y, x]
    slope_z = block[z + 1, y, x] - block[z - 1, y, x]
    slope_y = block[z, y + 1, x] - block[z, y - 1, x]
    slope_x = block[z, y, x + 1] - block[z, y, x - 1]
    if not 0 < abs(slope_z) + abs(slope_y) + abs(slope_x) < np.inf:
        return 0.0, 0.0
    steepest = max(abs(slope_z), abs(slope_y), abs(slope_x))
    dz, dy = int(np.rint(slope_z / steepest)), int(np.rint(slope_y / steepest))
    dx = int(np.rint(slope_x / steepest))
    contrast, distance = 0.0, 0.0
    for k in range(1, MARCH + 1):
        v, u, w = z + k * dz, y + k * dy, x + k * dx
        if not (0 <= v < nz and 0 <= u < ny and 0 <= w < nx) or not np.isfinite(block[v, u, w]):
            break
        label = 0
        for limit in limits:
            label += int(block[v, u, w] >= limit)
        if means[label] - value > contrast:  # never for an unknown mean
            contrast = float(means[label] - value)
            distance = (k - 0.5) * math.sqrt(float(dz * dz + dy * dy + dx * dx))
    return contrast, distance


@njit
def _mark(
    block: Array,
    gradient: Array,
    limits: Array,
    edge: np.float32,
    strength: np.float32,
    least_bend: np.float32,
    markers: Array,
) -> None:
    nz, ny, nx = block.shape
    padded, sharp = empty(nx + 2, np.float32), empty(nx, np.float32)
    label = empty(nx, np.uint8)
    for z in range(nz):
        below, above = max(z - 1, 0), min(z + 1, nz - 1)
        for y in range(ny):
            row, slope = block[z, y], gradient[z, y]
            for x in range(nx):
                padded[x + 1] = row[x]
            padded[0], padded[nx + 1] = row[0], row[nx - 1]
            front, back = block[z, max(y - 1, 0)], block[z, min(y + 1, ny - 1)]
            take_bend_off(padded, block[below, y], block[above, y], front, back, strength, least_bend, sharp)
            label[:] = np.uint8(1)
            for limit in limits:
                _add_beyond(sharp, limit, label)
            _keep_flat(label, slope, edge, markers[z, y])
            for x in range(nx):
                if slope[x] < edge or not _may_be_extreme(padded, front, back, x):
                    continue
                if row[x] == row[x] and _is_extreme(block, z, y, x):
                    markers[z, y, x] = label[x]


@njit
def _classify(
    block: Array, first: tuple[int, ...], limits: Array, strength: np.float32, least_bend: np.float32, classes: Array
) -> None:
    nz, ny, nx = block.shape
    padded, sharp = empty(nx + 2, np.float32), empty(nx, np.float32)
    for k in range(classes.shape[0]):
        z = first[0] + k
        for j in range(classes.shape[1]):
            y = first[1] + j
            row, label = block[z, y], classes[k, j]
            for x in range(nx):
                padded[x + 1] = row[x]
            padded[0], padded[nx + 1] = row[0], row[nx - 1]
            down, up = block[max(z - 1, 0), y], block[min(z + 1, nz - 1), y]
            front, back = block[z, max(y - 1, 0)], block[z, min(y + 1, ny - 1)]
            take_bend_off(padded, down, up, front, back, strength, least_bend, sharp)
            label[:] = np.uint8(0)
            for limit in limits:
                _add_beyond(sharp[first[2] :], limit, label)


@njit(inline="always")
def _add_beyond(values: Array, limit: np.float32, label: Array) -> None:
    for x in range(len(label)):
        label[x] += np.uint8(values[x] >= limit)


@njit(inline="always")
def _keep_flat(label: Array, slope: Array, edge: np.float32, markers: Array) -> None:
    for x in range(len(markers)):
        markers[x] = label[x] if slope[x] < edge else np.uint8(0)


@njit(inline="always")
def _may_be_extreme(padded: Array, front: Array, back: Array, x: int) -> bool:
    """Tell whether none or all of four neighbours exceed a value of a row with one value more at either end."""
    value, left, right = padded[x + 1], padded[x], padded[x + 2]
    above = left > value or right > value or front[x] > value or back[x] > value
    return bool(not above or not (left < value or right < value or front[x] < value or back[x] < value))


@njit(inner=True)
def _is_extreme(block: Array, z: int, y: int, x: int) -> bool:
    """Tell whether a voxel is the least or the largest of its 3 x 3 x 3 neighbourhood, all of it with data."""
    nz, ny, nx = block.shape
    value = block[z, y, x]
    least, most, flat = True, True, True
    for v in range(max(z - 1, 0), min(z + 2, nz)):
        for u in range(max(y - 1, 0), min(y + 2, ny)):
            for w in range(max(x - 1, 0), min(x + 2, nx)):
                other = block[v, u, w]
                least &= other >= value
                most &= other <= value
                flat &= other == value
                if not (least or most):
                    return False
    return not flat
