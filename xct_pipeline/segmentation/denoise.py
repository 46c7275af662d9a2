"""Denoising before segmentation: an option for labels only, never for the data that mass is measured on.

Every method has a finite reach, so a block with that halo gives what the whole volume gives.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, assert_never

import numpy as np

from xct_pipeline.boxes import Region, around, cut, inside
from xct_pipeline.device import Array, array_namespace, ndimage_of, to_host
from xct_pipeline.smoothing import TRUNCATE, gaussian_reach, smooth_block

Method = Literal["none", "gaussian", "median", "tv"]

FILL_SIGMA = 2.0  # of the Gaussian that fills gaps, voxels
TILE = (32, 32, 64)  # voxels that are looked at for gaps at a time


def denoise_halo(method: Method, *, sigma: float = 1.0, radius: int = 1, iterations: int = 30) -> int:
    """Return the voxels that `denoise` needs around a block; parameters as there."""
    match method:
        case "none":
            return 0
        case "gaussian":
            return gaussian_reach(sigma)
        case "median":
            return radius + gaussian_reach(FILL_SIGMA)
        case "tv":
            return iterations + 1 + gaussian_reach(FILL_SIGMA)
        case _:
            assert_never(method)


def denoise(
    block: Array,
    method: Method,
    *,
    sigma: float = 1.0,
    radius: int = 1,
    weight: float = 0.1,
    iterations: int = 30,
    core: Region | None = None,
) -> Any:
    """Denoise a block with its halo.

    Parameters
    ----------
    block : array (z, y, x), numpy or CuPy
        Attenuation, 1/cm, with a halo of `denoise_halo` clipped to the volume. NaN stays NaN and is not looked at:
        a Gaussian leaves it out, the others see a smooth continuation of the data instead.
    method : {"none", "gaussian", "median", "tv"}
        Gaussian; median over a cube; total variation after Chambolle (scikit-image; on the host for CuPy).
    sigma : float
        Standard deviation of the Gaussian, voxels.
    radius : int
        The median is taken over ``2 radius + 1`` voxels each way.
    weight : float
        Of total variation, 1/cm: the larger, the smoother; about the noise's standard deviation.
    iterations : int
        Of total variation: a fixed number, since a stop that looks at the block would depend on it. It is the halo.
    core : tuple of slice, optional
        The part of the block that is returned, all by default.

    Returns
    -------
    float32 array of the kind of the block.

    References
    ----------
    A. Chambolle, J. Math. Imaging Vis. 20 (2004) 89.
    """
    check_denoise(method, sigma=sigma, radius=radius, weight=weight, iterations=iterations)
    xp, ndimage = array_namespace(block), ndimage_of(block)
    block = block.astype(xp.float32, copy=False)
    core = core or tuple(slice(0, n) for n in block.shape)
    if method == "none":
        return block[core]
    finite = xp.isfinite(block)
    whole = bool(finite.all())
    match method:
        case "gaussian":
            result = _weighted_gaussian(block, finite, sigma, core) if not whole else gaussian(block, sigma, core)
        case "median":
            filled = block if whole else fill_missing(block)
            result = ndimage.median_filter(filled, size=2 * radius + 1, mode="nearest")[core]
        case "tv":
            filled = to_host(block if whole else fill_missing(block))
            result = xp.asarray(_total_variation(filled, weight, iterations)[core])
        case _:
            assert_never(method)
    return result if whole else with_gaps(result, finite[core])


def check_denoise(
    method: Method, *, sigma: float = 1.0, radius: int = 1, weight: float = 0.1, iterations: int = 30
) -> None:
    """Raise ValueError for parameters of `denoise` that mean nothing."""
    if method not in ("none", "gaussian", "median", "tv"):
        raise ValueError(f"denoising by {method!r} is unknown: give none, gaussian, median or tv")
    for name, value in (("sigma", sigma), ("radius", radius), ("weight", weight), ("iterations", iterations)):
        if not value > 0:
            raise ValueError(f"denoising with {name} = {value}: give a positive value")


def fill_missing(block: Array) -> Any:
    """Replace non-finite voxels with a Gaussian mean of the finite ones around, 0 where there are none.

    The reach is that of a Gaussian of `FILL_SIGMA`, so a block with that halo is filled as the whole volume is.
    """
    xp = array_namespace(block)
    finite = xp.isfinite(block)
    if finite.all():
        return block
    filled = block.copy()
    reach = gaussian_reach(FILL_SIGMA)
    for part in _parts_with_gaps(finite, tuple(slice(0, n) for n in block.shape), 0):
        missing = ~finite[part]
        near = around(part, reach, block.shape)
        if not finite[near].any():
            filled[part] = 0
            continue
        mean = _weighted_gaussian(block[near], finite[near], FILL_SIGMA, inside(near, part))
        filled[part][missing] = xp.nan_to_num(mean[missing], nan=0.0)
    return filled


def with_gaps(values: Array, finite: Array) -> Any:
    """Return values, which are written to, with NaN where there are no data."""
    array_namespace(values).copyto(values, np.float32(np.nan), where=~finite)
    return values


def _parts_with_gaps(finite: Array, part: Region, reach: int) -> Iterator[Region]:
    """Yield boxes that hold all voxels of a part of a block within some voxels of one without data: few of the others.

    All of the part on a device.
    """
    if array_namespace(finite) is not np:
        yield part
        return
    known = finite.view(np.uint8)
    for axis in (2, 1, 0):
        known = np.bitwise_and.reduceat(known, np.arange(0, finite.shape[axis], TILE[axis]), axis=axis)
    for tile in cut(part, TILE):
        near = around(tile, reach, finite.shape)
        if known[tuple(slice(p.start // n, -(-p.stop // n)) for p, n in zip(near, TILE, strict=True))].all():
            continue
        gaps = _box_of(~finite[near])
        if gaps is not None:
            moved = tuple(slice(g.start + p.start, g.stop + p.start) for g, p in zip(gaps, near, strict=True))
            wide = around(moved, reach, finite.shape)
            yield tuple(slice(max(w.start, t.start), min(w.stop, t.stop)) for w, t in zip(wide, tile, strict=True))


def _box_of(mask: Array) -> Region | None:
    """Return the smallest box that holds all voxels of a mask, None where there is none."""
    box = []
    for axis in range(3):
        found = np.flatnonzero(to_host(mask.any(axis=tuple(a for a in range(3) if a != axis))))
        if not len(found):
            return None
        box.append(slice(int(found[0]), int(found[-1]) + 1))
    return tuple(box)


def gaussian(block: Array, sigma: float, core: Region | None = None) -> Any:
    """Smooth a block without gaps (numpy or CuPy) with a Gaussian; float32, of the core where one is given."""
    if array_namespace(block) is np:
        return smooth_block(block, sigma, core)
    return ndimage_of(block).gaussian_filter(block, sigma, mode="nearest", truncate=TRUNCATE)[core or ...]


def _weighted_gaussian(block: Array, finite: Array, sigma: float, core: Region) -> Any:
    """Return Gaussian means of the finite voxels of a block, NaN where there are none."""
    xp = array_namespace(block)
    total = gaussian(xp.where(finite, block, xp.float32(0)).astype(xp.float32, copy=False), sigma, core)
    for part in _parts_with_gaps(finite, core, gaussian_reach(sigma)):
        near = around(part, gaussian_reach(sigma), block.shape)
        weight = gaussian(finite[near].astype(xp.float32), sigma, inside(near, part))
        # away from gaps the sum itself, to the last bit: a block that sees no gap must not differ from the whole volume
        beside = ~(weight > 1 - 1e-5)
        weight, sums = weight[beside], total[inside(core, part)]
        mean = sums[beside] / xp.maximum(weight, xp.float32(1e-6))
        sums[beside] = xp.where(weight > 1e-6, mean, xp.float32(np.nan))
    return total


def _total_variation(block: np.ndarray[Any, Any], weight: float, iterations: int) -> np.ndarray[Any, Any]:
    from skimage.restoration import denoise_tv_chambolle

    # eps = 0 switches off the stop by the energy of the whole array
    result = denoise_tv_chambolle(block, weight=weight, eps=0.0, max_num_iter=iterations)
    return np.asarray(result, np.float32)
