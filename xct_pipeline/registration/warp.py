"""One resampling of a moving volume into the reference frame, block by block, with the same bits for any block.

The value at a position is a B-spline through the voxel centres (Unser, IEEE Signal Processing Magazine 16 (1999) 22).
A volume ends at the centres of its outermost voxels: positions beyond are NaN, and next to the border the volume is
continued by reflection, which depends on the frame only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xct_pipeline.device import Array, array_namespace, is_cupy, ndimage_of
from xct_pipeline.registration.bspline import (
    PREFILTER_RADIUS,
    filter_plain,
    filter_separable,
    mirror,
    prefilter_taps,
    support_of,
    weights,
)
from xct_pipeline.registration.interpolation import EDGE, INTERPOLATE

Box = tuple[slice, slice, slice]
_FILL_RADIUS = 4  # voxels: NaN voxels are continued this far from finite ones before the prefilter


def required_input_box(output_box: Box, transform: ArrayLike, shape: Sequence[int], order: str = "cubic") -> Box | None:
    """Return the part of the moving volume that `warp_block` reads for one output box.

    Parameters
    ----------
    output_box : slices (z, y, x) of the reference frame
    transform : 3 x 4, voxels of the reference to voxels of the moving volume
    shape : of the whole moving volume (z, y, x)
    order : "linear", "cubic" or "quintic"

    Returns
    -------
    slices (z, y, x) of the moving volume, or None where the output box sees nothing of it.
    """
    region = _tap_region(output_box, transform, shape, order)
    if region is None:
        return None
    halo = _halo(order)
    reach = [
        mirror(np.arange(low - halo, high + halo, dtype=np.int64), n)
        for (low, high), n in zip(region, shape, strict=True)
    ]
    z, y, x = (slice(int(index.min()), int(index.max()) + 1) for index in reach)
    return z, y, x


def warp_block(
    block: Array,
    transform: ArrayLike,
    output_box: Box,
    *,
    shape: Sequence[int],
    origin: Sequence[int] = (0, 0, 0),
    order: str = "cubic",
) -> Any:
    """Resample a block of the moving volume onto one box of the reference frame.

    Parameters
    ----------
    block : array (z, y, x), numpy or CuPy
        Part of the moving volume that holds at least `required_input_box`.
    transform : 3 x 4, voxels of the reference to voxels of the moving volume (all motions known, composed)
    output_box : slices (z, y, x) of the reference frame
    shape : of the whole moving volume
    origin : index in the moving volume of the block's first voxel
    order : "linear", "cubic" (default) or "quintic"

    Returns
    -------
    float32 array of the output box's shape, unit of the input. NaN where the position lies outside the moving volume or
    where a NaN voxel is among the interpolation's taps; finite elsewhere.

    Raises
    ------
    ValueError : the block does not hold what the box needs, or the order is unknown.
    """
    return _warp(block, transform, output_box, shape, origin, order, plain=is_cupy(block))


def warp_plain(
    block: Array,
    transform: ArrayLike,
    output_box: Box,
    *,
    shape: Sequence[int],
    origin: Sequence[int] = (0, 0, 0),
    order: str = "cubic",
) -> Any:
    """Do what `warp_block` does with whole-array operations: its definition, and its form on a CUDA device."""
    return _warp(block, transform, output_box, shape, origin, order, plain=True)


def variance_factor(fraction: ArrayLike, order: str = "cubic") -> NDArray[np.float64]:
    """Return by how much interpolation multiplies the variance of white noise.

    Parameters
    ----------
    fraction : array (..., 3), the fractional part (z, y, x) of the position in voxels; 0 along an axis over which
        the result is summed afterwards
    order : "linear", "cubic" or "quintic"

    Returns
    -------
    array (...): variance of an interpolated voxel over that of a measured one. A diagnostic: errors of sums come
    from the autocovariance measured on the registered difference.
    """
    return np.asarray(np.prod((cardinal_weights(fraction, order) ** 2).sum(axis=-1), axis=-1))


def cardinal_weights(fraction: ArrayLike, order: str = "cubic") -> NDArray[np.float64]:
    """Return the weights that measured voxels have in an interpolated one, prefilter included.

    Parameters
    ----------
    fraction : array (...), the fractional part of the position along an axis in voxels
    order : "linear", "cubic" or "quintic"

    Returns
    -------
    array (..., voxels along the axis)
    """
    f = np.mod(np.asarray(fraction, np.float64), 1.0)
    taps = prefilter_taps(order)
    response = np.concatenate([taps[:0:-1], taps])
    kernel = weights(f, order)
    found = np.zeros((*f.shape, kernel.shape[-1] + len(response) - 1))
    for k in range(found.shape[-1]):
        reach = np.arange(kernel.shape[-1])
        inside = reach[(k - reach >= 0) & (k - reach < len(response))]
        found[..., k] = kernel[..., inside] @ response[k - inside]
    return found


def positions(transform: ArrayLike, shape: Sequence[int], count: int) -> NDArray[np.float64]:
    """Return where `count` points along each axis of the reference lie in a volume: (z, y, x, 3), voxels."""
    axes = [np.unique(np.linspace(0, n - 1, count).round()) for n in shape]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    a = np.asarray(transform, np.float64)
    return np.asarray(points @ a[:, :3].T + a[:, 3])


def mean_variance_factor(transform: ArrayLike, shape: Sequence[int], order: str = "cubic") -> float:
    """Return `variance_factor` averaged over a volume warped by `transform` (a rotation meets every fraction)."""
    return float(variance_factor(positions(transform, shape, 24), order).mean())


def _halo(order: str) -> int:
    return PREFILTER_RADIUS[order] + (_FILL_RADIUS if PREFILTER_RADIUS[order] else 0)


def _tap_region(
    output_box: Box, transform: ArrayLike, shape: Sequence[int], order: str
) -> list[tuple[int, int]] | None:
    """Return, per axis, first and last + 1 index of the spline coefficients the box meets; None if outside."""
    a = np.asarray(transform, np.float64)
    half = support_of(order) // 2
    bounds = np.array([(s.start, s.stop - 1) for s in output_box], np.float64)
    if any(s.stop <= s.start for s in output_box):
        return None
    low = a[:, 3] + np.minimum(a[:, :3] * bounds[:, 0], a[:, :3] * bounds[:, 1]).sum(axis=1)
    high = a[:, 3] + np.maximum(a[:, :3] * bounds[:, 0], a[:, :3] * bounds[:, 1]).sum(axis=1)
    region = []
    for axis, n in enumerate(shape):
        first, last = max(low[axis], 0.0) - 2 * EDGE, min(high[axis], n - 1.0) + 2 * EDGE
        if last < first:
            return None
        region.append((int(np.floor(first)) + 1 - half, int(np.floor(last)) + half + 1))
    return region


def _warp(
    block: Array,
    transform: ArrayLike,
    output_box: Box,
    shape: Sequence[int],
    origin: Sequence[int],
    order: str,
    *,
    plain: bool,
) -> Any:
    xp = array_namespace(block)
    needed = required_input_box(output_box, transform, shape, order)
    region = _tap_region(output_box, transform, shape, order)
    out_shape = tuple(s.stop - s.start for s in output_box)
    if needed is None or region is None:
        return xp.full(out_shape, np.nan, np.float32)
    _require_block(block, needed, origin)
    block = block[tuple(slice(s.start - o, s.stop - o) for s, o in zip(needed, origin, strict=True))]
    block = xp.asarray(block, dtype=np.float32)
    start = [s.start for s in needed]
    missing = xp.isnan(block)
    apply_filter = filter_plain if plain else filter_separable
    has_missing = bool(missing.any())
    if has_missing and PREFILTER_RADIUS[order]:
        block = _fill(block, missing, start, shape, apply_filter)
    coefficients = apply_filter(block, prefilter_taps(order), _indices(region, PREFILTER_RADIUS[order], start, shape))
    first = np.array([low for low, _ in region], np.int64)
    gone = None
    if has_missing:
        indices = _indices(region, 0, start, shape)
        gone = xp.take(
            xp.take(xp.take(missing, xp.asarray(indices[0]), 0), xp.asarray(indices[1]), 1), xp.asarray(indices[2]), 2
        )
    a = np.ascontiguousarray(transform, np.float64)
    corner = np.array([s.start for s in output_box], np.int64)
    size = np.array(shape, np.int64)
    if plain:
        return _interpolate_plain(coefficients, gone, a, corner, out_shape, first, size, order)
    out = np.empty(out_shape, np.float32)
    mask = np.zeros((0, 0, 0), np.bool_) if gone is None else np.ascontiguousarray(gone)
    INTERPOLATE[order](coefficients, mask, a, corner, first, size, out)
    return out


def _require_block(block: Array, needed: Box, origin: Sequence[int]) -> None:
    for axis, (s, o, n) in enumerate(zip(needed, origin, block.shape, strict=True)):
        if s.start < o or s.stop > o + n:
            raise ValueError(
                f"the block holds {'zyx'[axis]} = {o}:{o + n} of the moving volume but the output box needs "
                f"{s.start}:{s.stop}; read required_input_box first"
            )


def _indices(
    region: list[tuple[int, int]], radius: int, start: Sequence[int], shape: Sequence[int]
) -> list[NDArray[np.int64]]:
    return [
        mirror(np.arange(low - radius, high + radius, dtype=np.int64), n) - s
        for (low, high), s, n in zip(region, start, shape, strict=True)
    ]


def _fill(
    block: Array,
    missing: Array,
    start: Sequence[int],
    shape: Sequence[int],
    apply_filter: Callable[[Array, Array, Sequence[Array]], Array],
) -> Any:
    """Replace NaN voxels by a weighted mean of the finite ones near them, 0 where none is near.

    The inverse filter reaches far but feebly: continued smoothly, a hole leaves its surroundings as they are.
    """
    xp = array_namespace(block)
    taps = 0.5 ** np.arange(_FILL_RADIUS + 1)
    inside = [(s, s + n) for s, n in zip(start, block.shape, strict=True)]
    # At the block's own border the neighbours may be missing; that border is halo, which the halo's size allows for.
    indices = [
        np.clip(mirror(np.arange(a - _FILL_RADIUS, b + _FILL_RADIUS, dtype=np.int64), n) - a, 0, b - a - 1)
        for (a, b), n in zip(inside, shape, strict=True)
    ]
    known = xp.where(missing, np.float32(0), block)
    total = apply_filter(known, taps, indices)
    count = apply_filter(xp.where(missing, np.float32(0), np.float32(1)), taps, indices)
    filled = xp.where(count > 0, total / xp.maximum(count, np.float32(1e-20)), np.float32(0))
    return xp.where(missing, filled, block).astype(np.float32)


def _interpolate_plain(
    coefficients: Array,
    gone: Array | None,
    transform: NDArray[np.float64],
    corner: NDArray[np.int64],
    out_shape: tuple[int, ...],
    first: NDArray[np.int64],
    size: NDArray[np.int64],
    order: str,
) -> Any:
    xp = array_namespace(coefficients)
    ndimage = ndimage_of(coefficients)
    matrix = transform[:, :3]
    offset = matrix @ corner + transform[:, 3] - first
    degree = {2: 1, 4: 3, 6: 5}[support_of(order)]
    out = ndimage.affine_transform(
        coefficients,
        xp.asarray(matrix),
        offset=tuple(offset),
        output_shape=out_shape,
        output=np.float32,
        order=degree,
        mode="nearest",
        prefilter=False,
    )
    grid = [xp.arange(c, c + n, dtype=np.float64) for c, n in zip(corner, out_shape, strict=True)]
    outside = xp.zeros(out_shape, dtype=bool)
    position = []
    for axis in range(3):
        m = matrix[axis]
        q = ((m[0] * grid[0])[:, None, None] + (m[1] * grid[1])[None, :, None] + transform[axis, 3]) + (m[2] * grid[2])[
            None, None, :
        ]
        outside |= (q < -EDGE) | (q > size[axis] - 1 + EDGE)
        position.append(q)
    if gone is not None:
        half = support_of(order) // 2
        # a position's taps begin at floor(q) + 1 - half: "is one of them missing" is a maximum over that window
        touched = ndimage.maximum_filter(gone.astype(np.uint8), size=2 * half, origin=-half, mode="nearest")
        taps = [
            xp.clip(xp.floor(q).astype(np.int64) + 1 - half - f, 0, n - 1)
            for q, f, n in zip(position, first, gone.shape, strict=True)
        ]
        outside |= touched[taps[0], taps[1], taps[2]] > 0
    out[outside] = np.nan
    return out
