"""Which materials touch the surface of another, wherever it lies: fibres, walls and grains that no height describes.

A surface is crossed where the material ends, along the axes. Seen along an axis a face shows its area times the cosine
of its slope, so that each crossing counts with that cosine: summed over the three axes every slope gives its area,
flat faces without error, others and spheres within 2 %. The normal is the gradient of the material in a small
window around the crossing (Rogers, Proc. 1st Vis. Biomed. Comput., 1990: gradients of segmented volumes), by pairs
of voxels that lie opposite each other, so that one outside the volume takes nothing but its partner away. What lies
some voxels further on along the normal is what touches: the first voxel beyond a surface is often a mixture, whose
label is neither of the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from xct_pipeline.compiled import empty, njit, zeros
from xct_pipeline.device import Array, to_host
from xct_pipeline.segmentation.interface import LABELS

AXES = np.array([(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)], np.int64)
RADIUS, FURTHEST, WIDTH = 3, 3.36, 1.5
"""Of the window of the normal: its half side, its radius, and the standard deviation of its weights, voxels."""
MEAN_COSINE = 2 / 3
"""Area of a crossing whose normal is not known: the mean over all slopes of what crossings along three axes share."""


def touching_halo(offsets: Sequence[float]) -> int:
    """Return the voxels that `touching_partial` needs around a block."""
    return max(RADIUS + 1, round(max(offsets)))


def touching_partial(
    labels: Array, core: tuple[slice, ...], partners: Sequence[int], *, offsets: Sequence[float] = (1.0, 2.0, 3.0)
) -> dict[str, npt.NDArray[np.float64]]:
    """Sum the surface of materials in a block by what lies beyond it.

    Parameters
    ----------
    labels : integer array (z, y, x)
        Materials, 1 to 255 (0 is outside), with a halo of `touching_halo` voxels, clipped to the volume.
    core : tuple of slice
        The block in `labels`.
    partners : sequence of int
        Labels of the materials whose surface is looked at.
    offsets : sequence of float
        Distances from the last voxel of the material along the normal, voxels; one at least.

    Returns
    -------
    dict
        ``area`` (partners, offsets, 256), squared voxel sides, by the label that lies there; surfaces next to the
        outside are left out.
    """
    if not len(offsets) or min(offsets) <= 0:
        raise ValueError(f"offsets {list(offsets)}: give one or more positive distances in voxels")
    which = np.full(LABELS, -1, np.int64)
    which[list(partners)] = np.arange(len(partners))
    bounds = np.array([(part.start, part.stop) for part in core], np.int64)
    reach = np.maximum(np.asarray(offsets, np.float64), 1.0)
    area = np.zeros((len(partners), len(offsets), LABELS))
    _add_up(np.ascontiguousarray(to_host(labels)), bounds, which, AXES, _weights(), reach, area)
    return {"area": area}


def _weights() -> npt.NDArray[np.float64]:
    """Return weights by squared distance from the middle of a face, in quarters of a squared voxel."""
    squared = np.arange((2 * RADIUS + 1) ** 2 + 8 * RADIUS**2 + 1) / 4
    return np.where(squared <= FURTHEST**2, np.exp(-0.5 * squared / WIDTH**2), 0.0)


def combine_touching(partials: Sequence[Mapping[str, Any]]) -> dict[str, npt.NDArray[np.float64]]:
    """Add what all blocks found."""
    return {"area": np.sum([part["area"] for part in partials], axis=0)}


def touching_rows(
    merged: Mapping[str, Any],
    names: Mapping[int, str],
    partners: Sequence[int],
    *,
    voxel_size_um: float,
    offsets: Sequence[float] = (1.0, 2.0, 3.0),
) -> list[dict[str, Any]]:
    """Return the rows of a table: one for every partner, offset and material that may touch it.

    Parameters
    ----------
    merged : mapping
        From `combine_touching`.
    names : mapping
        Name of each label.
    partners, offsets : sequence
        As given to `touching_partial`.
    voxel_size_um : float

    Returns
    -------
    list of dict
        ``material``, ``partner``, ``offset_voxels``, ``fraction`` (of the partner's surface beyond which the partner
        does not lie again; NaN where it has none), ``label``, ``area_um2``.
    """
    rows = []
    for p, partner in enumerate(partners):
        for k, offset in enumerate(offsets):
            area = np.asarray(merged["area"][p][k])
            total = float(area.sum() - area[partner])
            for label, name in sorted(names.items()):
                if label != partner:
                    fraction = float(area[label]) / total if total > 0 else np.nan
                    rows.append(
                        {
                            "material": name,
                            "partner": names[partner],
                            "offset_voxels": float(offset),
                            "fraction": fraction,
                            "label": label,
                            "area_um2": float(area[label]) * voxel_size_um**2,
                        }
                    )
    return rows


@njit
def _add_up(labels: Array, bounds: Array, which: Array, axes: Array, weights: Array, reach: Array, area: Array) -> None:
    nz, ny, nx = labels.shape
    normal = zeros(3, np.float64)
    for z in range(bounds[0, 0], bounds[0, 1]):
        for y in range(bounds[1, 0], bounds[1, 1]):
            for x in range(bounds[2, 0], bounds[2, 1]):
                own = labels[z, y, x]
                p = which[own]
                if p < 0:
                    continue
                for d in range(len(axes)):
                    dz, dy, dx = axes[d, 0], axes[d, 1], axes[d, 2]
                    if not (0 <= z + dz < nz and 0 <= y + dy < ny and 0 <= x + dx < nx):
                        continue
                    beyond = labels[z + dz, y + dy, x + dx]
                    if beyond == own or beyond == 0:
                        continue
                    cosine = _normal(labels, z, y, x, axes[d], weights, normal)
                    for k in range(len(reach)):
                        a = z + int(np.rint(reach[k] * normal[0]))
                        b = y + int(np.rint(reach[k] * normal[1]))
                        c = x + int(np.rint(reach[k] * normal[2]))
                        if 0 <= a < nz and 0 <= b < ny and 0 <= c < nx and labels[a, b, c] != 0:
                            area[p, k, labels[a, b, c]] += cosine


@njit(inner=True)
def _normal(labels: Array, z: int, y: int, x: int, axis: Array, weights: Array, normal: Array) -> float:
    """Set the normal of the face of a voxel, and return its cosine to the face's axis."""
    nz, ny, nx = labels.shape
    own = labels[z, y, x]
    along = 0 if axis[0] != 0 else 1 if axis[1] != 0 else 2
    first, second = (along + 1) % 3, (along + 2) % 3
    step = axis[along]
    at, one, other = empty(3, np.int64), empty(3, np.int64), empty(3, np.int64)
    at[0], at[1], at[2] = z, y, x
    for k in range(3):
        normal[k], one[k], other[k] = 0.0, at[k], at[k]
    for j in range(RADIUS + 1):  # pairs opposite each other about the middle of the face
        one[along], other[along] = at[along] - j * step, at[along] + (j + 1) * step
        for u in range(-RADIUS, RADIUS + 1):
            one[first], other[first] = at[first] + u, at[first] - u
            for v in range(-RADIUS, RADIUS + 1):
                one[second], other[second] = at[second] + v, at[second] - v
                if not (0 <= one[0] < nz and 0 <= one[1] < ny and 0 <= one[2] < nx):
                    continue
                if not (0 <= other[0] < nz and 0 <= other[1] < ny and 0 <= other[2] < nx):
                    continue
                here, there = labels[one[0], one[1], one[2]], labels[other[0], other[1], other[2]]
                if here == 0 or there == 0 or (here == own) == (there == own):
                    continue
                weight = weights[(2 * j + 1) ** 2 + 4 * (u * u + v * v)]
                weight = weight if here == own else -weight
                normal[along] += weight * (j + 0.5) * step
                normal[first] -= weight * u
                normal[second] -= weight * v
    size = np.sqrt(normal[0] * normal[0] + normal[1] * normal[1] + normal[2] * normal[2])
    if size < 1e-9 or normal[along] * step <= 0:
        for k in range(3):
            normal[k] = axis[k]
        return MEAN_COSINE
    for k in range(3):
        normal[k] /= size
    return float(normal[along] * step)
