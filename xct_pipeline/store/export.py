"""Volumes for the tools people already use: TIFF slices or HDF5."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from xct_pipeline.names import check_scan_name
from xct_pipeline.outputs import written_whole
from xct_pipeline.store.files import StoreError
from xct_pipeline.store.series import Series

if TYPE_CHECKING:
    import xarray as xr


def export_store(
    store: Path, format: str = "tiff", output: Path | None = None, scans: Sequence[str] | None = None
) -> Iterator[Path]:
    """Write the volumes of a store, one after the other; yield what was written.

    A folder or file gets its name when all of it is written; one of an earlier export is replaced then.

    Parameters
    ----------
    store : Path
    format : {"tiff", "hdf5"}
        ``tiff``: a folder per scan, one float32 file per slice, with resolution and unit in its tags;
        ``hdf5``: one file per scan, dataset ``volume`` with attributes ``units`` and ``voxel_size_um``.
    output : Path, optional
        Folder; ``<store>_export`` by default.
    scans : sequence of str, optional
        Names; all by default.

    Raises
    ------
    StoreError
        No such store or scan, a scan whose name no file may have, or a folder of slices that holds other files.
    ValueError
        Unknown format.
    """
    if format not in ("tiff", "hdf5"):
        raise ValueError(f"--format {format}: choose tiff or hdf5")
    series = Series.open(store)
    for name in series.scans:
        _require_name(store, name)
    missing = [name for name in scans or () if name not in series.volumes]
    if missing or not series.volumes:
        there = ", ".join(series.volumes)
        raise StoreError(f"{store} has no volume of {', '.join(missing) or 'any scan'}; it has: {there}")
    names = list(scans or series.volumes)
    folder = output or store.with_name(f"{store.stem}_export")
    for name in names:
        volume = series.volume(name)
        voxel = series.voxel_um(series.volumes[name])
        write = _write_tiff if format == "tiff" else _write_hdf5
        folder.mkdir(parents=True, exist_ok=True)
        yield write(volume, folder, name, voxel)


def _require_name(store: Path, name: str) -> None:
    """Refuse a scan's name of which no file may be made: an old store, or one that was tampered with, may hold it."""
    try:
        check_scan_name(name)
    except ValueError as error:
        raise StoreError(f"{store}: {error}; rename the raw file and run again into another store") from None


def _planes(volume: xr.DataArray) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    """Yield slices, reading one shard at a time."""
    start = 0
    for thickness in volume.data.chunks[0]:
        block = volume.data[start : start + thickness].compute()
        for k in range(thickness):
            yield start + k, block[k]
        start += thickness


def _write_tiff(volume: xr.DataArray, folder: Path, name: str, voxel: float | None) -> Path:
    import tifffile

    target = (folder / name).resolve()
    part, before = target.with_name(f".{name}.partial"), target.with_name(f".{name}.replaced")
    ours = re.compile(re.escape(name) + r"_\d{5,}\.tif")
    for place in (target, part, before):
        strange = [file.name for file in place.iterdir() if not ours.fullmatch(file.name)] if place.exists() else []
        if strange:
            raise StoreError(f"{place} holds {strange[0]}, which is no slice of {name}; choose another folder with -o")
    for place in (part, before):  # of an export that was killed
        _drop(place)
    part.mkdir()
    scale: dict[str, Any] = {}
    if voxel is not None:
        scale = {"resolution": (1e4 / voxel, 1e4 / voxel), "resolutionunit": "CENTIMETER"}
    metadata = {"unit": volume.attrs["units"], "voxel_size_um": voxel}
    try:
        for z, plane in _planes(volume):
            with (part / f"{name}_{z:05d}.tif").open("wb") as stream:
                tifffile.imwrite(stream, plane, metadata=metadata, **scale)
                stream.flush()
                os.fsync(stream.fileno())
        if target.exists():
            target.rename(before)
        part.rename(target)
        _drop(before)
    except BaseException:
        _drop(part)
        raise
    return target


def _drop(folder: Path) -> None:
    """Delete the slices of a folder, and the folder if nothing else is in it."""
    if folder.exists():
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()


def _write_hdf5(volume: xr.DataArray, folder: Path, name: str, voxel: float | None) -> Path:
    import h5py

    target = folder / f"{name}.h5"
    with written_whole(target) as part, h5py.File(part, "w") as file:
        data = file.create_dataset("volume", shape=volume.shape, dtype="f4", chunks=True)
        data.attrs["units"] = volume.attrs["units"]
        if voxel is not None:
            data.attrs["voxel_size_um"] = voxel
        for z, plane in _planes(volume):
            data[z] = plane
    return target
