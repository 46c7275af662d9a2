"""Pyramid levels of two volumes made ready for matching: smoothed alike, by slabs, within a given memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xct_pipeline.device import Sliced, to_host
from xct_pipeline.registration import changes
from xct_pipeline.registration import transform as tf
from xct_pipeline.registration.bspline import filter_separable, gaussian_taps, knot_taps, mirror
from xct_pipeline.registration.masks import extreme_points, unchanged_mask
from xct_pipeline.registration.normal_equations import BINS, Sums, accumulate, add
from xct_pipeline.registration.rings import Rings, subtract
from xct_pipeline.registration.sampling import residual_slab

_SLAB_VOXELS = 1_000_000
_SLAB_PLANES = 16  # at least: every slab reads the smoothing's halo again
_ALIGNED = 8  # planes: slabs end where the cells that are summed do
_COARSEST = 48  # voxels: binned further until the longest side is no longer than twice this
_LEAST = 64  # samples
_READ_PLANES = 64  # of chunks
_PLANES = 2  # every so many are enough for averages over windows
_FLAT = 0.02  # of the spread, per voxel: a smaller gradient says nothing of the motion


class RegistrationError(ValueError):
    """A motion could not be found; the message says which figure is wrong."""


class Level(NamedTuple):
    """One pyramid level. Arrays need a shape and slices along z only, so that they may be larger than memory."""

    reference: Sliced
    """(z, y, x), 1/cm"""
    moving: Sliced
    """(z, y, x), 1/cm, of the reference's shape"""
    mask: Sliced | None
    """(z, y, x), not 0 where the reference is matched; None: the voxels that keep their grey value"""
    scale: float
    """voxel of this level in full-size voxels"""


class Estimate(NamedTuple):
    """Where Gauss-Newton stands, in voxels of the level at hand."""

    transform: tf.Matrix
    gain: float
    offset: float
    cut: float
    """Tukey's, 1/cm"""
    step: float
    """how far the last iteration on this level moved the mask"""
    iterations: int
    relaxation: float
    """of the last step: how much longer than Gauss-Newton's"""
    sums: Sums | None
    """of the last iteration"""


class PreparedLevel(NamedTuple):
    """A level with what all its iterations share."""

    level: Level
    mask: Callable[[int, int], NDArray[np.uint8]]
    reference: NDArray[np.float32] | None
    moving: NDArray[np.float32] | None
    points: tf.Points
    center: NDArray[np.float64]
    spread: float
    smoothing: float
    margin: int
    parallel_map: Callable[..., Iterable[Any]]
    expected: changes.Changes = changes.NONE
    """changes of grey value that do not count as residuals"""
    rings: Rings | None = None
    """what is subtracted from both volumes"""
    unsubtracted: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None
    """both volumes in memory as they were without rings subtracted"""


def with_coarser(levels: Iterable[Level]) -> Iterator[Level]:
    """Put levels binned from the first one before it until a few degrees are a few voxels at its border."""
    iterator = iter(levels)
    for first in iterator:
        binned = [first]
        while max(binned[-1].reference.shape) > 2 * _COARSEST and min(binned[-1].reference.shape) >= 32:
            binned.append(_binned(binned[-1]))
        yield from itertools.chain(reversed(binned), iterator)


def _binned(level: Level) -> Level:
    def mean(array: Sliced) -> NDArray[np.float32]:
        a = to_host(array[0 : array.shape[0]]).astype(np.float32)
        nz, ny, nx = (n // 2 for n in a.shape)
        return np.asarray(a[: 2 * nz, : 2 * ny, : 2 * nx].reshape(nz, 2, ny, 2, nx, 2).mean(axis=(1, 3, 5)))

    mask = None if level.mask is None else mean(level.mask) > 0.25
    return Level(mean(level.reference), mean(level.moving), mask, 2.0 * level.scale)


def prepare(level: Level, smoothing: float, memory: float, parallel_map: Callable[..., Iterable[Any]]) -> PreparedLevel:
    """Check a level and smooth it, in memory where `memory` bytes allow.

    RegistrationError for an empty mask or one without texture, ValueError for different shapes.
    """
    shape = tuple(level.reference.shape)
    if tuple(level.moving.shape) != shape:
        raise ValueError(
            f"the reference has {shape} voxels and the moving volume {tuple(level.moving.shape)}; "
            "volumes of a series must have one shape"
        )
    if level.mask is not None and tuple(level.mask.shape) != shape:
        raise ValueError(f"the mask has {tuple(level.mask.shape)} voxels, the volumes {shape}")
    if min(shape) < 8:
        raise RegistrationError(f"a level of {shape} voxels is too thin to register on; leave that level out")

    def read(z0: int, z1: int) -> NDArray[np.uint8]:
        if level.mask is None:
            return np.ones((z1 - z0, *shape[1:]), np.uint8)
        return np.asarray(to_host(level.mask[z0:z1]) != 0, dtype=np.uint8)

    in_memory = 8.0 * np.prod(shape) <= memory
    mask = _worked_out(read, shape, parallel_map) if in_memory else read
    points = _mask_ends(mask, shape)
    reach = len(gaussian_taps(smoothing))
    margin = max(1, min(reach + 1, min(shape) // 12))
    reference = moving = None
    if in_memory:
        values = _read_whole(level.reference, parallel_map)
        spread = _spread(values, mask)
        reference = _smoothed_whole(values, smoothing, parallel_map, 1)
        reference[0], reference[-1] = reference[2], reference[-3]
        values = _read_whole(level.moving, parallel_map)
        moving = _smoothed_whole(values, smoothing, parallel_map, 0)
    else:
        spread = _spread(level.reference, mask)
    return PreparedLevel(
        level=level,
        mask=mask,
        reference=reference,
        moving=moving,
        points=points,
        center=(points.min(axis=0) + points.max(axis=0)) / 2.0,
        spread=spread,
        smoothing=smoothing,
        margin=margin,
        parallel_map=parallel_map,
    )


def without_rings(p: PreparedLevel, rings: Rings | None) -> PreparedLevel:
    """Return a level from whose volumes these rings, and no others, are subtracted."""
    if p.reference is None or p.moving is None:
        return p._replace(rings=rings)
    raw = p.unsubtracted or (p.reference, p.moving)
    if rings is None:
        return p._replace(reference=raw[0], moving=raw[1], rings=None, unsubtracted=None)
    reference, moving = (np.empty_like(volume) for volume in raw)

    def fill(slab: tuple[int, int]) -> None:
        for out, volume, profile, extra in ((reference, raw[0], rings.reference, 1), (moving, raw[1], rings.moving, 0)):
            z0, z1 = slab[0] + extra, slab[1] + extra
            out[z0:z1] = volume[z0:z1]
            subtract(out[z0:z1], slab[0], profile, *rings.axis)

    for _ in p.parallel_map(fill, slabs_of(p.level.reference.shape)):
        pass
    reference[0], reference[-1] = reference[2], reference[-3]
    return p._replace(reference=reference, moving=moving, rings=rings, unsubtracted=raw)


def restrict(p: PreparedLevel, unchanged: NDArray[np.bool_], scale: float) -> PreparedLevel:
    """Take voxels that changed, found on a level of `scale` full-size voxels, out of a level's mask.

    Distances go on being measured over the whole mask. Where less than half of it would be left, the estimate that says
    so is not to be believed, and the level is returned as it is.
    """
    shape = tuple(p.level.reference.shape)

    def mask(z0: int, z1: int) -> NDArray[np.uint8]:
        return p.mask(z0, z1) * _enlarged(unchanged, scale / p.level.scale, z0, z1, shape)

    kept = mask if p.reference is None else _worked_out(mask, shape, p.parallel_map)
    left, all_of_it = (sum(np.count_nonzero(m(*slab)) for slab in slabs_of(shape)) for m in (kept, p.mask))
    if 2 * left < all_of_it:
        return p
    ends = _mask_ends(kept, shape)
    return p._replace(mask=kept, center=(ends.min(axis=0) + ends.max(axis=0)) / 2.0)


def _worked_out(
    mask: Callable[[int, int], NDArray[np.uint8]], shape: tuple[int, ...], parallel_map: Callable[..., Iterable[Any]]
) -> Callable[[int, int], NDArray[np.uint8]]:
    """Return a mask whose planes are worked out once, for every iteration takes them."""
    whole = np.empty(shape, np.uint8)

    def fill(slab: tuple[int, int]) -> None:
        whole[slab[0] : slab[1]] = mask(*slab)

    for _ in parallel_map(fill, slabs_of(shape)):
        pass
    return lambda z0, z1: whole[z0:z1]


def _mask_ends(mask: Callable[[int, int], NDArray[np.uint8]], shape: tuple[int, ...]) -> tf.Points:
    ends = np.concatenate([extreme_points(mask(a, b) > 0) + np.array([a, 0, 0]) for a, b in slabs_of(shape)])
    if not len(ends):
        raise RegistrationError(f"the mask is empty: none of {int(np.prod(shape))} voxels is in it")
    return ends


def slabs_of(shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """Return first and last + 1 plane of the slabs that volumes of a shape are worked on in."""
    thickness = max(_SLAB_PLANES, _SLAB_VOXELS // (shape[1] * shape[2]))
    thickness += -thickness % _ALIGNED
    return [(a, min(a + thickness, shape[0])) for a in range(0, shape[0], thickness)]


def _enlarged(mask: NDArray[np.bool_], ratio: float, z0: int, z1: int, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Look planes z0:z1 of a level up in a mask made on a level `ratio` times coarser."""
    index = [
        np.minimum(((np.arange(a, b) + 0.5) / ratio).astype(np.int64), n - 1)
        for (a, b), n in zip([(z0, z1), (0, shape[1]), (0, shape[2])], mask.shape, strict=True)
    ]
    return np.asarray(mask[np.ix_(*index)], dtype=np.bool_)


def _spread(reference: Sliced, mask: Callable[[int, int], NDArray[np.uint8]]) -> float:
    """Return the range of grey values in the mask, 1st to 99th percentile, from at most 64 planes."""
    nz = reference.shape[0]
    planes = np.unique(np.linspace(0, nz - 1, min(nz, 64)).round().astype(int))
    found = []
    for z0, z1 in slabs_of(reference.shape):  # a plane that is read by itself costs as much as its whole chunk
        chosen = planes[(planes >= z0) & (planes < z1)] - z0
        if len(chosen):
            found.append(to_host(reference[z0:z1])[chosen][mask(z0, z1)[chosen] > 0])
    values = np.concatenate(found)
    values = values[np.isfinite(values)]
    spread = float(np.subtract(*np.percentile(values, [99, 1]))) if values.size else 0.0
    if not spread > 0.0:
        middle = float(values.mean()) if values.size else float("nan")
        raise RegistrationError(f"the mask has no texture: all its grey values are {middle:.4g} /cm")
    return spread


def _smoothed(array: Sliced, z0: int, z1: int, smoothing: float, *, sampled: bool) -> NDArray[np.float32]:
    """Smooth planes z0:z1 of a volume that is read by slabs.

    `sampled` adds the smoothing of a cubic B-spline at its knots, which the moving volume gets from its interpolation.
    """
    taps = knot_taps(smoothing) if sampled else gaussian_taps(smoothing)
    reach = len(taps) - 1
    nz, ny, nx = array.shape
    z = mirror(np.arange(z0 - reach, z1 + reach, dtype=np.int64), nz)
    block = np.asarray(to_host(array[int(z.min()) : int(z.max()) + 1]), np.float32)
    y, x = (mirror(np.arange(-reach, n + reach, dtype=np.int64), n) for n in (ny, nx))
    return np.asarray(filter_separable(block, taps, [z - z.min(), y, x]))


def _read_whole(array: Sliced, parallel_map: Callable[..., Iterable[Any]]) -> NDArray[np.float32]:
    """Return a volume in memory: slabs that overlap would be decoded more than once."""
    whole = np.empty(array.shape, np.float32)

    def fill(first: int) -> None:
        last = min(first + _READ_PLANES, len(whole))
        whole[first:last] = to_host(array[first:last])

    for _ in parallel_map(fill, range(0, len(whole), _READ_PLANES)):
        pass
    return whole


def _smoothed_whole(
    values: NDArray[np.float32], smoothing: float, parallel_map: Callable[..., Iterable[Any]], extra: int
) -> NDArray[np.float32]:
    """Return a volume smoothed, with room for so many planes more at either end: 1 for a reference, 0 for others."""
    out = np.empty((values.shape[0] + 2 * extra, *values.shape[1:]), np.float32)

    def fill(slab: tuple[int, int]) -> None:
        z0, z1 = slab
        out[z0 + extra : z1 + extra] = _smoothed(values, z0, z1, smoothing, sampled=extra > 0)

    for _ in parallel_map(fill, slabs_of(values.shape)):
        pass
    return out


def reference_slab(p: PreparedLevel, z0: int, z1: int) -> NDArray[np.float32]:
    """Return planes z0:z1 of the smoothed reference, with one more on either side."""
    if p.reference is not None:
        return p.reference[z0 : z1 + 2]
    nz = p.level.reference.shape[0]
    inner = _smoothed(p.level.reference, max(z0 - 1, 0), min(z1 + 1, nz), p.smoothing, sampled=True)
    first = inner[:0] if z0 > 0 else inner[1:2]
    last = inner[:0] if z1 < nz else inner[-2:-1]
    slab = np.concatenate([first, inner, last])
    if p.rings is not None:
        subtract(slab, z0 - 1, p.rings.reference, *p.rings.axis)
    return slab


def moving_slab(p: PreparedLevel, z0: int, z1: int, transform: tf.Matrix) -> tuple[NDArray[np.float32], int]:
    """Return the smoothed planes of the moving volume that a slab of the reference meets, and the first's index."""
    if p.moving is not None:
        return p.moving, 0
    nz, ny, nx = p.level.moving.shape
    corners = np.array(list(itertools.product((z0, z1 - 1), (0, ny - 1), (0, nx - 1))), np.float64)
    z = tf.apply(transform, corners)[:, 0]
    low = int(np.clip(np.floor(z.min()) - 1, 0, nz - 1))
    high = int(np.clip(np.floor(z.max()) + 3, low + 1, nz))
    slab = _smoothed(p.level.moving, low, high, p.smoothing, sampled=False)
    if p.rings is not None:
        subtract(slab, low, p.rings.moving, *p.rings.axis)
    return slab, low


def sum_samples(p: PreparedLevel, s: Estimate) -> Sums:
    """Return the sums of one pass over a level."""

    def one(slab: tuple[int, int]) -> NDArray[np.float64]:
        moving, first = moving_slab(p, *slab, s.transform)
        return accumulate(
            reference_slab(p, *slab),
            p.mask(*slab),
            moving,
            s.transform,
            z_start=slab[0],
            moving_start=first,
            moving_size=p.level.moving.shape[0],
            margin=p.margin,
            center=p.center,
            gain=s.gain,
            offset=s.offset,
            cut=s.cut,
            bin_width=2.0 * p.spread / BINS,
            expected=p.expected,
        )

    sums = add(list(p.parallel_map(one, slabs_of(p.level.reference.shape))))
    n_mask, n_used = sums.moments[:2]
    if n_mask < _LEAST:
        raise RegistrationError(
            f"the mask holds {int(n_mask)} voxels away from the volume's border, at least {_LEAST} are needed"
        )
    if n_used < 0.1 * n_mask or n_used < _LEAST:
        raise RegistrationError(
            f"the volumes overlap on {100 * n_used / n_mask:.0f} % of the mask; "
            f"at least 10 % (and {_LEAST} voxels) are needed"
        )
    return sums


def aligned_slab(p: PreparedLevel, s: Estimate, z0: int, z1: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return planes z0:z1 of the smoothed reference, and of the moving volume in its frame and on its grey scale."""
    moving, first = moving_slab(p, z0, z1, s.transform)
    fixed = reference_slab(p, z0, z1)[1:-1]
    size = p.level.moving.shape[0]
    return fixed, fixed - residual_slab(fixed, moving, s.transform, z0, first, size, s.gain, s.offset, 1)


def expect_changes(p: PreparedLevel, s: Estimate) -> PreparedLevel:
    """Take smooth changes of grey value under an estimate out of a level's residuals."""

    def one(slab: tuple[int, int]) -> NDArray[np.float64]:
        moving, first = moving_slab(p, *slab, s.transform)
        reference = reference_slab(p, *slab)
        size = p.level.moving.shape[0]
        residual = residual_slab(reference[1:-1], moving, s.transform, slab[0], first, size, s.gain, s.offset, _PLANES)
        return np.asarray(changes.sum_flat(reference, residual, _FLAT * p.spread))

    sums = np.concatenate(list(p.parallel_map(one, slabs_of(p.level.reference.shape))))
    return p._replace(expected=changes.lines(sums))


def unchanged_voxels(p: PreparedLevel, s: Estimate) -> NDArray[np.bool_]:
    """Return the voxels of this level that keep their grey value under an estimate, to be matched on the next level.

    The residuals' size alone cannot tell: an edge that is still displaced differs by as much as a change does.
    """

    def one(slab: tuple[int, int]) -> tuple[Any, Any]:
        moving, first = moving_slab(p, *slab, s.transform)
        reference = reference_slab(p, *slab)
        inner = reference[1:-1]
        differences = [0.5 * (reference[2:] - reference[:-2]), np.gradient(inner, axis=1), np.gradient(inner, axis=2)]
        gradient = np.sqrt(sum(d**2 for d in differences))
        size = p.level.moving.shape[0]
        return residual_slab(inner, moving, s.transform, slab[0], first, size, s.gain, s.offset, 1), gradient

    parts = list(p.parallel_map(one, slabs_of(p.level.reference.shape)))
    residual, gradient = (np.concatenate([part[i] for part in parts]) for i in range(2))
    gradient = np.maximum(gradient, np.float32(_FLAT * p.spread))
    return np.asarray(unchanged_mask(residual, gradient), dtype=np.bool_)
