"""A dark level that rose in one scan: found by a run, told with its size, and covered by the error of the mass."""

from __future__ import annotations

from pathlib import Path

import pytest

from xct_pipeline import demo, pipeline
from xct_pipeline.config.file import load_config
from xct_pipeline.engine.resources import Resources

CELL = {"scans": 2, "columns": 80, "pixel_size_um": 20.0, "photons": 4.5e4}
TOLD = "the dark level is"


def run(folder: Path, seed: int, dark: float, columns: int = 80) -> pipeline.RunResult:
    size = CELL | {"columns": columns, "pixel_size_um": 1600 / columns}
    config = demo.simulate_folder(folder / f"{seed}_{dark}", seed=seed, dark_drift=dark, **size)
    return pipeline.run(pipeline.plan(load_config(config), Resources(1, 4_000_000_000)))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("dark", "seed", "columns"), [(0.003, 2, 80), (0.006, 1, 80), (0.005, 3, 160), (0.01, 3, 80)])
def test_a_dark_that_rose_is_found_and_told(tmp_path, dark, seed, columns):
    done = run(tmp_path, seed, dark, columns)
    row = done.store.read_table("grey_scale").iloc[-1]
    assert abs(row["dark"] - dark) < 2 * row["sigma_dark"]
    assert row["mass_dark_mg"] > 0  # a loss that comes out too small
    told = [warning for warning in done.warnings if TOLD in warning]
    assert len(told) == (row["dark"] > 3 * row["sigma_dark"])
    assert told or dark < 0.005
    assert all(f"{row['dark']:+.2%}" in text for text in told)
    balance = done.store.read_table("mass_balance").iloc[-1]
    assert balance["sigma_calibration_mg"] > 0.8 * row["mass_dark_mg"]
