"""`xct run` up to mass on a small simulated cell: refusals, failed scans, logs, materials."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import h5py
import pytest
from command import shell, xct

from xct_pipeline.store.opened import open_image
from xct_pipeline.store.store import Store

CONFIG = """output = "store.zarr"
[acquisition]
scans = ["scan_*.nxs"]
[correction.stripe]
method = "defects"
[registration]
mask = { min_attenuation = 4.0 }
[variation]
species = "Na"
closure = "na_only"
region = { cylinder = { z = [25, 37], radius = 29.4 } }
[electrochemistry]
log = "cycler.csv"
time = "time_s"
charge = "charge_C"
voltage = "voltage_V"
"""
DETECTOR = "entry/instrument/detector"


@pytest.fixture(scope="module")
def cell(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("mass")
    ended = shell("simulate", folder / "cell", "--width", 96, "--rows", 48, "--scans", 3, "--angles", 61, cwd=folder)
    assert ended.code == 0, ended.err
    return folder / "cell"


@pytest.fixture(scope="module")
def volumes(cell, tmp_path_factory) -> Path:
    """A folder whose scans are reconstructed: what follows starts from there."""
    folder = link(cell, tmp_path_factory.mktemp("volumes"))
    ended = shell("run", configure(folder), "--until", "registration", cwd=folder)
    assert ended.code == 0, ended.err
    return folder


def link(cell: Path, folder: Path) -> Path:
    for file in cell.glob("*.nxs"):
        os.link(file, folder / file.name)
    (folder / "cycler.csv").write_bytes((cell / "cycler.csv").read_bytes())
    return folder


def configure(folder: Path, *changes: tuple[str, str], more: str = "", name: str = "run.toml") -> Path:
    text = CONFIG
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / name).write_text(text + more)
    return folder / name


def strip(folder: Path, *names: str) -> None:
    """Take datasets out of all scans (copies of them)."""
    for file in folder.glob("*.nxs"):
        data = file.read_bytes()
        file.unlink()
        file.write_bytes(data)
        with h5py.File(file, "r+") as opened:
            for name in names:
                del opened[name]


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        ([f"{DETECTOR}/x_pixel_size", f"{DETECTOR}/y_pixel_size"], "the pixel size is unknown"),
        pytest.param(["entry/instrument/beam/incident_energy"], "the photon energy is unknown", marks=pytest.mark.slow),
    ],
)
def test_mass_without_voxel_size_or_energy_is_refused_and_attenuation_written(cell, tmp_path, capsys, missing, reason):
    strip(link(cell, tmp_path), *missing)
    ended = xct(capsys, "run", configure(tmp_path))
    assert ended.code == 2
    last = ended.err.strip().splitlines()[-1]
    assert last.startswith("xct: no mass was written")
    assert reason in last
    store = tmp_path / "store.zarr"
    attenuation = open_image(store / "variation/attenuation").values
    assert attenuation.shape[0] == 3
    assert not attenuation[0].any()
    assert attenuation[2].any()
    assert not (store / "variation/density").exists()
    assert not (store / "tables/mass_balance.csv").exists()


def test_a_scan_that_cannot_be_read_leaves_a_row_without_mass(cell, tmp_path, capsys):
    link(cell, tmp_path)
    broken = tmp_path / "scan_01.nxs"
    data = broken.read_bytes()
    broken.unlink()
    broken.write_bytes(data[:20000])
    ended = xct(capsys, "run", configure(tmp_path))
    assert ended.code == 3
    store = Store(tmp_path / "store.zarr")
    table = store.read_table("mass_balance").set_index("scan")
    assert list(table.index) == ["scan_00", "scan_01", "scan_02"]
    assert table.loc["scan_01", ["mass_change_mg", "sigma_mg", "charge_C", "time_s"]].isna().all()
    assert table.loc["scan_02", "mass_change_mg"] < -3 * table.loc["scan_02", "sigma_mg"]
    assert table.loc["scan_02", "time_s"] == 8700


def test_charge_follows_from_the_current_alone(volumes, capsys):
    changed = ('charge = "charge_C"', 'current = "current_A"')
    ended = xct(capsys, "run", configure(volumes, changed, name="current.toml"))
    assert ended.code == 0, ended.err
    table = Store(volumes / "store.zarr").read_table("mass_balance")
    with open(volumes / "cycler.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert table["charge_C"].iloc[-1] == pytest.approx(float(rows[-1]["charge_C"]), rel=1e-6)


def test_totals_by_material_add_up_and_a_well_mixed_alloy_may_have_regions(volumes, capsys):
    segmentation = """[segmentation]
method = "values"
thresholds = [0.12, 0.38, 4.0]
names = ["gas", "light", "anode", "ceramic"]
[variation.anode]
w_host = 0.5
filling = 0.9
carbon_fraction = 0.1
loading_mg = 0.03
[variation.regions]
low = { cylinder = { z = [25, 31], radius = 20.0 } }
"""
    mixed = ('closure = "na_only"', 'closure = "well_mixed"')
    ended = xct(capsys, "run", configure(volumes, mixed, more=segmentation, name="mixed.toml"))
    assert ended.code == 0, ended.err
    store = Store(volumes / "store.zarr")
    balance = store.read_table("mass_balance").set_index("scan")
    parts = store.read_table("material_totals").query("region == 'region'")
    assert {"anode", "light"} <= set(parts["material"])
    total = parts.groupby("scan")["mass_change_mg"].sum()
    assert total.to_numpy() == pytest.approx(balance["mass_change_mg"].to_numpy(), rel=1e-6, abs=1e-12)
    assert (parts.query("scan != 'scan_00'")["sigma_mg"] > 0).all()
    low = store.read_table("region_totals").set_index("scan")
    assert (low["mass_change_mg"].iloc[1:] < 0).all()
    assert (low["sigma_mg"].iloc[1:] > 0).all()
    assert not open_image(store.path / "variation/density").values[0].any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([('closure = "na_only"', 'closure = "na_only"\nalternatives = ["filled"]')], "w_host"),
        ([('closure = "na_only"', 'closure = "dual_energy"')], "second_store"),
        ([('species = "Na"', 'species = "Na)"')], "Na)"),
        ([("[electrochemistry]", 'regions = { low = { label = "nak" } }\n[electrochemistry]')], "nak"),
        ([("radius = 29.4 } }", "radius = 29.4 } }\nenergy_keV = 900.0")], "900"),
    ],
)
def test_settings_that_cannot_give_mass_are_errors_before_anything_is_written(cell, tmp_path, capsys, changes, message):
    ended = xct(capsys, "run", configure(link(cell, tmp_path), *changes))
    assert ended.code == 1
    assert message in ended.err
    assert not (tmp_path / "store.zarr").exists()


def test_without_a_table_of_registration_the_change_does_not_pass_for_a_grey_scale(volumes, capsys):
    registration = ("[registration]\nmask = { min_attenuation = 4.0 }\n", "")
    ended = xct(capsys, "run", configure(volumes, registration, name="plain.toml"))
    assert ended.code == 0, ended.err
    store = Store(volumes / "store.zarr")
    motions = store.read_table("registration")
    others = motions.iloc[1:]
    assert ((others["gain"] - 1).abs() < 3 * others["gain_sigma"]).all()
    assert (others["gain_sigma"] < 2e-3).all()
    assert (others["offset"].abs() < 2 * others["offset_sigma"]).all()
    assert (others["offset_sigma"] < 5e-3).all()
    table = store.read_table("mass_balance").iloc[1:]
    assert ((table["mass_change_mg"] - table["faraday_mg"]).abs() < 3 * table["sigma_mg"]).all()
    assert len(store.read_table("depth_profile")) > 0
