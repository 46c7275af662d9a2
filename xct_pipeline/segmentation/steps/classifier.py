"""Training of the pixel classifier on painted labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xct_pipeline.config import Config, SegmentClassifier
from xct_pipeline.engine.blocks import Array
from xct_pipeline.engine.execution import estimated
from xct_pipeline.engine.resources import Need
from xct_pipeline.engine.steps import Estimate, Steps
from xct_pipeline.registration.steps.stage import PATH
from xct_pipeline.segmentation.classifier import PER_SCALE, Forest, feature_halo, train_forest, training_samples
from xct_pipeline.segmentation.denoise import denoise
from xct_pipeline.segmentation.painted import TILE, check_painted, check_whole_numbers, painted_planes, tiles
from xct_pipeline.segmentation.steps.series import VERSION, Facts, box_source, inputs_of
from xct_pipeline.segmentation.steps.thresholds import denoise_reach, denoising_of
from xct_pipeline.store.labels_file import open_labels
from xct_pipeline.store.store import Store

FOREST_S = 20.0  # CPU-seconds of training, roughly


def forest_step(settings: SegmentClassifier, inputs: Mapping[str, Any] | None = None) -> Estimate:
    """Return the step that trains the forest, on tiles of painted planes one after the other."""
    side = TILE + 2 * (denoise_reach(settings) + feature_halo(settings.sigmas))
    block = side**2 * (1 + 2 * feature_halo(settings.sigmas))
    need = Need("", 1, 4 * (2 + PER_SCALE * len(settings.sigmas)) * block, alone=True, cpu_s=FOREST_S)
    return Estimate("segmentation/forest", VERSION, need, inputs or {})


def trained_forest(
    config: Config, settings: SegmentClassifier, facts: Facts, store: Store, steps: Steps | None = None
) -> Forest:
    """Train a random forest on painted labels, or return the one that was trained on equal ones with this seed.

    Raises
    ------
    ValueError
        Painted labels that cannot be read, do not fit, or lack a material.
    """
    file = config.resolve(settings.labels)
    halo = denoise_reach(settings) + feature_halo(settings.sigmas)
    source = box_source(facts, store, PATH, 4, halo)
    try:
        painted = open_labels(file, "segmentation.labels")
        planes = painted_planes(painted, source.image.shape, time=_painted_scan(settings, facts), z=settings.z)
        check_painted(planes, settings.materials)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    lost = sorted({facts.names[plane.time] for plane in planes if plane.time in facts.failed})
    if lost:
        raise ValueError(f"{file}: {', '.join(lost)} is painted but has no registered volume; paint another scan")
    key = {
        "seed": config.seed,
        "trees": settings.trees,
        "depth": settings.depth,
        "sigmas": settings.sigmas,
        "denoise": denoising_of(settings),
        "painted": [tuple(plane) for plane in planes],
        "inputs": inputs_of(store),
    }

    def train() -> dict[str, Array]:
        samples = []
        for region, labels in (tile for plane in planes for tile in tiles(plane)):
            block = denoise(source.read(region), **denoising_of(settings))
            samples.append(training_samples(block, labels, sigmas=settings.sigmas, core=source.core(region)))
        return train_forest(samples, seed=config.seed, trees=settings.trees, depth=settings.depth)._asdict()

    return Forest(**estimated(store, forest_step(settings, key), train, steps))


def check_painted_file(config: Config, settings: SegmentClassifier) -> None:
    """Raise ValueError where painted labels cannot be read or are no whole numbers; their size is seen later."""
    file = config.resolve(settings.labels)
    try:
        check_whole_numbers(open_labels(file, "segmentation.labels"))
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


def _painted_scan(settings: SegmentClassifier, facts: Facts) -> int:
    chosen = settings.scan
    if chosen is None:
        return facts.reference
    if isinstance(chosen, str) and chosen in facts.names:
        return facts.names.index(chosen)
    if isinstance(chosen, int) and chosen < len(facts.names):
        return chosen
    raise ValueError(f"segmentation.scan = {chosen!r} is no scan; there are {', '.join(facts.names)}")
