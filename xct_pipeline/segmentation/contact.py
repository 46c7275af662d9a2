"""Which materials touch the surface of another, wherever it lies: fibres, walls and grains that no height describes.

Along the 26 directions to the neighbours of a voxel a surface is crossed where the material ends. The number of
crossings per direction gives the area (Cauchy and Crofton; weights of the directions after Lang et al., J. Microsc.
203 (2001) 303), and what lies some voxels further on along the same direction is what touches it: the first voxel
beyond a surface is often a mixture, whose label is neither of the two. A flat face along the axes comes out 7 % too
small, a sphere within 2 %; shares of a surface do not depend on that where its parts have the same slopes.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from xct_pipeline.compiled import njit
from xct_pipeline.device import Array, to_host
from xct_pipeline.segmentation.interface import LABELS

DIRECTIONS = np.array([d for d in itertools.product((-1, 0, 1), repeat=3) if any(d)], np.int64)
LENGTHS = np.sqrt((DIRECTIONS**2).sum(axis=1))
# solid angle of each direction, for those along an axis, a diagonal of a face, a diagonal of the cube
_SHARES = np.array([0.04577789120476, 0.03698062787608, 0.03519563978232])
AREAS = 4 * _SHARES[np.abs(DIRECTIONS).sum(axis=1) - 1] / LENGTHS
"""Area that a crossing stands for, squared voxel sides."""


def touching_halo(offsets: Sequence[float]) -> int:
    """Return the voxels that `touching_partial` needs around a block."""
    return max(1, round(max(offsets)))


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
        Distances from the surface, voxels; rounded to whole steps of each direction, one at least.

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
    steps = np.maximum(1, np.rint(np.asarray(offsets, np.float64)[:, None] / LENGTHS)).astype(np.int64)
    bounds = np.array([(part.start, part.stop) for part in core], np.int64)
    counts = np.zeros((len(partners), len(offsets), len(DIRECTIONS), LABELS), np.int64)
    _count(np.ascontiguousarray(to_host(labels)), bounds, which, DIRECTIONS, steps, counts)
    return {"area": np.einsum("podl,d->pol", counts, AREAS)}


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
def _count(labels: Array, bounds: Array, which: Array, directions: Array, steps: Array, counts: Array) -> None:
    nz, ny, nx = labels.shape
    for z in range(bounds[0, 0], bounds[0, 1]):
        for y in range(bounds[1, 0], bounds[1, 1]):
            for x in range(bounds[2, 0], bounds[2, 1]):
                own = labels[z, y, x]
                p = which[own]
                if p < 0:
                    continue
                for d in range(len(directions)):
                    dz, dy, dx = directions[d, 0], directions[d, 1], directions[d, 2]
                    if not (0 <= z + dz < nz and 0 <= y + dy < ny and 0 <= x + dx < nx):
                        continue
                    beyond = labels[z + dz, y + dy, x + dx]
                    if beyond == own or beyond == 0:
                        continue
                    for k in range(len(steps)):
                        a, b, c = z + dz * steps[k, d], y + dy * steps[k, d], x + dx * steps[k, d]
                        if 0 <= a < nz and 0 <= b < ny and 0 <= c < nx and labels[a, b, c] != 0:
                            counts[p, k, d, labels[a, b, c]] += 1
