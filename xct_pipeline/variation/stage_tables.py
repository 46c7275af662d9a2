"""Sums and errors of all pairs of scans to areal maps and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd

from xct_pipeline.blocks import Array
from xct_pipeline.config import Config, Registration
from xct_pipeline.resources import Resources
from xct_pipeline.store import Store
from xct_pipeline.variation import budget, mass
from xct_pipeline.variation.electrochemistry import ScanCharge
from xct_pipeline.variation.stage_charge import charge_of_series
from xct_pipeline.variation.stage_images import map_arrays
from xct_pipeline.variation.stage_noise import noise_of_pair, quiet_part
from xct_pipeline.variation.stage_physics import Physics, errors_of, slope_of, to_density
from xct_pipeline.variation.stage_series import Series, pairs_of, region_mask
from xct_pipeline.variation.stage_sums import measure_sums, measure_surface


def budget_tables(
    config: Config, series: Series, store: Store, limits: Resources, physics: Physics,
    compositions: Sequence[float | None], times: Array, charge: ScanCharge | None,
) -> list[str]:  # fmt: skip
    """Measure sums and errors of all pairs, write the areal maps and the tables; return warnings."""
    settings, registration = config.variation, config.registration or Registration()
    assert settings is not None
    assert settings.region is not None
    mask = region_mask(series, store, settings.region)
    surface = measure_surface(series, store, settings, registration, limits)
    quiet = quiet_part(settings, registration, series, store, mask)
    convert = partial(to_density, physics=physics)
    warnings: list[str] = []
    results: dict[bool, list[budget.Change | None]] = {}
    for consecutive in (False, True):
        maps = map_arrays(series, store, physics, settings, times, consecutive)
        results[consecutive] = []
        for k, pair in enumerate(pairs_of(series, consecutive)):
            if k in series.failed:
                results[consecutive].append(None)
                continue
            sums = measure_sums(series, store, settings, mask, pair, surface, limits, "region")
            mass.check_not_empty(int(sums["count"].sum()), "variation.region")
            noise = None
            if pair[0] != pair[1]:
                noise = noise_of_pair(series, store, mask, quiet, pair, limits)
            change = budget.evaluate(
                sums, noise, errors_of(settings, physics, series, pair), partial(convert, w=compositions[k]),
                slope_of(physics, settings, compositions[k]), series.volume.voxel_um or 1.0, physics.anode.k_species,
            )  # fmt: skip
            for name, array in maps.items():
                array[k] = getattr(change, name).astype(np.float32)
            results[consecutive].append(budget.without_maps(change))
    warnings += write_tables(config, series, store, limits, physics, times, charge, results)
    return warnings


def write_tables(
    config: Config, series: Series, store: Store, limits: Resources, physics: Physics, times: Array,
    charge: ScanCharge | None, results: Mapping[bool, Sequence[budget.Change | None]],
) -> list[str]:  # fmt: skip
    """Write the tables of the stage; return warnings."""
    settings = config.variation
    assert settings is not None
    voxel = series.volume.voxel_um or 1.0
    table = budget.balance_table(series.names, times, charge, results[False], results[True])
    store.write_table("mass_balance", table, budget.BALANCE_UNITS)
    for name, rows in budget.profiles(series.names, results[False], voxel).items():
        if len(rows):
            store.write_table(name, rows, budget.PROFILE_UNITS)
    if settings.bins is not None:
        store.write_table("bins", budget.bin_table(series.names, results[False], settings.bins), budget.PROFILE_UNITS)
    totals = _region_totals(config, series, store, limits, physics)
    if len(totals):
        store.write_table("region_totals", totals, budget.BALANCE_UNITS)
    warnings = []
    if charge is not None:
        record, _, _ = charge_of_series(config, series.names, series.scans, series.reference)
        thin = max(1, len(record.time_s) // 5000)
        columns = {"time_s": record.time_s[::thin], "charge_C": record.charge_C[::thin]}
        if record.voltage_V is not None:
            columns["voltage_V"] = record.voltage_V[::thin]
        store.write_table("cycler", pd.DataFrame(columns), budget.BALANCE_UNITS)
        warnings += budget.write_balance(store, table, settings, config, physics)
        outside = [n for n, c in zip(series.names, charge.charge_C, strict=True) if not np.isfinite(c)]
        if outside:
            warnings.append(f"the cycler's log does not reach {', '.join(outside)}: no charge for it")
    return warnings


def _region_totals(config: Config, series: Series, store: Store, limits: Resources, physics: Physics) -> pd.DataFrame:
    """Return the change of mass in every region that is named, scan by scan."""
    settings = config.variation
    assert settings is not None
    rows = []
    voxel = series.volume.voxel_um or 1.0
    for name, region in settings.regions.items():
        mask = region_mask(series, store, region)
        for k, pair in enumerate(pairs_of(series, False)):
            if k in series.failed:
                continue
            sums = measure_sums(series, store, settings, mask, pair, None, limits, name)
            count = int(sums["count"].sum())
            mass.check_not_empty(count, f"variation.regions.{name}")
            density = to_density(np.array(sums["change"].sum() / count), physics=physics, w=None)
            rows.append(
                {
                    "scan": series.names[k], "region": name, "voxels": count,
                    "mass_change_mg": float(density) * count * (voxel * 1e-4) ** 3 * 1e3,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)
