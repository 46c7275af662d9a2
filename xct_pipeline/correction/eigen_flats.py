"""Principal components of flats, free of as much of their noise as can be told (Van Nieuwenhove et al. 2015)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

from xct_pipeline.correction.parallel import SEED, significant

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
MOST = 6  # components that are looked for
CLIP = 6.0  # standard deviations beyond which a hit is cut
BINS = (256, 64)  # rows and columns of the frame in which flats are compared


@dataclass(frozen=True)
class EigenFlats:
    """Principal components of flats.

    Attributes
    ----------
    images : numpy.ndarray of float32 (component, row, column)
        Relative light of r.m.s. 1.
    sizes : numpy.ndarray of float64 (component,)
        R.m.s. share of the light that each makes among the flats.
    noise : numpy.ndarray of float64 (component,)
        Variance of a pixel of the images by the noise of the flats.
    """

    images: Singles
    sizes: Floats
    noise: Floats

    def beyond_bands(self, left: slice, right: slice) -> npt.NDArray[np.bool_]:
        """Tell which components hold more than bands that are linear between two edges, and more than noise.

        What those hold is left to the bands, which air shows without the noise of flats: it would grow with the
        amount, and that may be many times what the flats saw.

        Parameters
        ----------
        left, right : slice
            Columns of air at the edges.
        """
        columns = self.images.shape[2]
        share = (np.arange(columns) - _middle(left)) / (_middle(right) - _middle(left))
        ends = [self.images[:, :, side].mean(axis=2)[..., None] for side in (left, right)]
        rest = self.images - (ends[0] + (ends[1] - ends[0]) * share)
        # the noise of the rest is that of the image and of both ends; what is left must exceed what it brings in
        return np.asarray((rest.astype(np.float64) ** 2).mean(axis=(1, 2)) > 4 * self.noise)


def eigen_flats(flats: Any, mean: Singles, dark: Any = 0.0, most: int = MOST, least: int = 0) -> EigenFlats:
    """Find the principal components of flats that exceed their noise.

    Parameters
    ----------
    flats : array (frame, row, column)
        Counts of any type. Their levels may differ: each is scaled to the mean.
    mean : array (row, column)
        Their mean without the dark; what is not a positive number is left out.
    dark : array (row, column) or float
    most, least : int
        Components at the most, and that are taken whether they exceed noise or not.

    Returns
    -------
    EigenFlats
        Detail that a component does not show beyond its noise is smoothed along the rows.
    """
    count, image, base = len(flats), mean.shape, np.asarray(dark, np.float32)
    usable = np.isfinite(mean) & (mean > 0)
    inverse = np.where(usable, 1.0 / np.where(usable, mean, 1), 0).astype(np.float32)
    shape = tuple(min(n, b) for n, b in zip(image, BINS, strict=True))
    binned = np.stack([_binned(_relative(frame - base, inverse, usable), shape).ravel() for frame in flats])
    binned -= binned.mean(axis=0)
    most = max(0, min(most, count - 2))
    vectors = significant(binned[:, None], most, least)
    if not len(vectors):
        return EigenFlats(np.zeros((0, *image), np.float32), np.zeros(0), np.zeros(0))
    images = np.zeros((len(vectors), *image), np.float32)
    square = np.zeros(image, np.float32)
    for frame, weights in zip(flats, vectors.T, strict=True):
        change = _relative(frame - base, inverse, usable)
        square += change * change
        images += weights.astype(np.float32)[:, None, None] * change
    noise = np.maximum(square - (images * images).sum(axis=0), 0) / max(count - 1 - len(vectors), 1)
    level = float(np.median(noise[usable]))
    smooth = np.stack([_smoothed(each, level) for each in images])
    rms = np.sqrt(np.mean(smooth[:, usable].astype(np.float64) ** 2, axis=1))
    kept = rms > 0
    smooth[:, ~usable] = 0
    grain = np.random.default_rng(SEED).normal(0, np.sqrt(level), (min(image[0], 64), image[1])).astype(np.float32)
    left = float(np.var(_smoothed(grain, level)))  # of noise, after smoothing
    images = np.asarray(smooth[kept] / rms[kept, None, None], np.float32)
    return EigenFlats(images, np.asarray(rms[kept] / np.sqrt(count - 1)), left / rms[kept] ** 2)


def _middle(part: slice) -> float:
    return float((part.start + part.stop - 1) / 2)


def _relative(frame: Singles, inverse: Singles, usable: npt.NDArray[np.bool_]) -> Singles:
    """Return by what share a flat deviates from the mean, but for its level; hits are cut."""
    ratio = frame * inverse
    ratio[~np.isfinite(ratio)] = 0
    some = ratio[usable][:: max(1, ratio.size // 65536)]
    level = np.median(some)
    ratio = np.where(usable, ratio / level - 1, 0).astype(np.float32)
    limit = np.float32(CLIP * 1.483 * np.median(np.abs(some / level - 1)) + 1e-6)
    ratio = np.clip(ratio, -limit, limit)
    mean = np.float32(ratio[usable].mean(dtype=np.float64))
    return np.asarray(np.where(usable, (ratio - mean) / (1 + mean), 0), np.float32)


def _binned(image: Singles, shape: tuple[int, ...]) -> Singles:
    """Return means over about equal blocks."""
    for axis, n in enumerate(shape):
        edges = np.linspace(0, image.shape[axis], n + 1).astype(int)
        total = np.add.reduceat(image, edges[:-1], axis=axis)
        image = np.divide(total, np.diff(edges).reshape([-1 if k == axis else 1 for k in range(2)]), dtype=np.float32)
    return image


def _smoothed(image: Singles, variance: float) -> Singles:
    """Smooth along the rows where detail does not exceed noise (Lee, IEEE PAMI 2, 165 (1980))."""
    window = (3, 15)
    base = scipy.ndimage.gaussian_filter1d(image, 6.0, axis=1, mode="nearest")
    detail = image - base
    power = scipy.ndimage.uniform_filter(detail * detail, window, mode="nearest")
    surely = variance * (1 + 4 * np.sqrt(2 / (window[0] * window[1])))
    share = np.where(power > surely, 1 - variance / np.maximum(power, 1e-30), 0)
    return np.asarray(base + share * detail, np.float32)
