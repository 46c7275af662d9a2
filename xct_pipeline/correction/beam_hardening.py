"""Polynomial linearisation of line integrals against beam hardening.

Herman, Phys. Med. Biol. 24 (1979) 81: for one material the measured polychromatic line integral p is a
monotonic function of the path length, so a polynomial of p gives what a monochromatic beam would have measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from xct_pipeline.device import Array, array_namespace


def linearise(p: Array, coefficients: Sequence[float] = (1.0,), *, up_to: float = 8.0) -> Any:
    """Replace the line integral p by c0 p + c1 p^2 + c2 p^3 + ...

    Outside 0 ... `up_to` the polynomial is continued as a straight line, so that noise around 0 and opaque
    pixels are not magnified.

    Parameters
    ----------
    p : float32 array
        Line integrals of any shape; numpy or CuPy.
    coefficients : sequence of float
        c0, c1, ...; (1.0,) is the identity.
    up_to : float
        Largest line integral the coefficients are meant for.

    Returns
    -------
    float32 array
        For the identity, `p` itself.

    Raises
    ------
    ValueError
        No coefficients, or a polynomial that does not increase over 0 ... `up_to`.
    """
    c = _checked(coefficients, up_to)
    if c[0] == 1 and not c[1:].any():
        return p
    xp = array_namespace(p)
    inside = xp.clip(p, 0, xp.float32(up_to))
    total = xp.full(p.shape, c[-1], xp.float32)
    for value in c[-2::-1]:
        total *= inside
        total += xp.float32(value)
    total *= inside
    slope = float(np.polynomial.polynomial.polyval(up_to, np.arange(1, c.size + 1) * c))
    beyond = p - inside
    return total + beyond * xp.where(beyond < 0, xp.float32(c[0]), xp.float32(slope))


def _checked(coefficients: Sequence[float], up_to: float) -> npt.NDArray[np.float64]:
    """Refuse a polynomial that would give one value to two path lengths."""
    c = np.asarray(coefficients, np.float64)
    if c.ndim != 1 or c.size == 0 or not np.isfinite(c).all() or not up_to > 0:
        raise ValueError(f"beam hardening needs finite coefficients c0, c1, ... and up_to > 0: {coefficients}")
    x = np.linspace(0, up_to, 1001)
    slope = np.polynomial.polynomial.polyval(x, np.arange(1, c.size + 1) * c)
    if slope.min() <= 0:
        at = float(x[np.argmin(slope)])
        raise ValueError(
            f"the beam hardening polynomial {c.tolist()} falls near p = {at:.3g}; it must increase from 0 to {up_to:g}"
        )
    return c


def spectrum_coefficients(
    energy_keV: npt.ArrayLike,
    weight: npt.ArrayLike,
    formula: str,
    density: float,
    reference_keV: float,
    *,
    degree: int = 4,
    up_to: float = 8.0,
) -> npt.NDArray[np.float64]:
    """Compute the coefficients for one material in a known spectrum (attenuation from xraydb).

    Parameters
    ----------
    energy_keV, weight : array (energy,)
        The detected spectrum: photons times the detector's response, any scale.
    formula, density : str, float
        Material; g/cm3.
    reference_keV : float
        Energy whose attenuation the result shall have.
    degree : int
        Number of coefficients.
    up_to : float
        Largest polychromatic line integral that is fitted.
    """
    import xraydb

    energy, w = np.atleast_1d(np.asarray(energy_keV, float)), np.atleast_1d(np.asarray(weight, float))
    if energy.shape != w.shape or not ((energy > 0).all() and (w >= 0).all() and w.sum() > 0 and density > 0):
        raise ValueError("the spectrum needs positive energies, weights of the same number, and density > 0")
    mu = np.atleast_1d(xraydb.material_mu(formula, 1000 * energy, density))
    reference = float(np.atleast_1d(xraydb.material_mu(formula, 1000 * np.array([reference_keV]), density))[0])
    share = w / w.sum()
    used = mu[share > 0]
    path = np.linspace(0, up_to / used.min(), 4001)[1:]
    p = -np.log(np.exp(-np.outer(path, mu)) @ share)
    path, p = path[p <= up_to], p[p <= up_to]
    relative = np.stack([p**k for k in range(1, degree + 1)], axis=1) / (reference * path)[:, None]
    return np.asarray(np.linalg.lstsq(relative, np.ones(p.size), rcond=None)[0], np.float64)
