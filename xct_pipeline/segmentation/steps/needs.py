"""What segmentation takes, known before it begins: memory, tasks, time and disk."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import assert_never

import numpy as np

from xct_pipeline.config import (
    Segmentation,
    SegmentClassifier,
    SegmentHysteresis,
    SegmentOtsu,
    SegmentValues,
    SegmentWatershed,
)
from xct_pipeline.engine.blocks import BlockOp, ImageSource, Pass
from xct_pipeline.engine.execution import measure_need, passes_need
from xct_pipeline.engine.resources import Forecast, Need
from xct_pipeline.segmentation import interface, surface, watershed
from xct_pipeline.segmentation.steps import series as stage_series
from xct_pipeline.segmentation.steps.labels import block_op, denoise_op, labels_granule, labels_image, segment_memory
from xct_pipeline.segmentation.steps.objects import NUMBER_BYTES, objects_image, objects_wanted
from xct_pipeline.segmentation.steps.series import SCRATCH, BoxSource, Facts, boxes
from xct_pipeline.segmentation.steps.thresholds import denoise_reach, gradient_scale, histogram_bins
from xct_pipeline.store.image import Image

RATES = {
    "histogram": 18e6,
    "hysteresis": 10e6,
    "labels": 15e6,
    "materials": 22e6,
    "heights": 85e6,
    "contacts": 500e6,
    "thickness": 2e6,
    "objects": 65e6,
    "numbers": 75e6,
    "shapes": 33e6,
}
"""Voxels per CPU-second of each step."""


def forecast(settings: Segmentation, facts: Facts) -> Forecast:
    """Return what segmenting a series like `facts` takes."""
    image, labels = _labels(settings, facts)
    needs = [*_threshold_needs(settings, facts), labels, *_measure_needs(settings, facts)]
    nbytes = image.nbytes()
    for name in objects_wanted(settings):
        image, numbers = _objects(name, facts)
        needs += [_need("objects", facts, 1), numbers, _need("shapes", facts, 4, surface.area_halo())]
        nbytes += image.nbytes()
    return Forecast("segmentation", tuple(needs), nbytes)


def _voxels(facts: Facts) -> float:
    return float(len(facts.good) * np.prod(facts.volume.shape))


def _frame(facts: Facts) -> tuple[int, ...]:
    return (len(facts.names), *facts.volume.shape)


def _need(name: str, facts: Facts, itemsize: int, halo: int | tuple[int, int, int] = 0, folded: int = 0) -> Need:
    """Return what a reduction over boxes of an image takes, partial results of `folded` bytes included."""
    reach = (halo,) * 3 if isinstance(halo, int) else halo
    source = BoxSource(ImageSource("", _frame(facts), itemsize), reach)
    cpu_s = _voxels(facts) / RATES[name]
    return measure_need(name, source, boxes(facts), SCRATCH[name], folded, folded > 0, cpu_s)


def _threshold_needs(settings: Segmentation, facts: Facts) -> Iterator[Need]:
    """Yield what is measured of the series before it is labelled."""
    reach = denoise_reach(settings)
    match settings:
        case SegmentOtsu() | SegmentWatershed():
            gradient = gradient_scale(settings)
            counts = 8 * math.prod(histogram_bins(settings.bins, gradient))
            reach += 0 if gradient is None else watershed.gradient_halo(gradient)
            yield _need("histogram", facts, 4, reach, counts)
        case SegmentHysteresis():
            yield _need("hysteresis", facts, 4, reach)
        case SegmentValues() | SegmentClassifier():
            return
        case _:
            assert_never(settings)


def _labels(settings: Segmentation, facts: Facts) -> tuple[Image, Need]:
    """Return the image of labels and what the pass takes that writes it."""
    image = labels_image(settings, facts, None)
    halo, factor = segment_memory(settings)
    frame = _frame(facts)
    ops = (*denoise_op(settings, frame), block_op("labels", None, {}, halo, frame, factor, 1))
    return image, _pass_need("labels", image, 4, ops, labels_granule(settings), facts)


def _pass_need(
    name: str, image: Image, itemsize: int, ops: tuple[BlockOp, ...], granule: tuple[int, ...], facts: Facts
) -> Need:
    source = ImageSource("", image.shape, itemsize)
    step = Pass(image, source, ops, (1, *granule), (0,) * 4, {})
    return replace(passes_need([step], name), cpu_s=_voxels(facts) / RATES[name])


def _objects(name: str, facts: Facts) -> tuple[Image, Need]:
    """Return the image of a material's numbered objects and what the pass takes that writes it."""
    image = objects_image(name, facts)
    op = block_op("objects", None, {}, 0, _frame(facts), NUMBER_BYTES, 4)
    return image, _pass_need("numbers", image, 1, (op,), stage_series.GRANULE, facts)


def _measure_needs(settings: Segmentation, facts: Facts) -> Iterator[Need]:
    """Yield what is measured of the labels."""
    yield _need("materials", facts, 1, surface.area_halo())
    if settings.interface.offsets:
        yield _need("heights", facts, 1, (interface.height_halo(), 0, 0))
        yield _need("contacts", facts, 1)
    if settings.thickness is not None:
        yield _need("thickness", facts, 1, surface.thickness_halo(settings.thickness.largest))
