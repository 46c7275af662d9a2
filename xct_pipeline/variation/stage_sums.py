"""Sums of a pair of scans over a region, slab by slab: maps along z, profiles, bins, and the ceramic's surface."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from xct_pipeline.blocks import Array, Reduction, Region
from xct_pipeline.config import Registration, Variation
from xct_pipeline.execution import image_identity, measure
from xct_pipeline.registration.stage import PATH
from xct_pipeline.resources import Resources
from xct_pipeline.store import Store
from xct_pipeline.variation import mass, uncertainty
from xct_pipeline.variation.stage_series import (
    VERSION,
    RegionMask,
    Series,
    SlabSource,
    add_up,
    labels_identity,
    slabs_of,
)

PIECE = 8  # planes of a slab that are summed together


def measure_sums(
    series: Series, store: Store, settings: Variation, mask: RegionMask, pair: tuple[int, int], surface: Array | None,
    limits: Resources, name: str,
) -> dict[str, Array]:  # fmt: skip
    """Sum one pair of scans over a region: maps along z, motions, profiles, attenuation of both scans."""
    moving, fixed = pair
    source = SlabSource(str(store.path.resolve() / PATH / "0"), moving, fixed, 1, series.frame[0])
    chunk = partial(
        _sums_chunk, source=source, mask=mask, surface=surface, above=settings.anode_above, bins=settings.bins
    )
    inputs = {
        "registered": image_identity(store, PATH), "pair": pair, "region": mask.region.model_dump(),
        "labels": labels_identity(store, mask), "surface": surface, "above": settings.anode_above,
        "bins": settings.bins,
    }  # fmt: skip
    reduction = Reduction(
        f"sums/{name}_{series.names[moving]}_{series.names[fixed]}", VERSION, chunk, add_up, fold=True
    )
    maps = 80 * series.frame[1] * series.frame[2]  # ten maps in double precision
    slabs = slabs_of(mask.planes(), series.frame)
    return measure(store, reduction, source, slabs, inputs, limits, scratch=1, partial_bytes=maps)


def _sums_chunk(block: Array, region: Region, *, source: SlabSource, **options: Any) -> dict[str, Array]:
    """Sum a slab a few planes at a time: what is summed in double precision takes many times the slab's bytes."""
    span = source.span(region)
    total: dict[str, Array] = {}
    for z in range(region[0].start, region[0].stop, PIECE):
        piece = (slice(z, min(z + PIECE, region[0].stop)), *region[1:])
        part = source.span(piece)
        found = _sums_piece(block[:, part.start - span.start : part.stop - span.start], piece, source=source, **options)
        for name, value in found.items():
            total[name] = total[name] + value if name in total else value
    return total


def _sums_piece(
    block: Array, region: Region, *, source: SlabSource, mask: RegionMask, surface: Array | None, above: bool,
    bins: tuple[int, int, int] | None,
) -> dict[str, Array]:  # fmt: skip
    z, span = region[0], source.span(region)
    core = slice(z.start - span.start, z.stop - span.start)
    fixed, moving = block[0][core], block[1][core]
    change = mass.change(fixed, moving)
    inside = mask.slab(z) & np.isfinite(change)
    offset = (z.start, 0, 0)
    edge = [(1 - core.start, 1 - (block.shape[1] - core.stop)), (1, 1), (1, 1)]
    padded = np.pad(np.nan_to_num(block[0]), edge, mode="edge")
    found = {
        "change": mass.areal_sums(change, inside, offset).total,
        "count": inside.sum(axis=0, dtype=np.int64),
        "fixed": mass.areal_sums(fixed, inside, offset).total,
        "moving": mass.areal_sums(moving, inside, offset).total,
        "motions": uncertainty.registration_sums(padded, inside, offset, mask.frame).total,
        "lost": np.array(int((mask.slab(z) & ~np.isfinite(change)).sum())),
    }
    radial = mass.radial_index(mask.frame, offset, change.shape)
    cells = int(np.hypot(*mask.frame[1:]) / 2) + 1
    sums = mass.index_sums(change, radial, cells, inside)
    found |= {"radial": sums.total, "radial_count": sums.count}
    if surface is not None:
        depth = mass.depth_index(surface, offset, change.shape, upward=above)
        sums = mass.index_sums(change, depth, mask.frame[0], inside)
        found |= {"depth": sums.total, "depth_count": sums.count}
    if bins is not None:
        shape = tuple(-(-n // b) for n, b in zip(mask.frame, bins, strict=True))
        sums = mass.bin_sums(change, inside, offset, bins).full(shape)
        found |= {"bins": sums.total, "bins_count": sums.count}
    return found


def measure_surface(
    series: Series, store: Store, settings: Variation, registration: Registration, limits: Resources
) -> Array | None:
    """Return the height of the ceramic's surface in the reference scan (y, x), NaN where there is none."""
    threshold = settings.surface_attenuation
    if threshold is None and registration.mask != "auto":
        threshold = registration.mask.min_attenuation
    if threshold is None:
        return None
    source = SlabSource(str(store.path.resolve() / PATH / "0"), series.reference, series.reference, 1, series.frame[0])
    chunk = partial(_surface_chunk, source=source, threshold=threshold, above=settings.anode_above)
    inputs = {"registered": image_identity(store, PATH), "threshold": threshold, "above": settings.anode_above}
    combine = partial(_highest, above=settings.anode_above)
    slabs = slabs_of(range(series.frame[0]), series.frame)
    found = measure(store, Reduction("surface", VERSION, chunk, combine), source, slabs, inputs, limits, scratch=1)
    return np.where(found["count"] > 0, found["total"], np.nan)


def _surface_chunk(
    block: Array, region: Region, *, source: SlabSource, threshold: float, above: bool
) -> dict[str, Array]:
    from scipy.ndimage import median_filter

    span = source.span(region)
    core = slice(region[0].start - span.start, region[0].stop - span.start)
    solid = median_filter(np.nan_to_num(block[0]), size=3, mode="nearest")[core] > threshold  # pores and noise
    sums = mass.surface_heights(solid, (region[0].start, 0, 0), upward=above)
    return {"total": sums.total, "count": sums.count}


def _highest(parts: list[dict[str, Array]], above: bool) -> dict[str, Array]:
    result = mass.Sums((0, 0), parts[0]["total"], parts[0]["count"])
    for part in parts[1:]:
        result = mass.merge_surface(result, mass.Sums((0, 0), part["total"], part["count"]), upward=above)
    return {"total": result.total, "count": result.count}
