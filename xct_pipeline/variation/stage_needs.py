"""What the maps of mass take, known before they begin: memory, tasks, time and disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from xct_pipeline.blocks import BlockOp, Pass, size_of
from xct_pipeline.config import RegionOfInterest, Registration, Variation
from xct_pipeline.execution import measure_need, passes_need
from xct_pipeline.registration.stage import GRANULE, series_image
from xct_pipeline.resources import Forecast, Need, Resources
from xct_pipeline.store import Image
from xct_pipeline.variation.stage_images import ChangeSource, PairSource, closure_bytes, flags_bytes, unchanged
from xct_pipeline.variation.stage_noise import NoSource, pairs_bytes
from xct_pipeline.variation.stage_physics import OFFSET
from xct_pipeline.variation.stage_quiet import ENOUGH, BoxSource, bricks_of, rows_of
from xct_pipeline.variation.stage_series import (
    ATTENUATION,
    DENSITY,
    FLAGS,
    SCRATCH,
    RegionMask,
    Series,
    SlabSource,
    pairs_of,
    slabs_of,
)
from xct_pipeline.variation.stage_sums import maps_bytes, surface_threshold

RATES = {
    "change": 40e6,
    "density": 15e6,
    "surface": 50e6,
    "sums": 10e6,
    "noise/survey": 30e6,
    "noise/level": 20e6,
    "noise": 12e6,
}
"""Voxels per CPU-second of each step."""
USED = 3  # voxels that are read for each quiet one

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
    folders = ("", "") if settings.closure == "dual_energy" else ("",)
    planes = ((0, 0) if consecutive and settings.closure in OFFSET else (0,),)
    source = ChangeSource(folders, planes)
    steps = []
    for image in images:
        scratch = closure_bytes if image.dtype == "float32" else flags_bytes
        op = BlockOp("closure", 0, unchanged, scratch=scratch)
        steps.append(Pass(image, source, (op,), (1, *GRANULE), (0,) * 4, {}))
    need = passes_need(steps, images[0].path.rsplit("/", 1)[-1])
    return images, replace(need, cpu_s=len(images) * _voxels(series) / RATES["density"])


def _tables(settings: Variation, registration: Registration, series: Series) -> Iterator[Need]:
    """Yield what is summed over regions, and the noise."""
    if registration.mask == "auto" or surface_threshold(settings, registration) is not None:
        slabs = slabs_of(range(series.frame[0]), series.frame)
        source = BoxSource("", 0, series.frame, (1, 0, 0))
        cpu = float(np.prod(series.frame)) / RATES["surface"]
        yield measure_need("surface", source, slabs, SCRATCH["surface"], cpu_s=cpu)
    pairs = [pair for kind in (False, True) for pair in pairs_of(series, kind)]
    for region in (settings.region, *settings.regions.values()):
        if region is not None:
            yield _slab_need("sums", series, _planes(region, series), 1, len(pairs), maps_bytes(series.frame))
            slabs = slabs_of(_planes(region, series), series.frame)
            yield measure_need("pairs", NoSource(), slabs, 1.0, cpu_s=1e-8 * _voxels(series))
    maps = EVALUATE_BYTES * series.frame[1] * series.frame[2]
    yield Need("budget", len(pairs), maps, alone=True, cpu_s=1e-7 * len(pairs) * series.frame[1] * series.frame[2])
    different = len({pair for pair in pairs if pair[0] != pair[1]})
    if different:
        yield from _noise(settings, series, different)


def _noise(settings: Variation, series: Series, pairs: int) -> Iterator[Need]:
    """Yield what looking for quiet bricks takes, and measuring the noise of all pairs of scans in them."""
    named = settings.noise_region
    bounds = tuple(slice(0, n) for n in series.frame) if named is None else RegionMask(named, series.frame).bounds()
    bricks, source = bricks_of(bounds), BoxSource("", 0, series.frame)
    voxels = float(sum(size_of(brick) for brick in bricks))
    yield measure_need(
        "noise/survey", source, rows_of(bricks), SCRATCH["noise/survey"], cpu_s=voxels / RATES["noise/survey"]
    )
    assert settings.region is not None
    region = bricks_of(RegionMask(settings.region, series.frame).bounds())
    cpu = sum(size_of(brick) for brick in region) / RATES["noise/level"]
    near = BoxSource("", 0, series.frame, (1, 1, 1))
    yield measure_need("noise/level", near, region, SCRATCH["noise/level"], cpu_s=cpu)
    used = bricks[: max(1, int(len(bricks) * min(1.0, USED * ENOUGH / voxels)))]
    cpu = pairs * min(voxels, USED * ENOUGH) / RATES["noise"]
    yield measure_need("noise", source, used, SCRATCH["noise"], pairs_bytes(pairs), fold=True, cpu_s=cpu)


def _planes(region: RegionOfInterest, series: Series) -> range:
    return RegionMask(region, series.frame).planes()


def _slab_need(name: str, series: Series, planes: Sequence[int], halo: int, pairs: int, partial_bytes: int = 0) -> Need:
    """Return what a reduction over slabs takes that is run for some pairs of scans, one after the other."""
    regions = slabs_of(range(planes[0], planes[-1] + 1) if planes else range(0), series.frame)
    source = SlabSource("", 0, 0, halo, series.frame[0])
    voxels = pairs * len(planes) * float(np.prod(series.frame[1:]))
    need = measure_need(
        name, source, regions, SCRATCH[name], partial_bytes, fold=partial_bytes > 0, cpu_s=voxels / RATES[name]
    )
    return replace(need, repeated=pairs)
