"""What rings add to the error of sums over a region and its cells, 1/cm times voxels: `rings` for each kind of set."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from xct_pipeline.device import Array
from xct_pipeline.variation.noise import Noise
from xct_pipeline.variation.ring_arcs import azimuth_of
from xct_pipeline.variation.rings import Rings, radial_covariance

WITHIN = 4  # azimuths in each direction that voxels are counted in


def _error(found: Noise, variance: Callable[[Rings], Array], like: Array) -> Array:
    """Return the root of the variance by all rings of a difference."""
    total = np.zeros(np.shape(like))
    for one in found.rings:
        total = total + variance(one)
    return np.asarray(np.sqrt(total))


def column_rings(found: Noise, count: Array) -> Array:
    """Return the error of sums over columns along z, of `count` (y, x) voxels."""
    y, x = np.nonzero(count)

    def variance(one: Rings) -> Array:
        result = np.zeros(count.shape)
        result[y, x] = one.of_heights(count[y, x]) * one.of_boxes((1, 1), y, x)
        return result

    return _error(found, variance, count)


def region_rings(found: Noise, count: Array) -> float:
    """Return the error of the sum over a whole region of `count` (y, x) voxels per column."""
    height = max(int(count.max(initial=0)), 1)
    return float(_error(found, lambda one: one.of_sets(count / height) * one.of_heights(height), np.zeros(1))[0])


def radial_rings(found: Noise, columns: Array, shells: Array, counts: Array) -> Array:
    """Return the error of sums over shells about the axis; arguments as for `cells.radial_noise`."""
    number = len(counts)
    area = np.bincount(shells[columns > 0], minlength=number)[:number]
    height = np.maximum(np.rint(counts / np.maximum(area, 1)), 1)
    weights = columns / height[np.minimum(shells, number - 1)]
    index = np.where(shells < number, shells, -1)
    return _error(found, lambda one: one.of_sets(weights, index, number) * one.of_heights(height), counts)


def layer_rings(found: Noise, columns: Array, counts: Array) -> Array:
    """Return the error of sums over layers one voxel thick that cover the region's cross-section."""
    inside = columns > 0
    share = counts / max(int(inside.sum()), 1)
    return _error(found, lambda one: one.of_sets(inside.astype(float)) * one.of_heights(1) * share, counts)


def bin_rings(found: Noise, size: tuple[int, int, int], counts: Array) -> Array:
    """Return the error of sums over bins of `size` voxels, of which `counts` (z, y, x) are in the region."""
    y, x = ((np.arange(n) + 0.5) * b - 0.5 for n, b in zip(counts.shape[1:], size[1:], strict=True))
    share = counts / int(np.prod(size))

    def variance(one: Rings) -> Array:
        return share * one.of_boxes(size[1:], y[:, None], x[None]) * one.of_heights(size[0])

    return _error(found, variance, counts)


def set_rings(found: Noise, columns: Array, block: int) -> Array:
    """Return the error of sums over sets of voxels, given those in blocks of columns (sets, y, x).

    A set is taken as high as its fullest block demands: where it is higher and has gaps, that is an upper bound.
    """
    height = np.maximum(np.ceil(columns.max(axis=(1, 2), initial=0) / block**2), 1)

    def variance(one: Rings) -> Array:
        values = [
            one.of_sets(np.kron(part / (high * block**2), np.ones((block, block))))[0]
            for part, high in zip(columns, height, strict=True)
        ]
        return np.array(values) * one.of_heights(height)

    return _error(found, variance, height)


def square_variance(found: Noise, inside: Array, height: int, largest: int) -> Array:
    """Return the variance of sums over squares of 1 ... `largest` pixels of a map, in the mean over a region.

    Parameters
    ----------
    inside : array of bool, (y, x)
        Where the squares lie.
    height : int
        Voxels along z that a pixel is the sum of.
    """
    sizes = np.unique([min(1 << k, largest) for k in range(largest.bit_length() + 1)])
    y, x = np.nonzero(inside)
    total = np.zeros(largest)
    for one in found.rings:
        mean = [one.of_boxes((int(s), int(s)), y, x).mean() for s in sizes]
        between = np.exp(np.interp(np.log(np.arange(1, largest + 1)), np.log(sizes), np.log(mean)))
        total += between * float(one.of_heights(height))
    return total


def ring_autocovariance(rings: Sequence[Rings], counts: Sequence[Array], lag: Sequence[int]) -> Array:
    """Return what rings add to the autocovariance of a difference that is measured over some voxels, (1/cm)^2.

    Parameters
    ----------
    rings : sequence of Rings
    counts : sequence of array
        Voxels by azimuth and radius about the axis of each, see `ring_arcs.ArcProducts`.
    lag : (z, y, x)

    Returns
    -------
    numpy.ndarray
        ``2 lag + 1``.
    """
    lz, ly, lx = lag
    dy, dx = np.meshgrid(np.arange(-ly, ly + 1), np.arange(-lx, lx + 1), indexing="ij")
    total = np.zeros([2 * n + 1 for n in lag])
    for one, count in zip(rings, counts, strict=True):
        apart, covariance = radial_covariance(one.half, binned=False)
        directions, radii = count.shape
        share = count / max(count.sum(), 1)
        plane = np.zeros(dy.shape)
        rho = np.arange(radii)[:, None, None] + 0.5
        (a, b), (c, d) = one.place[0:2], one.place[3:5]
        for k in range(directions * WITHIN):
            azimuth = azimuth_of((k + 0.5) / (directions * WITHIN))
            other = np.hypot(rho * math.sin(azimuth) + a * dy + b * dx, rho * math.cos(azimuth) + c * dy + d * dx)
            value = np.interp(np.abs(other - rho), apart, covariance, right=0.0) / np.maximum((other + rho) / 2, 0.5)
            plane += (share[k // WITHIN][:, None, None] * value).sum(axis=0) / WITHIN
        for dz in range(-lz, lz + 1):
            if abs(dz) < len(one.variance):
                total[lz + dz] += one.variance[abs(dz)] * plane
    return (total + total[::-1, ::-1, ::-1]) / 2
