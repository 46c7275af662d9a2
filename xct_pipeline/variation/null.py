"""The null experiment: do scans in which nothing changed scatter by what their errors say?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

SURE = 0.95  # of chi-squared, from which on the errors are too small


@dataclass(frozen=True)
class NullTest:
    """Scatter of scans that did not change.

    Attributes
    ----------
    chi2 : float
        Sum of the squared deviations in units of their errors.
    degrees : int
        Independent differences among the scans.
    factor : float
        Root of their ratio: what the scatter is in units of what was predicted.
    applied : float
        What errors are multiplied by: the factor where it is significantly larger than 1, else 1.
    """

    chi2: float
    degrees: int
    factor: float
    applied: float


def null_test(changes: npt.ArrayLike, sigma: npt.ArrayLike, *, with_reference: bool) -> NullTest:
    """Compare the scatter of scans that did not change with their errors.

    Every change has the reference's own error in it, the same in all: half of the least variance (the other half is of
    the scan itself). So deviations are not independent, and are weighed by the inverse of their covariance.

    Parameters
    ----------
    changes, sigma : (scan,)
        Change of mass against the reference and its standard error, of scans other than the reference.
    with_reference : bool
        The reference is one of those that did not change: the true changes are then 0, else they are equal.

    Returns
    -------
    NullTest

    Raises
    ------
    ValueError
        Fewer than two scans to compare, or an error that is not above 0.
    """
    x, s = np.asarray(changes, np.float64), np.asarray(sigma, np.float64)
    degrees = len(x) if with_reference else len(x) - 1
    if degrees < 1 or not (s > 0).all() or not np.isfinite(x).all():
        raise ValueError(f"{len(x)} changes of mass tell no scatter: two scans with errors above 0 are needed")
    shared = float((s**2).min()) / 2
    inverse = np.linalg.inv(np.diag(s**2 - shared) + shared)
    mean = 0.0 if with_reference else float(inverse.sum(axis=0) @ x) / float(inverse.sum())
    chi2 = float((x - mean) @ inverse @ (x - mean))
    factor = math.sqrt(chi2 / degrees)
    return NullTest(chi2, degrees, factor, factor if chi2 > 2 * scipy.special.gammaincinv(degrees / 2, SURE) else 1.0)


def null_warning(test: NullTest, scans: Sequence[str]) -> str | None:
    """Say that errors are too small; None where they explain the scatter."""
    if test.applied == 1.0:
        return None
    return (
        f"{', '.join(scans)} are declared unchanged, but their masses scatter {test.factor:.2g} times as much as their "
        f"errors say (chi2 {test.chi2:.3g} of {test.degrees}): noise, rings, registration and calibration of all "
        "totals are multiplied by it"
    )
