"""The mass by least squares on projections, from raw scans: at least as near to the truth as the sum over voxels."""

from __future__ import annotations

import json
from dataclasses import replace

import h5py
import pytest
import small_series
from command import shell

from xct_pipeline.demo import write_config
from xct_pipeline.simulation.simulate import simulate
from xct_pipeline.store.store import Store

SETTINGS = replace(small_series.SETTINGS, scans=2, flats=20, darks=4)


@pytest.mark.slow
def test_totals_by_projections(tmp_path):
    config = write_config(simulate(tmp_path, settings=SETTINGS, seed=0))
    truth = json.loads((tmp_path / "truth" / "truth.json").read_text())["mass_change_mg"][1]
    config.write_text(config.read_text().replace("[variation]\n", '[variation]\nestimator = "projections"\n'))
    ended = shell("run", config, timeout=540)
    assert ended.code == 0, ended.err
    store = Store(tmp_path / "store.zarr")
    routes = store.read_table("mass_routes").set_index("route")
    assert list(routes.index) == ["volume", "projections", "rows", "all rows"]
    balance = store.read_table("mass_balance").iloc[1]
    fitted, summed = routes.loc["projections"], routes.loc["volume"]
    assert balance["mass_change_mg"] == fitted["mass_change_mg"] != summed["mass_change_mg"]
    assert balance["sigma_calibration_mg"] == 0
    assert abs(fitted["mass_change_mg"] - truth) < 3.5 * fitted["sigma_mg"]
    assert fitted["sigma_mg"] < 1.5 * summed["sigma_mg"]
    again = shell("run", config, timeout=540)
    assert "nothing was to be done" in again.out + again.err

    with h5py.File(tmp_path / "scan_01.nxs", "r+") as file:
        angles = next(v for k, v in _datasets(file).items() if k.endswith("rotation_angle"))
        angles[...] = angles[...] * 1.01
    refused = shell("run", config, timeout=540)
    assert refused.code == 1
    assert 'variation.estimator = "projections": scan_01 has other angles than scan_00' in refused.err


def _datasets(file: h5py.File) -> dict[str, h5py.Dataset]:
    found: dict[str, h5py.Dataset] = {}
    file.visititems(lambda name, item: found.update({name: item}) if isinstance(item, h5py.Dataset) else None)
    return found
