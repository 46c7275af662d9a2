"""A store as it is looked at: its scans in order of time, and everything that a run found about them.

Names in a store's attributes are sorted as text, so the order of the series is kept beside them, and with every image
along t. Whoever shows, exports or goes on from a store asks here; nobody else takes its attributes apart.
"""

from __future__ import annotations

import io
import math
import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from xct_pipeline.inputs import read_bytes
from xct_pipeline.names import check_path, shown
from xct_pipeline.store import layout
from xct_pipeline.store.files import HEALED, StoreError, read_attributes
from xct_pipeline.store.holder import Holder, holder_of
from xct_pipeline.store.opened import open_image, with_scans
from xct_pipeline.store.remote import is_remote
from xct_pipeline.store.store import Store
from xct_pipeline.store.table_files import read_table

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

ORDERED = ("registration", "reconstruction", "mass_balance")
"""Tables with one row per scan of the series, in its order."""


@dataclass(frozen=True)
class Series:
    """One opened series; see `Series.open`.

    Attributes
    ----------
    store : Store
    attributes : mapping
        Of the root, ``xct``.
    scans : tuple of str
        In order of time, which is the order along t of every image.
    """

    store: Store
    attributes: Mapping[str, Any]
    scans: tuple[str, ...]

    @classmethod
    def open(cls, store: Store | str | os.PathLike[str]) -> Series:
        """Open the series of a store.

        Parameters
        ----------
        store : Store or path
            Of any stage, one that was only begun included, and of versions that did not keep the order.

        Raises
        ------
        StoreError
            There is no store, or its metadata are damaged.
        """
        store = store if isinstance(store, Store) else Store(store)
        attributes = store.attributes()
        if not store.exists() and not (store.path / layout.SCANS).is_dir():
            raise StoreError(f"{store.path} is no store of xct")
        return cls(store, attributes, _order(store, attributes))

    @staticmethod
    def is_at(folder: Path) -> bool:
        """Tell whether a folder was written by the pipeline, rather than by another writer of OME-Zarr."""
        return (folder / layout.STATE).is_dir() or bool(read_attributes(folder).get("xct", {}).get("scans"))

    # ------------------------------------------------------------------------------------------ what was run

    @property
    def config(self) -> dict[str, Any]:
        """The configuration of the run with every default, empty where none is kept."""
        return dict(self.attributes.get("config") or {})

    @property
    def versions(self) -> dict[str, str]:
        """Versions of the software that made the store."""
        return dict(self.attributes.get("versions") or {})

    @property
    def warnings(self) -> list[tuple[str, str]]:
        """What the run warned of: (scan, or "" for the whole series; sentence)."""
        entries = self.attributes.get("warnings") or []
        pairs = [e if isinstance(e, (list, tuple)) and len(e) == 2 else ("", e) for e in entries]
        return [(str(scan or ""), str(sentence)) for scan, sentence in pairs]

    @property
    def holder(self) -> Holder | None:
        """Whose run is writing the store, or was killed while it did; None where nothing is left unfinished so."""
        return holder_of(self.store.path)

    # -------------------------------------------------------------------------------------------- its scans

    def index(self, scan: str) -> int:
        """Return the position of a scan in the series.

        Raises
        ------
        StoreError
            It is none of the scans.
        """
        if scan not in self.scans:
            raise StoreError(
                f"{self.store.path} has no scan {shown(scan)}; its scans are {', '.join(self.scans) or 'none'}"
            )
        return self.scans.index(scan)

    @property
    def files(self) -> dict[str, list[str]]:
        """Main raw files of each scan, relative to the store."""
        known = self.attributes.get("scans", {})
        return {scan: list(known.get(scan, [])) for scan in self.scans}

    @property
    def facts(self) -> dict[str, dict[str, Any]]:
        """What the raw file of each scan said."""
        known = self.attributes.get("facts") or {}
        return {scan: dict(known[scan]) for scan in self.scans if known.get(scan)}

    @property
    def spans_s(self) -> tuple[tuple[float, float], ...]:
        """Start and end of each scan since the start of the first one, nan where unknown."""
        known = self.attributes.get("times_s") or {}
        return tuple((_number(a), _number(b)) for a, b in (known.get(scan) or (None, None) for scan in self.scans))

    @cached_property
    def times_s(self) -> tuple[float, ...]:
        """Middle of each scan, as the registered images have it; nan where unknown."""
        noted = read_attributes(self.store.path / layout.REGISTERED).get("xct", {}).get("time_s") or []
        names = self.along(layout.REGISTERED)
        if names and len(names) == len(noted):
            known = dict(zip(names, noted, strict=True))
            return tuple(_number(known.get(scan)) for scan in self.scans)
        return tuple(start if math.isnan(end) else (start + end) / 2 for start, end in self.spans_s)

    @property
    def reference(self) -> int:
        """Position of the scan that changes are counted from.

        Raises
        ------
        StoreError
            The configuration that the store keeps names a scan that is none of its own.
        """
        chosen = (self.config.get("registration") or {}).get("reference", 0)
        if isinstance(chosen, str):
            return self.index(chosen)
        if chosen and not 0 <= chosen < len(self.scans):
            raise StoreError(f"{self.store.path}: its reference is scan {chosen} of {len(self.scans)}, counted from 0")
        return int(chosen)

    @cached_property
    def problems(self) -> dict[str, str]:
        """Why scans could not be finished."""
        found: dict[str, str] = {}
        for name in ("registration", "reconstruction"):
            table = self.tables.get(name)
            if table is not None and {"scan", "problem"} <= set(table.columns):
                rows = table[table["problem"].notna()]
                for scan, problem in zip(rows["scan"], rows["problem"], strict=True):
                    found.setdefault(str(scan), str(problem))
        return found

    @property
    def failed(self) -> tuple[int, ...]:
        """Positions of the scans without a registered volume."""
        return tuple(k for k, scan in enumerate(self.scans) if scan in self.problems)

    # --------------------------------------------------------------------------------------------- its images

    @cached_property
    def volumes(self) -> dict[str, str]:
        """Path of the volume of each scan that has one; scans that are not of the series come last."""
        from natsort import natsorted

        folder = self.store.path / layout.SCANS
        others = {*self.attributes.get("scans", {}), *(p.name for p in folder.glob("*") if p.is_dir())}
        paths = {scan: layout.VOLUME(scan=scan) for scan in (*self.scans, *natsorted(others - {*self.scans}))}
        return {scan: path for scan, path in paths.items() if self.has(path)}

    def has(self, path: str) -> bool:
        """Tell whether the store has an image."""
        return (self.store.path / path / "zarr.json").is_file()

    def derives(self, path: str) -> bool:
        """Tell whether an image is computed from the registered series where it is read, rather than stored."""
        return "derived" in read_attributes(self.store.path / path).get("xct", {})

    def image(self, path: str, level: int = 0) -> xr.DataArray:
        """Open an image; see `xct_pipeline.store.opened.open_image`."""
        return open_image(self.store.path / path, level)

    def volume(self, scan: str, level: int = 0) -> xr.DataArray:
        """Open a scan's volume (z, y, x) in its own frame.

        Raises
        ------
        StoreError
            It has none.
        """
        if scan not in self.volumes:
            there = ", ".join(self.volumes) or "none"
            raise StoreError(f"{self.store.path} has no volume of {shown(scan)}; it has: {there}")
        return self.image(self.volumes[scan], level)

    def registered(self, level: int = 0) -> xr.DataArray:
        """Open the registered series (t, z, y, x).

        Raises
        ------
        StoreError
            The registration has not run.
        """
        if not self.has(layout.REGISTERED):
            raise StoreError(f"{self.store.path} holds no registered series yet: run the registration first")
        return self.image(layout.REGISTERED, level)

    def voxel_um(self, path: str) -> float | None:
        """Return the edge of a voxel of an image, None where it is unknown."""
        size = read_attributes(self.store.path / path).get("xct", {}).get("identity", {}).get("voxel_um")
        return None if size is None else float(size)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the label images beside the registered series."""
        folder = self.store.path / layout.LABELS
        return tuple(sorted(p.name for p in folder.glob("*") if (p / "zarr.json").is_file()))

    def along(self, path: str) -> tuple[str, ...]:
        """Return the scan of each plane along t of an image, empty where that is not known.

        An image keeps the names itself; for those of earlier versions they are the scans of the series, if as many.
        """
        attributes = read_attributes(self.store.path / path)
        noted = attributes.get("xct", {}).get("scans")
        if noted is not None:
            return tuple(str(name) for name in noted)
        identity = attributes.get("xct", {}).get("identity") or {}
        planes = identity["shape"][0] if identity and identity["axes"][0] == "t" else -1
        return self.scans if planes == len(self.scans) else ()

    def plane(self, path: str, scan: str) -> int:
        """Return the position along t of a scan in an image.

        Raises
        ------
        StoreError
            The image does not hold that scan.
        """
        names = self.along(path)
        if scan not in names:
            raise StoreError(f"image {path} holds {', '.join(names) or 'no known scans'}, not {scan}")
        return names.index(scan)

    # ------------------------------------------------------------------------------- its tables and estimates

    @cached_property
    def tables(self) -> dict[str, pd.DataFrame]:
        """All tables by their names; an empty file is an empty table."""
        return _tables(self.store)

    def center(self, scan: str) -> dict[str, npt.NDArray[Any]]:
        """Return the estimate of a scan's centre of rotation: ``center``, ``curve``, ...; empty where none is kept.

        Raises
        ------
        StoreError
            It is damaged.
        """
        file = self.store.path / layout.CENTER(scan=scan)
        if not file.exists():
            return {}
        try:
            with np.load(io.BytesIO(read_bytes(file)), allow_pickle=False) as data:
                return {key: data[key] for key in data.files if not key.startswith("__")}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise StoreError(f"{file}: damaged ({error}); {HEALED}") from error

    def noise_ratio(self, scan: str) -> npt.NDArray[np.float64] | None:
        """Return the noise of the mean over 1 x 1, 2 x 2, ... pixels of a scan's areal map over that of a pixel.

        As the run measured it; None where it did not. Ones for the reference, whose map has no noise.
        """
        table = self.tables.get("areal_noise")
        if table is None or not len(table):
            return None
        sizes = int(table["bin_pixels"].max())
        if self.index(scan) == self.reference:
            return np.ones(sizes)
        rows = table[table["scan"] == scan].sort_values("bin_pixels")
        complete = rows["bin_pixels"].tolist() == list(range(1, sizes + 1))
        return rows["noise_ratio"].to_numpy(dtype=np.float64) if complete else None


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _tables(store: Store) -> dict[str, pd.DataFrame]:
    files = sorted((store.path / "tables").glob("*.csv"))
    if not files:  # looking at volumes alone need not wait for pandas
        return {}
    import pandas as pd

    found = {}
    for file in files:
        try:
            found[file.stem] = store.read_table(file.stem)
        except pd.errors.EmptyDataError:
            found[file.stem] = pd.DataFrame()
    return found


def _order(store: Store, attributes: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the scans in order of time: as the run kept it, else from its tables, times or the names themselves."""
    if attributes.get("order"):
        return tuple(str(name) for name in attributes["order"])
    tables = _tables(store)
    for name in ORDERED:
        table = tables.get(name)
        if table is not None and "scan" in table and len(table):
            return tuple(table["scan"].astype(str))
    return _guessed_order(store, attributes)


def _guessed_order(store: Store, attributes: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the scans by their start; those without one last, by the numbers in their names."""
    from natsort import natsorted

    folder = store.path / layout.SCANS
    names: Sequence[str] = list(attributes.get("scans", {})) or [p.name for p in folder.glob("*") if p.is_dir()]
    times = attributes.get("times_s") or {}
    starts = {name: _number((times.get(name) or [None])[0]) for name in names}
    return tuple(sorted(natsorted(names), key=lambda name: math.inf if math.isnan(starts[name]) else starts[name]))


def open_volume(store: str | os.PathLike[str], scan: str | None = None, level: int = 0) -> xr.DataArray:
    """Open a scan's volume (z, y, x), or without `scan` the registered series (t, z, y, x); see `open_image`.

    Along t of the series stand the times of the scans and, as the coordinate ``scan``, their names.
    """
    if is_remote(store):
        path = layout.REGISTERED if scan is None else check_path(layout.VOLUME(scan=scan))
        return open_image(f"{os.fspath(store).rstrip('/')}/{path}", level)
    if scan is not None:
        return open_image(Path(store) / check_path(layout.VOLUME(scan=scan)), level)
    image = open_image(Path(store) / layout.REGISTERED, level)
    return image if "scan" in image.coords else with_scans(image, Series.open(store).along(layout.REGISTERED))


def open_table(store: str | os.PathLike[str], name: str) -> pd.DataFrame:
    """Read one of the store's tables, ``reconstruction`` for instance."""
    return read_table(Path(store), name)
