"""One set of flats for a whole series while the beam's bands drift, from raw scans to mass."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command import shell

from xct_pipeline.demo import write_config
from xct_pipeline.simulation.simulate import SimulationSettings, simulate
from xct_pipeline.store.store import Store

SETTINGS = SimulationSettings(
    scans=3,
    rows=80,
    columns=96,
    angles=181,
    pixel_size_um=50 / 3,
    center_offset=1.0,
    center_spread=0.3,
    shift_voxels=1.0,
    flat_drift=0.02,
    flats_of_first=True,
)


def write_settings(folder: Path, settings: SimulationSettings, seed: int = 0) -> tuple[Path, np.ndarray]:
    """Simulate a series whose scans all take the flats of the first, and return its configuration and its masses."""
    config = write_config(simulate(folder, settings=settings, seed=seed))
    mass = np.array(json.loads((folder / "truth" / "truth.json").read_text())["mass_change_mg"])
    text = config.read_text().replace(
        "[correction.zinger]", '[correction.flatfield]\nmethod = "linear"\n[correction.zinger]'
    )
    text = text.replace('scans = ["scan_*.nxs"]', 'scans = ["scan_*.nxs"]\nflats = ["scan_00.nxs"]')
    config.write_text(re.sub(r"\[segmentation\].*?\[variation\]", "[variation]", text, flags=re.DOTALL))
    return config, mass


def run(config: Path, method: str) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """Run with a method of flats; return the balance, the scans' table, and what was said."""
    text = re.sub(r'(\[correction.flatfield\]\nmethod = )"\w+"', rf'\1"{method}"', config.read_text())
    config.write_text(re.sub(r'output = ".*"', f'output = "{method}.zarr"', text))
    ended = shell("run", config, timeout=5000)
    assert ended.code == 0, ended.err
    store = Store(config.parent / f"{method}.zarr")
    return store.read_table("mass_balance"), store.read_table("reconstruction"), ended.out + ended.err


def pulls(balance: pd.DataFrame, mass: np.ndarray) -> np.ndarray:
    return ((balance["mass_change_mg"] - mass) / balance["sigma_mg"])[1:].to_numpy()


@pytest.mark.slow
def test_stale_flats_are_told_and_mended(tmp_path):
    config, mass = write_settings(tmp_path, SETTINGS)
    stale, scans, said = run(config, "linear")
    assert (scans["flat_left"] > 0.005).all()
    assert scans["flat_change"].isna().all()
    assert 'the beam has changed; set method = "dynamic" under [correction.flatfield]' in said
    full = abs(mass[-1])
    assert np.abs(stale["mass_change_mg"] - mass).max() > 0.2 * full

    mended, scans, said = run(config, "dynamic")
    assert "air at the edges is uneven" not in said
    assert (scans["flat_left"] < 0.001).all()
    assert (scans["flat_change"] > 0.005).all()
    assert (scans["flat_change_sigma"] < 0.001).all()
    assert ((scans["flat_bands"] > 0) & (scans["flat_components"] >= 0)).all()
    assert np.abs(mended["mass_change_mg"] - mass).max() < 0.1 * full
    assert np.sqrt(np.mean(pulls(mended, mass) ** 2)) < 1.5
    again = shell("run", config, timeout=540)
    assert "nothing was to be done" in again.out + again.err


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_one_set_of_flats_for_a_whole_series(tmp_path):
    """Four series of three scans: differences of one series share the noise of its reference, so that they are little
    more than one draw. Of forty scans with ``XCT_SOAK=1``.
    """
    scans = 40 if "XCT_SOAK" in os.environ else 3
    settings = SimulationSettings(**{**vars(SETTINGS), "scans": scans, "stripped": 1.0})
    found = []
    for seed in range(4):
        config, mass = write_settings(tmp_path / str(seed), settings, seed)
        balance, table, _ = run(config, "dynamic")
        assert (table["flat_left"] < 0.002).all()
        found.append(pulls(balance, mass))
    assert np.sqrt(np.mean(np.square(found))) < 1.3
    assert abs(np.mean(found)) < 1  # the bias that all share
