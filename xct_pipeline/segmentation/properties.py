"""Volume, position, extent, mean attenuation and shape of labelled objects, by sums over blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from xct_pipeline.compiled import empty, njit, zeros
from xct_pipeline.device import Array, to_host
from xct_pipeline.segmentation.components import WORD, run_ends
from xct_pipeline.segmentation.label import as_labels, label_range

Partial = dict[str, npt.NDArray[Any]]


def property_partial(labels: Array, region: tuple[slice, ...], values: Array | None = None) -> Partial:
    """Sum the voxels of every object in a block.

    Parameters
    ----------
    labels : integer array (z, y, x)
        Numbers in the whole volume, 0 outside objects; the voxels of `region` without a halo.
    region : tuple of slice
        Where the block lies in the volume.
    values : array (z, y, x), optional
        Attenuation, 1/cm; NaN is left out of the mean. Never a denoised volume.

    Returns
    -------
    dict of arrays, one entry per object that is present
        ``label``, ``voxels``, ``moment`` (n, 3) sums of z, y, x, ``low`` and ``high`` (n, 3) first and last voxel,
        ``sum`` and ``measured`` of the values.
    """
    labels = to_host(labels)
    known = np.zeros((1, 1, 1), np.float32) if values is None else to_host(values)
    if values is not None and known.shape != labels.shape:
        raise ValueError(f"labels of {labels.shape} and values of {known.shape} voxels do not belong together")
    least, most = label_range(labels)
    size = max(most - least + 1, 0)
    voxels, measured, total = np.zeros(size, np.int64), np.zeros(size, np.int64), np.zeros(size)
    moment, high = np.zeros((size, 3), np.int64), np.full((size, 3), -1, np.int64)
    low = np.full((size, 3), np.iinfo(np.int64).max)
    origin = np.array([part.start for part in region], np.int64)
    _add_voxels(as_labels(labels), known, values is not None, least, origin, voxels, moment, low, high, total, measured)
    here = np.flatnonzero(voxels)
    return {
        "label": here + least,
        "voxels": voxels[here],
        "moment": moment[here],
        "low": low[here],
        "high": high[here],
        "sum": total[here],
        "measured": measured[here],
    }


def combine_properties(partials: Sequence[Mapping[str, Any]]) -> Partial:
    """Add the sums of all blocks; the same keys, one entry per object in the volume, by increasing label."""
    parts = {key: np.concatenate([part[key] for part in partials]) for key in partials[0]} if partials else {}
    if not parts or not len(parts["label"]):
        empty = np.zeros((0, 3), np.int64)
        flat = np.zeros(0, np.int64)
        return {
            "label": flat,
            "voxels": flat,
            "moment": empty,
            "low": empty,
            "high": empty,
            "sum": np.zeros(0),
            "measured": flat,
        }
    label, index = np.unique(parts["label"], return_inverse=True)
    result: Partial = {"label": label}
    for key in ("voxels", "moment", "sum", "measured"):
        result[key] = np.zeros((len(label), *parts[key].shape[1:]), parts[key].dtype)
        np.add.at(result[key], index, parts[key])
    result["low"] = np.full((len(label), 3), np.iinfo(np.int64).max)
    result["high"] = np.full((len(label), 3), -1, np.int64)
    np.minimum.at(result["low"], index, parts["low"])
    np.maximum.at(result["high"], index, parts["high"])
    return result


def property_table(
    merged: Mapping[str, Any], *, voxel_size_um: float, frame: Sequence[int], area: Mapping[str, Any] | None = None
) -> dict[str, Array]:
    """Turn sums into the columns of a table.

    Parameters
    ----------
    merged : mapping
        From `combine_properties`.
    voxel_size_um : float
        Side of a voxel.
    frame : sequence of int
        Shape of the volume: objects on its border are cut, and told apart in ``touches_border``.
    area : mapping, optional
        From `surface.combine_areas`.

    Returns
    -------
    dict of arrays, one entry per object
        Positions are centres of voxels, ``index * voxel_size_um``; ``bbox_*_voxel`` are half-open. ``sphericity`` is
        the area of the sphere of equal volume over the object's (1 for a sphere), NaN for objects so small that their
        smoothed surface vanishes and for those cut by the border.
    """
    if not voxel_size_um > 0:
        raise ValueError(f"a voxel size of {voxel_size_um} um makes no volume: give a positive one")
    voxels = merged["voxels"]
    centre = merged["moment"] / np.maximum(voxels, 1)[:, None] * voxel_size_um
    last = np.array(frame, np.int64) - 1
    table: dict[str, Array] = {
        "label": merged["label"],
        "voxels": voxels,
        "volume_um3": voxels * voxel_size_um**3,
        "equivalent_diameter_um": np.cbrt(6 * voxels / np.pi) * voxel_size_um,
    }
    for k, axis in enumerate("zyx"):
        table[f"centroid_{axis}_um"] = centre[:, k]
    for k, axis in enumerate("zyx"):
        table[f"bbox_{axis}_from_voxel"] = merged["low"][:, k]
        table[f"bbox_{axis}_to_voxel"] = merged["high"][:, k] + 1
    table["touches_border"] = ((merged["low"] == 0) | (merged["high"] == last)).any(axis=1)
    measured = merged["measured"]
    if measured.any():
        table["mean_attenuation_per_cm"] = np.where(measured > 0, merged["sum"] / np.maximum(measured, 1), np.nan)
    if area is not None:
        surface = np.zeros(len(voxels))
        index = np.searchsorted(merged["label"], area["label"])
        surface[index] = area["area"]
        whole = (surface > 0) & ~table["touches_border"]
        ball = np.pi ** (1 / 3) * (6.0 * voxels) ** (2 / 3)
        table["surface_area_um2"] = surface * voxel_size_um**2
        table["sphericity"] = np.where(whole, ball / np.where(whole, surface, 1.0), np.nan)
    return table


def with_distance(
    table: Mapping[str, Array], distances: Mapping[str, Any], *, voxel_size_um: float
) -> dict[str, Array]:
    """Add the column ``distance_to_interface_um`` from `interface.combine_distances`; NaN where there is none."""
    away = np.full(len(table["label"]), np.nan)
    place = np.searchsorted(distances["label"], table["label"])
    place = np.minimum(place, max(len(distances["label"]) - 1, 0))
    if len(distances["label"]):
        found = (distances["label"][place] == table["label"]) & np.isfinite(distances["distance"][place])
        away[found] = distances["distance"][place][found] * voxel_size_um
    return {**table, "distance_to_interface_um": away}


def summary(table: Mapping[str, Array], *, smallest_voxels: int = 1) -> dict[str, float]:
    """Return one row about all objects (voids) of a scan.

    Parameters
    ----------
    table : mapping
        From `property_table`, with or without `with_distance`.
    smallest_voxels : int
        Smaller objects, noise for the most part, are left out.

    Returns
    -------
    dict
        ``count``, ``volume_um3`` of all, ``volume_mean_um3``, ``volume_max_um3``, ``diameter_median_um`` and, where
        distances are known, ``distance_mean_um`` (weighted by volume) and ``touching``, the number of objects within
        half a voxel of the interface. NaN where there is no object.
    """
    kept = table["voxels"] >= smallest_voxels
    volume = table["volume_um3"][kept]
    row = {
        "count": float(len(volume)),
        "volume_um3": float(volume.sum()),
        "volume_mean_um3": float(volume.mean()) if len(volume) else np.nan,
        "volume_max_um3": float(volume.max()) if len(volume) else np.nan,
        "diameter_median_um": float(np.median(table["equivalent_diameter_um"][kept])) if len(volume) else np.nan,
    }
    if "distance_to_interface_um" in table:
        away = table["distance_to_interface_um"][kept]
        known = np.isfinite(away)
        half = 0.5 * np.cbrt(volume[known] / table["voxels"][kept][known])
        row["distance_mean_um"] = float(np.average(away[known], weights=volume[known])) if known.any() else np.nan
        row["touching"] = float((away[known] <= half).sum())
    return row


@njit
def _add_voxels(
    labels: Array,
    values: Array,
    measure: bool,
    least: int,
    origin: Array,
    voxels: Array,
    moment: Array,
    low: Array,
    high: Array,
    total: Array,
    measured: Array,
) -> None:
    """Add up the runs of each label in the rows, one after the other."""
    nz, ny, nx = labels.shape
    words, ends = zeros(nx // WORD + 1, np.uint64), empty(nx + 1, np.int64)
    for z in range(nz):
        for y in range(ny):
            row, start = labels[z, y], 0
            for e in range(run_ends(row, words, ends)):
                x = ends[e]
                if row[start] > 0:
                    k, count = np.int64(row[start]) - least, x - start
                    voxels[k] += count
                    moment[k, 0] += count * (z + origin[0])
                    moment[k, 1] += count * (y + origin[1])
                    moment[k, 2] += count * origin[2] + count * (start + x - 1) // 2
                    for axis, first, last in ((0, z, z), (1, y, y), (2, start, x - 1)):
                        low[k, axis] = min(low[k, axis], first + origin[axis])
                        high[k, axis] = max(high[k, axis], last + origin[axis])
                    if measure:
                        _add_values(values[z, y, start:x], k, total, measured)
                start = x


@njit(inline="always")
def _add_values(values: Array, k: np.int64, total: Array, measured: Array) -> None:
    """Add up the values of a run that are finite: four sums side by side, none of which waits for another."""
    a, b, c, d, count, whole = 0.0, 0.0, 0.0, 0.0, 0, len(values) // 4 * 4
    for x in range(0, whole, 4):
        a += np.float64(_or_zero(values[x]))
        b += np.float64(_or_zero(values[x + 1]))
        c += np.float64(_or_zero(values[x + 2]))
        d += np.float64(_or_zero(values[x + 3]))
    for x in range(whole, len(values)):
        a += np.float64(_or_zero(values[x]))
    for x in range(len(values)):
        count += abs(values[x]) < np.float32(np.inf)
    total[k] += (a + b) + (c + d)
    measured[k] += count


@njit(inline="always")
def _or_zero(value: np.float32) -> np.float32:
    return value if abs(value) < np.float32(np.inf) else np.float32(0)
