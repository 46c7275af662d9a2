"""A registered series as the stage sees it: pairs of scans, slabs of them, and the voxels of a region."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from xct_pipeline.boxes import Region, cut, size_of, widen
from xct_pipeline.config import Config, RegionOfInterest
from xct_pipeline.engine.blocks import Array
from xct_pipeline.engine.execution import image_identity
from xct_pipeline.reconstruction.steps.row_sums import Rays
from xct_pipeline.region import RegionMask, painted_digest, place_region
from xct_pipeline.registration.steps.stage import PATH, Motion, Registered, whole_chunks
from xct_pipeline.scan import AnyScan
from xct_pipeline.store import layout
from xct_pipeline.store.labels import LABELS, stored_names
from xct_pipeline.store.store import Store
from xct_pipeline.store.stored_array import StoredArray
from xct_pipeline.variation.dark_level import DarkLevel
from xct_pipeline.variation.grey_scale import GreyScale
from xct_pipeline.variation.steps.residues import Residue

VERSION = 6
SLAB, ROWS = 64, 256  # of a box that is reduced in one task
PREFIX = "variation/"  # of the names of steps
KINDS = (False, True)  # against the reference, against the scan before
ATTENUATION, DENSITY, FLAGS = layout.ATTENUATION, layout.DENSITY, layout.FLAGS


@dataclass(frozen=True)
class RegisteredSeries(Registered):
    """The series whose change is mapped.

    Attributes
    ----------
    motions : tuple of Motion
    scans : tuple of AnyScan or None
        For energy and times.
    row_sums : tuple of str or None
        Hash under which the store keeps the sums of each scan's sinograms over their columns; empty where the series
        was not made from projections.
    rays : tuple of Rays or None
        Sinograms of the scans, where they are looked at again.
    halves : tuple of str or None
        Hash under which the store keeps what even and odd projections of each scan tell; empty where nothing does.
    grey : tuple of GreyScale or None
        How far grey values follow the attenuation; empty where nobody looked.
    dark : tuple of DarkLevel or None
        By how much the dark level of each scan differs from the reference's; empty where nobody looked.
    residues : tuple of Residue
        What corrections of each scan leave; empty where that is not known.
    """

    motions: tuple[Motion, ...]
    scans: tuple[AnyScan | None, ...]
    row_sums: tuple[str | None, ...] = ()
    rays: tuple[Rays | None, ...] = ()
    halves: tuple[str | None, ...] = ()
    grey: tuple[GreyScale | None, ...] = ()
    dark: tuple[DarkLevel | None, ...] = ()
    residues: tuple[Residue, ...] = ()


def pairs_of(series: RegisteredSeries, consecutive: bool) -> tuple[tuple[int, int], ...]:
    """Return (moving, fixed) for each scan; a scan that failed, and the first, is paired with itself."""
    pairs = []
    for k in range(len(series.names)):
        earlier = [g for g in series.good if g < k]
        before = (earlier[-1] if earlier else k) if consecutive else series.reference
        pairs.append((k, k if k in series.failed and not consecutive else before))
    return tuple(pairs)


@dataclass(frozen=True)
class BoxSource:
    """Reads boxes of scans of the registered series with a margin, clipped to the frame.

    Attributes
    ----------
    folder : str
    scans : tuple of int
    frame, halo : (z, y, x)
    """

    folder: str
    scans: tuple[int, ...]
    frame: tuple[int, int, int]
    halo: tuple[int, int, int]

    def wide(self, region: Region) -> Region:
        """Return the box that is read for a region."""
        return widen(region, self.halo, self.frame)

    def read(self, region: Region) -> Array:
        """Return (scans, z, y, x)."""
        series, wide = StoredArray(self.folder), self.wide(region)
        if len(self.scans) == 1:
            return series[(slice(self.scans[0], self.scans[0] + 1), *wide)]
        block = np.empty((len(self.scans), *(part.stop - part.start for part in wide)), series.dtype)
        for k, scan in enumerate(self.scans):
            block[k] = series[(scan, *wide)]
        return block

    def nbytes(self, region: Region) -> int:
        """Return the bytes of the boxes, and of the encoded chunks of one while it is being read."""
        return 4 * (len(self.scans) * size_of(self.wide(region)) + size_of(whole_chunks(self.wide(region))))


def box_source(
    series: RegisteredSeries, store: Store, scans: Sequence[int], halo: tuple[int, int, int] = (1, 1, 1)
) -> BoxSource:
    """Return what reads scans of a series."""
    return BoxSource(str(store.path.resolve() / PATH / "0"), tuple(scans), series.frame, halo)


def boxes_of(bounds: Region) -> list[Region]:
    """Cut a box of the frame at multiples of `SLAB` planes and `ROWS` rows."""
    return list(cut(bounds, (SLAB, ROWS, max(bounds[2].stop, 1))))


def add_up(parts: list[dict[str, Array]]) -> dict[str, Array]:
    """Add partial sums in the order of the slabs, in double precision."""
    total = {name: np.array(value, copy=True) for name, value in parts[0].items()}
    for part in parts[1:]:
        for name, value in part.items():
            total[name] = total[name] + value
    return total


def region_mask(series: RegisteredSeries, store: Store, region: RegionOfInterest, known: bool = True) -> RegionMask:
    """Return a region's mask on the reference scan; not `known` before labels are there.

    Raises
    ------
    ValueError
        Its label does not exist.
    """
    if not known:
        return RegionMask(region, series.frame)
    mask = place_region(region, series.frame, store, series.reference)
    labels = None if region.label is None and mask.body is None else image_identity(store, LABELS)
    painted = None if region.painted is None else painted_digest(Path(region.painted))
    return replace(mask, identity=labels if painted is None else f"{labels} {painted}")


@dataclass(frozen=True)
class Materials:
    """The labels of the reference scan, by which totals are told apart."""

    folder: str
    time: int
    names: Mapping[int, str]
    identity: str

    def box(self, part: Region) -> Array:
        """Return the labels of a box of the frame."""
        return np.asarray(StoredArray(f"{self.folder}/0")[(self.time, *part)])

    @property
    def size(self) -> int:
        """One more than the largest value."""
        return max(self.names) + 1

    def mask(self, region: RegionMask, value: int) -> RegionMask:
        """Return the voxels of a region that carry one value."""
        values = (value,) if not region.values or value in region.values else ()
        return replace(region, labels_folder=self.folder, values=values, time=self.time, identity=self.identity)


def planned_materials(config: Config, series: RegisteredSeries, store: Store) -> Materials | None:
    """Return the labels that there will be when the series is mapped: those of this run, else what is in the store."""
    from xct_pipeline.segmentation.steps.stage import material_names

    if config.segmentation is None:
        return materials_of(series, store)
    folder = store.path.resolve() / LABELS
    return Materials(str(folder), series.reference, material_names(config.segmentation), "")


def materials_of(series: RegisteredSeries, store: Store) -> Materials | None:
    """Return the labels in the store, None where there are none of this series."""
    names = stored_names(store)
    folder = store.path.resolve() / LABELS
    if not names or not (folder / "0").is_dir() or series.reference in series.failed:
        return None
    if tuple(StoredArray(folder / "0").shape) != (len(series.names), *series.frame):
        return None
    return Materials(str(folder), series.reference, names, image_identity(store, LABELS))
