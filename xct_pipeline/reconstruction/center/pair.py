"""Centre of rotation by registering a scan with its own mirror image half a turn later.

A projection at angle t + 180 degrees is the mirror image of the one at t about the axis. In Fourier space along
the detector the match of two such projections at a trial centre c is ``Re sum_k exp(2ikc) P(t, k) P(t + pi, k)``, so
the score at every centre follows from one cross spectrum. Where a scan ends at or short of 180 degrees,
the partner is predicted from all angles: the harmonics in angle of a detector frequency k vanish
beyond ``|n| > k R`` for a sample of radius R (the double wedge of Edholm et al. 1986 and Vo et al. 2014), and what
lies outside is a quadratic form of the same kind, whose exact minimum is found here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

from xct_pipeline.device import to_host
from xct_pipeline.reconstruction.center.half_turns import HalfTurns, resample

Array = npt.NDArray[Any]
TAPER = 0.08  # share of the half width that the window falls off over
WITHIN = 6  # degrees of freedom that the scatter between frequencies is worth
UNLIKE = 4.0  # times the variance within rows, from which their scatter counts alone
CUTOFF = 1.5  # radians per pixel: finer detail is mostly noise and interpolation


@dataclass(frozen=True)
class PairCenter:
    """What registration found.

    Attributes
    ----------
    center, sigma : float
        Column in pixels (0 = centre of the first pixel) and its standard error.
    row_center, row_weight : numpy.ndarray
        Centre of each row alone, linearised about `center`, and its information (1/variance up to a factor).
    sigma_of_noise : float
        The part of `sigma` that follows from the mismatch within rows, without the scatter between them.
    radius : float
        Largest radius of the sample that was assumed, pixels.
    pull : float
        How strongly the window draws the estimate to where it is centred (see `settle`).
    curve : numpy.ndarray
        (2, m): trial centres, and the score with its maximum scaled to 1.
    """

    center: float
    sigma: float
    row_center: Array
    row_weight: Array
    sigma_of_noise: float
    radius: float
    pull: float
    curve: Array


def spectra(projections: Array, center: float, nfft: int, kmax: int) -> Array:
    """Fourier transform along columns of the part symmetric about `center`, level and slope of the air taken off."""
    columns = projections.shape[-1]
    half = min(center, columns - 1 - center)
    distance = half + 0.5 - np.abs(np.arange(columns) - center)
    window = np.sin(np.pi / 2 * np.clip(distance / max(TAPER * half, 2.0), 0, 1)) ** 2
    window32 = window.astype(np.float32)
    # mean and slope are taken off by an operation symmetric about the centre, so that it favours none
    lever = ((np.arange(columns) - center) / columns).astype(np.float32)
    lever -= np.float32((window32 * lever).sum() / window32.sum())
    basis = np.stack([window32 / window32.sum(), window32 * lever / (window32 * lever**2).sum()], axis=1)
    level = projections @ basis
    rest = level @ np.stack([np.ones_like(lever), lever])
    np.subtract(projections, rest, out=rest)
    rest *= window32
    spectrum = scipy.fft.rfft(rest, nfft, axis=-1, workers=1)
    return np.asarray(spectrum[..., :kmax])


def frequencies(columns: int) -> tuple[int, Array, Array]:
    """Length of the transform, the frequencies used (radians per pixel) and their weights."""
    nfft = scipy.fft.next_fast_len(columns + 32, real=True)
    k = 2 * np.pi / nfft * np.arange(nfft // 2 + 1)
    k = k[k <= min(2 * CUTOFF, np.pi)]
    low = 12 * np.pi / columns  # slow background: drift of the beam, cut edges
    return nfft, k, (1 - np.exp(-((k / low) ** 2))) * np.exp(-((k / CUTOFF) ** 2))


def wedge_cross(spectrum: Array, k: Array, radius: float, closed: bool) -> Array:
    """Cross spectrum (k) of a half turn with its mirrored continuation, from what lies outside the wedge.

    `spectrum` (angle, k) is on a uniform grid over half a turn, with the partner of the first angle as last one if
    `closed`. The energy outside the wedge of the sinogram extended to a whole turn at centre c is a constant
    minus ``2 Re sum_k exp(2ikc) X(k)``, and X is returned.
    """
    steps = len(spectrum) - 1 if closed else len(spectrum)
    part, outside = outside_wedge(spectrum, k, radius, closed)
    used = part.shape[1]
    turn = scipy.fft.fft(part, 2 * steps, axis=0, workers=1)
    cross = np.zeros(len(k), np.complex128)
    product = turn[1:steps] * turn[: steps - 1 : -1][: steps - 1]
    product *= outside
    cross[:used] = -product.sum(axis=0, dtype=np.complex128) / steps
    if closed:
        cross += spectrum[0] * spectrum[-1]
    return cross


def outside_wedge(spectrum: Array, k: Array, radius: float, closed: bool) -> tuple[Array, Array]:
    """Spectra (angle, k) as they are transformed along the angle, and the weights (harmonic from 1, k) outside."""
    steps = len(spectrum) - 1 if closed else len(spectrum)
    used = int(np.searchsorted(k * radius + 4, steps))  # beyond, the wedge fills everything
    part = spectrum[:, :used].copy()
    if closed:
        part[0] *= 0.5
        part[-1] *= 0.5
    edge = k[:used] * radius + 4
    n = np.arange(1, steps)
    outside = np.clip((n[:, None] - edge) / (0.15 * edge + 4), 0, 1).astype(np.float32)
    outside *= outside * (3 - 2 * outside)
    outside[::2] *= -1  # the mirrored half turn starts at pi: (-1)^n
    return part, outside


def row_cross(sinogram: Array, turns: HalfTurns, center: float, radius: float) -> Array:
    """Cross spectrum of one row's sinogram (angle, column), windowed about `center`."""
    nfft, k, _ = frequencies(sinogram.shape[-1])
    cross = np.zeros(len(k), np.complex128)
    for start in turns.starts:
        count = {"full": 2 * turns.steps, "closed": turns.steps + 1}.get(turns.kind, turns.steps)
        spectrum = spectra(resample(sinogram, turns, start, count), center, nfft, len(k))
        if turns.kind == "full":
            cross += (spectrum[: turns.steps] * spectrum[turns.steps :]).sum(axis=0, dtype=np.complex128)
        else:
            cross += wedge_cross(spectrum, k, radius, turns.kind == "closed")
    return cross


def score_curve(cross: Array, k: Array, weight: Array, centers: Array) -> Array:
    """Score of trial centres: the real part of the cross spectrum turned by ``exp(2ikc)``."""
    return np.real(np.exp(2j * centers[:, None] * k) @ (weight * cross))


def climb(cross: Array, k: Array, weight: Array, start: float, reach: float) -> float:
    """Centre of the highest score within `reach` of `start`; raises ValueError where there is no maximum inside."""
    trial = start + np.linspace(-reach, reach, 2 * int(np.ceil(10 * reach)) + 1)
    score = score_curve(cross, k, weight, trial)
    best = int(np.argmax(score))
    if best in (0, len(trial) - 1):
        raise ValueError(
            f"the centre of rotation was not found: no best match within {reach:g} pixels of column {start:.1f}; "
            "choose rows with more structure or give the centre"
        )
    center = float(trial[best])
    for _ in range(8):
        slope, curvature = slope_curvature(cross, k, weight, center)
        move = float(slope.sum() / max(curvature.sum(), 1e-30))
        center += float(np.clip(move, -0.1, 0.1))
    return center


def slope_curvature(cross: Array, k: Array, weight: Array, center: float) -> tuple[Array, Array]:
    """First and minus second derivative of the score per frequency (last axis)."""
    turned = weight * cross * np.exp(2j * k * center)
    return np.real(2j * k * turned), np.real(4 * k * k * turned)


def settle(step: Callable[[float], float], start: float, tolerance: float = 1e-3) -> tuple[float, float]:
    """Fixed point of `step`, and its slope: a window placed about the old centre pulls the new one to it."""
    center = step(start)
    slope = float(np.clip(step(center + 0.5) - step(center - 0.5), -0.5, 0.85))
    for _ in range(5):
        move = (step(center) - center) / (1 - slope)
        center += move
        if abs(move) < tolerance:
            break
    return center, slope


def small_sample(count: int) -> float:
    """How much wider than a normal one the 68 % interval of Student's t with `count` degrees of freedom is."""
    return float(scipy.special.stdtrit(max(count, 1), 0.8413447))


def pooled(within: float, between: float, freedom: int) -> float:
    """Return the variance of which scatter within rows and between rows tell one estimate each.

    A few rows tell little, and the larger of two uncertain figures is too large on the average: both are averaged by
    their degrees of freedom, unless rows differ far more than what is within them explains.
    """
    if between > UNLIKE * within:
        return between * small_sample(freedom) ** 2
    together = freedom + WITHIN
    return (freedom * between + WITHIN * within) / together * small_sample(together) ** 2


def summarise(crosses: Array, columns: int, center: float, pull: float, radius: float) -> PairCenter:
    """Centre, standard error, centres of rows and the score curve from cross spectra (row, k)."""
    _, k, weight = frequencies(columns)
    slope, curvature = slope_curvature(crosses, k, weight, center)
    information = float(curvature.sum())
    if not information > 0:
        raise ValueError(
            "the centre of rotation was not found: the rows hold no structure; choose rows that cross the sample"
        )
    center += float(slope.sum()) / information / (1 - pull)
    gain = 1 / (information * (1 - pull))
    block = 4  # neighbouring frequencies share the window's width
    floor = 1e-3 * information / len(crosses)  # a row without content tells nothing of the centre
    of_row = curvature.sum(axis=1, keepdims=True)
    ratio = np.where(of_row > floor, slope.sum(axis=1, keepdims=True) / np.maximum(of_row, floor), 0)
    rest = slope - curvature * ratio  # what rows differ by is in their scatter
    blocks = rest[:, : rest.shape[1] // block * block].reshape(len(rest), -1, block).sum(axis=2)
    variance = float((blocks**2).sum()) * gain**2
    noise = float(np.sqrt(variance))
    rows = len(crosses)
    per_row = slope.sum(axis=1) - slope.sum() * curvature.sum(axis=1) / information
    if rows > 1:
        of_rows = float((per_row**2).sum()) * rows / (rows - 1) * gain**2
        variance = pooled(variance, of_rows, rows - 1)
    row_information = np.maximum(curvature.sum(axis=1), 0)
    offset = per_row / np.maximum(row_information, floor) / (1 - pull)
    trial = center + np.linspace(-15, 15, 301)
    score = score_curve(crosses.sum(axis=0), k, weight, trial)
    peak = float(score_curve(crosses.sum(axis=0), k, weight, np.array([center]))[0])
    return PairCenter(
        center=center,
        sigma=float(np.hypot(np.sqrt(variance), 0.003)),  # the method's own error on noise-free data
        row_center=center + offset,
        row_weight=row_information,
        sigma_of_noise=noise,
        radius=radius,
        pull=pull,
        curve=np.stack([trial, score / max(abs(peak), 1e-30)]),
    )


def coarse_center(first: Array, second: Array, minimum: int = 16, widening: float = 1.0) -> tuple[float, float, float]:
    """Centre to about a pixel anywhere on the detector, from pairs (pair, column) half a turn apart.

    Normalised cross-correlation over the overlap (Padfield, IEEE Trans. Image Proc. 21 (2012) 2706) of
    `first` with the mirrored `second`, background taken off. Returns the centre, the correlation there and the
    standard deviation that a correlation by chance would have. `widening` smooths more, for few counts.
    """
    columns = first.shape[-1]
    smooth = widening * max(1.0, columns / 500)
    flat = [scipy.ndimage.gaussian_filter1d(np.asarray(a, np.float64), smooth, order=1) for a in (first, second)]
    a, b = flat[0], -flat[1][:, ::-1]
    limit = 8 * max(float(np.median(np.abs(np.stack([a, b])))), float(np.std(a)) / 8)
    a, b = np.clip(a, -limit, limit), np.clip(b, -limit, limit)
    size = scipy.fft.next_fast_len(2 * columns, real=True)

    def correlate(x: Array, y: Array) -> Array:
        product = np.conj(scipy.fft.rfft(y, size, workers=1)) * scipy.fft.rfft(x, size, workers=1)
        return np.asarray(scipy.fft.irfft(product.reshape(-1, product.shape[-1]).sum(axis=0), size, workers=1))

    one = np.ones_like(a)
    top = correlate(a, b)
    energy = np.maximum(correlate(a * a, one), 0) * np.maximum(correlate(one, b * b), 0)
    shift = np.arange(size)
    shift[shift > size // 2] -= size
    overlap = columns - np.abs(shift)
    # an empty overlap correlates by chance: ask for a share of the whole energy too
    share = 0.05 * np.sqrt(float((a * a).sum()) * float((b * b).sum()))
    score = np.where(overlap >= minimum, top / (np.sqrt(energy) + share + 1e-30), -1.0)
    best = int(np.argmax(score))
    near = score[[best - 1, best, (best + 1) % size]]
    bend = 2 * near[1] - near[0] - near[2]
    fraction = float(np.clip((near[2] - near[0]) / (2 * bend), -0.5, 0.5)) if bend > 1e-9 else 0.0
    # shift s aligns column x of `first` with column W-1-(x-s) of `second`: 2c = W-1+s
    independent = a.size / columns * float(overlap[best]) / (2.5 * smooth)  # the filter's correlation length
    return (columns - 1 + float(shift[best]) + fraction) / 2, float(score[best]), float(independent**-0.5)


def center_from_pair(p0: Array, p180: Array, *, start: float | None = None) -> PairCenter:
    """Centre from pairs of projections half a turn apart.

    Parameters
    ----------
    p0, p180 : array
        (row, column) or (pair, row, column) line integrals; `p180` half a turn after `p0`. A different air scale
        (a constant in every row) does not matter.
    start : float, optional
        Centre to within some pixels; looked for over the whole detector otherwise.

    Returns
    -------
    PairCenter
        With the centres and weights of the rows.

    Raises
    ------
    ValueError
        Where shapes differ or no match is found.
    """
    first, second = (np.asarray(to_host(a), np.float32) for a in (p0, p180))
    if first.shape != second.shape or first.ndim not in (2, 3):
        raise ValueError(f"projections half a turn apart differ in shape: {first.shape} and {second.shape}")
    first, second = (a.reshape((-1, *a.shape[-2:])) for a in (first, second))
    columns = first.shape[-1]
    if start is None:
        start, _, _ = coarse_center(first.reshape(-1, columns), second.reshape(-1, columns))
    nfft, k, weight = frequencies(columns)

    def crosses(center: float) -> Array:
        a, b = (spectra(x, center, nfft, len(k)) for x in (first, second))
        return np.asarray((a * b).sum(axis=0, dtype=np.complex128))

    def step(center: float) -> float:
        return climb(crosses(inside(center, columns)).sum(axis=0), k, weight, center, 6.0)

    center, pull = settle(step, start)
    cross = crosses(inside(center, columns))
    return summarise(cross, columns, center, pull, min(center, columns - 1 - center))


def inside(center: float, columns: int) -> float:
    """The centre itself, or a ValueError where it leaves no room for a window on the detector."""
    if not 8 <= center <= columns - 9:
        raise ValueError(
            f"the centre of rotation {center:.1f} is outside the detector's columns 8 to {columns - 9}; "
            "check the angles or give the centre"
        )
    return center


def center_from_turns(
    sinograms: Array, turns: HalfTurns, start: float, *, pull: float = 0.0, radius: float | None = None
) -> PairCenter:
    """Refine the centre near `start` with all angles of sinograms (angle, row, column) free of bad columns.

    `pull` is how strongly the window pulls (see `settle`), as found with `center_from_pair`; `radius` the sample's
    largest radius, by default up to the detector's farther edge.
    """
    columns = sinograms.shape[-1]
    _, k, weight = frequencies(columns)

    for attempt in range(3):
        start = inside(start, columns)
        reach = radius if radius is not None else max(start, columns - 1 - start) + 0.5
        cross = np.stack([row_cross(sinograms[:, r], turns, start, reach) for r in range(sinograms.shape[1])])
        found = climb(cross.sum(axis=0), k, weight, start, 4.0)
        center = start + (found - start) / (1 - pull)
        if abs(center - start) < 0.02 or attempt == 2:
            break
        start = center
    shift = center - found
    result = summarise(cross, columns, found, pull, reach)
    return replace(
        result,
        center=result.center + shift,
        row_center=result.row_center + shift,
        curve=result.curve + np.array([[shift], [0.0]]),
    )
