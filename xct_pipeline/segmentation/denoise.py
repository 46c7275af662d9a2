"""Denoising before segmentation: an option for labels only, never for the data that mass is measured on.

Every method has a finite reach, so a block with that halo gives what the whole volume gives.
"""

from __future__ import annotations

from typing import Any, Literal, assert_never

import numpy as np

from xct_pipeline.boxes import Region, around, inside
from xct_pipeline.device import Array, array_namespace, ndimage_of, to_host
from xct_pipeline.segmentation.gaps import parts_near_gaps
from xct_pipeline.smoothing import TRUNCATE, gaussian_reach, smooth_block

Method = Literal["none", "gaussian", "median", "tv"]

FILL_SIGMA = 2.0  # of the Gaussian that fills gaps, voxels


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
    if method == "gaussian":
        return _gaussian_of_known(block, sigma, core)
    finite = xp.isfinite(block)
    whole = bool(finite.all())
    filled = block if whole else fill_missing(block)
    match method:
        case "median":
            result = ndimage.median_filter(filled, size=2 * radius + 1, mode="nearest")[core]
        case "tv":
            result = xp.asarray(_total_variation(to_host(filled), weight, iterations)[core])
        case _:
            assert_never(method)
    return result if whole else xp.where(finite[core], result, xp.float32(np.nan))


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
    filled, reach = block, gaussian_reach(FILL_SIGMA)
    for part in parts_near_gaps(block, tuple(slice(0, n) for n in block.shape), 0):
        near = around(part, reach, block.shape)
        finite = xp.isfinite(block[near])
        mean = _weighted_gaussian(block[near], finite, FILL_SIGMA, inside(near, part))
        filled = block.copy() if filled is block else filled
        filled[part] = xp.where(finite[inside(near, part)], block[part], xp.nan_to_num(mean, nan=0.0))
    return filled


def gaussian(block: Array, sigma: float, core: Region | None = None) -> Any:
    """Smooth a block without gaps (numpy or CuPy) with a Gaussian; float32, of the core where one is given."""
    if array_namespace(block) is np:
        return smooth_block(block, sigma, core)
    return ndimage_of(block).gaussian_filter(block, sigma, mode="nearest", truncate=TRUNCATE)[core or ...]


def _gaussian_of_known(block: Array, sigma: float, core: Region) -> Any:
    """Return Gaussian means of the finite voxels of a block, NaN for the others."""
    xp, reach = array_namespace(block), gaussian_reach(sigma)
    result = gaussian(block, sigma, core)  # what is not finite spreads no further than the Gaussian reaches
    for part in parts_near_gaps(block, core, reach):
        near = around(part, reach, block.shape)
        finite = xp.isfinite(block[near])
        mean = _weighted_gaussian(block[near], finite, sigma, inside(near, part))
        result[inside(core, part)] = xp.where(finite[inside(near, part)], mean, xp.float32(np.nan))
    return result


def _weighted_gaussian(block: Array, finite: Array, sigma: float, core: Region) -> Any:
    """Return Gaussian means of the finite voxels of a block, NaN where there are none."""
    xp = array_namespace(block)
    total = gaussian(xp.where(finite, block, xp.float32(0)).astype(xp.float32, copy=False), sigma, core)
    weight = gaussian(finite.astype(xp.float32), sigma, core)
    # away from gaps the sum itself, to the last bit: a block that sees no gap must not differ from the whole volume
    mean = xp.where(weight > 1e-6, total / xp.maximum(weight, xp.float32(1e-6)), xp.float32(np.nan))
    return xp.where(weight > 1 - 1e-5, total, mean)


def _total_variation(block: np.ndarray[Any, Any], weight: float, iterations: int) -> np.ndarray[Any, Any]:
    from skimage.restoration import denoise_tv_chambolle

    # eps = 0 switches off the stop by the energy of the whole array
    result = denoise_tv_chambolle(block, weight=weight, eps=0.0, max_num_iter=iterations)
    return np.asarray(result, np.float32)
