"""The pass that turns the registered series into labels of materials."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, assert_never

import numpy as np

from xct_pipeline.boxes import Region, inside, size_of, widen
from xct_pipeline.config import (
    Config,
    Segmentation,
    SegmentClassifier,
    SegmentHysteresis,
    SegmentOtsu,
    SegmentValues,
    SegmentWatershed,
)
from xct_pipeline.engine.blocks import Array, BlockOp, Pass, Reduction, unbound
from xct_pipeline.engine.execution import PassResult, Progress, image_identity, measure, run_passes
from xct_pipeline.engine.resources import Resources
from xct_pipeline.engine.steps import Steps
from xct_pipeline.registration.steps.stage import PATH, series_image
from xct_pipeline.segmentation import threshold, watershed
from xct_pipeline.segmentation.classifier import PER_SCALE, Forest, classify, feature_halo
from xct_pipeline.segmentation.denoise import denoise
from xct_pipeline.segmentation.gaps import clear_gaps, has_data
from xct_pipeline.segmentation.steps import series as stage_series
from xct_pipeline.segmentation.steps.classifier import trained_forest
from xct_pipeline.segmentation.steps.series import (
    VERSION,
    BoxSource,
    Facts,
    box_source,
    box_step,
    inputs_of,
    of_scan,
    series_source,
    voxels,
)
from xct_pipeline.segmentation.steps.thresholds import Thresholds, denoise_reach, denoising_of
from xct_pipeline.store.files import read_attributes, write_group
from xct_pipeline.store.image import CHUNK, FEWEST_SHARDS, Image, level_count, shard_thickness
from xct_pipeline.store.labels import LABELS
from xct_pipeline.store.store import Store

FLOOD_BYTES = 30  # per voxel that the watershed looks at, where most are at a face
DENOISE_BYTES = 18
WIDEST = 320  # voxels along y and x that are flooded at a time
THICKEST = (128, 64, 32)  # of them along z, the first that a volume has room for
LABELS_RATE = 15e6  # voxels per CPU-second


def material_names(settings: Segmentation) -> dict[int, str]:
    """Return the name of each label; 0 stands for voxels without data."""
    return {k + 1: name for k, name in enumerate(settings.materials)}


def labels_pass(
    config: Config,
    settings: Segmentation,
    facts: Facts,
    chosen: Thresholds | None,
    store: Store,
    limits: Resources,
    granule: tuple[int, int, int] | None = None,
    steps: Steps | None = None,
) -> Pass:
    """Return the pass that labels all scans; `granule` changes what is computed at a time, never the result."""
    frame = (len(facts.names), *facts.volume.shape)
    op = _segment_op(config, settings, facts, chosen, frame, store, limits, steps)
    step = _labels_pass(settings, facts, store, op, chosen)
    given = step.granule if granule is None else (1, *granule)
    return replace(step, granule=given, inputs={"registered": image_identity(store, PATH)})


def planned_labels(settings: Segmentation, facts: Facts, store: Store) -> Pass:
    """Return the pass that labels all scans before what it depends on is known."""
    halo, factor = segment_memory(settings)
    frame = (len(facts.names), *facts.volume.shape)
    name = "thresholds" if isinstance(settings, SegmentOtsu | SegmentValues) else settings.method
    op = block_op(name, unbound, {}, halo, frame, factor, 1)
    return _labels_pass(settings, facts, store, op, None)


def _labels_pass(settings: Segmentation, facts: Facts, store: Store, op: BlockOp, chosen: Thresholds | None) -> Pass:
    image = labels_image(settings, facts, chosen)
    ops = (*denoise_op(settings, image.shape), op)
    granule = (1, *labels_granule(settings, facts.volume.shape))
    return Pass(
        image, series_source(facts, store, PATH, 4), ops, granule, (0,) * 4, {}, cpu_s=voxels(facts) / LABELS_RATE
    )


def labels_image(settings: Segmentation, facts: Facts, chosen: Thresholds | None) -> Image:
    """Return the image of the labels of all scans."""
    names = {str(k): n for k, n in material_names(settings).items()}
    attributes = {
        "time_s": list(facts.times_s),
        "scans": list(facts.names),
        "names": names,
        "thresholds": list(chosen.values) if chosen else None,
    }
    if chosen is not None and chosen.sample is not None:
        attributes["thresholds_sigma"] = list(chosen.sample.sigma)
        attributes["thresholds_from"] = chosen.sample.share  # of all voxels
    image = series_image(LABELS, facts.volume, len(facts.names), "uint8", "", attributes, labels=True)
    if isinstance(settings, SegmentHysteresis):
        return whole_granules(image)
    return in_shards(image, flood_thickness(facts.volume.shape)) if isinstance(settings, SegmentWatershed) else image


def labels_granule(settings: Segmentation, shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return what is labelled at a time: of planes that a watershed looks far around, as few parts as have the room."""
    if isinstance(settings, SegmentWatershed):
        y, x = (math.ceil(n / math.ceil(n / WIDEST) / CHUNK) * CHUNK for n in shape[1:])
        return flood_thickness(shape), y, x
    return stage_series.FINE_GRANULE if isinstance(settings, SegmentClassifier) else stage_series.GRANULE


def flood_thickness(shape: tuple[int, int, int]) -> int:
    """Return how many planes are flooded, and are a shard of the labels.

    A watershed looks thirty planes beyond on either side: it would look at each voxel of a large volume four times in
    shards as thin as those of its grey values. Of labels, which take a quarter, four times as many planes make a shard
    of as many bytes. As for grey values there are at least four to be shared out, and nothing depends on the machine.
    """
    own = shard_thickness(shape)
    fitting = (n for n in THICKEST if n <= 4 * own and math.ceil(shape[0] / n) >= FEWEST_SHARDS)
    return next(fitting, own)


def whole_granules(image: Image) -> Image:
    """Return the image with shards of whole granules, the blocks that connected components were labelled in."""
    return in_shards(image, stage_series.GRANULE[0])


def in_shards(image: Image, thickness: int) -> Image:
    """Return an image in time with shards of so many planes."""
    return replace(image, thickness=thickness, levels=level_count(image.shape[1:], thickness))


def _needs(region: Region, halo: int, frame: tuple[int, ...]) -> Region:
    return widen(region, (0, halo, halo, halo), frame)


def _scratch(region: Region, halo: int, frame: tuple[int, ...], factor: int) -> int:
    return size_of(_needs(region, halo, frame)) * factor


def block_op(
    name: str, function: Any, parameters: Mapping[str, Any], halo: int, frame: tuple[int, ...], factor: int, size: int
) -> BlockOp:
    """Return an operation with a halo that takes `factor` bytes of scratch for each voxel it looks at."""
    return BlockOp(
        f"segmentation.{name}",
        VERSION,
        function,
        parameters,
        partial(_needs, halo=halo, frame=frame),
        partial(_scratch, halo=halo, frame=frame, factor=factor),
        size,
    )


def denoise_op(settings: Segmentation, frame: tuple[int, ...]) -> list[BlockOp]:
    """Return the operation that denoises, none where it is not wanted."""
    denoising = denoising_of(settings)
    if denoising["method"] == "none":
        return []
    function = partial(_denoise_block, denoising=denoising)
    return [block_op("denoise", function, denoising, denoise_reach(settings), frame, DENOISE_BYTES, 4)]


def _denoise_block(block: Any, before: Region, after: Region, *, denoising: Mapping[str, Any]) -> Any:
    return denoise(block[0], core=inside(before[1:], after[1:]), **denoising)[None]


def segment_memory(settings: Segmentation) -> tuple[int, int]:
    """Return the halo of the operation that makes labels, and its bytes of scratch for each voxel it looks at."""
    match settings:
        case SegmentOtsu() | SegmentValues():
            return 0, 4
        case SegmentWatershed():
            return watershed.watershed_halo(sigma=settings.sigma, reach=settings.reach), FLOOD_BYTES
        case SegmentHysteresis():
            return 0, 16
        case SegmentClassifier():
            return feature_halo(settings.sigmas), 4 * (1 + PER_SCALE * len(settings.sigmas)) + 12
        case _:
            assert_never(settings)


def _segment_op(
    config: Config,
    settings: Segmentation,
    facts: Facts,
    chosen: Thresholds | None,
    frame: tuple[int, ...],
    store: Store,
    limits: Resources,
    steps: Steps | None = None,
) -> BlockOp:
    halo, factor = segment_memory(settings)
    op = partial(block_op, halo=halo, frame=frame, factor=factor, size=1)
    match settings:
        case SegmentOtsu() | SegmentValues():
            assert chosen is not None
            return op("thresholds", partial(_threshold_block, chosen=chosen.values), chosen.parameters())
        case SegmentWatershed():
            assert chosen is not None
            options = {
                "sigma": settings.sigma,
                "blur": _blur(settings),
                "reach": settings.reach,
                "connectivity": settings.connectivity,
            }
            function = partial(_watershed_block, chosen=chosen, options=options)
            return op("watershed", function, {**chosen.parameters(), **options})
        case SegmentHysteresis():
            merged = _hysteresis_objects(settings, facts, store, limits, steps)
            options = {"weak": settings.weak, "strong": settings.strong, "connectivity": settings.connectivity}
            function = partial(_hysteresis_block, merged={t: of_scan(merged, t) for t in facts.good}, options=options)
            return op("hysteresis", function, options)
        case SegmentClassifier():
            forest = trained_forest(config, settings, facts, store, steps)
            function = partial(_classified_block, forest=forest, sigmas=tuple(settings.sigmas))
            parameters = {"forest": forest._asdict(), "sigmas": settings.sigmas}
            return op("classifier", function, parameters)
        case _:
            assert_never(settings)


def _blur(settings: SegmentWatershed) -> float:
    """Return the standard deviation of the blur of the images and of a Gaussian that denoises them, voxels."""
    denoising = settings.denoise
    return math.hypot(settings.blur, denoising.sigma if denoising.method == "gaussian" else 0.0)


def _finish(classes: Any, block: Any, core: Region | None = None) -> Any:
    """Number classes of a block, or of a part of it, from 1, in place; 0 where there is no data."""
    classes += np.uint8(1)
    clear_gaps(classes, core or tuple(slice(0, n) for n in block.shape), block, 0)
    return classes[None]


def _threshold_block(block: Any, before: Region, after: Region, *, chosen: Sequence[float]) -> Any:
    values = block[0][inside(before[1:], after[1:])]
    return _finish(threshold.apply_thresholds(values, chosen), values)


def _watershed_block(
    block: Any, before: Region, after: Region, *, chosen: Thresholds, options: Mapping[str, Any]
) -> Any:
    core = inside(before[1:], after[1:])
    if not has_data(block[0][core]):
        return np.zeros((1, *(part.stop - part.start for part in core)), np.uint8)
    assert chosen.edge is not None
    classes = watershed.watershed_classes(
        block[0], chosen.values, edge=chosen.edge, means=chosen.means, core=core, **options
    )
    return _finish(classes, block[0], core)


def _hysteresis_objects(
    settings: SegmentHysteresis, facts: Facts, store: Store, limits: Resources, steps: Steps | None
) -> dict[str, Array]:
    step = replace(hysteresis_step(settings, facts, store), inputs=inputs_of(store))
    return measure(store, step, limits, steps)


def hysteresis_step(settings: SegmentHysteresis, facts: Facts, store: Store) -> Reduction:
    """Return the step that joins the objects of all blocks of each scan."""
    source = box_source(facts, store, PATH, 4, denoise_reach(settings))
    options = {"weak": settings.weak, "strong": settings.strong, "connectivity": settings.connectivity}
    chunk = partial(_hysteresis_chunk, source=source, denoising=denoising_of(settings), options=options)
    join = partial(threshold.combine_hysteresis, connectivity=settings.connectivity)
    parameters = {**options, "denoise": denoising_of(settings), "granule": stage_series.GRANULE}
    return box_step("hysteresis", chunk, join, source, facts, 8, 10e6, parameters)


def _hysteresis_chunk(
    block: Array, region: Region, *, source: BoxSource, denoising: Mapping[str, Any], options: Mapping[str, Any]
) -> dict[str, Array]:
    values = denoise(block, core=source.core(region), **denoising)
    return threshold.hysteresis_partial(values, region[1:], source.image.shape[1:], **options)


def _hysteresis_block(
    block: Any, before: Region, after: Region, *, merged: Mapping[int, Any], options: Mapping[str, Any]
) -> Any:
    t = after[0].start
    if t not in merged:
        return np.zeros(block.shape, np.uint8)
    values = block[0][inside(before[1:], after[1:])]
    return _finish(threshold.apply_hysteresis(values, after[1:], merged[t], **options).astype(np.uint8), values)


def _classified_block(block: Any, before: Region, after: Region, *, forest: Forest, sigmas: tuple[float, ...]) -> Any:
    core = inside(before[1:], after[1:])
    if not has_data(block[0][core]):
        return np.zeros((1, *(part.stop - part.start for part in core)), np.uint8)
    return classify(block[0], forest, sigmas=sigmas, core=core)[None]


def describe_labels(store: Store, path: str, names: Mapping[int, str], colors: Sequence[str]) -> None:
    """Add OME-Zarr's ``image-label`` to an image, and its name to the list of the labels group."""
    folder = store.path / path
    attributes = read_attributes(folder)
    palette = [
        {"label-value": value, "rgba": [*bytes.fromhex(color[1:]), 255]}
        for value, color in zip(names, colors, strict=True)
    ]
    entry: dict[str, Any] = {"source": {"image": "../../"}}
    if names:
        entry |= {
            "colors": palette,
            "properties": [{"label-value": value, "name": name} for value, name in names.items()],
        }
    attributes["ome"] = {**attributes["ome"], "image-label": entry}
    write_group(folder, attributes)
    group = folder.parent
    there = sorted(p.name for p in group.iterdir() if (p / "zarr.json").exists())
    write_group(group, {**read_attributes(group), "ome": {"version": "0.5", "labels": there}})


def run_pass(
    store: Store, step: Pass, limits: Resources, progress: Progress, steps: Steps | None = None
) -> list[PassResult]:
    """Run a pass; ValueError where it cannot be finished."""
    done = run_passes(store, [step], limits, progress, steps)
    if done[0].problem:
        raise ValueError(f"{step.name}: {done[0].problem}")
    return done
