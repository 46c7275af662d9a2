"""Charge against mass: Faraday's law, the log at the times of the scans, and the Faraday balance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from xct_pipeline.variation.attenuation import molar_mass
from xct_pipeline.variation.cycler import CyclerLog

Array = npt.NDArray[np.float64]

FARADAY = 96485.33212
"""C/mol, CODATA 2018."""
COULOMB_PER_MAH = 3.6
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


# The log at the times of the scans -------------------------------------------------------------------------


@dataclass(frozen=True)
class ScanTimes:
    """When the scans were taken, on the clock of the log.

    Attributes
    ----------
    time_s : numpy.ndarray
        Midpoint where the end is known, else the start; seconds of the log's time.
    duration_s : numpy.ndarray
        0 where unknown.
    """

    time_s: Array
    duration_s: Array


def scan_times(
    names: Sequence[str],
    starts: Sequence[datetime | None],
    ends: Sequence[datetime | None],
    *,
    log_start: datetime | None = None,
    offset_s: float = 0.0,
    absent: Sequence[int] = (),
) -> ScanTimes:
    """Put the scans on the time axis of the log.

    Parameters
    ----------
    names, starts, ends : sequences, one entry per scan
        An end may be None.
    log_start : datetime, optional
        Absolute time of the log's 0 (`CyclerLog.start`). Without it the log's 0 is the start of the first scan.
        Where only one of the two clocks has a time zone, they are taken to show the same local time.
    offset_s : float
        Seconds added to the time of the log to make it agree with the scans: -600 for a log that began ten
        minutes before the first scan.
    absent : sequence of int
        Positions of scans that cannot be read; their time is NaN.

    Raises
    ------
    ValueError
        For a scan without a start, one that ends before it starts, or a log whose 0 is the start of a first scan
        that cannot be read.
    """
    if 0 in absent and log_start is None:
        raise ValueError(
            f"the time 0 of the cycler's log is the start of the first scan, and {names[0]} cannot be read: name the "
            f"log's absolute_time, or leave that scan out and give offset_s"
        )
    for k, (name, start, end) in enumerate(zip(names, starts, ends, strict=True)):
        if k in absent:
            continue
        if start is None:
            raise ValueError(f"scan {name} has no start time, so the cycler's log cannot be aligned to it")
        if end is not None and _seconds(end, start) < 0:
            raise ValueError(f"scan {name} ends before it starts ({start} to {end})")
    zero = starts[0] if log_start is None else log_start
    begin = np.array([np.nan if s is None else _seconds(s, zero) for s in starts])
    duration = np.array([0.0 if s is None or e is None else _seconds(e, s) for s, e in zip(starts, ends, strict=True)])
    return ScanTimes(begin + duration / 2 - offset_s, duration)


def _seconds(later: datetime, earlier: datetime | None) -> float:
    assert earlier is not None
    if (later.tzinfo is None) != (earlier.tzinfo is None):
        later, earlier = later.replace(tzinfo=None), earlier.replace(tzinfo=None)
    return (later - earlier).total_seconds()


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


def at_scans(
    log: CyclerLog, times: ScanTimes, names: Sequence[str], *, species: str = "Na", reference: int = 0
) -> ScanCharge:
    """Charge, voltage and Faraday mass at each scan, by linear interpolation in the log.

    A scan up to one scan's length beyond either end of the log takes the log's last (first) values: nothing
    is extrapolated, and a scan further out gets NaN. A scan of unknown length counts as long as the median
    interval between scans.

    Raises
    ------
    ValueError
        Where the log reaches no scan, or not the reference.
    """
    first, last = float(log.time_s[0]), float(log.time_s[-1])
    known = times.time_s[np.isfinite(times.time_s)]
    interval = float(np.median(np.diff(np.sort(known)))) if len(known) > 1 else 0.0
    reach = np.where(times.duration_s > 0, times.duration_s, interval)
    within = (times.time_s >= first - reach) & (times.time_s <= last + reach)
    overlap = (times.time_s + times.duration_s / 2 >= first) & (times.time_s - times.duration_s / 2 <= last)
    span = f"the log covers {first:g} to {last:g} s, the scans {known.min():g} to {known.max():g} s"
    if not overlap.any():
        raise ValueError(
            f"the time of the cycler's log does not overlap the scans: {span}; set offset_s or an absolute time"
        )
    if not within[reference]:
        raise ValueError(
            f"the cycler's log does not reach the reference scan {names[reference]} "
            f"({times.time_s[reference]:g} s): {span}"
        )
    charge = np.where(within, np.interp(times.time_s, log.time_s, log.charge_C), np.nan)
    charge = charge - charge[reference]
    voltage = np.full(len(charge), np.nan)
    if log.voltage_V is not None:
        good = np.isfinite(log.voltage_V)
        if good.any():
            voltage = np.where(within, np.interp(times.time_s, log.time_s[good], log.voltage_V[good]), np.nan)
    return ScanCharge(charge, voltage, faraday_mg(charge, species))


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
    scale: float = 0.0,
    leakage: float | Literal["fit"] | None = None,
    leakage_ratio: float | None = None,
) -> Balance:
    """Fit the slope of measured mass change against -M Q / (z F).

    Every change is measured against the same reference scan, so its error is in all of them:
    ``V_ij = (sigma_i^2 - sigma_ref^2) [i = j] + sigma_ref^2``, and the fit is generalised least squares with V.
    Errors that scale all masses together (tables, energy) do not move the fit and are added to its error.
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
    scale : float
        Relative error common to all masses.
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
    error = float(np.hypot(1 / np.sqrt(information), slope * scale))
    share, share_sigma = (float(leakage), 0.0) if known else (np.nan, np.nan)  # type: ignore[arg-type]
    if leakage == "fit":
        gain = float(leakage_ratio or 0) - 1
        share, share_sigma = (slope - 1) / gain, error / abs(gain)
    return Balance(slope, error, chi2, len(mass) - 1, share, share_sigma)


def apparent_ratio(k_species: float, k_host: float, species: str = "Na", host: str = "K") -> float:
    """Apparent loss of species per charge when the host leaves instead, from mass attenuations in cm2/g.

    A mole of K taken for Na by its attenuation looks like ``M_K k_K / k_Na``; over M_Na it is 5.3 at 50 keV.
    """
    per_charge = [molar_mass(s) / _electrons(s) for s in (host, species)]
    return per_charge[0] * k_host / (per_charge[1] * k_species)
