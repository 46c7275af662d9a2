"""A rotation axis that leans along the beam, from counts to the stored volume."""

import numpy as np
import pytest

from xct_pipeline import demo, open_table, pipeline
from xct_pipeline.config.file import load_config
from xct_pipeline.engine.resources import Resources
from xct_pipeline.store.opened import open_image

LIMITS = Resources(1, 2_000_000_000)
LEAN = 2.0


def reconstructed(folder, lean, chosen):
    config = demo.simulate_folder(folder, scans=1, columns=64, rows=48, angles=91, axis_lean_deg=lean, seed=4)
    config.write_text(config.read_text().replace("[reconstruction]\n", f"[reconstruction]\nlean = {chosen}\n"))
    done = pipeline.run(pipeline.plan(load_config(config), LIMITS, until="reconstruction"))
    return np.asarray(open_image(done.store.path / "scans" / "scan_00" / "volume")), done


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("leaning")
    cases = {"upright": (0.0, '"none"'), "left": (LEAN, '"none"'), "given": (LEAN, LEAN)}
    return {name: reconstructed(folder / name, *case) for name, case in cases.items()}


def test_a_lean_that_is_given_is_corrected_in_the_stored_volume(volumes):
    upright, left, given = (volumes[name][0][8:-8] for name in ("upright", "left", "given"))
    wrong, mended = (np.sqrt(np.mean((volume - upright) ** 2)) for volume in (left, given))
    assert mended < wrong
    assert given.mean() == pytest.approx(upright.mean(), rel=0.01)


def test_the_table_says_what_was_corrected(volumes):
    corrected = {name: open_table(done.store.path, "reconstruction") for name, (_, done) in volumes.items()}
    assert [float(table["lean_corrected_deg"].iloc[0]) for table in corrected.values()] == [0.0, 0.0, LEAN]


def test_a_cell_that_rises_within_its_scan_is_told_no_lean(tmp_path):
    size = {"scans": 1, "columns": 80, "rows": 64, "angles": 121}
    config = demo.simulate_folder(tmp_path / "rising", **size, drift_voxels=1.5, seed=4)
    done = pipeline.run(pipeline.plan(load_config(config), LIMITS, until="reconstruction"))
    row = open_table(done.store.path, "reconstruction").iloc[0]
    said = " ".join(done.scans[0].warnings)
    assert "along z in half a turn" in said
    assert "leans along the beam" not in said
    assert row["lift"] == pytest.approx(1.5, abs=0.2)
    assert row["lean_sigma"] > np.degrees(0.3 * row["lift"] / 40)
    assert abs(row["lean_deg"]) < 2 * row["lean_sigma"]
