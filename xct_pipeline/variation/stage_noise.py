"""The noise of a difference of two scans, measured slab by slab where nothing changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from xct_pipeline.blocks import Array, Reduction, Region
from xct_pipeline.config import Registration, Variation
from xct_pipeline.execution import image_identity, measure
from xct_pipeline.registration.stage import PATH, ceramic_threshold
from xct_pipeline.resources import Resources
from xct_pipeline.store import Store
from xct_pipeline.variation import cells, mass, uncertainty
from xct_pipeline.variation import noise as noises
from xct_pipeline.variation.stage_images import face_gradient
from xct_pipeline.variation.stage_series import (
    SCRATCH,
    VERSION,
    RegionMask,
    Series,
    SlabSource,
    add_up,
    region_mask,
    slabs_of,
)

STRIP = 64  # rows of a slab whose noise is measured together; a multiple of LEVEL_BIN
LAG = (6, 4, 4)
LEVEL_BIN = 16
NOISE_HALO = 9  # planes beyond a slab: what smoothing, growing and the lags reach


@dataclass(frozen=True)
class QuietMask:
    """Voxels where nothing changes and no face is near: where the noise of a difference is measured.

    Attributes
    ----------
    region : RegionMask or None
        Where the user says so.
    avoid : RegionMask
        Where the mass changes.
    threshold : float
        Gradient of a face, 1/cm per voxel.
    solid : float or None
        Attenuation from which a voxel belongs to the ceramic.
    inside_solid : bool
        Measure in the ceramic; else in the planes without any, whose noise is more like the anode's.
    """

    region: RegionMask | None
    avoid: RegionMask
    threshold: float
    solid: float | None
    inside_solid: bool = False

    def slab(self, fixed: Array, span: slice) -> Array:
        """Return the mask of the planes `span` of the reference scan, good inside a halo at either end."""
        from scipy.ndimage import binary_dilation, binary_erosion, gaussian_filter

        known = np.nan_to_num(fixed)
        quiet = np.isfinite(fixed) & ~uncertainty.edge_shell(known, threshold=self.threshold, width=3)
        quiet &= _radius(self.avoid.frame) < min(self.avoid.frame[1:]) / 2 - 3
        if self.region is not None:
            return np.asarray(quiet & self.region.slab(span))
        if self.solid is not None:
            solid = gaussian_filter(known, 1.0, truncate=3.0) >= self.solid
            if self.inside_solid:
                quiet &= binary_erosion(solid, iterations=2, border_value=1)
            else:
                crowded = solid.mean(axis=(1, 2)) > 0.005
                quiet &= ~binary_dilation(crowded, np.ones(3, bool))[:, None, None]
        ball = np.ones((5, 5, 5), bool)
        return np.asarray(quiet & ~binary_dilation(self.avoid.slab(span), ball))


def quiet_part(
    settings: Variation, registration: Registration, series: Series, store: Store, mask: RegionMask
) -> QuietMask:
    """Return where noise is measured: the region named, else away from faces, ceramic and the anode."""
    if registration.mask == "auto":
        minimum = ceramic_threshold(store, PATH, series.reference)
    else:
        minimum = registration.mask.min_attenuation
    named = None if settings.noise_region is None else region_mask(series, store, settings.noise_region)
    return QuietMask(named, mask, face_gradient(series, store), minimum)


def _radius(frame: tuple[int, int, int]) -> Array:
    y = np.arange(frame[1])[:, None] - (frame[1] - 1) / 2
    x = np.arange(frame[2])[None, :] - (frame[2] - 1) / 2
    return np.asarray(np.hypot(y, x))


def noise_of_pair(
    series: Series, store: Store, mask: RegionMask, quiet: QuietMask, pair: tuple[int, int], limits: Resources
) -> noises.Noise:
    """Measure noise in planes without ceramic; in the ceramic where there are no such planes."""
    try:
        return measure_noise(series, store, mask, quiet, pair, limits)
    except ValueError:
        if quiet.region is not None or quiet.solid is None:
            raise
        return measure_noise(series, store, mask, replace(quiet, inside_solid=True), pair, limits)


def measure_noise(
    series: Series, store: Store, mask: RegionMask, quiet: QuietMask, pair: tuple[int, int], limits: Resources
) -> noises.Noise:
    """Measure the noise of the difference of two scans where nothing changes, and how it varies over the region.

    Raises
    ------
    ValueError
        Too few voxels are quiet.
    """
    moving, fixed = pair
    source = SlabSource(str(store.path.resolve() / PATH / "0"), moving, fixed, NOISE_HALO, series.frame[0])
    slabs = slabs_of(range(series.frame[0]), series.frame)
    height = next(n for n in (8, 4, 2, 1) if n <= max(len(mask.planes()), 1))  # divides SLAB: no slab cuts a window
    windows = (height, 1, 1), (height, LEVEL_BIN, LEVEL_BIN)
    bins = (series.frame[0], LEVEL_BIN, LEVEL_BIN)
    inputs = {
        "registered": image_identity(store, PATH), "pair": pair, "region": mask.region.model_dump(),
        "labels": mask.identity, "quiet": [quiet.threshold, quiet.solid, quiet.inside_solid],
        "noise_region": None if quiet.region is None else quiet.region.region.model_dump(), "lag": LAG,
    }  # fmt: skip
    tag = f"{series.names[moving]}_{series.names[fixed]}"
    mean = measure(
        store, Reduction(f"noise/mean_{tag}", VERSION, partial(_mean_chunk, source=source, quiet=quiet), add_up),
        source, slabs, inputs, limits, SCRATCH["noise/mean"],
    )  # fmt: skip
    if mean["count"] < 1000:
        raise ValueError(
            f"only {int(mean['count'])} voxels are far from faces and changes: give variation.noise_region"
        )
    chunk = partial(
        _noise_chunk, source=source, quiet=quiet, mask=mask, mean=float(mean["total"] / mean["count"]), windows=windows,
        bins=bins,
    )  # fmt: skip
    found = measure(
        store, Reduction(f"noise/{tag}", VERSION, chunk, add_up), source, slabs, inputs, limits, SCRATCH["noise"]
    )
    covariance = noises.autocovariance(noises.LagSums(found["products"], found["pairs"]))
    zero = (0, 0, 0)
    pooled = noises.pooled_level(mass.Sums(zero, found["quiet_level"], found["quiet_level_count"]))
    bin_level = noises.noise_level(mass.Sums(zero, found["level"], found["level_count"]), least=200)
    level = noises.spread(bin_level[0], bins[1:], series.frame[1:]) / pooled
    inflations = [_inflation(covariance, found[f"window{k}"], size) for k, size in enumerate(windows)]
    return noises.Noise(covariance, level, *inflations)


def _inflation(covariance: Array, windows: Array, size: tuple[int, int, int]) -> float:
    ratio, error, _ = noises.window_check(covariance, windows, size)
    return float(ratio) if np.isfinite(ratio) and ratio > 1 + 2 * error else 1.0


def _mean_chunk(block: Array, region: Region, *, source: SlabSource, quiet: QuietMask) -> dict[str, Array]:
    z, span = region[0], source.span(region)
    core = slice(z.start - span.start, z.stop - span.start)
    mask = quiet.slab(block[0], span)[core] & np.isfinite(block[1][core])
    change = (block[1] - block[0])[core]
    return {"total": np.array(change[mask].sum(dtype=np.float64)), "count": np.array(int(mask.sum()))}


def _noise_chunk(
    block: Array, region: Region, *, source: SlabSource, quiet: QuietMask, mask: RegionMask, mean: float,
    windows: tuple[tuple[int, int, int], ...], bins: tuple[int, int, int],
) -> dict[str, Array]:  # fmt: skip
    z, span = region[0], source.span(region)
    core = slice(z.start - span.start, z.stop - span.start)
    change = block[1] - block[0]
    still = quiet.slab(block[0], span) & np.isfinite(change)
    np.nan_to_num(change, copy=False)
    stop = min(block.shape[1], core.stop + 1)
    fixed = np.nan_to_num(block[0][core.start : stop])
    wanted = mask.slab(slice(z.start, z.start + len(fixed)))
    shape = tuple(-(-n // s) for n, s in zip(mask.frame, bins, strict=True))
    total: dict[str, Array] = {}
    for y in range(0, mask.frame[1], STRIP):
        rows = slice(y, min(y + STRIP, mask.frame[1]))
        wide = slice(max(0, rows.start - LAG[1]), min(mask.frame[1], rows.stop + LAG[1]))
        own = (core, slice(rows.start - wide.start, rows.stop - wide.start), slice(None))
        lags = noises.lag_sums(change[:, wide], still[:, wide], lag=LAG, mean=mean, core=own)
        found: dict[str, Array] = {"products": lags.products, "pairs": lags.pairs}
        offset = (z.start, y, 0)
        for k, size in enumerate(windows):
            sums = mass.bin_sums(change[core, rows] - np.float32(mean), still[core, rows], offset, size)
            found[f"window{k}"] = noises.whole_windows(sums, size)
        more = slice(rows.start, min(rows.stop + 1, mask.frame[1]))
        for name, where in (("quiet_level", still[core.start : stop]), ("level", wanted)):
            sums = noises.level_sums(fixed[:, more], where[:, more], offset, bins).full(shape)
            found |= {name: sums.total, f"{name}_count": sums.count}
        for name, value in found.items():
            total[name] = total[name] + value if name in total else value
    return total


@dataclass(frozen=True)
class NoSource:
    """Reads nothing: masks read their labels themselves."""

    def read(self, region: Region) -> Array:
        """Return nothing."""
        del region
        return np.zeros(0, np.float32)

    def nbytes(self, region: Region) -> int:
        """Return the bytes of the labels, their masks and the transforms of a strip."""
        planes = region[0].stop - region[0].start + 2 * LAG[0]
        width = region[2].stop
        return int(planes * width * (2 * region[1].stop + 40 * (STRIP + 2 * LAG[1])))


def measure_pairs(
    series: Series, store: Store, masks: Sequence[RegionMask], limits: Resources, name: str
) -> cells.Pairs:
    """Count the voxel pairs of sets of voxels at each lag, and their voxels per column block."""
    slabs = slabs_of(masks[0].planes(), series.frame)
    inputs = {
        "frame": series.frame, "masks": [[m.region.model_dump(), m.values] for m in masks],
        "labels": masks[0].identity, "lag": LAG,
    }  # fmt: skip
    chunk = partial(_pairs_chunk, masks=tuple(masks))
    found = measure(
        store, Reduction(f"pairs/{name}", VERSION, chunk, add_up), NoSource(), slabs, inputs, limits, scratch=1
    )
    return cells.Pairs(found["pairs"], found["columns"], LEVEL_BIN)


def _pairs_chunk(block: Array, region: Region, *, masks: tuple[RegionMask, ...]) -> dict[str, Array]:
    del block
    frame = masks[0].frame
    span = slice(max(0, region[0].start - LAG[0]), min(frame[0], region[0].stop + LAG[0]))
    core = slice(region[0].start - span.start, region[0].stop - span.start)
    pairs, columns = [], []
    for mask in masks:
        wanted = mask.slab(span)
        total = np.zeros([2 * n + 1 for n in LAG])
        for y in range(0, frame[1], STRIP):
            rows = slice(y, min(y + STRIP, frame[1]))
            wide = slice(max(0, rows.start - LAG[1]), min(frame[1], rows.stop + LAG[1]))
            part = wanted[:, wide]
            if part.any():
                own = (core, slice(rows.start - wide.start, rows.stop - wide.start), slice(None))
                total += noises.lag_sums(np.zeros(part.shape, np.float32), part, lag=LAG, core=own).pairs
        pairs.append(total)
        count = wanted[core].sum(axis=0, dtype=np.float64)[None]
        columns.append(mass.bin_sums(count, np.ones(count.shape, bool), (0, 0, 0), (1, LEVEL_BIN, LEVEL_BIN)).total[0])
    return {"pairs": np.stack(pairs), "columns": np.stack(columns)}
