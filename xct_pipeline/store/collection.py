"""A store as a collection: other readers of OME-Zarr find all its images from its root.

The root says ``bioformats2raw.layout``, and the group ``OME`` beside the images lists them as ``series``.
"""

from __future__ import annotations

from pathlib import Path

from xct_pipeline.store import records
from xct_pipeline.store.export import exportable
from xct_pipeline.store.files import read_attributes, write_group
from xct_pipeline.store.series import Series

GROUP = "OME"
LAYOUT = {"version": "0.5", "bioformats2raw.layout": 3}


def listing_problem(root: Path) -> str | None:
    """Say what is wrong with the list, None where it is as written, or where a version before wrote none."""
    return records.problem(root, root / GROUP / "zarr.json")


def write_collection(root: Path) -> list[str]:
    """List the images that are stored for other readers; return their paths, those of the whole series first."""
    series = Series.open(root)
    paths = [path for path in (*exportable(series).values(), *series.volumes.values()) if not series.derives(path)]
    write_group(root / GROUP, {"ome": {"version": "0.5", "series": paths}})
    records.record(root, root / GROUP / "zarr.json")
    attributes = read_attributes(root)
    write_group(root, {**attributes, "ome": LAYOUT})
    return paths
