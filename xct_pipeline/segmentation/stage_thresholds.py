"""One set of thresholds for the whole series, from one histogram of all its voxels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, assert_never

from xct_pipeline.blocks import Array, Reduction, Region
from xct_pipeline.config import (
    Segmentation,
    SegmentClassifier,
    SegmentHysteresis,
    SegmentOtsu,
    SegmentValues,
    SegmentWatershed,
)
from xct_pipeline.execution import measure
from xct_pipeline.registration.stage import PATH
from xct_pipeline.resources import Resources
from xct_pipeline.segmentation import threshold, watershed
from xct_pipeline.segmentation.denoise import denoise, denoise_halo
from xct_pipeline.segmentation.stage_series import VERSION, BoxSource, Facts, box_source, boxes, inputs_of
from xct_pipeline.store import Store

GRADIENT_BINS = 256


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
    halo = denoise_reach(settings) + (watershed.gradient_halo(sigma) if without_faces else 0)
    source = box_source(store, PATH, halo)
    gradient = sigma if without_faces else None
    parameters: dict[str, Any] = {"denoise": denoising_of(settings), "gradient": gradient}
    regions = boxes(facts)

    def over_all(name: str, chunk: Any, combine: Any, **more: Any) -> dict[str, Array]:
        reduction = Reduction(f"segmentation/{name}", VERSION, chunk, combine, {**parameters, **more})
        return measure(store, reduction, source, regions, inputs_of(store), limits, scratch=12)

    smooth = partial(_smoothed, source=source, denoising=denoising_of(settings), gradient=gradient)
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


def denoising_of(settings: Segmentation) -> dict[str, Any]:
    """Return the parameters of the denoising that labels are made from."""
    return dict(settings.denoise.model_dump())


def denoise_reach(settings: Segmentation) -> int:
    """Return the voxels that the denoising looks at on each side."""
    options = denoising_of(settings)
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
