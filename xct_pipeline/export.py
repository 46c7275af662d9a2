"""Volumes for the tools people already use: TIFF slices or HDF5."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from xct_pipeline.store import Store, StoreError


def export_store(
    store: Path, format: str = "tiff", output: Path | None = None, scans: Sequence[str] | None = None
) -> Iterator[Path]:
    """Write the volumes of a store, one after the other; yield what was written.

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
        No such store or scan.
    ValueError
        Unknown format.
    """
    if format not in ("tiff", "hdf5"):
        raise ValueError(f"--format {format}: choose tiff or hdf5")
    source = Store(store)
    if not source.exists():
        raise StoreError(f"{store} is no store of xct")
    names = list(scans or source.attributes().get("scans", {}))
    folder = output or store.with_name(f"{store.stem}_export")
    for name in names:
        volume = source.open(f"scans/{name}/volume")
        voxel = float(volume.x[1] - volume.x[0]) if volume.sizes["x"] > 1 else 1.0
        write = _write_tiff if format == "tiff" else _write_hdf5
        folder.mkdir(parents=True, exist_ok=True)
        yield write(volume, folder, name, voxel)


def _planes(volume: object) -> Iterator[tuple[int, np.ndarray]]:
    """Yield slices, reading one shard at a time."""
    start = 0
    for thickness in volume.data.chunks[0]:  # type: ignore[attr-defined]
        block = volume.data[start : start + thickness].compute()  # type: ignore[attr-defined]
        for k in range(thickness):
            yield start + k, block[k]
        start += thickness


def _write_tiff(volume: object, folder: Path, name: str, voxel: float) -> Path:
    import tifffile

    target = folder / name
    target.mkdir(exist_ok=True)
    for z, plane in _planes(volume):
        tifffile.imwrite(
            target / f"{name}_{z:05d}.tif", plane, resolution=(1e4 / voxel, 1e4 / voxel), resolutionunit="CENTIMETER",
            metadata={"unit": volume.attrs["units"], "voxel_size_um": voxel},  # type: ignore[attr-defined]
        )  # fmt: skip
    return target


def _write_hdf5(volume: object, folder: Path, name: str, voxel: float) -> Path:
    import h5py

    target = folder / f"{name}.h5"
    with h5py.File(target, "w") as file:
        data = file.create_dataset("volume", shape=volume.shape, dtype="f4", chunks=True)  # type: ignore[attr-defined]
        data.attrs["units"] = volume.attrs["units"]  # type: ignore[attr-defined]
        data.attrs["voxel_size_um"] = voxel
        for z, plane in _planes(volume):
            data[z] = plane
    return target
