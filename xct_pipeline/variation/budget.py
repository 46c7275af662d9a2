"""From sums over a region to maps, totals, their itemised errors, and the tables that hold them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from xct_pipeline.variation import mass, noise, uncertainty
from xct_pipeline.variation.electrochemistry import Balance, ScanCharge, apparent_ratio, faraday_balance

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Errors:
    """Standard errors of what turns two scans into a change of mass.

    Attributes
    ----------
    shift_voxel, rotation_rad : float
        Of the transform between the two.
    gain, offset : float
        Of the grey scale: relative, and in 1/cm.
    table, energy : float
        Relative errors of the mass attenuation.
    alternatives : tuple of float
        Sensitivities (g/cm3 per 1/cm) of other closures that could be defended.
    """

    shift_voxel: float
    rotation_rad: float
    gain: float
    offset: float
    table: float
    energy: float
    alternatives: tuple[float, ...] = ()


@dataclass(frozen=True)
class Change:
    """The change between two scans.

    Attributes
    ----------
    areal, areal_sigma : numpy.ndarray
        (y, x), mg/cm2, NaN outside the region; once they are written, their means.
    mass_mg : float
    apparent_mg : float
        The change of attenuation taken as one of the species alone: what the Faraday balance is made of.
    terms_mg : mapping
        Standard errors of `mass_mg` by cause.
    sums : mapping
        What it was made from.
    slope : float
        g/cm3 per 1/cm.
    """

    areal: Array
    areal_sigma: Array
    mass_mg: float
    apparent_mg: float
    terms_mg: Mapping[str, float]
    sums: Mapping[str, Array]
    slope: float
    noise_sigma_column: Array = field(default_factory=lambda: np.zeros(0))

    @property
    def sigma_mg(self) -> float:
        """Combined standard error."""
        return float(uncertainty.combine(self.terms_mg))


TERMS = ("noise", "registration", "calibration", "table", "energy", "closure")


def evaluate(
    sums: Mapping[str, Array], found: Any, errors: Errors, density: Callable[[Array], Array], slope: float,
    voxel_um: float, k_species: float | None = None,
) -> Change:  # fmt: skip
    """Turn sums over a region into an areal map, a total and their errors.

    Parameters
    ----------
    sums : mapping
        ``change, count, fixed, moving, motions`` over (y, x), as `stage.measure_sums` makes them.
    found : Noise or None
        None where the two scans are one: everything is zero.
    errors : Errors
    density : callable
        Mean change of attenuation (1/cm) to change of density (g/cm3).
    slope : float
        Its derivative, g/cm3 per 1/cm.
    voxel_um : float
    k_species : float, optional
        Mass attenuation, cm2/g, for the apparent mass; 1 / slope by default.
    """
    count = sums["count"]
    inside = count > 0
    mean = np.where(inside, sums["change"] / np.maximum(count, 1), 0.0)
    per_column = density(mean) * count
    to_areal = voxel_um * 1e-4 * 1e3
    to_mass = (voxel_um * 1e-4) ** 3 * 1e3
    total = float(per_column.sum()) * to_mass
    apparent = float(sums["change"].sum()) * to_mass * (1 / k_species if k_species else slope)
    areal = np.where(inside, per_column * to_areal, np.nan)
    if found is None:
        zero = np.where(inside, 0.0, np.nan)
        return Change(zero, zero, 0.0, 0.0, dict.fromkeys(TERMS, 0.0), sums, slope)
    column = np.sqrt(noise.column_variance(found.covariance, count)) * found.level * found.column_inflation
    maps = _map_terms(sums, errors, per_column * to_areal, slope, to_areal) | {"noise": column * abs(slope) * to_areal}
    sigma = np.where(inside, uncertainty.combine(maps), np.nan)
    terms = _total_terms(sums, errors, total, slope, to_mass)
    terms["noise"] = _total_noise(found, count) * abs(slope) * to_mass
    return Change(areal, sigma, total, apparent, {name: terms[name] for name in TERMS}, sums, slope, column)


def without_maps(change: Change) -> Change:
    """Return a change with the means of its maps in their place: a long series would fill the memory with maps."""
    small = {name: value for name, value in change.sums.items() if value.size == 1 or name.startswith(_PROFILES)}
    means = (np.array([np.nanmean(values)]) for values in (change.areal, change.areal_sigma))
    areal, sigma = means
    return replace(change, areal=areal, areal_sigma=sigma, sums=small, noise_sigma_column=np.zeros(0))


_PROFILES = ("depth", "radial", "bins")


def _total_noise(found: Any, count: Array) -> float:
    """Return the noise of the sum over the whole region, 1/cm times voxels."""
    lag = tuple(n // 2 for n in found.covariance.shape)
    inside = count > 0
    pairs = noise.prism_overlap(int(count.max()), inside, lag) * (count.sum() / max(count.max() * inside.sum(), 1))
    level = float((found.level[inside] ** 2).mean())
    return float(np.sqrt(noise.sum_variance(found.covariance, pairs) * level) * found.region_inflation)


def _motions(errors: Errors) -> Array:
    """Return the covariance of shifts (voxel) and rotations (radian)."""
    return np.diag([errors.shift_voxel**2] * 3 + [errors.rotation_rad**2] * 3)


def _map_terms(sums: Mapping[str, Array], errors: Errors, areal: Array, slope: float, scale: float) -> dict[str, Array]:
    factor = abs(slope) * scale
    covariance = np.diag([errors.gain**2, errors.offset**2])
    sums_of = {k: mass.Sums((0, 0), sums[k], sums["count"]) for k in ("moving", "fixed")}
    grey = uncertainty.calibration_term(sums_of["moving"], sums_of["fixed"], covariance, np.zeros((2, 2)))
    return {
        "registration": uncertainty.registration_term(sums["motions"], _motions(errors)) * factor,
        "calibration": grey * factor,
        "table": uncertainty.relative_term(areal, errors.table),
        "energy": uncertainty.relative_term(areal, errors.energy),
        "closure": _closure_term(areal, errors, slope),
    }


def _total_terms(
    sums: Mapping[str, Array], errors: Errors, total: float, slope: float, scale: float
) -> dict[str, float]:
    flat = {name: np.array([sums[name].sum()]) for name in ("moving", "fixed", "count")}
    motions = sums["motions"].sum(axis=(1, 2))
    one = {**flat, "motions": motions[:, None]}
    terms = _map_terms(one, errors, np.array([total]), slope, scale)
    return {name: float(value[0]) for name, value in terms.items()}


def _closure_term(value: Array, errors: Errors, slope: float) -> Array:
    if not errors.alternatives:
        return np.zeros_like(value)
    return uncertainty.closure_term([value, *(value * (other / slope) for other in errors.alternatives)])  # type: ignore[no-any-return]


# -------------------------------------------------------------------------------------------------- tables

BALANCE_UNITS = {
    "time_s": "s", "charge_C": "C", "voltage_V": "V", "mass_change_mg": "mg", "sigma_mg": "mg", "faraday_mg": "mg",
    **{f"sigma_{name}_mg": "mg" for name in TERMS}, "decision_limit_mg": "mg", "detection_limit_mg": "mg",
    "mass_change_consecutive_mg": "mg", "sigma_consecutive_mg": "mg", "apparent_mass_mg": "mg", "lost_voxels": "voxels",
    "mean_areal_mg_cm2": "mg/cm2", "voxels": "voxels", "charge_mAh": "mAh",
}  # fmt: skip


def balance_table(
    names: Sequence[str], times: Array, charge: ScanCharge | None, changes: Sequence[Change | None],
    consecutive: Sequence[Change | None],
) -> pd.DataFrame:  # fmt: skip
    """Return one row per scan: time, charge, voltage, change of mass with its errors by cause."""
    rows = []
    nan = float("nan")
    for k, (name, change, step) in enumerate(zip(names, changes, consecutive, strict=True)):
        sigma = change.sigma_mg if change else nan
        decision, detection = uncertainty.limits(sigma)
        rows.append(
            {
                "scan": name, "time_s": times[k], "charge_C": charge.charge_C[k] if charge else nan,
                "voltage_V": charge.voltage_V[k] if charge else nan,
                "mass_change_mg": change.mass_mg if change else nan, "sigma_mg": sigma,
                "faraday_mg": charge.faraday_mg[k] + 0.0 if charge else nan,
                **{f"sigma_{t}_mg": change.terms_mg[t] if change else nan for t in TERMS},
                "decision_limit_mg": decision, "detection_limit_mg": detection,
                "mass_change_consecutive_mg": step.mass_mg if step else nan,
                "sigma_consecutive_mg": step.sigma_mg if step else nan,
                "apparent_mass_mg": change.apparent_mg if change else nan,
                "mean_areal_mg_cm2": float(np.nanmean(change.areal)) if change else nan,
                "lost_voxels": int(change.sums["lost"]) if change else 0,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


PROFILE_UNITS = {
    "depth_um": "micrometre", "radius_um": "micrometre", "density_g_cm3": "g/cm3", "areal_mg_cm2": "mg/cm2",
    "voxels": "voxels", "z": "bin", "y": "bin", "x": "bin",
}  # fmt: skip


def profiles(names: Sequence[str], changes: Sequence[Change | None], voxel_um: float) -> dict[str, pd.DataFrame]:
    """Return the profiles over depth and radius; a profile that was not summed is empty."""
    tables: dict[str, list[dict[str, Any]]] = {"depth_profile": [], "radial_profile": []}
    for name, change in zip(names, changes, strict=True):
        if change is None:
            continue
        for kind, axis in (("depth", "depth_um"), ("radial", "radius_um")):
            if kind not in change.sums:
                continue
            total, count = change.sums[kind], change.sums[f"{kind}_count"]
            for cell in np.flatnonzero(count):
                density = change.slope * total[cell] / count[cell]
                tables[f"{kind}_profile"].append(
                    {
                        "scan": name, axis: (cell + 0.5) * voxel_um, "density_g_cm3": density,
                        "areal_mg_cm2": density * voxel_um * 1e-4 * 1e3, "voxels": int(count[cell]),
                    }
                )  # fmt: skip
    return {name: pd.DataFrame(rows) for name, rows in tables.items()}


def bin_table(names: Sequence[str], changes: Sequence[Change | None], bins: tuple[int, int, int]) -> pd.DataFrame:
    """Return the change of density per bin that holds voxels of the region."""
    del bins
    rows = []
    for name, change in zip(names, changes, strict=True):
        if change is None:
            continue
        total, count = change.sums["bins"], change.sums["bins_count"]
        for z, y, x in np.argwhere(count > 0):
            density = change.slope * total[z, y, x] / count[z, y, x]
            rows.append({"scan": name, "z": z, "y": y, "x": x, "density_g_cm3": density, "voxels": int(count[z, y, x])})
    return pd.DataFrame(rows)


def balance_of(table: pd.DataFrame, scale: float, leakage: Any, ratio: float | None) -> Balance:
    """Fit the Faraday balance to a table of mass against charge."""
    independent = table[["sigma_noise_mg", "sigma_registration_mg", "sigma_calibration_mg"]].to_numpy(float)
    sigma = np.sqrt((independent**2).sum(axis=1))
    shared = float(sigma[sigma > 0].min()) / np.sqrt(2) if (sigma > 0).any() else 0.0  # the reference is in all of them
    return faraday_balance(
        table["apparent_mass_mg"].to_numpy(float), sigma, table["faraday_mg"].to_numpy(float),
        sigma_reference_mg=shared, scale=scale, leakage=leakage, leakage_ratio=ratio,
    )  # fmt: skip


def write_balance(store: Any, table: pd.DataFrame, settings: Any, config: Any, physics: Any) -> list[str]:
    """Fit the Faraday balance and write its table; return warnings where it cannot be fitted."""
    scale = float(np.hypot(settings.table_error, abs(physics.percent_per_keV) / 100 * settings.energy_error_keV))
    leakage = config.electrochemistry.leakage
    ratio = None
    if leakage is not None:
        if not physics.anode.k_host:
            return [f"a leakage of {settings.anode.host} needs variation.anode.w_host; the balance is without it"]
        ratio = apparent_ratio(physics.anode.k_species, physics.anode.k_host, settings.species, settings.anode.host)
    try:
        found = balance_of(table, scale, leakage, ratio)
    except ValueError as error:
        return [f"no Faraday balance: {error}"]
    rows = [("slope", found.slope, found.sigma), ("chi2", found.chi2, np.nan), ("degrees", found.degrees, np.nan)]
    if np.isfinite(found.leakage):
        rows.append(("leakage", found.leakage, found.leakage_sigma))
    store.write_table(
        "faraday", pd.DataFrame(rows, columns=["quantity", "value", "sigma"]), {"value": "1", "sigma": "1"}
    )
    if abs(found.slope - 1) > 3 * found.sigma:
        return [f"Faraday balance: slope {found.slope:.3f} +- {found.sigma:.3f} is not 1"]
    return []
