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
from xct_pipeline.segmentation.denoise import TRUNCATE, fill_missing, gaussian_reach
from xct_pipeline.segmentation.threshold import apply_thresholds

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
    xp, ndimage = array_namespace(block), ndimage_of(block)
    finite = xp.isfinite(block)
    filled = fill_missing(block.astype(xp.float32)) if not bool(finite.all()) else block.astype(xp.float32)
    total = xp.zeros(block.shape, xp.float32)
    for axis in range(block.ndim):
        order = tuple(int(a == axis) for a in range(block.ndim))
        total += ndimage.gaussian_filter(filled, sigma, order=order, mode="nearest", truncate=TRUNCATE) ** 2
    return xp.where(finite, xp.sqrt(total), xp.float32(np.nan))


def without_edges(block: Any, gradient: Any, *, edge: float) -> Any:
    """Return the block with NaN where the gradient reaches `edge` (1/cm per voxel), for histograms of materials alone.

    Blurred faces of a dense material spread over all lighter values. Otsu's method, which weighs by the square of the
    difference, then gives them classes of their own and leaves two light materials in one. Otsu's threshold of the
    volume's gradients is an `edge` that serves.
    """
    xp = array_namespace(block)
    return xp.where(gradient < edge, block, xp.float32(np.nan)).astype(xp.float32)


def class_markers(block: Any, gradient: Any, thresholds: Sequence[float], *, edge: float) -> Any:
    """Return the class of every voxel that is away from edges.

    Parameters
    ----------
    block, gradient : arrays (z, y, x)
        1/cm, and 1/cm per voxel from `gradient_magnitude`.
    thresholds : sequence of float
        Between the classes, 1/cm.
    edge : float
        Gradient from which a voxel is left to the watershed, 1/cm per voxel; the same for the whole volume (for
        instance Otsu's threshold of the volume's gradients).

    Returns
    -------
    uint8 array (z, y, x)
        1 for the lowest class and so on, 0 for voxels to be flooded and for those without data.
    """
    xp = array_namespace(block)
    if not edge > 0:
        raise ValueError(f"an edge of {edge} 1/cm per voxel leaves no markers: give a positive one")
    if len(thresholds) > 253:
        raise ValueError(f"{len(thresholds)} thresholds: markers hold at most 254 classes")
    certain = (gradient < edge) & xp.isfinite(block)
    return xp.where(certain, apply_thresholds(block, thresholds) + xp.uint8(1), xp.uint8(0))


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


def local_extremes(block: Any) -> Any:
    """Tell the voxels that are the least or the largest of their 3 x 3 x 3 neighbourhood; none beside missing data.

    A pore of a few voxels is steep all over, so no voxel of it is away from edges. Its middle is an extreme, which a
    voxel on a face, however blurred, is not.
    """
    xp, ndimage = array_namespace(block), ndimage_of(block)
    finite = xp.isfinite(block)
    least = ndimage.minimum_filter(xp.where(finite, block, xp.float32(-xp.inf)), size=3, mode="nearest")
    most = ndimage.maximum_filter(xp.where(finite, block, xp.float32(xp.inf)), size=3, mode="nearest")
    return finite & (least < most) & ((block == least) | (block == most))


def watershed_halo(*, sigma: float = 1.0, reach: int = 8) -> int:
    """Return the voxels that `watershed_classes` needs around a block, beside those that denoising took."""
    return gradient_halo(sigma) + reach


def watershed_classes(
    block: Any, thresholds: Sequence[float], *, edge: float, sigma: float = 1.0, reach: int = 8, connectivity: int = 6
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
    sigma : float
        Of the gradient, voxels.
    reach, connectivity
        As for `watershed`.

    Returns
    -------
    uint8 array (z, y, x)
        Classes as from `apply_thresholds`, which also serves where no marker is within reach; on the host. Local
        extremes are markers too, of the class that their value tells.
    """
    gradient = gradient_magnitude(block, sigma=sigma)
    plain = to_host(apply_thresholds(block, thresholds))
    markers = to_host(class_markers(block, gradient, thresholds, edge=edge))
    markers = np.where((markers == 0) & to_host(local_extremes(block)), plain + np.uint8(1), markers)
    flooded = watershed(gradient, markers, reach=reach, connectivity=connectivity)
    return np.where(flooded > 0, flooded - 1, plain).astype(np.uint8)


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
    height, seeds = to_host(field).astype(np.float32), to_host(markers)
    if height.shape != seeds.shape:
        raise ValueError(f"a field of {height.shape} and markers of {seeds.shape} voxels do not belong together")
    if connectivity not in NEIGHBOURS:
        raise ValueError(f"connectivity {connectivity}: give 6, 18 or 26")
    open_ = np.isfinite(height) & (seeds == 0)
    if mask is not None:
        open_ &= to_host(mask)
    steps = np.indices((3, 3, 3)).reshape(3, -1).T - 1
    far = np.abs(steps).sum(axis=1)
    steps = steps[(far > 0) & (far <= NEIGHBOURS[connectivity])]
    label = seeds.astype(np.uint8)
    if reach < 1 or not open_.any():
        return label
    index = np.argwhere(open_).astype(np.int32)
    level = np.where(label > 0, height, np.float32(np.inf))
    level[np.isnan(level)] = -np.inf
    _flood(height, index, steps, int(reach), level, label)
    return label


@njit(cache=True, nogil=True)
def _flood(height: Any, index: Any, steps: Any, reach: int, level: Any, label: Any) -> None:
    """Lower every path's pass `reach` times, all voxels at once: each round looks one step further.

    Paths are ordered by their pass, then by the pass up to the step before, then by their length, then by label: by the
    first three a flood would arrive earlier.
    """
    n = len(index)
    before, length = np.full(n, np.inf, np.float32), np.zeros(label.shape, np.int32)
    new_level, new_length = np.empty(n, np.float32), np.empty(n, np.int32)
    new_label = np.empty(n, label.dtype)
    nz, ny, nx = label.shape
    for _ in range(reach):
        changed = False
        for i in range(n):
            z, y, x = index[i]
            best, low, short, name = level[z, y, x], before[i], length[z, y, x], label[z, y, x]
            for s in range(len(steps)):
                v, u, w = z + steps[s, 0], y + steps[s, 1], x + steps[s, 2]
                if not (0 <= v < nz and 0 <= u < ny and 0 <= w < nx) or label[v, u, w] == 0:
                    continue
                down, far, other = level[v, u, w], length[v, u, w] + 1, label[v, u, w]
                top = max(down, height[z, y, x])
                if top > best and name > 0:
                    continue
                if name == 0 or top < best or (down, far, other) < (low, short, name):
                    best, low, short, name = top, down, far, other
            changed |= name != label[z, y, x] or best != level[z, y, x] or low != before[i] or short != length[z, y, x]
            new_level[i], before[i], new_length[i], new_label[i] = best, low, short, name
        if not changed:
            return
        for i in range(n):
            z, y, x = index[i]
            level[z, y, x], length[z, y, x], label[z, y, x] = new_level[i], new_length[i], new_label[i]
