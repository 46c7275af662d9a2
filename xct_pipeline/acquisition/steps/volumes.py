"""The volumes of a configuration, opened, and the passes that bring them into the store."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from xct_pipeline.acquisition.hdf5 import one_line, reading
from xct_pipeline.acquisition.tiff_stack import is_tiff
from xct_pipeline.acquisition.volumes import formats
from xct_pipeline.acquisition.volumes.arrays import VolumeView, picks_of, split_data
from xct_pipeline.acquisition.volumes.found import Found
from xct_pipeline.acquisition.volumes.given import (
    GivenVolume,
    attenuation,
    mean_of_box,
    order_of,
    sampled,
    scale_of_materials,
    unit_scale,
    voxel_of,
)
from xct_pipeline.acquisition.volumes.times import Span, in_seconds, read_times
from xct_pipeline.boxes import Region, size_of
from xct_pipeline.config import Acquisition, Config
from xct_pipeline.config.volumes import SCAN, GreyScale, VolumeScan
from xct_pipeline.engine.blocks import Array, BlockOp, Pass
from xct_pipeline.names import fitting_name
from xct_pipeline.scan import ScanError
from xct_pipeline.store import layout, provenance
from xct_pipeline.store.image import Image, level_count, shard_thickness

HDF5 = (".h5", ".hdf5", ".hdf", ".nx", ".nxs")
SAMPLED_FILES = 64  # of a zarr array, whose content is part of what identifies it
READ_S = 1e-8  # CPU-seconds per voxel that is read, converted and written


@dataclass(frozen=True)
class OpenedVolume:
    """A volume of the configuration: opened, or why it could not be."""

    name: str
    files: tuple[Path, ...]
    volume: GivenVolume | None
    problem: str | None = None


def open_volumes(config: Config) -> list[OpenedVolume]:
    """Open every volume of a configuration; one that cannot be opened says why and hinders no other.

    Raises
    ------
    ScanError
        A pattern matches nothing, or a setting of projections alone is given.
    """
    acquisition = config.acquisition
    if acquisition.volume:
        for key, default in (("columns", None), ("binning", 1)):
            if getattr(acquisition, key) != default:
                raise ScanError(
                    f"acquisition.{key} is for projections and cannot be used with volumes: cut them by a range in "
                    "data, file[z0:z1, y0:y1, x0:x1]"
                )
    opened: list[OpenedVolume] = []
    digests: dict[str, str] = {}
    for table in acquisition.volume:
        for name, one in tables_of(config, table):
            if name not in acquisition.excluded_scans:
                opened.append(_open(config, name, one, digests))
    return _in_order_of_time(opened)


def tables_of(config: Config, table: VolumeScan) -> Iterator[tuple[str, VolumeScan]]:
    """Yield name and table of each volume that a table stands for, in the natural order of names."""
    if table.name is not None:
        yield table.name, table
        return
    file, _, _ = split_data(table.data)
    if SCAN not in file:
        raise ScanError(f"acquisition.volume: {table.data}: {SCAN} must stand in the name of the file or folder")
    before, after = file.split(SCAN, 1)
    names: dict[str, None] = {}
    for path in config.expand(before + "*" + after.replace(SCAN, "*")):
        pattern = re.escape(str(config.resolve(before + "\1" + after.replace(SCAN, "\2"))))
        pattern = pattern.replace("\1", "([^/]+)").replace("\2", "\\1").replace("\\*", ".*")
        match = re.fullmatch(pattern, str(path))
        if match:
            names[match[1]] = None
    if not names:
        raise ScanError(f"acquisition.volume: {table.data}: no file or folder has such a name")
    for name in names:
        yield fitting_name(name), table.model_copy(update={"name": name, "data": table.data.replace(SCAN, name)})


def _open(config: Config, name: str, table: VolumeScan, digests: dict[str, str]) -> OpenedVolume:
    files: tuple[Path, ...] = ()
    try:
        if config.acquisition.excluded_frames(name) is not None:
            raise ScanError(f"acquisition.exclude.{name} names frames, but {name} starts from a volume and has none")
        file, dataset, chosen = split_data(table.data)
        found = _found(config, table, file, dataset)
        files = found.files
        volume = _given(config, name, table, found, chosen)
        digest = sampled(volume.view, volume.nan, _where(found, dataset))
        told = f"it holds the same values as {digests[digest]}: one file twice?" if digest in digests else ""
        digests.setdefault(digest, name)
        volume = replace(volume, warnings=(*volume.warnings, *([told] if told else [])))
    except (ScanError, OSError) as error:
        return OpenedVolume(name, files or (config.resolve(table.data),), None, one_line(str(error)))
    return OpenedVolume(name, files, volume)


def _where(found: Found, dataset: str | None) -> str:
    return str(found.files[0]) if dataset is None else f"{found.files[0]}::{dataset}"


def _found(config: Config, table: VolumeScan, file: str, dataset: str | None) -> Found:
    """Open what a name in the configuration stands for."""
    paths = config.expand(file)
    path = paths[0]
    if len(paths) == 1 and not path.exists():
        raise ScanError(f"{path}: no such file or folder")
    if table.shape is not None and table.dtype is not None:
        if len(paths) > 1 or path.is_dir() or dataset is not None:
            raise ScanError(f"{path}: shape and dtype are for one file of raw numbers")
        return formats.open_raw(path, table.shape, table.dtype, table.byte_order, table.header_bytes)
    if path.is_dir() and len(paths) == 1:
        if any((path / name).exists() for name in ("zarr.json", ".zgroup", ".zarray", ".zattrs")):
            from xct_pipeline.acquisition.steps.zarr_volume import open_zarr_volume  # which loads zarr

            return open_zarr_volume(path, dataset)
        paths = config.expand(str(Path(file) / "*.tif")) if any(path.glob("*.tif")) else []
        paths = paths or (config.expand(str(Path(file) / "*.tiff")) if any(path.glob("*.tiff")) else [])
        if not paths:
            raise ScanError(f"{path}: a folder without TIFF slices (.tif, .tiff) that is no OME-Zarr image either")
    if is_tiff(paths[0]):
        if dataset is not None:
            raise ScanError(f"{path}: a TIFF has no dataset {dataset}")
        return formats.open_tiff_volume(paths)
    if len(paths) > 1:
        raise ScanError(f"{path} and {len(paths) - 1} more: only TIFF slices make one volume of several files")
    return _one_file(path, dataset)


def _one_file(path: Path, dataset: str | None) -> Found:
    with reading(str(path)), path.open("rb") as stream:
        start = stream.read(2048 + 8)
    if start.startswith(formats.NUMPY):
        return formats.open_npy(path)
    if dataset is not None or path.suffix.lower() in HDF5 or b"\x89HDF\r\n\x1a\n" in start:
        return formats.open_hdf5_volume(path, dataset)
    raise ScanError(f"{path}: neither TIFF, HDF5, NumPy nor OME-Zarr: raw numbers need shape = [z, y, x] and dtype")


def _given(config: Config, name: str, table: VolumeScan, found: Found, chosen: str | None) -> GivenVolume:
    """Bring what the file and the configuration say together."""
    where = str(found.files[0])
    picks = picks_of(chosen, found.array.shape, where)
    order, told = order_of(found, picks, table.axes, where)
    view = VolumeView(found.array, picks, order)
    voxel = voxel_of(found, picks, table.voxel_um or config.acquisition.pixel_size_um, where)
    factor, offset = _scale(table, found, view, voxel, where)
    start, end = _span(config, name, table)
    warnings = () if told else ('its axes are taken as z, y, x, which nothing says: give axes = "zyx" if they are',)
    identity = {
        "files": _file_identity(found.files),
        "array": found.array.__dict__.get("dataset", ""),
        "picks": picks,
        "order": order,
        "factor": factor,
        "offset": offset,
        "nan": table.nan,
        "stored": str(found.array.__dict__.get("stored", found.array.dtype)),
        "shape": found.array.shape,
    }
    energy = table.energy_keV or config.acquisition.energy_keV
    return GivenVolume(
        name, view, voxel, factor, offset, table.nan, found.format, found.files, identity, energy, start, end, warnings
    )


def _scale(table: VolumeScan, found: Found, view: VolumeView, voxel_um: float, where: str) -> tuple[float, float]:
    """Return factor and offset from grey values to 1/cm."""
    if table.grey is not None:
        return _grey(table.grey, view, where)
    unit = table.unit or found.unit
    if unit is None:
        kind = "whole numbers" if view.dtype.kind in "ui" else "numbers"
        raise ScanError(
            f"{where}: {kind} of which nothing says what they stand for: give unit, one of 1/cm, 1/mm, 1/m, 1/um and "
            "1/voxel, or grey = { factor = ..., offset = ... } or two materials of known attenuation"
        )
    if table.unit is not None and found.unit not in (None, table.unit):
        raise ScanError(f'{where}: its values are in {found.unit} as the file says, not unit = "{table.unit}"')
    return unit_scale(unit, voxel_um), 0.0


def _grey(grey: GreyScale, view: VolumeView, where: str) -> tuple[float, float]:
    if grey.factor is not None:
        return grey.factor, grey.offset
    values = []
    for material in grey.materials:
        if material.box is not None:
            box = tuple(slice(*span) for span in (material.box.z, material.box.y, material.box.x))
            values.append(mean_of_box(view, box, where))
        else:
            assert material.value is not None
            values.append(material.value)
    return scale_of_materials(values, [material.attenuation for material in grey.materials], where)


def _span(config: Config, name: str, table: VolumeScan) -> Span:
    """Return start and end of a volume."""
    if table.times is not None:
        file = config.resolve(table.times)
        times = read_times(file)
        wanted = next((key for key in (name, table.name) if key in times), None)
        if wanted is None:
            raise ScanError(f"{file}: has no row for {name}; its scans are {', '.join(list(times)[:8])}")
        return times[wanted]
    if table.time_s is not None:
        return in_seconds(table.time_s, name), None
    if table.start is not None and table.end is not None and _later(table.start, table.end):
        raise ScanError(f"{name}: ends before it starts ({table.start} to {table.end})")
    return table.start, table.end


def _later(start: datetime, end: datetime) -> bool:
    if (start.tzinfo is None) != (end.tzinfo is None):
        start, end = start.replace(tzinfo=None), end.replace(tzinfo=None)
    return start > end


def _in_order_of_time(opened: Sequence[OpenedVolume]) -> list[OpenedVolume]:
    """Warn where a volume is listed after one that was taken later."""
    result: list[OpenedVolume] = []
    latest: GivenVolume | None = None
    for item in opened:
        volume = item.volume
        if volume is not None and volume.start is not None:
            if latest is not None and latest.start is not None and _later(latest.start, volume.start):
                text = f"it was taken before {latest.name} but is listed after it: list scans in the order of time"
                item = replace(item, volume=replace(volume, warnings=(*volume.warnings, text)))
            else:
                latest = volume
        result.append(item)
    return result


def _file_identity(files: Sequence[Path]) -> Any:
    """Return what changes when files change; of a folder all names, sizes and times, and the content of some."""
    identity: list[Any] = []
    for path in files:
        if not path.is_dir():
            identity += provenance.file_identity([path])
            continue
        inner = sorted(file for file in path.rglob("*") if file.is_file())
        stated = [[str(f.relative_to(path)), f.stat().st_size, f.stat().st_mtime_ns] for f in inner]
        looked = inner[:: max(1, len(inner) // SAMPLED_FILES)]
        identity.append([path.name, provenance.fingerprint(stated), provenance.file_identity(looked)])
    return identity


# ------------------------------------------------------------------------------------------------- the pass


@dataclass(frozen=True)
class ViewSource:
    """Reads the grey values of a volume; planes are counted from the first that is used."""

    view: VolumeView
    first: int

    def read(self, region: Region) -> Array:
        """Read a box (z, y, x)."""
        z, y, x = region
        return self.view.read((slice(z.start + self.first, z.stop + self.first), y, x))

    def nbytes(self, region: Region) -> int:
        """Return the bytes of the box, of what a file needs to decode it, and of its copy in order z, y, x."""
        return int(3 * size_of(region) * self.view.dtype.itemsize)


def volume_pass(volume: GivenVolume, acquisition: Acquisition) -> Pass:
    """Return the pass that brings a volume into the store, in 1/cm and with its pyramid.

    Raises
    ------
    ScanError
        The rows asked for lie outside the volume.
    """
    planes = volume.shape[0]
    first, stop = acquisition.rows or (0, planes)
    if not 0 <= first < stop <= planes:
        raise ScanError(f"{volume.name}: rows {first}:{stop} reach outside the volume, which has {planes} planes")
    shape = (stop - first, *volume.shape[1:])
    thickness = shard_thickness(shape)
    image = Image(
        layout.VOLUME(scan=volume.name),
        ("z", "y", "x"),
        shape,
        "float32",
        "1/cm",
        thickness,
        level_count(shape, thickness),
        volume.voxel_um,
        (float(first), 0.0, 0.0),
    )
    op = BlockOp(
        "volume.attenuation",
        1,
        partial(_attenuation, volume=volume, first=first),
        {"factor": volume.factor, "offset": volume.offset, "nan": volume.nan},
        scratch=lambda region: 17 * size_of(region),
    )
    voxels = shape[0] * shape[1] * shape[2]
    source = ViewSource(volume.view, first)
    return Pass(image, source, (op,), (thickness, *shape[1:]), (first, 0, 0), volume.identity, cpu_s=voxels * READ_S)


def _attenuation(block: Array, source: Region, target: Region, *, volume: GivenVolume, first: int) -> Array:
    del source
    where = str(volume.files[0])
    return attenuation(block, volume.factor, volume.offset, volume.nan, where, first + target[0].start)
