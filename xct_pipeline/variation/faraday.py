"""Charge against mass: Faraday's law and the Faraday balance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import scipy

from xct_pipeline.variation.attenuation import molar_mass

Array = npt.NDArray[np.float64]

FARADAY = 96485.33212
"""C/mol, CODATA 2018."""
COULOMB_PER_MAH = 3.6
CHANCE = 1e-4
"""Probability below which chi2 is told to be far from its degrees of freedom."""
OFFSET_GAIN = 9.0
"""Gain in chi2 from which a shift of the log is worth telling: three standard deviations of one number."""
CHARGE_NUMBER = {"Li": 1, "Na": 1, "K": 1, "Mg": 2, "Ca": 2, "Zn": 2, "Al": 3}
"""Electrons per atom of the usual carriers."""


def _electrons(species: str) -> int:
    if species not in CHARGE_NUMBER:
        raise ValueError(
            f"the charge of {species!r} as an ion is not known; species that carry charge are "
            f"{', '.join(CHARGE_NUMBER)}"
        )
    return CHARGE_NUMBER[species]


def faraday_mg(charge_C: npt.ArrayLike, species: str = "Na") -> Any:
    """Change of mass of the species that a charge stands for, mg: ``-M Q / (z F)``.

    Negative for positive charge, which is the species leaving. Per area it is mg/cm2 from C/cm2.
    """
    return -np.asarray(charge_C) * (molar_mass(species) / (_electrons(species) * FARADAY) * 1e3)


def charge_of(mass_mg: npt.ArrayLike, species: str = "Na") -> Any:
    """Charge of a mass, mAh, ``z F m / M``: 1.1658 mAh per mg of Na."""
    per_mg = _electrons(species) * FARADAY / molar_mass(species) / 1e3 / COULOMB_PER_MAH
    return np.asarray(mass_mg) * per_mg


@dataclass(frozen=True)
class ScanCharge:
    """The log at the scans; NaN for a scan that the log does not reach.

    Attributes
    ----------
    charge_C : numpy.ndarray
        Passed since the reference scan, positive when the species leaves the anode.
    voltage_V : numpy.ndarray
        NaN throughout where the log has no voltage.
    faraday_mg : numpy.ndarray
        Change of mass since the reference that the charge stands for.
    """

    charge_C: Array
    voltage_V: Array
    faraday_mg: Array


# Faraday balance --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Balance:
    """Straight line through the origin of measured mass against the mass that the charge stands for.

    Attributes
    ----------
    slope, sigma : float
        1 when all the charge is the species; the error holds noise, the shared reference and the scale.
    chi2 : float
    degrees : int
        Of freedom.
    leakage, leakage_sigma : float
        Share of the charge carried by the host: as given, or fitted; NaN where not asked for.
    """

    slope: float
    sigma: float
    chi2: float
    degrees: int
    leakage: float = np.nan
    leakage_sigma: float = np.nan


def faraday_balance(
    mass_mg: Array,
    sigma_mg: Array,
    faraday: Array,
    *,
    sigma_reference_mg: float = 0.0,
    scale: float | Array = 0.0,
    leakage: float | Literal["fit"] | None = None,
    leakage_ratio: float | None = None,
) -> Balance:
    """Fit the slope of measured mass change against -M Q / (z F).

    Every change is measured against the same reference scan, so its error is in all of them:
    ``V_ij = (sigma_i^2 - sigma_ref^2) [i = j] + sigma_ref^2``, and the fit is generalised least squares with V.
    Errors that scale all masses together (tables, energy, a response that bends all line integrals) are one and the
    same in all scans: ``r_i slope f_i`` times ``r_j slope f_j`` in the covariance. They do not weigh scans against each
    other, as they can not be told from the slope, and its error holds them whole, however many scans there are.
    The masses should be `na_only` totals over the whole anode, ``integral(dmu dV) / k``, which hold however the
    metals move inside; closures that use the charge themselves (well_mixed) would make the test circular.

    Parameters
    ----------
    mass_mg, sigma_mg : array, one per scan
        Change of mass and its error without the scale; entries with NaN or sigma 0 (the reference) are left out.
    faraday : array
        `ScanCharge.faraday_mg`.
    sigma_reference_mg : float
        Part of every sigma that comes from the reference scan; at most the smallest sigma.
    scale : float or array, one per scan
        Relative error common to all masses, in each of them as large as given.
    leakage : float, "fit" or None
        Share of the charge carried by K leaving the anode. Known: it is allowed for, and 1 remains the slope
        expected. ``"fit"``: it is worked out from the slope, taking all charge to be Na or K.
    leakage_ratio : float
        Apparent mass per charge of K over that of Na, `apparent_ratio`; needed with `leakage`.

    Returns
    -------
    Balance

    Raises
    ------
    ValueError
        Where no scan with a charge is left.
    """
    mass, sigma, expected = (np.asarray(a, dtype=np.float64) for a in (mass_mg, sigma_mg, faraday))
    keep = np.isfinite(mass) & np.isfinite(expected) & (sigma > 0)
    relative = np.broadcast_to(np.asarray(scale, np.float64), keep.shape)[keep]
    mass, sigma, expected = mass[keep], sigma[keep], expected[keep]
    if not np.any(expected != 0):
        raise ValueError("the Faraday balance needs a scan with a measured mass after some charge has passed")
    if leakage is not None and leakage_ratio is None:
        raise ValueError("a K leakage needs leakage_ratio (see apparent_ratio)")
    common = min(sigma_reference_mg, float(sigma.min()) * (1 - 1e-6))
    known = isinstance(leakage, int | float)
    if known:
        expected = expected * (1 + float(leakage) * (float(leakage_ratio or 0) - 1))  # type: ignore[arg-type]
    covariance = np.diag(sigma**2 - common**2) + common**2
    weighted = np.linalg.solve(covariance, expected)
    information = float(expected @ weighted)
    slope = float(mass @ weighted) / information
    residual = mass - slope * expected
    chi2 = float(residual @ np.linalg.solve(covariance, residual))
    together = float((relative * expected) @ weighted) / information  # 1 for a relative error of 1 in every scan
    error = float(np.hypot(1 / np.sqrt(information), slope * together))
    share, share_sigma = (float(leakage), 0.0) if known else (np.nan, np.nan)  # type: ignore[arg-type]
    if leakage == "fit":
        gain = float(leakage_ratio or 0) - 1
        share, share_sigma = (slope - 1) / gain, error / abs(gain)
    return Balance(slope, error, chi2, len(mass) - 1, share, share_sigma)


def doubts(found: Balance, leakage: float | str | None) -> list[str]:
    """Say what a balance shows that errors as stated do not explain, and what it may mean: a sentence each.

    Parameters
    ----------
    found : Balance
    leakage : as `balance` takes it; a fitted one explains any slope.
    """
    told = []
    if leakage != "fit" and abs(found.slope - 1) > 3 * found.sigma:
        told.append(
            f"Faraday balance: slope {found.slope:.3f} +- {found.sigma:.3f} is not 1: charge that moved no mass (side "
            "reactions, leakage), mass outside the region, a wrong energy, species or pixel size, or a scan on "
            "another grey scale"
        )
    chance = float(scipy.special.chdtrc(found.degrees, found.chi2)) if found.degrees > 0 else 0.5
    if chance < CHANCE:
        told.append(
            f"Faraday balance: chi2 {found.chi2:.3g} for {found.degrees} degrees of freedom: masses scatter more than "
            "their errors say; a bad frame or grey scale in a scan, clocks that differ, or an error not in the budget"
        )
    elif chance > 1 - CHANCE:
        told.append(
            f"Faraday balance: chi2 {found.chi2:.3g} for {found.degrees} degrees of freedom: masses scatter less than "
            "their errors say; the errors are stated too large"
        )
    return told


def apparent_ratio(k_species: float, k_host: float, species: str = "Na", host: str = "K") -> float:
    """Apparent loss of species per charge when the host leaves instead, from mass attenuations in cm2/g.

    A mole of K taken for Na by its attenuation looks like ``M_K k_K / k_Na``; over M_Na it is 5.3 at 50 keV.
    """
    per_charge = [molar_mass(s) / _electrons(s) for s in (host, species)]
    return per_charge[0] * k_host / (per_charge[1] * k_species)


def better_offset(
    mass_mg: Array,
    sigma_mg: Array,
    faraday_at: Callable[[float], Array],
    offsets_s: Array,
    *,
    sigma_reference_mg: float = 0.0,
    scale: float | Array = 0.0,
) -> tuple[float, float, float] | None:
    """Return the shift of the log that would bring mass and charge together best, and what it is worth.

    It is only to be shown: a cell that loses charge otherwise would be hidden by a clock that is moved until it fits.

    Parameters
    ----------
    mass_mg, sigma_mg : array, one per scan
        As in `faraday_balance`.
    faraday_at : callable
        Shift in seconds to Faraday's masses of the scans; NaN where the log does not reach.
    offsets_s : array
        Shifts to try.

    Returns
    -------
    (offset_s, chi2 without, chi2 with it) or None
        About a slope of 1. None where no shift gains more than `OFFSET_GAIN`, or one loses scans.
    """

    def chi2(expected: Array) -> float:
        keep = np.isfinite(mass_mg) & (sigma_mg > 0)
        if not keep.any() or not np.isfinite(expected[keep]).all():
            return np.inf
        common = min(sigma_reference_mg, float(sigma_mg[keep].min()) * (1 - 1e-6))
        scaled = (scale * mass_mg)[keep]
        covariance = np.diag(sigma_mg[keep] ** 2 - common**2) + common**2 + np.outer(scaled, scaled)
        residual = mass_mg[keep] - expected[keep]
        return float(residual @ np.linalg.solve(covariance, residual))

    without = chi2(faraday_at(0.0))
    tried = [(chi2(faraday_at(float(shift))), float(shift)) for shift in offsets_s]
    best, shift = min(tried, key=lambda entry: (entry[0], abs(entry[1])))
    return (shift, without, best) if np.isfinite(without) and without - best > OFFSET_GAIN else None
