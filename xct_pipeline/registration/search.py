"""Where a registration starts: shifts proposed by phase correlation on the coarsest level."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray


def phase_shifts(
    reference: NDArray[np.float32], moving: NDArray[np.float32], *, sharpness: float = 0.6, count: int = 3
) -> list[NDArray[np.float64]]:
    """Propose shifts between two volumes from the peaks of their phase correlation (Kuglin and Hines 1975).

    Parameters
    ----------
    reference, moving : arrays (z, y, x) of one shape; NaN counts as the mean
    sharpness : power of the amplitude that is divided out: 1 is phase correlation, 0 plain cross-correlation; between
        the two neither noise nor a large flat object decides alone
    count : at most this many peaks

    Returns
    -------
    shifts (z, y, x) in voxels, best first, with ``reference(p) ~ moving(p + shift)``.
    """
    shape = tuple(2 * n for n in reference.shape)  # padded: shifts up to the whole volume, without wrapping around
    spectra = [scipy.fft.rfftn(_windowed(v), shape, workers=1) for v in (reference, moving)]
    product = np.conj(spectra[0]) * spectra[1]
    amplitude = np.abs(product)
    top = float(amplitude.max())
    if top == 0.0:
        return []
    product /= (amplitude + 1e-6 * top) ** sharpness
    surface = scipy.fft.irfftn(product, shape, workers=1)
    surface = scipy.ndimage.gaussian_filter(surface, 0.7, mode="wrap")
    peaks = (surface == scipy.ndimage.maximum_filter(surface, size=5, mode="wrap")) & (surface > 0)
    where = np.argwhere(peaks)
    best = where[np.argsort(-surface[peaks], kind="stable")[:count]]
    signed = np.where(best >= np.array(shape) // 2, best - np.array(shape), best)
    return [row.astype(np.float64) for row in signed]


def template_shift(
    reference: NDArray[np.float32], moving: NDArray[np.float32], mask: NDArray[np.bool_], reach: int
) -> NDArray[np.float64]:
    """Return the shift of whole voxels by which the masked part of one volume is found again in another.

    Parameters
    ----------
    reference, moving : arrays (z, y, x) of one shape; NaN counts as the mean
    mask : the part that is looked for
    reach : voxels each way

    Returns
    -------
    shift (z, y, x) in voxels, with ``reference(p) ~ moving(p + shift)`` on the mask: the highest zero-normalised
    correlation over it.
    """
    part = mask & np.isfinite(reference)
    if not part.any():
        return np.zeros(3)
    shape = tuple(scipy.fft.next_fast_len(n + 2 * reach, real=True) for n in reference.shape)
    known = np.isfinite(moving)
    other = np.where(known, moving - (moving[known].mean() if known.any() else 0.0), 0.0).astype(np.float64)
    template = np.where(part, reference - reference[part].mean(dtype=np.float64), 0.0)

    def correlate(image: NDArray[np.float64], kernel: NDArray[np.float64]) -> NDArray[np.float64]:
        product = scipy.fft.rfftn(image, shape, workers=1) * np.conj(scipy.fft.rfftn(kernel, shape, workers=1))
        found = scipy.fft.irfftn(product, shape, workers=1)
        return np.asarray(np.roll(found, reach, axis=(0, 1, 2))[tuple(slice(0, 2 * reach + 1) for _ in range(3))])

    weight = part.astype(np.float64)
    variance = correlate(other**2, weight) - correlate(other, weight) ** 2 / weight.sum()
    floor = 1e-6 * max(float(variance.max()), 1e-30)
    score = correlate(other, template) / np.sqrt(np.maximum(variance, floor))
    best = np.unravel_index(int(np.argmax(score)), score.shape)
    return np.array(best, np.float64) - reach


def _windowed(volume: NDArray[Any]) -> NDArray[np.float64]:
    """Return a volume about its mean, faded to 0 over the outer eighth of each axis: borders must not correlate."""
    v = np.asarray(volume, np.float64)
    known = np.isfinite(v)
    v = np.where(known, v - (v[known].mean() if known.any() else 0.0), 0.0)
    for axis, n in enumerate(v.shape):
        edge = max(1.0, n / 8)
        t = np.clip((np.minimum(np.arange(n), np.arange(n)[::-1]) + 0.5) / edge, 0, 1)
        v *= np.expand_dims(np.sin(0.5 * np.pi * t) ** 2, [a for a in range(3) if a != axis])
    return v
