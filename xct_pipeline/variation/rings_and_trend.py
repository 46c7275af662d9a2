"""A slow trend in radial profiles beside rings: what a few columns of the detector leave is told from cupping.

A column that is off leaves a ring at its radius and a bowl inside it. So a profile is the sum of slow terms, of the
responses to all columns with unknown strengths, and of noise. Most columns are good and a few are far off: strengths
follow Student's t, whose scales are found by expectation-maximisation together with those of the noise
(Lange, Little & Taylor, J. Am. Stat. Assoc. 84, 881 (1989)).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

FREEDOM = 2.0  # of Student's t: heavy tails
ROUNDS = 300
START = 1e-3  # of the strengths of columns: line integrals


class Trend(NamedTuple):
    """Coefficients of the slow terms, and what their estimate is made of."""

    coefficients: Floats
    covariance: Floats
    weights: Floats
    """(term, point): the coefficients are these times the profile"""
    ring: float
    """scale of the strengths of good columns"""
    noise: float
    """of the noise, as a multiple of what was expected"""


def fit_trend(profile: npt.ArrayLike, terms: npt.ArrayLike, rings: npt.ArrayLike, noise: npt.ArrayLike) -> Trend:
    """Fit slow terms to a profile with rings in it.

    Parameters
    ----------
    profile : (point,) 1/cm
    terms : (point, term)
    rings : (point, column)
        What a line integral of 1 in each column adds to the profile, 1/cm.
    noise : (point,)
        Expected variance of each point, up to a common factor.

    Returns
    -------
    Trend

    Raises
    ------
    ValueError
        Fewer than two points more than terms.
    """
    y, x, b, n = (np.asarray(a, np.float64) for a in (profile, terms, rings, noise))
    if len(y) < x.shape[1] + 2:
        raise ValueError(f"{len(y)} points of a profile tell nothing of {x.shape[1]} terms")
    square, scale, factor = np.full(b.shape[1], START**2), START**2, 1.0
    for _ in range(ROUNDS):
        inverse = np.linalg.inv((b * square) @ b.T + np.diag(n * factor))
        covariance = np.linalg.inv(x.T @ inverse @ x)
        project = inverse - inverse @ x @ covariance @ x.T @ inverse
        strength = square * (b.T @ (project @ y))
        left = square - square**2 * np.einsum("ik,ij,jk->k", b, project, b)
        square = (FREEDOM * scale + strength**2 + left) / (FREEDOM + 1)
        scale = float(1 / np.mean(1 / square))
        error = n * factor * (project @ y)
        spread = n * factor - (n * factor) ** 2 * np.diag(project)
        factor = max(float(np.mean((error**2 + spread) / n)), 1e-12)
    weights = covariance @ x.T @ inverse
    return Trend(
        weights @ y,
        np.asarray(covariance, np.float64),
        np.asarray(weights, np.float64),
        float(np.sqrt(scale)),
        float(np.sqrt(factor)),
    )
