"""Reductions over the labels of each scan: volumes, surfaces, the interface, local thickness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from xct_pipeline.boxes import Region, inside
from xct_pipeline.config import Segmentation
from xct_pipeline.engine.blocks import Array, Reduction
from xct_pipeline.engine.execution import measure
from xct_pipeline.engine.resources import Resources
from xct_pipeline.engine.steps import Steps
from xct_pipeline.engine.visits import measure_together
from xct_pipeline.registration.steps.stage import PATH
from xct_pipeline.segmentation import contact, interface, properties, surface
from xct_pipeline.segmentation.steps.series import BoxSource, Facts, box_source, box_step, boxes, inputs_of, of_scan
from xct_pipeline.store.labels import LABELS, find_label
from xct_pipeline.store.store import Store


@dataclass(frozen=True)
class Measured:
    """What all measures share."""

    settings: Segmentation
    facts: Facts
    store: Store
    limits: Resources
    names: Mapping[int, str]
    ceramic: int

    steps: Steps | None = None

    def source(self, path: str, itemsize: int = 1, halo: int | tuple[int, int, int] = 0) -> BoxSource:
        """Return what reads boxes of an image of the series."""
        return box_source(self.facts, self.store, path, itemsize, halo)

    def reduce(self, step: Reduction, *paths: str) -> dict[str, Array]:
        """Run a reduction over the labels and other images."""
        inputs = inputs_of(self.store, LABELS, *paths)
        return measure(self.store, replace(step, inputs=inputs), self.limits, self.steps)

    def visit(self, reductions: Sequence[Reduction]) -> dict[str, dict[str, Array]]:
        """Run reductions over the labels and grey values in one visit; return their results by name."""
        inputs = inputs_of(self.store, LABELS)
        known = [replace(step, inputs=inputs) for step in reductions]
        found = measure_together(self.store, known, self.limits, self.steps)
        return {step.name: result for step, result in zip(known, found, strict=True)}


def materials_step(m: Measured) -> Reduction:
    """Return the step that sums voxels and attenuation of every material, and its surface."""
    source = m.source(LABELS, 1, surface.area_halo())
    chunk = partial(_material_chunk, source=source, values=m.source(PATH, 4))
    return box_step("materials", chunk, _combine_sums, source, m.facts, 14, 22e6)


def _material_chunk(block: Array, region: Region, *, source: BoxSource, values: BoxSource) -> dict[str, Array]:
    core = source.core(region)
    sums = properties.property_partial(block[core], region[1:], values.read(region))
    return {**sums, **{f"area_{key}": v for key, v in surface.area_partial(block, core).items()}}


def _combine_sums(parts: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    areas = surface.combine_areas([{key: part[f"area_{key}"] for key in ("label", "area")} for part in parts])
    return {**properties.combine_properties(parts), **{f"area_{key}": value for key, value in areas.items()}}


def areas_of(found: Mapping[str, Array]) -> dict[str, Array]:
    """Return the part of a result that are areas."""
    return {key: found[f"area_{key}"] for key in ("label", "area")}


def ceramic_level(m: Measured, materials: Mapping[str, Array]) -> float | None:
    """Return half-way between the ceramic's mean attenuation and that of the rest; None where it is not denser."""
    voxels, total = np.zeros(2), np.zeros(2)
    for t in m.facts.good:
        sums = of_scan(materials, t)
        mine = (sums["label"] == m.ceramic).astype(int)
        voxels += np.bincount(mine, sums["measured"], 2)
        total += np.bincount(mine, sums["sum"], 2)
    if not voxels.all():
        return None
    rest, ceramic = total / voxels
    return float(rest + ceramic) / 2 if ceramic > rest else None


def heights_step(m: Measured, level: float | None, regions: Sequence[Region] | None = None) -> Reduction:
    """Return the step that finds the ceramic's surface; level and regions are known once materials are measured."""
    options = m.settings.interface
    source = m.source(LABELS, 1, (interface.height_halo(), 0, 0))
    values = m.source(PATH, 4, source.halo)
    chunk = partial(
        _height_chunk, source=source, values=values, ceramic=m.ceramic, direction=options.direction, level=level
    )
    combine = partial(_combine_heights, frame=m.facts.volume.shape, direction=options.direction)
    parameters = {"ceramic": m.ceramic, "direction": options.direction, "level": level}
    return box_step("heights", chunk, combine, source, m.facts, 17, 85e6, parameters, regions)


def measure_heights(m: Measured, materials: Mapping[str, Array]) -> dict[int, Array]:
    """Return the planes fitted to the ceramic's surface (3, y, x) of every scan that shows one."""
    options = m.settings.interface
    found = m.reduce(heights_step(m, ceramic_level(m, materials), _with_ceramic(m, materials)))
    heights = {t: of_scan(found, t)["height"] for t in m.facts.good}
    return {
        t: interface.local_planes(height, smooth=options.smooth)
        for t, height in heights.items()
        if np.isfinite(height).any()
    }


def _with_ceramic(m: Measured, materials: Mapping[str, Array]) -> list[Region]:
    """Return the boxes of each scan that lie where its ceramic does; one without ceramic keeps one."""
    left: list[Region] = []
    for t in m.facts.good:
        sums, own = of_scan(materials, t), [box for box in boxes(m.facts) if box[0].start == t]
        ends = [
            [(low, high + 1) for low, high in zip(sums["low"][k].tolist(), sums["high"][k].tolist(), strict=True)]
            for k in np.flatnonzero(sums["label"] == m.ceramic)
        ]
        left += [
            box
            for box in own
            if any(
                all(p.start < stop and start < p.stop for p, (start, stop) in zip(box[1:], end, strict=True))
                for end in ends
            )
        ] or own[:1]
    return left


def _height_chunk(
    block: Array,
    region: Region,
    *,
    source: BoxSource,
    values: BoxSource,
    ceramic: int,
    direction: interface.Direction,
    level: float | None,
) -> dict[str, Array]:
    find = partial(interface.height_partial, ceramic=ceramic, direction=direction)
    found = find(block, region[1:], source.core(region))
    if level is None or not np.isfinite(found["height"]).any():
        return found
    ends = found["height"] - 0.5 * direction  # the planes of voxels where columns end: values are read around these
    planes = slice(int(np.nanmin(ends)), int(np.nanmax(ends)) + 1)
    part = (region[0], planes, *region[2:])
    labels = block[inside(source.span(region), source.span(part))]
    return find(labels, part[1:], source.core(part), attenuation=values.read(part), level=level)


def _combine_heights(
    parts: Sequence[Mapping[str, Array]], *, frame: tuple[int, ...], direction: interface.Direction
) -> dict[str, Array]:
    try:
        return {"height": interface.combine_heights(parts, frame, direction=direction)}
    except ValueError:  # a scan without ceramic is no failure of the others
        return {"height": np.full(frame[1:], np.nan)}


def measure_contacts(m: Measured, planes: Mapping[int, Array]) -> dict[str, Array]:
    """Look up what lies along the ceramic's surface in every scan that shows one."""
    options = m.settings.interface
    reach = max(options.offsets) + 1
    heights = np.concatenate([p[0][np.isfinite(p[0])] for p in planes.values()])
    low, high = int(np.floor(heights.min() - reach)), int(np.ceil(heights.max() + reach)) + 1
    regions = [r for r in boxes(m.facts, planes=range(low, high)) if r[0].start in planes]
    return m.reduce(contacts_step(m, planes, regions))


def contacts_step(
    m: Measured, planes: Mapping[int, Array] | None = None, regions: Sequence[Region] | None = None
) -> Reduction:
    """Return the step that looks along the ceramic's surface, whose planes are known in the run."""
    options, planes = m.settings.interface, planes or {}
    chunk = partial(_contact_chunk, planes=planes, offsets=options.offsets, direction=options.direction)
    parameters = {"planes": planes, "offsets": options.offsets, "direction": options.direction}
    combine = interface.combine_contacts
    return box_step("contacts", chunk, combine, m.source(LABELS), m.facts, 5, 500e6, parameters, regions)


def _contact_chunk(
    block: Array,
    region: Region,
    *,
    planes: Mapping[int, Array],
    offsets: Sequence[float],
    direction: interface.Direction,
) -> dict[str, Array]:
    return interface.contact_partial(block, region[1:], planes[region[0].start], offsets=offsets, direction=direction)


def touching_step(m: Measured) -> Reduction:
    """Return the step that shares the surface of partners out among the materials that touch it."""
    options = m.settings.interface
    partners = partner_labels(m)
    source = m.source(LABELS, 1, contact.touching_halo(options.offsets))
    chunk = partial(_touching_chunk, source=source, partners=partners, offsets=options.offsets)
    parameters = {"partners": partners, "offsets": options.offsets, "window": contact.WIDTH}
    return box_step("touching", chunk, contact.combine_touching, source, m.facts, 5, 10e6, parameters)


def partner_labels(m: Measured) -> list[int]:
    """Return the labels of the materials whose whole surface is looked at."""
    return [find_label(m.names, name) for name in m.settings.interface.partners]


def _touching_chunk(
    block: Array, region: Region, *, source: BoxSource, partners: Sequence[int], offsets: Sequence[float]
) -> dict[str, Array]:
    return contact.touching_partial(block, source.core(region), partners, offsets=offsets)


def thickness_step(m: Measured) -> Reduction:
    """Return the step that counts local thicknesses of materials."""
    options = m.settings.thickness
    assert options is not None
    labels = [find_label(m.names, name) for name in options.materials]
    source = m.source(LABELS, 1, surface.thickness_halo(options.largest))
    chunk = partial(_thickness_chunk, source=source, labels=labels, largest=options.largest, bins=options.bins)
    parameters = {"labels": labels, "largest": options.largest, "bins": options.bins}
    return box_step("thickness", chunk, surface.combine_thicknesses, source, m.facts, 60, 2e6, parameters)


def _thickness_chunk(
    block: Array, region: Region, *, source: BoxSource, labels: Sequence[int], largest: float, bins: int
) -> dict[str, Array]:
    core = source.core(region)
    counts = []
    for value in labels:
        thick = surface.local_thickness(block == value, largest=largest)[core]
        found = surface.thickness_partial(thick, block[core], largest=largest, bins=bins, names=[value])
        counts.append(found["counts"][0])
    return {"counts": np.array(counts)}
