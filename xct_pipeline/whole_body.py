"""The whole body of a material, from the face of the solid beside it to beyond its other faces.

A body's outline is found from the labels of the reference scan: its largest connected part of those that lie on the
ceramic (a housing of the same grey value may be larger), each column along z filled from end to end, gas and fibres
inside included, and a margin of gas or wall around it, which costs noise and adds no change. On one side lies the
densest material, the ceramic. There the layers next to the face are left out of what is measured: a detector averages
intensities before the logarithm, so that a face of high contrast seems to move when the cell tilts, and a hundredth of
a voxel of it weighs as much as a tenth of a voxel of metal. The layers that follow stand for them, until
`variation.near_face` puts what is known of them in their place: from the sum across both faces of the ceramic, which
stays the same wherever the ceramic is taken to lie.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import scipy

from xct_pipeline.store.stored_array import StoredArray

Planes = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]
Centres = npt.NDArray[np.float64]

VERSION = 4
MOST_VOXELS = 2**27  # of the level that labels are read from
MARGIN = 3  # voxels that the body is grown by, for blur
RIM = 2  # voxels within a ceramic's outline in which its face is not looked for
NEAR = 3  # layers next to the ceramic that those after them stand for
RINGS = 2  # layers more in which a face rings, by a thousandth of its step, where a scan is resampled
CORNERS = 0.1  # by which share the ellipse about a ceramic exceeds it, from which on the ceramic has corners
FEW = 0.02  # of the columns of a face, which may lie further within the ceramic than its end
AWAY = 2  # voxels of the level from a ceramic's last one, where what lies beside it is looked up
SMOOTH = 5  # pixels that heights of faces are smoothed over, by their median
LEAST_CONTACT = 0.3  # of the widest contact of a part with the ceramic, from which on a part lies on it as well
LEAST_HEIGHT = 0.25  # of the body's median height, below which a column does not belong to it


@dataclass(frozen=True)
class WholeBody:
    """Which planes of each column belong to a body, half-open, on a level of the pyramid.

    Attributes
    ----------
    first, stop : numpy.ndarray
        (y, x), planes of the full-size volume; equal where a column has none.
    level : int
        Of (y, x).
    near : int
        Layers of the full-size volume between the ceramic's face and what is measured; 0 without ceramic.
    upward : bool
        The ceramic is below: at smaller z.
    planes : int
        Of the full-size volume.
    faces : tuple of SolidFace
        Of the ceramic: that beside the body, and the opposite one where it is in view; empty without ceramic.
    """

    first: Planes
    stop: Planes
    level: int
    near: int
    upward: bool
    planes: int
    faces: tuple[SolidFace, ...] = ()

    def weights(self, z: Centres, y: Centres, x: Centres) -> npt.NDArray[np.uint8]:
        """Return for how many layers voxels stand, whose centres along z, y and x are those of full-size voxels.

        0 outside; 2 in the `near` layers next to those that are left out at the ceramic; 1 in all others.
        """
        first, stop, height = *self._ends(y, x), z[:, None, None]
        past = height - first if self.upward else stop - height
        inside = (height >= first) & (height < stop)
        return inside.astype(np.uint8) << (past < self.near).astype(np.uint8)

    def _ends(self, y: Centres, x: Centres) -> tuple[Centres, Centres]:
        """Return the outer edges of the first and of the last voxel of columns."""
        pixels = ((c + 0.5).astype(np.int64) >> self.level for c in (y, x))
        at = np.ix_(*(np.minimum(p, n - 1) for p, n in zip(pixels, self.first.shape, strict=True)))
        return np.asarray(self.first[at] - 0.5, np.float64), np.asarray(self.stop[at] - 0.5, np.float64)

    def bounds(self) -> tuple[slice, slice, slice]:
        """Return the box of the full-size volume that holds the body."""
        there = self.stop > self.first
        edge = 1 << self.level
        y, x = (np.flatnonzero(there.any(axis=axis)) for axis in (1, 0))
        return (
            slice(int(self.first[there].min()), int(self.stop[there].max())),
            slice(int(y[0]) * edge, (int(y[-1]) + 1) * edge),
            slice(int(x[0]) * edge, (int(x[-1]) + 1) * edge),
        )

    def layers(self, z: Centres, y: Centres, x: Centres) -> npt.NDArray[np.int64]:
        """Return how many full-size layers voxels lie from the body's near end; negative before it."""
        first, stop, height = *self._ends(y, x), z[:, None, None]
        return np.floor(height - first if self.upward else stop - height).astype(np.int64)

    def grown(self, margin: int) -> WholeBody:
        """Return the body grown by some voxels across and away from the ceramic (without one, at both ends)."""
        there = self.stop > self.first
        wide = scipy.ndimage.binary_dilation(there, _disc(math.ceil(margin / (1 << self.level))))
        first, stop = (_filled(np.where(there, values, np.nan)) for values in (self.first, self.stop))
        both = self.near == 0
        first = first - margin * (both or not self.upward)
        stop = stop + margin * (both or self.upward)
        return _bounded(wide, first, stop, replace(self, near=0))


@dataclass(frozen=True)
class SolidFace:
    """A face of the ceramic.

    Attributes
    ----------
    zone : WholeBody
        Layers on both sides of it, over the whole face.
    heights : numpy.ndarray
        (y, x) of the level, planes of the full-size volume at which it lies; NaN off the face and near its rim.
    beside : numpy.ndarray
        (y, x) of the level, label of what lies beside it.
    dense_below : bool
        The ceramic is at smaller z.
    around : WholeBody
        All that is seen of the face: the same layers and some more of what does not change, as a face rings where a
        scan is resampled. Where the ceramic has corners, over the ellipse that encloses them, as what averaging
        intensities takes at its sides is found beyond them.
    """

    zone: WholeBody
    heights: Centres
    beside: npt.NDArray[np.integer]
    dense_below: bool
    around: WholeBody


def body_of(folder: str, time: int, values: Sequence[int], solid: int, frame: Sequence[int]) -> WholeBody:
    """Return the whole body of some labels.

    Parameters
    ----------
    folder : str
        The image of the labels (t, z, y, x), one folder per level.
    time : int
        Plane of the reference scan along t.
    values : sequence of int
        Labels of the body.
    solid : int
        Label of the ceramic.
    frame : (z, y, x)
        Voxels of the full-size volume.

    Raises
    ------
    ValueError
        No voxel carries one of the labels.
    """
    level = 0
    while math.prod(n >> level for n in frame) > MOST_VOXELS and (Path(folder) / str(level + 1)).is_dir():
        level += 1
    changed = (Path(folder) / str(level) / "zarr.json").stat().st_mtime_ns
    return _body(folder, time, tuple(values), solid, tuple(frame), level, changed)


@functools.lru_cache(maxsize=4)
def _body(
    folder: str, time: int, values: tuple[int, ...], solid: int, frame: tuple[int, ...], level: int, changed: int
) -> WholeBody:
    del changed  # labels that are written anew are other labels
    return find_body(np.asarray(StoredArray(f"{folder}/{level}")[time]), values, solid, frame, level)


def find_body(
    labels: npt.NDArray[np.integer], values: Sequence[int], solid: int, frame: Sequence[int], level: int = 0
) -> WholeBody:
    """Return the whole body of some labels (z, y, x) of a level; see `body_of`."""
    beside = _beside(labels == solid, math.ceil(MARGIN / (1 << level)))
    body = _largest(np.isin(labels, values), beside)
    height = body.sum(axis=0)
    if not height.any():
        raise ValueError("no voxel of the reference scan carries its label")
    lies = (body & beside).any(axis=0)  # a housing that it touches may be far higher
    usual = float(np.median(height[lies if lies.any() else height > 0]))
    across = scipy.ndimage.binary_fill_holes(height >= max(1, LEAST_HEIGHT * usual))
    low, high = _ends(body, across)
    dense = (labels == solid) & across & ~np.isin(labels, values)
    edge = 1 << level
    margin = math.ceil(MARGIN / edge)
    wide = scipy.ndimage.binary_dilation(across, _disc(margin))
    upward = not dense.any() or float(np.nonzero(dense)[0].mean()) < float(np.nonzero(body)[0].mean())
    near = NEAR * edge if dense.any() else 0
    below, above = _ends(dense, across)
    widest = 2 * SMOOTH - 1
    if upward:
        first = (above + 1) * edge + near if near else (low - margin) * edge
        stop = (scipy.ndimage.grey_dilation(high, widest) + 1 + margin) * edge
    else:
        first = (scipy.ndimage.grey_erosion(low, widest) - margin) * edge
        stop = below * edge - near
    none = np.zeros(across.shape, np.int32)
    found = _bounded(wide, first, stop, WholeBody(none, none, level, near, upward, frame[0]))
    return replace(found, faces=_solid_faces(labels, solid, found)) if near else found


def _solid_faces(labels: npt.NDArray[np.integer], solid: int, body: WholeBody) -> tuple[SolidFace, ...]:
    """Return the face of the ceramic beside a body, and the opposite one where there is something beyond it."""
    edge, near, there = 1 << body.level, body.near, body.stop > body.first
    dense = _largest(labels == solid)
    thick = dense.sum(axis=0)
    outline = scipy.ndimage.binary_fill_holes(thick >= max(1, LEAST_HEIGHT * float(np.median(thick[thick > 0]))))
    low, high = _ends(dense, outline)
    inner = scipy.ndimage.binary_erosion(outline, _disc(math.ceil(RIM / edge)))
    margin, whole = _disc(math.ceil(MARGIN / edge)), enclosing(outline)
    wide, seen = (scipy.ndimage.binary_dilation(mask, margin) for mask in (outline, whole))
    corners = int(whole.sum()) > (1 + CORNERS) * int(outline.sum())
    below, above = low * edge - 0.5, (high + 1) * edge - 0.5
    lower, upper = below + 0.5 - near, above + 0.5 - near  # where `near` layers of either side begin
    thickness, bare = float(np.median((high - low + 1)[outline])) * edge, replace(body, near=0)
    rings = max(min(RINGS * edge, math.floor((thickness - 2 * near) / 4)), 0)  # half of what lies between stays

    def even(ends: Centres, most: float) -> Centres:
        """Return the ends within the ceramic as one plane, so that what lies between has as much of all sides."""
        plane, middle = np.quantile(ends[inner], (most, 0.5)) if inner.any() else (np.inf, 0.0)
        return np.full_like(ends, plane) if abs(plane - middle) <= (thickness - 2 * near) / 8 else ends

    def face(dense_below: bool, first: Centres, stop: Centres, follows: Mask | None = None) -> SolidFace:
        height, away = (above, high + AWAY) if dense_below else (below, low - AWAY)
        heights, labels_there = np.where(inner, height, np.nan), _beyond(labels, away)
        own, all_seen = (m if follows is None else m | follows for m in (wide, seen if corners else wide))
        more = 0 if follows is None else np.where(follows, 0, rings)  # where the body's layers follow there are all
        ends = (even(first - rings, FEW), stop + more) if dense_below else (first - more, even(stop + rings, 1 - FEW))
        zones = _bounded(own, first, stop, bare), _bounded(all_seen, *ends, bare)
        return SolidFace(zones[0], heights, labels_there, dense_below, zones[1])

    if body.upward:
        start = np.where(there, body.first - 2.0 * near, upper)
        beside = face(True, start, start + 2 * near, there)
        opposite, room = face(False, lower - near, lower + 2 * near), float(np.median(low[outline])) * edge
    else:
        start = np.where(there, body.stop, lower)
        beside = face(False, start, start + 2 * near, there)
        room = body.planes - (float(np.median(high[outline])) + 1) * edge
        opposite = face(True, upper, upper + 3 * near)
    both = room >= 3 * near and thickness >= 4 * near
    return (beside, opposite) if both else (beside,)


def between(one: WholeBody, other: WholeBody) -> WholeBody:
    """Return what lies between two bodies, in columns that both have."""
    both = (one.stop > one.first) & (other.stop > other.first)
    return _bounded(both, np.minimum(one.stop, other.stop) + 0.0, np.maximum(one.first, other.first) + 0.0, one)


def enclosing(outline: Mask) -> Mask:
    """Return the ellipse with the axes of an outline (y, x) that holds all of it, within the circle of the image."""
    y, x = (i - (n - 1) / 2 for i, n in zip(np.indices(outline.shape), outline.shape, strict=True))
    seen = np.hypot(y, x) <= (min(outline.shape) - 1) / 2
    y, x = (values - values[outline].mean() for values in (y, x))
    spread = np.cov(y[outline], x[outline]) + np.eye(2) / 12  # of a pixel itself, so that a line has two axes
    (yy, yx), (_, xx) = np.linalg.inv(spread)
    far = yy * y * y + 2 * yx * y * x + xx * x * x
    return np.asarray(outline | ((far <= far[outline].max()) & seen))


def _beyond(labels: npt.NDArray[np.integer], planes: Centres) -> npt.NDArray[np.integer]:
    """Return the label of each column on a plane of its own."""
    at = np.clip(np.rint(planes), 0, len(labels) - 1).astype(np.int64)
    return np.asarray(np.take_along_axis(labels, at[None], axis=0)[0])


def _bounded(wide: Mask, first: Centres, stop: Centres, like: WholeBody) -> WholeBody:
    """Return a body whose columns end within the volume."""
    first, stop = (np.clip(np.rint(values), 0, like.planes) for values in (first, stop))
    used = wide & (stop > first)
    ends = [np.where(used, values, 0).astype(np.int32) for values in (first, stop)]
    return replace(like, first=ends[0], stop=ends[1])


def _largest(mask: Mask, beside: Mask | None = None) -> Mask:
    """Return the largest connected part of what is left once single voxels and skins are taken away.

    Only parts that reach to what is `beside` the ceramic are looked at, if there are any.
    """
    kept = scipy.ndimage.binary_opening(mask, scipy.ndimage.generate_binary_structure(3, 1))
    parts, number = scipy.ndimage.label(kept if kept.any() else mask)
    if number < 2:
        return np.asarray(parts > 0)
    size = np.bincount(parts.ravel(), minlength=number + 1)[1:]
    if beside is not None:
        contact = _contact(parts, number, beside)
        size = np.where(contact >= LEAST_CONTACT * contact.max(), size, 0)
    return np.asarray(parts == 1 + int(np.argmax(size)))


def _beside(solid: Mask, reach: int) -> Mask:
    """Return the ceramic and what lies within `reach` voxels of it along z."""
    return np.asarray(scipy.ndimage.binary_dilation(solid, np.ones((2 * reach + 1, 1, 1), bool)))


def _contact(parts: npt.NDArray[np.int32], number: int, beside: Mask) -> npt.NDArray[np.int64]:
    """Return in how many columns along z each part reaches to what is beside it."""
    columns = parts.shape[1] * parts.shape[2]
    _, y, x = np.nonzero(beside & (parts > 0))
    touching = parts[beside & (parts > 0)].astype(np.int64) * columns + y * parts.shape[2] + x
    return np.asarray(np.bincount(np.unique(touching) // columns, minlength=number + 1)[1:])


def _ends(mask: Mask, across: Mask) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the lowest and the highest plane of each column, smoothed, and continued to columns that have none."""
    there = mask.any(axis=0) & across
    low = np.where(there, mask.argmax(axis=0), np.nan)
    high = np.where(there, len(mask) - 1 - mask[::-1].argmax(axis=0), np.nan)
    if not there.any():
        return np.zeros(there.shape), np.zeros(there.shape)
    smooth = [scipy.ndimage.median_filter(_filled(values), SMOOTH, mode="nearest") for values in (low, high)]
    return smooth[0], smooth[1]


def _filled(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return a map with the value of the nearest known pixel where it is NaN."""
    _, nearest = scipy.ndimage.distance_transform_edt(np.isnan(values), return_indices=True)
    return np.asarray(values[tuple(nearest)])


def _disc(radius: int) -> Mask:
    offset = np.arange(-radius, radius + 1)
    return np.asarray(offset[:, None] ** 2 + offset[None] ** 2 <= radius**2)
