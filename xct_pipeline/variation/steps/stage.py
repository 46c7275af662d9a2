"""Registered volumes to changes of mass: what is checked before a run, and the run.

The steps stand in the files beside this one: `stage_series` (pairs of scans, slabs, regions), `stage_physics` (what
turns attenuation into mass), `stage_charge` (the cycler's log), `stage_images`, `stage_sums`, `stage_quiet` (where
noise is measured), `stage_noise`, and `stage_tables`, which brings sums and noise together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from xct_pipeline.config import Config, Registration, Variation
from xct_pipeline.engine.blocks import Pass, side_by_side
from xct_pipeline.engine.execution import PassResult, Progress, run_passes, silent
from xct_pipeline.engine.resources import Resources
from xct_pipeline.engine.rounding import at_precision
from xct_pipeline.engine.steps import Step, Steps
from xct_pipeline.region import RegionMask, check_region
from xct_pipeline.scan import AnyScan, Scan
from xct_pipeline.store.derived import Plane, describe
from xct_pipeline.store.image import Image
from xct_pipeline.store.store import Store
from xct_pipeline.variation.closures import CLOSURES
from xct_pipeline.variation.steps.charge import charge_of_series, compositions_of, series_times
from xct_pipeline.variation.steps.grey_scale import grey_scale_steps, grey_scales
from xct_pipeline.variation.steps.halves import halves_of_series, write_noise
from xct_pipeline.variation.steps.halves import level_step as halves_level_step
from xct_pipeline.variation.steps.images import change_pass, densities, density_passes, differences, has_formula
from xct_pipeline.variation.steps.near_face import is_whole
from xct_pipeline.variation.steps.noise import noise_of_series, noise_steps
from xct_pipeline.variation.steps.null import check_null
from xct_pipeline.variation.steps.pairs import Study
from xct_pipeline.variation.steps.physics import Physics, physics_of, reference_of, refusals
from xct_pipeline.variation.steps.projections import check_rays
from xct_pipeline.variation.steps.quiet import QuietMask, quiet_part
from xct_pipeline.variation.steps.residues import residues_of
from xct_pipeline.variation.steps.rings import frames_of, ring_rows, ring_table
from xct_pipeline.variation.steps.second import check_second, second_series, second_store
from xct_pipeline.variation.steps.series import FLAGS, KINDS, PREFIX, RegisteredSeries, materials_of, planned_materials
from xct_pipeline.variation.steps.sums import surface_step, surface_threshold
from xct_pipeline.variation.steps.tables import check_regions, mass_steps, write_maps_and_tables
from xct_pipeline.variation.steps.uneven_light import uneven_of_series

__all__ = ["RegisteredSeries", "VariationResult", "check", "plan_steps", "reads_projections", "run", "series_times"]


def check(config: Config, scans: Sequence[AnyScan | None], frame: tuple[int, int, int]) -> list[str]:
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
            check_region(f"variation.{name}", region, frame)
    names = [s.name if s else f"scan {k}" for k, s in enumerate(scans)]
    beside = charge_of_series(config, names, scans, reference_of(config, names))
    charge = None if beside is None else beside.charge
    if all(scans):  # one that cannot be read has no name here
        check_null(settings.null, names)
    if settings.estimator == "projections":
        if settings.closure is not None and CLOSURES[settings.closure].energies > 1:
            raise ValueError(f'variation.estimator = "projections": not for closure = "{settings.closure}"')
        if is_whole(settings.region):
            raise ValueError('variation.estimator = "projections": not for a whole body; give a region that is drawn')
        volumes = [s.name for s in scans if s is not None and not isinstance(s, Scan)]
        if volumes:
            raise ValueError(f'variation.estimator = "projections": {", ".join(volumes[:3])} has none, but a volume')
        angles = [s.angles if isinstance(s, Scan) else None for s in scans]
        check_rays(names, angles, reference_of(config, names))
    missing = refusals(settings, scans, config.acquisition.pixel_size_um)
    if not missing:
        physics = physics_of(settings, scans)
        compositions_of(settings, physics, charge, len(scans))
        second = second_store(config)
        if second is not None:
            check_second(second, len(scans), frame)
    return missing


def reads_projections(config: Config) -> bool:
    """Tell whether the stage looks at the sinograms again: to fit them, or at faces beside a whole body."""
    settings = config.variation
    return settings is not None and (settings.estimator == "projections" or is_whole(settings.region))


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


def plan_steps(
    config: Config, series: RegisteredSeries, store: Store, limits: Resources, mass_known: bool
) -> tuple[Step, ...]:
    """Return the steps that map the change of a series, in the order they are executed.

    Parameters
    ----------
    mass_known : bool
        Else only attenuation is written.
    """
    settings, registration = config.variation, config.registration or Registration()
    assert settings is not None
    none = (None,) * len(series.names)
    changes = [change_pass(series, store, none, kind, known=False) for kind in KINDS]
    share = config.store.noise_share
    steps: list[Step] = list(side_by_side([at_precision(step, share) for step in changes if kept(settings, step)]))
    if not mass_known:
        return tuple(steps)
    assert settings.region is not None
    physics, second = physics_of(settings, series.scans), second_store(config)
    materials = planned_materials(config, series, store)
    steps += grey_scale_steps(series, materials)
    for kind in KINDS:
        closed = density_passes(series, settings, physics, none, store, none, second, kind, known=False)
        steps += side_by_side([at_precision(step, share) for step in closed if kept(settings, step, physics)])
    other = None if second is None else (series, second)
    study = Study(config, series, store, limits, physics, none, none, second=other)
    mask = RegionMask(settings.region, series.frame)
    named = None if settings.noise_region is None else RegionMask(settings.noise_region, series.frame)
    solid = 0.0 if registration.mask == "auto" else registration.mask.min_attenuation
    for prefix, each, folder in study.energies:
        quiet = QuietMask(named, mask, 0.0, solid if prefix == PREFIX else None)
        steps += noise_steps(quiet, each, folder, mask, prefix)
    steps += [halves_level_step(series)] if config.reconstruction.halves else []
    threshold = surface_threshold(settings, registration)
    looked_for = threshold is not None or registration.mask == "auto"
    surface = surface_step(series, store, settings, threshold) if looked_for else None
    return (*steps, *mass_steps(study, surface, materials))


def run(
    config: Config,
    series: RegisteredSeries,
    store: Store,
    limits: Resources,
    progress: Progress = silent,
    steps: Steps | None = None,
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
    beside = charge_of_series(config, series.names, series.scans, series.reference)
    times = series_times(series.scans) if beside is None or beside.times is None else beside.times.time_s
    stamps_s = tuple(float(t) if np.isfinite(t) else None for t in times)
    changes = [change_pass(series, store, stamps_s, kind) for kind in KINDS]
    share = config.store.noise_share
    asked = [at_precision(step, share) for step in changes if kept(settings, step)]
    done = run_passes(store, asked, limits, progress, steps)
    described: dict[str, tuple[Image, list[Plane]]] = {
        step.name: (step.image, differences(series, kind))
        for step, kind in zip(changes, KINDS, strict=True)
        if not kept(settings, step)
    }
    if reasons:
        describe_all(store, described)
        return VariationResult(tuple(done), tuple(reasons))
    physics = physics_of(settings, series.scans)
    compositions = compositions_of(settings, physics, None if beside is None else beside.charge, len(series.names))
    second = _second(config, series)
    if second is not None:
        series = replace(series, failed=tuple(sorted({*series.failed, *second[0].failed})))
    study = Study(config, series, store, limits, physics, tuple(compositions), stamps_s, beside, second)
    check_regions(study)
    labels = materials_of(series, store)
    series, doubts = grey_scales(config, series, store, study.region, labels, physics.anode.k_species, limits, steps)
    series = replace(series, residues=residues_of(series, store))
    study = replace(study, series=series)
    for kind in KINDS:
        closed = density_passes(
            series, settings, physics, compositions, store, stamps_s, second[1] if second else None, kind
        )
        stored = [step for step in closed if kept(settings, step, physics)]
        done += run_passes(store, [at_precision(step, share) for step in stored], limits, progress, steps)
        formula = densities(series, physics, compositions, kind) if has_formula(physics) else []
        described |= {step.name: (step.image, formula) for step in closed if not kept(settings, step, physics)}
    describe_all(store, described)
    registration = config.registration or Registration()
    quiet = [quiet_part(settings, registration, series, store, study.region)]
    if second is not None:
        # what is ceramic at the first energy says nothing about attenuation at the second
        quiet.append(replace(quiet_part(settings, registration, *second, study.region), solid=None))
    measured, frames = [], [frames_of(each, registration) for _, each, _ in study.energies]
    for (prefix, each, folder), part, axes in zip(study.energies, quiet, frames, strict=True):
        uneven = uneven_of_series(each, folder, axes, study.region.planes())
        measured.append(noise_of_series(each, folder, study.region, part, limits, store, steps, prefix, axes, uneven))
    noises = [{pair: one.noise for pair, one in found.items()} for found in measured]
    halves = halves_of_series(series, store, registration.order, steps) if config.reconstruction.halves else None
    rings = {pair: one.rings for pair, one in measured[0].items()}
    rows = ring_rows(series.names, series.reference, frames[0], rings, study.voxel_um)
    told = write_noise(halves, store, noises[0], ring_table(rows))
    more, warnings = write_maps_and_tables(replace(study, noise=tuple(noises)), progress, steps)
    return VariationResult((*done, *more), (), (*doubts, *told, *warnings))


def kept(settings: Variation, step: Pass, physics: Physics | None = None) -> bool:
    """Tell whether an image of the stage is stored voxel by voxel: asked for, or no arithmetic on the series."""
    arithmetic = step.name != FLAGS and (physics is None or has_formula(physics))
    return not arithmetic or step.name.removeprefix(PREFIX) in settings.keep


def describe_all(store: Store, described: Mapping[str, tuple[Image, Sequence[Plane]]]) -> None:
    """Describe the images that are derived, and keep their names for the next run to find them by."""
    for image, planes in described.values():
        describe(store, image, planes)
    store.update({"derived": sorted(described)})


def _second(config: Config, series: RegisteredSeries) -> tuple[RegisteredSeries, Store] | None:
    """Return the series at the second energy, for the closure that needs one."""
    store = second_store(config)
    if store is None:
        return None
    check_second(store, len(series.names), series.frame)
    return second_series(store, series.reference), store
