"""Every configuration that is shipped runs as it stands, beside scans laid out as its comments say."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile

import xct_pipeline as xct
from xct_pipeline.simulation.beamline import SimulationSettings
from xct_pipeline.simulation.phantom import cylinder, project

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@pytest.fixture(scope="module")
def cell(tmp_path_factory):
    """Three scans of the demonstration's cell: the size that the region of the operando example is meant for."""
    return xct.simulate(tmp_path_factory.mktemp("cell"))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return xct.simulate(
        tmp_path_factory.mktemp("small"), settings=SimulationSettings(scans=2, rows=32, columns=96, angles=121)
    )


def run(folder: Path, name: str):
    shutil.copy(CONFIGS / name, folder)
    result = xct.run(xct.plan(xct.load_config(folder / name)))
    assert not result.failed
    assert not result.refused
    return result


@pytest.mark.slow
def test_operando_nak(cell):
    store = run(cell.folder, "operando_nak.toml").store.path
    balance = xct.open_table(store, "mass_balance")
    assert list(balance["scan"]) == ["scan_00", "scan_01", "scan_02"]
    truth = balance["faraday_mg"].to_numpy()[1:]
    assert np.abs(balance["mass_change_mg"].to_numpy()[1:] / truth - 1).max() < 0.1
    assert set(xct.open_table(store, "labels")["name"]) == {"gas", "light", "anode", "ceramic"}


def test_beamline_batch(small, tmp_path):
    (tmp_path / "raw").mkdir()
    for scan in small.scans:
        shutil.copy(scan, tmp_path / "raw")
    store = run(tmp_path, "beamline_batch.toml").store.path
    centers = xct.open_table(store, "reconstruction")["center"]
    assert centers.nunique() == 1
    volume = xct.open_volume(store, "scan_01")
    assert volume.shape == (16, 48, 48)
    assert volume.attrs["units"] == "1/cm"


def write_tiff(folder: Path, nxtomo: Path) -> None:
    with h5py.File(nxtomo) as file:
        entry = next(iter(file.values()))
        detector = entry["instrument/detector"]
        frames, key = detector["data"][:], detector["image_key"][:]
        angles = entry["sample/rotation_angle"][:][key == 0]
    keep = np.linspace(0, (key == 0).sum() - 1, 91).astype(int)
    (folder / "projections").mkdir()
    for k, frame in enumerate(frames[key == 0][keep]):
        tifffile.imwrite(folder / "projections" / f"raw_{k}.tif", frame)
    tifffile.imwrite(folder / "flat_0.tif", frames[key == 1])
    tifffile.imwrite(folder / "dark_0.tif", frames[key == 2])
    written = np.concatenate([np.repeat(angles[keep[0]], 10), angles[keep], np.repeat(angles[keep[-1]], 10)])
    np.savetxt(folder / "angles.txt", written)


def test_tiff_stack(small, tmp_path):
    write_tiff(tmp_path, small.scans[0])
    result = run(tmp_path, "tiff_stack.toml")
    assert any("1/pixel" in warning for warning in result.scans[0].warnings)
    assert xct.open_volume(result.store.path, "sample").attrs["units"] == "1/pixel"


def test_tiff_stack_on_a_measured_scan(data_folder, tmp_path):
    """A scan of Diamond Light Source whose angle file repeats the first and last angle ten times."""
    shutil.copytree(data_folder / "savu_24737", tmp_path / "savu")
    result = run(tmp_path / "savu", "tiff_stack.toml")
    assert result.scans[0].center.center == pytest.approx(85.83, abs=0.15)
    assert xct.open_volume(result.store.path, "sample").shape == (135, 160, 160)


def test_phase_contrast(small, tmp_path):
    for scan in small.scans:
        shutil.copy(scan, tmp_path)
    store = run(tmp_path, "phase_contrast.toml").store.path
    assert (store / "scans/scan_00/projections").is_dir()
    assert np.isfinite(xct.open_volume(store, "scan_00").values).all()


def write_wide_scan(path: Path, value: float, center: float) -> None:
    """A body wider than the detector, over 360 degrees, with the axis near the right edge."""
    angles, rows, columns = np.linspace(0, 360, 360, endpoint=False), 8, 64
    bodies = [
        cylinder((3.5, 4.0, -6.0), (50.0, 38.0, 40.0), value),
        cylinder((3.5, -20.0, 15.0), (50.0, 6.0, 4.0), value),
        cylinder((3.5, 22.0, -24.0), (50.0, 4.0, 4.0), -value),
    ]
    p = project(bodies, np.deg2rad(angles), rows=rows, columns=columns, center=center, pixel_size_um=10.0)
    frame = np.ones((5, rows, columns))
    counts = np.concatenate([100.0 * frame, 40100.0 * frame, 100.0 + 4e4 * np.exp(-p)])
    with h5py.File(path, "w") as file:
        entry = file.create_group("entry")
        entry.attrs["NX_class"] = "NXentry"
        entry["definition"] = "NXtomo"
        entry["start_time"] = datetime(2024, 5, 1, tzinfo=UTC).isoformat()
        detector = entry.create_group("instrument/detector")
        detector.attrs["NX_class"] = "NXdetector"
        detector["data"] = np.round(counts).astype(np.uint16)
        detector["image_key"] = np.repeat([2, 1, 0], [5, 5, 360])
        detector["x_pixel_size"] = 10.0
        detector["x_pixel_size"].attrs["units"] = "um"
        entry["sample/rotation_angle"] = np.concatenate([np.zeros(10), angles])
        entry["sample/rotation_angle"].attrs["units"] = "deg"


def test_half_acquisition(tmp_path):
    write_wide_scan(tmp_path / "wide.nxs", 5.0, 51.3)
    result = run(tmp_path, "half_acquisition.toml")
    assert result.scans[0].center.center == pytest.approx(51.3, abs=0.1)
    volume = xct.open_volume(result.store.path, "wide")
    assert volume.sizes["x"] > 100
    middle = (volume.sizes["x"] - 1) // 2
    inside = volume[:, middle - 15 : middle + 15, middle - 15 : middle + 15]
    assert float(inside.mean()) == pytest.approx(5.0, rel=0.01)
