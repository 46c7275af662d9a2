"""Centre of rotation from one sinogram's double wedge (Vo et al., Opt. Express 22 (2014) 19078)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

from xct_pipeline.device import to_host
from xct_pipeline.reconstruction.center.half_turns import half_turns, resample
from xct_pipeline.reconstruction.center.pair import settle, spectra

Array = npt.NDArray[Any]
MAX_STEPS = 900  # angles and columns beyond these add time, not accuracy, to a cross-check
MAX_COLUMNS = 1024
SAMPLES = 40_000  # spectrum samples taken of all rows, at most


def center_from_metric(
    sinograms: Array, angles: Array, *, search: tuple[float, float] | None = None
) -> tuple[float, Array]:
    """Centre at which the sinogram extended by its mirror image has least amplitude outside the double wedge.

    A coarse search on low frequencies over the whole range is followed by a fine one on the part of the detector
    that is symmetric about the centre found.

    Parameters
    ----------
    sinograms : array
        (angle, row, column) line integrals.
    angles : array
        Radians; about half a turn or more (the first half turn is used).
    search : (float, float), optional
        Columns between which the centre lies; the middle half of the detector by default.

    Returns
    -------
    center : float
        Column in pixels, 0 = centre of the first pixel.
    curve : numpy.ndarray
        (2, m): trial centres and the metric.

    Raises
    ------
    ValueError
        Where the lowest metric lies on the edge of the search.
    """
    data = np.asarray(to_host(sinograms), np.float32)
    columns = data.shape[-1]
    low, high = search if search is not None else (0.25 * columns, 0.75 * columns)
    halves = [half_turn(data[:, r], np.asarray(angles)) for r in range(data.shape[1])]
    bins = binning(columns)
    trial = np.arange(low, high + 0.25, max(0.5, columns / 1024))
    samples = [outside_samples(half, bins, None, (3.0, 0.3), SAMPLES // 30) for half in halves]
    values = metric(samples, trial)
    best = int(np.argmin(values))
    if best in (0, len(trial) - 1):
        raise ValueError(
            f"the sinogram metric has no minimum between columns {low:.1f} and {high:.1f}; "
            "widen the search or choose rows with more structure"
        )

    def step(center: float) -> float:
        nonlocal samples
        samples = [outside_samples(half, bins, center, (6.0, 1.0), SAMPLES // 3) for half in halves]
        for reach, count in ((4.0, 25), (0.5, 13)):
            near = center + np.linspace(-reach, reach, count)
            center = lowest(near, metric(samples, near))
        return center

    center, _ = settle(step, float(trial[best]), tolerance=0.02)
    trial = center + np.linspace(-5, 5, 41)
    return center, np.stack([trial, metric(samples, trial)])


def excess_of_metric(sinograms: Array, angles: Array, center: float, other: float) -> float:
    """Return by how much the metric at `center` exceeds that at `other`, on the part of the detector symmetric
    about `other`.

    Parameters
    ----------
    sinograms : array
        (angle, row, column) line integrals.
    angles : array
        Radians.
    center, other : float
        Columns.
    """
    data, bins = np.asarray(to_host(sinograms), np.float32), binning(sinograms.shape[-1])
    halves = [half_turn(data[:, r], np.asarray(angles)) for r in range(data.shape[1])]
    samples = [outside_samples(half, bins, other, (6.0, 1.0), SAMPLES // 3) for half in halves]
    at, there = metric(samples, np.array([center, other]))
    return float(at - there)


def lowest(trial: Array, values: Array) -> float:
    """Minimum of a sampled curve, by a parabola through the lowest three samples."""
    best = int(np.clip(np.argmin(values), 1, len(trial) - 2))
    left, middle, right = values[best - 1 : best + 2]
    bend = left + right - 2 * middle
    part = float(np.clip((left - right) / (2 * bend), -1, 1)) if bend > 0 else 0.0
    return float(trial[best]) + part * float(trial[1] - trial[0])


def binning(columns: int) -> int:
    """Columns summed into one."""
    return int(np.ceil(columns / MAX_COLUMNS))


def half_turn(sinogram: Array, angles: Array) -> Array:
    """First half turn of a sinogram (angle, column) on a uniform grid, thinned to what a cross-check needs."""
    turns = half_turns(angles)
    # a range well short of half a turn is filled up with its last projection
    steps = turns.steps if turns.kind != "short" else round(float(np.pi / np.median(np.diff(turns.theta))))
    turns = replace(turns, steps=min(steps, MAX_STEPS))
    half = resample(sinogram, turns, turns.starts[0], turns.steps)
    bins = binning(half.shape[1])
    kept = half.shape[1] // bins * bins
    return np.asarray(half[:, :kept].reshape(len(half), -1, bins).mean(axis=2))


def outside_samples(
    half: Array, bins: int, center: float | None, band: tuple[float, float], count: int
) -> tuple[Array, Array, Array]:
    """Samples outside the wedge: frequency k, and the spectra of the half turn and of its mirror image.

    The extended sinogram's spectrum at trial centre c is proportional to ``a exp(2ikc) + b``. `center` places the
    window; None takes the whole detector, levelled at its edges. `band` is the lowest frequency in half cycles per
    width, and the highest in radians per (binned) pixel.
    """
    steps, columns = half.shape
    nfft = scipy.fft.next_fast_len(columns + 32, real=True)
    k = 2 * np.pi / nfft * np.arange(nfft // 2 + 1)
    if center is None:
        edge = max(2, columns // 50)
        level = (half[:, :edge].mean(axis=1) + half[:, -edge:].mean(axis=1)) / 2
        fade = np.clip((0.5 + np.arange(columns)) / edge, 0, 1)
        window = np.minimum(fade, fade[::-1]).astype(np.float32)
        spectrum = scipy.fft.rfft((half - level[:, None]) * window, nfft, axis=1, workers=1)
    else:
        spectrum = spectra(half, (center - (bins - 1) / 2) / bins, nfft, len(k))
    reach = k * 0.5 * columns + 4
    used = (k > band[0] * np.pi / columns) & (k < band[1]) & (reach < steps)
    k, reach = k[used], reach[used]
    turn = scipy.fft.fft(spectrum[:, used], 2 * steps, axis=0, workers=1)
    n = np.arange(1, steps)[:, None]
    which = np.flatnonzero((n > reach) & (n < 2 * reach + 10))  # farther out noise outweighs the mismatch
    which = which[:: max(1, len(which) // count)]
    mirror = np.conj(turn[:-steps:-1]) * np.where(n % 2, -1, 1)
    k_full = k[which % len(k)] / bins
    phase = np.exp(1j * k_full * (bins - 1) / 2)  # a bin's centre lies (bins-1)/2 pixels past its first pixel
    a, b = turn[1:steps].ravel()[which] / phase, mirror.ravel()[which] * phase
    return k_full.astype(np.float32), a.astype(np.complex64), b.astype(np.complex64)


def metric(halves: list[tuple[Array, Array, Array]], centers: Array) -> Array:
    """Mean amplitude outside the wedge over rows at evenly spaced centres, each row scaled to its own mean."""
    total = np.zeros(len(centers))
    step = (centers[-1] - centers[0]) / (len(centers) - 1)
    for k, a, b in halves:
        scale = float((np.abs(a) + np.abs(b)).mean()) + 1e-30
        turned = (a * np.exp(2j * k * float(centers[0]))).astype(np.complex64)
        turn = np.exp(2j * k * step).astype(np.complex64)
        for i in range(len(centers)):
            total[i] += float(np.abs(turned + b).mean(dtype=np.float64)) / scale
            turned *= turn  # far cheaper than another exponential
    return total / len(halves)
