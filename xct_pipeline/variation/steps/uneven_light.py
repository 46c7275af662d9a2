"""Rings of light that no longer fits the flats, for each pair of scans, from the air that their sinograms show."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xct_pipeline.engine.blocks import Array
from xct_pipeline.engine.execution import load_kept
from xct_pipeline.store import layout
from xct_pipeline.store.store import Store
from xct_pipeline.variation.ring_arcs import Frame
from xct_pipeline.variation.rings import Rings
from xct_pipeline.variation.steps.rings import distance, frames_of_pair
from xct_pipeline.variation.steps.series import KINDS, RegisteredSeries, pairs_of
from xct_pipeline.variation.uneven_light import uneven_light

NEAR = 1.5  # voxels between two axes, up to which what both scans are off by cancels in their difference

Pair = tuple[int, int]
Edges = tuple[Array, Array]


def uneven_of_series(
    series: RegisteredSeries, store: Store, frames: Sequence[Frame | None], planes: range
) -> dict[Pair, list[tuple[int, Rings]]]:
    """Return the rings of each pair of scans whose air shows them, each with the number of its axis in the pair.

    Nothing of volumes, of scans without air at an edge, and where no axis is known.

    Parameters
    ----------
    frames : sequence of Frame or None
        Where the rings of each scan lie.
    planes : range
        Of the region, in the middle of which axes are compared.
    """
    if not any(series.row_sums) or not any(frames):
        return {}
    plane = (planes.start + planes.stop - 1) / 2
    air = {k: edges for k in series.good if (edges := _air(series, store, k)) is not None}
    found: dict[Pair, list[tuple[int, Rings]]] = {}
    for pair in sorted({p for kind in KINDS for p in pairs_of(series, kind) if p[0] != p[1]}):
        axes = frames_of_pair(frames, pair, plane)
        if axes and all(k in air for k in pair):
            rings = _of_pair(series, pair, (air[pair[0]], air[pair[1]]), axes, plane)
            found |= {pair: rings} if rings else {}
    return found


def _air(series: RegisteredSeries, store: Store, scan: int) -> Edges | None:
    """Return the mean line integrals (row, column) in the air at both edges of a scan."""
    digest = series.row_sums[scan] if scan < len(series.row_sums) else None
    kept = None if digest is None else load_kept(store, f"{series.names[scan]}/row_sums", digest)
    if kept is None or not (store.path / layout.TABLE(table="reconstruction")).exists():
        return None
    table = store.read_table("reconstruction").set_index("scan")
    left, right = (table[f"margin_{side}"].get(series.names[scan], np.nan) for side in ("left", "right"))
    if not left + right > 0 or left + right != kept["air"].shape[1]:
        return None
    return kept["air"][:, : int(left)], kept["air"][:, int(left) :]


def _of_pair(
    series: RegisteredSeries, pair: Pair, air: tuple[Edges, Edges], axes: Sequence[Frame], plane: float
) -> list[tuple[int, Rings]]:
    together = len(axes) == 1 or distance(axes[0], axes[1], plane) <= NEAR
    of_axes = {len(axes) - 1: _difference(*air, _rows_apart(series, pair, plane))} if together else dict(enumerate(air))
    found = []
    for axis, edges in of_axes.items():
        seen = uneven_light(*edges)
        if seen is not None:
            voxel_cm = (series.volume.voxel_um or 1.0) * 1e-4
            m = axes[axis].matrix[1:]
            place = np.column_stack([m[:, 1:3], m[:, 0] * plane + m[:, 3]])
            variance = tuple(value / voxel_cm**2 for value in seen.variance)
            found.append((axis, Rings(variance, tuple(place.ravel().tolist()), axes[axis].half, seen.lengths)))
    return found


def _rows_apart(series: RegisteredSeries, pair: Pair, plane: float) -> int:
    """Return by how many rows the moving scan shows the same plane further down than the fixed one."""
    middle = [plane, *((n - 1) / 2 for n in series.frame[1:]), 1.0]
    moving, fixed = (float(series.motions[k].transform[0] @ middle) for k in pair)
    return round(moving - fixed)


def _difference(moving: Edges, fixed: Edges, rows: int) -> Edges:
    """Return what two scans differ by in the air that both have, in the rows that show the same."""
    first_here, first_there = max(-rows, 0), max(rows, 0)
    count = max(min(len(fixed[0]) - first_here, len(moving[0]) - first_there), 0)
    here, there = slice(first_here, first_here + count), slice(first_there, first_there + count)
    left, right = (min(a.shape[1], b.shape[1]) for a, b in zip(moving, fixed, strict=True))
    return (
        moving[0][there, :left] - fixed[0][here, :left],
        moving[1][there, moving[1].shape[1] - right :] - fixed[1][here, fixed[1].shape[1] - right :],
    )
