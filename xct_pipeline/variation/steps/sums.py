"""Sums of a pair of scans over a region, slab by slab: maps along z, profiles, bins, and the ceramic's surface."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import Any

import numpy as np

from xct_pipeline.boxes import Region, inside, size_of
from xct_pipeline.config import Registration, Variation
from xct_pipeline.engine.blocks import Array, Reduction, unbound
from xct_pipeline.engine.execution import image_identity, measure
from xct_pipeline.engine.resources import Resources
from xct_pipeline.engine.steps import Steps
from xct_pipeline.region import RegionMask
from xct_pipeline.registration.steps.stage import PATH, ceramic_threshold
from xct_pipeline.store.store import Store
from xct_pipeline.variation import column_sums, faces, mass
from xct_pipeline.variation.steps.series import VERSION, BoxSource, Materials, RegisteredSeries, box_source, boxes_of
from xct_pipeline.whole_body import WholeBody

SUMS_RATE, SURFACE_RATE = 15e6, 60e6  # voxels per CPU-second
LAYERS = 64  # of a whole body that are told apart, from its near end
PIECE = 4  # planes of a slab that are summed together


@dataclass(frozen=True)
class SumsOfPair:
    """What is summed of one pair of scans over a region: along z, and per cell (radius, depth, bin, material).

    Attributes
    ----------
    name : str
        Of the step.
    series, store
        That are read.
    surface : numpy.ndarray or None
        Height of the ceramic's surface (y, x), from which layers are counted.
    materials : Materials or None
    profiles : bool
        Sum rings and bins too.
    """

    name: str
    series: RegisteredSeries
    store: Store
    settings: Variation
    mask: RegionMask
    pair: tuple[int, int]
    surface: Array | None = None
    materials: Materials | None = None
    profiles: bool = True

    @property
    def cells(self) -> CellsOfRegion:
        """Which cells voxels are told apart by."""
        bins = self.settings.bins if self.profiles else None
        above, body = self.settings.anode_above, self.mask.body
        return CellsOfRegion(self.mask.frame, self.surface, above, bins, self.materials, body)

    def step(self, known: bool = True) -> Reduction:
        """Return the step; not `known` before the series is there."""
        moving, fixed = self.pair
        source, bounds = box_source(self.series, self.store, [fixed]), self.mask.bounds()
        later = None if moving == fixed else box_source(self.series, self.store, [moving], (0, 0, 0))
        return Reduction(
            self.name,
            VERSION,
            partial(_sums_chunk, source=source, later=later, mask=self.mask, cells=self.cells),
            partial(_placed, frame=self.mask.frame),
            fold=True,
            source=source,
            regions=boxes_of(bounds),
            inputs=self._inputs() if known else {},
            scratch=2.0,
            partial_bytes=maps_bytes(self.series.frame),
            cpu_s=size_of(bounds) / SUMS_RATE,
        )

    def _inputs(self) -> dict[str, Any]:
        return {
            "registered": image_identity(self.store, PATH),
            "pair": self.pair,
            "region": self.mask.region.model_dump(),
            "labels": self.mask.identity,
            "surface": self.surface,
            "above": self.settings.anode_above,
            "bins": self.cells.bins,
            "materials": None if self.materials is None else self.materials.identity,
            "profiles": self.profiles,
            **({"body": self.mask.identity_of()} if self.mask.body is not None else {}),
        }

    def named(self, found: Mapping[str, Array]) -> dict[str, Array]:
        """Return the result of the step by names.

        ``change``, ``fixed``, ``moving``, ``count`` (y, x) and ``motions`` (6, y, x), 1/cm times voxels; ``lost``
        voxels; and for each kind of cell ``<kind>_change`` and so on, with a last axis over cells.
        """
        result = column_sums.by_name(found["maps"]) | {"lost": found["lost"]}
        for kind, part in self.cells.places().items():
            result |= column_sums.by_name(found["cells"][part].T, f"{kind}_")
        radial = column_sums.by_name(_radial(found["maps"], self.mask.frame), "radial_") if self.profiles else {}
        return result | radial


@dataclass(frozen=True)
class CellsOfRegion:
    """Which cells the voxels of a region are told apart by: layers above the surface, bins, materials."""

    frame: tuple[int, int, int]
    surface: Array | None
    above: bool
    bins: tuple[int, int, int] | None
    materials: Materials | None
    body: WholeBody | None = None

    def places(self) -> dict[str, slice]:
        """Return where the cells of each kind that is wanted stand in the table of all cells."""
        sizes: dict[str, int] = {}
        if self.surface is not None:
            sizes["depth"] = self.frame[0]
        if self.bins is not None:
            sizes["bins"] = math.prod(self._bins())
        if self.materials is not None:
            sizes["material"] = self.materials.size
        if self.body is not None:
            sizes["layers"] = LAYERS
        ends = np.cumsum([0, *sizes.values()]).tolist()
        return {kind: slice(a, b) for kind, a, b in zip(sizes, ends, ends[1:], strict=False)}

    def _bins(self) -> tuple[int, ...]:
        assert self.bins is not None
        return tuple(-(-n // b) for n, b in zip(self.frame, self.bins, strict=True))

    def index(self, part: Region, cosine: Array | None) -> Array:
        """Return the cells of each voxel of a box, (kinds, z, y, x), -1 where it has none."""
        offset, shape = tuple(p.start for p in part), tuple(p.stop - p.start for p in part)
        places = self.places()
        index = np.empty((len(places), *shape), np.int64)
        for k, (kind, place) in enumerate(places.items()):
            if kind == "depth":
                assert self.surface is not None
                cell = mass.depth_index(self.surface, offset, shape, upward=self.above, cosine=cosine)
            elif kind == "bins":
                assert self.bins is not None
                cell = mass.bin_index(offset, shape, self.bins, self._bins())
            elif kind == "layers":
                assert self.body is not None
                cell = self.body.layers(*(np.arange(p.start, p.stop, dtype=np.float64) for p in part))
            else:
                assert self.materials is not None
                cell = self.materials.box(part).astype(np.int64)
            known = (cell >= 0) & (cell < place.stop - place.start)
            index[k] = np.where(known, cell + place.start, -1)
        return index


def _sums_chunk(
    block: Array, region: Region, *, source: BoxSource, later: BoxSource | None, mask: RegionMask, cells: CellsOfRegion
) -> dict[str, Array]:
    """Sum a box a few planes at a time: the cells of its voxels take many times its bytes.

    The reference is read with a margin, `later` the scan that is compared with it: None for the reference itself.
    """
    wide = source.wide(region)
    core = inside(wide, region)
    first = tuple(part.start for part in core)
    fixed = np.nan_to_num(block[0])
    other = np.ascontiguousarray(block[0][core] if later is None else later.read(region)[0])
    cosine = None if cells.surface is None else mass.surface_cosine(cells.surface)
    maps = np.zeros((column_sums.NUMBER, *(part.stop - part.start for part in region[1:])))
    table = np.zeros((max((part.stop for part in cells.places().values()), default=0), column_sums.NUMBER))
    lost = 0
    for z in range(region[0].start, region[0].stop, PIECE):
        piece = (slice(z, min(z + PIECE, region[0].stop)), *region[1:])
        here, moving = block[0][inside(wide, piece)], other[z - region[0].start : z - region[0].start + PIECE]
        wanted = mask.weights(piece)
        known = wanted * (np.isfinite(here) & np.isfinite(moving))
        lost += int(((wanted > 0) & (known == 0)).sum())
        at = (z - wide[0].start, *first[1:])
        place = tuple(part.start for part in piece)
        column_sums.add_columns(fixed, moving, known, at, place, mask.frame, maps, cells.index(piece, cosine), table)
    origin = np.array([part.start for part in region[1:]])
    return {"maps": maps, "cells": table, "lost": np.array(lost), "origin": origin}


def _placed(parts: list[dict[str, Array]], frame: tuple[int, int, int]) -> dict[str, Array]:
    """Add the sums of boxes to those of all columns, which is what the first may be already."""
    if "origin" in parts[0]:
        whole = {name: np.zeros_like(parts[0][name]) for name in ("cells", "lost")}
        total = {"maps": np.zeros((column_sums.NUMBER, *frame[1:])), **whole}
    else:
        total, parts = parts[0], parts[1:]
    for part in parts:
        y, x = part["origin"].tolist()
        rows, columns = part["maps"].shape[1:]
        total["maps"][:, y : y + rows, x : x + columns] += part["maps"]
        for name in ("cells", "lost"):
            total[name] = total[name] + part[name]
    return total


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
    series: RegisteredSeries,
    store: Store,
    settings: Variation,
    registration: Registration,
    limits: Resources,
    steps: Steps | None = None,
) -> Array | None:
    """Return the height of the ceramic's surface in the reference scan (y, x), NaN where there is none."""
    threshold = surface_threshold(settings, registration)
    if threshold is None and registration.mask == "auto":
        threshold = ceramic_threshold(store, PATH, series.reference)
    step = surface_step(series, store, settings, threshold)
    if threshold is None:
        if steps is not None and step.name in steps:
            steps.leave_out([step.name])
        return None
    inputs = {"registered": image_identity(store, PATH), "threshold": threshold, "above": settings.anode_above}
    found = measure(store, replace(step, inputs=inputs), limits, steps)
    return np.where(found["count"] > 0, found["total"], np.nan)


def surface_step(series: RegisteredSeries, store: Store, settings: Variation, threshold: float | None) -> Reduction:
    """Return the step that finds the ceramic's surface; its threshold may be known in the run only."""
    source, whole = box_source(series, store, [series.reference]), tuple(slice(0, n) for n in series.frame)
    above = settings.anode_above
    return Reduction(
        "variation/surface",
        VERSION,
        unbound if threshold is None else partial(_surface_chunk, source=source, threshold=threshold, above=above),
        partial(_highest, above=above),
        fold=True,
        source=source,
        regions=boxes_of(whole),
        scratch=0.6,
        cpu_s=size_of(whole) / SURFACE_RATE,
    )


def _surface_chunk(
    block: Array, region: Region, *, source: BoxSource, threshold: float, above: bool
) -> dict[str, Array]:
    solid = faces.median_above(block[0], threshold)[inside(source.wide(region), region)]  # pores and noise left out
    return _as_partial(mass.surface_heights(solid, tuple(part.start for part in region), upward=above))


def _highest(parts: list[dict[str, Array]], above: bool) -> dict[str, Array]:
    sums = [mass.Sums(tuple(part["origin"].tolist()), part["total"], part["count"]) for part in parts]
    return _as_partial(reduce(partial(mass.merge_surface, upward=above), sums))


def _as_partial(sums: mass.Sums) -> dict[str, Array]:
    return {"total": sums.total, "count": sums.count, "origin": np.array(sums.origin)}
