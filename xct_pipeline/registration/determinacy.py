"""Which parameters of a motion two volumes determine: the curvature that both show, against noise.

The normal equations alone cannot tell: the gradient of the reference's noise adds to their curvature in every
direction. What the object adds is in the gradients of both volumes, what the noise adds is in one of them only. With
J and K the derivatives of the two aligned volumes by the parameters, the sum of J K^T is the object's curvature and
fluctuates by the noise, of which the sum of (J J^T - K K^T) / 2 is a sample of the same size: it is 0 on average and
has the variance of J K^T where there is noise alone, and where there is an object that of its product with the noise.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

import numpy as np
import scipy
from numpy.typing import NDArray

from xct_pipeline.compiled import empty, njit
from xct_pipeline.device import Array
from xct_pipeline.registration import parameters
from xct_pipeline.registration.levels import Estimate, PreparedLevel, aligned_slab, moving_slab, reference_slab
from xct_pipeline.registration.sampling import residual_slab

_SIGNIFICANT = 6.0  # standard deviations: the best of many displaced matches of noise reaches 4; about 0.3 voxel
_NEGLIGIBLE = 1e-5  # of the largest curvature, per voxel: what differences between voxels make of a round edge
_REACH = 3  # voxels each way that a derivative takes
_PLANES = 8  # of a slab
_BLOCK = 8  # voxels: edge of the blocks whose sums scatter
_ENOUGH = 3_000_000  # voxels: more are looked at only where these leave a doubt
_LEAST = 64  # samples
_THIN = 6  # planes of the slabs on which shared gradients are measured
_SHARED_VOXELS = 3_000_000  # at which they are measured, about


def undetermined(p: PreparedLevel, s: Estimate, model: str, held: Collection[str] = ()) -> tuple[str, ...]:
    """Return the parameters that have to be held so that the samples determine all others.

    Parameters
    ----------
    p : the finest level
    s : where both volumes are aligned, at least along what they determine
    model : of the motion
    held : parameters that are not searched

    Returns
    -------
    names as in `parameters.names`, none for an object with texture in every direction. Where a combination is not
    determined, such as a turn about an axis beside the middle, the parameter that takes the largest part in it.
    """
    found: tuple[str, ...] = ()
    for slabs in _choices(p.level.reference.shape):
        sums = np.concatenate(list(p.parallel_map(partial(_sum_slab, p, s, model), slabs)))
        found = _weakest(sums, model, held, _radius(p))
        if not found:
            break
    return found


def _choices(shape: tuple[int, ...]) -> list[list[tuple[int, int]]]:
    """Return planes to be looked at: some of a large volume first, then all."""
    every = [(a, min(a + _PLANES, shape[0] - _REACH)) for a in range(_REACH, shape[0] - _REACH, _PLANES)]
    count = max(4, _ENOUGH // (_PLANES * shape[1] * shape[2]))
    if len(every) <= 2 * count:
        return [every]
    some = np.unique(np.linspace(0, len(every) - 1, count).round().astype(int))
    return [[every[k] for k in some], every]


def _radius(p: PreparedLevel) -> float:
    """Return the distance from the middle at which a turn is told in voxels."""
    return float(np.sqrt(np.square(p.points - p.center).sum(axis=1).mean()))


def _weakest(sums: NDArray[np.float64], model: str, held: Collection[str], radius: float) -> tuple[str, ...]:
    searched = [k for k, name in enumerate(parameters.names(model)) if name not in held]
    turns = [k for k in searched if parameters.names(model)[k] not in parameters.SHIFTS]
    length = np.ones(sums.shape[-1])
    length[turns] = radius
    blocks = (sums / length[:, None] / length[None, :])[:, :, searched][..., searched]
    both, apart = blocks[:, :2].sum(axis=0)
    if np.trace(both) <= 0.0:
        return tuple(parameters.names(model)[k] for k in searched)
    shared, own = both - apart, both + apart
    level = own + 1e-12 * np.trace(own) * np.eye(len(searched))
    vectors = scipy.linalg.eigh(shared, level)[1]
    vectors = vectors / np.linalg.norm(vectors, axis=0)
    curvature = np.einsum("ik,ij,jk->k", vectors, shared, vectors)
    energy, difference = (
        np.einsum("ik,bij,jk->bk", vectors, b, vectors) for b in (blocks[:, 0] + blocks[:, 1], blocks[:, 2])
    )
    whole = energy.sum(axis=0)
    shown = whole > 1e-12 * np.abs(energy).sum()
    unlike = np.divide(difference.sum(axis=0), whole, out=np.zeros_like(whole), where=shown)  # in noise or sharpness
    noise = np.sqrt(np.square(difference - energy * unlike).sum(axis=0))
    weak = ~shown | (curvature < _SIGNIFICANT * noise) | (curvature < _NEGLIGIBLE * np.linalg.eigvalsh(shared)[-1])
    if not weak.any():
        return ()
    basis = np.linalg.qr(vectors[:, weak])[0]
    order = scipy.linalg.qr(basis.T, pivoting=True, mode="r")[1]
    return tuple(parameters.names(model)[searched[k]] for k in sorted(order[: int(weak.sum())]))


def _sum_slab(p: PreparedLevel, s: Estimate, model: str, planes: tuple[int, int]) -> NDArray[np.float64]:
    """Return the sums of each block of some planes, (blocks, 3, n, n)."""
    z0, z1 = planes[0] - _REACH, planes[1] + _REACH
    fixed, moved = aligned_slab(p, s, z0, z1)
    size = len(parameters.names(model))
    ny, nx = (-(-n // _BLOCK) for n in fixed.shape[1:])
    out = np.zeros((ny, nx, 3, size, size))
    kept = p.mask(z0, z1)
    margin = max(p.margin, _REACH)
    depth = p.level.reference.shape[0]
    low, high = max(planes[0], p.margin) - z0, min(planes[1], depth - p.margin) - z0
    _sum_blocks(fixed, moved, kept, z0, low, high, margin, p.center, float(s.cut), out)
    out = out.reshape(ny * nx, 3, size, size)
    return out[out[:, 0].any(axis=(1, 2))]


def shared_gradient(p: PreparedLevel, s: Estimate) -> float:
    """Return which share of the reference's squared gradient the moving volume shows too under an estimate.

    What only one of them shows is noise: about 1 where there is none, near 0 where it drowns the edges.
    """
    shape = p.level.reference.shape
    planes = min(_THIN, shape[0])
    count = int(np.clip(_SHARED_VOXELS // (planes * shape[1] * shape[2]), 6, max(6, shape[0] // planes)))
    starts = np.unique(np.linspace(0, shape[0] - planes, count).round().astype(int))
    slabs = [(int(a), int(a) + planes) for a in starts]
    own, common = np.sum(list(p.parallel_map(partial(_shared_in_slab, p, s), slabs)), axis=0)
    return float(common / own) if own > 0 else 1.0


def _shared_in_slab(p: PreparedLevel, s: Estimate, slab: tuple[int, int]) -> tuple[float, float]:
    moving, first = moving_slab(p, *slab, s.transform)
    fixed = reference_slab(p, *slab)[1:-1]
    size = p.level.moving.shape[0]
    residual = residual_slab(fixed, moving, s.transform, slab[0], first, size, s.gain, s.offset, 1)
    kept = p.mask(*slab)[1:-1, 1:-1, 1:-1] > 0
    own = common = 0.0
    for axis in range(3):
        up = tuple(slice(2, None) if k == axis else slice(1, -1) for k in range(3))
        down = tuple(slice(0, -2) if k == axis else slice(1, -1) for k in range(3))
        slope = (fixed[up] - fixed[down])[kept]
        product = slope * (slope - (residual[up] - residual[down])[kept])
        known = np.isfinite(product)
        own += float((slope[known] ** 2).sum(dtype=np.float64))
        common += float(product[known].sum(dtype=np.float64))
    return own, common


@njit(inner=True)
def _slope(volume: Array, z: int, y: int, x: int, axis: int) -> float:
    """Return the derivative along an axis, right to the sixth order: a shorter one gives a round edge corners."""
    a, b, c = (1 if axis == 0 else 0), (1 if axis == 1 else 0), (1 if axis == 2 else 0)
    near = float(volume[z + a, y + b, x + c]) - float(volume[z - a, y - b, x - c])
    far = float(volume[z + 2 * a, y + 2 * b, x + 2 * c]) - float(volume[z - 2 * a, y - 2 * b, x - 2 * c])
    last = float(volume[z + 3 * a, y + 3 * b, x + 3 * c]) - float(volume[z - 3 * a, y - 3 * b, x - 3 * c])
    return (45.0 * near - 9.0 * far + last) / 60.0


@njit(inner=True)
def _derivatives(gz: float, gy: float, gx: float, uz: float, uy: float, ux: float, out: Array) -> None:
    """Fill the derivatives by the parameters of a motion, from the gradient and the place about the middle."""
    if out.size == 12:
        for k in range(3):
            g = gz if k == 0 else gy if k == 1 else gx
            out[4 * k], out[4 * k + 1], out[4 * k + 2], out[4 * k + 3] = g * uz, g * uy, g * ux, g
        return
    out[0], out[1], out[2] = gz, gy, gx
    if out.size == 6:
        out[3], out[4], out[5] = gx * uy - gy * ux, gz * ux - gx * uz, gy * uz - gz * uy


@njit
def _sum_blocks(
    fixed: Array,
    moved: Array,
    mask: Array,
    z0: int,
    low: int,
    high: int,
    margin: int,
    center: Array,
    cut: float,
    out: Array,
) -> None:
    _, ny, nx = fixed.shape
    size = out.shape[4]
    one, other = empty(size, np.float64), empty(size, np.float64)
    first, second, third = np.int64(0), np.int64(1), np.int64(2)  # no constants, for each of which it were compiled
    for z in range(low, high):
        for y in range(margin, ny - margin):
            for x in range(margin, nx - margin):
                if mask[z, y, x] == 0:
                    continue
                r = float(fixed[z, y, x]) - float(moved[z, y, x])
                if not abs(r) < cut:
                    continue
                place = z + z0 - center[0], y - center[1], x - center[2]
                a = _slope(fixed, z, y, x, first), _slope(fixed, z, y, x, second), _slope(fixed, z, y, x, third)
                b = _slope(moved, z, y, x, first), _slope(moved, z, y, x, second), _slope(moved, z, y, x, third)
                if np.isnan(a[0] + a[1] + a[2] + b[0] + b[1] + b[2]):
                    continue
                t = 1.0 - (r / cut) * (r / cut)
                w = 0.25 * t * t
                _derivatives(a[0] + b[0], a[1] + b[1], a[2] + b[2], place[0], place[1], place[2], one)
                _derivatives(a[0] - b[0], a[1] - b[1], a[2] - b[2], place[0], place[1], place[2], other)
                block = out[y // 8, x // 8]
                for i in range(size):
                    for j in range(size):
                        block[0, i, j] += w * one[i] * one[j]
                        block[1, i, j] += w * other[i] * other[j]
                        block[2, i, j] += w * (one[i] * other[j] + other[i] * one[j])
