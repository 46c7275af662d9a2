"""A smooth halo of scattered light, taken off before the logarithm.

What a detector sees is the light and, from scintillator, lens and sample, a share of it again as a halo far wider than
any detail. A halo that wide is the same of the light and of what is measured, to first order in the share, so one pass
suffices (Seibert, Nalcioglu & Roeck, Med. Phys. 12, 281 (1985), for the deconvolution it stands for).
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

from xct_pipeline.device import Array, array_namespace, is_cupy, to_device

BINS = 6  # of a standard deviation: what is smooth over that needs no finer grid
EDGE = 3  # columns at either edge that are taken for air
LEAST = 0.1  # of the light that was measured: less is never left, however large the halo


def remove_halo(p: Array, *, share: float, width: float, air: bool) -> Any:
    """Take a Gaussian halo off whole projections.

    With the light T and its smoothed K T, the transmission is ``a (T + s K T) / (1 + s)``: flats have the halo as well,
    and a makes air 1. From it ``T = a' ((1 + s) m - s K m)``, exact up to s times what smoothing twice adds to once.

    Parameters
    ----------
    p : (angle, row, column) float32, numpy or CuPy
        Line integrals of whole projections, dimensionless; nothing of the halo comes from rows that are not there.
    share : float
        Of the light, that comes again as the halo: s.
    width : float
        Standard deviation of the halo, columns.
    air : bool
        Projections were scaled to air, which is then kept at the columns at both edges.

    Returns
    -------
    (angle, row, column) float32, same kind of array

    Raises
    ------
    ValueError
        A share that is negative or not below 1, or a width that is not above 0.
    """
    if not (0 <= share < 1 and width > 0):
        raise ValueError(f"a halo of a share of {share} and {width} columns: 0 to below 1 over more than 0 is needed")
    xp = array_namespace(p)
    light = xp.exp(-p)
    narrow, spread = (smoothing(n, width) for n in p.shape[1:])
    if is_cupy(p):
        narrow, spread = ((to_device(a), to_device(b)) for a, b in (narrow, spread))
    coarse = narrow[1] @ light @ spread[1].T
    halo = narrow[0] @ coarse @ spread[0].T
    factor: Any = 1.0
    if air:
        edges = xp.concatenate([halo[..., :EDGE], halo[..., -EDGE:]], axis=-1).mean(axis=(1, 2), keepdims=True)
        factor = (1.0 / (1.0 + share * (1.0 - edges))).astype(np.float32)
    left = factor * (np.float32(1 + share) * light - np.float32(share) * halo)
    return -xp.log(xp.maximum(left, np.float32(LEAST) * light)).astype(np.float32)


@functools.cache
def smoothing(size: int, width: float) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return what interpolates from a coarse grid (size, bins), and what bins and smooths to it (bins, size)."""
    bins = min(size, max(2, int(np.ceil(size * BINS / width))))
    edges = np.linspace(0, size, bins + 1)
    pixel = np.arange(size)
    share = np.clip(np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel), 0, 1)
    smooth = scipy.ndimage.gaussian_filter1d(share, width * bins / size, axis=0, mode="nearest") * bins / size
    places = (pixel + 0.5) * bins / size - 0.5
    between = np.stack([np.interp(places, np.arange(bins), row) for row in np.eye(bins)], axis=1)
    return between.astype(np.float32), smooth.astype(np.float32)
