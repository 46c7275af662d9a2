"""Measured scans of three formats go through the command line."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from command import xct

from xct_pipeline import open_volume


def savu_config(data_folder, tmp_path, more: str = "", angles: str = "lines = [10, 101]"):
    folder = data_folder / "savu_24737"
    file = tmp_path / "savu.toml"
    file.write_text(
        'output = "savu.zarr"\n[[acquisition.tiff]]\nname = "savu"\n'
        f'projections = "{folder}/projections/*.tiff"\nflats = "{folder}/flat*.tiff"\n'
        f'darks = ["{folder}/dark*.tiff"]\nangles = {{ file = "{folder}/angles.txt", {angles} }}\n{more}'
    )
    return file


def ran_without_a_warning(capsys, config):
    """Check and run a sound scan."""
    checked = xct(capsys, "check", config, "--json")
    assert checked.code == 0, checked.err
    (scan,) = checked.json["scans"]
    assert [scan["warnings"], scan["facts"]["warnings"], scan["frames"]["findings"]] == [[], [], []]
    ended = xct(capsys, "run", config)
    assert ended.code == 0, ended.err
    assert "warning" not in (ended.out + ended.err).lower()


def test_savu_from_tiff(capsys, data_folder, tmp_path):
    more = "pixel_size_um = 10.0\nenergy_keV = 53.0\n[reconstruction]\nhalves = true\n"
    ran_without_a_warning(capsys, savu_config(data_folder, tmp_path, more))
    table = pd.read_csv(tmp_path / "savu.zarr/tables/reconstruction.csv").iloc[0]
    assert abs(table.center - 85.83) < 0.15
    assert table.center_sigma < 0.1
    assert np.isfinite(table.center_agreement)
    volume = open_volume(tmp_path / "savu.zarr", "savu")
    assert volume.shape == (135, 160, 160)
    assert volume.attrs["units"] == "1/cm"
    assert np.isfinite(volume.values).all()
    assert table.halves == "z 32 to 96, y 61 to 113, x 42 to 94"
    box = volume.values[32:96, 61:113, 42:94]  # a mixed difference over z, y and x leaves the noise of high frequency
    white = np.diff(np.diff(np.diff(box, axis=0), axis=1), axis=2).std() / np.sqrt(8)
    assert 0.8 * white < table.noise_halves < 1.6 * white
    curve = pd.read_csv(tmp_path / "savu.zarr/tables/shell_correlation.csv")
    assert curve.correlation[curve.frequency_per_voxel < 0.2].min() > 0.9
    assert curve.correlation[curve.frequency_per_voxel > 0.4].min() < 0.5


def test_savu_without_pixel_size(capsys, data_folder, tmp_path):
    ended = xct(capsys, "run", savu_config(data_folder, tmp_path), "--rows", "70:72")
    assert ended.code == 0, ended.err
    assert "no pixel size known: reconstructed in 1/pixel" in ended.out
    assert open_volume(tmp_path / "savu.zarr", "savu").attrs["units"] == "1/pixel"
    info = xct(capsys, "info", tmp_path / "savu.zarr", "--json").json
    assert info["images"]["scans/savu/volume"]["unit"] == "1/pixel"
    assert any("1/pixel" in text for text in info["warnings"])
    assert xct(capsys, "export", tmp_path / "savu.zarr").code == 0


def test_savu_with_all_lines_of_the_angles(capsys, data_folder, tmp_path):
    ended = xct(capsys, "check", savu_config(data_folder, tmp_path, angles="lines = [0, 111]"))
    assert ended.code == 1
    assert "111 angles for 91 projections" in ended.err


def test_savu_with_a_range_of_angles(capsys, data_folder, tmp_path):
    file = savu_config(data_folder, tmp_path)
    file.write_text(
        file.read_text().replace(
            file.read_text().split("angles = ")[1].splitlines()[0], "{ start = -88.2, stop = 91.8, count = 91 }"
        )
    )
    facts = xct(capsys, "check", file, "--json").json["scans"][0]["facts"]
    assert facts["angle_first_deg"] == pytest.approx(-88.2)
    assert facts["angle_last_deg"] == pytest.approx(91.8)


def test_k11_diad_loads_with_one_warning(capsys, data_folder, tmp_path):
    text = f'output = "k11.zarr"\n[acquisition]\nscans = ["{data_folder}/k11_diad/*.nxs"]\n'
    (tmp_path / "k11.toml").write_text(text)
    assert "26 columns: finding a centre takes" in xct(capsys, "check", tmp_path / "k11.toml").err
    (tmp_path / "k11.toml").write_text(f"{text}[reconstruction]\ncenter = 12.5\n")
    facts = xct(capsys, "check", tmp_path / "k11.toml", "--json").json["scans"][0]
    (told,) = facts["facts"]["warnings"]
    assert "links to missing targets left out" in told
    assert [facts["facts"][key] for key in ("projections", "flats", "darks")] == [3001, 100, 100]
    plain = xct(capsys, "check", tmp_path / "k11.toml")
    assert "(/entry/EtherCAT/LinkamTemp" in plain.out.replace("\n", " ")  # nothing taken for markup


def test_tooth_volume(capsys, data_folder, tmp_path):
    (tmp_path / "tooth.toml").write_text(
        f'output = "tooth.zarr"\n[acquisition]\nscans = {json.dumps([str(data_folder / "tooth.h5")])}\n'
        "pixel_size_um = 5.0\n"  # which the file does not tell
    )
    ran_without_a_warning(capsys, tmp_path / "tooth.toml")
    table = pd.read_csv(tmp_path / "tooth.zarr/tables/reconstruction.csv").iloc[0]
    assert 295.3 < table.center < 296.5
    assert open_volume(tmp_path / "tooth.zarr", "tooth").shape == (2, 640, 640)
