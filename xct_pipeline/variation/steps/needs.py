"""What the maps of mass take, known before they begin: memory, tasks, time and disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from xct_pipeline.config import Registration, Variation
from xct_pipeline.engine.blocks import BlockOp, Pass, Region, size_of
from xct_pipeline.engine.execution import measure_need, passes_need
from xct_pipeline.engine.resources import Forecast, Need, Resources
from xct_pipeline.region import RegionMask
from xct_pipeline.registration.steps.stage import GRANULE, series_image
from xct_pipeline.store.image import Image
from xct_pipeline.variation.closures import CLOSURES
from xct_pipeline.variation.steps.images import ChangeSource, PairSource, closure_bytes, flags_bytes, unchanged
from xct_pipeline.variation.steps.noise import NoSource, pairs_bytes
from xct_pipeline.variation.steps.quiet import ENOUGH, HALO, bricks_of, rows_of
from xct_pipeline.variation.steps.series import (
    ATTENUATION,
    DENSITY,
    FLAGS,
    SCRATCH,
    BoxSource,
    Series,
    boxes_of,
    pairs_of,
)
from xct_pipeline.variation.steps.sums import maps_bytes, surface_threshold

RATES = {
    "change": 40e6,
    "density": 50e6,
    "flags": 30e6,
    "surface": 60e6,
    "sums": 15e6,
    "pairs": 60e6,
    "noise/survey": 30e6,
    "noise/level": 20e6,
    "noise": 20e6,
}
"""Voxels per CPU-second of each step."""
USED = 3  # voxels that are read for each quiet one
LABELS = 4  # sets of voxels whose pairs are counted: materials
EVALUATE_BYTES = 320  # per column, of the maps of one pair: sums in double precision, changes and their errors


def forecast(
    settings: Variation, registration: Registration, series: Series, mass_known: bool, limits: Resources
) -> Forecast:
    """Return what mapping a series like `series` takes; without `mass_known` only attenuation is written."""
    images, changes = _change(series, limits)
    needs = [changes]
    if mass_known:
        for consecutive in (False, True):
            more, need = _densities(settings, series, limits, consecutive)
            images += more
            needs.append(need)
        needs += _tables(settings, registration, series)
    return Forecast("variation", tuple(needs), sum(image.nbytes() for image in images))


def _voxels(series: Series) -> float:
    return float(len(series.names) * np.prod(series.frame))


def _image(path: str, series: Series, limits: Resources, dtype: str = "float32") -> Image:
    return series_image(path, series.volume, len(series.names), dtype, "", limits, {}, labels=dtype == "uint8")


def _change(series: Series, limits: Resources) -> tuple[list[Image], Need]:
    images = [_image(ATTENUATION + suffix, series, limits) for suffix in ("", "_consecutive")]
    source = PairSource("", pairs_of(series, True))
    steps = [Pass(image, source, (BlockOp("change", 0, unchanged),), (1, *GRANULE), (0,) * 4, {}) for image in images]
    return images, replace(passes_need(steps, "change"), cpu_s=2 * _voxels(series) / RATES["change"])


def _densities(settings: Variation, series: Series, limits: Resources, consecutive: bool) -> tuple[list[Image], Need]:
    images = [_image(DENSITY + "_consecutive" * consecutive, series, limits)]
    images += [] if consecutive else [_image(FLAGS, series, limits, "uint8")]
    assert settings.closure is not None
    closure = CLOSURES[settings.closure]
    folders = ("",) * closure.energies
    planes = ((0, 0) if consecutive and not closure.proportional else (0,),)
    source = ChangeSource(folders, planes)
    steps = []
    for image in images:
        scratch = closure_bytes if image.dtype == "float32" else flags_bytes
        op = BlockOp("closure", 0, unchanged, scratch=scratch)
        steps.append(Pass(image, source, (op,), (1, *GRANULE), (0,) * 4, {}))
    need = passes_need(steps, images[0].path.rsplit("/", 1)[-1])
    cpu = sum(_voxels(series) / RATES["density" if image.dtype == "float32" else "flags"] for image in images)
    return images, replace(need, cpu_s=cpu)


def _tables(settings: Variation, registration: Registration, series: Series) -> Iterator[Need]:
    """Yield what is summed over regions, and the noise."""
    whole = tuple(slice(0, n) for n in series.frame)
    if registration.mask == "auto" or surface_threshold(settings, registration) is not None:
        yield _box_need("surface", series, whole, 1)
    pairs = [pair for kind in (False, True) for pair in pairs_of(series, kind)]
    for region in (settings.region, *settings.regions.values()):
        if region is not None:
            bounds = RegionMask(region, series.frame).bounds()
            yield _box_need("sums", series, bounds, len(pairs), maps_bytes(series.frame))
            yield measure_need(
                "pairs", NoSource(), boxes_of(bounds), 1.0, cpu_s=LABELS * size_of(bounds) / RATES["pairs"]
            )
    maps = EVALUATE_BYTES * series.frame[1] * series.frame[2]
    yield Need("budget", len(pairs), maps, alone=True, cpu_s=1e-7 * len(pairs) * series.frame[1] * series.frame[2])
    different = len({pair for pair in pairs if pair[0] != pair[1]})
    if different:
        yield from _noise(settings, series, different)


def _noise(settings: Variation, series: Series, pairs: int) -> Iterator[Need]:
    """Yield what looking for quiet bricks takes, and measuring the noise of all pairs of scans in them."""
    named = settings.noise_region
    bounds = tuple(slice(0, n) for n in series.frame) if named is None else RegionMask(named, series.frame).bounds()
    bricks, source = bricks_of(bounds), BoxSource("", (0,), series.frame, HALO)
    voxels = float(size_of(bounds))
    yield measure_need(
        "noise/survey", source, rows_of(bricks), SCRATCH["noise/survey"], cpu_s=voxels / RATES["noise/survey"]
    )
    assert settings.region is not None
    region = RegionMask(settings.region, series.frame).bounds()
    cpu = size_of(region) / RATES["noise/level"]
    near = BoxSource("", (0,), series.frame, (1, 1, 1))
    yield measure_need("noise/level", near, bricks_of(region), SCRATCH["noise/level"], cpu_s=cpu)
    used = min(1.0, USED * ENOUGH / voxels)
    few = bricks[:: max(1, int(1 / used))]
    cpu = pairs * voxels * used / RATES["noise"]
    yield measure_need("noise", source, few, SCRATCH["noise"], pairs_bytes(pairs), fold=True, cpu_s=cpu)


def _box_need(name: str, series: Series, bounds: Region, pairs: int, partial_bytes: int = 0) -> Need:
    """Return what a reduction over boxes takes that is run for some pairs of scans, one after the other."""
    source = BoxSource("", (0, 0) if name == "sums" else (0,), series.frame, (1, 1, 1))
    cpu = pairs * size_of(bounds) / RATES[name]
    need = measure_need(name, source, boxes_of(bounds), SCRATCH[name], partial_bytes, fold=partial_bytes > 0, cpu_s=cpu)
    return replace(need, repeated=pairs)
