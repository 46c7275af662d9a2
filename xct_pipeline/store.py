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
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from xct_pipeline import provenance

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

CHUNK = 64
FORMAT = 1
SPATIAL = ("z", "y", "x")


class StoreError(RuntimeError):
    """A store that is damaged or cannot be used; the message says what to do."""


class RefusedError(RuntimeError):
    """Something that is possible but not allowed: memory, disk, another experiment, a live run (exit code 2)."""


@dataclass(frozen=True)
class Image:
    """An OME-Zarr image of the store, before it exists.

    Attributes
    ----------
    path : str
        Of the group inside the store, ``scans/scan_00/volume``.
    axes : tuple of str
        ``("z", "y", "x")``, ``("t", "z", "y", "x")``, ``("t", "y", "x")`` or ``("angle", "row", "column")``.
    shape : tuple of int
        Of level 0.
    dtype : str
        numpy name.
    unit : str
        Of the values.
    thickness : int
        Planes along z in one shard (1 along t); a power of two times any number, so that levels keep whole shards.
    levels : int
        Multiscale levels, 1 for none but the full resolution.
    voxel_um : float or None
        Edge of a voxel; None where it is unknown (then coordinates are pixels).
    origin : tuple of float
        Index of voxel (0, 0, 0) in the frame it was cut from, in voxels, along the spatial axes.
    labels : bool
        Label image: levels take the nearest voxel, not the mean.
    chunks : tuple of int or None
        Inner chunks; None for cubes of 64.
    attributes : mapping
        More to store under ``attributes.xct``.
    """

    path: str
    axes: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    unit: str
    thickness: int
    levels: int = 1
    voxel_um: float | None = None
    origin: tuple[float, ...] = ()
    labels: bool = False
    chunks: tuple[int, ...] | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def spatial(self) -> tuple[int, ...]:
        """Positions of the spatial axes."""
        return tuple(k for k, axis in enumerate(self.axes) if axis in SPATIAL)

    def level_shape(self, level: int) -> tuple[int, ...]:
        """Shape of a level: halved along space, a last odd voxel left out so that every mean is exact."""
        return tuple(n // 2**level if axis in SPATIAL else n for axis, n in zip(self.axes, self.shape, strict=True))

    def shard_shape(self, level: int = 0) -> tuple[int, ...]:
        """Shape of the shards of a level: whole planes, `thickness` of them along z, one along t."""
        sizes = []
        for axis, n in zip(self.axes, self.level_shape(level), strict=True):
            if axis == "t":
                sizes.append(1)
            elif axis in ("z", "angle"):
                sizes.append(max(1, self.thickness // 2**level))
            elif axis in ("row", "column"):
                chunk = self.chunks[len(sizes)] if self.chunks else n
                sizes.append(math.ceil(n / chunk) * chunk)
            else:
                sizes.append(math.ceil(n / min(n, CHUNK)) * min(n, CHUNK))
        return tuple(sizes)

    def chunk_shape(self, level: int = 0) -> tuple[int, ...]:
        """Shape of the inner chunks of a level, which divides the shard's."""
        if self.chunks is not None:
            return self.chunks
        shape = []
        for axis, shard, n in zip(self.axes, self.shard_shape(level), self.level_shape(level), strict=True):
            size = math.gcd(shard, CHUNK) if axis == "z" else min(n, CHUNK)
            shape.append(1 if axis == "t" else size)
        return tuple(shape)

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of shards along each axis of level 0."""
        return tuple(math.ceil(n / s) for n, s in zip(self.shape, self.shard_shape(), strict=True))

    def identity(self) -> dict[str, Any]:
        """What must be equal for an existing image to be continued."""
        return {
            "axes": self.axes, "shape": self.shape, "dtype": self.dtype, "unit": self.unit,
            "voxel_um": self.voxel_um, "origin": self.origin, "labels": self.labels,
        }  # fmt: skip


def level_count(shape: tuple[int, ...], thickness: int) -> int:
    """Return how many multiscale levels an image of (z, y, x) `shape` gets.

    Levels stop once the largest side fits in one chunk, a side would vanish, or a shard of the full
    resolution no longer covers a whole plane of the level (a task writes one shard of every level).
    """
    levels = 1
    while max(shape) >> (levels - 1) > CHUNK and min(shape) >> levels >= 1 and thickness % 2**levels == 0:
        levels += 1
    return levels


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
                store=str(folder / str(level)), shape=image.level_shape(level), shards=image.shard_shape(level),
                chunks=image.chunk_shape(level), dtype=image.dtype, dimension_names=image.axes,
                fill_value=0 if np.dtype(image.dtype).kind in "iub" else math.nan,
                compressors=[
                    BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle", typesize=np.dtype(image.dtype).itemsize),
                    Crc32cCodec(),
                ],
            )  # fmt: skip
        self._describe(image)
        return True

    def existing_layout(self, path: str) -> tuple[int, int] | None:
        """Return (thickness, levels) of the image at `path`, None where there is none."""
        attributes = read_attributes(self.path / path).get("xct", {})
        return tuple(attributes["layout"]) if "layout" in attributes else None

    def _describe(self, image: Image) -> None:
        xct = {
            **provenance.plain(image.attributes), "unit": image.unit, "identity": provenance.plain(image.identity()),
            "layout": [image.thickness, image.levels],
        }  # fmt: skip
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

    def write_table(self, name: str, table: pd.DataFrame, units: Mapping[str, str]) -> Path:
        """Write ``tables/<name>.csv`` and note the unit of each column in ``tables/README.json``."""
        folder = self.path / "tables"
        folder.mkdir(parents=True, exist_ok=True)
        readme = folder / "README.json"
        known = json.loads(readme.read_text()) if readme.exists() else {}
        known[f"{name}.csv"] = {column: units.get(column, "") for column in table.columns}
        file = folder / f"{name}.csv"
        write_atomic(file, table.to_csv(index=False, float_format="%.10g").encode())
        write_atomic(readme, json.dumps(known, indent=1, sort_keys=True).encode())
        return file

    def read_table(self, name: str) -> pd.DataFrame:
        """Read ``tables/<name>.csv``."""
        import pandas as pd

        file = self.path / "tables" / f"{name}.csv"
        if not file.exists():
            there = sorted(f.stem for f in file.parent.glob("*.csv")) if file.parent.is_dir() else []
            raise StoreError(f"{self.path} has no table {name}; it has: {', '.join(there) or 'none'}")
        return pd.read_csv(file)

    def open(self, path: str, level: int = 0) -> xr.DataArray:
        """Open an image lazily as an xarray.DataArray with coordinates in micrometre (or pixels)."""
        return open_image(self.path / path, level)


def write_atomic(file: Path, data: bytes) -> None:
    """Write a file so that it is either whole or absent, even after a kill: temporary, fsync, rename."""
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(name, 0o644)
        os.replace(name, file)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def write_group(folder: Path, attributes: Mapping[str, Any]) -> None:
    """Write the metadata of a zarr group atomically (a group is its ``zarr.json``)."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {"zarr_format": 3, "node_type": "group", "attributes": dict(attributes)}
    write_atomic(folder / "zarr.json", json.dumps(document, indent=1).encode())


def read_attributes(folder: Path) -> dict[str, Any]:
    """Return the attributes of a zarr group, empty where there is no group."""
    file = folder / "zarr.json"
    try:
        return dict(json.loads(file.read_text()).get("attributes", {}))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (ValueError, AttributeError) as error:
        raise StoreError(f"{file}: damaged metadata ({error})") from error


def ome_metadata(image: Image) -> dict[str, Any]:
    """Return the ``ome`` attributes of an image: OME-Zarr 0.5 multiscales, in micrometre where the size is known."""
    from yaozarrs import v05

    units = {"unit": "micrometer"} if image.voxel_um is not None else {}
    axes: list[dict[str, Any]] = [
        {"name": axis, "type": "time" if axis == "t" else "space", **({} if axis == "t" else units)}
        for axis in image.axes
    ]
    step = image.voxel_um if image.voxel_um is not None else 1.0
    origin = dict(zip([image.axes[k] for k in image.spatial], image.origin or (0.0,) * len(image.spatial), strict=True))
    datasets = []
    for level in range(image.levels):
        scale = [1.0 if axis == "t" else step * 2**level for axis in image.axes]
        shift = [0.0 if axis == "t" else (origin[axis] + (2**level - 1) / 2) * step for axis in image.axes]
        transforms = [{"type": "scale", "scale": scale}, {"type": "translation", "translation": shift}]
        datasets.append({"path": str(level), "coordinateTransformations": transforms})
    multiscale = {"name": image.path.rsplit("/", 1)[-1], "axes": axes, "datasets": datasets,
                  "type": "nearest" if image.labels else "mean"}  # fmt: skip
    document = {"version": "0.5", "multiscales": [multiscale]}
    v05.Image.model_validate(document)
    return document


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
        dims from the axes, coordinates of voxel centres in micrometre (pixels where unknown), ``attrs["units"]``.
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
    array = zarr.open_array(str(folder / dataset["path"]), mode="r")
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
    lazy = da.from_array(array, chunks=array.shards or array.chunks, name=False)
    extra = {key: value for key, value in xct.items() if key not in ("identity", "layout", "unit")}
    return xr.DataArray(
        lazy, dims=names, coords=coords, name=folder.name, attrs={"units": xct.get("unit", ""), **extra}
    )


def open_volume(store: str | os.PathLike[str], scan: str | None = None, level: int = 0) -> xr.DataArray:
    """Open a scan's volume (z, y, x), or without `scan` the registered series (t, z, y, x); see `open_image`."""
    return open_image(Path(store) / ("registered" if scan is None else f"scans/{scan}/volume"), level)


def open_table(store: str | os.PathLike[str], name: str) -> pd.DataFrame:
    """Read one of the store's tables, ``reconstruction`` for instance."""
    return Store(store).read_table(name)
