"""Connected objects of a material in every scan: an image of their numbers, and their measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from xct_pipeline.boxes import Region
from xct_pipeline.config import Segmentation
from xct_pipeline.engine.blocks import Array, Pass, Reduction, unbound
from xct_pipeline.engine.execution import PassResult, Progress, image_identity
from xct_pipeline.engine.steps import path_name
from xct_pipeline.engine.visits import in_one_visit
from xct_pipeline.names import check_name
from xct_pipeline.registration.steps.stage import PATH, series_image
from xct_pipeline.segmentation import interface, label, properties, surface
from xct_pipeline.segmentation.steps import series as stage_series
from xct_pipeline.segmentation.steps.labels import block_op, describe_labels, run_pass, whole_granules
from xct_pipeline.segmentation.steps.measures import Measured, areas_of, materials_step, touching_step
from xct_pipeline.segmentation.steps.series import BoxSource, Facts, box_step, of_scan, voxels
from xct_pipeline.store import layout
from xct_pipeline.store.image import Image
from xct_pipeline.store.labels import LABELS, find_label

NUMBER_BYTES = 16  # of scratch for each voxel, while objects are numbered
NUMBER_RATE = 75e6  # voxels per CPU-second


def objects_wanted(settings: Segmentation) -> list[str]:
    """Return the names of the materials whose objects are numbered."""
    chosen = settings.objects.materials
    return [settings.materials[0]] if chosen is None else list(chosen)


def objects_path(name: str) -> str:
    """Return where the numbered objects of a material are in a store."""
    return layout.OBJECTS(material=path_name(check_name(name)))


def objects_image(name: str, facts: Facts) -> Image:
    """Return the image of the numbered objects of a material in all scans."""
    attributes = {"time_s": list(facts.times_s), "scans": list(facts.names)}
    image = series_image(objects_path(name), facts.volume, len(facts.names), "int32", "", attributes, labels=True)
    return whole_granules(image)


def visit_steps(m: Measured) -> list[Reduction]:
    """Return the steps that need labels and grey values alone, in their order: they are made in one visit."""
    objects = [objects_step(m, find_label(m.names, name)) for name in objects_wanted(m.settings)]
    partners = [touching_step(m)] if m.settings.interface.partners else []
    return in_one_visit([materials_step(m), *partners, *objects])


def object_steps(m: Measured, value: int) -> tuple[Pass, Reduction]:
    """Return the steps that write the numbers of a material's objects, once these are found, and measure shapes."""
    return numbers_pass(m, value, objects_step(m, value).parameters, None), shapes_step(m, value, {})


def objects_step(m: Measured, value: int) -> Reduction:
    """Return the step that finds the connected components of a material in every scan."""
    options = m.settings.objects
    chunk = partial(
        _object_chunk,
        value=value,
        connectivity=options.connectivity,
        frame=m.facts.volume.shape,
        values=m.source(PATH, 4),
    )
    combine = partial(_combine_objects, connectivity=options.connectivity, smallest=options.smallest)
    parameters = {"value": value, **options.model_dump(exclude={"materials"}), "granule": stage_series.GRANULE}
    name = f"objects/{path_name(m.names[value])}"
    return box_step(name, chunk, combine, m.source(LABELS), m.facts, 20, 65e6, parameters)


def numbers_pass(
    m: Measured, value: int, parameters: Mapping[str, Any], merged: Mapping[int, dict[str, Array]] | None
) -> Pass:
    """Return the pass that writes the numbers of a material's objects; these are known once they have been found."""
    image = objects_image(m.names[value], m.facts)
    connectivity = m.settings.objects.connectivity
    function = (
        unbound if merged is None else partial(_number_block, merged=merged, value=value, connectivity=connectivity)
    )
    op = block_op("objects", function, parameters, 0, image.shape, NUMBER_BYTES, 4)
    source, granule = m.source(LABELS).image, (1, *stage_series.GRANULE)
    return Pass(image, source, (op,), granule, (0,) * 4, {}, cpu_s=voxels(m.facts) / NUMBER_RATE)


def number_objects(m: Measured, value: int, found: Mapping[str, Array], progress: Progress) -> list[PassResult]:
    """Write the connected components of a material that were found in every scan as an image of their numbers."""
    parameters = objects_step(m, value).parameters
    numbers = numbers_pass(m, value, parameters, {t: of_scan(found, t) for t in m.facts.good})
    numbers = replace(numbers, inputs={"labels": image_identity(m.store, LABELS)})
    done = run_pass(m.store, numbers, m.limits, progress, m.steps)
    describe_labels(m.store, numbers.image.path, {}, [])
    return done


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
    return m.reduce(shapes_step(m, value, planes), objects_path(m.names[value]))


def shapes_step(m: Measured, value: int, planes: Mapping[int, Array]) -> Reduction:
    """Return the step that measures numbered objects; the planes of the ceramic's surface are known in the run."""
    source = m.source(objects_path(m.names[value]), 4, surface.area_halo())
    chunk = partial(_shape_chunk, source=source, planes=planes, direction=m.settings.interface.direction)
    parameters = {"planes": planes, "direction": m.settings.interface.direction}
    name = f"shapes/{path_name(m.names[value])}"
    return box_step(name, chunk, _combine_shapes, source, m.facts, 4, 33e6, parameters)


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
