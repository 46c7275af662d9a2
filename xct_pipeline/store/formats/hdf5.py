"""Plain HDF5: the dataset ``volume`` with its unit and voxel size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xct_pipeline.store.formats.common import Exported, Format


def _write(target: Path, images: Sequence[Exported]) -> None:
    import h5py

    (exported,) = images
    with h5py.File(target, "w") as file:
        data = file.create_dataset("volume", shape=exported.shape, dtype=exported.dtype, chunks=exported.by_planes)
        data.attrs["units"] = exported.unit
        if exported.voxel_um is not None:
            data.attrs["voxel_size_um"] = exported.voxel_um
        if exported.time_s is not None:
            data.attrs["time_s"] = exported.time_s
        for z, plane in enumerate(exported.planes()):
            data[z if exported.axes == "zyx" else ...] = plane


FORMAT = Format("hdf5", ".h5", "one file a scan, dataset volume", _write)
