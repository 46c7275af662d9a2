"""Noise of sums over voxels from errors of the detector's columns, which are the same at all angles: rings.

A column that is off by the same at every angle, as the noise of few flats makes it, becomes a ring about the rotation
axis: half a ring of a scan over half a turn. Filtered back-projection is linear, so the sum of a slice over a set of
voxels is a sum over columns of their errors times weights, and the weights are the mean projection of the set over the
angles, filtered by the ramp (A. C. Kak and M. Slaney, *Principles of Computerized Tomographic Imaging*, IEEE Press
1988, ch. 3). With errors of variance s2, independent from column to column, the variance of the sum is s2 times the
sum of the weights squared: by Parseval the integral of ``|nu B(nu)|^2`` up to the Nyquist frequency, B the transform of
the mean projection. Seen along an arc this is no stationary noise: it falls as one over the distance from the axis.

Lengths are voxels, frequencies cycles per voxel; s2 is in (1/cm)^2: the variance of the line integral over the square
of the voxel in cm.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy

from xct_pipeline.compiled import njit
from xct_pipeline.device import Array

FINE = 2  # samples of a projection per voxel: linear weights between them are undone by their transform
LEAST_ANGLES = 192
BAND = 128  # sets whose projections are held together
DIRECTIONS = 6  # in which boxes lie from the axis, averaged over
STEPS = 1024  # of half a turn, in integrals over it
ASYMPTOTIC = 64.0  # voxels from the axis, from where the covariance falls as one over the radius

Lengths = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Rings:
    """Rings of one scan, or of two that share an axis, in the difference of the two.

    Attributes
    ----------
    variance : tuple of float
        Covariance s2 of a column's errors in rows 0, 1, 2 ... apart, (1/cm)^2.
    place : tuple of float
        Six: (y, x, 1) of the registered frame to (y, x) about the axis, turned so that angles begin at 0.
    half : bool
        Of a scan over half a turn; else rings go all the way round.
    lengths : tuple of (float, float)
        Columns over which errors are alike, with the share of the variance that goes with it: their correlation is a
        Gaussian of one of these standard deviations, of which for each sum the worst is taken. None where columns are
        independent.
    """

    variance: tuple[float, ...]
    place: tuple[float, ...]
    half: bool
    lengths: Lengths = ()

    def column_error(self) -> float:
        """Return the standard deviation of a column's errors, 1/cm."""
        return math.sqrt(max(self.variance[0], 0.0))

    def times(self, factor: float) -> Rings:
        """Return rings whose variance is so many times as large."""
        return replace(self, variance=tuple(factor * value for value in self.variance))

    def of_heights(self, counts: npt.ArrayLike) -> Array:
        """Return the variance of a column's errors summed over so many rows, (1/cm)^2."""
        n = np.asarray(counts, np.float64)
        total = self.variance[0] * n
        for step, value in enumerate(self.variance[1:], 1):
            total = total + 2 * value * np.maximum(n - step, 0)
        return np.maximum(total, 0.0)

    def radii(self, y: Array, x: Array) -> Array:
        """Return the distance of places of the frame from the axis."""
        a = self.place
        return np.hypot(a[0] * y + a[1] * x + a[2], a[3] * y + a[4] * x + a[5])

    def of_boxes(self, size: tuple[int, int], y: Array, x: Array) -> Array:
        """Return the variance of the sum of one row over boxes of `size` (y, x) about places, over that of a column."""
        radii = self.radii(y, x)
        at, values = box_weights(size, _rounded_up(float(radii.max(initial=1.0))), self.half, self.lengths)
        return np.exp(np.interp(np.log1p(radii), at, values))

    def mean_of_boxes(self, size: tuple[int, int], counts: Array) -> float:
        """Return the mean of `of_boxes` over voxels that are counted by radius, the last axis; 0 over none."""
        number = counts.reshape(-1, counts.shape[-1]).sum(axis=0)
        if not number.any():
            return 0.0
        radii = np.arange(len(number)) + 0.5
        at, values = box_weights(size, _rounded_up(float(radii[-1])), self.half, self.lengths)
        return float(np.average(np.exp(np.interp(np.log1p(radii), at, values)), weights=number))

    def of_sets(self, weights: Array, index: Array | None = None, number: int = 1) -> Array:
        """Return the variance of the sum of one row over sets of pixels, over that of a column.

        Parameters
        ----------
        weights : array, (y, x)
            Of each pixel in the sum.
        index : array of int, (y, x), optional
            Set of each pixel, negative where it has none; one set of all by default.
        number : int
            Sets.

        Returns
        -------
        numpy.ndarray
            (number,).
        """
        where = np.where(weights != 0, 0 if index is None else index, -1)
        place = np.array(self.place).reshape(2, 3)
        found = np.zeros(number)
        used = np.unique(where[where >= 0])
        for first in range(0, len(used), BAND):
            band = used[first : first + BAND]
            turned = np.full(number + 1, -1, np.int64)
            turned[band] = np.arange(len(band))
            found[band] = set_weights(
                np.asarray(weights, np.float64), turned[where], len(band), place, self.half, self.lengths
            )
        return found


def _rounded_up(radius: float) -> int:
    """Return the next power of two, so that tables serve many."""
    return 1 << max(math.ceil(math.log2(max(radius, 1.0))), 4)


def set_weights(weights: Array, index: Array, number: int, place: Array, half: bool, lengths: Lengths = ()) -> Array:
    """Return the sum over columns of the squared weights of sets of pixels; see `Rings.of_sets`."""
    y, x = np.nonzero(index >= 0)
    if not len(y):
        return np.zeros(number)
    ends = np.array([[y.min(), x.min(), 1], [y.min(), x.max(), 1], [y.max(), x.min(), 1], [y.max(), x.max(), 1]])
    radius = float(np.hypot(*(place @ ends.T)).max()) + 1
    least = math.sqrt(len(y) / number) if number == 1 else math.sqrt(len(y))
    angles = int(np.clip(8 * radius / max(least, 1.0), LEAST_ANGLES, 8 * radius + LEAST_ANGLES))
    theta = (np.arange(angles) + 0.5) * (np.pi / angles)
    middle = FINE * (math.ceil(radius) + 2)
    projection = np.zeros((number, 2 * middle + 1))
    _project(weights, index, place, np.cos(theta), np.sin(theta), float(middle), projection)
    projection *= np.pi / angles
    if not half:
        projection = (projection + projection[:, ::-1]) / 2
    return power(projection, lengths)


def power(projection: Array, lengths: Lengths = ()) -> Array:
    """Return the integral of ``|nu B(nu)|^2 S(nu)`` over the band of the detector, of projections with `FINE` samples.

    S is the spectrum of a column's errors: 1 where columns are independent, else the worst of the Gaussians.
    """
    length = scipy.fft.next_fast_len(2 * projection.shape[-1], real=True)
    spectrum = np.abs(scipy.fft.rfft(projection, length)) ** 2
    nu = np.arange(spectrum.shape[-1]) * (FINE / length)
    band = np.where(nu < 0.5, (nu / np.sinc(nu / FINE) ** 2) ** 2, 0.0)
    spectra = [share * s * math.sqrt(2 * math.pi) * np.exp(-2 * (math.pi * s * nu) ** 2) for s, share in lengths] or [
        np.ones(())
    ]
    found = [2 * (spectrum * (band * of)).sum(axis=-1) * (FINE / length) for of in spectra]
    return np.asarray(np.maximum.reduce(found))


@njit
def _project(weights: Array, index: Array, place: Array, cosine: Array, sine: Array, middle: float, out: Array) -> None:
    """Add the projections of the sets of a map at all angles."""
    for j in range(weights.shape[0]):
        for i in range(weights.shape[1]):
            cell = index[j, i]
            if cell < 0:
                continue
            w = weights[j, i]
            y = (place[0, 0] * j + place[0, 1] * i + place[0, 2]) * 2.0
            x = (place[1, 0] * j + place[1, 1] * i + place[1, 2]) * 2.0
            line = out[cell]
            for k in range(cosine.shape[0]):
                u = x * cosine[k] + y * sine[k] + middle
                low = int(u)
                f = u - low
                line[low] += w * (1.0 - f)
                line[low + 1] += w * f


@functools.lru_cache(maxsize=64)
def box_weights(size: tuple[int, int], largest: int, half: bool, lengths: Lengths = ()) -> tuple[Array, Array]:
    """Return, for boxes of pixels at distances from the axis, the sum over columns of the squared weights.

    Returns
    -------
    at, values : numpy.ndarray
        log(1 + distance) and the logarithm of the sum.
    """
    radii = np.concatenate([np.arange(0.0, 4.0, 0.5), np.geomspace(4.0, largest, 4 + 3 * int(math.log2(largest)))])
    ones, index = np.ones(size), np.zeros(size, np.int64)
    values = np.zeros(len(radii))
    for k, radius in enumerate(radii):
        for direction in (np.arange(DIRECTIONS) + 0.5) * (np.pi / DIRECTIONS):
            away = radius * np.array([math.sin(direction), math.cos(direction)])
            place = np.column_stack([np.eye(2), away - (np.array(size) - 1) / 2])
            values[k] += float(set_weights(ones, index, 1, place, half, lengths)[0]) / DIRECTIONS
    return np.log1p(radii), np.log(values)


# ------------------------------------------------------------------------------------ covariance along the radius


@functools.lru_cache(maxsize=8)
def radial_covariance(half: bool, binned: bool, reach: int = 16, step: float = 0.25) -> tuple[Array, Array]:
    """Return the covariance of two voxels of the same ring, or half of one, by how much their radii differ.

    Times the radius, and for a column's variance of 1: beyond some voxels it falls as one over the radius.

    Parameters
    ----------
    half : bool
        Rings of half a turn, both voxels in the same half.
    binned : bool
        Of means over one voxel along the radius, else of points.
    reach : int
        Largest difference, voxels.
    step : float
        Between differences.

    Returns
    -------
    differences, covariance : numpy.ndarray
    """
    apart = np.arange(0.0, reach + step / 2, step)
    spectra = []
    length = scipy.fft.next_fast_len(4 * FINE * int(ASYMPTOTIC + reach + 4), real=True)
    nu = np.arange(length // 2 + 1) * (FINE / length)
    nu = nu[nu < 0.5]
    root = math.isqrt(len(nu)) + 1  # frequencies are sums of a coarse and a fine one, waves the products of both
    for radius in (ASYMPTOTIC, *(ASYMPTOTIC + apart)):
        alpha = (np.arange(STEPS) + 0.5) * (np.pi / STEPS)
        # over the half ring, the angle between a voxel and a projection is spread as a triangle
        weight = 2 * (1 - alpha / np.pi) if half else np.ones_like(alpha)
        phase = -2j * np.pi * (FINE / length) * radius * np.cos(alpha)
        fine, coarse = (np.exp(np.outer(np.arange(root) * stride, phase)) for stride in (1, root))
        transform = ((coarse * weight) @ fine.T).ravel()[: len(nu)] * (np.pi / STEPS)
        spectra.append(transform * (np.sinc(nu) if binned else 1.0))
    ramp = nu**2 * 2 * (FINE / length)
    covariance = [float((ramp * (spectra[0] * np.conj(other)).real).sum()) for other in spectra[1:]]
    return apart, np.array(covariance) * (ASYMPTOTIC + apart / 2)
