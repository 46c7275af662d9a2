"""A bad thing in the raw frames of one scan of a series: the mass is right within its errors, the cause is told."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from command import shell

pytestmark = pytest.mark.slow
DETECTOR = "entry/instrument/detector"


def frames_of(file: h5py.File, kind: int) -> np.ndarray:
    return np.flatnonzero(file[f"{DETECTOR}/image_key"][:] == kind)


def nothing(file: h5py.File) -> None:
    """A sound scan."""


def three_empty(file: h5py.File) -> None:
    for k in frames_of(file, 0)[100:103]:
        file[f"{DETECTOR}/data"][k] = 0


def a_lit_dark(file: h5py.File) -> None:
    data = file[f"{DETECTOR}/data"]
    data[frames_of(file, 2)[0]] = data[frames_of(file, 0)[0]]


def a_dark_flat(file: h5py.File) -> None:
    data = file[f"{DETECTOR}/data"]
    data[frames_of(file, 1)[1]] = data[frames_of(file, 2)[0]]


def the_sample_in_a_flat(file: h5py.File) -> None:
    data = file[f"{DETECTOR}/data"]
    data[frames_of(file, 1)[1]] = data[frames_of(file, 0)[0]]


def _hole(file: h5py.File, degrees: float) -> None:
    key, which = file[f"{DETECTOR}/image_key"], frames_of(file, 0)
    values = key[:]
    count = round(len(which) * degrees / 180)
    values[which[len(which) // 2 :][:count]] = 3
    key[...] = values


def a_hole_of_9_degrees(file: h5py.File) -> None:
    _hole(file, 8.5)


def a_hole_of_20_degrees(file: h5py.File) -> None:
    _hole(file, 20.0)


SPOILT = {
    nothing: "",
    three_empty: "projections 100 to 102 are empty",
    a_lit_dark: "dark 0 holds .* light",
    a_dark_flat: "flat 1 holds .* no beam",
    the_sample_in_a_flat: "flat 1 .* the sample was in the beam",
    a_hole_of_9_degrees: "",
    a_hole_of_20_degrees: "the scale of a part of it is off by .* %",
}


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spoilt")
    assert shell("simulate", "cell", "--width", 96, "--rows", 64, cwd=folder).code == 0
    return folder / "cell"


@pytest.mark.parametrize("spoil", SPOILT, ids=lambda spoil: spoil.__name__)
def test_the_mass_is_right(cell: Path, tmp_path: Path, spoil: Callable[[h5py.File], None]) -> None:
    folder = tmp_path / "cell"
    shutil.copytree(cell, folder, ignore=shutil.ignore_patterns("store*", "truth"))
    with h5py.File(folder / "scan_01.nxs", "a") as file:
        spoil(file)
    done = shell("run", "run.toml", cwd=folder)
    assert done.code == 0
    told = " ".join((done.out + done.err).split())
    assert re.search(SPOILT[spoil], told), told
    rows = list(csv.DictReader((folder / "store.zarr/tables/mass_balance.csv").open()))
    for row in rows[1:]:
        off, sigma = float(row["mass_change_mg"]) - float(row["faraday_mg"]), float(row["sigma_mg"])
        print(f"{spoil.__name__}: {row['scan']} {off:+.5f} of {row['faraday_mg']} mg, sigma {sigma:.5f}")
        assert abs(off) < 3 * sigma
    rows = list(csv.DictReader((folder / "store.zarr/tables/faraday.csv").open()))
    balance = {row["quantity"]: float(row["value"]) for row in rows}
    assert balance["chi2"] < 7 * balance["degrees"]
    assert abs(balance["slope"] - 1) < 0.15
    gain = [float(row["gain"]) for row in csv.DictReader((folder / "store.zarr/tables/registration.csv").open())]
    # where angles are missing the ceramic is off by up to the 3.6 % that are told, and its grey values with it
    assert max(abs(np.array(gain) - 1)) < (0.01 if spoil is a_hole_of_20_degrees else 0.005)
