"""A registered series to labels of materials, and the tables that follow from them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import assert_never

from xct_pipeline.config import (
    Config,
    Segmentation,
    SegmentClassifier,
    SegmentHysteresis,
    SegmentOtsu,
    SegmentValues,
    SegmentWatershed,
)
from xct_pipeline.engine.execution import PassResult, Progress, silent
from xct_pipeline.engine.resources import Resources
from xct_pipeline.engine.steps import Step, Steps
from xct_pipeline.segmentation.steps.classifier import check_painted_file, forest_step
from xct_pipeline.segmentation.steps.labels import (
    describe_labels,
    hysteresis_step,
    labels_pass,
    material_names,
    planned_labels,
    run_pass,
)
from xct_pipeline.segmentation.steps.measures import Measured, contacts_step, heights_step, thickness_step
from xct_pipeline.segmentation.steps.objects import object_steps, objects_wanted, visit_steps
from xct_pipeline.segmentation.steps.series import Facts
from xct_pipeline.segmentation.steps.tables import write_tables
from xct_pipeline.segmentation.steps.thresholds import Thresholds, find_thresholds, histogram_step
from xct_pipeline.store.labels import LABELS, find_label, stored_names
from xct_pipeline.store.store import Store

log = logging.getLogger("xct")

__all__ = [
    "Facts",
    "SegmentationResult",
    "check",
    "find_thresholds",
    "labels_pass",
    "material_names",
    "plan_steps",
    "run",
]


def check(config: Config) -> None:
    """Raise ValueError where the configuration uses a label that segmentation will not make, or an unreadable file."""
    if isinstance(config.segmentation, SegmentClassifier):
        check_painted_file(config, config.segmentation)
    variation, used = config.variation, {}
    if variation is not None:
        regions = {"region": variation.region, **variation.regions, "noise_region": variation.noise_region}
        named = [(key, name) for key, r in regions.items() if r is not None for name in (r.label, r.whole)]
        used = {f"variation.{key}": name for key, name in named if name is not None}
    if config.segmentation is not None:
        known = material_names(config.segmentation)
    else:
        known = stored_names(Store(config.store_path))
    for key, name in used.items():
        if not known:
            raise ValueError(f"{key}: label {name!r} needs [segmentation], which makes the labels")
        try:
            find_label(known, name)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None


def plan_steps(config: Config, facts: Facts, store: Store, limits: Resources) -> tuple[Step, ...]:
    """Return the steps that segment a series, in the order they are executed."""
    settings = config.segmentation
    assert settings is not None
    steps: list[Step] = []
    match settings:
        case SegmentOtsu() | SegmentWatershed():
            steps.append(histogram_step(settings, facts, store))
        case SegmentHysteresis():
            steps.append(hysteresis_step(settings, facts, store))
        case SegmentClassifier():
            steps.append(forest_step(settings))
        case SegmentValues():
            pass
        case _:
            assert_never(settings)
    m = _measured(settings, facts, store, limits, None)
    steps += [planned_labels(settings, facts, store), *visit_steps(m)]
    if settings.interface.offsets:
        steps += [heights_step(m, None), contacts_step(m)]
    if settings.thickness is not None:
        steps.append(thickness_step(m))
    for name in objects_wanted(settings):
        steps += object_steps(m, find_label(m.names, name))
    return tuple(steps)


def _measured(settings: Segmentation, facts: Facts, store: Store, limits: Resources, steps: Steps | None) -> Measured:
    names = material_names(settings)
    ceramic = find_label(names, settings.ceramic or settings.materials[-1])
    return Measured(settings, facts, store, limits, names, ceramic, steps)


@dataclass(frozen=True)
class SegmentationResult:
    """How the stage ended.

    Attributes
    ----------
    passes : tuple of PassResult
    warnings : tuple of str
    """

    passes: tuple[PassResult, ...]
    warnings: tuple[str, ...] = ()


def run(
    config: Config,
    facts: Facts,
    store: Store,
    limits: Resources,
    progress: Progress = silent,
    steps: Steps | None = None,
) -> SegmentationResult:
    """Label a registered series and write the tables of its labels.

    Raises
    ------
    ValueError
        Volumes that cannot be divided as asked for, painted labels that do not fit.
    """
    settings = config.segmentation
    assert settings is not None
    try:
        chosen = find_thresholds(settings, facts, store, limits, steps)
        step = labels_pass(config, settings, facts, chosen, store, limits, steps=steps)
    except ValueError as error:
        raise ValueError(f"segmentation: {error}") from None
    if chosen is not None:
        edge = "" if chosen.edge is None else f", faces from {chosen.edge:.4g} 1/cm per voxel"
        log.info("thresholds %s 1/cm%s", _told(chosen), edge)
    done = run_pass(store, step, limits, progress, steps)
    describe_labels(store, LABELS, material_names(settings), settings.palette)
    measured = _measured(settings, facts, store, limits, steps)
    more, warnings = write_tables(measured, progress)
    unsure = [chosen.sample.warning] if chosen and chosen.sample and chosen.sample.warning else []
    return SegmentationResult((*done, *more), (*unsure, *warnings))


def _told(chosen: Thresholds) -> str:
    if chosen.sample is None:
        return ", ".join(f"{value:.4g}" for value in chosen.values)
    pairs = zip(chosen.values, chosen.sample.sigma, strict=True)
    found = ", ".join(f"{value:.4g} +- {sigma:.1g}" for value, sigma in pairs)
    return f"{found} (from {100 * chosen.sample.share:.2g} % of the voxels)"
