"""A registered series as the stage sees it: pairs of scans, slabs of them, and the voxels of a region."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from xct_pipeline.config import Config, RegionOfInterest
from xct_pipeline.engine.blocks import Array, Region, cut, size_of, widen
from xct_pipeline.engine.execution import image_identity
from xct_pipeline.registration.steps.stage import PATH, Motion, Registered, whole_chunks
from xct_pipeline.scan import Scan
from xct_pipeline.store import layout
from xct_pipeline.store.store import Store
from xct_pipeline.store.stored_array import StoredArray
from xct_pipeline.variation import mass

VERSION = 5
SLAB, ROWS = 64, 256  # of a box that is reduced in one task
PREFIX = "variation/"  # of the names of steps
KINDS = (False, True)  # against the reference, against the scan before
ATTENUATION, DENSITY, FLAGS = layout.ATTENUATION, layout.DENSITY, layout.FLAGS


@dataclass(frozen=True)
class Series(Registered):
    """The series whose change is mapped.

    Attributes
    ----------
    motions : tuple of Motion
    scans : tuple of Scan or None
        For energy and times.
    """

    motions: tuple[Motion, ...]
    scans: tuple[Scan | None, ...]


def pairs_of(series: Series, consecutive: bool) -> tuple[tuple[int, int], ...]:
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
        block = np.empty((len(self.scans), *(part.stop - part.start for part in wide)), series.dtype)
        for k, scan in enumerate(self.scans):
            block[k] = series[(scan, *wide)]
        return block

    def nbytes(self, region: Region) -> int:
        """Return the bytes of the boxes, and of the encoded chunks of one while it is being read."""
        return 4 * (len(self.scans) * size_of(self.wide(region)) + size_of(whole_chunks(self.wide(region))))


def box_source(series: Series, store: Store, scans: Sequence[int], halo: tuple[int, int, int] = (1, 1, 1)) -> BoxSource:
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


@dataclass(frozen=True)
class RegionMask:
    """The voxels of a region, and the labels it may be cut by."""

    region: RegionOfInterest
    frame: tuple[int, int, int]
    labels_folder: str | None = None
    values: tuple[int, ...] = ()
    time: int = 0
    identity: str | None = None

    def slab(self, z: slice) -> Array:
        """Return the mask of planes (z, y, x)."""
        return self.box((z, *(slice(0, n) for n in self.frame[1:])))

    def box(self, part: Region) -> Array:
        """Return the mask of a box of the frame."""
        offset, shape = tuple(p.start for p in part), tuple(p.stop - p.start for p in part)
        mask: Array = np.ones(shape, bool)
        if self.region.cylinder is not None:
            cylinder = self.region.cylinder
            mask &= mass.cylinder_mask(self.frame, offset, shape, z=cylinder.z, radius=cylinder.radius)
        if self.region.box is not None:
            box = self.region.box
            mask &= mass.box_mask(offset, shape, (box.z, box.y, box.x))
        if self.labels_folder is not None:
            mask &= mass.label_mask(np.asarray(StoredArray(self.labels_folder)[(self.time, *part)]), self.values)
        return mask

    def planes(self) -> range:
        """Return the planes that the region can touch."""
        z = self.bounds()[0]
        return range(z.start, z.stop)

    def bounds(self) -> Region:
        """Return the box of the frame that holds the region."""
        low, high = [0, 0, 0], list(self.frame)
        boxes = []
        if self.region.cylinder is not None:
            radius = self.region.cylinder.radius
            across = [(math.floor((n - 1) / 2 - radius), math.ceil((n + 1) / 2 + radius)) for n in self.frame[1:]]
            boxes.append((self.region.cylinder.z, *across))
        if self.region.box is not None:
            boxes.append((self.region.box.z, self.region.box.y, self.region.box.x))
        for box in boxes:
            low = [max(a, b[0]) for a, b in zip(low, box, strict=True)]
            high = [min(a, b[1]) for a, b in zip(high, box, strict=True)]
        return tuple(slice(a, max(a, b)) for a, b in zip(low, high, strict=True))

    def identity_of(self) -> list[object]:
        """Return what the mask depends on."""
        return [self.region.model_dump(), self.values, self.time, self.identity]


def region_mask(series: Series, store: Store, region: RegionOfInterest, known: bool = True) -> RegionMask:
    """Return a region's mask on the reference scan; not `known` before labels are there.

    Raises
    ------
    ValueError
        Its label does not exist.
    """
    if region.label is None or not known:
        return RegionMask(region, series.frame)
    from xct_pipeline.segmentation.steps.stage import label_values, labels_path

    values = tuple(label_values(store, [region.label]))
    folder, identity = store.path.resolve() / labels_path() / "0", image_identity(store, labels_path())
    return RegionMask(region, series.frame, str(folder), values, series.reference, identity)


@dataclass(frozen=True)
class Materials:
    """The labels of the reference scan, by which totals are told apart."""

    folder: str
    time: int
    names: Mapping[int, str]
    identity: str

    def box(self, part: Region) -> Array:
        """Return the labels of a box of the frame."""
        return np.asarray(StoredArray(self.folder)[(self.time, *part)])

    @property
    def size(self) -> int:
        """One more than the largest value."""
        return max(self.names) + 1

    def mask(self, region: RegionMask, value: int) -> RegionMask:
        """Return the voxels of a region that carry one value."""
        values = (value,) if not region.values or value in region.values else ()
        return replace(region, labels_folder=self.folder, values=values, time=self.time, identity=self.identity)


def planned_materials(config: Config, series: Series, store: Store) -> Materials | None:
    """Return the labels that there will be when the series is mapped: those of this run, else what is in the store."""
    from xct_pipeline.segmentation.steps.stage import labels_path, material_names

    if config.segmentation is None:
        return materials_of(series, store)
    folder = store.path.resolve() / labels_path() / "0"
    return Materials(str(folder), series.reference, material_names(config.segmentation), "")


def materials_of(series: Series, store: Store) -> Materials | None:
    """Return the labels in the store, None where there are none of this series."""
    from xct_pipeline.segmentation.steps.stage import labels_path, stored_names

    names, path = stored_names(store), labels_path()
    folder = store.path.resolve() / path / "0"
    if not names or not folder.is_dir() or series.reference in series.failed:
        return None
    if tuple(StoredArray(folder).shape) != (len(series.names), *series.frame):
        return None
    return Materials(str(folder), series.reference, names, image_identity(store, path))
