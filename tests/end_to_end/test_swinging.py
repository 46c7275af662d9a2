"""A rotation that swings, in one file, from raw frames to mass: three states, and two where the third was cut short."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from command import xct
from small_series import SETTINGS

from xct_pipeline.demo import compare, write_config
from xct_pipeline.simulation.simulate import simulate
from xct_pipeline.store.store import Store

KEY, ANGLE, DATA = (
    "entry/instrument/detector/image_key",
    "entry/sample/rotation_angle",
    "entry/instrument/detector/data",
)
FINER = replace(SETTINGS, scans=3, columns=96, rows=58, pixel_size_um=100 / 6, angles=121)
CENTER_PIXEL, MOTION_VOXEL, MASS_PERCENT, SLOPE = 0.2, 0.1, 10.0, 0.15


@pytest.fixture(scope="module")
def states(tmp_path_factory) -> Path:
    """Three scans of a cell that is stripped between them, and their truth."""
    folder = tmp_path_factory.mktemp("states") / "cell"
    write_config(simulate(folder, settings=FINER, seed=3))
    return folder


def swing(states: Path, folder: Path, stop: int | None = None) -> Path:
    """Write the scans as one rotation to and fro, the last up to `stop`, and a configuration."""
    frames, keys, angles = [], [], []
    for k in range(3):
        with h5py.File(states / f"scan_{k:02d}.nxs") as file:
            key = file[KEY][()]
            own = [np.flatnonzero(key == kind) for kind in (2, 1, 0)]
            darks, flats, projections = own[0], own[1], own[2][:: -1 if k % 2 else 1]
            projections = projections[: stop if k == 2 else None]
            before, after = flats[: len(flats) // 2], flats[len(flats) // 2 :]
            chosen = [*(darks if k == 0 else ()), *(before if k == 0 else ()), *projections, *(after if k == 2 else ())]
            frames.append(file[DATA][()][chosen])
            keys.append(key[chosen])
            angles.append(file[ANGLE][()][chosen])
            if k == 0:
                start = file["entry/start_time"][()]
    folder.mkdir()
    with h5py.File(states / "scan_00.nxs") as first, h5py.File(folder / "scan.nxs", "w") as file:
        first.copy("entry", file)
        for name, values in ((DATA, frames), (KEY, keys), (ANGLE, angles)):
            attributes = dict(file[name].attrs)
            del file[name]
            file[name] = np.concatenate(values)
            file[name].attrs.update(attributes)
        del file["entry/instrument/detector/image_key_control"], file["entry/end_time"]
        file["entry/end_time"] = start[:11] + b"23:00:00+00:00"
    charge = json.loads((states / "truth" / "truth.json").read_text())["charge_C"]
    charges = ", ".join(f"scan_{k:02d} = {value!r}" for k, value in enumerate(charge))
    text = (states / "run.toml").read_text().replace('scans = ["scan_*.nxs"]', 'scans = ["scan.nxs"]')
    text = text[: text.index("[electrochemistry]")].replace(
        "[correction.zinger]", 'hdf5 = {split = "angles"}\n[correction.zinger]'
    )
    (folder / "run.toml").write_text(f"{text}[electrochemistry]\ncharges = {{ {charges} }}\n")
    return folder / "run.toml"


def deviations(folder: Path, states: Path) -> dict[tuple[str, str], float]:
    (folder / "truth").symlink_to(states / "truth")
    rows = compare(folder, Store(folder / "store.zarr"))
    return {(scan, what): abs(float(re.search(r"[-+]?[\d.]+", apart)[0])) for scan, what, _, _, apart in rows}


@pytest.mark.slow
def test_three_states_have_the_right_motion_and_mass(states, tmp_path, capsys):
    config = swing(states, tmp_path / "swing")
    assert xct(capsys, "check", config).code == 0
    ended = xct(capsys, "run", config)
    assert ended.code == 0, ended.err
    limits = {"centre": CENTER_PIXEL, "motion": MOTION_VOXEL, "change of Na": MASS_PERCENT, "slope": SLOPE}
    apart = {key: value for key, value in deviations(config.parent, states).items() if key[1].startswith(tuple(limits))}
    assert len(apart) == 8
    for (scan, what), value in apart.items():
        assert value <= next(limit for start, limit in limits.items() if what.startswith(start)), (scan, what, value)
    balance = Store(config.parent / "store.zarr").read_table("mass_balance")
    assert list(balance["scan"]) == ["scan_00", "scan_01", "scan_02"]
    assert (np.diff(balance["mass_change_mg"]) < 0).all()


@pytest.mark.slow
def test_a_rotation_that_was_cut_short_leaves_two(states, tmp_path, capsys):
    config = swing(states, tmp_path / "short", stop=80)
    ended = xct(capsys, "run", config)
    assert ended.code == 3, ended.err
    assert "scan_02: the rotation was cut short: 80 projections over" in ended.err
    store = Store(config.parent / "store.zarr")
    assert not (store.path / "scans" / "scan_02").exists()
    balance = store.read_table("mass_balance").set_index("scan")
    assert balance["mass_change_mg"].notna().to_dict() == {"scan_00": True, "scan_01": True, "scan_02": False}
    truth = json.loads((states / "truth" / "truth.json").read_text())["mass_change_mg"]
    assert abs(balance["mass_change_mg"]["scan_01"] - truth[1]) < MASS_PERCENT / 100 * abs(truth[2])
