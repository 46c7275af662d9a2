"""The exact discrete ramp, the apodisation windows and the weights of angles of filtered back-projection."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import scipy

FilterName = Literal["ram-lak", "shepp-logan", "cosine", "hann", "hamming", "butterworth"]
FILTERS: tuple[FilterName, ...] = get_args(FilterName)
FILLED = np.radians(10.0)  # the widest hole that the projections beside it stand for: their streaks stay below its bias


def ramp(length: int) -> np.ndarray[Any, Any]:
    """Transform of the spatial ramp: the filter that leaves no bias in the mean.

    The band-limited ramp sampled at unit spacing is 1/4 at 0, ``-1/(pi n)**2`` at odd n and 0 at even n
    (Kak and Slaney, Principles of Computerized Tomographic Imaging, 1988, eq. 61). Its transform over
    `length` samples is |k| except near zero, where it is small but not 0: using |k| itself shifts every
    value of the image.

    Parameters
    ----------
    length : int
        Number of samples the projections are padded to; even.

    Returns
    -------
    numpy.ndarray
        float64, `length` real values in the order of ``fftfreq``, in 1/pixel.

    Raises
    ------
    ValueError
        If `length` is odd or below 2.
    """
    if length < 2 or length % 2:
        raise ValueError(f"the padded length of a projection is {length}: give an even number of at least 2")
    distance = np.minimum(np.arange(length), length - np.arange(length)).astype(np.float64)
    spatial = np.zeros(length)
    spatial[0] = 0.25
    odd = distance % 2 == 1
    spatial[odd] = -1.0 / (np.pi * distance[odd]) ** 2
    return np.ascontiguousarray(scipy.fft.fft(spatial).real)


def window(
    length: int, name: FilterName = "ram-lak", *, cutoff: float = 1.0, order: float = 8.0
) -> np.ndarray[Any, Any]:
    """Apodisation that multiplies the ramp.

    With f the frequency over `cutoff` times the Nyquist frequency: ram-lak 1, shepp-logan ``sinc(f / 2)``,
    cosine ``cos(pi f / 2)``, hann ``(1 + cos(pi f)) / 2``, hamming ``0.54 + 0.46 cos(pi f)``, all 0 above
    f = 1; butterworth ``1 / sqrt(1 + f**(2 order))``, never 0 (Butterworth 1930; the others as in Kak and
    Slaney 1988).

    Parameters
    ----------
    length : int
        Number of samples of the padded projection.
    name : str
        One of ``FILTERS``.
    cutoff : float
        Fraction of the Nyquist frequency, above 0 and at most 1.
    order : float
        Steepness of the Butterworth window; not used by the others.

    Returns
    -------
    numpy.ndarray
        float64, `length` values in the order of ``fftfreq``.

    Raises
    ------
    ValueError
        If the name is unknown, the cutoff outside (0, 1] or the order not above 0.
    """
    if not 0.0 < cutoff <= 1.0:
        raise ValueError(f"the cutoff is {cutoff}: give a fraction of the Nyquist frequency in (0, 1]")
    if order <= 0:
        raise ValueError(f"the Butterworth order is {order}: give a number above 0")
    f = np.abs(scipy.fft.fftfreq(length)) / (0.5 * cutoff)
    if name == "butterworth":
        return np.asarray(1.0 / np.sqrt(1.0 + f ** (2.0 * order)))
    if name == "ram-lak":
        values = np.ones(length)
    elif name == "shepp-logan":
        values = np.sinc(f / 2)
    elif name == "cosine":
        values = np.cos(np.pi * f / 2)
    elif name == "hann":
        values = 0.5 + 0.5 * np.cos(np.pi * f)
    elif name == "hamming":
        values = 0.54 + 0.46 * np.cos(np.pi * f)
    else:
        raise ValueError(f"unknown filter {name!r}: one of {', '.join(FILTERS)}")
    return np.where(f <= 1.0 + 1e-12, values, 0.0)


def angular_weights(angles: np.ndarray[Any, Any], *, period: float = np.pi) -> np.ndarray[Any, Any]:
    """Share of the half turn that each projection stands for.

    Every angle gets half of the gap to either neighbour modulo `period`, whatever their order. Angles that
    coincide modulo `period` (0 and 180 degrees, or the second half of a full turn) share one weight equally.
    A gap above four times the usual one (and 10 degrees) is a part that was not measured: its neighbours get no
    more than that of it, and all projections share the rest, so that the weights sum to `period` and the mean of
    the slice is kept; what the missing directions would have shown stays unknown, see `missing_range`.
    The usual gap is the one below which the shorter gaps cover a quarter of the period, so that neither one
    missing wedge nor many near-duplicates change it.

    Parameters
    ----------
    angles : (angle,) radians, any order and range
    period : pi, or 2 pi for data weighted such that opposite projections complement each other

    Returns
    -------
    (angle,) float64, radians

    Raises
    ------
    ValueError
        If an angle is not finite or there are fewer than three.
    """
    order, cluster, size, after, usual = _gaps(angles, period)
    after = np.minimum(after, max(4.0 * usual, FILLED))
    share = 0.5 * (after + np.roll(after, 1)) / size
    weights = np.empty(len(order))
    weights[order] = share[cluster]
    return np.asarray(weights * (period / weights.sum()))


def missing_range(angles: np.ndarray[Any, Any], *, period: float = np.pi) -> float:
    """Return the widest part of `period` (radians) without a projection, beyond four times the usual gap; else 0."""
    _, _, _, after, usual = _gaps(angles, period)
    widest = float(after.max())
    return widest - usual if widest > 4 * usual else 0.0


def _gaps(angles: np.ndarray[Any, Any], period: float) -> tuple[Any, Any, Any, Any, float]:
    """Order, cluster and its size for each angle; for each cluster the gap after it; and the usual gap."""
    angles = np.asarray(angles, np.float64)
    if angles.ndim != 1 or angles.size < 3:
        raise ValueError(f"angles of shape {angles.shape}: give a list of at least three")
    if not np.isfinite(angles).all():
        raise ValueError(f"{np.count_nonzero(~np.isfinite(angles))} angles are not finite: leave them out")
    wrapped = np.mod(angles, period)
    order = np.argsort(wrapped, kind="stable")
    gaps = np.diff(wrapped[order], append=wrapped[order[0]] + period)
    # Clusters of equal angles: a gap far below the mean one is read-out noise of the same position.
    same = gaps < 1e-3 * period / angles.size
    if np.count_nonzero(~same) < 2:
        raise ValueError("all angles are equal modulo half a turn: nothing can be reconstructed")
    start = (np.flatnonzero(~same)[0] + 1) % angles.size
    order, gaps, same = (np.roll(a, -start) for a in (order, gaps, same))
    cluster = np.concatenate(([0], np.cumsum(~same[:-1])))
    size = np.bincount(cluster)
    after = np.bincount(cluster, weights=gaps * ~same)
    by_length = np.sort(after)
    usual = by_length[np.searchsorted(np.cumsum(by_length), 0.25 * by_length.sum())]
    return order, cluster, size, after, float(usual)
