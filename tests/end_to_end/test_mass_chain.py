"""From raw simulated scans to mass, against the truth that no stage has seen."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
from command import xct
from scipy.ndimage import uniform_filter

from xct_pipeline import load_config, open_table, parse_config, pipeline
from xct_pipeline.demo import simulate_folder
from xct_pipeline.store.opened import open_image
from xct_pipeline.store.store import Store


@pytest.fixture(scope="module")
def series(tmp_path_factory) -> tuple[Path, dict, np.ndarray]:
    """The demo's cell with its default settings, run without the truth in reach."""
    folder = tmp_path_factory.mktemp("cell") / "cell"
    config = simulate_folder(folder)
    truth = json.loads((folder / "truth" / "truth.json").read_text())
    areal = np.load(folder / "truth" / "truth.npz")["areal_mg_cm2"]
    shutil.rmtree(folder / "truth")
    result = pipeline.run(pipeline.plan(load_config(config).model_copy(update={"segmentation": None})))
    assert not result.failed
    assert not result.refused
    return result.store.path, truth, areal


def test_centres(series):
    store, truth, _ = series
    table = open_table(store, "reconstruction")
    assert list(table["scan"]) == truth["scans"]
    np.testing.assert_allclose(table["center"], truth["center"], atol=0.03)


def test_motion_over_the_cell(series):
    store, truth, _ = series
    table = open_table(store, "registration")
    voxel, shape = truth["voxel_um"], np.array(truth["shape"])
    centers = np.array(open_table(store, "reconstruction")["center"]) - truth["center"]
    grid = np.stack(np.meshgrid(*(np.linspace(0, n - 1, 9) for n in shape), indexing="ij"), -1).reshape(-1, 3)
    cell = grid[np.hypot(*(grid[:, 1:] - (shape[1:] - 1) / 2).T) < 66] * voxel
    for k in range(1, len(table)):
        found = table.loc[k, [f"m{i}{j}" for i in range(3) for j in range(4)]].to_numpy(float).reshape(3, 4)
        true = np.array(truth["motion"][k])
        apart = (cell @ (found[:, :3] - true[:, :3]).T + found[:, 3] - true[:, 3]) / voxel
        apart[:, 1:] -= apart[:, 1:].mean(axis=0)  # the in-plane shift that an error of the centre stands for
        assert np.linalg.norm(apart, axis=1).max() <= 0.05
    assert np.abs(centers).max() <= 0.03
    first = table.iloc[0]
    assert [first["gain"], first["offset"], first["residual"], first["m00"], first["m01"]] == [1, 0, 0, 1, 0]


def test_mass_balance(series):
    store, truth, _ = series
    table = open_table(store, "mass_balance")
    assert list(table["scan"]) == truth["scans"]
    true = np.array(truth["mass_change_mg"])
    full = abs(true[-1])
    assert table.loc[0, ["mass_change_mg", "sigma_mg", "faraday_mg", "charge_C"]].eq(0).all()
    error = np.abs(table["mass_change_mg"] - true)[1:]
    assert (error <= 0.05 * full).all()
    assert (error <= 3 * table["sigma_mg"][1:]).all()
    assert (table["sigma_mg"][1:] <= 0.05 * full).all()
    np.testing.assert_allclose(table["charge_C"], truth["charge_C"], atol=1e-6)
    np.testing.assert_allclose(table["time_s"], truth["time_s"], atol=1e-6)
    np.testing.assert_allclose(table["faraday_mg"], true, atol=1e-6)


def test_faraday_slope(series):
    slope = open_table(series[0], "faraday").set_index("quantity").loc["slope"]
    assert abs(slope["value"] - 1) <= 2 * slope["sigma"]


def test_areal_maps(series):
    store, _, true = series
    areal = open_image(store / "variation/areal")
    sigma = open_image(store / "variation/areal_sigma").values
    assert areal.attrs["units"] == "mg/cm2"
    assert areal.dims == ("t", "y", "x")
    values = areal.values
    inside = np.isfinite(values[-1])
    assert np.nanmax(np.abs(values[0])) == 0
    weight = uniform_filter(inside.astype(float), 5)
    core = weight > 0.999
    smooth = [uniform_filter(np.where(inside, m, 0.0), 5)[core] for m in (values[-1], true[-1])]
    assert np.corrcoef(*smooth)[0, 1] >= 0.9
    for k in range(1, len(values)):
        z = ((values[k] - true[k]) / sigma[k])[inside]
        assert 0.8 <= z.std() <= 1.25


def test_images_of_the_store(series):
    store, truth, _ = series
    shape = tuple(truth["shape"])
    for path, unit in (
        ("registered", "1/cm"),
        ("variation/attenuation", "1/cm"),
        ("variation/density", "g/cm3"),
        ("variation/attenuation_consecutive", "1/cm"),
        ("variation/density_consecutive", "g/cm3"),
    ):
        image = open_image(store / path)
        assert image.shape == (3, *shape)
        assert image.attrs["units"] == unit
        np.testing.assert_allclose(image["t"], truth["time_s"])
    attenuation = open_image(store / "variation/attenuation").values
    assert not attenuation[0].any()
    registered = open_image(store / "registered").values
    np.testing.assert_array_equal(registered[0], open_image(Store(store).path / "scans/scan_00/volume").values)
    np.testing.assert_array_equal(attenuation[2], registered[2] - registered[0])
    flags = open_image(store / "variation/flags").values
    low, high = truth["region"]["z"][0] - 4, truth["region"]["z"][0] - 1  # the ceramic's upper face
    middle = slice(shape[1] // 2 - 10, shape[1] // 2 + 10)
    assert (flags[1, low:high, middle, middle] & 64).any(axis=0).all()
    assert not (flags[1, 58:66, middle, middle] & 64).any()
    density = open_image(store / "variation/density").values
    finite = np.isfinite(density[2])
    np.testing.assert_allclose(density[2][finite], attenuation[2][finite] / 0.28037, rtol=1e-3, atol=1e-6)


def changed(store: Path, section: str, **values) -> pipeline.Config:
    """The demo's configuration with some settings changed (None: left out) and a store of its own."""
    data = tomllib.loads((store.parent / "run.toml").read_text())
    del data["segmentation"]  # the mass does not depend on it
    data[section] = {key: value for key, value in {**data[section], **values}.items() if value is not None}
    return parse_config(data, folder=store.parent)


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        ("variation", {"region": {"cylinder": {"z": [50, 740], "radius": 49.0}}}, "z = .50, 740. is empty or outside"),
        ("variation", {"region": {"cylinder": {"z": [50, 74], "radius": 490.0}}}, "radius 490"),
        ("variation", {"region": {"label": "nak"}}, "nak"),
        ("variation", {"species": "Xx"}, "Xx"),
        ("variation", {"energy_keV": 999.0}, "999"),
        ("variation", {"closure": "filled"}, "w_host"),
        ("electrochemistry", {"charge": "charge"}, "charge_C"),
        ("electrochemistry", {"log": "nothing.csv"}, "nothing.csv"),
        ("electrochemistry", {"offset_s": 1e6}, "does not overlap"),
        ("electrochemistry", {"units": {"charge": "furlong"}}, "furlong"),
        ("registration", {"reference": 7}, "7"),
        ("registration", {"reference": "scan_99"}, "scan_99"),
    ],
)
def test_wrong_input_is_one_sentence_before_anything_is_written(series, section, values, message):
    config = changed(series[0], section, **values).model_copy(update={"output": "untouched.zarr"})
    with pytest.raises(ValueError, match=message) as error:
        pipeline.plan(config)
    assert "\n" not in str(error.value)
    assert not config.store_path.exists()


@pytest.mark.parametrize(
    ("section", "values", "reason"),
    [("variation", {"closure": None}, "closure"), ("variation", {"region": None}, "region")],
)
def test_mass_without_closure_is_refused_and_attenuation_written(series, tmp_path, section, values, reason):
    shutil.copytree(series[0].parent, tmp_path / "cell")
    store = tmp_path / "cell" / "store.zarr"
    shutil.rmtree(store / "variation")
    config = changed(store, section, **values)
    result = pipeline.run(pipeline.plan(config))
    assert len(result.refused) == 1
    assert reason in result.refused[0]
    assert open_image(store / "variation/attenuation").shape[0] == 3
    assert not (store / "variation/density").exists()


def test_the_command_refuses_mass_with_exit_code_2(series, capsys):
    folder = series[0].parent
    text = (folder / "run.toml").read_text().replace('closure = "na_only"\n', "")
    text = re.sub(r"(?ms)^\[+segmentation.*?(?=^\[+(?!segmentation))", "", text)  # as the run that is continued
    (folder / "refused.toml").write_text(text)
    ended = xct(capsys, "run", folder / "refused.toml")
    assert ended.code == 2
    assert "no mass was written" in ended.err
