"""Rows of tables from what was summed over the blocks of each scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xct_pipeline.segmentation.interface import contact_rows
from xct_pipeline.segmentation.properties import property_table, summary, with_distance

if TYPE_CHECKING:
    import pandas as pd


def label_rows(
    scan: str, sums: Mapping[str, Any], areas: Mapping[str, Any], names: Mapping[int, str], voxel_um: float | None
) -> list[dict[str, Any]]:
    """Return one row for each material of a scan, those that are absent included."""
    size = np.nan if voxel_um is None else voxel_um
    rows = []
    for label, name in names.items():
        here = np.flatnonzero(sums["label"] == label)
        voxels = int(sums["voxels"][here].sum())
        measured = int(sums["measured"][here].sum())
        area = float(areas["area"][areas["label"] == label].sum())
        rows.append(
            {
                "scan": scan,
                "label": label,
                "name": name,
                "voxels": voxels,
                "volume_mm3": voxels * (size * 1e-3) ** 3,
                "mean_attenuation": float(sums["sum"][here].sum()) / measured if measured else np.nan,
                "surface_area_mm2": area * (size * 1e-3) ** 2,
            }
        )
    return rows


def object_columns(
    sums: Mapping[str, Any],
    areas: Mapping[str, Any],
    distances: Mapping[str, Any] | None,
    frame: Sequence[int],
    voxel_um: float | None,
) -> dict[str, Any]:
    """Return the properties of the objects of one material and scan; lengths are NaN without a voxel size."""
    size = voxel_um or 1.0
    table = property_table(sums, voxel_size_um=size, frame=frame, area=areas)
    if distances is not None:
        table = with_distance(table, distances, voxel_size_um=size)
    if voxel_um is None:
        table = {key: np.full(len(v), np.nan) if key.endswith(("um", "um2", "um3")) else v for key, v in table.items()}
    return table


def object_frame(scan: str, label: int, name: str, columns: Mapping[str, Any]) -> pd.DataFrame:
    """Return one row for each object."""
    import pandas as pd

    rest = {key: value for key, value in columns.items() if key != "label"}
    count = len(columns["label"])
    first = {"scan": [scan] * count, "label": [label] * count, "material": [name] * count, "object": columns["label"]}
    return pd.DataFrame({**first, **rest})


def void_row(scan: str, label: int, name: str, columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return one row about all objects of a material that the border of the volume does not cut."""
    closed = ~np.asarray(columns["touches_border"], bool)
    row = summary({key: np.asarray(value)[closed] for key, value in columns.items()})
    return {"scan": scan, "label": label, "material": name, **row}


def interface_rows(
    scan: str,
    merged: Mapping[str, Any],
    names: Mapping[int, str],
    ceramic: int,
    offsets: Sequence[float],
    voxel_um: float | None,
) -> list[dict[str, Any]]:
    """Return one row for each offset and material that may touch the ceramic."""
    size = np.nan if voxel_um is None else voxel_um
    rows = contact_rows(merged, names, ceramic=ceramic, voxel_size_um=size, offsets=offsets)
    return [
        {
            "scan": scan,
            "material": row["material"],
            "offset_voxels": row["offset_voxel"],
            "fraction": row["contact_fraction"],
            "label": row["label"],
            "offset_um": row["offset_um"],
            "area_um2": row["area_um2"],
            "columns": row["columns"],
            "ceramic_fraction": row["ceramic_fraction"],
        }
        for row in rows
    ]


def thickness_rows(
    scan: str,
    counts: np.ndarray[Any, Any],
    labels: Sequence[int],
    names: Mapping[int, str],
    largest: float,
    voxel_um: float | None,
) -> list[dict[str, Any]]:
    """Return one row for each material and bin of local thickness; the last bin also holds what is thicker."""
    size = np.nan if voxel_um is None else voxel_um
    width = largest / counts.shape[1]
    return [
        {
            "scan": scan,
            "label": label,
            "name": names[label],
            "thickness_um": (k + 0.5) * width * size,
            "voxels": int(counts[row, k]),
        }
        for row, label in enumerate(labels)
        for k in range(counts.shape[1])
    ]
