"""Sums and errors of all pairs of scans to areal maps and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from xct_pipeline.config import Config, Registration, Variation
from xct_pipeline.engine.blocks import Array
from xct_pipeline.engine.resources import Resources
from xct_pipeline.region import RegionMask
from xct_pipeline.store.store import Store
from xct_pipeline.store.stored_array import StoredArray
from xct_pipeline.variation import budget, cells, mass
from xct_pipeline.variation import noise as noises
from xct_pipeline.variation.cycler import CyclerLog
from xct_pipeline.variation.electrochemistry import ScanCharge
from xct_pipeline.variation.steps.images import map_arrays
from xct_pipeline.variation.steps.noise import Pair, measure_pairs
from xct_pipeline.variation.steps.physics import Physics, errors_of, interpolation_of
from xct_pipeline.variation.steps.series import Materials, Series, materials_of, pairs_of, region_mask
from xct_pipeline.variation.steps.sums import measure_sums, measure_surface


@dataclass(frozen=True)
class Study:
    """What the sums, their errors and the tables of a run are made from.

    Attributes
    ----------
    series, store
        What is read, and where results go.
    second : (Series, Store) or None
        The same at a second energy.
    physics : Physics
    compositions : tuple of float or None
        Of the alloy at each scan.
    times : tuple of float or None
        Of the scans, s.
    charge, record
        Of the cycler, where there is a log.
    noise : tuple of mapping
        Of the difference of each pair of scans, at each energy.
    """

    config: Config
    series: Series
    store: Store
    limits: Resources
    physics: Physics
    compositions: tuple[float | None, ...]
    times: tuple[float | None, ...]
    charge: ScanCharge | None = None
    record: CyclerLog | None = None
    second: tuple[Series, Store] | None = None
    noise: tuple[Mapping[Pair, noises.Noise], ...] = ()

    @property
    def settings(self) -> Variation:
        """The settings of the stage."""
        assert self.config.variation is not None
        return self.config.variation

    @property
    def region(self) -> RegionMask:
        """The region that mass is mapped in."""
        assert self.settings.region is not None
        return region_mask(self.series, self.store, self.settings.region)

    @property
    def voxel_um(self) -> float:
        """Of the reference volume."""
        return self.series.volume.voxel_um or 1.0

    def density(self, scan: int) -> budget.Density:
        """Return what turns mean changes of attenuation of a scan into a change of density."""
        return partial(self.physics.density, w=self.compositions[scan])


def write_maps_and_tables(study: Study) -> list[str]:
    """Measure sums and errors of all pairs, write the areal maps and the tables; return warnings."""
    series, store, settings, limits = study.series, study.store, study.settings, study.limits
    mask, materials = study.region, materials_of(series, store)
    surface = measure_surface(series, store, settings, study.config.registration or Registration(), limits)
    results: dict[bool, list[budget.Change | None]] = {False: [], True: []}
    profiles: list[Mapping[str, pd.DataFrame] | None] = []
    parts: list[pd.DataFrame] = []
    whole, labelled = pairs_in(study, mask, materials, "region")
    for consecutive in (False, True):
        pairs = pairs_of(series, consecutive)
        voxels = [min((found[pair].voxels if pair in found else 0) for found in study.noise) for pair in pairs]
        maps = map_arrays(series, store, study.physics, settings, study.times, consecutive, voxels)
        for k, pair in enumerate(pairs):
            if k in series.failed:
                results[consecutive].append(None)
                if not consecutive:
                    profiles.append(None)
                continue
            measured = measure_pair(
                study, mask, pair, "region", *((None, None, False) if consecutive else (surface, materials, True))
            )
            density = study.density(k)
            if consecutive and not study.physics.closure.proportional:
                density = _between(study, pair, measured[0].sums["count"])
            change = budget.evaluate(
                measured,
                density,
                study.voxel_um,
                study.physics.anode.k_species,
                None if whole is None else whole.pairs[0],
            )
            for name, array in maps.items():
                array[k] = getattr(change, name).astype(np.float32)
            results[consecutive].append(budget.without_maps(change))
            if not consecutive:
                profiles.append(cells.region_tables(measured, density, study.voxel_um, series.frame[0], settings.bins))
                parts += material_rows(study, k, "region", measured, labelled, materials)
    totals, more = named_regions(study, materials)
    return write_tables(study, results, profiles, totals, parts + more)


def measure_pair(
    study: Study,
    mask: RegionMask,
    pair: tuple[int, int],
    name: str,
    surface: Array | None = None,
    materials: Materials | None = None,
    profiles: bool = False,
) -> list[budget.Measured]:
    """Measure one pair of scans over a region: sums, noise and errors, at each energy."""
    settings, physics, limits = study.settings, study.physics, study.limits
    slopes = physics.slopes(study.compositions[pair[0]])
    sources = [(study.series, study.store), *([study.second] if study.second else [])]
    measured = []
    for e, (series, store) in enumerate(sources):
        sums = measure_sums(series, store, settings, mask, pair, limits, name, surface, materials, profiles)
        noise = None if pair[0] == pair[1] else study.noise[e][pair]
        measured.append(
            budget.Measured(
                sums,
                noise,
                errors_of(settings, physics, series, pair),
                slopes.species[e],
                None if physics.both is None else physics.both[e],
                slopes.host[e],
            )
        )
    return measured


def _between(study: Study, pair: tuple[int, int], count: Array) -> budget.Density:
    """Return the change between two scans as the difference of their changes against the reference.

    For closures whose change of density is no multiple of the change of attenuation.
    """
    areal = map_values(study.store, "areal")
    scale = np.maximum(count, 1) * study.voxel_um * 1e-4 * 1e3
    density = np.nan_to_num(areal[pair[0]] - areal[pair[1]]) / scale
    return lambda changes: density  # noqa: ARG005


def map_values(store: Store, name: str) -> Array:
    """Return an areal map of all scans (t, y, x)."""
    return np.asarray(StoredArray(store.path / "variation" / name / "0")[:], np.float64)


def write_tables(
    study: Study,
    results: Mapping[bool, Sequence[budget.Change | None]],
    profiles: Sequence[Mapping[str, pd.DataFrame] | None],
    totals: pd.DataFrame,
    materials: Sequence[pd.DataFrame],
) -> list[str]:
    """Write the tables of the stage; return warnings."""
    store, names, settings = study.store, study.series.names, study.settings
    factors = interpolation_of(study.config, study.series, study.region.planes())
    table = budget.balance_table(names, study.times, study.charge, results[False], results[True], factors)
    store.write_table("mass_balance", table, budget.BALANCE_UNITS)
    for name, rows in cells.joined(names, profiles).items():
        store.write_table(name, rows, cells.UNITS)
    if len(totals):
        store.write_table("region_totals", totals, cells.UNITS)
    if materials:
        store.write_table("material_totals", pd.concat(materials, ignore_index=True), cells.UNITS)
    warnings = []
    if study.charge is not None and study.record is not None:
        record = study.record
        thin = max(1, len(record.time_s) // 5000)
        columns = {"time_s": record.time_s[::thin], "charge_C": record.charge_C[::thin]}
        if record.voltage_V is not None:
            columns["voltage_V"] = record.voltage_V[::thin]
        store.write_table("cycler", pd.DataFrame(columns), budget.BALANCE_UNITS)
        warnings += budget.write_balance(store, table, settings, study.config, study.physics)
        good = [k for k in range(len(names)) if k not in study.series.failed]
        outside = [names[k] for k in good if not np.isfinite(study.charge.charge_C[k])]
        if outside:
            warnings.append(f"the cycler's log does not reach {', '.join(outside)}: no charge for it")
    return warnings


def pairs_in(
    study: Study, mask: RegionMask, materials: Materials | None, name: str
) -> tuple[cells.Pairs | None, cells.Pairs | None]:
    """Count voxel pairs of a region that labels cut, and of the materials in a region; None where there are none."""
    series, store, limits = study.series, study.store, study.limits
    whole = None if mask.labels_folder is None else measure_pairs(series, store, [mask], limits, name)
    if materials is None:
        return whole, None
    parts = [materials.mask(mask, value) for value in range(materials.size)]
    return whole, measure_pairs(series, store, parts, limits, f"{name}_materials")


def named_regions(study: Study, materials: Materials | None) -> tuple[pd.DataFrame, list[pd.DataFrame]]:
    """Return the change of mass in each region that is named, and of each material in it, scan by scan."""
    series = study.series
    totals: list[dict[str, object]] = []
    parts: list[pd.DataFrame] = []
    for name, region in study.settings.regions.items():
        mask = region_mask(series, study.store, region)
        whole, labelled = pairs_in(study, mask, materials, name)
        for k, pair in enumerate(pairs_of(series, False)):
            if k in series.failed:
                continue
            measured = measure_pair(study, mask, pair, f"regions/{name}", None, materials)
            change = budget.evaluate(
                measured,
                study.density(k),
                study.voxel_um,
                study.physics.anode.k_species,
                None if whole is None else whole.pairs[0],
            )
            totals.append(
                {
                    "scan": series.names[k],
                    "region": name,
                    "voxels": int(measured[0].sums["count"].sum()),
                    "mass_change_mg": change.mass_mg,
                    "sigma_mg": change.sigma_mg,
                }
            )
            parts += material_rows(study, k, name, measured, labelled, materials)
    return pd.DataFrame(totals), parts


def material_rows(
    study: Study,
    scan: int,
    region: str,
    measured: Sequence[budget.Measured],
    labelled: cells.Pairs | None,
    materials: Materials | None,
) -> list[pd.DataFrame]:
    """Return the change of mass of each material of the reference scan in a region; nothing without labels."""
    if materials is None or labelled is None:
        return []
    found = [m.noise for m in measured if m.noise is not None]
    noises = [labelled.noise(n) for n in found] if len(found) == len(measured) else None
    table = cells.cell_table(measured, "material", noises, study.density(scan), study.voxel_um)
    names = [materials.names.get(int(value), "unlabelled") for value in table["cell"]]
    table = table.assign(scan=study.series.names[scan], region=region, material=names)
    return [table[["scan", "region", "material", "voxels", "mass_change_mg", "sigma_mg"]]]


def check_regions(study: Study) -> None:
    """Raise ValueError where a region holds no voxel, before anything is measured."""
    series, store, settings = study.series, study.store, study.settings
    assert settings.region is not None
    for name, region in {"region": settings.region, **settings.regions}.items():
        mask = region_mask(series, store, region)
        planes = mask.planes()
        found = any(mask.slab(slice(z, min(z + 16, planes.stop))).any() for z in range(planes.start, planes.stop, 16))
        mass.check_not_empty(int(found), f"variation.{name if name == 'region' else f'regions.{name}'}")
