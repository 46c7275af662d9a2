"""How far columns of the detector are off, from arcs of rings in a difference where nothing changes.

The noise of two arcs of one ring that lie apart is independent, what a column leaves in them is the same. So products
of sums over such arcs measure rings alone, whatever other noise there is. Products of arcs in the same row and in rows
apart, and at equal radii and at radii that differ, are added up; the pattern along the radius that a single column
leaves (`rings.radial_covariance`) is then fitted to them beside a constant, which holds what is smooth along the radius
(a grey scale that is off, a halo) and is no ring.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from xct_pipeline.compiled import njit, zeros
from xct_pipeline.device import Array
from xct_pipeline.variation.rings import radial_covariance

DIRECTIONS = 16  # sectors of azimuth that voxels are counted in
ARC = 8.0  # voxels along the shortest arcs of a box
NEAREST = 8  # radii that are left out: arcs nearer to the axis are too short
ROWS, RADII = 4, 8  # differences between the rows, and between the radii, of two arcs
GROUPS = 16  # of rows, whose scatter is the error
GROUP_ROWS = 4
NEAR_TAPS = 6  # voxels, beyond which what an interpolation has in common is nothing
DIGITS = 9  # of a share: what else there is depends on the threads of BLAS, and results are kept by their inputs
SURE = 3.0  # standard errors, from which rings are believed in


@dataclass(frozen=True)
class Frame:
    """Where the rings of a scan lie in a registered frame.

    Attributes
    ----------
    transform : tuple of float
        Twelve: voxels (z, y, x) of the frame to (row, y, x) of the scan, about its axis and turned so that its angles
        begin at 0.
    half : bool
        Of a scan over half a turn; else rings go all the way round.
    kept : float
        Share of a column's variance that resampling left in what is measured, see `kept_share`.
    """

    transform: tuple[float, ...]
    half: bool
    kept: float = 1.0

    @property
    def matrix(self) -> Array:
        """The transform, 3 x 4."""
        return np.array(self.transform).reshape(3, 4)

    def from_block(self, origin: tuple[int, ...]) -> Array:
        """Return the transform of places in a block whose first voxel is given."""
        matrix = self.matrix
        return np.column_stack([matrix[:, :3], matrix[:, :3] @ np.array(origin) + matrix[:, 3]])


@dataclass(frozen=True)
class ArcProducts:
    """Sums over pairs of arcs, weighted by the inverse of their radius.

    Attributes
    ----------
    sums : numpy.ndarray
        (groups, rows apart, radii apart, 3): products of the arcs' sums, of their numbers of voxels, and the latter
        over the radius.
    counts : numpy.ndarray
        (directions, radii) of voxels.
    seen : numpy.ndarray
        (radii apart, 2): what rings about another axis leave in the products, and rings about this one, for numbers of
        voxels and a column's variance of 1.
    """

    sums: Array
    counts: Array
    seen: Array


def arc_products(
    values: Array,
    mask: Array,
    origin: tuple[int, ...],
    frame: Frame,
    radii: int,
    other: tuple[float, float] | None = None,
) -> ArcProducts:
    """Sum products of arcs of a box.

    Parameters
    ----------
    values : array, (z, y, x)
        Difference of two scans, 1/cm, its mean taken away; 0 outside the mask.
    mask : array of bool
    origin : (z, y, x)
        Of the box in the registered frame.
    frame : Frame
    radii : int
        Length of the counts; voxels further out are left out.
    other : (y, x), optional
        Where another axis lies from this one, voxels.
    """
    matrix = frame.from_block(origin)
    ends = np.array([[z, y, x, 1] for z in (0, mask.shape[0]) for y in (0, mask.shape[1]) for x in (0, mask.shape[2])])
    rows, y, x = matrix @ ends.T
    first, number = math.floor(rows.min()), math.ceil(rows.max()) - math.floor(rows.min()) + 2
    farthest = min(math.ceil(np.hypot(y, x).max()) + 1, radii)
    nearest = max(math.floor(_nearest(y, x)), NEAREST)
    found = no_products(radii)
    if farthest <= nearest + 1:
        return found
    sectors = DIRECTIONS * max(1, round(2 * math.pi * nearest / ARC / DIRECTIONS))
    used = np.zeros(sectors, np.bool_)
    _sectors_used(mask.view(np.uint8), matrix, used)
    kept = np.flatnonzero(used)
    column = np.full(sectors, -1, np.int64)
    column[kept] = np.arange(len(kept))
    arcs = np.zeros((number, farthest - nearest, len(kept), 2), np.float32)
    _add_arcs(values, mask.view(np.uint8), matrix, first, nearest, column, arcs, found.counts)
    _multiply(arcs, kept, sectors, frame.half, first, float(nearest), found.sums)
    if other is not None:
        toward = frame.matrix[1:, 1:3] @ np.array(other)
        found.seen[:] = _seen(arcs[..., 1].sum(axis=(0, 1), dtype=np.float64), kept, sectors, frame.half, toward)
    return found


def no_products(radii: int) -> ArcProducts:
    """Return the sums over no arcs."""
    return ArcProducts(np.zeros((GROUPS, ROWS, RADII, 3)), np.zeros((DIRECTIONS, radii)), np.zeros((RADII, 2)))


def _seen(counts: Array, sectors: Array, number: int, half: bool, toward: Array) -> Array:
    """Return `ArcProducts.seen` of sectors with so many voxels; `toward` is the place (y, x) of the other axis.

    Rings about the two axes meet at an angle: how much their radii differ depends on the azimuth, and only arcs where
    they differ by the same have the other's rings in common.
    """
    azimuth = np.array([azimuth_of((s + 0.5) / number) for s in sectors])
    away = np.sin(azimuth) * toward[0] + np.cos(azimuth) * toward[1]
    distance = np.abs(np.subtract.outer(sectors, sectors))
    apart = np.minimum(distance, number - distance) if not half else distance
    pairs = np.multiply.outer(counts, counts) * (apart > 1)
    if half:
        side = sectors // (number // 2)
        pairs = pairs * np.equal.outer(side, side)
    at, covariance = radial_covariance(half, binned=True)
    lags = np.arange(RADII)[:, None, None] + np.subtract.outer(away, away)
    seen = np.interp(np.abs(lags), at, covariance, right=0.0)
    return np.stack(
        [(pairs * seen).sum(axis=(1, 2)), pairs.sum() * np.interp(np.arange(RADII), at, covariance)], axis=1
    )


def _nearest(y: Array, x: Array) -> float:
    """Return the least distance from the axis of a box whose corners are given; 0 where the axis may lie in it."""
    if y.min() <= 0 <= y.max() and x.min() <= 0 <= x.max():
        return 0.0
    return math.hypot(max(y.min(), -y.max(), 0.0), max(x.min(), -x.max(), 0.0))


def azimuth_of(turn: float) -> float:
    """Return the azimuth, radian, whose measure by `_sector` is `turn` of a whole one."""
    t = 4 * turn
    x, y = {0: (1 - t, t), 1: (1 - t, 2 - t), 2: (t - 3, 2 - t), 3: (t - 3, t - 4)}[int(t) % 4]
    return math.atan2(y, x)


@njit(inline="always")
def _sector(y: float, x: float, sectors: int) -> int:
    size = abs(x) + abs(y)
    t = y / size if size > 0.0 else 0.0  # runs as the azimuth does, and equals it at its eighths
    turn = t if x >= 0.0 else 2.0 - t
    turn = (turn if turn >= 0.0 else turn + 4.0) * 0.25 * sectors
    return min(int(turn), sectors - 1)


@njit
def _sectors_used(mask: Array, m: Array, used: Array) -> None:
    for z in range(0, mask.shape[0], max(mask.shape[0] - 1, 1)):
        for j in range(mask.shape[1]):
            for i in range(mask.shape[2]):
                y = m[1, 0] * z + m[1, 1] * j + m[1, 2] * i + m[1, 3]
                x = m[2, 0] * z + m[2, 1] * j + m[2, 2] * i + m[2, 3]
                used[_sector(y, x, used.shape[0])] = True


@njit
def _add_arcs(
    values: Array, mask: Array, m: Array, first: int, nearest: int, column: Array, arcs: Array, counts: Array
) -> None:
    """Add up voxels and their number by row, radius and sector."""
    sectors = column.shape[0]
    share = sectors // counts.shape[0]
    for z in range(mask.shape[0]):
        for j in range(mask.shape[1]):
            for i in range(mask.shape[2]):
                if mask[z, j, i] == 0:
                    continue
                y = m[1, 0] * z + m[1, 1] * j + m[1, 2] * i + m[1, 3]
                x = m[2, 0] * z + m[2, 1] * j + m[2, 2] * i + m[2, 3]
                r = int(np.sqrt(y * y + x * x))
                s = _sector(y, x, sectors)
                if r < counts.shape[1]:
                    counts[s // share, r] += 1.0
                k = column[s]
                if r < nearest or r >= nearest + arcs.shape[1] or k < 0:
                    continue
                row = int(np.rint(m[0, 0] * z + m[0, 1] * j + m[0, 2] * i + m[0, 3])) - first
                arcs[row, r - nearest, k, 0] += values[z, j, i]
                arcs[row, r - nearest, k, 1] += np.float32(1.0)


@njit
def _multiply(arcs: Array, kept: Array, sectors: int, half: bool, first: int, nearest: float, sums: Array) -> None:
    """Add the products of arcs of one ring that are not neighbours: of all of them, less those that are near."""
    groups, lags, apart = sums.shape[:3]
    number, radii, columns = arcs.shape[:3]
    size = sectors // 2 if half else sectors
    total = zeros((2, 2, 2), np.float64)
    for z in range(number):
        group = ((z + first) // GROUP_ROWS) % groups
        for lag in range(min(lags, number - z)):
            for r in range(radii):
                for far in range(min(apart, radii - r)):
                    a, b = arcs[z, r], arcs[z + lag, r + far]
                    total[:] = 0.0
                    near, near_count = 0.0, 0.0
                    for k in range(columns):
                        if a[k, 1] == 0.0 and b[k, 1] == 0.0:
                            continue
                        side = kept[k] // size
                        total[side, 0, 0] += a[k, 0]
                        total[side, 0, 1] += a[k, 1]
                        total[side, 1, 0] += b[k, 0]
                        total[side, 1, 1] += b[k, 1]
                        if a[k, 1] == 0.0:
                            continue
                        for step in range(-1, 2):
                            q = k + step
                            whole = not half and columns == sectors
                            if q < 0 or q >= columns:
                                if not whole:
                                    continue
                                q = q % columns
                            apart_by = abs(kept[q] - kept[k])
                            if not (apart_by <= 1 or (whole and apart_by == sectors - 1)):
                                continue
                            if half and kept[q] // size != side:
                                continue
                            near += a[k, 0] * b[q, 0]
                            near_count += a[k, 1] * b[q, 1]
                    product, count = -near, -near_count
                    for side in range(2):
                        product += total[side, 0, 0] * total[side, 1, 0]
                        count += total[side, 0, 1] * total[side, 1, 1]
                    radius = nearest + r + 0.5 * far + 0.5
                    sums[group, lag, far, 0] += product / radius
                    sums[group, lag, far, 1] += count / radius
                    sums[group, lag, far, 2] += count / (radius * radius)


@dataclass(frozen=True)
class ColumnErrors:
    """Covariance of the errors of a column in rows 0, 1, 2 ... apart, and standard errors of it, (1/cm)^2."""

    variance: Array
    sigma: Array

    @property
    def found(self) -> bool:
        """Whether there are rings beyond chance."""
        return bool(self.variance[0] > SURE * self.sigma[0])


def column_errors(sums: Array, half: bool) -> ColumnErrors:
    """Return how far columns are off, from the sums of `arc_products` over all boxes.

    The error is from the scatter between groups of rows (a delete-one jackknife).
    """
    total = sums.sum(axis=0)
    value = _fitted(total, half)
    groups = [g for g in range(len(sums)) if sums[g, 0, 0, 1] > 0]
    if len(groups) < 3:
        return ColumnErrors(value, np.full(len(value), np.inf))
    without = np.array([_fitted(total - sums[g], half) for g in groups])
    spread = (len(groups) - 1) / len(groups) * ((without - without.mean(axis=0)) ** 2).sum(axis=0)
    return ColumnErrors(value, np.sqrt(spread))


def _fitted(sums: Array, half: bool) -> Array:
    """Fit the pattern of a column, and a constant, along the radius, for rows that lie 0, 1, 2 ... apart."""
    apart, covariance = radial_covariance(half, binned=True)
    pattern = np.interp(np.arange(sums.shape[1]), apart, covariance)
    found = np.zeros(len(sums))
    for lag, (products, counts, over) in enumerate(np.moveaxis(sums, -1, 1)):
        weight = np.where(counts > 0, counts, 0.0)
        if not weight.any():
            continue
        model = pattern * over
        # of products per pair of voxels, each as sure as the pairs are many
        mean, mean_model = products.sum() / weight.sum(), model.sum() / weight.sum()
        left = model - mean_model * weight
        square = (left**2 / np.maximum(weight, 1e-300))[weight > 0].sum()
        if square > 0:
            cross = (left * (products - mean * weight) / np.maximum(weight, 1e-300))[weight > 0].sum()
            found[lag] = cross / square
    return found


def leak(seen: Array) -> float:
    """Return what share of the rings about another axis is taken for rings about one, from `ArcProducts.seen`."""
    other, own = (seen - seen.mean(axis=0)).T
    square = float((own**2).sum())
    return float(np.clip((own * other).sum() / square, 0.0, 1.0)) if square > 0 else 1.0


def kept_share(weights: Array, half: bool) -> float:
    """Return which share of a column's variance is found from arcs of a scan that was resampled.

    Between voxels an interpolation smooths what is as narrow as a ring, and leaves sums over many voxels as they are.

    Parameters
    ----------
    weights : array, (position, 2, voxel)
        Of measured voxels in an interpolated one, along y and x.
    """
    at, covariance = radial_covariance(half, binned=True)
    lags = np.arange(RADII)
    pattern = np.interp(lags, at, covariance)
    auto = np.stack([[np.correlate(line, line, "full") for line in place] for place in weights])
    steps = np.arange(auto.shape[-1]) - auto.shape[-1] // 2
    near = np.abs(steps) <= NEAR_TAPS
    both = np.einsum("py,px->yx", auto[:, 0][:, near], auto[:, 1][:, near]) / len(auto)
    azimuth = (np.arange(DIRECTIONS) + 0.5) * (2 * math.pi / DIRECTIONS)
    y, x = (f(azimuth)[:, None, None] * steps[near] for f in (np.sin, np.cos))
    moved = lags[:, None, None, None] + np.swapaxes(y, 1, 2) + x
    seen = (both * np.interp(np.abs(moved), at, covariance, right=0.0)).sum(axis=(2, 3)).mean(axis=1)
    left = pattern - pattern.mean()
    share = float((left * (seen - seen.mean())).sum() / (left**2).sum())
    return round(share, DIGITS)
