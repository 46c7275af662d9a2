"""Noise and resolution of a scan from two reconstructions: of the even projections, and of the odd ones.

What both halves show alike is the sample (and what is wrong with the detector at all angles alike: rings); what they
show differently is noise, and the aliasing of half as many angles. So half their difference has the noise of the whole
volume, and their correlation in shells of spatial frequency tells up to which one structure stands above noise.

Boxes and lags are (z, y, x) voxels; frequencies are in 1/voxel, up to 0.5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

LAG = (6, 4, 4)  # of the autocovariance of the noise
TAPER = 0.25  # share of each side of a box over which its window rises
LEAST_SIDE, MOST_SIDE = 16, 384  # of a box in a slice
SHELLS = 128  # at most
SEVENTH = 1 / 7
FEW = 2.0  # independent coefficients, below which a shell tells nothing
DARK, SHARE = 0.02, 0.05  # of the sample's shadow: least line integral, and share of the largest one


# ------------------------------------------------------------------------------------------------ where


def inscribed(
    profiles: Array, angles: Array, center: float, sides: Sequence[str] = ("left", "right")
) -> tuple[float, float, float] | None:
    """Return the largest circle that lies in the sample, from its shadow at a few angles.

    The shadow's edges are lines that the sample does not cross, at each angle; the circle's centre is the point
    furthest inside all of them (Chebyshev centre of a polygon, by linear programming).

    Parameters
    ----------
    profiles : (angle, column)
        Line integrals, means over rows.
    angles : (angle,)
        Radians.
    center : float
        Column of the axis.
    sides : sequence of str
        Edges of the detector on which the shadow's end is seen: of a half acquisition, the one far from the axis.

    Returns
    -------
    x, y, radius : float or None
        Pixels from the axis, x along columns and y along rows of a slice; None where nothing casts a shadow.
    """
    level = max(DARK, SHARE * float(np.max(profiles, initial=0.0)))
    limits, normals = [], []
    for profile, angle in zip(profiles, angles, strict=True):
        (seen,) = np.nonzero(profile > level)
        if not seen.size:
            return None
        normal = np.array([math.cos(angle), math.sin(angle)])
        if "right" in sides:
            normals.append(normal)
            limits.append(seen[-1] + 0.5 - center)
        if "left" in sides:
            normals.append(-normal)
            limits.append(center - (seen[0] - 0.5))
    bounds = np.column_stack([np.array(normals), np.ones(len(normals))])
    ranges = [(None, None), (None, None), (0, None)]
    found = scipy.optimize.linprog([0, 0, -1], A_ub=bounds, b_ub=np.array(limits), bounds=ranges)
    return (float(found.x[0]), float(found.x[1]), float(found.x[2])) if found.success else None


def square(circle: tuple[float, float, float] | None, size: int) -> tuple[slice, slice] | None:
    """Return the square (y, x) in a circle, clipped to a slice and to `MOST_SIDE`; None below `LEAST_SIDE`.

    Parameters
    ----------
    circle : (x, y, radius) or None
        From `inscribed`.
    size : int
        Side of a slice; the axis lies at (size - 1) / 2.
    """
    if circle is None:
        return None
    x, y, radius = circle
    side = min(int(math.sqrt(2) * radius), MOST_SIDE, size) // 2 * 2
    if side < LEAST_SIDE:
        return None
    first = (round((size - 1) / 2 + at - (side - 1) / 2) for at in (y, x))
    row, column = (min(max(start, 0), size - side) for start in first)
    return slice(row, row + side), slice(column, column + side)


# ------------------------------------------------------------------------------------------- resolution


class Shells(NamedTuple):
    """Correlation of two halves in shells of spatial frequency.

    Attributes
    ----------
    frequency : (shell,) float64
        1/voxel, middle of the shell.
    correlation : (shell,) float64
    independent : (shell,) float64
        Independent pairs of complex Fourier coefficients in a shell: half of all, as the other half are their mirror
        images, and of these the share that the window leaves.
    """

    frequency: Floats
    correlation: Floats
    independent: Floats

    @property
    def sigma(self) -> Floats:
        """Standard error of the correlation."""
        return np.asarray((1 - self.correlation**2) / np.sqrt(2 * np.maximum(self.independent, 0.5)))

    @property
    def half_bit(self) -> Floats:
        """Correlation at which a voxel of the whole volume holds half a bit; see `half_bit`."""
        return half_bit(self.independent)


def soft_window(shape: Sequence[int]) -> list[Floats]:
    """Return a window along each axis that rises from 0 as the square of a sine over a quarter of the side (Tukey)."""
    windows = []
    for n in shape:
        distance = np.minimum(np.arange(n), n - 1 - np.arange(n)) + 0.5
        windows.append(np.sin(0.5 * np.pi * np.minimum(distance / (TAPER * n), 1.0)) ** 2)
    return windows


def shell_correlation(first: Array, second: Array) -> Shells:
    """Correlate two reconstructions of a box in shells of spatial frequency.

    Means are taken away and a soft window laid over the box, so that its faces do not correlate. Of independent halves
    with the spectral signal-to-noise ratio SNR of a half, the expected value is SNR / (1 + SNR) (Harauz and van Heel,
    Optik 73, 146 (1986)).

    Parameters
    ----------
    first, second : (z, y, x) float32
        In one unit, any.

    Returns
    -------
    Shells
        As many as half the longest side has voxels, at most `SHELLS`, up to 0.5/voxel.

    Raises
    ------
    ValueError
        The boxes differ in shape.
    """
    if first.shape != second.shape:
        raise ValueError(f"halves of shapes {first.shape} and {second.shape} cannot be compared")
    windows = soft_window(first.shape)
    a, b = (_transform(half, windows) for half in (first, second))
    shells = min(max(first.shape) // 2, SHELLS)
    z, y = (scipy.fft.fftfreq(n) for n in first.shape[:2])
    x = scipy.fft.rfftfreq(first.shape[2])
    plane = y[:, None] ** 2 + x**2
    twice = np.where((x == 0) | (x == 0.5), 1.0, 2.0)[None]  # coefficients that stand for their mirror images too
    sums = np.zeros((4, shells + 1))
    for k, at in enumerate(z):  # plane by plane: nothing is held beside the two transforms
        shell = np.minimum(np.sqrt(plane + at**2) * (2 * shells), shells).astype(np.intp)
        cross = (a[k] * np.conj(b[k])).real
        for n, value in enumerate((cross, np.abs(a[k]) ** 2, np.abs(b[k]) ** 2, np.ones_like(plane))):
            sums[n] += np.bincount(shell.ravel(), weights=(value * twice).ravel(), minlength=shells + 1)
    cross, power_a, power_b, count = sums[:, :shells]
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.clip(cross / np.sqrt(power_a * power_b), -1.0, 1.0)
    return Shells((np.arange(shells) + 0.5) / (2 * shells), correlation, count / 2 * _independent(windows))


def _transform(half: Array, windows: Sequence[Floats]) -> Array:
    values = half - np.float32(half.mean(dtype=np.float64))
    for axis, window in enumerate(windows):
        values *= window.astype(np.float32).reshape([-1 if k == axis else 1 for k in range(3)])
    return np.asarray(scipy.fft.rfftn(values, overwrite_x=True))


def _independent(windows: Sequence[Floats]) -> float:
    """Return how many of the Fourier coefficients of windowed noise are independent, as a share."""
    return math.prod(float((w**2).sum() ** 2 / (len(w) * (w**4).sum())) for w in windows)


def half_bit(independent: Floats) -> Floats:
    """Return the correlation of halves at which the whole volume holds half a bit of information per voxel.

    Eq. 17 of van Heel and Schatz, J. Struct. Biol. 151, 250 (2005): a signal-to-noise ratio of ``sqrt(2) - 1`` in the
    whole volume, half of that in each half, raised by what few coefficients scatter.

    Parameters
    ----------
    independent : (shell,)
        Of `Shells`.
    """
    root = 1 / np.sqrt(np.maximum(independent, 1.0))
    return np.asarray((0.2071 + 1.9102 * root) / (1.2071 + 0.9102 * root))


def crossing(shells: Shells, threshold: Floats | float) -> float:
    """Return the frequency (1/voxel) at which the correlation first falls below a threshold, between two shells.

    0.5 where it never does; NaN where it is below from the beginning. Shells of hardly a coefficient tell nothing.
    """
    above = shells.correlation - threshold
    known = np.isfinite(above) & (shells.independent >= FEW)
    above, frequency = above[known], shells.frequency[known]
    below = np.flatnonzero(above < 0)
    if not below.size:
        return 0.5 if above.size else math.nan
    k = int(below[0])
    if k == 0:
        return math.nan
    share = above[k - 1] / (above[k - 1] - above[k])
    return float(frequency[k - 1] + share * (frequency[k] - frequency[k - 1]))


# ------------------------------------------------------------------------------------------------- noise


def noise_covariance(first: Array, second: Array, lag: Sequence[int] = LAG) -> Floats:
    """Return the autocovariance of the noise of the whole volume: that of half the difference of two halves.

    Each half has half the photons, so twice the variance; half of their difference has that of their mean.

    Parameters
    ----------
    first, second : (z, y, x) float32
        The halves.
    lag : (z, y, x)

    Returns
    -------
    numpy.ndarray
        ``2 lag + 1`` values in the square of the halves' unit, lag 0 in the middle, even in the lag.
    """
    noise = (first - second) / np.float32(2)
    noise -= np.float32(noise.mean(dtype=np.float64))
    shape = [scipy.fft.next_fast_len(n + m, real=True) for n, m in zip(noise.shape, lag, strict=True)]
    spectrum = scipy.fft.rfftn(noise, shape)
    power = spectrum.real**2 + spectrum.imag**2
    cells = np.ix_(*[np.arange(-m, m + 1) % n for m, n in zip(lag, shape, strict=True)])
    products = np.asarray(scipy.fft.irfftn(power, shape)[cells], np.float64)
    sides = (np.maximum(n - np.abs(np.arange(-m, m + 1)), 1.0) for n, m in zip(noise.shape, lag, strict=True))
    z, y, x = sides
    return np.asarray(products / (z[:, None, None] * y[:, None] * x))


def deviation(covariance: Floats, voxels: int) -> tuple[float, float]:
    """Return the standard deviation of a voxel's noise, and its standard error, from the noise's autocovariance.

    The variance of a mean of squares of correlated normal values is ``2 sum(C(lag)**2) / n``.
    """
    variance = float(covariance[tuple(n // 2 for n in covariance.shape)])
    if variance <= 0:
        return 0.0, 0.0
    sigma = math.sqrt(variance)
    return sigma, math.sqrt(2 * float((covariance**2).sum()) / voxels) / (2 * sigma)
