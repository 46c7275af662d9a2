"""From sums over a region to maps, totals, their itemised errors, and the tables that hold them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from xct_pipeline.device import Array
from xct_pipeline.variation import mass, noise, ring_terms, uncertainty
from xct_pipeline.variation.attenuation import coefficients
from xct_pipeline.variation.faraday import Balance, ScanCharge, apparent_ratio, doubts, faraday_balance
from xct_pipeline.variation.noise import Noise

if TYPE_CHECKING:
    import pandas as pd


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
    pixel : float
        Relative error of an area, twice that of the pixel's size: the mass in proportion to it.
    alternatives : tuple of float
        Sensitivities (g/cm3 per 1/cm) of other closures that could be defended.
    angles : float
        Relative error of every change, where both scans miss the same angles; other holes are in `gain`.
    grey : float
        Relative error of every change from scatter, a response that is not linear, or a spectrum.
    """

    shift_voxel: float
    rotation_rad: float
    gain: float
    offset: float
    table: float
    energy: float
    alternatives: tuple[float, ...] = ()
    angles: float = 0.0
    grey: float = 0.0
    pixel: float = 0.0

    def identity(self) -> dict[str, Any]:
        """Return what results depend on."""
        return {name: value for name, value in vars(self).items() if name not in ("angles", "grey", "pixel") or value}


@dataclass(frozen=True)
class Measured:
    """Two scans at one energy.

    Attributes
    ----------
    sums : mapping
        ``change, count, fixed, moving, motions`` over (y, x), and of cells, as `SumsOfPair` names them.
    noise : Noise or None
        None where the two scans are one: everything is zero.
    errors : Errors
    slope : float
        Change of density of the species per change of attenuation, g/cm3 per 1/cm.
    k : (species, host), optional
        Mass attenuation at this energy, cm2/g, where two energies are solved for two components.
    slope_host : float
        As `slope`, of the host.
    """

    sums: Mapping[str, Array]
    noise: Noise | None
    errors: Errors
    slope: float
    k: tuple[float, float] | None = None
    slope_host: float = 0.0

    def cells(self, kind: str) -> dict[str, Array]:
        """Return the sums over one kind of cell."""
        return {name: self.sums[f"{kind}_{name}"] for name in ("change", "count", "fixed", "moving", "motions")}


class Scatter(NamedTuple):
    """Errors of sums of the change of attenuation over cells, 1/cm times voxels."""

    noise: Array
    rings: Array


Density = Callable[[Sequence[Array]], Array]
"""Mean changes of attenuation (1/cm, one per energy) to a change of density (g/cm3)."""


@dataclass(frozen=True)
class Change:
    """The change between two scans.

    Attributes
    ----------
    areal, areal_sigma, areal_noise : numpy.ndarray
        (y, x), mg/cm2, NaN outside the region: change, its error, and noise and rings in that; once they are written,
        their means.
    mass_mg : float
    apparent_mg : float
        The change of attenuation taken as one of the species alone: what the Faraday balance is made of.
    terms_mg : mapping
        Standard errors of `mass_mg` by cause.
    area_cm2 : float
        Of the region seen along z.
    lost : int
        Voxels of the region that one of the scans does not cover.
    voxel_sigma : float
        Noise of the change of density of a single voxel in the region, g/cm3.
    """

    areal: Array
    areal_sigma: Array
    areal_noise: Array
    mass_mg: float
    apparent_mg: float
    terms_mg: Mapping[str, float]
    area_cm2: float
    lost: int
    voxel_sigma: float

    @property
    def sigma_mg(self) -> float:
        """Combined standard error."""
        return float(uncertainty.combine(self.terms_mg))

    @property
    def null_sigma_mg(self) -> float:
        """Standard error where nothing changes: the terms that are in proportion to the mass are zero there."""
        return float(uncertainty.combine({name: self.terms_mg[name] for name in NULL_TERMS}))


TERMS = ("noise", "rings", "registration", "calibration", "faces", "linearity", "table", "energy", "pixel", "closure")
NULL_TERMS = ("noise", "rings", "registration", "calibration", "faces")


def evaluate(
    measured: Sequence[Measured], density: Density, voxel_um: float, k_species: float, pairs: Array | None = None
) -> Change:
    """Turn sums over a region into an areal map, a total and their errors.

    Parameters
    ----------
    measured : sequence of Measured
        One per energy.
    density : callable
    voxel_um : float
    k_species : float
        Mass attenuation at the first energy, cm2/g, for the apparent mass.
    pairs : array, optional
        Voxel pairs of the region per lag; that of a prism with the region's cross-section by default.
    """
    sums = measured[0].sums
    count = sums["count"]
    inside = count > 0
    to_areal = voxel_um * 1e-4 * 1e3
    to_mass = (voxel_um * 1e-4) ** 3 * 1e3
    per_column = np.where(inside, density([_mean(m.sums) for m in measured]) * count, 0.0)
    total = float(per_column.sum()) * to_mass
    apparent = float(sums["change"].sum()) * to_mass / k_species
    areal = np.where(inside, per_column * to_areal, np.nan)
    area, lost = float(inside.sum()) * (voxel_um * 1e-4) ** 2, int(sums["lost"])
    if any(m.noise is None for m in measured):
        zero = np.where(inside, 0.0, np.nan)
        return Change(zero, zero, zero, 0.0, 0.0, dict.fromkeys(TERMS, 0.0), area, lost, 0.0)
    columns = [Scatter(column_noise(n, count), ring_terms.column_rings(n, count)) for n in map(_noise, measured)]
    maps = terms_of(measured, [m.sums for m in measured], columns, per_column * to_areal, to_areal)
    scatter = np.hypot(maps["noise"], maps["rings"])
    sigma, counting = (np.where(inside, values, np.nan) for values in (uncertainty.combine(maps), scatter))
    whole = [_whole(m.sums) for m in measured]
    noises = [
        Scatter(np.array([region_noise(n, count, pairs)]), np.array([ring_terms.region_rings(n, count)]))
        for n in map(_noise, measured)
    ]
    terms = terms_of(measured, whole, noises, np.array([total]), to_mass)
    voxel = np.sqrt(sum(m.slope**2 * _noise(m).voxel_variance(inside) for m in measured))
    found = {name: float(terms[name][0]) for name in TERMS}
    return Change(areal, sigma, counting, total, apparent, found, area, lost, float(voxel))


def without_maps(change: Change) -> Change:
    """Return a change with the means of its maps in their place: a long series would fill the memory with maps."""
    maps = (change.areal, change.areal_sigma, change.areal_noise)
    areal, sigma, counting = (np.array([np.nanmean(values)]) for values in maps)
    return replace(change, areal=areal, areal_sigma=sigma, areal_noise=counting)


def _noise(measured: Measured) -> Noise:
    assert measured.noise is not None
    return measured.noise


def _mean(sums: Mapping[str, Array]) -> Array:
    return np.where(sums["count"] > 0, sums["change"] / np.maximum(sums["count"], 1), 0.0)


def _whole(sums: Mapping[str, Array]) -> dict[str, Array]:
    """Return the sums over a whole region as one cell."""
    flat = {name: np.array([sums[name].sum()]) for name in ("change", "count", "fixed", "moving")}
    return flat | {"motions": sums["motions"].sum(axis=(1, 2))[:, None]}


def column_noise(found: Noise, count: Array) -> Array:
    """Return the noise of sums over columns along z, 1/cm times voxels."""
    return np.sqrt(noise.column_variance(found.covariance, count)) * found.level * found.column_inflation


def region_noise(found: Noise, count: Array, pairs: Array | None = None) -> float:
    """Return the noise of the sum over a whole region of `count` voxels per column, 1/cm times voxels."""
    inside = count > 0
    if pairs is None:
        full = max(int(count.max()) * int(inside.sum()), 1)
        pairs = noise.prism_overlap(int(count.max()), inside, found.lag) * (count.sum() / full)
    level = float((found.level**2 * count).sum() / max(count.sum(), 1))
    return float(np.sqrt(found.set_variance(pairs, inside) * level) * found.region_inflation)


def terms_of(
    measured: Sequence[Measured],
    sums: Sequence[Mapping[str, Array]],
    noises: Sequence[Scatter],
    value: Array,
    scale: float,
) -> dict[str, Array]:
    """Return the standard errors of sums over cells by cause, in the unit of `value`.

    Parameters
    ----------
    measured : sequence of Measured
        One per energy, for slopes and errors.
    sums : sequence of mapping
        ``change, count, fixed, moving`` per cell and ``motions`` (6, cells), for each energy.
    noises : sequence of Scatter
        Noise and rings of the sum of the change of attenuation in each cell, for each energy.
    value : array
        What the errors belong to.
    scale : float
        From a change of density, summed over voxels, to the unit of `value`.
    """
    square = {name: np.zeros(value.shape) for name in NULL_TERMS}
    for m, s, scatter in zip(measured, sums, noises, strict=True):
        factor = abs(m.slope) * scale
        grey = np.diag([m.errors.gain**2, m.errors.offset**2])
        moving, fixed = (mass.Sums((0,), s[name], s["count"]) for name in ("moving", "fixed"))
        square["noise"] += (scatter.noise * factor) ** 2
        square["rings"] += (scatter.rings * factor) ** 2
        square["registration"] += (uncertainty.registration_term(s["motions"], _motions(m.errors)) * factor) ** 2
        square["calibration"] += (uncertainty.calibration_term(moving, fixed, grey, np.zeros((2, 2))) * factor) ** 2
    errors = measured[0].errors
    return {name: np.sqrt(values) for name, values in square.items()} | {
        "linearity": uncertainty.relative_term(value, float(np.hypot(errors.angles, errors.grey))),
        "table": _table_term(measured, sums, value, scale),
        "energy": uncertainty.relative_term(value, errors.energy),
        "pixel": uncertainty.relative_term(value, errors.pixel),
        "closure": _closure_term(value, errors, sums[0]["change"] * scale),
    }


def grey_and_motion(measured: Measured, sums: Mapping[str, Array], voxel_um: float) -> tuple[float, float]:
    """Return the errors of a total from the grey scale and from the motion, mg; `sums` over columns, of any sign."""
    zero = np.zeros(1)
    terms = terms_of([measured], [_whole(sums)], [Scatter(zero, zero)], zero, (voxel_um * 1e-4) ** 3 * 1e3)
    return float(terms["calibration"][0]), float(terms["registration"][0])


def _motions(errors: Errors) -> Array:
    """Return the covariance of shifts (voxel) and rotations (radian)."""
    return np.diag([errors.shift_voxel**2] * 3 + [errors.rotation_rad**2] * 3)


def _table_term(measured: Sequence[Measured], sums: Sequence[Mapping[str, Array]], value: Array, scale: float) -> Array:
    """Return the error from the mass attenuations: each is off by its own relative error."""
    relative = measured[0].errors.table
    if measured[0].k is None:
        return np.asarray(uncertainty.relative_term(value, relative))
    host = sum(m.slope_host * s["change"] * scale for m, s in zip(measured, sums, strict=True))
    square = np.zeros(value.shape)
    for m in measured:
        assert m.k is not None
        square += m.slope**2 * ((m.k[0] * value) ** 2 + (m.k[1] * host) ** 2)
    return relative * np.sqrt(square)


def _closure_term(value: Array, errors: Errors, change: Array) -> Array:
    """Return half the range of the results of the closures; `change` times a sensitivity is the result of one."""
    if not errors.alternatives:
        return np.zeros_like(value)
    return np.asarray(uncertainty.closure_term([value, *(change * other for other in errors.alternatives)]))


# -------------------------------------------------------------------------------------------------- tables


def balance_table(
    names: Sequence[str],
    times: Sequence[float | None],
    charge: ScanCharge | None,
    changes: Sequence[Change | None],
    consecutive: Sequence[Change | None],
    factors: Sequence[float] | None = None,
) -> pd.DataFrame:
    """Return one row per scan: time, charge, voltage, change of mass with its errors by cause."""
    import pandas as pd

    rows = []
    nan = float("nan")
    for k, (name, change, step) in enumerate(zip(names, changes, consecutive, strict=True)):
        sigma = change.sigma_mg if change else nan
        decision, detection = uncertainty.limits(change.null_sigma_mg if change else nan)
        area = change.area_cm2 if change else nan
        rows.append(
            {
                "scan": name,
                "time_s": times[k],
                "charge_C": charge.charge_C[k] if charge else nan,
                "voltage_V": charge.voltage_V[k] if charge else nan,
                "mass_change_mg": change.mass_mg if change else nan,
                "sigma_mg": sigma,
                "faraday_mg": charge.faraday_mg[k] + 0.0 if charge else nan,
                **{f"sigma_{t}_mg": change.terms_mg[t] if change else nan for t in TERMS},
                "decision_limit_mg": decision,
                "detection_limit_mg": detection,
                "decision_limit_mg_cm2": decision / area,
                "detection_limit_mg_cm2": detection / area,
                "pixel_detection_limit_mg_cm2": uncertainty.DETECTION * float(np.nanmean(change.areal_sigma))
                if change
                else nan,
                "voxel_sigma_g_cm3": change.voxel_sigma if change else nan,
                "interpolation_factor": factors[k] if factors is not None and change else nan,
                "mass_change_consecutive_mg": step.mass_mg if step else nan,
                "sigma_consecutive_mg": step.sigma_mg if step else nan,
                "apparent_mass_mg": change.apparent_mg if change else nan,
                "mean_areal_mg_cm2": float(np.nanmean(change.areal)) if change else nan,
                "lost_voxels": change.lost if change else 0,
            }
        )
    return pd.DataFrame(rows)


class BalanceErrors(NamedTuple):
    """Errors of the masses of a table as the Faraday balance takes them."""

    sigma_mg: Array
    """of each scan, without what scales all masses together"""
    shared_mg: float
    """part of every one that the reference has in it"""
    scale: Array
    """relative error of each scan's mass that is one and the same in all of them"""


def shared_scale(settings: Any, physics: Any) -> float:
    """Return the relative error of tables, energy and pixel size, the same in all masses."""
    energy = physics.percent_per_keV / 100 * settings.energy_error_keV
    return float(np.linalg.norm([settings.table_error, energy, 2 * settings.pixel_error]))


def balance_errors(table: pd.DataFrame, scale: float) -> BalanceErrors:
    """Sort the errors of a table of masses by what scans share; `scale` is that of `shared_scale`."""
    own = table[[f"sigma_{term}_mg" for term in NULL_TERMS]].to_numpy(float)
    sigma = np.sqrt((own**2).sum(axis=1))
    shared = float(sigma[sigma > 0].min()) / np.sqrt(2) if (sigma > 0).any() else 0.0  # the reference is in all of them
    mass, bent = (table[name].to_numpy(float) for name in ("mass_change_mg", "sigma_linearity_mg"))
    relative = np.divide(bent, np.abs(mass), out=np.zeros(len(mass)), where=np.abs(mass) > 0)
    return BalanceErrors(sigma, shared, np.hypot(scale, relative))


def balance_of(
    table: pd.DataFrame, scale: float, leakage: float | Literal["fit"] | None, ratio: float | None
) -> Balance:
    """Fit the Faraday balance to a table of mass against charge."""
    errors = balance_errors(table, scale)
    return faraday_balance(
        table["apparent_mass_mg"].to_numpy(float),
        errors.sigma_mg,
        table["faraday_mg"].to_numpy(float),
        sigma_reference_mg=errors.shared_mg,
        scale=errors.scale,
        leakage=leakage,
        leakage_ratio=ratio,
    )


def write_balance(store: Any, table: pd.DataFrame, settings: Any, config: Any, physics: Any) -> list[str]:
    """Fit the Faraday balance and write its table; return warnings where it cannot be fitted."""
    import pandas as pd

    scale = shared_scale(settings, physics)
    leakage = config.electrochemistry.leakage
    ratio = None
    try:
        if leakage is not None:
            host = settings.anode.host
            k_host = physics.anode.k_host or coefficients((host,), physics.energy_keV, settings.measured)[host]
            ratio = apparent_ratio(physics.anode.k_species, k_host, settings.species, host)
        found = balance_of(table, scale, leakage, ratio)
    except ValueError as error:
        return [f"no Faraday balance: {error}"]
    rows = [("slope", found.slope, found.sigma), ("chi2", found.chi2, np.nan), ("degrees", found.degrees, np.nan)]
    if np.isfinite(found.leakage):
        rows.append(("leakage", found.leakage, found.leakage_sigma))
    store.write_table("faraday", pd.DataFrame(rows, columns=["quantity", "value", "sigma"]))
    return doubts(found, leakage)
