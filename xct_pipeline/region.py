"""A region of the reference volume: what a cylinder, a box, a label and a painted mask mean, once for every stage.

A voxel belongs to a region where its centre lies inside every part that the configuration names. Centres are counted in
voxels of the full-size volume: at index i along an axis, and on level k of a pyramid at ``2**k i + (2**k - 1) / 2``.

- cylinder: the planes of a half-open range, and a distance of at most `radius` from the axis ((Ny-1)/2, (Nx-1)/2);
- box: half-open ranges along z, y and x;
- label: voxels of the reference scan that carry the label;
- painted: voxels that are not 0; on a coarser level those of which at least half was painted;
- whole: the body of a label from end to end, with a margin, without the layers next to the ceramic (`whole_body`).
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from xct_pipeline import whole_body
from xct_pipeline.config import RegionOfInterest, RegionOfMass
from xct_pipeline.store.labels import LABELS, label_values, stored_names
from xct_pipeline.store.labels_file import open_labels
from xct_pipeline.store.store import Store
from xct_pipeline.store.stored_array import StoredArray
from xct_pipeline.whole_body import WholeBody, body_of

Frame = tuple[int, int, int]
Box = tuple[slice, ...]
Mask = npt.NDArray[np.bool_]

VERSION = 2
"""Of the meaning of a region: enters what is kept of results that depend on one."""
PAINTED_LEVELS = 10  # of a pyramid, on any of which a mask may be painted
SLAB = 64  # planes that are read together


@dataclass(frozen=True)
class RegionMask:
    """The voxels of a region on the reference scan, by boxes and on any level of the pyramid.

    Attributes
    ----------
    region : RegionOfInterest
        As the configuration holds it, with an absolute path of a painted mask.
    frame : (z, y, x)
        Voxels of the reference volume.
    labels_folder : str or None
        The image of the labels (t, z, y, x), one folder per level; None where no label cuts the region.
    values : tuple of int
        Labels that belong to it.
    time : int
        Plane of the reference scan along t.
    identity : str or None
        What the labels and the painted mask depend on.
    body : WholeBody or None
        Where a whole body is meant.
    without : WholeBody or None
        What is taken out of it.
    """

    region: RegionOfInterest
    frame: Frame
    labels_folder: str | None = None
    values: tuple[int, ...] = ()
    time: int = 0
    identity: str | None = None
    body: WholeBody | None = None
    without: WholeBody | None = None

    def box(self, part: Box, level: int = 0) -> Mask:
        """Return the mask (z, y, x) of a box of a level, given in voxels of that level and perhaps thinned."""
        mask = self.drawn(part, level)
        return mask & self.labelled(part, level) if self.labels_folder is not None else mask

    def weights(self, part: Box) -> npt.NDArray[np.uint8]:
        """Return for how many voxels each voxel of a box stands: two for those in place of layers at the ceramic."""
        inside = self.box(part).astype(np.uint8)
        if self.body is None:
            return inside
        return inside * self.body.weights(*(centres(p, 0) for p in part))

    def slab(self, z: slice) -> Mask:
        """Return the mask of planes (z, y, x)."""
        return self.box((z, *(slice(0, n) for n in self.frame[1:])))

    def drawn(self, part: Box, level: int = 0) -> Mask:
        """Return what the cylinder, the box, the painted mask and the whole body leave of a box."""
        z, y, x = (centres(p, level) for p in part)
        mask: Mask = np.ones((len(z), len(y), len(x)), bool)
        if self.region.cylinder is not None:
            mask &= between(z, self.region.cylinder.z)[:, None, None]
            mask &= in_disc(self.frame, y, x, self.region.cylinder.radius)
        if self.region.box is not None:
            box = self.region.box
            mask &= between(z, box.z)[:, None, None] & between(y, box.y)[:, None] & between(x, box.x)
        if self.region.painted is not None:
            painted = open_painted(Path(self.region.painted))
            size = tuple(n >> level for n in self.frame)
            mask &= _thinned(lambda whole: painted_box(painted, size, whole), part)
        if self.body is not None:
            mask &= self.body.weights(z, y, x) > 0
        if self.without is not None:
            mask &= self.without.weights(z, y, x) == 0
        return mask

    def labelled(self, part: Box, level: int = 0) -> Mask:
        """Return the voxels of a box that carry one of the labels."""
        labels = StoredArray(f"{self.labels_folder}/{level}")
        return _thinned(lambda whole: np.isin(labels[(self.time, *whole)], self.values), part)

    def planes(self) -> range:
        """Return the planes that the region can touch, those that it leaves out at the ceramic among them."""
        z = self.bounds()[0]
        if self.body is None:
            return range(z.start, z.stop)
        own, near = self.body.bounds()[0], self.body.near
        low, high = (near, 0) if self.body.upward else (0, near)
        return range(max(z.start, own.start - low), min(z.stop, own.stop + high))

    def bounds(self) -> Box:
        """Return the box of the frame that holds the region; a label or a painted mask does not narrow it."""
        low, high = [0, 0, 0], list(self.frame)
        boxes: list[tuple[tuple[int, int], ...]] = []
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
        body = None if self.body is None else [whole_body.VERSION, self.without is not None]
        return [VERSION, self.region.model_dump(), self.values, self.time, self.identity, body]


def place_region(region: RegionOfInterest, frame: Frame, store: Store, time: int) -> RegionMask:
    """Return a region's mask on the reference scan.

    Parameters
    ----------
    region : RegionOfInterest
    frame : (z, y, x)
        Voxels of the reference volume.
    store : Store
        Whose labels are meant.
    time : int
        Plane of the reference scan along t of the labels.

    Raises
    ------
    ValueError
        Its label does not exist.
    """
    folder, body = str(store.path.resolve() / LABELS), None
    if isinstance(region, RegionOfMass) and region.whole is not None:
        of = label_values(store, [region.whole])
        try:
            body = body_of(folder, time, of, max(stored_names(store)), frame)
        except ValueError as error:
            raise ValueError(f"whole {region.whole}: {error}") from None
    if region.label is None:
        return RegionMask(region, frame, body=body)
    return RegionMask(region, frame, folder, tuple(label_values(store, [region.label])), time, body=body)


def check_region(key: str, region: RegionOfInterest, frame: Frame) -> None:
    """Raise ValueError, naming the key of the configuration, where a region is empty or leaves the volume."""
    try:
        if region.cylinder is not None:
            _check_cylinder(frame, region.cylinder.z, region.cylinder.radius)
        if region.box is not None:
            _check_box(frame, (region.box.z, region.box.y, region.box.x))
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None
    if region.painted is not None:
        check_painted(Path(region.painted), frame, f"{key}.painted")


def _check_cylinder(frame: Frame, z: tuple[int, int], radius: float) -> None:
    limit = min(frame[1], frame[2]) / 2
    if not 0 <= z[0] < z[1] <= frame[0]:
        raise ValueError(f"region cylinder: z = [{z[0]:g}, {z[1]:g}] is empty or outside 0 to {frame[0]}")
    if not 0 < radius <= limit:
        raise ValueError(
            f"region cylinder: radius {radius:g} must be above 0 and at most {limit:g} voxels, "
            f"half of the frame of {frame[1]} x {frame[2]}"
        )
    nearest = [np.array([(n - 1) // 2], float) for n in frame[1:]]
    if not in_disc(frame, nearest[0], nearest[1], radius).any():
        raise ValueError("region cylinder: no voxel centre lies inside it")


def _check_box(frame: Frame, box: tuple[tuple[int, int], ...]) -> None:
    for axis, size, (low, high) in zip("zyx", frame, box, strict=True):
        if not 0 <= low < high <= size:
            raise ValueError(f"region box: {axis} = [{low}, {high}] is empty or outside 0 to {size}")


# Shapes -------------------------------------------------------------------------------------------------


def centres(part: slice, level: int) -> npt.NDArray[np.float64]:
    """Return the centres of a range of voxels of a level, in voxels of the full-size volume."""
    scale = 2**level
    index = np.arange(part.start, part.stop, part.step or 1, dtype=np.float64)
    return np.asarray(index * scale + (scale - 1) / 2)


def between(centre: npt.NDArray[np.float64], span: tuple[int, int]) -> Mask:
    """Return the centres that lie in a half-open range of voxels."""
    return np.asarray((centre >= span[0] - 0.5) & (centre < span[1] - 0.5))


def in_disc(frame: Frame, y: npt.NDArray[np.float64], x: npt.NDArray[np.float64], radius: float) -> Mask:
    """Return the centres (y, x) at most `radius` voxels from the axis of a frame; on the circle is inside."""
    across = (y - (frame[1] - 1) / 2)[:, None] ** 2 + (x - (frame[2] - 1) / 2)[None, :] ** 2
    return np.asarray(across <= radius**2)


def _thinned(read: Callable[[Box], Mask], part: Box) -> Mask:
    """Read a box that leaves voxels out, slab by slab, from what reads whole boxes."""
    z, *rest = part
    whole = tuple(slice(p.start, p.stop) for p in rest)
    steps = tuple(slice(None, None, p.step or 1) for p in part)
    if all(step.step == 1 for step in steps):
        return read((slice(z.start, z.stop), *whole))
    thick = max(SLAB // steps[0].step, 1) * steps[0].step
    slabs = [read((slice(a, min(a + thick, z.stop)), *whole))[steps] for a in range(z.start, z.stop, thick)]
    return np.concatenate(slabs)


# Painted masks ------------------------------------------------------------------------------------------


def open_painted(file: Path, key: str = "painted") -> Any:
    """Open a painted mask, (z, y, x).

    Raises
    ------
    ValueError
        It cannot be read or is no volume of whole numbers; the message begins with the file.
    """
    try:
        status = file.stat() if file.is_file() else None
        painted = _opened(file, key, status and status.st_mtime_ns, status and status.st_size)
    except (OSError, ValueError) as error:
        raise ValueError(f"{file}: {error}") from None
    if painted.ndim != 3 or np.dtype(painted.dtype).kind not in "uib":
        raise ValueError(
            f"{file}: a mask is a volume (z, y, x) of whole numbers, not {painted.dtype} with {painted.ndim} axes"
        )
    return painted


@functools.lru_cache(maxsize=1)
def _opened(file: Path, key: str, changed: int | None, size: int | None) -> Any:
    """Open labels; a compressed file is read whole, and so only once while it does not change."""
    del changed, size
    return open_labels(file, key)


def check_painted(file: Path, shape: Sequence[int], key: str = "painted") -> None:
    """Raise ValueError unless a painted mask can be read, fits a volume of `shape` and is not empty."""
    painted = open_painted(file, key)
    if not any(tuple(n >> k for n in shape) == painted.shape for k in range(PAINTED_LEVELS)):
        raise ValueError(
            f"{file}: painted on {_size(painted.shape)} voxels, but the reference has {_size(shape)}: "
            "paint on the reference's volume (or a level of its pyramid)"
        )
    if not any(np.any(painted[z : z + SLAB]) for z in range(0, painted.shape[0], SLAB)):
        raise ValueError(f"{file}: nothing is painted in it ({key}); voxels that are not 0 belong to it")


def painted_digest(file: Path) -> str:
    """Return what identifies the content of a painted mask, wherever it lies."""
    painted = open_painted(file)
    digest = hashlib.sha256(repr(painted.shape).encode())
    for z in range(0, painted.shape[0], SLAB):
        digest.update(np.packbits(np.asarray(painted[z : z + SLAB]) != 0).tobytes())
    return digest.hexdigest()


def painted_box(painted: Any, shape: Sequence[int], part: Box) -> Mask:
    """Return a box of a painted mask on a level of `shape`, finer or coarser than the level it was painted on.

    A voxel of a coarser level belongs to the mask where at least half of it was painted.
    """
    for k in range(PAINTED_LEVELS):
        if tuple(n >> k for n in painted.shape) == tuple(shape):
            factor = 2**k
            block = np.asarray(painted[tuple(slice(p.start * factor, p.stop * factor) for p in part)]) != 0
            split = [size for p in part for size in (p.stop - p.start, factor)]
            return np.asarray(block.reshape(split).mean(axis=(1, 3, 5), dtype=np.float32) >= 0.5)
        if tuple(n >> k for n in shape) == painted.shape:
            places = [
                np.minimum(np.arange(p.start, p.stop) >> k, m - 1) for p, m in zip(part, painted.shape, strict=True)
            ]
            if not all(len(place) for place in places):
                return np.zeros([len(place) for place in places], bool)
            block = np.asarray(painted[tuple(slice(int(place[0]), int(place[-1]) + 1) for place in places)]) != 0
            return np.asarray(block[np.ix_(*(place - place[0] for place in places))])
    raise ValueError(
        f"the painted mask has {_size(painted.shape)} voxels, which is no level of a volume whose level has "
        f"{_size(shape)}"
    )


def _size(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
