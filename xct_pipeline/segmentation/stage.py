"""A registered series to labels of materials, and the tables that follow from them."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, assert_never

import numpy as np
import pandas as pd
import zarr

from xct_pipeline.blocks import Array, BlockOp, Pass, Reduction, Region, image_source, inside, size_of, widen
from xct_pipeline.config import (
    Config,
    Segmentation,
    SegmentClassifier,
    SegmentHysteresis,
    SegmentOtsu,
    SegmentValues,
    SegmentWatershed,
)
from xct_pipeline.execution import (
    PassResult,
    Progress,
    image_identity,
    load_estimate,
    measure,
    run_passes,
    save_estimate,
    silent,
)
from xct_pipeline.registration.stage import GRANULE, PATH, Volume, series_image
from xct_pipeline.resources import Resources
from xct_pipeline.segmentation import interface, label, properties, surface, tables, threshold, watershed
from xct_pipeline.segmentation.classifier import (
    PER_SCALE,
    Forest,
    classify,
    feature_halo,
    train_forest,
    training_samples,
)
from xct_pipeline.segmentation.denoise import denoise, denoise_halo
from xct_pipeline.segmentation.painted import check_painted, painted_planes, tiles
from xct_pipeline.store import Image, Store, level_count, read_attributes, write_group

log = logging.getLogger("xct")

VERSION = 2
FINE_GRANULE = (64, 128, 128)  # of the classifier, whose features take twenty times the memory of a block
FLOOD_BYTES = 60  # per voxel that the watershed looks at
GRADIENT_BINS = 256


@dataclass(frozen=True)
class Facts:
    """What the stage works on.

    Attributes
    ----------
    names : tuple of str
        Scans in the order of the configuration.
    failed : tuple of int
        Positions of those without a registered volume; their labels are 0.
    reference : int
    volume : Volume
        The reference's.
    times_s : tuple of float or None
    """

    names: tuple[str, ...]
    failed: tuple[int, ...]
    reference: int
    volume: Volume
    times_s: tuple[float | None, ...]

    @property
    def good(self) -> tuple[int, ...]:
        """Positions of scans with a registered volume."""
        return tuple(k for k in range(len(self.names)) if k not in self.failed)


# ------------------------------------------------------------------------------------- labels of the store


def labels_path() -> str:
    """Return where the labels of materials are in a store."""
    return "registered/labels/materials"


def stored_names(store: Store) -> dict[int, str]:
    """Return the names of the labels in a store, empty where there are none."""
    xct = read_attributes(store.path / labels_path()).get("xct", {})
    return {int(value): str(name) for value, name in xct.get("names", {}).items()}


def label_values(store: Store, names: Sequence[str]) -> list[int]:
    """Return the values of labels by their names.

    Raises
    ------
    ValueError
        There are no labels, or none of that name; the message lists those that exist.
    """
    known = stored_names(store)
    if not known:
        raise ValueError(f"label {', '.join(names)}: {store.path} has no labels; add [segmentation] to the run")
    return [label.find_label(known, name) for name in names]


def check(config: Config) -> None:
    """Raise ValueError where the configuration uses a label that segmentation will not make."""
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
            label.find_label(known, name)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None


def material_names(settings: Segmentation) -> dict[int, str]:
    """Return the name of each label; 0 stands for voxels without data."""
    return {k + 1: name for k, name in enumerate(settings.materials)}


# ------------------------------------------------------------------------------------------------- reading


@dataclass(frozen=True)
class BoxSource:
    """Reads boxes (1, z, y, x) of a series as (z, y, x), with a halo that is clipped to the frame."""

    image: Any
    halo: tuple[int, int, int] = (0, 0, 0)

    def span(self, region: Region) -> Region:
        """Return the voxels (z, y, x) that are read for a region."""
        return widen(region[1:], self.halo, self.image.shape[1:])

    def core(self, region: Region) -> Region:
        """Return the region without its halo, in indices of what is read."""
        return inside(self.span(region), region[1:])

    def read(self, region: Region) -> Array:
        """Read a box."""
        return np.asarray(self.image.read((region[0], *self.span(region)))[0])

    def nbytes(self, region: Region) -> int:
        """Return the bytes of reading it."""
        return int(self.image.nbytes((region[0], *self.span(region))))


def box_source(store: Store, path: str, halo: int | tuple[int, int, int] = 0) -> BoxSource:
    """Return a source of boxes of an image of the store."""
    return BoxSource(image_source(store, path), (halo,) * 3 if isinstance(halo, int) else halo)


def boxes(facts: Facts, planes: range | None = None) -> list[Region]:
    """Cut the volumes of all good scans into boxes of one grid; only those that touch `planes`, where given."""
    cuts = [[slice(a, min(a + s, n)) for a in range(0, n, s)] for n, s in zip(facts.volume.shape, GRANULE, strict=True)]
    return [
        (slice(t, t + 1), z, y, x)
        for t in facts.good
        for z in cuts[0]
        for y in cuts[1]
        for x in cuts[2]
        if planes is None or (z.start < planes.stop and z.stop > planes.start)
    ]


def _by_scan(
    partials: list[dict[str, Array]], regions: Sequence[Region], combine: Callable[[list[dict[str, Array]]], Any]
) -> dict[str, Array]:
    """Combine the partial results of each scan on their own; keys are ``t0_...``."""
    found: dict[str, Array] = {}
    for t in dict.fromkeys(region[0].start for region in regions):
        mine = [part for part, region in zip(partials, regions, strict=True) if region[0].start == t]
        found |= {f"t{t}_{key}": value for key, value in combine(mine).items()}
    return found


def of_scan(found: Mapping[str, Array], t: int) -> dict[str, Array]:
    """Return what `_by_scan` found for one scan."""
    start = f"t{t}_"
    return {key.removeprefix(start): value for key, value in found.items() if key.startswith(start)}


def _inputs(store: Store, *paths: str) -> dict[str, str]:
    return {path: image_identity(store, path) for path in (PATH, *paths)}


# ---------------------------------------------------------------------------------------------- thresholds


@dataclass(frozen=True)
class Thresholds:
    """Of all scans together, 1/cm, and the gradient from which a voxel is left to the watershed, 1/cm per voxel."""

    values: tuple[float, ...]
    edge: float | None = None


def find_thresholds(settings: Segmentation, facts: Facts, store: Store, limits: Resources) -> Thresholds | None:
    """Return one set of thresholds for the whole series, from one histogram of all its voxels; None where none is used.

    Raises
    ------
    ValueError
        The volumes are empty or uniform, or hold fewer different values than classes are asked for.
    """
    match settings:
        case SegmentValues():
            return Thresholds(tuple(settings.thresholds))
        case SegmentOtsu():
            counts, low, high = _histogram(settings, settings.bins, settings.without_faces, 1.0, facts, store, limits)
            cuts = threshold.multi_otsu(counts, low=low, high=high, classes=settings.classes)
            return Thresholds(tuple(cuts.tolist()))
        case SegmentWatershed():
            if settings.thresholds is not None and settings.edge is not None:
                return Thresholds(tuple(settings.thresholds), settings.edge)
            counts, low, high = _histogram(settings, settings.bins, True, settings.sigma, facts, store, limits)
            cuts = threshold.multi_otsu(counts, low=low, high=high, classes=settings.classes)
            values = settings.thresholds or cuts.tolist()
            means = threshold.class_means(counts, values, low=low, high=high)
            return Thresholds(tuple(values), settings.edge or watershed.marker_edge(means))
        case SegmentHysteresis() | SegmentClassifier():
            return None
        case _:
            assert_never(settings)


def _histogram(
    settings: Segmentation, bins: int, without_faces: bool, sigma: float, facts: Facts, store: Store, limits: Resources
) -> tuple[Array, float, float]:
    """Return counts of denoised values and their range; voxels at faces are left out where that is wanted."""
    halo = _denoise_reach(settings) + (watershed.gradient_halo(sigma) if without_faces else 0)
    source = box_source(store, PATH, halo)
    gradient = sigma if without_faces else None
    parameters: dict[str, Any] = {"denoise": _denoising(settings), "gradient": gradient}
    regions = boxes(facts)

    def over_all(name: str, chunk: Any, combine: Any, **more: Any) -> dict[str, Array]:
        reduction = Reduction(f"segmentation/{name}", VERSION, chunk, combine, {**parameters, **more})
        return measure(store, reduction, source, regions, _inputs(store), limits, scratch=12)

    smooth = partial(_smoothed, source=source, denoising=_denoising(settings), gradient=gradient)
    found = over_all("range", partial(_range_chunk, smooth=smooth), _combine_ranges)
    edge = None
    if without_faces:
        low, high = found["gradient"]
        chunk = partial(_gradient_chunk, smooth=smooth, low=float(low), high=float(high))
        counts = over_all("gradients", chunk, threshold.combine_histograms)["counts"]
        edge = float(threshold.multi_otsu(counts, low=float(low), high=float(high), classes=2)[0])
    low, high = (float(value) for value in found["value"])
    chunk = partial(_value_chunk, smooth=smooth, edge=edge, low=low, high=high, bins=bins)
    counts = over_all("histogram", chunk, threshold.combine_histograms, bins=bins)["counts"]
    return counts, low, high


def _denoising(settings: Segmentation) -> dict[str, Any]:
    return dict(settings.denoise.model_dump())


def _denoise_reach(settings: Segmentation) -> int:
    options = _denoising(settings)
    return denoise_halo(**{key: value for key, value in options.items() if key != "weight"})


def _smoothed(
    block: Array, region: Region, *, source: BoxSource, denoising: Mapping[str, Any], gradient: float | None
) -> tuple[Array, Array | None]:
    core = source.core(region)
    values = denoise(block, **denoising)
    slope = None if gradient is None else watershed.gradient_magnitude(values, sigma=gradient)[core]
    return values[core], slope


def _range_chunk(block: Array, region: Region, *, smooth: Any) -> dict[str, Array]:
    values, slope = smooth(block, region)
    found = {"value": threshold.value_range(values)["range"]}
    return found if slope is None else {**found, "gradient": threshold.value_range(slope)["range"]}


def _combine_ranges(parts: list[dict[str, Array]]) -> dict[str, Array]:
    return {key: threshold.combine_ranges([{"range": part[key]} for part in parts])["range"] for key in parts[0]}


def _gradient_chunk(block: Array, region: Region, *, smooth: Any, low: float, high: float) -> dict[str, Array]:
    return threshold.histogram(smooth(block, region)[1], low=low, high=high, bins=GRADIENT_BINS)


def _value_chunk(
    block: Array, region: Region, *, smooth: Any, edge: float | None, low: float, high: float, bins: int
) -> dict[str, Array]:
    values, slope = smooth(block, region)
    if edge is not None:
        values = watershed.without_edges(values, slope, edge=edge)
    return threshold.histogram(values, low=low, high=high, bins=bins)


# ------------------------------------------------------------------------------------------------ the pass


def labels_pass(
    config: Config, settings: Segmentation, facts: Facts, chosen: Thresholds | None, store: Store, limits: Resources,
    granule: tuple[int, int, int] | None = None,
) -> Pass:  # fmt: skip
    """Return the pass that labels all scans; `granule` changes what is computed at a time, never the result."""
    frame = (len(facts.names), *facts.volume.shape)
    ops = [*_denoise_op(settings, frame), _segment_op(config, settings, facts, chosen, frame, store, limits)]
    image = series_image(
        labels_path(), facts.volume, len(facts.names), "uint8", "", limits,
        {"time_s": list(facts.times_s), "names": {str(k): n for k, n in material_names(settings).items()},
         "thresholds": list(chosen.values) if chosen else None}, labels=True,
    )  # fmt: skip
    if isinstance(settings, SegmentHysteresis):
        image = _whole_granules(image)
    fine = FINE_GRANULE if isinstance(settings, SegmentClassifier) else GRANULE
    source, inputs = image_source(store, PATH), {"registered": image_identity(store, PATH)}
    return Pass(image, source, tuple(ops), (1, *(granule or fine)), (0,) * 4, inputs)


def _whole_granules(image: Image) -> Image:
    """Return the image with shards of whole granules, the blocks that connected components were labelled in."""
    return replace(image, thickness=GRANULE[0], levels=level_count(image.shape[1:], GRANULE[0]))


def _needs(region: Region, halo: int, frame: tuple[int, ...]) -> Region:
    return widen(region, (0, halo, halo, halo), frame)


def _scratch(region: Region, halo: int, frame: tuple[int, ...], factor: int) -> int:
    return size_of(_needs(region, halo, frame)) * factor


def _op(
    name: str, function: Any, parameters: Mapping[str, Any], halo: int, frame: tuple[int, ...], factor: int, size: int
) -> BlockOp:
    return BlockOp(
        f"segmentation.{name}", VERSION, function, parameters, partial(_needs, halo=halo, frame=frame),
        partial(_scratch, halo=halo, frame=frame, factor=factor), size,
    )  # fmt: skip


def _denoise_op(settings: Segmentation, frame: tuple[int, ...]) -> list[BlockOp]:
    denoising = _denoising(settings)
    if denoising["method"] == "none":
        return []
    function = partial(_denoise_block, denoising=denoising)
    return [_op("denoise", function, denoising, _denoise_reach(settings), frame, 24, 4)]


def _denoise_block(block: Any, before: Region, after: Region, *, denoising: Mapping[str, Any]) -> Any:
    return denoise(block[0], **denoising)[inside(before[1:], after[1:])][None]


def _segment_op(
    config: Config, settings: Segmentation, facts: Facts, chosen: Thresholds | None, frame: tuple[int, ...],
    store: Store, limits: Resources,
) -> BlockOp:  # fmt: skip
    match settings:
        case SegmentOtsu() | SegmentValues():
            assert chosen is not None
            return _op("thresholds", partial(_threshold_block, chosen=chosen.values), vars(chosen), 0, frame, 4, 1)
        case SegmentWatershed():
            assert chosen is not None
            options = {"sigma": settings.sigma, "reach": settings.reach, "connectivity": settings.connectivity}
            function = partial(_watershed_block, chosen=chosen, options=options)
            halo = watershed.watershed_halo(sigma=settings.sigma, reach=settings.reach)
            return _op("watershed", function, {**vars(chosen), **options}, halo, frame, FLOOD_BYTES, 1)
        case SegmentHysteresis():
            merged = _hysteresis_objects(settings, facts, store, limits)
            options = {"weak": settings.weak, "strong": settings.strong, "connectivity": settings.connectivity}
            function = partial(_hysteresis_block, merged={t: of_scan(merged, t) for t in facts.good}, options=options)
            return _op("hysteresis", function, options, 0, frame, 16, 1)
        case SegmentClassifier():
            forest = trained_forest(config, settings, facts, store)
            function = partial(_classified_block, forest=forest, sigmas=tuple(settings.sigmas))
            parameters = {"forest": forest._asdict(), "sigmas": settings.sigmas}
            bytes_ = 4 * (1 + PER_SCALE * len(settings.sigmas)) + 12
            return _op("classifier", function, parameters, feature_halo(settings.sigmas), frame, bytes_, 1)
        case _:
            assert_never(settings)


def _finish(classes: Any, block: Any) -> Any:
    """Number classes from 1; 0 where there is no data."""
    return np.where(np.isfinite(block), classes + np.uint8(1), np.uint8(0))[None]


def _threshold_block(block: Any, before: Region, after: Region, *, chosen: Sequence[float]) -> Any:
    values = block[0][inside(before[1:], after[1:])]
    return _finish(threshold.apply_thresholds(values, chosen), values)


def _watershed_block(
    block: Any, before: Region, after: Region, *, chosen: Thresholds, options: Mapping[str, Any]
) -> Any:
    core = inside(before[1:], after[1:])
    if not np.isfinite(block[0][core]).any():
        return np.zeros((1, *(part.stop - part.start for part in core)), np.uint8)
    assert chosen.edge is not None
    classes = watershed.watershed_classes(block[0], chosen.values, edge=chosen.edge, **options)
    return _finish(classes[core], block[0][core])


def _hysteresis_objects(settings: SegmentHysteresis, facts: Facts, store: Store, limits: Resources) -> dict[str, Array]:
    """Join the objects of all blocks of each scan."""
    source = box_source(store, PATH, _denoise_reach(settings))
    options = {"weak": settings.weak, "strong": settings.strong, "connectivity": settings.connectivity}
    chunk = partial(_hysteresis_chunk, source=source, denoising=_denoising(settings), options=options)
    regions = boxes(facts)
    join = partial(threshold.combine_hysteresis, connectivity=settings.connectivity)
    reduction = Reduction(
        "segmentation/hysteresis", VERSION, chunk, partial(_by_scan, regions=regions, combine=join),
        {**options, "denoise": _denoising(settings), "granule": GRANULE},
    )  # fmt: skip
    return measure(store, reduction, source, regions, _inputs(store), limits, scratch=8)


def _hysteresis_chunk(
    block: Array, region: Region, *, source: BoxSource, denoising: Mapping[str, Any], options: Mapping[str, Any]
) -> dict[str, Array]:
    values = denoise(block, **denoising)[source.core(region)]
    return threshold.hysteresis_partial(values, region[1:], source.image.shape[1:], **options)


def _hysteresis_block(
    block: Any, before: Region, after: Region, *, merged: Mapping[int, Any], options: Mapping[str, Any]
) -> Any:
    t = after[0].start
    if t not in merged:
        return np.zeros(block.shape, np.uint8)
    values = block[0][inside(before[1:], after[1:])]
    return _finish(threshold.apply_hysteresis(values, after[1:], merged[t], **options).astype(np.uint8), values)


def trained_forest(config: Config, settings: SegmentClassifier, facts: Facts, store: Store) -> Forest:
    """Train a random forest on painted labels, or return the one that was trained on equal ones with this seed.

    Raises
    ------
    ValueError
        Painted labels that cannot be read, do not fit, or lack a material.
    """
    file = config.resolve(settings.labels)
    halo = _denoise_reach(settings) + feature_halo(settings.sigmas)
    source = box_source(store, PATH, halo)
    try:
        planes = painted_planes(
            _open_painted(file), source.image.shape, time=_painted_scan(settings, facts), z=settings.z
        )
        check_painted(planes, settings.materials)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    lost = sorted({facts.names[plane.time] for plane in planes if plane.time in facts.failed})
    if lost:
        raise ValueError(f"{file}: {', '.join(lost)} is painted but has no registered volume; paint another scan")
    key = {
        "version": VERSION, "seed": config.seed, "trees": settings.trees, "depth": settings.depth,
        "sigmas": settings.sigmas, "denoise": _denoising(settings), "painted": [tuple(plane) for plane in planes],
        "inputs": _inputs(store),
    }  # fmt: skip
    found = load_estimate(store, "segmentation/forest", key)
    if found is None:
        samples = []
        for region, labels in (tile for plane in planes for tile in tiles(plane)):
            block = denoise(source.read(region), **_denoising(settings))
            samples.append(training_samples(block, labels, sigmas=settings.sigmas, core=source.core(region)))
        forest = train_forest(samples, seed=config.seed, trees=settings.trees, depth=settings.depth)
        save_estimate(store, "segmentation/forest", key, forest._asdict())
        return forest
    return Forest(**found)


def _painted_scan(settings: SegmentClassifier, facts: Facts) -> int:
    chosen = settings.scan
    if chosen is None:
        return facts.reference
    if isinstance(chosen, str) and chosen in facts.names:
        return facts.names.index(chosen)
    if isinstance(chosen, int) and chosen < len(facts.names):
        return chosen
    raise ValueError(f"segmentation.scan = {chosen!r} is no scan; there are {', '.join(facts.names)}")


def _open_painted(file: Path) -> Any:
    """Open a TIFF, a zarr array, an OME-Zarr image, or a labels group that holds one image."""
    if not file.exists():
        raise ValueError("no such file (segmentation.labels)")
    if file.is_file():
        import tifffile

        try:
            return np.asarray(tifffile.imread(file))
        except (tifffile.TiffFileError, OSError, ValueError) as error:
            raise ValueError(f"cannot be read as TIFF ({error})") from None
    try:
        node = zarr.open(str(file), mode="r")
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"neither a TIFF nor an OME-Zarr image ({error})") from None
    if isinstance(node, zarr.Array):
        return node
    attributes = dict(node.attrs)
    ome: Any = attributes.get("ome", attributes)
    if "multiscales" in ome:
        return node[ome["multiscales"][0]["datasets"][0]["path"]]
    inner = list(ome.get("labels", []))
    if len(inner) == 1:
        return _open_painted(file / inner[0])
    raise ValueError(f"holds the labels {', '.join(inner)}: name one of them" if inner else "holds no OME-Zarr image")


def _classified_block(block: Any, before: Region, after: Region, *, forest: Forest, sigmas: tuple[float, ...]) -> Any:
    core = inside(before[1:], after[1:])
    if not np.isfinite(block[0][core]).any():
        return np.zeros((1, *(part.stop - part.start for part in core)), np.uint8)
    return classify(block[0], forest, sigmas=sigmas, core=core)[None]


# ------------------------------------------------------------------------------------------------ metadata


def describe_labels(store: Store, path: str, names: Mapping[int, str], colors: Sequence[str]) -> None:
    """Add OME-Zarr's ``image-label`` to an image, and its name to the list of the labels group."""
    from yaozarrs import v05

    folder = store.path / path
    attributes = read_attributes(folder)
    palette = [
        {"label-value": value, "rgba": [*bytes.fromhex(color[1:]), 255]}
        for value, color in zip(names, colors, strict=True)
    ]
    entry: dict[str, Any] = {"source": {"image": "../../"}}
    if names:
        entry |= {"colors": palette,
                  "properties": [{"label-value": value, "name": name} for value, name in names.items()]}  # fmt: skip
    attributes["ome"] = {**attributes["ome"], "image-label": entry}
    v05.LabelImage.model_validate(attributes["ome"])
    write_group(folder, attributes)
    group = folder.parent
    there = sorted(p.name for p in group.iterdir() if (p / "zarr.json").exists())
    write_group(group, {**read_attributes(group), "ome": {"version": "0.5", "labels": there}})


# ---------------------------------------------------------------------------------------------- measuring


@dataclass(frozen=True)
class Measured:
    """What all measures share."""

    settings: Segmentation
    facts: Facts
    store: Store
    limits: Resources
    names: Mapping[int, str]
    ceramic: int

    def reduce(
        self, name: str, chunk: Any, combine: Any, source: BoxSource, regions: Sequence[Region],
        parameters: Mapping[str, Any], *paths: str, scratch: float = 40,
    ) -> dict[str, Array]:  # fmt: skip
        """Run a reduction over boxes, scan by scan."""
        together = partial(_by_scan, regions=regions, combine=combine)
        reduction = Reduction(f"segmentation/{name}", VERSION, chunk, together, parameters)
        inputs = _inputs(self.store, labels_path(), *paths)
        return measure(self.store, reduction, source, regions, inputs, self.limits, scratch=scratch)


def measure_materials(m: Measured) -> dict[str, Array]:
    """Sum voxels and attenuation of every material, and its surface."""
    source = box_source(m.store, labels_path(), surface.area_halo())
    chunk = partial(_material_chunk, source=source, values=box_source(m.store, PATH))
    return m.reduce("materials", chunk, _combine_sums, source, boxes(m.facts), {})


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


def measure_heights(m: Measured, level: float | None) -> dict[int, Array]:
    """Return the planes fitted to the ceramic's surface (3, y, x) of every scan that shows one."""
    options = m.settings.interface
    source = box_source(m.store, labels_path(), (interface.height_halo(), 0, 0))
    values = box_source(m.store, PATH, source.halo)
    chunk = partial(
        _height_chunk, source=source, values=values, ceramic=m.ceramic, direction=options.direction, level=level
    )
    combine = partial(_combine_heights, frame=m.facts.volume.shape, direction=options.direction)
    parameters = {"ceramic": m.ceramic, "direction": options.direction, "level": level}
    found = m.reduce("heights", chunk, combine, source, boxes(m.facts), parameters)
    heights = {t: of_scan(found, t)["height"] for t in m.facts.good}
    return {
        t: interface.local_planes(height, smooth=options.smooth)
        for t, height in heights.items()
        if np.isfinite(height).any()
    }


def _height_chunk(
    block: Array, region: Region, *, source: BoxSource, values: BoxSource, ceramic: int, direction: interface.Direction,
    level: float | None,
) -> dict[str, Array]:  # fmt: skip
    attenuation = None if level is None else values.read(region)
    return interface.height_partial(
        block, region[1:], source.core(region), ceramic=ceramic, direction=direction, attenuation=attenuation,
        level=level,
    )  # fmt: skip


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
    chunk = partial(_contact_chunk, planes=planes, offsets=options.offsets, direction=options.direction)
    parameters = {"planes": planes, "offsets": options.offsets, "direction": options.direction}
    source = box_source(m.store, labels_path())
    return m.reduce("contacts", chunk, interface.combine_contacts, source, regions, parameters)


def _contact_chunk(
    block: Array, region: Region, *, planes: Mapping[int, Array], offsets: Sequence[float],
    direction: interface.Direction,
) -> dict[str, Array]:  # fmt: skip
    return interface.contact_partial(block, region[1:], planes[region[0].start], offsets=offsets, direction=direction)


def measure_thickness(m: Measured, labels: Sequence[int]) -> dict[str, Array]:
    """Count local thicknesses of materials."""
    options = m.settings.thickness
    assert options is not None
    source = box_source(m.store, labels_path(), surface.thickness_halo(options.largest))
    chunk = partial(_thickness_chunk, source=source, labels=labels, largest=options.largest, bins=options.bins)
    parameters = {"labels": labels, "largest": options.largest, "bins": options.bins}
    return m.reduce("thickness", chunk, threshold.combine_histograms, source, boxes(m.facts), parameters, scratch=60)


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


# ------------------------------------------------------------------------------------------------- objects


def objects_path(name: str) -> str:
    """Return where the numbered objects of a material are in a store."""
    return f"registered/labels/objects_{re.sub(r'[^0-9A-Za-z]+', '_', name)}"


def label_objects(m: Measured, value: int, progress: Progress) -> tuple[dict[str, Array], list[PassResult]]:
    """Find the connected components of a material in every scan and write them as an image of their numbers."""
    options = m.settings.objects
    source, regions = box_source(m.store, labels_path()), boxes(m.facts)
    chunk = partial(
        _object_chunk, value=value, connectivity=options.connectivity, frame=m.facts.volume.shape,
        values=box_source(m.store, PATH),
    )  # fmt: skip
    combine = partial(_combine_objects, connectivity=options.connectivity, smallest=options.smallest)
    parameters = {"value": value, **options.model_dump(exclude={"materials"}), "granule": GRANULE}
    found = m.reduce(f"objects_{value}", chunk, combine, source, regions, parameters)
    count = len(m.facts.names)
    frame = (count, *m.facts.volume.shape)
    path = objects_path(m.names[value])
    image = _whole_granules(
        series_image(path, m.facts.volume, count, "int32", "", m.limits, {"time_s": list(m.facts.times_s)}, labels=True)
    )
    merged = {t: of_scan(found, t) for t in m.facts.good}
    function = partial(_number_block, merged=merged, value=value, connectivity=options.connectivity)
    op = _op("objects", function, parameters, 0, frame, 16, 4)
    inputs = {"labels": image_identity(m.store, labels_path())}
    step = Pass(image, image_source(m.store, labels_path()), (op,), (1, *GRANULE), (0,) * 4, inputs)
    done = _run(m.store, step, m.limits, progress)
    describe_labels(m.store, path, {}, [])
    return found, done


def _object_chunk(
    block: Array, region: Region, *, value: int, connectivity: int, frame: tuple[int, ...], values: BoxSource
) -> dict[str, Array]:
    mask = block == value
    part = label.label_partial(mask, region[1:], frame, connectivity=connectivity)
    numbers, _ = label.label_block(mask, connectivity=connectivity)
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
    return m.reduce(f"shapes_{value}", chunk, _combine_shapes, source, boxes(m.facts), parameters, path, scratch=12)


def _shape_chunk(
    block: Array, region: Region, *, source: BoxSource, planes: Mapping[int, Array], direction: interface.Direction
) -> dict[str, Array]:
    core, plane = source.core(region), planes.get(region[0].start)
    found = {f"area_{key}": value for key, value in surface.area_partial(block, core).items()}
    if plane is None:
        return found
    z = np.arange(region[1].start, region[1].stop)[:, None, None]
    behind = (z - plane[0][region[2:]]) * direction < -1  # the other side, and what lies inside the ceramic
    objects = np.where(behind, 0, block[core])
    away = interface.distance_partial(objects, region[1:], plane, direction=direction)
    return {**found, **{f"distance_{key}": value for key, value in away.items()}}


def _combine_shapes(parts: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    areas = surface.combine_areas([areas_of(part) for part in parts])
    found = {f"area_{key}": value for key, value in areas.items()}
    if "distance_label" not in parts[0]:
        return found
    keys = ("label", "distance")
    away = interface.combine_distances([{key: part[f"distance_{key}"] for key in keys} for part in parts])
    return {**found, **{f"distance_{key}": value for key, value in away.items()}}


# ----------------------------------------------------------------------------------------------------- run


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
    done = _run(store, step, limits, progress)
    describe_labels(store, labels_path(), names, settings.palette)
    ceramic = label.find_label(names, settings.ceramic or settings.materials[-1])
    measured = Measured(settings, facts, store, limits, names, ceramic)
    more, warnings = write_tables(measured, progress)
    return SegmentationResult((*done, *more), tuple(warnings))


def _run(store: Store, step: Pass, limits: Resources, progress: Progress) -> list[PassResult]:
    done = run_passes(store, [step], limits, progress)
    if done[0].problem:
        raise ValueError(f"{step.name}: {done[0].problem}")
    return done


def write_tables(m: Measured, progress: Progress) -> tuple[list[PassResult], list[str]]:
    """Measure the labels of all scans and write the tables; return the passes over objects, and warnings."""
    facts, voxel = m.facts, m.facts.volume.voxel_um
    materials = measure_materials(m)
    rows = []
    warnings = []
    for t in facts.good:
        sums = of_scan(materials, t)
        rows += tables.label_rows(facts.names[t], sums, areas_of(sums), m.names, voxel)
    table = pd.DataFrame(rows)
    m.store.write_table("labels", table, tables.UNITS)
    for name in dict.fromkeys(table.loc[table["voxels"] == 0, "name"]):
        absent = table.loc[(table["voxels"] == 0) & (table["name"] == name), "scan"]
        warnings.append(f"no voxel is {name} in {', '.join(absent)}")
    planes: dict[int, Array] = {}
    if m.settings.interface.offsets:
        planes = measure_heights(m, ceramic_level(m, materials))
        warnings += _write_interface(m, planes)
    if m.settings.thickness is not None:
        _write_thickness(m)
    return _write_objects(m, planes, progress), warnings


def _write_interface(m: Measured, planes: Mapping[int, Array]) -> list[str]:
    warnings = [
        f"{m.facts.names[t]}: no column ends in {m.names[m.ceramic]}, so no interface was measured"
        for t in m.facts.good
        if t not in planes
    ]
    if not planes:
        return warnings
    contacts = measure_contacts(m, planes)
    rows: list[dict[str, Any]] = []
    for t in planes:
        name = m.facts.names[t]
        try:
            rows += tables.interface_rows(
                name, of_scan(contacts, t), m.names, m.ceramic, m.settings.interface.offsets, m.facts.volume.voxel_um
            )
        except ValueError as error:
            warnings.append(f"{name}: {error}")
    if rows:
        m.store.write_table("interface", pd.DataFrame(rows), tables.UNITS)
    return warnings


def _write_thickness(m: Measured) -> None:
    options = m.settings.thickness
    assert options is not None
    labels = [label.find_label(m.names, name) for name in options.materials]
    found = measure_thickness(m, labels)
    rows = [
        row
        for t in m.facts.good
        for row in tables.thickness_rows(
            m.facts.names[t], of_scan(found, t)["counts"], labels, m.names, options.largest, m.facts.volume.voxel_um
        )
    ]
    m.store.write_table("thickness", pd.DataFrame(rows), tables.UNITS)


def _write_objects(m: Measured, planes: Mapping[int, Array], progress: Progress) -> list[PassResult]:
    """Write the tables of objects and voids."""
    materials = m.settings.objects.materials
    wanted = [m.names[1]] if materials is None else materials
    done: list[PassResult] = []
    frames, voids = [], []
    for name in wanted:
        value = label.find_label(m.names, name)
        found, passes = label_objects(m, value, progress)
        done += passes
        shapes = measure_objects(m, value, planes)
        for t in m.facts.good:
            sums = {k.removeprefix("sum_"): v for k, v in of_scan(found, t).items() if k.startswith("sum_")}
            shape = of_scan(shapes, t)
            away = {key: shape[f"distance_{key}"] for key in ("label", "distance")} if t in planes else None
            columns = tables.object_columns(sums, areas_of(shape), away, m.facts.volume.shape, m.facts.volume.voxel_um)
            frames.append(tables.object_frame(m.facts.names[t], value, name, columns))
            voids.append(tables.void_row(m.facts.names[t], value, name, columns))
    if wanted:
        m.store.write_table("objects", pd.concat(frames, ignore_index=True), tables.UNITS)
        m.store.write_table("voids", pd.DataFrame(voids), tables.UNITS)
    return done
