"""Connected objects of a material in every scan: an image of their numbers, and their measures."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from xct_pipeline.config import Segmentation
from xct_pipeline.engine.blocks import Array, Pass, Region, image_source
from xct_pipeline.engine.execution import PassResult, Progress, image_identity
from xct_pipeline.engine.resources import Resources
from xct_pipeline.registration.steps.stage import PATH, series_image
from xct_pipeline.segmentation import interface, label, properties, surface
from xct_pipeline.segmentation.steps import series as stage_series
from xct_pipeline.segmentation.steps.labels import block_op, describe_labels, run_pass, whole_granules
from xct_pipeline.segmentation.steps.measures import Measured, areas_of
from xct_pipeline.segmentation.steps.series import BoxSource, Facts, box_source, boxes, of_scan
from xct_pipeline.store.image import Image
from xct_pipeline.store.labels import LABELS

NUMBER_BYTES = 16  # of scratch for each voxel, while objects are numbered


def objects_wanted(settings: Segmentation) -> list[str]:
    """Return the names of the materials whose objects are numbered."""
    chosen = settings.objects.materials
    return [settings.materials[0]] if chosen is None else list(chosen)


def objects_path(name: str) -> str:
    """Return where the numbered objects of a material are in a store."""
    return f"registered/labels/objects_{re.sub(r'[^0-9A-Za-z]+', '_', name)}"


def objects_image(name: str, facts: Facts, limits: Resources) -> Image:
    """Return the image of the numbered objects of a material in all scans."""
    attributes = {"time_s": list(facts.times_s)}
    image = series_image(
        objects_path(name), facts.volume, len(facts.names), "int32", "", limits, attributes, labels=True
    )
    return whole_granules(image)


def label_objects(m: Measured, value: int, progress: Progress) -> tuple[dict[str, Array], list[PassResult]]:
    """Find the connected components of a material in every scan and write them as an image of their numbers."""
    options = m.settings.objects
    source, regions = box_source(m.store, LABELS), boxes(m.facts)
    chunk = partial(
        _object_chunk,
        value=value,
        connectivity=options.connectivity,
        frame=m.facts.volume.shape,
        values=box_source(m.store, PATH),
    )
    combine = partial(_combine_objects, connectivity=options.connectivity, smallest=options.smallest)
    parameters = {"value": value, **options.model_dump(exclude={"materials"}), "granule": stage_series.GRANULE}
    found = m.reduce(f"objects_{value}", chunk, combine, source, regions, parameters)
    frame = (len(m.facts.names), *m.facts.volume.shape)
    image = objects_image(m.names[value], m.facts, m.limits)
    merged = {t: of_scan(found, t) for t in m.facts.good}
    function = partial(_number_block, merged=merged, value=value, connectivity=options.connectivity)
    op = block_op("objects", function, parameters, 0, frame, NUMBER_BYTES, 4)
    inputs = {"labels": image_identity(m.store, LABELS)}
    step = Pass(image, image_source(m.store, LABELS), (op,), (1, *stage_series.GRANULE), (0,) * 4, inputs)
    done = run_pass(m.store, step, m.limits, progress)
    describe_labels(m.store, image.path, {}, [])
    return found, done


def _object_chunk(
    block: Array, region: Region, *, value: int, connectivity: int, frame: tuple[int, ...], values: BoxSource
) -> dict[str, Array]:
    numbers, count = label.label_block(block == value, connectivity=connectivity)
    part = label.labelled_partial(numbers, count, region[1:], frame)
    sums = properties.property_partial(numbers, region[1:], values.read(region))
    return {**part, **{f"sum_{key}": value for key, value in sums.items()}}


def _combine_objects(parts: Sequence[Mapping[str, Array]], *, connectivity: int, smallest: int) -> dict[str, Array]:
    """Join objects across blocks, add up their sums, and leave out small ones."""
    merged = label.merge_labels(parts, connectivity=connectivity)
    sums = []
    for part, start in zip(parts, merged["start"], strict=False):
        mine = {key.removeprefix("sum_"): value for key, value in part.items() if key.startswith("sum_")}
        sums.append({**mine, "label": merged["lookup"][start + mine["label"] - 1].astype(np.int64)})
    total = properties.combine_properties(sums)
    kept = total["voxels"] >= smallest
    merged = label.keep_objects(merged, kept)
    left = {key: value[kept] for key, value in total.items()}
    left["label"] = np.arange(1, int(kept.sum()) + 1)
    return {**merged, **{f"sum_{key}": value for key, value in left.items()}}


def _number_block(
    block: Any, before: Region, after: Region, *, merged: Mapping[int, Any], value: int, connectivity: int
) -> Any:
    del before
    t = after[0].start
    if t not in merged:
        return np.zeros(block.shape, np.int32)
    return label.relabel_block(block[0] == value, after[1:], merged[t], connectivity=connectivity)[None]


def measure_objects(m: Measured, value: int, planes: Mapping[int, Array]) -> dict[str, Array]:
    """Measure the surface of numbered objects and, on the anode's side, their distance from the ceramic."""
    path = objects_path(m.names[value])
    source = box_source(m.store, path, surface.area_halo())
    chunk = partial(_shape_chunk, source=source, planes=planes, direction=m.settings.interface.direction)
    parameters = {"planes": planes, "direction": m.settings.interface.direction}
    return m.reduce(f"shapes_{value}", chunk, _combine_shapes, source, boxes(m.facts), parameters, path)


def _shape_chunk(
    block: Array, region: Region, *, source: BoxSource, planes: Mapping[int, Array], direction: interface.Direction
) -> dict[str, Array]:
    core, plane = source.core(region), planes.get(region[0].start)
    found = {f"area_{key}": value for key, value in surface.area_partial(block, core).items()}
    if plane is None:
        return found
    away = interface.distance_partial(block[core], region[1:], plane, direction=direction, deepest=1.0)
    return {**found, **{f"distance_{key}": value for key, value in away.items()}}


def _combine_shapes(parts: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    areas = surface.combine_areas([areas_of(part) for part in parts])
    found = {f"area_{key}": value for key, value in areas.items()}
    if "distance_label" not in parts[0]:
        return found
    keys = ("label", "distance")
    away = interface.combine_distances([{key: part[f"distance_{key}"] for key in keys} for part in parts])
    return {**found, **{f"distance_{key}": value for key, value in away.items()}}
