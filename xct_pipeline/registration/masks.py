"""Which voxels of the reference are matched: by grey value, or because they kept it; see also `region`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xct_pipeline.compiled import empty, njit, zeros
from xct_pipeline.device import Array, array_namespace, ndimage_of


def attenuation_mask(
    volume: Array, *, minimum: float = -np.inf, maximum: float = np.inf, smooth: float = 1.0, grow: int = 2
) -> Any:
    """Return the voxels of a material by its attenuation, grown so that its edges belong to the mask.

    The motion is seen at edges only: a mask that ends on the edge would throw half of it away, and which half would be
    decided by the noise. So the volume is smoothed before the comparison and the result grown after.

    Parameters
    ----------
    volume : array (z, y, x), 1/cm, numpy or CuPy
    minimum, maximum : the range that is kept, 1/cm
    smooth : standard deviation of the smoothing, voxels (0: none)
    grow : voxels by which the mask is dilated

    Returns
    -------
    bool array (z, y, x); NaN voxels are False.
    """
    xp, ndimage = array_namespace(volume), ndimage_of(volume)
    finite = xp.isfinite(volume)
    known = xp.where(finite, volume, 0).astype(np.float32)
    if smooth > 0:
        known = ndimage.gaussian_filter(known, smooth)
    mask = (known >= minimum) & (known <= maximum) & finite
    if grow > 0:
        mask = dilated(mask, grow)
    return mask & finite


def dilated(mask: Array, reach: int) -> Any:
    """Return a mask grown by a cube that reaches `reach` voxels each way.

    Parameters
    ----------
    mask : bool array, numpy or CuPy

    Returns
    -------
    bool array
    """
    if array_namespace(mask) is np and mask.ndim == 3 and mask.size and reach > 0:
        grown = np.empty(mask.shape, np.bool_)
        _dilate(np.ascontiguousarray(mask, np.bool_).view(np.uint8), int(reach), grown.view(np.uint8))
        return grown
    return _dilated_plainly(mask, reach)


def _dilated_plainly(mask: Array, reach: int) -> Any:
    """Grow a mask along one axis after the other, in whole-array steps of up to twice what is done."""
    for axis in range(mask.ndim):
        ahead, behind, done = mask.copy(), mask.copy(), 0
        while done < min(reach, mask.shape[axis] - 1):
            step = min(done + 1, reach - done, mask.shape[axis] - 1)
            low, high = (
                tuple(part if k == axis else slice(None) for k in range(mask.ndim))
                for part in (slice(None, -step), slice(step, None))
            )
            ahead[high] |= ahead[low].copy()
            behind[low] |= behind[high].copy()
            done += step
        mask = ahead | behind
    return mask


@njit
def _dilate(mask: Array, reach: int, grown: Array) -> None:
    """Grow plane by plane: rows of all planes within reach are joined, then those of the plane, then widened."""
    nz, ny, nx = mask.shape
    plane, row = empty((ny, nx), np.uint8), zeros(nx + 2 * reach, np.uint8)
    for z in range(nz):
        for y in range(ny):
            out = plane[y]
            out[:] = 0
            for v in range(max(0, z - reach), min(nz, z + reach + 1)):
                _join(mask[v, y], out)
        for y in range(ny):
            middle = row[reach : reach + nx]
            middle[:] = 0
            for v in range(max(0, y - reach), min(ny, y + reach + 1)):
                _join(plane[v], middle)
            out = grown[z, y]
            out[:] = 0
            for k in range(2 * reach + 1):
                _join(row[k : k + nx], out)


@njit(inline="always")
def _join(row: Array, out: Array) -> None:
    for x in range(len(out)):
        out[x] |= row[x]


def unchanged_mask(
    residual: Array, gradient: Array | None = None, *, threshold: float = 4.0, slack: float = 0.3, radius: int = 2
) -> Any:
    """Return the voxels that kept their grey value between two aligned volumes (the mask ``"auto"``).

    A change covers many voxels while noise does not, so the difference is averaged over ``2 radius + 1`` voxels
    each way and compared with its own robust spread and with what a small error of the alignment makes of the edges.

    Parameters
    ----------
    residual : array (z, y, x), 1/cm: reference minus calibrated moving volume in the same frame, NaN without data
    gradient : array (z, y, x), 1/cm per voxel: magnitude of the reference's gradient (default: none)
    threshold : robust standard deviations by which the averaged difference may differ from their median
    slack : voxels by which the alignment may still be wrong
    radius : voxels

    Returns
    -------
    bool array (z, y, x).
    """
    xp, ndimage = array_namespace(residual), ndimage_of(residual)
    known = xp.isfinite(residual)
    if not bool(known.any()):
        return known
    size = 2 * radius + 1

    def mean(values: Array) -> Any:
        return ndimage.uniform_filter(xp.where(known, values, 0).astype(np.float32), size=size)

    count = xp.maximum(mean(xp.ones_like(residual)), np.float32(1e-6))
    averaged = mean(residual) / count
    middle = float(xp.median(averaged[known]))
    spread = 1.4826 * float(xp.median(xp.abs(averaged[known] - middle)))
    limit = max(threshold * spread, 1e-12)
    if gradient is not None:
        limit = limit + slack * mean(xp.where(xp.isfinite(gradient), gradient, 0)) / count
    return known & (xp.abs(averaged - middle) <= limit)


def extreme_points(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the first and the last voxel of every row of a mask: a distance between two affine motions, being convex,
    is largest on one of them.

    Returns
    -------
    float64 array (n, 3) of (z, y, x), empty for an empty mask.
    """
    z, y = np.nonzero(mask.any(axis=2))
    rows = mask[z, y]
    first = rows.argmax(axis=1)
    last = rows.shape[1] - 1 - rows[:, ::-1].argmax(axis=1)
    ends = [np.column_stack([z, y, x]) for x in (first, last)]
    return np.concatenate(ends).astype(np.float64)
