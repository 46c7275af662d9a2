"""Registered volumes to changes of mass: what is checked before a run, and the run.

The steps stand in the files beside this one: `stage_series` (pairs of scans, slabs, regions), `stage_physics` (what
turns attenuation into mass), `stage_charge` (the cycler's log), `stage_images`, `stage_sums`, `stage_noise`, and
`stage_tables`, which brings sums and noise together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xct_pipeline.config import Config
from xct_pipeline.execution import PassResult, Progress, run_passes, silent
from xct_pipeline.resources import Resources
from xct_pipeline.scan import Scan
from xct_pipeline.store import Store
from xct_pipeline.variation.stage_charge import charge_of_series, compositions_of, series_times
from xct_pipeline.variation.stage_images import change_pass, density_passes
from xct_pipeline.variation.stage_physics import check_region, physics_of, refusals, second_folder
from xct_pipeline.variation.stage_series import Series
from xct_pipeline.variation.stage_tables import budget_tables

__all__ = ["Series", "VariationResult", "check", "run", "series_times"]


def check(config: Config, scans: Sequence[Scan | None], frame: tuple[int, int, int]) -> list[str]:
    """Return everything in the configuration that would make mass impossible, before anything is computed.

    Raises
    ------
    ValueError
        A log, column, unit, formula, energy or region that is wrong: an error, where what is returned is a refusal.
    """
    settings = config.variation
    assert settings is not None
    for name, region in {"region": settings.region, **settings.regions, "noise_region": settings.noise_region}.items():
        if region is not None:
            check_region(name, region, frame)
    missing = refusals(settings, scans, config.acquisition.pixel_size_um)
    if not missing:
        physics_of(settings, scans)
    if config.electrochemistry is not None:
        charge_of_series(config, [s.name if s else "?" for s in scans], scans, 0)
    return missing


@dataclass(frozen=True)
class VariationResult:
    """How the stage ended.

    Attributes
    ----------
    passes : tuple of PassResult
    refused : tuple of str
        Why no mass was written; empty where it was.
    warnings : tuple of str
    """

    passes: tuple[PassResult, ...]
    refused: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def run(
    config: Config, series: Series, store: Store, limits: Resources, progress: Progress = silent
) -> VariationResult:
    """Write the images and tables of the change of a registered series.

    Raises
    ------
    ValueError
        A region, log, formula or label that is wrong.
    """
    settings = config.variation
    assert settings is not None
    frame = series.frame
    reasons = check(config, series.scans, frame)
    if series.volume.unit != "1/cm":
        reasons = reasons or [f"the volumes are in {series.volume.unit}"]
    times = series_times(series.scans)
    charge = None
    if config.electrochemistry is not None:
        _, stamps, charge = charge_of_series(config, series.names, series.scans, series.reference)
        times = stamps.time_s
    stamps_s = [float(t) if np.isfinite(t) else None for t in times]
    kinds = (False, True)
    passes = [change_pass(series, store, limits, stamps_s, kind) for kind in kinds]
    done = run_passes(store, passes, limits, progress)
    if reasons:
        return VariationResult(tuple(done), tuple(reasons))
    physics = physics_of(settings, series.scans)
    compositions = compositions_of(settings, physics, charge, len(series.names))
    second = second_folder(config)
    for kind in kinds:
        steps = density_passes(series, settings, physics, compositions, store, limits, stamps_s, second, kind)
        done += run_passes(store, steps, limits, progress)
    warnings = budget_tables(config, series, store, limits, physics, compositions, times, charge)
    return VariationResult(tuple(done), (), tuple(warnings))
