"""A cell that drifts by three pixels within its scans: where its axis is, and how sharp its edges."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from command import shell
from scipy.ndimage import gaussian_filter1d

from xct_pipeline.correction.moments import sinusoid_residuals
from xct_pipeline.demo import write_config
from xct_pipeline.simulation.simulate import SimulationSettings, simulate
from xct_pipeline.store.opened import open_image
from xct_pipeline.store.store import Store

SETTINGS = {
    "scans": 1,
    "rows": 80,
    "columns": 96,
    "angles": 181,
    "pixel_size_um": 50 / 3,
    "center_offset": 1.0,
    "center_spread": 0.3,
    "photons": 6e4,
}


def volume(folder: Path, drift: float, motion: str) -> tuple[np.ndarray, dict, dict, str]:
    """Reconstruct one scan; return its volume, its row of the table, the truth, and what was said."""
    config = write_config(simulate(folder, settings=SimulationSettings(**SETTINGS, drift_voxels=drift), seed=0))
    text = config.read_text().replace("[correction.zinger]", f'[correction]\nmotion = "{motion}"\n[correction.zinger]')
    config.write_text(re.sub(r"\[registration\].*", "", text, flags=re.DOTALL))
    ended = shell("run", config, timeout=540)
    assert ended.code == 0, ended.err
    store = Store(folder / "store.zarr")
    row = store.read_table("reconstruction").iloc[0].to_dict()
    truth = json.loads((folder / "truth" / "truth.json").read_text())
    return np.asarray(open_image(store.path / "scans" / "scan_00" / "volume")), row, truth, ended.out + ended.err


def steepness(image: np.ndarray) -> np.ndarray:
    """R.m.s. of the steepest half per cent of slopes along z and across it: those of faces and of walls."""
    up, *aside = (gaussian_filter1d(np.gradient(image, axis=a), 1.0, axis=(a + 1) % 3)[6:-6] for a in range(3))
    found = [np.sort(np.abs(slope).ravel())[-slope.size // 200 :] for slope in (up, np.hypot(*aside))]
    return np.sqrt(np.mean(np.square(found), axis=1))


@pytest.mark.slow
def test_three_pixels_within_a_scan(tmp_path):
    still, row, _, said = volume(tmp_path / "still", 0.0, "moments")
    assert row["motion_method"] == "moments: none that matters"
    assert "within the scan, slowly" not in said
    moved, row, truth, said = volume(tmp_path / "moved", 3.0, "moments")
    assert "within the scan, slowly" in said
    path = np.array(truth["drift_voxels"])
    angles = np.linspace(0, np.pi, len(path))
    aside, _ = sinusoid_residuals(path, angles, np.zeros(len(path), bool))
    assert row["motion_rows"] == pytest.approx(3.0, abs=0.1)
    assert row["motion_columns"] == pytest.approx(np.ptp(aside), abs=0.1)
    constant = np.linalg.lstsq(np.column_stack([np.ones_like(angles), np.cos(angles), np.sin(angles)]), path)[0][0]
    assert row["center"] == pytest.approx(truth["center"][0] + constant, abs=0.1)
    assert (steepness(moved) > 0.9 * steepness(still)).all()
    left, row, _, said = volume(tmp_path / "left", 3.0, "none")
    assert row["motion_method"] == "not looked for"
    assert steepness(left)[0] < 0.8 * steepness(still)[0]
    assert abs(row["lean_deg"]) < 3 * row["lean_sigma"]
    assert "leans along the beam" not in said
