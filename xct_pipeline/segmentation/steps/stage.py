"""A registered series to labels of materials, and the tables that follow from them."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from xct_pipeline.config import Config, SegmentClassifier
from xct_pipeline.engine.execution import PassResult, Progress, silent
from xct_pipeline.engine.resources import Resources
from xct_pipeline.segmentation.steps.classifier import check_painted_file
from xct_pipeline.segmentation.steps.labels import describe_labels, labels_pass, material_names, run_pass
from xct_pipeline.segmentation.steps.measures import Measured
from xct_pipeline.segmentation.steps.needs import forecast
from xct_pipeline.segmentation.steps.series import Facts
from xct_pipeline.segmentation.steps.tables import write_tables
from xct_pipeline.segmentation.steps.thresholds import find_thresholds
from xct_pipeline.store.labels import LABELS, find_label, stored_names
from xct_pipeline.store.store import Store

log = logging.getLogger("xct")

__all__ = [
    "Facts",
    "SegmentationResult",
    "check",
    "find_thresholds",
    "forecast",
    "labels_pass",
    "material_names",
    "run",
]


def check(config: Config) -> None:
    """Raise ValueError where the configuration uses a label that segmentation will not make, or an unreadable file."""
    if isinstance(config.segmentation, SegmentClassifier):
        check_painted_file(config, config.segmentation)
    variation, used = config.variation, {}
    if variation is not None:
        regions = {"region": variation.region, **variation.regions, "noise_region": variation.noise_region}
        used = {f"variation.{key}": r.label for key, r in regions.items() if r is not None and r.label is not None}
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
    config: Config, facts: Facts, store: Store, limits: Resources, progress: Progress = silent
) -> SegmentationResult:
    """Label a registered series and write the tables of its labels.

    Raises
    ------
    ValueError
        Volumes that cannot be divided as asked for, painted labels that do not fit.
    """
    settings = config.segmentation
    assert settings is not None
    names = material_names(settings)
    try:
        chosen = find_thresholds(settings, facts, store, limits)
        step = labels_pass(config, settings, facts, chosen, store, limits)
    except ValueError as error:
        raise ValueError(f"segmentation: {error}") from None
    if chosen is not None:
        edge = "" if chosen.edge is None else f", faces from {chosen.edge:.4g} 1/cm per voxel"
        log.info("thresholds %s 1/cm%s", ", ".join(f"{value:.4g}" for value in chosen.values), edge)
    done = run_pass(store, step, limits, progress)
    describe_labels(store, LABELS, names, settings.palette)
    ceramic = find_label(names, settings.ceramic or settings.materials[-1])
    measured = Measured(settings, facts, store, limits, names, ceramic)
    more, warnings = write_tables(measured, progress)
    return SegmentationResult((*done, *more), tuple(warnings))
