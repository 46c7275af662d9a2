"""Rings of a level's two volumes: told, estimated, and estimated again once a motion is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray

from xct_pipeline.registration import rings as rg
from xct_pipeline.registration import transform as tf
from xct_pipeline.registration.levels import (
    Estimate,
    PreparedLevel,
    moving_slab,
    reference_slab,
    slabs_of,
    without_rings,
)
from xct_pipeline.registration.sampling import residual_slab

_ROUNDS = 5  # at most, of rings and motion in turn
_STILL = 0.003  # full-size voxels: rings that move the match by less are found
ARCS = 8  # sectors of rings that do not go all the way round, as those of a scan over half a turn
_WINDOW = 17  # radii: what is narrower is told from the sample by its width
_ITERATIONS = 12
_DAMPING = 2.0  # voxels that agree on no ring, assumed at every knot beside those found
_STEADY = 20.0  # the same for what differs between the scans: rings that drift do so by a share of them
_SAMPLES = 1_000_000  # rings are found from so many voxels; of a larger level every so manyth row is taken
_LOOKED_AT = 500_000  # voxels that are looked at to tell whether there are rings
_TOLD = (4.5, 4.0)  # standard deviations, in the volumes and in their residual; without rings up to 3.0 is seen
_FEW_BLOCKS = 0.5  # of the square root of their number, which is the most that they can show
_BLOCK = 8  # rows and radii; half as many of a profile that has no more than
_LARGE = 6000  # knots
_LEAST_BLOCKS = 12
_WEAK = 0.002  # of the spread: rings ten times as strong move a match by some tenths of a voxel, by their power
_CENTER = 8  # radii: nearer to the axis a sector has too few voxels
_LEFT = 0.1  # of the power of the rings: more of it, by sectors, says that they are arcs
_OPPOSITE = 0.5  # of what sectors a quarter of a turn apart have in common, if opposite ones have less, are arcs
_HELD_RINGS = 2.0  # measured: 1.1 to 1.2 on bone, cement and fibres, 2.4 on a drawn object with noise beside rings
_HELD_ARCS = 3.0  # measured: 1.5 to 3.3
_CUT = 2.0  # times Tukey's: what is left of rings is not to be taken for a change


def axis_of_level(axis: tuple[float, float], scale: float) -> tuple[float, float]:
    """Return the place (y, x) of the axis in voxels `scale` times as large."""
    y, x = ((c - (scale - 1.0) / 2.0) / scale for c in axis)
    return y, x


def begin(p: PreparedLevel, known: int, axis: tuple[float, float] | None) -> PreparedLevel:
    """Return a level without its rings, where it shows any or a coarser level did (in so many sectors)."""
    if axis is None:
        return p
    count = max(known, shown(p, axis))
    return find(p, axis, count) if count else p


def unseen(p: PreparedLevel) -> float:
    """Return how many times as large as the jackknife says the error of a match is taken to be.

    It holds the profiles of rings fixed, whose own noise moves the match too, and does not end at the parts it counts.
    """
    count = sectors(p)
    return 1.0 if not count else _HELD_RINGS if count == 1 else _HELD_ARCS


def sectors(p: PreparedLevel) -> int:
    """Return in how many sectors rings are subtracted from a level; 0 where none are."""
    return 0 if p.rings is None else p.rings.moving.shape[0]


def settle(
    p: PreparedLevel, state: Estimate, axis: tuple[float, float] | None, run: Callable[..., Estimate]
) -> tuple[PreparedLevel, Estimate, float]:
    """Find rings and motion in turn, where the residual says that there are rings; in sectors where they are arcs.

    The last of the values is by how many full-size voxels the last turn moved what is matched: the rings' own error.
    """
    moved = 0.0
    if axis is None:
        return p, state, moved
    while p.rings is not None or left(p, state, axis):
        p = p if p.rings is not None else find(p, axis, 1)
        for _ in range(_ROUNDS):
            before = state.transform
            p = refine(p, state)
            state = run(p, state)
            moved = p.level.scale * tf.largest_distance(before, state.transform, p.points)
            if moved < _STILL:
                break
        if sectors(p) == ARCS or not left(p, state, axis):
            break
        p = in_sectors(p)
    return p, state, moved


def shown(p: PreparedLevel, axis: tuple[float, float]) -> int:
    """Return in how many sectors the volumes show rings about an axis (y, x) in full-size voxels: 0, 1 or `ARCS`."""
    here = axis_of_level(axis, p.level.scale)
    every = max(1, int(2 * np.prod(p.level.reference.shape) // _LOOKED_AT))
    sums = _azimuth(p, here, False, every) + _azimuth(p, here, True, every)
    found = _coherence(sums)
    if not found.told(_TOLD[0], p.spread):
        return 0
    return 1 if _coherence(sums, apart=ARCS // 2).power > _OPPOSITE * found.power else ARCS


def left(p: PreparedLevel, s: Estimate, axis: tuple[float, float]) -> bool:
    """Return whether the residual under an estimate shows rings, beyond those that are subtracted already."""
    here = axis_of_level(axis, p.level.scale)
    depth = p.level.moving.shape[0]
    every = max(1, int(np.prod(p.level.reference.shape) // _LOOKED_AT))

    def one(slab: tuple[int, int]) -> NDArray[np.float64]:
        moving, first = moving_slab(p, *slab, s.transform)
        fixed = reference_slab(p, *slab)[1:-1]
        r = residual_slab(fixed, moving, s.transform, slab[0], first, depth, s.gain, s.offset, every)
        r[np.abs(r) > _CUT * s.cut] = np.nan
        return _sums_of(r[::every], p.mask(*slab)[::every], here, _radii(p, here))

    sums = np.concatenate(list(p.parallel_map(one, slabs_of(p.level.reference.shape))), axis=1)
    found = _coherence(sums)
    known = 0.0 if p.rings is None else float(np.square(p.rings.moving).mean())
    return found.told(_TOLD[1], p.spread) and found.power > _LEFT * known


def confirmed(p: PreparedLevel, s: Estimate, axis: tuple[float, float]) -> int:
    """Return in how many sectors a level's rings lie that the residual of its volumes shows: 0 where it shows none."""
    if p.rings is None:
        return 0
    return sectors(p) if left(without_rings(p, None), s, axis) else 0


def find(p: PreparedLevel, axis: tuple[float, float], count: int) -> PreparedLevel:
    """Return the level without what is narrow in both volumes' mean over azimuth, which holds some of the sample."""
    here = axis_of_level(axis, p.level.scale)
    sums = _azimuth(p, here, False, 1) + _azimuth(p, here, True, 1)
    sums = sums.sum(axis=0, keepdims=True) if count == 1 else sums + np.roll(sums, 1, axis=0)
    return _less(p, rg.narrow(rg.fit_azimuth(sums), _WINDOW), here)


def in_sectors(p: PreparedLevel) -> PreparedLevel:
    """Return the level with its rings free to differ between sectors of azimuth."""
    assert p.rings is not None
    reference, moving = (np.repeat(profile, ARCS, axis=0) for profile in p.rings[:2])
    return without_rings(p, rg.Rings(reference, moving, p.rings.axis))


def refine(p: PreparedLevel, s: Estimate) -> PreparedLevel:
    """Return the level with its rings found from the residual under an estimate.

    Motion, gain and offset are unknown beside them: a face along the rows that is not yet matched differs by the same
    all around the axis as a ring does, and would be taken for one.
    """
    assert p.rings is not None
    shape = p.level.reference.shape
    step = max(1, int(np.prod(shape) // _SAMPLES))
    depth = p.level.moving.shape[0]

    def sample(slab: tuple[int, int]) -> tuple[int, NDArray[np.float32]]:
        moving, first = moving_slab(p, *slab, s.transform)
        whole = reference_slab(p, *slab)
        fixed = whole[1:-1]
        r = residual_slab(fixed, moving, s.transform, slab[0], first, depth, s.gain, s.offset, 1)[:, ::step]
        weight = np.square(np.clip(1.0 - np.square(r / (_CUT * s.cut)), 0.0, None))
        weight[~np.isfinite(r) | (p.mask(*slab)[:, ::step] == 0)] = 0.0
        slopes = 0.5 * (whole[2:] - whole[:-2]), np.gradient(fixed, axis=1), np.gradient(fixed, axis=2)
        out = np.stack([r, weight, *(g[:, ::step] for g in slopes), fixed[:, ::step]])
        out[1][~np.isfinite(out).all(axis=0)] = 0.0
        return slab[0], np.nan_to_num(out)

    parts = list(p.parallel_map(sample, slabs_of(shape)))
    common, drift = _Residual(p, s, parts, step).solve()
    rings = p.rings
    reference = rings.reference + _at_knots(common + drift)
    return without_rings(
        p, rg.Rings(reference.astype(np.float32), (rings.moving + common - drift).astype(np.float32), rings.axis)
    )


class _Coherence(NamedTuple):
    """What sectors of azimuth a quarter of a turn apart have in common."""

    power: float
    """mean square of it, (1/cm)^2"""
    score: float
    """the sum of its roots (signed) over blocks of the profile, in standard deviations of that sum"""
    blocks: int

    def told(self, limit: float, spread: float) -> bool:
        """Return whether that is more than chance and, of grey values so far apart, enough to move a match."""
        enough = self.blocks >= _LEAST_BLOCKS and self.power > (_WEAK * spread) ** 2
        return bool(enough and self.score > min(limit, _FEW_BLOCKS * np.sqrt(self.blocks)))


def _coherence(sums: NDArray[np.float64], apart: int = ARCS // 4) -> _Coherence:
    """Compare what is narrow in sectors a quarter of a turn apart: a ring is in both, texture is not."""
    profile = rg.narrow(rg.fit_azimuth(sums), _WINDOW)
    profile[sums[..., 1] < 4.0] = 0.0
    profile[..., :_CENTER] = 0.0
    product = (profile * np.roll(profile, apart, axis=0)).mean(axis=0)
    size = _BLOCK if product.size > _LARGE else _BLOCK // 2
    rows, radii = (range(0, n, size) for n in product.shape)
    blocks = np.add.reduceat(np.add.reduceat(product, rows, axis=0), radii, axis=1).ravel()
    blocks = blocks[blocks != 0.0]
    roots = np.sign(blocks) * np.sqrt(np.abs(blocks))  # a few strong rings are not to be their own scatter
    scatter = float(np.sqrt(np.square(roots).sum()))
    return _Coherence(float(product.mean()), float(roots.sum()) / max(scatter, 1e-300), len(blocks))


def _less(p: PreparedLevel, profile: NDArray[np.floating], axis: tuple[float, float]) -> PreparedLevel:
    return without_rings(p, rg.Rings(_at_knots(profile).astype(np.float32), profile.astype(np.float32), axis))


def _at_knots(profile: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the profile as the reference shows it, which is smoothed by a spline's knots beside the moving volume."""
    out = np.asarray(profile, np.float64)
    for axis in (-2, -1):
        out = scipy.ndimage.convolve1d(out, [1 / 6, 4 / 6, 1 / 6], axis=axis, mode="mirror")
    return out


def _radii(p: PreparedLevel, axis: tuple[float, float]) -> int:
    ny, nx = p.level.reference.shape[1:]
    return int(np.ceil(np.hypot(max(axis[0], ny - 1 - axis[0]), max(axis[1], nx - 1 - axis[1])))) + 2


def _sums_of(
    volume: NDArray[np.float32], mask: NDArray[np.uint8], axis: tuple[float, float], radii: int
) -> NDArray[np.float64]:
    return np.asarray(rg.sum_azimuth(np.ascontiguousarray(volume), np.ascontiguousarray(mask), *axis, ARCS, radii))


def _azimuth(p: PreparedLevel, axis: tuple[float, float], moving: bool, every: int) -> NDArray[np.float64]:
    """Return the sums of `rings.sum_azimuth` by sectors, of every so manyth plane of one volume."""

    def one(slab: tuple[int, int]) -> NDArray[np.float64]:
        if moving:
            whole, first = moving_slab(p, *slab, np.eye(3, 4))
            volume = whole[slab[0] - first : slab[1] - first : every]
        else:
            volume = reference_slab(p, *slab)[1:-1:every]
        return _sums_of(volume, np.ones(volume.shape, np.uint8), axis, _radii(p, axis))

    return np.concatenate(list(p.parallel_map(one, slabs_of(p.level.reference.shape))), axis=1)


class _Residual:
    """The residual of a level as a sum of rings, a small motion, gain and offset: least squares by their gradients.

    Unknown are the profile of the moving volume (the reference's is `_at_knots` of it) and the 8 of `rings.project`.
    """

    def __init__(
        self, p: PreparedLevel, s: Estimate, parts: Sequence[tuple[int, NDArray[np.float32]]], step: int
    ) -> None:
        assert p.rings is not None
        self.p, self.s, self.parts, self.step = p, s, parts, step
        self.axis, self.shape = p.rings.axis, p.rings.moving.shape
        self.size = int(np.prod(self.shape))

    def solve(self) -> NDArray[np.float64]:
        """Return common part and drift, by conjugate gradients that end early: what no motion tells apart stays 0."""
        unknown = 2 * self.size
        residual, norms, hessian = self._adjoint(np.zeros(unknown + 8), data=1.0, first=True)
        damping = np.concatenate([np.where(norms > 0.0, lam, 0.0) for lam in (_DAMPING, _STEADY)] + [np.zeros(8)])
        diagonal = np.where(damping[:unknown] > 0.0, np.tile(norms, 2) + damping[:unknown], np.inf)
        block = np.linalg.pinv(hessian, rcond=1e-9, hermitian=True)

        def precondition(v: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.concatenate([v[:unknown] / diagonal, block @ v[unknown:]])

        found = np.zeros(unknown + 8)
        direction = precondition(residual)
        measure = float(residual @ direction)
        for _ in range(_ITERATIONS):
            if measure <= 0.0:
                break
            image = damping * direction - self._adjoint(direction)[0]
            length = measure / float(direction @ image)
            found += length * direction
            residual = residual - length * image
            conditioned = precondition(residual)
            before, measure = measure, float(residual @ conditioned)
            direction = conditioned + measure / before * direction
        return found[:unknown].reshape(2, *self.shape)

    def _adjoint(
        self, unknowns: NDArray[np.float64], data: float = 0.0, *, first: bool = False
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Take ``data * residual - model(unknowns)`` back onto the unknowns; on the `first` the diagonals as well."""
        (common, drift), theta = unknowns[:-8].reshape(2, *self.shape), unknowns[-8:]
        one, other = _at_knots(common + drift), common - drift

        def group(k: int) -> tuple[NDArray[np.float64], ...]:
            back, back_theta = np.zeros((2, *self.shape)), np.zeros(8)
            norms = np.zeros((2, *self.shape) if first else (0, 0, 0, 0))
            hessian = np.zeros((8, 8) if first else (0, 0))
            for z_start, samples in self.parts[k::_GROUPS]:
                rg.project(
                    samples, data, one, other, theta, self.s.transform, self.p.center, self.s.gain, *self.axis,
                    z_start, self.step, back[0], back[1], back_theta, norms, hessian,
                )  # fmt: skip
            return back, back_theta, norms, hessian

        sums = [sum(parts) for parts in zip(*self.p.parallel_map(group, range(_GROUPS)), strict=True)]
        back = _at_knots(sums[0][0]), sums[0][1]
        both = np.concatenate([(back[0] + back[1]).ravel(), (back[0] - back[1]).ravel(), sums[1]])
        return both, sums[2].sum(axis=0).ravel(), sums[3]


_GROUPS = 8  # of slabs, whose sums are held at the same time
