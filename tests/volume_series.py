"""Volumes of a store as other programs write them: the inputs of tests that start from volumes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import tifffile
import zarr

from xct_pipeline.store.series import Series


def tiff_slices(folder: Path, name: str, volume: np.ndarray, voxel_um: float) -> str:
    """Write one float image a slice, without any description."""
    (folder / name).mkdir(parents=True)
    for z, plane in enumerate(volume):
        tifffile.imwrite(folder / name / f"slice_{z}.tif", plane)
    return f'data = "{name}"\naxes = "zyx"\nvoxel_um = {voxel_um!r}\nunit = "1/cm"'


def imagej(folder: Path, name: str, volume: np.ndarray, voxel_um: float) -> str:
    """Write an ImageJ stack: spacing and resolution in micrometre."""
    tifffile.imwrite(
        folder / f"{name}.tif",
        volume,
        imagej=True,
        resolution=(1 / voxel_um, 1 / voxel_um),
        metadata={"axes": "ZYX", "spacing": voxel_um, "unit": "um"},
    )
    return f'data = "{name}.tif"\nunit = "1/cm"'


def nabu(folder: Path, name: str, volume: np.ndarray, voxel_um: float) -> str:
    """Write HDF5 as nabu does: the volume among the results of a process, its voxel size in the configuration."""
    with h5py.File(folder / f"{name}_rec.h5", "w") as file:
        process = file.create_group("entry0000/reconstruction")
        process.create_dataset("results/data", data=volume, chunks=(1, *volume.shape[1:]))
        process["configuration/processing_options/reconstruction/voxel_size_cm"] = voxel_um * 1e-4
        process["configuration/processing_options/reconstruction/rotation_axis_position"] = 24.0
    return f'data = "{name}_rec.h5::/entry0000/reconstruction/results/data"\naxes = "zyx"\nunit = "1/cm"'


def httomo(folder: Path, name: str, volume: np.ndarray, voxel_um: float) -> str:
    """Write HDF5 as HTTomo does: axes y, z, x; here in 1/m."""
    with h5py.File(folder / f"{name}_httomo.h5", "w") as file:
        file["data"] = (volume.astype(float) * 100).transpose(1, 0, 2)
        file["angles"] = np.zeros(4)
    return f'data = "{name}_httomo.h5"\naxes = "yzx"\nvoxel_um = {voxel_um!r}\nunit = "1/m"'


def numpy(folder: Path, name: str, volume: np.ndarray, voxel_um: float) -> str:
    """Write all volumes into one array, of which a range is this one."""
    np.save(folder / f"{name}.npy", np.stack([volume * 0, volume]))
    return f'data = "{name}.npy[1]"\naxes = "zyx"\nvoxel_um = {voxel_um!r}\nunit = "1/cm"'


def raw(folder: Path, name: str, volume: np.ndarray, voxel_um: float) -> str:
    """Write numbers in the order of another machine, after a header."""
    (folder / f"{name}.vol").write_bytes(b"HEADER.." + volume.astype(">f4").tobytes())
    shape = f'shape = {list(volume.shape)}\ndtype = "float32"\nbyte_order = "big"\nheader_bytes = 8'
    return f'data = "{name}.vol"\naxes = "zyx"\n{shape}\nvoxel_um = {voxel_um!r}\nunit = "1/cm"'


def integers(folder: Path, name: str, volume: np.ndarray, voxel_um: float) -> str:
    """Write 16 bits whose grey scale is told by two materials."""
    low, high = float(volume.min()), float(volume.max())
    step = (high - low) / 65535
    tifffile.imwrite(folder / f"{name}_16.tif", np.round((volume - low) / step).astype("u2"))
    materials = f"{{ value = 0, attenuation = {low!r} }}, {{ value = 65535, attenuation = {high!r} }}"
    return f'data = "{name}_16.tif"\naxes = "zyx"\nvoxel_um = {voxel_um!r}\ngrey = {{ materials = [{materials}] }}'


def ome_zarr_04(folder: Path, name: str, volume: np.ndarray, voxel_um: float) -> str:
    """Write OME-Zarr 0.4 with a time axis of one plane, millimetres."""
    group = zarr.open_group(str(folder / f"{name}.zarr"), mode="w", zarr_format=2)
    array = group.create_array("0", shape=(1, *volume.shape), dtype="f4", chunks=(1, 16, 16, 16))
    array[0] = volume
    axes = [{"name": "t", "type": "time"}, *({"name": a, "type": "space", "unit": "millimeter"} for a in "zyx")]
    scale = [1.0, *[voxel_um / 1000] * 3]
    datasets = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    return f'data = "{name}.zarr[0]"\nunit = "1/cm"'


Writer = Callable[[Path, str, np.ndarray, float], str]
LAYOUTS: Mapping[str, Writer] = {
    writer.__name__: writer for writer in (tiff_slices, imagej, nabu, httomo, numpy, raw, integers, ome_zarr_04)
}


def write_series(folder: Path, store: Path, layouts: Mapping[str, str]) -> Path:
    """Write scans of a store, each in a layout of another program, with a CSV of times and charges; return run.toml.

    Parameters
    ----------
    layouts : mapping
        Name of a scan to a key of LAYOUTS.
    """
    folder.mkdir(parents=True)
    series = Series.open(store)
    voxel = series.voxel_um("registered")
    assert voxel is not None
    tables = []
    for name, layout in layouts.items():
        text = LAYOUTS[layout](folder, name, series.volume(name).to_numpy(), voxel)
        tables.append(f'[[acquisition.volume]]\nname = "{name}"\n{text}\ntimes = "times.csv"\nenergy_keV = 50.0\n')
    balance: Any = series.tables["mass_balance"]
    columns = ["scan", "time_s", "charge_C", "voltage_V"]
    balance[balance["scan"].isin(layouts)][columns].to_csv(folder / "times.csv", index=False)
    before = (store.parent / "run.toml").read_text()
    stages = before[before.index("[registration]") : before.index("[electrochemistry]")]
    # raw scans are reconstructed about the middle of 48 x 48 voxels, which volumes do not say by themselves
    stages = stages.replace("[registration]\n", "[registration]\naxis = [23.5, 23.5]\n", 1)
    log = '[electrochemistry]\nlog = "times.csv"\ntime = "time_s"\ncharge = "charge_C"\nvoltage = "voltage_V"\n'
    config = folder / "run.toml"
    config.write_text('output = "store.zarr"\n' + "\n".join(tables) + stages + log)
    return config


def same_errors(mine: pd.DataFrame, other: pd.DataFrame, tolerance: float = 0.0) -> None:
    """Compare errors of a series of volumes with those of its raw scans: all but those of rings, in mg.

    Volumes do not tell the range of the angles, and half rings are taken for whole ones.
    """
    first, second = (np.sqrt(each["sigma_mg"] ** 2 - each["sigma_rings_mg"] ** 2) for each in (mine, other))
    assert np.abs(first - second).max() <= max(tolerance, 0.03 * second.max())
    assert (mine["sigma_rings_mg"] <= 2 * other["sigma_rings_mg"]).all()


def balance_of(store: Path) -> pd.DataFrame:
    """Return the mass balance by scan."""
    return pd.read_csv(store / "tables" / "mass_balance.csv").set_index("scan")
