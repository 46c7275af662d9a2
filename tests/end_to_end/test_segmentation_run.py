"""Raw scans of the simulated cell to labels: the whole run, against the cell that was simulated."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import zarr

from xct_pipeline import pipeline
from xct_pipeline.config.file import load_config
from xct_pipeline.engine.resources import Resources
from xct_pipeline.simulation.beamline import SimulationSettings
from xct_pipeline.simulation.simulate import simulate
from xct_pipeline.store.store import Store

CONFIG = """
output = "store.zarr"
[acquisition]
scans = ["scan_*.nxs"]
[registration]
mask = { min_attenuation = 4.0 }
[segmentation]
names = ["gas", "metal", "nasicon"]
[variation]
closure = "na_only"
region = { label = "metal" }
"""
LIMITS = Resources(workers=2, memory=4 * 10**9)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, pipeline.RunResult]:
    folder = tmp_path_factory.mktemp("cell")
    simulate(folder, settings=SimulationSettings(scans=2, columns=96, rows=64, angles=181), seed=1)
    (folder / "run.toml").write_text(CONFIG)
    return folder, pipeline.run(pipeline.plan(load_config(folder / "run.toml"), LIMITS, until="segmentation"))


def test_volumes_of_the_ceramic_are_those_of_the_simulated_disc(finished) -> None:
    folder, result = finished
    assert not result.failed
    store = Store(folder / "store.zarr")
    labels = zarr.open_array(str(store.path / "registered/labels/materials/0"), mode="r")
    series = zarr.open_array(str(store.path / "registered/0"), mode="r")
    assert labels.shape == series.shape
    np.testing.assert_array_equal(labels[:] == 0, np.isnan(series[:]))
    table = store.read_table("labels").set_index(["name", "scan"])["voxels"]
    half = int((series[0] > 3.55).sum())  # half the ceramic's attenuation, from the simulated materials
    assert abs(table["nasicon", "scan_00"] - half) < 0.02 * half
    assert abs(table["nasicon", "scan_01"] - half) < 0.02 * half
    mean = store.read_table("labels").set_index(["name", "scan"])["mean_attenuation"]
    truth = json.loads((folder / "truth" / "truth.json").read_text())["materials"]
    assert abs(mean["nasicon", "scan_00"] - truth["ceramic"]) < 0.05 * truth["ceramic"]
    assert abs(mean["gas", "scan_00"]) < 0.06


def test_the_anode_touches_the_ceramic_less_after_stripping(finished) -> None:
    folder, _ = finished
    store = Store(folder / "store.zarr")
    table = store.read_table("interface")
    assert set(table["scan"]) == {"scan_00", "scan_01"}
    metal = table[(table["material"] == "metal") & (table["offset_voxels"] == 2)].set_index("scan")["fraction"]
    assert 0.6 < metal["scan_00"] < 1.0
    assert metal["scan_01"] <= metal["scan_00"] + 0.02


def test_running_again_computes_nothing_and_variation_follows_on_the_labels(finished) -> None:
    folder, _ = finished
    config = load_config(folder / "run.toml")
    again = pipeline.run(pipeline.plan(config, LIMITS, until="segmentation"))
    assert sum(done.computed for done in again.passes) == 0
    whole = pipeline.run(pipeline.plan(config, LIMITS))
    assert whole.refused == ()
    assert len(Store(folder / "store.zarr").read_table("mass_balance")) == 2


def test_until_registration_makes_no_labels(tmp_path: Path) -> None:
    assert pipeline.STAGES.index("segmentation") == pipeline.STAGES.index("registration") + 1
    (tmp_path / "run.toml").write_text(CONFIG)
    config = load_config(tmp_path / "run.toml")
    assert pipeline.STAGES[pipeline.last_stage(config, "segmentation")] == "segmentation"
    assert pipeline.STAGES[pipeline.last_stage(config, None)] == "variation"
    assert pipeline.STAGES[pipeline.last_stage(config.model_copy(update={"variation": None}), None)] == "segmentation"
