"""The anode as a whole, found from its label: its change holds all that was stripped, from the ceramic on."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from command import xct

from xct_pipeline import demo, pipeline
from xct_pipeline.config.edit import update_config
from xct_pipeline.config.file import load_config
from xct_pipeline.engine.resources import Resources

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
SEEDS = {"interface": range(2), "inside": range(1)}
SIZE = {"scans": 3, "columns": 80, "rows": 96, "pixel_size_um": 20.0, "photons": 4.5e4}


def simulated(folder, seed, voids):
    """Write a cell whose anode, as a whole, is the region."""
    config = demo.simulate_folder(folder, seed=seed, voids=voids, **SIZE)
    update_config(config, {"variation.region": "anode"})
    return config


@pytest.fixture(scope="module", params=["interface", "inside"])
def series(request, tmp_path_factory):
    """Return, for one place of what leaves, the tables of some series and their true masses."""
    found = []
    for seed in SEEDS[request.param]:
        folder = tmp_path_factory.mktemp(f"{request.param}{seed}") / "cell"
        config = load_config(simulated(folder, seed, request.param))
        store = pipeline.run(pipeline.plan(config, Resources(2, 4_000_000_000))).store
        names = ("mass_balance", "faraday", "near_face", "region_totals")
        truth = json.loads((folder / "truth/truth.json").read_text())["mass_change_mg"]
        found.append({name: store.read_table(name) for name in names} | {"truth": np.array(truth)})
    return found


def pulls(series, column="mass_change_mg"):
    return np.array([(t["mass_balance"][column] - t["truth"])[1:] / t["mass_balance"]["sigma_mg"][1:] for t in series])


def test_the_total_is_that_of_the_charge(series):
    slopes = np.array([t["faraday"]["value"][0] for t in series])
    sigmas = np.array([t["faraday"]["sigma"][0] for t in series])
    print("slopes", slopes.round(3), "sigma", sigmas.round(3), "mean", slopes.mean().round(3))
    shares = np.array([t["mass_balance"]["mass_change_mg"][1:] / t["truth"][1:] for t in series])
    print("of the truth", shares.round(3), "pulls", pulls(series).round(2))
    assert np.abs(slopes - 1).max() < 0.12
    assert abs(slopes.mean() - 1) < 2 * sigmas.mean() / len(slopes) ** 0.5
    assert sigmas.max() < 0.09
    assert np.abs(pulls(series)).max() < 2.5


def test_nothing_is_left_around_it(series):
    for tables in series:
        around = tables["region_totals"].set_index("region").loc[["around the region"]]
        assert (np.abs(around["mass_change_mg"]) <= 3 * around["sigma_mg"]).all()


def test_what_happens_at_the_ceramic_is_stated(series):
    for tables in series:
        table = tables["near_face"]
        assert table["scan"].tolist() == ["scan_01", "scan_02"]
        assert (table["faces"] == 2).all()
        apart = table["measured_mg"] - table["continued_mg"]
        assert (np.abs(apart) < 3 * np.hypot(table["sigma_measured_mg"], table["sigma_continued_mg"])).all()
        assert (table["sigma_measured_mg"] < 0.2 * np.abs(tables["truth"][1:])).all()  # whatever the motion's error
        share = tables["mass_balance"]["sigma_faces_mg"][1:].to_numpy() / table["sigma_mg"].to_numpy()
        np.testing.assert_allclose(share, 1, rtol=1e-6)


def test_commands_report_and_a_second_run_know_it(capsys, tmp_path):
    config = simulated(tmp_path / "cell", 0, "interface")
    planned = xct(capsys, "check", config, "--json").json
    first = xct(capsys, "run", config, "--json")
    assert first.code == 0, first.err
    assert [s["name"] for stage in planned["stages"] for s in stage["steps"]]
    steps = json.loads((tmp_path / "cell/store.zarr/.xct/steps.json").read_text())["steps"]
    outcomes = {step["name"]: step["outcome"] for step in steps}
    looked_at = [name for name in outcomes if name.startswith("variation/edges/")]
    assert len(looked_at) == SIZE["scans"]
    assert {outcomes[name] for name in looked_at} == {"executed"}
    assert "not reached" not in outcomes.values()
    again = xct(capsys, "run", config, "--json").json
    assert all(image["computed"] == 0 for scan in again["scans"] for image in scan["images"].values())
    totals = pd.read_csv(tmp_path / "cell/store.zarr/tables/region_totals.csv")
    assert set(totals["region"]) == {"around the region"}
    assert (tmp_path / "cell/store.zarr/report.html").exists()
