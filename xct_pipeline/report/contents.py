"""What the report takes from a store: tables, attributes, and images at a size that fits a page.

Images are read at a pyramid level, plane by plane or slab by slab, so that memory does not grow with the volume.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from xct_pipeline.store import layout
from xct_pipeline.store.derived import image_attributes, open_array
from xct_pipeline.store.files import StoreError
from xct_pipeline.store.image import CHUNK, SPATIAL
from xct_pipeline.store.series import Series
from xct_pipeline.store.store import Store

Array = npt.NDArray[Any]

SLAB_BYTES = 64 * 2**20
LOG_BYTES = 2**20


class AbsentError(Exception):
    """The data of a panel are not in the store; the message says which."""


@dataclass(frozen=True)
class Contents:
    """A store as the report sees it: the opened series, why things are absent, and what panels share (`held`)."""

    series: Series
    held: dict[Any, Any] = field(default_factory=dict, kw_only=True, repr=False, compare=False)

    @property
    def store(self) -> Store:
        """Where everything is read from."""
        return self.series.store

    @property
    def scans(self) -> tuple[str, ...]:
        """Scans in order of time."""
        return self.series.scans

    @property
    def times_s(self) -> tuple[float, ...]:
        """Middle of each scan since the start of the first one, nan where unknown."""
        return self.series.times_s

    @property
    def reference(self) -> int:
        """Position of the scan that changes are counted from."""
        return self.series.reference

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """Tables by their names."""
        return self.series.tables

    @property
    def config(self) -> dict[str, Any]:
        """The configuration of the run, empty where none is kept."""
        return self.series.config

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
        return self.series.has(path)

    def volume(self, index: int, side: int) -> Level:
        """Open a scan's volume in the common frame where it is registered, else as it was reconstructed."""
        if self.has(layout.REGISTERED):
            return open_level(self, layout.REGISTERED, side, index)
        return open_level(self, layout.VOLUME(scan=self.scans[index]), side)

    def plane(self, path: str, index: int | None) -> int:
        """Return the plane along t of an image that shows a scan, or raise AbsentError."""
        if index is None or not 0 <= index < len(self.scans):
            raise AbsentError(f"image {path} has {len(self.scans)} planes, not {index}")
        try:
            return self.series.plane(path, self.scans[index])
        except StoreError as error:
            raise AbsentError(str(error)) from None


@dataclass(frozen=True)
class Level:
    """One pyramid level of one plane along t of an image.

    Attributes
    ----------
    array : StoredArray or DerivedArray
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
    """Open the finest level whose longest side is at most `side`, else the coarsest one; of the scan `t`.

    Raises
    ------
    AbsentError
        No such image, or no such plane.
    """
    folder = contents.store.path / path
    attributes = image_attributes(folder)
    if "multiscales" not in attributes.get("ome", {}):
        raise AbsentError(f"the store has no image {path}")
    multiscale = attributes["ome"]["multiscales"][0]
    axes = [axis["name"] for axis in multiscale["axes"]]
    spatial = [k for k, axis in enumerate(axes) if axis in SPATIAL]
    datasets = multiscale["datasets"]
    chosen, full = None, None
    for dataset in datasets:
        array = open_array(folder / dataset["path"])
        shape = tuple(array.shape[k] for k in spatial)
        full = full or shape
        chosen = (array, shape, dataset)
        if max(shape) <= side:
            break
    if chosen is None or full is None:
        raise AbsentError(f"image {path} has no level")
    array, shape, dataset = chosen
    plane = contents.plane(path, t) if "t" in axes else None
    xct = attributes.get("xct", {}) | {"colors": attributes["ome"].get("image-label", {}).get("colors")}
    known = all("unit" in axis for axis in multiscale["axes"] if axis["name"] in SPATIAL)
    scale = dataset["coordinateTransformations"][0]["scale"][spatial[-1]]
    base = datasets[0]["coordinateTransformations"][0]["scale"][spatial[-1]]
    return Level(
        array,
        plane,
        "".join(axes[k] for k in spatial),
        shape,
        full,
        round(scale / base),
        float(scale),
        "µm" if known else "voxel",
        str(xct.get("unit", "")),
        xct,
    )


# ------------------------------------------------------------------------------------------------- reading


def read_contents(path: Path) -> Contents:
    """Open the series of a store.

    Raises
    ------
    StoreError
        There is no store.
    """
    series = Series.open(path)
    if not series.scans:
        raise StoreError(f"{path} is no store that anything has been run in yet")
    return Contents(series)


def warnings_of(contents: Contents) -> list[tuple[str, str]]:
    """Collect (scan or "", sentence): warnings kept by the run, problems in tables, warnings of the run's log."""
    found = list(contents.series.warnings)
    for table in contents.tables.values():
        if {"scan", "problem"} <= set(table.columns):
            rows = table[table["problem"].notna()]
            found += [(str(s), str(p)) for s, p in zip(rows["scan"], rows["problem"], strict=True)]
    found += [("", line) for line in _logged(contents.store.path / layout.LOG)]
    return list(dict.fromkeys(_by_scan(scan, sentence, contents.scans) for scan, sentence in found))


def _by_scan(scan: str, sentence: str, scans: Sequence[str]) -> tuple[str, str]:
    """Return the scan that a sentence begins with beside the rest of it, where it does."""
    name, colon, rest = sentence.partition(": ")
    return (name, rest) if not scan and colon and name in scans else (scan, sentence)


def _logged(file: Path) -> list[str]:
    """Return warnings and errors of the end of the log; those of scans begin with their name."""
    if not file.is_file():
        return []
    with file.open("rb") as stream:
        stream.seek(max(0, file.stat().st_size - LOG_BYTES))
        lines = stream.read().decode(errors="replace").splitlines()
    told = (re.match(r"\S+ \S+ (?:WARNING|ERROR|CRITICAL) (.*)", line) for line in lines)
    return [match[1] for match in told if match]


def label_names(labels: Level) -> dict[int, str]:
    """Return the names of a label image's values."""
    return {int(value): str(name) for value, name in (labels.attributes.get("names") or {}).items()}
