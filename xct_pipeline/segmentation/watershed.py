"""Marker-controlled watershed with a bounded reach.

Markers are voxels whose material is certain: within a class and away from edges. The rest, blurred faces for the most
part, is flooded from them over the magnitude of the gradient. Flooding a whole volume in the order of its heights
(Meyer's queue) lets a voxel depend on any other one, so blocks would leave seams. Here a voxel takes the label of the
marker from which it is reached over the lowest pass by a path of at most `reach` steps; a voxel that is itself the
pass belongs to its lower side. That is the same watershed wherever `reach` suffices, and a block with a halo of `reach`
gives exactly what the whole volume gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from xct_pipeline.boxes import around, inside
from xct_pipeline.compiled import empty, njit, zeros
from xct_pipeline.device import Array, array_namespace, ndimage_of, to_host
from xct_pipeline.segmentation.denoise import fill_missing
from xct_pipeline.segmentation.faces import ROUNDS, place_faces
from xct_pipeline.segmentation.gaps import clear_gaps
from xct_pipeline.segmentation.markers import MARCH, class_markers, flat_classes
from xct_pipeline.segmentation.threshold import check_thresholds, rounded_up
from xct_pipeline.segmentation.undecided import undecided_boxes
from xct_pipeline.smoothing import TRUNCATE, gaussian_reach, gradient_block

NEIGHBOURS = {6: 1, 18: 2, 26: 3}
FARTHEST = np.int64(1 << 62)  # in the order of paths: there is none


def gradient_halo(sigma: float = 1.0, *, gaps: bool = True) -> int:
    """Return the voxels that `gradient_magnitude` needs around a block, fewer where all of them have data."""
    return gaussian_reach(sigma) + gaps * gaussian_reach(2.0)


def gradient_magnitude(block: Array, *, sigma: float = 1.0, core: tuple[slice, ...] | None = None) -> Any:
    """Return the magnitude of the gradient at a scale.

    Parameters
    ----------
    block : array (z, y, x), numpy or CuPy
        Attenuation, 1/cm, with a halo of `gradient_halo` clipped to the volume.
    sigma : float
        Standard deviation of the Gaussian whose derivatives are used, voxels.
    core : tuple of slice, optional
        The part of the block that is returned, all by default.

    Returns
    -------
    float32 array, 1/cm per voxel; NaN where the block is.
    """
    xp = array_namespace(block)
    values = xp.ascontiguousarray(block, xp.float32)
    filled = fill_missing(values)
    core = core or tuple(slice(0, n) for n in block.shape)
    gradient = gradient_block(filled, sigma, core) if xp is np else _gradient_plainly(filled, sigma)[core]
    if filled is not values:
        clear_gaps(gradient, core, values)
    return gradient


def _gradient_plainly(block: Array, sigma: float) -> Any:
    xp, ndimage = array_namespace(block), ndimage_of(block)
    total = xp.zeros(block.shape, xp.float32)
    for axis in range(block.ndim):
        order = tuple(int(a == axis) for a in range(block.ndim))
        total += ndimage.gaussian_filter(block, sigma, order=order, mode="nearest", truncate=TRUNCATE) ** 2
    return xp.sqrt(total)


def watershed_halo(*, sigma: float = 1.0, reach: int = 8) -> int:
    """Return the voxels that `watershed_classes` needs around a block, beside those that denoising took."""
    return gradient_halo(sigma) + MARCH + reach + ROUNDS


def watershed_classes(
    block: Array,
    thresholds: Sequence[float],
    *,
    edge: float,
    means: Sequence[float | None] | None = None,
    sigma: float = 1.0,
    blur: float = 0.0,
    reach: int = 8,
    connectivity: int = 6,
    core: tuple[slice, ...] | None = None,
) -> npt.NDArray[np.uint8]:
    """Label a block by thresholds away from faces and by the watershed at them.

    Parameters
    ----------
    block : array (z, y, x)
        Attenuation, denoised where that is wanted, 1/cm, with a halo of `watershed_halo` clipped to the volume.
    thresholds : sequence of float
        Of the whole volume, 1/cm.
    edge : float
        1/cm per voxel, `marker_edge` for instance.
    means : sequence of float, optional
        Of the classes, 1/cm: faces are placed half-way between them, else at the crest of the gradient.
    sigma : float
        Of the gradient, voxels.
    blur : float
        As for `class_markers`.
    reach, connectivity
        As for `watershed`.
    core : tuple of slice, optional
        The block without its halo, which alone is returned; the flood then looks no further around it than it needs.

    Returns
    -------
    uint8 array (z, y, x)
        Classes as from `apply_thresholds`, which also serves where no marker is within reach; on the host.
    """
    core = core or tuple(slice(0, n) for n in block.shape)
    limits = rounded_up(check_thresholds(thresholds), np.dtype(np.float32))
    boxes: Sequence[tuple[slice, ...]] = [core]
    if array_namespace(block) is np:
        filled, margin = gaussian_reach(2.0), MARCH + reach + ROUNDS + 1
        boxes = undecided_boxes(block, core, sigma=sigma, edge=edge, filled=filled, margin=margin)
    found = np.zeros([part.stop - part.start for part in core], np.uint8)
    if list(boxes) != [core]:
        found = flat_classes(block, core, thresholds, edge=edge, blur=blur)
    for box in boxes:
        part = _flooded(block, thresholds, limits, edge, means, sigma, blur, reach, connectivity, box)
        found[inside(core, box)] = part
    return found


def _flooded(
    block: Array,
    thresholds: Sequence[float],
    limits: Array,
    edge: float,
    means: Sequence[float | None] | None,
    sigma: float,
    blur: float,
    reach: int,
    connectivity: int,
    core: tuple[slice, ...],
) -> npt.NDArray[np.uint8]:
    """Return the classes of a part of a block, whatever it holds."""
    near = around(core, MARCH + reach + ROUNDS + 1, block.shape)
    wide = around(near, gradient_halo(sigma), block.shape)
    gradient = to_host(gradient_magnitude(block[wide], sigma=sigma, core=inside(wide, near)))
    values = np.ascontiguousarray(to_host(block[near]), np.float32)
    inner = inside(near, core)
    markers = class_markers(values, gradient, thresholds, edge=edge, blur=blur, means=means, sigma=sigma)
    labels = watershed(
        gradient, markers, reach=reach, connectivity=connectivity, core=around(inner, ROUNDS, values.shape)
    )
    if means is not None:
        movable = np.zeros(markers.shape, bool)
        beside = around(inner, ROUNDS - 1, values.shape)
        movable[beside] = markers[beside] == 0
        place_faces(values, movable, means, labels, blur=blur)
    found = np.ascontiguousarray(labels[inner])
    _number_from_zero(np.ascontiguousarray(values[inner]), limits, found)
    return found


@njit
def _number_from_zero(block: Array, limits: Array, labels: Array) -> None:
    """Turn labels from 1 into classes from 0; voxels without a label get the class of their value."""
    flat, values = labels.reshape(-1), block.reshape(-1)
    for i in range(len(flat)):
        if flat[i] > 0:
            flat[i] -= np.uint8(1)
        else:
            for limit in limits:
                flat[i] += np.uint8(values[i] >= limit)


def watershed(
    field: Array,
    markers: Array,
    *,
    reach: int = 8,
    connectivity: int = 6,
    mask: Array | None = None,
    core: tuple[slice, ...] | None = None,
) -> npt.NDArray[np.uint8]:
    """Flood a block from its markers.

    Parameters
    ----------
    field : array (z, y, x)
        Height to flood over, the gradient's magnitude for instance, with a halo of `reach` clipped to the volume.
        Non-finite voxels are not flooded.
    markers : uint8 array (z, y, x)
        Labels from 1; 0 for voxels to be flooded. From the whole volume, so that neighbours agree in the halo.
    reach : int
        Longest path, voxels; the halo.
    connectivity : {6, 18, 26}
        Steps of a path.
    mask : array of bool (z, y, x), optional
        Where flooding may go.
    core : tuple of slice, optional
        The part of the block that is wanted, all by default: around it the flood goes no further than it needs.

    Returns
    -------
    uint8 array (z, y, x)
        0 where no marker is within reach. Computed on the host.

    Raises
    ------
    ValueError
        `field` and `markers` differ in shape.

    References
    ----------
    F. Meyer, Signal Processing 38 (1994) 113; the lowest pass as a path cost: A. X. Falcao, J. Stolfi,
    R. A. Lotufo, IEEE Trans. PAMI 26 (2004) 19.
    """
    height, seeds = np.ascontiguousarray(to_host(field), np.float32), to_host(markers)
    if height.shape != seeds.shape:
        raise ValueError(f"a field of {height.shape} and markers of {seeds.shape} voxels do not belong together")
    if connectivity not in NEIGHBOURS:
        raise ValueError(f"connectivity {connectivity}: give 6, 18 or 26")
    steps = np.indices((3, 3, 3)).reshape(3, -1).T - 1
    far = np.abs(steps).sum(axis=1)
    steps = steps[(far > 0) & (far <= NEIGHBOURS[connectivity])]
    label = np.array(seeds, np.uint8, order="C")
    open_ = np.isfinite(height)
    open_ &= label == 0
    if mask is not None:
        open_ &= to_host(mask)
    core = core or tuple(slice(0, n) for n in label.shape)
    bounds = np.array([(part.start, part.stop) for part in core])
    if reach > 0:
        _flood(height.view(np.uint32), open_, steps, int(reach), bounds, label)
    return label


@njit
def _flood(bits: Array, open_: Array, steps: Array, reach: int, bounds: Array, label: Array) -> None:
    """Lower every path's pass `reach` times, all voxels at once: each round looks one step further.

    Paths are ordered by their pass, then by the pass up to the step before, then by their length, then by label: by the
    first three a flood would arrive earlier. All but the first are one number, `rest`. Only voxels beside one that the
    last round changed can change, and only those that later rounds can carry into the core are looked at.
    """
    place, number = _list_open(open_, reach - 1, bounds)
    count = len(place)
    height, far, beside = empty(count, np.uint32), empty(count, np.uint16), empty(count, np.uint32)
    top, rest = empty(count, np.int64), empty(count, np.int64)
    new_top, new_rest = empty(count, np.int64), empty(count, np.int64)
    changed, following = empty(count, np.int32), empty(count, np.int32)
    jumps = empty(len(steps), np.int64)
    for s in range(len(steps)):
        jumps[s] = (steps[s, 0] * label.shape[1] + steps[s, 1]) * label.shape[2] + steps[s, 2]
    found = _look_around(
        bits, open_, steps, jumps, reach, bounds, label, place, height, far, beside, top, rest, changed
    )
    for i in range(count):
        new_top[i], new_rest[i] = top[i], rest[i]
    flat = number.reshape(-1)
    for turn in range(2, reach + 1):
        pending = 0
        for c in range(found):
            i = changed[c]
            candidate = (top[i] << 24 | rest[i] & 0xFFFFFF) + 256
            for s in range(len(jumps)):
                if not beside[i] >> s & 1:
                    continue
                j = flat[place[i] + jumps[s]]
                level = max(top[i], np.int64(height[j]))
                if far[j] > reach - turn or level > new_top[j] or (level == new_top[j] and candidate >= new_rest[j]):
                    continue
                if new_top[j] == top[j] and new_rest[j] == rest[j]:
                    following[pending] = j
                    pending += 1
                new_top[j], new_rest[j] = level, candidate
        for c in range(pending):
            j = following[c]
            top[j], rest[j] = new_top[j], new_rest[j]
        changed, following, found = following, changed, pending
    out = label.reshape(-1)
    for i in range(count):
        if top[i] < FARTHEST:
            out[place[i]] = rest[i] & 0xFF


@njit(inline="always")
def _ordered(bits: np.uint32) -> Any:
    """Return a number for the bits of a float32 that is ordered as the floats are; NaN comes before all."""
    value = np.int64(bits)
    if value & 0x7FFFFFFF > 0x7F800000:
        return np.int64(0)
    if value >= 0x80000000:
        return np.int64(0x100000000) - value
    return value + np.int64(0x80000000)


@njit(inner=True)
def _list_open(open_: Array, margin: int, bounds: Array) -> Any:
    """Return the flat index of each voxel to be flooded within a margin of the bounds, and each such one's number."""
    nz, ny, nx = open_.shape
    number = empty(open_.shape, np.int32)
    z0, z1 = max(0, bounds[0, 0] - margin), min(nz, bounds[0, 1] + margin)
    y0, y1 = max(0, bounds[1, 0] - margin), min(ny, bounds[1, 1] + margin)
    x0, x1 = max(0, bounds[2, 0] - margin), min(nx, bounds[2, 1] + margin)
    rows = zeros((nz, ny), np.int32)
    count = 0
    for z in range(z0, z1):
        for y in range(y0, y1):
            row, own = open_[z, y, x0:x1], 0
            for x in range(len(row)):
                own += row[x]
            rows[z, y] = own
            count += own
    place = empty(count, np.int32)
    count = 0
    for z in range(z0, z1):
        for y in range(y0, y1):
            if rows[z, y] == 0:
                continue
            for x in range(x0, x1):
                if open_[z, y, x]:
                    number[z, y, x] = count
                    place[count] = (z * ny + y) * nx + x
                    count += 1
    return place, number


@njit(inner=True)
def _look_around(
    bits: Array,
    open_: Array,
    steps: Array,
    jumps: Array,
    reach: int,
    bounds: Array,
    label: Array,
    place: Array,
    height: Array,
    far: Array,
    beside: Array,
    top: Array,
    rest: Array,
    changed: Array,
) -> int:
    """Flood the voxels beside markers, and note of every voxel which steps lead to others that are to be flooded."""
    nz, ny, nx = label.shape
    found = 0
    values, flooded, marks = bits.reshape(-1), open_.reshape(-1), label.reshape(-1)
    for i in range(len(place)):
        at = np.int64(place[i])
        z, y, x = at // (ny * nx), at // nx % ny, at % nx
        own, away = np.int64(_ordered(values[at])), _beyond(z, y, x, bounds)
        within = 0 < z < nz - 1 and 0 < y < ny - 1 and 0 < x < nx - 1
        near, least, second = np.uint32(0), FARTHEST, FARTHEST
        for s in range(len(steps)):
            v, u, w = z + steps[s, 0], y + steps[s, 1], x + steps[s, 2]
            if not (within or (0 <= v < nz and 0 <= u < ny and 0 <= w < nx)):
                continue
            j = at + jumps[s]
            if flooded[j]:
                if away < reach - 1 or _beyond(v, u, w, bounds) < reach:
                    near |= np.uint32(1 << s)
            elif marks[j] > 0:
                down = np.int64(_ordered(values[j]))
                level, candidate = max(down, own), down << 24 | 256 | np.int64(marks[j])
                if level < least or (level == least and candidate < second):
                    least, second = level, candidate
        height[i], far[i], beside[i], top[i], rest[i] = own, away, near, least, second
        if least < FARTHEST:
            changed[found] = i
            found += 1
    return found


@njit(inline="always")
def _beyond(z: int, y: int, x: int, bounds: Array) -> Any:
    """Return how many steps, diagonal ones included, a voxel is outside of the bounds."""
    away = max(bounds[0, 0] - z, z - bounds[0, 1] + 1, bounds[1, 0] - y, y - bounds[1, 1] + 1)
    return max(0, away, bounds[2, 0] - x, x - bounds[2, 1] + 1)
