"""Sums of a pair of scans over a region, slab by slab: maps along z, profiles, bins, and the ceramic's surface."""

from __future__ import annotations

from functools import partial

import numpy as np

from xct_pipeline.blocks import Array, Reduction, Region, inside
from xct_pipeline.config import Registration, Variation
from xct_pipeline.execution import image_identity, measure
from xct_pipeline.registration.stage import PATH, ceramic_threshold
from xct_pipeline.resources import Resources
from xct_pipeline.store import Store
from xct_pipeline.variation import column_sums, faces, mass
from xct_pipeline.variation.stage_quiet import BoxSource, box_source
from xct_pipeline.variation.stage_series import (
    SCRATCH,
    VERSION,
    Materials,
    RegionMask,
    Series,
    SlabSource,
    add_up,
    slabs_of,
)

PIECE = 4  # planes of a slab that are summed together


def measure_sums(
    series: Series, store: Store, settings: Variation, mask: RegionMask, pair: tuple[int, int], limits: Resources,
    name: str, surface: Array | None = None, materials: Materials | None = None, profiles: bool = True,
) -> dict[str, Array]:  # fmt: skip
    """Sum one pair of scans over a region: along z, and per cell (radius, depth, bin, material).

    Returns
    -------
    dict
        ``change``, ``fixed``, ``moving``, ``count`` (y, x) and ``motions`` (6, y, x), 1/cm times voxels; ``lost``
        voxels; and for each kind of cell ``<kind>_change`` and so on, with a last axis over cells.
    """
    moving, fixed = pair
    source = SlabSource(str(store.path.resolve() / PATH / "0"), moving, fixed, 1, series.frame[0])
    bins = settings.bins if profiles else None
    chunk = partial(
        _sums_chunk, source=source, mask=mask, surface=surface, above=settings.anode_above, bins=bins,
        materials=materials, radial=profiles,
    )  # fmt: skip
    inputs = {
        "registered": image_identity(store, PATH), "pair": pair, "region": mask.region.model_dump(),
        "labels": mask.identity, "surface": surface, "above": settings.anode_above,
        "bins": bins, "materials": None if materials is None else materials.identity, "profiles": profiles,
    }  # fmt: skip
    reduction = Reduction(
        f"sums/{name}_{series.names[moving]}_{series.names[fixed]}", VERSION, chunk, add_up, fold=True
    )
    slabs = slabs_of(mask.planes(), series.frame)
    return measure(store, reduction, source, slabs, inputs, limits, SCRATCH["sums"], maps_bytes(series.frame))


def _sums_chunk(
    block: Array, region: Region, *, source: SlabSource, mask: RegionMask, surface: Array | None, above: bool,
    bins: tuple[int, int, int] | None, materials: Materials | None, radial: bool,
) -> dict[str, Array]:  # fmt: skip
    """Sum a slab a few planes at a time: the cells of its voxels take many times its bytes."""
    span, frame = source.span(region), mask.frame
    fixed = np.nan_to_num(block[0])
    cosine = None if surface is None else mass.surface_cosine(surface)
    sizes = {
        "depth": frame[0] if surface is not None else 0,
        "bins": 0 if bins is None else int(np.prod([-(-n // b) for n, b in zip(frame, bins, strict=True)])),
        "material": 0 if materials is None else materials.size,
    }
    first = dict(zip(sizes, np.cumsum([0, *sizes.values()]).tolist(), strict=False))
    maps = np.zeros((column_sums.NUMBER, *frame[1:]))
    cells = np.zeros((sum(sizes.values()), column_sums.NUMBER))
    lost = 0
    for z in range(region[0].start, region[0].stop, PIECE):
        planes = slice(z, min(z + PIECE, region[0].stop))
        at, shape = slice(z - span.start, planes.stop - span.start), (planes.stop - z, *frame[1:])
        wanted = mask.slab(planes)
        known = wanted & np.isfinite(block[0, at]) & np.isfinite(block[1, at])
        lost += int((wanted & ~known).sum())
        index = np.empty((sum(n > 0 for n in sizes.values()), *shape), np.int64)
        kinds = iter(index)
        if surface is not None:
            depth = mass.depth_index(surface, (z, 0, 0), shape, upward=above, cosine=cosine)
            next(kinds)[:] = _among(depth, sizes["depth"], first["depth"])
        if bins is not None:
            counts = tuple(-(-n // b) for n, b in zip(frame, bins, strict=True))
            next(kinds)[:] = mass.bin_index((z, 0, 0), shape, bins, counts) + first["bins"]
        if materials is not None:
            next(kinds)[:] = _among(materials.slab(planes), sizes["material"], first["material"])
        column_sums.add_columns(fixed, block[1, at], known, (at.start, z, 0), frame, maps, index, cells)
    found = column_sums.by_name(maps) | {"lost": np.array(lost)}
    for kind, size in sizes.items():
        if size:
            found |= column_sums.by_name(cells[first[kind] : first[kind] + size].T, f"{kind}_")
    return found | (column_sums.by_name(_radial(maps, frame), "radial_") if radial else {})


def _among(index: Array, size: int, first: int) -> Array:
    """Return the place of a cell in the table of all cells, -1 where there is none of that number."""
    return np.where((index >= 0) & (index < size), index.astype(np.int64) + first, -1)


def _radial(maps: Array, frame: tuple[int, int, int]) -> Array:
    """Return the sums over shells about the axis, from those over columns."""
    shells = mass.radial_index(frame, (0, 0, 0), (1, *frame[1:]))[0].ravel()
    number = int(np.hypot(*frame[1:]) / 2) + 1
    return np.stack([np.bincount(shells, weights=values.ravel(), minlength=number)[:number] for values in maps])


def maps_bytes(frame: tuple[int, int, int]) -> int:
    """Return the bytes of one partial sum: ten maps in double precision."""
    return 80 * frame[1] * frame[2]


def surface_threshold(settings: Variation, registration: Registration) -> float | None:
    """Return the attenuation from which a voxel belongs to the ceramic, None where nothing tells."""
    if settings.surface_attenuation is not None or registration.mask == "auto":
        return settings.surface_attenuation
    return registration.mask.min_attenuation


def measure_surface(
    series: Series, store: Store, settings: Variation, registration: Registration, limits: Resources
) -> Array | None:
    """Return the height of the ceramic's surface in the reference scan (y, x), NaN where there is none."""
    threshold = surface_threshold(settings, registration)
    if threshold is None and registration.mask == "auto":
        threshold = ceramic_threshold(store, PATH, series.reference)
    if threshold is None:
        return None
    source = box_source(series, store, (1, 0, 0))
    chunk = partial(_surface_chunk, source=source, threshold=threshold, above=settings.anode_above)
    inputs = {"registered": image_identity(store, PATH), "threshold": threshold, "above": settings.anode_above}
    combine = partial(_highest, above=settings.anode_above)
    slabs = slabs_of(range(series.frame[0]), series.frame)
    found = measure(
        store, Reduction("surface", VERSION, chunk, combine), source, slabs, inputs, limits, SCRATCH["surface"]
    )
    return np.where(found["count"] > 0, found["total"], np.nan)


def _surface_chunk(
    block: Array, region: Region, *, source: BoxSource, threshold: float, above: bool
) -> dict[str, Array]:
    solid = faces.median_above(block, threshold)[inside(source.wide(region), region)]  # pores and noise left out
    sums = mass.surface_heights(solid, (region[0].start, 0, 0), upward=above)
    return {"total": sums.total, "count": sums.count}


def _highest(parts: list[dict[str, Array]], above: bool) -> dict[str, Array]:
    result = mass.Sums((0, 0), parts[0]["total"], parts[0]["count"])
    for part in parts[1:]:
        result = mass.merge_surface(result, mass.Sums((0, 0), part["total"], part["count"]), upward=above)
    return {"total": result.total, "count": result.count}
