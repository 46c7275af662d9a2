"""One set of thresholds for the whole series, from one histogram of all its voxels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, assert_never

import numpy as np

from xct_pipeline import device
from xct_pipeline.config import (
    Segmentation,
    SegmentClassifier,
    SegmentHysteresis,
    SegmentOtsu,
    SegmentValues,
    SegmentWatershed,
)
from xct_pipeline.engine.blocks import Array, Reduction, Region, inside, widen
from xct_pipeline.engine.execution import measure
from xct_pipeline.engine.resources import Resources
from xct_pipeline.engine.steps import Steps
from xct_pipeline.registration.steps.stage import PATH
from xct_pipeline.segmentation import markers, threshold, watershed
from xct_pipeline.segmentation.denoise import denoise, denoise_halo
from xct_pipeline.segmentation.steps.series import VERSION, BoxSource, Facts, box_source, boxes, inputs_of, voxels
from xct_pipeline.store.store import Store

GRADIENT_BINS = 256


@dataclass(frozen=True)
class Thresholds:
    """Of all scans together.

    Attributes
    ----------
    values : tuple of float
        1/cm.
    edge : float or None
        The gradient from which a voxel is left to the watershed, 1/cm per voxel.
    means : tuple of float or None
        Of the classes, 1/cm, away from faces; None for a class without voxels, () where none is needed.
    """

    values: tuple[float, ...]
    edge: float | None = None
    means: tuple[float | None, ...] = ()


@dataclass(frozen=True)
class Histogram:
    """Counts (bins,) of denoised values between `low` and `high`, 1/cm."""

    counts: Array
    low: float
    high: float


def find_thresholds(
    settings: Segmentation, facts: Facts, store: Store, limits: Resources, steps: Steps | None = None
) -> Thresholds | None:
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
            h = _histogram(settings, facts, store, limits, steps)
            return Thresholds(_otsu(h, settings.classes))
        case SegmentWatershed():
            h = _histogram(settings, facts, store, limits, steps)
            values = tuple(settings.thresholds) if settings.thresholds else _otsu(h, settings.classes)
            means = threshold.class_means(h.counts, values, low=h.low, high=h.high)
            if np.isfinite(means).sum() < 2:
                cuts, span = ", ".join(f"{value:g}" for value in values), f"{h.low:.3g} to {h.high:.3g} 1/cm"
                raise ValueError(f"thresholds {cuts} leave all voxels in one class: the volumes hold {span}")
            return Thresholds(values, settings.edge or markers.marker_edge(means), _known(means))
        case SegmentHysteresis() | SegmentClassifier():
            return None
        case _:
            assert_never(settings)


def _known(means: Array) -> tuple[float | None, ...]:
    return tuple(float(mean) if np.isfinite(mean) else None for mean in means)


def _otsu(h: Histogram, classes: int) -> tuple[float, ...]:
    return tuple(threshold.multi_otsu(h.counts, low=h.low, high=h.high, classes=classes).tolist())


def _histogram(
    settings: SegmentOtsu | SegmentWatershed, facts: Facts, store: Store, limits: Resources, steps: Steps | None
) -> Histogram:
    """Return the histogram of all scans; without the voxels at faces where these are to be left out.

    Blurred faces of a dense material spread over all lighter values. Otsu's method, which weighs by the square of the
    difference, then gives them classes of their own and leaves two light materials in one. A voxel is at a face where
    its gradient is above Otsu's threshold of all gradients.
    """
    step = replace(histogram_step(settings, facts, store), inputs=inputs_of(store))
    found = measure(store, step, limits, steps)
    low, high = threshold.span_of(found)
    counts = found["counts"]
    return Histogram(counts if gradient_scale(settings) is None else threshold.below_otsu(counts), low, high)


def histogram_step(settings: SegmentOtsu | SegmentWatershed, facts: Facts, store: Store) -> Reduction:
    """Return the step that counts the values of all scans."""
    gradient = gradient_scale(settings)
    halo = denoise_reach(settings) + (0 if gradient is None else watershed.gradient_halo(gradient))
    source = box_source(facts, store, PATH, 4, halo)
    smooth = partial(_smoothed, source=source, denoising=denoising_of(settings), gradient=gradient)
    most = histogram_bins(settings.bins, gradient)
    return Reduction(
        "segmentation/histogram",
        VERSION,
        partial(_count_chunk, smooth=smooth, bins=most),
        partial(threshold.combine_histograms, bins=most),
        {"denoise": denoising_of(settings), "gradient": gradient, "bins": settings.bins},
        fold=True,
        for_device=True,
        source=source,
        regions=boxes(facts),
        scratch=5.5,
        partial_bytes=8 * math.prod(most),
        cpu_s=voxels(facts) / 18e6,
    )


def gradient_scale(settings: SegmentOtsu | SegmentWatershed) -> float | None:
    """Return the scale of the gradient that tells voxels at faces, voxels; None where they count as all others."""
    if isinstance(settings, SegmentWatershed):
        return settings.sigma
    return 1.0 if settings.without_faces else None


def histogram_bins(bins: int, gradient: float | None) -> tuple[int, ...]:
    """Return the largest number of bins along each axis of the histogram, of which more than half are used."""
    return (2 * bins,) if gradient is None else (2 * GRADIENT_BINS, 2 * bins)


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
    if gradient is None:
        return denoise(block, core=source.core(region), **denoising), None
    around = widen(region[1:], (watershed.gradient_halo(gradient),) * 3, source.image.shape[1:])
    values, core = denoise(block, core=inside(source.span(region), around), **denoising), inside(around, region[1:])
    slope = watershed.gradient_magnitude(values, sigma=gradient, core=core)
    return device.array_namespace(values).ascontiguousarray(values[core]), slope


def _count_chunk(block: Array, region: Region, *, smooth: Any, bins: Sequence[int]) -> dict[str, Array]:
    values, slope = smooth(block, region)
    return threshold.histogram(*((values,) if slope is None else (slope, values)), bins=bins)
