"""The zarr store of one experiment: OME-Zarr images, tables, markers and the lock of a run.

Everything about a sample lives in one directory. Images are OME-Zarr 0.5 groups whose arrays are sharded,
checksummed (crc32c on every inner chunk) and multiscale; ``.xct/`` beside them holds what makes a run
resumable: a marker per finished shard, cached estimates, the lock.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from xct_pipeline.names import check_path
from xct_pipeline.store import layout, provenance
from xct_pipeline.store.files import RefusedError, StoreError, read_attributes, write_atomic, write_group
from xct_pipeline.store.image import CHUNK, SPATIAL, Image, level_count, ome_metadata
from xct_pipeline.store.stored_array import StoredArray
from xct_pipeline.store.table_files import read_table, write_table

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

FORMAT = 1

__all__ = [
    "CHUNK",
    "SPATIAL",
    "Image",
    "RefusedError",
    "Store",
    "StoreError",
    "StoredArray",
    "level_count",
    "ome_metadata",
    "open_image",
    "open_table",
    "open_volume",
    "read_attributes",
    "write_atomic",
    "write_group",
]


class Store:
    """One experiment's directory."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    @property
    def state(self) -> Path:
        """The folder of markers, cached estimates and the lock."""
        return self.path / ".xct"

    def exists(self) -> bool:
        """Tell whether the store has been begun, even if it was killed before its first metadata."""
        return (self.path / "zarr.json").exists() or self.state.is_dir()

    def attributes(self) -> dict[str, Any]:
        """Return the ``xct`` attributes of the root, empty before the first run wrote them."""
        file = self.path / "zarr.json"
        if not file.exists():
            return {}
        try:
            return dict(json.loads(file.read_text())["attributes"].get("xct", {}))
        except (ValueError, KeyError, AttributeError) as error:
            raise StoreError(f"{file}: damaged metadata ({error}); delete this file and run again") from error

    def refuse_foreign(self, scans: Mapping[str, list[str]]) -> None:
        """Refuse a directory that is not, or cannot become, the store of these scans; write nothing.

        Parameters
        ----------
        scans : mapping
            Name of each scan and its main raw files, relative to the store's folder.

        Raises
        ------
        RefusedError
            The directory holds something else, or another experiment.
        """
        if self.path.exists() and not self.path.is_dir():
            raise RefusedError(f"{self.path} is a file; choose another output")
        if self.path.is_dir() and not self.exists() and any(self.path.iterdir()):
            raise RefusedError(f"{self.path} exists and is not a store of xct; choose another output or remove it")
        known = self.attributes().get("scans", {})
        clash = sorted(name for name in scans if name in known and known[name] != scans[name])
        if known and (clash or not set(known) & set(scans)):
            what = f"its {clash[0]} is {', '.join(known[clash[0]])}" if clash else f"its scans are {', '.join(known)}"
            raise RefusedError(
                f"{self.path} belongs to another experiment ({what}); choose another output or delete the store"
            )

    def claim(self, scans: Mapping[str, list[str]]) -> None:
        """Make the directory the store of these scans, or refuse as `refuse_foreign` does; hold the lock."""
        self.refuse_foreign(scans)
        known = self.attributes().get("scans", {})
        self.state.mkdir(parents=True, exist_ok=True)
        self.update({"scans": {**known, **scans}, "format": FORMAT, "versions": provenance.versions()})

    def update(self, attributes: Mapping[str, Any]) -> None:
        """Merge `attributes` into the root's ``xct`` attributes, in one atomic write."""
        merged = {**self.attributes(), **provenance.plain(attributes)}
        write_group(self.path, {"xct": merged})

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the store for one run. The lock is the kernel's, so that it ends with the process that held it.

        Raises
        ------
        RefusedError
            Another run is alive on the store.
        """
        import filelock

        self.state.mkdir(parents=True, exist_ok=True)
        holder = self.state / "lock.json"
        lock = filelock.FileLock(self.state / "lock", timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout:
            try:
                who = json.loads(holder.read_text())
                text = f"process {who['pid']} on {who['host']}"
            except (OSError, ValueError, KeyError):
                text = "another process"
            raise RefusedError(f"{self.path} is in use by {text}; wait for it or stop it") from None
        try:
            write_atomic(holder, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())
            yield
        finally:
            with contextlib.suppress(OSError):
                holder.unlink()
            lock.release()

    def prepare(self, image: Image) -> bool:
        """Create an image's group and arrays unless an equal one is there to be continued.

        Returns
        -------
        bool
            True where the image was made anew (its markers are void).
        """
        folder = self.path / image.path
        identity = provenance.plain(image.identity())
        current = read_attributes(folder).get("xct", {})
        if current.get("identity") == identity:
            for leftover in folder.rglob("*.partial*"):
                leftover.unlink(missing_ok=True)
            self._describe(image)
            return False
        if folder.exists():
            shutil.rmtree(folder)
        self._parents(image.path)
        for level in range(image.levels):
            zarr.create_array(
                store=str(folder / str(level)),
                shape=image.level_shape(level),
                shards=image.shard_shape(level),
                chunks=image.chunk_shape(level),
                dtype=image.dtype,
                dimension_names=image.axes,
                fill_value=0 if np.dtype(image.dtype).kind in "iub" else math.nan,
                compressors=[
                    BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle", typesize=np.dtype(image.dtype).itemsize),
                    Crc32cCodec(),
                ],
            )
        self._describe(image)
        return True

    def existing_layout(self, path: str) -> tuple[int, int] | None:
        """Return (thickness, levels) of the image at `path`, None where there is none."""
        attributes = read_attributes(self.path / path).get("xct", {})
        return tuple(attributes["layout"]) if "layout" in attributes else None

    def _describe(self, image: Image) -> None:
        xct = {
            **provenance.plain(image.attributes),
            "unit": image.unit,
            "identity": provenance.plain(image.identity()),
            "layout": [image.thickness, image.levels],
        }
        ome = {"ome": ome_metadata(image)} if image.spatial else {}
        write_group(self.path / image.path, {**ome, "xct": xct})

    def _parents(self, path: str) -> None:
        folder = self.path
        for part in Path(path).parts[:-1]:
            folder = folder / part
            if not (folder / "zarr.json").exists():
                write_group(folder, {})

    def shard_files(self, image: Image, shard: tuple[int, ...]) -> list[Path]:
        """Return the files that the task of one shard writes, one per level that it covers."""
        files = []
        for level in range(image.levels):
            inside = all(
                k * s < n for k, s, n in zip(shard, image.shard_shape(level), image.level_shape(level), strict=True)
            )
            if inside:
                files.append(self.path / image.path / str(level) / "c" / "/".join(map(str, shard)))
        return files

    def holds(self, image: Image, shard: tuple[int, ...]) -> bool:
        """Tell whether all files of a shard are there; one that a loss of power emptied is not."""
        return all(file.exists() and file.stat().st_size > 0 for file in self.shard_files(image, shard))

    def write_table(self, name: str, table: pd.DataFrame) -> Path:
        """Write ``tables/<name>.csv``, and unit and meaning of each of its columns into ``tables/README.json``.

        Raises
        ------
        ValueError
            The table or one of its columns is not declared in `xct_pipeline.store.layout`.
        """
        return write_table(self.path, name, table)

    def read_table(self, name: str) -> pd.DataFrame:
        """Read ``tables/<name>.csv``: names as text, whatever they look like."""
        return read_table(self.path, name)

    def open(self, path: str, level: int = 0) -> xr.DataArray:
        """Open an image lazily as an xarray.DataArray with coordinates in micrometre (or pixels)."""
        return open_image(self.path / path, level)


def open_image(folder: str | os.PathLike[str], level: int = 0) -> xr.DataArray:
    """Open one level of an OME-Zarr image as a dask-backed xarray.DataArray.

    Parameters
    ----------
    folder : path
        Of the image's group.
    level : int
        0 is the full resolution.

    Returns
    -------
    xarray.DataArray
        dims from the axes, coordinates of voxel centres in micrometre (pixels where unknown), along t the times in
        seconds and the names of the scans (``scan``), where they are kept; ``attrs["units"]``.
        Its blocks are whole shards. A damaged chunk raises when it is computed.

    Raises
    ------
    StoreError
        No such image or level.
    """
    import dask.array as da
    import xarray as xr

    folder = Path(folder)
    attributes = read_attributes(folder)
    if "ome" not in attributes or "multiscales" not in attributes["ome"]:
        raise StoreError(f"{folder} is no OME-Zarr image")
    multiscale = attributes["ome"]["multiscales"][0]
    if not 0 <= level < len(multiscale["datasets"]):
        raise StoreError(f"{folder} has levels 0 to {len(multiscale['datasets']) - 1}, not {level}")
    dataset = multiscale["datasets"][level]
    array = StoredArray(folder / dataset["path"])
    scale = dataset["coordinateTransformations"][0]["scale"]
    shift = [0.0] * len(scale)
    for transform in dataset["coordinateTransformations"][1:]:
        shift = transform["translation"]
    names = [axis["name"] for axis in multiscale["axes"]]
    coords: dict[str, npt.NDArray[np.float64]] = {
        name: np.arange(n) * s + o for name, n, s, o in zip(names, array.shape, scale, shift, strict=True)
    }
    xct = attributes.get("xct", {})
    if "time_s" in xct and "t" in coords:
        coords["t"] = np.asarray(xct["time_s"], dtype=float)
    scans = xct.get("scans", ()) if "t" in coords else ()
    lazy = da.from_array(array, chunks=array.shards or array.chunks, name=False)
    extra = {key: value for key, value in xct.items() if key not in ("identity", "layout", "unit", "scans")}
    image = xr.DataArray(
        lazy, dims=names, coords=coords, name=folder.name, attrs={"units": xct.get("unit", ""), **extra}
    )
    for axis in multiscale["axes"]:
        if axis["name"] in SPATIAL and "unit" in axis:
            image[axis["name"]].attrs["units"] = "µm"
        elif axis["name"] == "t" and "time_s" in xct:
            image["t"].attrs["units"] = "s"
    return _with_scans(image, scans)


def _with_scans(image: xr.DataArray, scans: Sequence[str]) -> xr.DataArray:
    """Name the planes along t, where there is a name for each."""
    if not scans or len(scans) != image.sizes.get("t"):
        return image
    return image.assign_coords(scan=("t", [str(name) for name in scans]))


def open_volume(store: str | os.PathLike[str], scan: str | None = None, level: int = 0) -> xr.DataArray:
    """Open a scan's volume (z, y, x), or without `scan` the registered series (t, z, y, x); see `open_image`.

    Along t of the series stand the times of the scans and, as the coordinate ``scan``, their names.
    """
    from xct_pipeline.store.series import Series

    if scan is not None:
        return open_image(Path(store) / check_path(layout.VOLUME(scan=scan)), level)
    image = open_image(Path(store) / layout.REGISTERED, level)
    return image if "scan" in image.coords else _with_scans(image, Series.open(store).along(layout.REGISTERED))


def open_table(store: str | os.PathLike[str], name: str) -> pd.DataFrame:
    """Read one of the store's tables, ``reconstruction`` for instance."""
    return Store(store).read_table(name)
