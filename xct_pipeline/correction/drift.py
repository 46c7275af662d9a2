"""A sample that moves slowly within a scan, from what its projections must have in common.

Wherever the whole sample is in view its centre of mass moves on a sinusoid (Helgason and Ludwig; Natterer, The
Mathematics of Computerized Tomography, 1986, chapter II.4), and the mass of a row is the same at every angle. What
leaves the sinusoid slowly is the sample's motion along the columns, but for a constant and a sinusoid of its own: those
are a rotation axis and a sample elsewhere, and their projections are the same. The column of the axis is thus that of
the best constant and sinusoid. What moves the masses of rows up and down is the motion along the rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

from xct_pipeline.correction.moments import LEAST_MASS, MOVING, sinusoid_residuals

Floats = npt.NDArray[np.floating[Any]]
LEAST = 4 * MOVING  # projections
ROUNDS = 8
EDGE = 2  # rows at the upper and lower edge where what moves in and out is not compared


@dataclass(frozen=True)
class Drift:
    """How a sample moved within a scan, in pixels of the projections that were given.

    Attributes
    ----------
    shift : numpy.ndarray (angle, 2)
        Along rows and columns, relative to the mean of the scan.
    sigma : numpy.ndarray (2,)
        Standard error of the shift of one projection.
    left : numpy.ndarray (2,)
        R.m.s. of what is faster than that, or no motion.
    """

    shift: Floats
    sigma: Floats
    left: Floats


def find_drift(p: Floats, angles: Floats, time: Floats) -> Drift:
    """Find the slow motion of a sample that is wholly in view.

    Parameters
    ----------
    p : array (angle, row, column)
        Line integrals, 0 in air.
    angles : (angle,)
        Radians.
    time : (angle,)
        When each was taken, 0 to 1 over the scan.

    Raises
    ------
    ValueError
        Too few projections, or nothing in the beam.
    """
    n, _, columns = p.shape
    if n < LEAST:
        raise ValueError(f"{n} projections; a motion within a scan takes {LEAST}")
    rows = p.sum(axis=2, dtype=np.float64)
    mass = rows.sum(axis=1)
    if float(np.median(mass)) < LEAST_MASS * p[0].size * 0.25:
        raise ValueError("there is too little in the beam")
    u = np.arange(columns) - (columns - 1) / 2
    center = (p.sum(axis=1, dtype=np.float64) @ u) / mass
    rest, _ = sinusoid_residuals(center, angles, np.zeros(n, bool))
    found = [_slow(_heights(rows), time), _slow(rest, time)]
    return Drift(*(np.stack(values, axis=-1) for values in zip(*found, strict=True)))


def _heights(rows: Floats) -> Floats:
    """Return by how much the masses of rows (angle, row) are moved, relative to their mean."""
    n, count = rows.shape
    shift, place = np.zeros(n), np.arange(count, dtype=np.float64)
    inside = slice(EDGE, count - EDGE)
    for _ in range(ROUNDS):
        moved = np.stack([_at(row, place + s) for row, s in zip(rows, shift, strict=True)])
        mean = moved.mean(axis=0)
        design = np.stack([mean, np.gradient(mean)], axis=1)[inside]
        level, slope = np.linalg.lstsq(design, moved[:, inside].T, rcond=None)[0]
        shift -= slope / level  # a row that rises from 0 is mean - shift * slope
        shift -= shift.mean()
    return shift


def _at(row: Floats, place: Floats) -> Floats:
    return np.asarray(scipy.ndimage.map_coordinates(row, place[None], order=3, mode="nearest"))


def _slow(values: Floats, time: Floats) -> tuple[Floats, float, float]:
    """Fit a polynomial robustly; return the motion, its standard error, and the r.m.s. of the rest."""
    design = np.polynomial.legendre.legvander(2 * np.asarray(time) - 1, MOVING)
    weight = np.ones(len(values))
    for _ in range(8):
        root = np.sqrt(weight)
        fit = design @ np.linalg.lstsq(design * root[:, None], values * root, rcond=None)[0]
        rest = values - fit
        sigma = 1.483 * float(np.median(np.abs(rest)))
        x = rest / max(4.7 * sigma, 1e-9)
        weight = np.where(np.abs(x) < 1, (1 - x**2) ** 2, 0.0)
    return fit - fit.mean(), sigma * float(np.sqrt((MOVING + 1) / len(values))), float(np.sqrt(np.mean(rest**2)))
