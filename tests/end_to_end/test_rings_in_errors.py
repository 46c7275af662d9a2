"""Rings of few flats through `xct run`: what changes nowhere scatters as its errors say, next to the axis too."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy
from command import xct

from xct_pipeline import open_table
from xct_pipeline.demo import write_config
from xct_pipeline.simulation.simulate import SimulationSettings, simulate
from xct_pipeline.store.opened import open_image

COLUMNS = 80
STILL = SimulationSettings(
    scans=2,
    rows=96,
    columns=COLUMNS,
    angles=121,
    pixel_size_um=20.0,
    stripped=0.0,
    flats=4,
    darks=10,
    beam_drift=0.0,
    defective_columns=0,
    dead_pixels=0,
    zinger_fraction=0.0,
    center_spread=0.0,
    shift_voxels=0.0,
    rotation_deg=0.0,
    tilt_deg=0.0,
    psf_pixels=0.0,
    supersample=1,
)
"""Scans of one cell that differ by their noise alone."""
BIN = 8


def run(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    settings: SimulationSettings,
    seed: int,
    spoil: Callable[[Path], None] = lambda _: None,
) -> Path:
    """Map the change of a series, without what the change of mass does not need."""
    config = write_config(simulate(folder, settings=settings, seed=seed))
    spoil(folder)
    text = config.read_text()
    text = re.sub(r'\[correction.(zinger|stripe)\]\nmethod = "\w+"[^\n]*\n', "", text)
    text = re.sub(r"\[segmentation\].*?(?=\[variation\])", "", text, flags=re.DOTALL)
    text = text.split("[electrochemistry")[0].replace("[variation]\n", f"[variation]\nbins = [{BIN}, {BIN}, {BIN}]\n")
    config.write_text(text)
    ended = xct(capsys, "run", config)
    assert ended.code in (0, 2), ended.err
    return folder / "store.zarr"


def pulls(store: Path) -> dict[str, list[float]]:
    """Return what was found over its error, for what is truly 0, by kind and place."""
    found: dict[str, list[float]] = {}

    def add(name: str, values: pd.Series | np.ndarray) -> None:
        found[name] = np.asarray(values, float)[np.isfinite(values)].tolist()

    balance = open_table(store, "mass_balance").iloc[1:]
    first = open_table(store, "mass_balance")["scan"][0]
    add("totals", balance["mass_change_mg"] / balance["sigma_mg"])
    radial, bins = (
        table[table["scan"] != first] for table in (open_table(store, name) for name in ("radial_profile", "bins"))
    )
    ratio, shell = radial["density_g_cm3"] / radial["sigma_density_g_cm3"], radial["radius_um"] / STILL.pixel_size_um
    add("innermost shells", ratio[shell < 3])
    add("other shells", ratio[shell >= 3])
    bins = bins[bins["voxels"] > BIN**3 / 2]
    away = np.hypot(*(((bins[axis] + 0.5) * BIN - COLUMNS / 2) for axis in "yx"))
    ratio = bins["density_g_cm3"] / bins["sigma_density_g_cm3"]
    add("innermost bins", ratio[away < BIN])
    add("other bins", ratio[away >= BIN])
    areal, sigma = (np.asarray(open_image(store / "variation" / name))[1:] for name in ("areal", "areal_sigma"))
    y, x = np.indices(areal.shape[1:]) - (COLUMNS - 1) / 2
    add("innermost columns", (areal / sigma)[:, np.hypot(y, x) < 3])
    add("other columns", (areal / sigma)[:, np.hypot(y, x) >= 3])
    return found


def widths(parts: list[dict[str, list[float]]]) -> dict[str, float]:
    """Return the root mean square of the pulls of several series together."""
    return {name: float(np.sqrt(np.mean(np.square(np.concatenate([p[name] for p in parts]))))) for name in parts[0]}


def columns(store: Path) -> pd.DataFrame:
    return open_table(store, "noise")[["scan", "column_error", "column_error_sigma", "rings"]]


def expected(settings: SimulationSettings) -> float:
    """Return what the flats of two scans, as many before as after, leave in a column of air, in line integrals."""
    return float(np.sqrt(2 / (2 * settings.flats * settings.photons)))


@pytest.mark.slow
@pytest.mark.parametrize("scans", [2, 5])
def test_few_flats_scatter_as_told_next_to_the_axis_too(scans, tmp_path, capsys):
    found = []
    settings = replace(STILL, scans=scans)
    for seed in range(10, 14):
        store = run(tmp_path / str(seed), capsys, settings, seed)
        table = columns(store)
        assert (table["rings"] == "in the errors, about one axis").all()
        assert table["column_error"].to_numpy() == pytest.approx(expected(settings), rel=0.12)
        balance = open_table(store, "mass_balance").iloc[1:]
        assert (balance["sigma_rings_mg"] > 0.5 * balance["sigma_noise_mg"]).all()
        found.append(pulls(store))
    width = widths(found)
    print(scans, {name: round(value, 2) for name, value in width.items()})
    assert 0.85 < width["other columns"] < 1.1
    assert 0.75 < width["innermost columns"] < 1.25
    assert 0.7 < width["innermost bins"] < 1.25
    assert 0.75 < width["other bins"] < 1.1
    assert 0.6 < width["innermost shells"] < 1.4
    assert 0.8 < width["other shells"] < 1.3
    assert width["totals"] < 1.7


@pytest.mark.slow
def test_rings_of_a_moved_scan_lie_about_its_own_axis(tmp_path, capsys):
    settings = replace(STILL, scans=3, shift_voxels=2.0, rotation_deg=0.8, tilt_deg=0.3, psf_pixels=0.5)
    found = []
    for seed in range(10, 13):
        store = run(tmp_path / str(seed), capsys, settings, seed)
        table = columns(store)
        assert (table["rings"] == "in the errors, about both axes").all()
        assert table["column_error"].to_numpy() == pytest.approx(0.93 * expected(settings), rel=0.15)  # interpolated
        found.append(pulls(store))
    width = widths(found)
    print("moved", {name: round(value, 2) for name, value in width.items()})
    assert 0.85 < width["other columns"] < 1.15
    assert 0.75 < width["innermost columns"] < 1.35
    assert 0.7 < width["innermost bins"] < 1.3
    assert 0.7 < width["innermost shells"] < 1.5


@pytest.mark.slow
def test_many_flats_leave_next_to_nothing(tmp_path, capsys):
    settings = replace(STILL, flats=300)
    few = open_table(run(tmp_path / "few", capsys, STILL, 10), "mass_balance").iloc[1:]["sigma_rings_mg"]
    found = []
    for seed in (10, 11, 12):
        store = run(tmp_path / str(seed), capsys, settings, seed)
        table = columns(store)
        assert (table["column_error"] < 2 * expected(settings)).all()
        balance = open_table(store, "mass_balance").iloc[1:]
        assert (balance["sigma_rings_mg"] < 0.25 * few).all()  # an eighth, and what is not known of it
        assert (balance["sigma_rings_mg"] < 0.5 * balance["sigma_noise_mg"]).all()
        found.append(pulls(store))
    width = widths(found)
    print("many", {name: round(value, 2) for name, value in width.items()})
    assert 0.85 < width["other columns"] < 1.1
    assert 0.7 < width["innermost bins"] < 1.3


def light_moved(folder: Path, seed: int, rows: float, columns: float) -> None:
    """Change the pattern of the light of the second scan by 1.5 % of it, after its flats."""
    shape = (STILL.rows, COLUMNS)
    pattern = scipy.ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), (rows, columns))
    with h5py.File(folder / "scan_01.nxs", "r+") as file:
        detector = file["entry/instrument/detector"]
        keys, counts = detector["image_key"][:], detector["data"][:]
        dark = counts[keys == 2].mean(axis=0)
        light = (counts[keys == 0] - dark) * (1 + 0.015 * pattern / pattern.std())
        counts[keys == 0] = np.rint(np.clip(light + dark, 0, np.iinfo(counts.dtype).max))
        detector["data"][...] = counts


@pytest.mark.slow
def test_light_whose_pattern_moved_is_in_the_errors(tmp_path, capsys):
    """Wide rings are much of the error, and all of it about as much as the masses are off by."""
    off = []
    for seed, pattern in enumerate([(3, 15), (2, 5), (4, 10), (3, 15)], 10):
        spoil = lambda folder, seed=seed, pattern=pattern: light_moved(folder, seed, *pattern)  # noqa: E731
        store = run(tmp_path / str(seed), capsys, STILL, seed, spoil)
        last = open_table(store, "mass_balance").iloc[-1]
        off.append(last["mass_change_mg"] / last["sigma_mg"])
        assert last["sigma_rings_mg"] > 0.3 * last["sigma_mg"]
    assert 0.2 < np.sqrt(np.mean(np.square(off))) < 2
    assert np.abs(off).max() < 3.5
