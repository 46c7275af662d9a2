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
from numba import njit

from xct_pipeline.device import array_namespace, ndimage_of, to_host
from xct_pipeline.segmentation.denoise import fill_missing
from xct_pipeline.segmentation.faces import ROUNDS, place_faces
from xct_pipeline.segmentation.filters import TRUNCATE, gaussian_reach, gradient_block
from xct_pipeline.segmentation.markers import MARCH, class_markers
from xct_pipeline.segmentation.threshold import check_thresholds, rounded_up

NEIGHBOURS = {6: 1, 18: 2, 26: 3}


def gradient_halo(sigma: float = 1.0) -> int:
    """Return the voxels that `gradient_magnitude` needs around a block."""
    return gaussian_reach(sigma) + gaussian_reach(2.0)


def gradient_magnitude(block: Any, *, sigma: float = 1.0) -> Any:
    """Return the magnitude of the gradient at a scale.

    Parameters
    ----------
    block : array (z, y, x), numpy or CuPy
        Attenuation, 1/cm, with a halo of `gradient_halo` clipped to the volume.
    sigma : float
        Standard deviation of the Gaussian whose derivatives are used, voxels.

    Returns
    -------
    float32 array, 1/cm per voxel; NaN where the block is.
    """
    xp = array_namespace(block)
    finite = xp.isfinite(block)
    whole = bool(finite.all())
    filled = (block if whole else fill_missing(block)).astype(xp.float32)
    gradient = gradient_block(filled, sigma) if xp is np else _gradient_plainly(filled, sigma)
    return gradient if whole else xp.where(finite, gradient, xp.float32(np.nan))


def _gradient_plainly(block: Any, sigma: float) -> Any:
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
    block: Any, thresholds: Sequence[float], *, edge: float, means: Sequence[float | None] | None = None,
    sigma: float = 1.0, blur: float = 0.0, reach: int = 8, connectivity: int = 6,
    core: tuple[slice, ...] | None = None,
) -> npt.NDArray[np.uint8]:  # fmt: skip
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
    gradient = to_host(gradient_magnitude(block, sigma=sigma))
    values = to_host(block)
    core = core or tuple(slice(0, n) for n in values.shape)
    margin = MARCH + reach + ROUNDS + 1
    near = tuple(slice(max(0, c.start - margin), c.stop + margin) for c in core)
    values = np.ascontiguousarray(values[near], np.float32)
    gradient = np.ascontiguousarray(gradient[near])
    markers = class_markers(values, gradient, thresholds, edge=edge, blur=blur, means=means, sigma=sigma)
    labels = watershed(gradient, markers, reach=reach, connectivity=connectivity)
    if means is not None:
        place_faces(values, markers == 0, means, labels, blur=blur)
    _number_from_zero(values, rounded_up(check_thresholds(thresholds), values.dtype), labels)
    return labels[tuple(slice(c.start - n.start, c.stop - n.start) for c, n in zip(core, near, strict=True))]


@njit(cache=True, nogil=True)
def _number_from_zero(block: Any, limits: Any, labels: Any) -> None:
    """Turn labels from 1 into classes from 0; voxels without a label get the class of their value."""
    flat, values = labels.reshape(-1), block.reshape(-1)
    for i in range(len(flat)):
        if flat[i] > 0:
            flat[i] -= np.uint8(1)
        else:
            for limit in limits:
                flat[i] += np.uint8(values[i] >= limit)


def watershed(
    field: Any, markers: Any, *, reach: int = 8, connectivity: int = 6, mask: Any = None
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
    if reach > 0:
        _flood(height, open_, steps, int(reach), label)
    return label


@njit(cache=True, nogil=True)
def _flood(height: Any, open_: Any, steps: Any, reach: int, label: Any) -> None:
    """Lower every path's pass `reach` times, all voxels at once: each round looks one step further.

    Paths are ordered by their pass, then by the pass up to the step before, then by their length, then by label: by the
    first three a flood would arrive earlier. Only voxels beside one that the last round changed can change.
    """
    nz, ny, nx = label.shape
    level, before = np.empty(label.shape, np.float32), np.empty(label.shape, np.float32)
    length = np.zeros(label.shape, np.uint8)
    asked = np.zeros(label.shape, np.uint8)  # the last round that a voxel was put on the list for
    count = _start(height, open_, level, before, label)
    work, changed = np.empty((count, 3), np.int32), np.empty((count, 3), np.int32)
    pending = _beside_markers(open_, steps, label, work)
    new_level, new_before = np.empty(count, np.float32), np.empty(count, np.float32)
    new_length, new_label = np.empty(count, np.uint8), np.empty(count, label.dtype)
    for turn in range(1, reach + 1):
        found = 0
        for i in range(pending):
            z, y, x = work[i]
            best, low, short, name = level[z, y, x], before[z, y, x], length[z, y, x], label[z, y, x]
            better = False
            for s in range(len(steps)):
                v, u, w = z + steps[s, 0], y + steps[s, 1], x + steps[s, 2]
                if not (0 <= v < nz and 0 <= u < ny and 0 <= w < nx) or label[v, u, w] == 0:
                    continue
                down, far, other = level[v, u, w], np.uint8(length[v, u, w] + 1), label[v, u, w]
                top = max(down, height[z, y, x])
                if name > 0 and (top > best or (top == best and (down, far, other) >= (low, short, name))):
                    continue
                best, low, short, name, better = top, down, far, other, True
            if better:
                changed[found] = work[i]
                new_level[found], new_before[found], new_length[found], new_label[found] = best, low, short, name
                found += 1
        pending = 0
        for i in range(found):
            z, y, x = changed[i]
            level[z, y, x], before[z, y, x] = new_level[i], new_before[i]
            length[z, y, x], label[z, y, x] = new_length[i], new_label[i]
        if turn == reach:
            return
        for i in range(found):
            z, y, x = changed[i]
            for s in range(len(steps)):
                v, u, w = z + steps[s, 0], y + steps[s, 1], x + steps[s, 2]
                if 0 <= v < nz and 0 <= u < ny and 0 <= w < nx and open_[v, u, w] and asked[v, u, w] != turn:
                    asked[v, u, w] = turn
                    work[pending, 0], work[pending, 1], work[pending, 2] = v, u, w
                    pending += 1


@njit(cache=True, nogil=True)
def _start(height: Any, open_: Any, level: Any, before: Any, label: Any) -> int:
    """Set the passes before the first round; return the number of voxels that may be flooded."""
    nz, ny, nx = label.shape
    count = 0
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                before[z, y, x] = np.float32(np.inf)
                level[z, y, x] = np.float32(np.inf) if label[z, y, x] == 0 else height[z, y, x]
                if np.isnan(level[z, y, x]):
                    level[z, y, x] = np.float32(-np.inf)
                count += open_[z, y, x]
    return count


@njit(cache=True, nogil=True)
def _beside_markers(open_: Any, steps: Any, label: Any, work: Any) -> int:
    """List the voxels to be flooded that touch a marker."""
    nz, ny, nx = label.shape
    pending = 0
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                if not open_[z, y, x]:
                    continue
                for s in range(len(steps)):
                    v, u, w = z + steps[s, 0], y + steps[s, 1], x + steps[s, 2]
                    if 0 <= v < nz and 0 <= u < ny and 0 <= w < nx and label[v, u, w] > 0:
                        work[pending, 0], work[pending, 1], work[pending, 2] = z, y, x
                        pending += 1
                        break
    return pending
