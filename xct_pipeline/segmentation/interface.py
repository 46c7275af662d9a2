"""What touches a ceramic's surface: its height in every column, its normal, and the materials found along it.

The anode lies on one side along z (``direction`` +1: towards higher z). In every (y, x) column the surface is where
the ceramic ends on that side. A plane fitted locally gives height and slope; from there materials are looked up at
several offsets along the normal, each column weighted by the surface that it stands for, ``sqrt(1 + slope**2)``.

The heights are one small image of the whole frame, put together from blocks; the samples belong each to one voxel,
hence to one block, so that all sums are those of the whole volume.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import scipy

from xct_pipeline.boxes import Region
from xct_pipeline.compiled import empty, njit, zeros
from xct_pipeline.device import Array, to_host
from xct_pipeline.segmentation.components import WORD, run_ends
from xct_pipeline.segmentation.label import label_range

Partial = dict[str, npt.NDArray[Any]]
Direction = Literal[1, -1]

LABELS = 256  # labels of materials are uint8


def height_halo(depth: int = 3) -> int:
    """Return the voxels that `height_partial` needs around a block along z."""
    return max(depth, 2)


def height_partial(
    labels: Array,
    region: Region,
    core: Region,
    *,
    ceramic: int,
    direction: Direction = 1,
    depth: int = 3,
    attenuation: Array | None = None,
    level: float | None = None,
) -> Partial:
    """Find where the ceramic ends in the columns of a block.

    Parameters
    ----------
    labels : integer array (z, y, x)
        Materials, with a halo of `height_halo` voxels along z, clipped to the volume.
    region : tuple of slice
        The block in the volume, without its halo.
    core : tuple of slice
        The block in `labels`.
    ceramic : int
        Its label.
    direction : {1, -1}
        Side of the anode along z.
    depth : int
        The ceramic is this thick at least; thinner specks are passed over.
    attenuation, level : array (z, y, x) and float, optional
        In 1/cm: the height is where the attenuation crosses the level at the ceramic's last voxel (half-way between
        the two materials is the level to give). Without it, or where it does not cross, it is the face of that voxel.

    Returns
    -------
    dict
        ``origin`` (y, x) and ``height`` (y, x), float64: index along z, NaN for columns without an end in this block.
    """
    if (attenuation is None) != (level is None):
        raise ValueError("a height from attenuation needs both the attenuation and the level")
    solid = to_host(labels) == ceramic
    values = np.zeros((1, 1, 1), np.float32) if attenuation is None else to_host(attenuation)
    if attenuation is not None and values.shape != solid.shape:
        raise ValueError(f"labels of {solid.shape} and attenuation of {values.shape} voxels do not belong together")
    columns = (slice(None), core[1], core[2])
    height = np.full((core[1].stop - core[1].start, core[2].stop - core[2].start), np.nan)
    _find_ends(
        solid[columns],
        values if attenuation is None else values[columns],
        np.nan if level is None else float(level),
        core[0].start,
        core[0].stop,
        int(direction),
        int(depth),
        height,
    )
    height += region[0].start - core[0].start
    return {"origin": np.array([region[1].start, region[2].start]), "height": height}


def combine_heights(
    partials: Sequence[Mapping[str, Any]], frame: Sequence[int], *, direction: Direction = 1
) -> npt.NDArray[np.float64]:
    """Put together the end of the ceramic nearest to the anode in every column of the frame.

    Returns
    -------
    float64 array (y, x), index along z; NaN for columns without ceramic.

    Raises
    ------
    ValueError
        The ceramic ends in no column.
    """
    height = np.full((frame[-2], frame[-1]), np.nan)
    nearest = np.fmax if direction == 1 else np.fmin
    for part in partials:
        (y, x), (ny, nx) = part["origin"], part["height"].shape
        height[y : y + ny, x : x + nx] = nearest(height[y : y + ny, x : x + nx], part["height"])
    if not np.isfinite(height).any():
        raise ValueError("no column of the volume holds the ceramic's label: there is no interface to measure")
    return height


def local_planes(height: npt.ArrayLike, *, smooth: float = 2.0) -> npt.NDArray[np.float64]:
    """Fit a plane to the heights around every column, weighted by a Gaussian.

    A plane, rather than a mean, is right up to the rim of the surface and of the frame, where columns are missing on
    one side.

    Parameters
    ----------
    height : array (y, x)
        Index along z, NaN where there is no ceramic.
    smooth : float
        Standard deviation of the weights, voxels.

    Returns
    -------
    float64 array (3, y, x)
        Height and its slopes along y and x; NaN for columns without ceramic or with too few neighbours.
    """
    values = np.asarray(height, np.float64)
    known = np.isfinite(values)
    if not smooth > 0:
        raise ValueError(f"planes fitted over {smooth} voxels: give a positive standard deviation")
    if not known.any():
        raise ValueError("no column of the volume holds the ceramic's label: there is no interface to measure")
    reach = max(1, int(np.ceil(4 * smooth)))
    t = np.arange(-reach, reach + 1.0)
    kernel = np.exp(-0.5 * (t / smooth) ** 2)
    filled = np.where(known, values - values[known].mean(), 0.0)

    def moment(image: Array, p: int, q: int) -> Array:
        rows = scipy.ndimage.correlate1d(image, kernel * t**p, axis=0, mode="constant")
        return np.asarray(scipy.ndimage.correlate1d(rows, kernel * t**q, axis=1, mode="constant"))

    weight = known.astype(np.float64)
    powers = ((0, 0), (1, 0), (0, 1))
    matrix = np.empty((*values.shape, 3, 3))
    right = np.empty((*values.shape, 3, 1))
    for i, (a, b) in enumerate(powers):
        right[..., i, 0] = moment(filled, a, b)
        for j, (c, d) in enumerate(powers):
            matrix[..., i, j] = moment(weight, a + c, b + d)
    fitted = known & (np.linalg.det(matrix) > 1e-3)
    planes = np.full((3, *values.shape), np.nan)
    planes[:, fitted] = np.linalg.solve(matrix[fitted], right[fitted])[..., 0].T
    planes[0] += values[known].mean()
    return planes


def contact_partial(
    labels: Array,
    region: Region,
    planes: npt.ArrayLike,
    *,
    offsets: Sequence[float] = (1.0, 2.0, 3.0),
    direction: Direction = 1,
    steepest: float = 60.0,
) -> Partial:
    """Look up the materials along the surface's normal that lie in a block.

    Parameters
    ----------
    labels : integer array (z, y, x)
        Materials, 0 to 255, of `region` without a halo.
    region : tuple of slice
        Where the block lies in the volume.
    planes : array (3, y, x)
        From `local_planes`, of the whole frame.
    offsets : sequence of float
        Distances from the surface into the anode, voxels.
    direction : {1, -1}
        Side of the anode along z.
    steepest : float
        Columns with a steeper surface (walls of holes, of which a column sees little) are left out, degrees.

    Returns
    -------
    dict of arrays (offsets, 256)
        ``weight``, area in squared voxel sides, and ``columns``, their number, for every label.
    """
    if not len(offsets) or min(offsets) <= 0:
        raise ValueError(f"offsets {list(offsets)}: give one or more positive distances in voxels")
    block = to_host(labels)
    weight, columns = np.zeros((len(offsets), LABELS)), np.zeros((len(offsets), LABELS), np.int64)
    surface = np.asarray(planes, np.float64)
    origin = np.array([part.start for part in region], np.int64)
    steep = np.tan(np.radians(steepest))
    _look_up(block, origin, surface, np.asarray(offsets, np.float64), float(direction), steep, weight, columns)
    return {"weight": weight, "columns": columns}


def combine_contacts(partials: Sequence[Mapping[str, Any]]) -> Partial:
    """Add what all blocks found."""
    return {key: np.sum([part[key] for part in partials], axis=0) for key in ("weight", "columns")}


def contact_rows(
    merged: Mapping[str, Any],
    names: Mapping[int, str],
    *,
    ceramic: int,
    voxel_size_um: float,
    offsets: Sequence[float] = (1.0, 2.0, 3.0),
) -> list[dict[str, Any]]:
    """Return the rows of a table: one for every offset and material that may touch the ceramic.

    Parameters
    ----------
    merged : mapping
        From `combine_contacts`.
    names : mapping
        Name of each label, the ceramic's included.
    ceramic : int
        Its label.
    voxel_size_um : float
    offsets : sequence of float
        As given to `contact_partial`, voxels.

    Returns
    -------
    list of dict
        ``offset_voxel``, ``offset_um``, ``material``, ``label``, ``contact_fraction`` (of the area that is not ceramic
        again), ``area_um2``, ``columns``, and ``ceramic_fraction``, the share of the whole area where the sample lies
        in the ceramic again (a rough surface, or an offset that is too small).

    Raises
    ------
    ValueError
        The ceramic's label has no name, or nothing lies next to it.
    """
    if ceramic not in names:
        raise ValueError(f"the ceramic's label {ceramic} has no name")
    rows = []
    for k, offset in enumerate(offsets):
        weight = np.asarray(merged["weight"][k])
        total, again = float(weight.sum()), float(weight[ceramic])
        if total - again <= 0:
            raise ValueError(
                f"nothing lies {offset:g} voxels from the surface of {names[ceramic]} inside the volume: "
                "check the direction of the anode and the offsets"
            )
        unnamed = [int(label) for label in np.flatnonzero(weight) if int(label) not in names]
        for label in [*(label for label in sorted(names) if label != ceramic), *unnamed]:
            rows.append(
                {
                    "offset_voxel": float(offset),
                    "offset_um": float(offset) * voxel_size_um,
                    "material": names.get(label, f"label {label}"),
                    "label": label,
                    "contact_fraction": float(weight[label]) / (total - again),
                    "area_um2": float(weight[label]) * voxel_size_um**2,
                    "columns": int(merged["columns"][k, label]),
                    "ceramic_fraction": again / total,
                }
            )
    return rows


def distance_partial(
    objects: Array, region: Region, planes: npt.ArrayLike, *, direction: Direction = 1, deepest: float = np.inf
) -> Partial:
    """Find the distance of objects (voids) in a block from the ceramic's surface.

    Parameters
    ----------
    objects : integer array (z, y, x)
        Numbers in the whole volume, of `region` without a halo.
    region : tuple of slice
        Where the block lies in the volume.
    planes : array (3, y, x)
        From `local_planes`, of the whole frame.
    direction : {1, -1}
        Side of the anode along z.
    deepest : float
        Voxels that lie further behind the surface than this are passed over: the other side, and what lies inside the
        ceramic.

    Returns
    -------
    dict of arrays
        ``label`` and ``distance``, voxels along the local normal from the surface to the nearest face of the object;
        0 where it touches, inf where none of its columns holds ceramic.
    """
    block = np.ascontiguousarray(to_host(objects))
    least, most = label_range(block)
    seen, nearest = np.zeros(max(most - least + 1, 0), np.bool_), np.full(max(most - least + 1, 0), np.inf)
    height, slope_y, slope_x = np.ascontiguousarray(np.asarray(planes, np.float64)[:, region[1], region[2]])
    cosine = 1 / np.sqrt(1 + slope_y**2 + slope_x**2)
    _find_nearest(block, region[0].start, height, cosine, float(direction), float(deepest), least, seen, nearest)
    here = np.flatnonzero(seen)
    return {"label": here + least, "distance": nearest[here]}


def combine_distances(partials: Sequence[Mapping[str, Any]]) -> Partial:
    """Take the smallest distance of each object; ``label`` (increasing) and ``distance``, voxels."""
    label = np.concatenate([np.zeros(0, np.int64), *[part["label"] for part in partials]])
    away = np.concatenate([np.zeros(0), *[part["distance"] for part in partials]])
    known, index = np.unique(label, return_inverse=True)
    nearest = np.full(len(known), np.inf)
    np.minimum.at(nearest, index, away)
    return {"label": known, "distance": nearest}


@njit
def _find_nearest(
    objects: Array,
    start: int,
    height: Array,
    cosine: Array,
    direction: float,
    deepest: float,
    least: int,
    seen: Array,
    nearest: Array,
) -> None:
    nz, ny, nx = objects.shape
    words, ends = zeros(nx // WORD + 1, np.uint64), empty(nx + 1, np.int64)
    for z in range(nz):
        for y in range(ny):
            row, first = objects[z, y], 0
            for e in range(run_ends(row, words, ends)):
                k, last = np.int64(row[first]) - least, ends[e]
                if row[first] <= 0 or nearest[k] == 0.0:  # no object, or one that is as near as can be
                    first = last
                    continue
                there, closest = seen[k], nearest[k]
                for x in range(first, last):
                    above = (z + start - height[y, x]) * direction
                    if not above < -deepest:
                        there = True
                        if np.isfinite(above):
                            closest = min(closest, max((above - 0.5) * cosine[y, x], 0.0))
                seen[k], nearest[k] = there, closest
                first = last


@njit
def _find_ends(
    solid: Array, values: Array, level: float, start: int, stop: int, direction: int, depth: int, height: Array
) -> None:
    nz, ny, nx = solid.shape
    first, beyond = (stop - 1, start - 1) if direction == 1 else (start, stop)
    for z in range(first, beyond, -direction):
        outside = z + direction
        for y in range(ny):
            for x in range(nx):
                if not solid[z, y, x] or not np.isnan(height[y, x]):
                    continue
                if 0 <= outside < nz and solid[outside, y, x]:
                    continue
                thick = 1
                while thick < depth and 0 <= z - direction * thick < nz and solid[z - direction * thick, y, x]:
                    thick += 1
                if thick < depth and 0 <= z - direction * thick < nz:
                    continue
                share = 0.5
                if not np.isnan(level):
                    share = _crossing(values[:, y, x], level, z, direction)
                height[y, x] = z + direction * share


@njit(inner=True)
def _crossing(values: Array, level: float, z: int, direction: int) -> float:
    """Return how far beyond voxel z the values fall below a level: in the next step, else in the one before or after.

    Labels come from denoised values, so the last voxel of the ceramic may be just below the level, or the next above.
    """
    for step in (0, -1, 1):
        inside, outside = z + direction * step, z + direction * (step + 1)
        if 0 <= inside < len(values) and 0 <= outside < len(values):
            inner, outer = values[inside], values[outside]
            if inner >= level > outer:
                return float(step + (inner - level) / (inner - outer))
    return 0.5


@njit
def _look_up(
    labels: Array,
    origin: Array,
    planes: Array,
    offsets: Array,
    direction: float,
    steep: float,
    weight: Array,
    columns: Array,
) -> None:
    nz, ny, nx = labels.shape
    for y in range(planes.shape[1]):
        for x in range(planes.shape[2]):
            slope_y, slope_x = planes[1, y, x], planes[2, y, x]
            if np.isnan(slope_y) or slope_y**2 + slope_x**2 > steep**2:
                continue
            length = np.sqrt(1.0 + slope_y**2 + slope_x**2)
            for k in range(len(offsets)):
                step = offsets[k] * direction / length
                # half-way between two voxels, as over a flat face, the one nearer to the surface on either side
                z = int(direction * np.ceil(direction * (planes[0, y, x] + step) - 0.5)) - origin[0]
                v = int(np.floor(y - step * slope_y + 0.5)) - origin[1]
                u = int(np.floor(x - step * slope_x + 0.5)) - origin[2]
                if 0 <= z < nz and 0 <= v < ny and 0 <= u < nx:
                    weight[k, labels[z, v, u]] += length
                    columns[k, labels[z, v, u]] += 1
