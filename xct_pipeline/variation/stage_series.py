"""A registered series as the stage sees it: pairs of scans, slabs of them, and the voxels of a region."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xct_pipeline.blocks import Array, Region, size_of
from xct_pipeline.config import RegionOfInterest
from xct_pipeline.execution import image_identity
from xct_pipeline.registration.stage import Motion, Volume, whole_chunks
from xct_pipeline.scan import Scan
from xct_pipeline.store import Store, StoredArray
from xct_pipeline.variation import mass

VERSION = 3
SLAB = 32
ATTENUATION, DENSITY, FLAGS = "variation/attenuation", "variation/density", "variation/flags"


@dataclass(frozen=True)
class Series:
    """What the stage works on.

    Attributes
    ----------
    names : tuple of str
        Scans in the order of the configuration.
    failed : tuple of int
        Positions of those without a registered volume.
    reference : int
    volume : Volume
        The reference's.
    motions : tuple of Motion
    scans : tuple of Scan or None
        For energy and times.
    """

    names: tuple[str, ...]
    failed: tuple[int, ...]
    reference: int
    volume: Volume
    motions: tuple[Motion, ...]
    scans: tuple[Scan | None, ...]

    @property
    def frame(self) -> tuple[int, int, int]:
        """(z, y, x)."""
        return self.volume.shape


def pairs_of(series: Series, consecutive: bool) -> tuple[tuple[int, int], ...]:
    """Return (moving, fixed) for each scan; a scan that failed, and the first, is paired with itself."""
    good = [k for k in range(len(series.names)) if k not in series.failed]
    pairs = []
    for k in range(len(series.names)):
        earlier = [g for g in good if g < k]
        before = (earlier[-1] if earlier else k) if consecutive else series.reference
        pairs.append((k, k if k in series.failed and not consecutive else before))
    return tuple(pairs)


@dataclass(frozen=True)
class SlabSource:
    """Reads slabs (z) of two scans of the registered series, with a halo, for the sums and the noise."""

    folder: str
    moving: int
    fixed: int
    halo: int
    depth: int

    def read(self, region: Region) -> Array:
        """Return (2, z + halo, y, x): the fixed and the moving scan; the halo is clipped at the frame."""
        part = self.span(region)
        series = StoredArray(self.folder)
        block = np.empty((2, part.stop - part.start, *series.shape[2:]), series.dtype)
        for k, scan in enumerate((self.fixed, self.moving)):
            block[k] = series[scan, part]
        return block

    def span(self, region: Region) -> slice:
        """Return the planes that are read for a region."""
        return slice(max(0, region[0].start - self.halo), min(self.depth, region[0].stop + self.halo))

    def nbytes(self, region: Region) -> int:
        """Return the bytes of both slabs, and of the encoded chunks of one while it is being read."""
        part = self.span(region)
        return size_of((part, *region[1:])) * 8 + size_of(whole_chunks((part, *region[1:]))) * 4


def slabs_of(planes: range, frame: tuple[int, int, int]) -> list[Region]:
    """Cut planes at multiples of `SLAB`."""
    first = planes.start // SLAB * SLAB
    cuts = [(max(planes.start, z), min(planes.stop, z + SLAB)) for z in range(first, planes.stop, SLAB)]
    return [(slice(a, b), slice(0, frame[1]), slice(0, frame[2])) for a, b in cuts if b > a]


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

    def slab(self, z: slice) -> Array:
        """Return the mask of planes (z, y, x)."""
        offset, shape = (z.start, 0, 0), (z.stop - z.start, *self.frame[1:])
        mask: Array = np.ones(shape, bool)
        if self.region.cylinder is not None:
            cylinder = self.region.cylinder
            mask &= mass.cylinder_mask(self.frame, offset, shape, z=cylinder.z, radius=cylinder.radius)
        if self.region.box is not None:
            box = self.region.box
            mask &= mass.box_mask(offset, shape, (box.z, box.y, box.x))
        if self.labels_folder is not None:
            mask &= mass.label_mask(np.asarray(StoredArray(self.labels_folder)[self.time, z]), self.values)
        return mask

    def planes(self) -> range:
        """Return the planes that the region can touch."""
        low, high = 0, self.frame[0]
        for part in (self.region.cylinder, self.region.box):
            if part is not None:
                low, high = max(low, part.z[0]), min(high, part.z[1])
        return range(low, max(low, high))


def region_mask(series: Series, store: Store, region: RegionOfInterest) -> RegionMask:
    """Return a region's mask on the reference scan.

    Raises
    ------
    ValueError
        Its label does not exist.
    """
    if region.label is None:
        return RegionMask(region, series.frame)
    from xct_pipeline.segmentation.stage import label_values, labels_path

    values = tuple(label_values(store, [region.label]))
    return RegionMask(region, series.frame, str(store.path.resolve() / labels_path() / "0"), values, series.reference)


def labels_identity(store: Store, mask: RegionMask) -> str | None:
    """Return what identifies the labels that a mask is cut by."""
    if mask.labels_folder is None:
        return None
    from xct_pipeline.segmentation.stage import labels_path

    return image_identity(store, labels_path())
