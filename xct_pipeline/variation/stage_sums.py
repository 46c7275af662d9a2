"""Sums of a pair of scans over a region, slab by slab: maps along z, profiles, bins, and the ceramic's surface."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from xct_pipeline.blocks import Array, Reduction, Region, inside
from xct_pipeline.config import Registration, Variation
from xct_pipeline.execution import image_identity, measure
from xct_pipeline.registration.stage import PATH, ceramic_threshold
from xct_pipeline.resources import Resources
from xct_pipeline.store import Store
from xct_pipeline.variation import faces, mass, uncertainty
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
    bins: tuple[int, int, int] | None, materials: Materials | None, radial: bool,
) -> dict[str, Array]:  # fmt: skip
    z, span = region[0], source.span(region)
    core = slice(z.start - span.start, z.stop - span.start)
    fixed, moving = block[0][core], block[1][core]
    change = mass.change(fixed, moving)
    wanted = mask.slab(z)
    known = wanted & np.isfinite(change)
    offset, frame = (z.start, 0, 0), mask.frame
    cells: dict[str, tuple[Array, int]] = {}
    if radial:
        cells["radial"] = mass.radial_index(frame, offset, change.shape), int(np.hypot(*frame[1:]) / 2) + 1
    if surface is not None:
        cells["depth"] = mass.depth_index(surface, offset, change.shape, upward=above), frame[0]
    if bins is not None:
        counts = tuple(-(-n // b) for n, b in zip(frame, bins, strict=True))
        cells["bins"] = mass.bin_index(offset, change.shape, bins, counts), int(np.prod(counts))
    if materials is not None:
        cells["material"] = materials.slab(z), materials.size
    chosen = {kind: mass.Cells(index, number, known) for kind, (index, number) in cells.items()}
    found: dict[str, Array] = {
        "count": known.sum(axis=0, dtype=np.int64), "lost": np.array(int((wanted & ~known).sum()))
    }  # fmt: skip
    found |= {f"{kind}_count": part.count() for kind, part in chosen.items()}
    for name, values in (("change", change), ("fixed", fixed), ("moving", moving)):
        found[name] = mass.areal_sums(values, known, offset).total
        found |= {f"{kind}_{name}": part.total(values) for kind, part in chosen.items()}
    edge = [(1 - core.start, 1 - (block.shape[1] - core.stop)), (1, 1), (1, 1)]
    padded = np.pad(np.nan_to_num(block[0]), edge, mode="edge")
    motions: dict[str, list[Array]] = {name: [] for name in ("motions", *(f"{kind}_motions" for kind in chosen))}
    for values in uncertainty.motion_changes(padded, known, offset, frame):
        motions["motions"].append(values.sum(axis=0))
        for kind, part in chosen.items():
            motions[f"{kind}_motions"].append(part.total(values))
    return found | {name: np.stack(parts) for name, parts in motions.items()}


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
