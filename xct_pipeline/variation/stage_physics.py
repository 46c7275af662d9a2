"""From the configuration to what turns attenuation into mass: coefficients, closure, composition, errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xct_pipeline.blocks import Array
from xct_pipeline.config import Config, RegionOfInterest, Variation
from xct_pipeline.scan import Scan
from xct_pipeline.variation import budget, closure, mass
from xct_pipeline.variation.anode import Anode
from xct_pipeline.variation.attenuation import coefficients, energy_sensitivity
from xct_pipeline.variation.stage_series import ATTENUATION, Series


@dataclass(frozen=True)
class Physics:
    """What turns attenuation into mass."""

    closure: closure.ClosureName
    anode: Anode
    energy_keV: float | None
    percent_per_keV: float


def refusals(settings: Variation, scans: Sequence[Scan | None], pixel_um: float | None) -> list[str]:
    """Return why mass cannot be written."""
    good = [scan for scan in scans if scan is not None]
    reasons = []
    if settings.closure is None:
        reasons.append("no variation.closure is given, and a change of attenuation is not a mass without one")
    if settings.region is None:
        reasons.append("no variation.region says where the anode is")
    if pixel_um is None and any(scan.pixel_size_um is None for scan in good):
        reasons.append("the pixel size is unknown (acquisition.pixel_size_um)")
    energy = settings.energy_keV or (good[0].energy_keV if good else None)
    if energy is None and settings.species not in settings.measured:
        reasons.append("the photon energy is unknown (acquisition.energy_keV, or variation.measured)")
    return reasons


def check_region(name: str, region: RegionOfInterest, frame: tuple[int, int, int]) -> None:
    """Raise ValueError where a region is empty or leaves the volume."""
    try:
        if region.cylinder is not None:
            mass.check_cylinder(frame, region.cylinder.z, region.cylinder.radius)
        if region.box is not None:
            mass.check_box(frame, (region.box.z, region.box.y, region.box.x))
    except ValueError as error:
        raise ValueError(f"variation.{name}: {error}") from None


def physics_of(settings: Variation, scans: Sequence[Scan | None]) -> Physics:
    """Look up attenuation coefficients and describe the anode.

    Raises
    ------
    ValueError
        A formula that does not parse, an energy outside the tables, or a closure that lacks what it needs.
    """
    assert settings.closure is not None
    energy = settings.energy_keV or next((s.energy_keV for s in scans if s is not None and s.energy_keV), None)
    a = settings.anode
    materials = (settings.species, a.host) if a.w_host is not None else (settings.species,)
    k = coefficients(materials, energy, settings.measured)
    anode = Anode(
        k[settings.species], k.get(a.host, 0.0), a.w_host, a.density, a.filling, a.carbon_fraction, a.temperature_C,
        a.density_model, None if a.density_table is None else tuple(a.density_table), a.boundaries,
    )  # fmt: skip
    if settings.closure not in ("na_only", "dual_energy"):
        if a.w_host is None:
            raise ValueError(
                f"closure {settings.closure} needs variation.anode.w_host, the initial mass fraction of {a.host}"
            )
        closure.sensitivity(settings.closure, anode)
    if settings.closure == "well_mixed" and a.loading_mg is None:
        raise ValueError("closure well_mixed needs variation.anode.loading_mg, the mass of alloy in the anode")
    if settings.closure == "dual_energy" and (settings.second_store is None or settings.second_energy_keV is None):
        raise ValueError("closure dual_energy needs variation.second_store and second_energy_keV")
    per_keV = (
        energy_sensitivity(settings.species, energy) if energy and settings.species not in settings.measured else 0.0
    )
    return Physics(settings.closure, anode, energy, per_keV)


def both_energies(settings: Variation) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """Return the coefficients (species, host) at both energies for the closure of two energies."""
    if settings.closure != "dual_energy":
        return None
    pair = (settings.species, settings.anode.host)
    first, second = (coefficients(pair, e) for e in (settings.energy_keV, settings.second_energy_keV))
    return (first[pair[0]], first[pair[1]]), (second[pair[0]], second[pair[1]])


def second_folder(config: Config) -> str | None:
    """Return the folder of the change of attenuation at the second energy, for the closure that needs one.

    Raises
    ------
    ValueError
        It is not there.
    """
    settings = config.variation
    if settings is None or settings.closure != "dual_energy" or settings.second_store is None:
        return None
    folder = config.resolve(settings.second_store) / ATTENUATION / "0"
    if not Path(folder).is_dir():
        raise ValueError(f"variation.second_store: {folder} is not there; run the series of the second energy first")
    return str(folder)


def slope_of(physics: Physics, settings: Variation, w: float | None) -> float:
    """Return the change of density per change of attenuation, g/cm3 per 1/cm, at a composition."""
    if physics.closure == "dual_energy":
        k = both_energies(settings)
        assert k is not None
        return float(np.hypot(*closure.dual_energy_inverse(k)[0]))
    return closure.sensitivity(physics.closure, physics.anode, w_host=w)


def to_density(change: Array, *, physics: Physics, w: float | None) -> Array:
    """Return the change of density of mean changes of attenuation."""
    if physics.closure == "dual_energy":
        return np.asarray(change / physics.anode.k_species)
    return np.asarray(closure.density_change(physics.closure, change, physics.anode, w_host=w).species)


def errors_of(settings: Variation, physics: Physics, series: Series, pair: tuple[int, int]) -> budget.Errors:
    """Collect the standard errors of what turns a pair of scans into a change of mass."""
    moving, fixed = (series.motions[k] for k in pair)
    shift = float(np.hypot(np.hypot(moving.tre_self, fixed.tre_self), settings.registration_error_voxel))
    reach = min(series.frame[1:]) / 3
    return budget.Errors(
        shift_voxel=shift, rotation_rad=shift / reach,
        gain=float(np.hypot(moving.gain_sigma, fixed.gain_sigma)),
        offset=float(np.hypot(moving.offset_sigma, fixed.offset_sigma)),
        table=settings.table_error, energy=abs(physics.percent_per_keV) / 100 * settings.energy_error_keV,
        alternatives=tuple(closure.sensitivity(name, physics.anode) for name in settings.alternatives),
    )  # fmt: skip
