"""Noise of a registered difference: its autocovariance in uniform regions, and the variance of sums from it.

Reconstruction and interpolation both correlate neighbouring voxels, so the noise of a sum does not follow the
number of voxels. It follows ``Var(sum) = sum over lags C(lag) N(lag)``, with C the autocovariance and N the
number of voxel pairs of the summed set that lie `lag` apart. C is measured on the difference itself, in labels
where nothing changes (ceramic, gas), which holds counting noise, ring residue and interpolation at once.

Lags and shapes are (z, y, x) voxels; attenuation is in 1/cm. Autocovariance arrays have odd sides with lag 0
in the middle.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

from xct_pipeline.device import array_namespace, fft_of, is_cupy, to_host
from xct_pipeline.variation import lags, ramp
from xct_pipeline.variation.mass import Sums, bin_sums
from xct_pipeline.variation.rings import Rings

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LagSums:
    """Sums over pairs of voxels per lag: products of their deviations, and how many pairs there are."""

    products: Array
    pairs: Array

    def __add__(self, other: LagSums) -> LagSums:
        return LagSums(self.products + other.products, self.pairs + other.pairs)


def lag_sums(
    block: npt.NDArray[Any],
    mask: npt.NDArray[Any],
    *,
    lag: Sequence[int],
    mean: float = 0.0,
    core: tuple[slice, ...] | None = None,
) -> LagSums:
    """Sum products of deviations of voxel pairs up to `lag` apart, both inside `mask`.

    Parameters
    ----------
    block : array, (z, y, x)
        Difference of two registered scans, 1/cm, with a halo of `lag` where the block has neighbours.
    mask : array of bool
        Uniform material, well away from faces.
    lag : (z, y, x)
        Largest lag along each axis; correlation beyond it is not seen.
    mean : float
        Mean of the difference over the whole mask (of all blocks).
    core : tuple of slice, optional
        The block without its halo: first voxels of the pairs that this block counts.

    Returns
    -------
    LagSums
        Arrays of shape ``2 lag + 1``; add those of all blocks. Even in the lag on the host, on a device only their sum.
    """
    xp = array_namespace(block)
    first = mask
    if core is not None:
        first = xp.zeros_like(mask)
        first[core] = mask[core]
    values = xp.where(mask, block.astype(xp.float64) - mean, 0.0)
    if is_cupy(block):
        return _lag_sums_by_transform(values, mask, first, lag)
    return LagSums(lags.products(values, first, lag), lags.pair_counts(mask, first, lag))


def _lag_sums_by_transform(
    values: npt.NDArray[Any], mask: npt.NDArray[Any], first: npt.NDArray[Any], lag: Sequence[int]
) -> LagSums:
    """Sum the same by correlation: the formulation for devices, and what `lags` is held against."""
    xp, fft = array_namespace(values), fft_of(values)
    shape = [scipy.fft.next_fast_len(n + m, real=True) for n, m in zip(values.shape, lag, strict=True)]
    cells = xp.ix_(*[xp.arange(-m, m + 1) % n for m, n in zip(lag, shape, strict=True)])

    def correlate(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> Any:
        spectrum = xp.conj(fft.rfftn(a, shape)) * fft.rfftn(b, shape)
        return to_host(fft.irfftn(spectrum, shape)[cells])

    products = correlate(xp.where(first, values, 0.0), values)
    return LagSums(products, np.rint(correlate(first.astype(xp.float64), mask.astype(xp.float64))))


def autocovariance(sums: LagSums) -> Array:
    """Autocovariance from summed pairs, (1/cm)^2, made even in the lag and corrected for the removed mean.

    Taking the measured mean away lowers every lag by the variance V of that mean, and V itself is a sum of
    the autocovariance; both follow from ``V = sum (C + V) N / n^2``.

    Raises
    ------
    ValueError
        Where the mask holds too few voxels (fewer than 1000) to measure noise in.
    """
    middle = tuple(n // 2 for n in sums.pairs.shape)
    voxels = float(sums.pairs[middle])
    if voxels < 1000:
        raise ValueError(f"noise cannot be measured in {voxels:.0f} voxels: give a uniform region of at least 1000")
    measured = np.where(sums.pairs > 0, sums.products / np.maximum(sums.pairs, 1), 0.0)
    share = sums.pairs / voxels**2
    removed = max(float((measured * share).sum()) / (1 - float(share.sum())), 0.0) if share.sum() < 1 else 0.0
    covariance: Array = measured + np.where(sums.pairs > 0, removed, 0.0)
    return (covariance + covariance[::-1, ::-1, ::-1]) / 2


def about_mean(sums: LagSums, total: float) -> LagSums:
    """Return sums of products of deviations from the mean, given those from a value near it.

    Parameters
    ----------
    total : float
        Sum of the deviations from that value over all voxels. Their mean is taken for that of the voxels in pairs at
        any lag too: the error of that is the autocovariance's own statistical one times the mean over the noise.
    """
    mean = total / max(float(sums.pairs[tuple(n // 2 for n in sums.pairs.shape)]), 1.0)
    return LagSums(sums.products - mean**2 * sums.pairs, sums.pairs)


def overlap(mask: npt.NDArray[np.bool_], lag: Sequence[int]) -> Array:
    """Count the voxel pairs of a set for each lag; the set is held in memory."""
    return lag_sums(np.zeros(mask.shape, np.float32), mask, lag=lag).pairs


def box_overlap(shape: Sequence[int], lag: Sequence[int]) -> Array:
    """Count the voxel pairs of a box for each lag."""
    z, y, x = (np.maximum(n - np.abs(np.arange(-m, m + 1)), 0.0) for n, m in zip(shape, lag, strict=True))
    pairs: Array = z[:, None, None] * y[:, None] * x
    return pairs


def prism_overlap(slices: int, base: npt.NDArray[np.bool_], lag: Sequence[int]) -> Array:
    """Count the voxel pairs of a set with the same (y, x) cross-section in every slice, such as a cylinder."""
    z = np.maximum(slices - np.abs(np.arange(-lag[0], lag[0] + 1)), 0.0)
    pairs: Array = z[:, None, None] * overlap(base[None], (0, lag[1], lag[2]))
    return pairs


def plane_pairs(index: npt.NDArray[np.int64], cells: int, lag: Sequence[int]) -> Array:
    """Count the pairs of pixels of a map that share a cell, for each lag and cell.

    Parameters
    ----------
    index : array of int, (y, x)
        Cell of each pixel, negative where it has none.
    cells : int
        Number of cells.
    lag : (y, x)
        Largest lag.

    Returns
    -------
    numpy.ndarray
        ``(cells, 2 lag_y + 1, 2 lag_x + 1)``.
    """
    ly, lx = lag
    ny, nx = index.shape
    pairs = np.zeros((cells, 2 * ly + 1, 2 * lx + 1))
    for dy in range(ly + 1):
        for dx in range(-lx, lx + 1):
            if (dy == 0 and dx < 0) or dy >= ny or abs(dx) >= nx:
                continue
            near = index[: ny - dy, max(-dx, 0) : nx - max(dx, 0)]
            far = index[dy:, max(dx, 0) : nx - max(-dx, 0)]
            same = near[(near == far) & (near >= 0)]
            pairs[:, ly + dy, lx + dx] = pairs[:, ly - dy, lx - dx] = np.bincount(same, minlength=cells)
    return pairs


def sum_variance(covariance: Array, pairs: Array, beside: float = 0.0, left: ramp.Shares = ramp.ALL) -> float:
    """Variance of the sum over a set with `pairs` voxel pairs per lag, (1/cm)^2.

    The sum over all measured lags, but never below the same sum with a triangular (Bartlett) taper. The
    taper's value is the variance per voxel of sums over windows of lag + 1 voxels; it keeps the result
    positive where the ramp filter makes the lags nearly cancel and their own noise would decide. Of both the shares
    `left` are taken, which lags beyond the measured ones leave. What is added to the result, `beside`, is counted
    towards it.

    References
    ----------
    M. S. Bartlett, Biometrika 37 (1950) 1.
    """
    taper = np.ones(1)
    for n in covariance.shape:
        half = n // 2
        taper = np.multiply.outer(taper, 1 - np.abs(np.arange(-half, half + 1)) / (half + 1))
    terms = covariance * pairs
    whole, tapered = float(terms.sum()), float((terms * taper[0]).sum())
    return max(left.whole * whole, left.tapered * tapered - beside, 0.0)


def column_variance(covariance: Array, counts: npt.NDArray[np.int64]) -> Array:
    """Variance of sums over columns of `counts` voxels along z, (1/cm)^2.

    A column is taken as unbroken, which is exact for cylinders and boxes and, where interpolation makes
    neighbours alike, an upper bound for labels with holes.
    """
    middle = tuple(n // 2 for n in covariance.shape)
    along_z = covariance[middle[0] :, middle[1], middle[2]]
    n = np.arange(int(counts.max(initial=0)) + 1)
    variance = along_z[0] * n
    for step in range(1, len(along_z)):
        variance = variance + 2 * along_z[step] * np.maximum(n - step, 0)
    result: Array = np.maximum(variance, 0.0)[counts]
    return result


def _meant(value: Any) -> Any:
    """Return values to the digits of single precision."""
    if isinstance(value, dict):
        return {key: _meant(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_meant(inner) for inner in value]
    if isinstance(value, np.ndarray):
        return value.astype(np.float32)
    return float(np.float32(value)) if isinstance(value, float) else value


@dataclass(frozen=True)
class Noise:
    """Noise of one difference.

    Attributes
    ----------
    covariance : numpy.ndarray
        Autocovariance in the quiet part, (1/cm)^2.
    level : numpy.ndarray
        (y, x), of the noise in the region over that in the quiet part.
    column_inflation, region_inflation : float
        Scatter of sums over windows over what the autocovariance predicts, at least 1.
    voxels : int
        That it was measured in.
    quiet : float
        High-frequency noise of the reference scan there, 1/cm; NaN where it is not known.
    rings : tuple of Rings
        Of the scans, which are not in the autocovariance; none where there are none or the axis is not known.
    floor : float
        Share of a tapered sum of the autocovariance that the noise of the largest sums keeps, see `ramp`.
    """

    covariance: Array
    level: Array
    column_inflation: float
    region_inflation: float
    voxels: int = 0
    quiet: float = math.nan
    rings: tuple[Rings, ...] = ()
    floor: float = 1.0

    def identity(self) -> dict[str, Any]:
        """Return what errors depend on, without the last digits, which depend on the threads of BLAS."""
        found = {name: value for name, value in vars(self).items() if name not in ("quiet", "rings")}
        return {name: _meant(value) for name, value in (found | {"rings": [vars(one) for one in self.rings]}).items()}

    @property
    def lag(self) -> tuple[int, ...]:
        """Largest lag along each axis."""
        return tuple(n // 2 for n in self.covariance.shape)

    def box_variance(self, size: Sequence[int], beside: float = 0.0) -> float:
        """Return the variance of the sum over a box of `size` (z, y, x) voxels; `beside` as for `sum_variance`."""
        left = ramp.of_box(size[1:], self.lag[1:]).above(self.floor)
        return sum_variance(self.covariance, box_overlap(size, self.lag), beside, left)

    def set_variance(self, pairs: Array, inside: npt.NDArray[np.bool_]) -> float:
        """Return the variance of the sum over a set with so many `pairs` of voxels in columns `inside` (y, x)."""
        left = ramp.of_set(inside, pairs, self.lag[1:]).above(self.floor)
        return sum_variance(self.covariance, pairs, 0.0, left)

    def voxel_variance(self, inside: npt.NDArray[np.bool_]) -> float:
        """Return the mean variance of single voxels over columns `inside`, (1/cm)^2."""
        y, x = np.nonzero(inside)
        rings = sum(one.variance[0] * one.of_boxes((1, 1), y, x).mean() for one in self.rings)
        return float(self.covariance[self.lag] * (self.level[inside] ** 2).mean() + rings)


# How the level of the noise varies over the volume -------------------------------------------------------

_HALF_MOMENT = 2**0.25 * math.gamma(0.75) / math.sqrt(math.pi)  # E|h|^(1/2) of a normal deviate of sigma 1


def level_sums(
    block: npt.NDArray[Any],
    mask: npt.NDArray[Any],
    offset: tuple[int, ...],
    size: tuple[int, ...],
    steps: Sequence[int] = (1, 1, 1),
) -> Sums:
    """Sum a robust measure of high-frequency noise per bin.

    A mixed difference over `steps` voxels along each axis removes material and smooth gradients; the square
    root of its size is summed, because that moment hardly feels the few voxels at an edge, and it adds up
    over blocks, which a median does not.

    Parameters
    ----------
    block : array, (z, y, x)
        A volume, 1/cm, with a halo of `steps` voxels at the far side of each axis. The reference scan, which
        is not resampled, with steps (1, 1, 1); or a difference with steps along z only, such as (4, 0, 0).
    mask : array of bool
        Voxels that may be used.
    offset : (z, y, x)
        Index of the block's first voxel in the frame.
    size : (z, y, x)
        Bin, voxels.
    steps : (z, y, x)
        Distance of the differences; 0 takes none along that axis.

    Returns
    -------
    Sums
        Over bins; give the merged sums to `noise_level`.
    """
    xp = array_namespace(block)
    values, usable = block, mask
    for axis, step in enumerate(steps):
        if step == 0:
            continue
        near = tuple(slice(None, -step) if a == axis else slice(None) for a in range(3))
        far = tuple(slice(step, None) if a == axis else slice(None) for a in range(3))
        values = (values[far] - values[near]) / xp.float32(math.sqrt(2))
        usable = usable[far] & usable[near]
    return bin_sums(xp.sqrt(xp.abs(values)), usable, offset, size)


def noise_level(sums: Sums, least: int = 500) -> Array:
    """Standard deviation of the high-frequency noise per bin, 1/cm; NaN where fewer than `least` values fell."""
    level: Array = (np.where(sums.count >= least, sums.mean, np.nan) / _HALF_MOMENT) ** 2
    return level


def pooled_level(sums: Sums) -> float:
    """The same over all bins together: the level in the region where the autocovariance was measured."""
    return float(sums.total.sum() / max(int(sums.count.sum()), 1) / _HALF_MOMENT) ** 2


def spread(level: Array, size: Sequence[int], shape: Sequence[int]) -> Array:
    """Bring values per bin to every voxel (or pixel) of `shape` by linear interpolation between bin centres.

    Bins without a value take that of the nearest bin that has one.
    """
    unknown = ~np.isfinite(level)
    if unknown.all():
        raise ValueError("the level of the noise is known in no bin: use larger bins or a larger mask")
    if unknown.any():
        nearest = scipy.ndimage.distance_transform_edt(unknown, return_distances=False, return_indices=True)
        level = level[tuple(nearest)]
    for axis, (width, n) in enumerate(zip(size, shape, strict=True)):
        at = np.clip((np.arange(n) + 0.5) / width - 0.5, 0, level.shape[axis] - 1)
        low = np.minimum(at.astype(int), max(level.shape[axis] - 2, 0))
        high = np.minimum(low + 1, level.shape[axis] - 1)
        part = (at - low).reshape([-1 if a == axis else 1 for a in range(level.ndim)])
        level = np.take(level, low, axis) * (1 - part) + np.take(level, high, axis) * part
    return level
