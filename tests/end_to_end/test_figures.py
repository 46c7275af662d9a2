"""The static pictures of a report as files for a paper."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command import xct
from PIL import Image

from xct_pipeline.report import static
from xct_pipeline.store.series import Series

PICTURES = {
    "maps_beside_the_voltage_profile",
    "from_slice_to_map",
    "between_consecutive_scans",
    "materials",
    "before_and_after",
}


@pytest.fixture(scope="module")
def folder(small_series: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("figures") / "new"
    assert all(file is not None for file, _ in static.write_figures(small_series, folder))
    return folder


def test_every_picture_is_written_in_three_ways(folder: Path) -> None:
    wanted = {f"{name}.{kind}" for name in PICTURES for kind in ("svg", "png", "csv")}
    assert {file.name for file in folder.iterdir()} == wanted
    for name in PICTURES:
        with Image.open(folder / f"{name}.png") as image:
            assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
            assert image.width == pytest.approx(11 * 300, abs=5)
            assert np.ptp(np.asarray(image.convert("L"))) > 200
        texts = [part for part in ET.parse(folder / f"{name}.svg").iter() if part.tag.endswith("}text")]
        assert "".join("".join(text.itertext()) for text in texts).strip(), name
    words = (folder / "maps_beside_the_voltage_profile.svg").read_text()
    assert "scan_11" in words
    assert "voltage, V" in words


def test_values_are_those_that_are_drawn(folder: Path, small_series: Path) -> None:
    table = pd.read_csv(folder / "materials.csv")
    series = Series.open(small_series)
    labels = series.image("registered/labels/materials")
    plane = np.asarray(labels[labels.sizes["t"] - 1, labels.sizes["z"] // 2])
    drawn = table[(table["part"] == "scan_11, x–y, layer 2")]
    found = np.full(plane.shape, -1.0)
    found[drawn["y"], drawn["x"]] = drawn["value"]
    assert np.array_equal(found, plane)
    maps = pd.read_csv(folder / "between_consecutive_scans.csv")
    assert set(maps["kind"]) == {"map"}
    assert set(maps["scale"]) == {"change, mg/cm²"}
    assert maps["part"].str.contains("scan_11 − scan_10").any()
    profile = pd.read_csv(folder / "maps_beside_the_voltage_profile.csv")
    assert (profile["kind"] == "curve").any()


def test_a_store_without_maps_leaves_them_out_and_says_so(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = xct(capsys, "report", finished / "store.zarr", "--figures", tmp_path / "new")
    assert ended.code == 0, ended.err
    assert "left out: Maps beside the voltage profile: " in ended.err
    assert not list((tmp_path / "new").glob("maps*"))
    ended = xct(capsys, "report", "https://example.org/store.zarr", "--figures", tmp_path / "new")
    assert (ended.code, ended.err.count("\n")) == (1, 1)
