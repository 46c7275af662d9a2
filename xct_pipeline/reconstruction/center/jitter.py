"""How much single projections are shifted sideways at random, and what that does to the centre of rotation.

A stage that wobbles moves whole projections. Noise of the counts shows as a scatter between rows and between
frequencies; a wobble is common to all of them, so that the centre's error must be raised by it. Its size follows from
how far each projection lies beside what its neighbours predict, its effect from how much each one counts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

from xct_pipeline.reconstruction.center.half_turns import HalfTurns, resample, resampling
from xct_pipeline.reconstruction.center.pair import frequencies, outside_wedge, spectra

Array = npt.NDArray[Any]
SMOOTH = 1.5  # columns
LEAST_ANGLES = 12
UNEVEN = 3.0  # sum of squared weights of neighbours, above which they predict too little


def jitter_of(sinograms: Array, theta: Array) -> float:
    """Return the standard deviation of random shifts of single projections, columns.

    Each projection is compared with what two neighbours on either side predict by a cubic in the angle. The shifts that
    odd and even rows (of a single row its two sides) show have only the true shifts in common, whose variance is their
    covariance (robustly, by the medians of sum and difference).

    Parameters
    ----------
    sinograms : array (angle, row, column)
        Line integrals in the order of their angles, defective columns interpolated.
    theta : array
        Increasing angles, radians.
    """
    n, rows, columns = sinograms.shape
    if n < LEAST_ANGLES:
        return 0.0
    weights = neighbours(theta)
    usual = np.sum(weights**2, axis=1)
    even = usual < UNEVEN
    if even.sum() < LEAST_ANGLES // 2:
        return 0.0
    if rows > 1:
        parts = sinograms[:, ::2], sinograms[:, 1::2]
    else:  # the sample's two sides
        mass = np.cumsum(np.abs(np.diff(sinograms[:, 0].mean(axis=0))))
        middle = int(np.searchsorted(mass, mass[-1] / 2)) + 1
        parts = sinograms[:, :, :middle], sinograms[:, :, middle:]
        if min(middle, columns - middle) < 8:
            return 0.0
    one, two = (_shifts(part, weights)[even] for part in parts)
    variance = (_spread(one + two) ** 2 - _spread(one - two) ** 2) / 4
    return float(np.sqrt(max(variance, 0.0) / np.mean(1 + usual[even])))


def neighbours(theta: Array) -> Array:
    """Return the weights (angle, 4) with which two neighbours on either side predict a projection; from the third on.

    Those of a cubic through them (Lagrange).
    """
    n = len(theta)
    at = theta[2 : n - 2]
    nodes = np.stack([theta[k : n - 4 + k] for k in (0, 1, 3, 4)], axis=1)
    weights = np.ones_like(nodes)
    for i in range(4):
        for j in range(4):
            if i != j:
                gap = nodes[:, i] - nodes[:, j]
                weights[:, i] *= (at - nodes[:, j]) / np.where(np.abs(gap) > 1e-9, gap, 1e-9)
    return weights


def _shifts(sinograms: Array, weights: Array) -> Array:
    """Return by how many columns each projection lies beside what its neighbours predict, from all rows given."""
    n = len(sinograms)
    smooth = scipy.ndimage.gaussian_filter1d(np.asarray(sinograms, np.float32), SMOOTH, axis=-1)
    near = [smooth[k : n - 4 + k] for k in (0, 1, 3, 4)]
    expected = sum(weights[:, i, None, None].astype(np.float32) * near[i] for i in range(4))
    slope = np.gradient(0.5 * (near[1] + near[2]), axis=-1)
    # the two neighbours' noise is not in common: squares of one slope would make every shift of a noisy scan small
    energy = np.einsum("trc,trc->t", *(np.gradient(a, axis=-1) for a in near[1:3]), dtype=np.float64)
    product = np.einsum("trc,trc->t", slope, smooth[2 : n - 2] - expected, dtype=np.float64)
    return np.asarray(-product / np.maximum(energy, 1e-3 * np.median(energy) + 1e-30))


def _spread(values: Array) -> float:
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def counts_of_projections(sinograms: Array, turns: HalfTurns, center: float) -> Array:
    """Return by how much the centre moves with each projection's own shift; they add up to 1.

    Parameters
    ----------
    sinograms : array (angle, row, column)
        As for `jitter_of`.
    turns : HalfTurns
    center : float
        Column where the centre was found.
    """
    nfft, k, weight = frequencies(sinograms.shape[-1])
    factor = 4 * k * k * weight * np.exp(2j * k * center)
    radius = max(center, sinograms.shape[-1] - 1 - center) + 0.5
    total = np.zeros(len(turns.theta))
    for start in turns.starts:
        count = {"full": 2 * turns.steps, "closed": turns.steps + 1}.get(turns.kind, turns.steps)
        left, right, part = resampling(turns, start, count)
        for row in range(sinograms.shape[1]):
            spectrum = spectra(resample(sinograms[:, row], turns, start, count), center, nfft, len(k))
            at = np.real(_of_angles(spectrum, k, radius, turns.kind) @ factor)
            np.add.at(total, left, at * (1 - part))
            np.add.at(total, right, at * part)
    return np.asarray(total / total.sum())


def _of_angles(spectrum: Array, k: Array, radius: float, kind: str) -> Array:
    """Return the share of each angle (angle, k) in the cross spectrum of a scan with its mirror image."""
    if kind == "full":
        half = len(spectrum) // 2
        both = 0.5 * spectrum[:half] * spectrum[half:]
        return np.concatenate([both, both])
    closed = kind == "closed"
    steps = len(spectrum) - 1 if closed else len(spectrum)
    part, outside = outside_wedge(spectrum, k, radius, closed)
    used = part.shape[1]
    turn = scipy.fft.fft(part, 2 * steps, axis=0, workers=1)
    turn[0], turn[steps] = 0, 0
    turn[1:steps] *= outside
    turn[:steps:-1] *= outside
    share = np.zeros(spectrum.shape, np.complex128)
    share[:, :used] = -part * scipy.fft.ifft(turn, axis=0, workers=1)[: len(part)]
    if closed:
        share[[0, -1]] += 0.5 * spectrum[0] * spectrum[-1]
    return share
