"""What the report takes from a store: tables, attributes, and images at a size that fits a page.

Images are read at a pyramid level, plane by plane or slab by slab, so that memory does not grow with the volume.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from xct_pipeline.store.files import StoreError, read_attributes
from xct_pipeline.store.image import CHUNK, SPATIAL
from xct_pipeline.store.store import Store
from xct_pipeline.store.stored_array import StoredArray

Array = npt.NDArray[Any]

SLAB_BYTES = 64 * 2**20
LOG_BYTES = 2**20


class AbsentError(Exception):
    """The data of a panel are not in the store; the message says which."""


@dataclass(frozen=True)
class Contents:
    """A store as the report sees it.

    Attributes
    ----------
    store : Store
    attributes : dict
        Of the root, ``xct``.
    scans : tuple of str
        In the order of the configuration.
    times_s : tuple of float
        Middle of each scan since the start of the first one, nan where unknown.
    reference : int
        Position of the scan that changes are counted from.
    tables : dict
        Name to DataFrame.
    units : dict
        Name of a table to the unit of each column.
    """

    store: Store
    attributes: dict[str, Any]
    scans: tuple[str, ...]
    times_s: tuple[float, ...]
    reference: int
    tables: dict[str, pd.DataFrame]
    units: dict[str, dict[str, str]]

    @property
    def config(self) -> dict[str, Any]:
        """The configuration of the run, empty where none is kept."""
        return dict(self.attributes.get("config") or {})

    def table(self, name: str, *columns: str) -> pd.DataFrame:
        """Return a table that has at least these columns, or raise AbsentError."""
        if name not in self.tables:
            raise AbsentError(f"the store has no table {name}")
        table = self.tables[name]
        missing = [column for column in columns if column not in table]
        if missing:
            raise AbsentError(f"table {name} has no column {', '.join(missing)}")
        if table.empty:
            raise AbsentError(f"table {name} is empty")
        return table

    def has(self, path: str) -> bool:
        """Tell whether the store has an image."""
        return "ome" in read_attributes(self.store.path / path)

    def volume(self, index: int, side: int) -> Level:
        """Open a scan's volume in the common frame where it is registered, else as it was reconstructed."""
        if self.has("registered"):
            return open_level(self, "registered", side, index)
        return open_level(self, f"scans/{self.scans[index]}/volume", side)


@dataclass(frozen=True)
class Level:
    """One pyramid level of one plane along t of an image.

    Attributes
    ----------
    array : StoredArray
    t : int or None
        Plane along t.
    axes : str
        Spatial axes, ``zyx`` or ``yx``.
    shape : tuple of int
        Of the spatial axes at this level.
    full : tuple of int
        The same at level 0.
    factor : int
        Voxels of level 0 along the edge of a voxel of this level.
    step : float
        Edge of a voxel in micrometre, or in voxels of level 0 where the size is unknown.
    length : str
        Unit of `step`.
    unit : str
        Of the values.
    attributes : dict
    """

    array: Any
    t: int | None
    axes: str
    shape: tuple[int, ...]
    full: tuple[int, ...]
    factor: int
    step: float
    length: str
    unit: str
    attributes: dict[str, Any]

    def read(self, *index: int | slice) -> Array:
        """Read part of it; floats become float32."""
        values = np.asarray(self.array[index if self.t is None else (self.t, *index)])
        return values.astype(np.float32, copy=False) if values.dtype.kind == "f" else values

    def slabs(self) -> Iterator[tuple[int, Array]]:
        """Read the whole level by slabs of whole chunks along its first axis, each with its first index."""
        plane = math.prod(self.shape[1:]) * 4
        thick = max(1, min(self.shape[0], SLAB_BYTES // max(plane, 1), CHUNK))
        for start in range(0, self.shape[0], thick):
            yield start, self.read(slice(start, min(start + thick, self.shape[0])))

    def positions(self, axis: int, stride: int = 1) -> npt.NDArray[np.float64]:
        """Return the voxel centres along a spatial axis in voxels of level 0."""
        return np.arange(0, self.shape[axis], stride, dtype=np.float64) * self.factor + (self.factor - 1) / 2

    def extent(self, across: int, up: int) -> tuple[float, float, float, float]:
        """Return left, right, bottom and top of two axes as matplotlib wants them, in `length`."""
        return (0.0, self.shape[across] * self.step, 0.0, self.shape[up] * self.step)


def open_level(contents: Contents, path: str, side: int, t: int | None = None) -> Level:
    """Open the finest level whose longest side is at most `side`, else the coarsest one.

    Raises
    ------
    AbsentError
        No such image, or no such plane.
    """
    folder = contents.store.path / path
    attributes = read_attributes(folder)
    if "multiscales" not in attributes.get("ome", {}):
        raise AbsentError(f"the store has no image {path}")
    multiscale = attributes["ome"]["multiscales"][0]
    axes = [axis["name"] for axis in multiscale["axes"]]
    spatial = [k for k, axis in enumerate(axes) if axis in SPATIAL]
    datasets = multiscale["datasets"]
    chosen, full = None, None
    for dataset in datasets:
        array = StoredArray(folder / dataset["path"])
        shape = tuple(array.shape[k] for k in spatial)
        full = full or shape
        chosen = (array, shape, dataset)
        if max(shape) <= side:
            break
    if chosen is None or full is None:
        raise AbsentError(f"image {path} has no level")
    array, shape, dataset = chosen
    if "t" in axes and (t is None or t >= array.shape[0]):
        raise AbsentError(f"image {path} has {array.shape[0]} planes, not {t}")
    xct = attributes.get("xct", {})
    known = all("unit" in axis for axis in multiscale["axes"] if axis["name"] in SPATIAL)
    scale = dataset["coordinateTransformations"][0]["scale"][spatial[-1]]
    base = datasets[0]["coordinateTransformations"][0]["scale"][spatial[-1]]
    return Level(
        array,
        t if "t" in axes else None,
        "".join(axes[k] for k in spatial),
        shape,
        full,
        round(scale / base),
        float(scale),
        "µm" if known else "voxel",
        str(xct.get("unit", "")),
        xct,
    )


def read_small(level: Level, side: int) -> tuple[Array, int]:
    """Read a level thinned to at most `side` along every axis by picking voxels, and the stride that took."""
    stride = max(1, math.ceil(max(level.shape) / side))
    thin = (slice(None, None, stride),) * (len(level.shape) - 1)
    parts = [slab[(slice(-start % stride, None, stride), *thin)] for start, slab in level.slabs()]
    return np.concatenate(parts), stride


# ------------------------------------------------------------------------------------------------- reading


def read_contents(path: Path) -> Contents:
    """Read the attributes and tables of a store.

    Raises
    ------
    StoreError
        There is no store.
    """
    store = Store(path)
    attributes = store.attributes()
    if not attributes and not (path / "scans").is_dir():
        raise StoreError(f"{path} is no store of xct, or nothing has been run in it yet")
    tables = {}
    for file in sorted((path / "tables").glob("*.csv")):
        try:
            tables[file.stem] = store.read_table(file.stem)
        except pd.errors.EmptyDataError:
            tables[file.stem] = pd.DataFrame()
    readme = path / "tables" / "README.json"
    units = json.loads(readme.read_text()) if readme.exists() else {}
    scans = _scans(path, attributes, tables)
    registered = read_attributes(path / "registered").get("xct", {})
    return Contents(
        store,
        attributes,
        scans,
        _times(scans, attributes, registered),
        _reference(scans, attributes),
        tables,
        {name.removesuffix(".csv"): columns for name, columns in units.items()},
    )


def _scans(path: Path, attributes: dict[str, Any], tables: dict[str, pd.DataFrame]) -> tuple[str, ...]:
    """Return the scans in the order of the tables, which is the configuration's (attributes are sorted by name)."""
    for name in ("reconstruction", "registration", "mass_balance"):
        if name in tables and "scan" in tables[name] and len(tables[name]):
            return tuple(tables[name]["scan"].astype(str))
    times = attributes.get("times_s", {})
    names = list(attributes.get("scans", {})) or sorted(p.name for p in (path / "scans").glob("*") if p.is_dir())
    return tuple(sorted(names, key=lambda name: _number((times.get(name) or [None])[0], 0.0)))


def _number(value: float | None, default: float = math.nan) -> float:
    return default if value is None else float(value)


def _times(scans: Sequence[str], attributes: dict[str, Any], registered: dict[str, Any]) -> tuple[float, ...]:
    if len(registered.get("time_s", [])) == len(scans):
        return tuple(_number(value) for value in registered["time_s"])
    found = []
    for name in scans:
        start, end = attributes.get("times_s", {}).get(name) or (None, None)
        found.append(_number(start) if end is None else (_number(start) + float(end)) / 2)
    return tuple(found)


def _reference(scans: Sequence[str], attributes: dict[str, Any]) -> int:
    chosen = ((attributes.get("config") or {}).get("registration") or {}).get("reference", 0)
    if isinstance(chosen, str):
        return list(scans).index(chosen) if chosen in scans else 0
    return int(chosen) if 0 <= int(chosen) < len(scans) else 0


def warnings_of(contents: Contents) -> list[tuple[str, str]]:
    """Collect (scan or "", sentence): warnings kept by the run, problems in tables, warnings of the run's log."""
    found: list[tuple[str, str]] = []
    for entry in contents.attributes.get("warnings") or []:
        scan, sentence = entry if isinstance(entry, (list, tuple)) and len(entry) == 2 else ("", entry)
        found.append((str(scan or ""), str(sentence)))
    for table in contents.tables.values():
        if {"scan", "problem"} <= set(table.columns):
            rows = table[table["problem"].notna()]
            found += [(str(s), str(p)) for s, p in zip(rows["scan"], rows["problem"], strict=True)]
    found += _logged(contents.store.path / "run.log", contents.scans)
    return list(dict.fromkeys(found))


def _logged(file: Path, scans: Sequence[str]) -> list[tuple[str, str]]:
    """Return warnings and errors of the end of the log; those of scans begin with their name."""
    if not file.exists():
        return []
    with file.open("rb") as stream:
        stream.seek(max(0, file.stat().st_size - LOG_BYTES))
        lines = stream.read().decode(errors="replace").splitlines()
    found = []
    for line in lines:
        match = re.match(r"\S+ \S+ (?:WARNING|ERROR|CRITICAL) (.*)", line)
        if match:
            scan, colon, sentence = match[1].partition(": ")
            found.append((scan, sentence) if colon and scan in scans else ("", match[1]))
    return found


def label_names(labels: Level) -> dict[int, str]:
    """Return the names of a label image's values."""
    return {int(value): str(name) for value, name in (labels.attributes.get("names") or {}).items()}
