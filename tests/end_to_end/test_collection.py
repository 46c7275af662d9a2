"""Other readers find every image from the root of a store, with its times and each level of its pyramid."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from small_series import TIMES_S

from xct_pipeline.store.image import even_times
from xct_pipeline.store.series import Series
from xct_pipeline.store.verify import verify


def listed(store: Path) -> list[str]:
    return json.loads((store / "OME" / "zarr.json").read_text())["attributes"]["ome"]["series"]


def test_the_root_lists_all_images(small_series: Path) -> None:
    root = json.loads((small_series / "zarr.json").read_text())["attributes"]["ome"]
    assert root == {"version": "0.5", "bioformats2raw.layout": 3}
    paths = listed(small_series)
    assert paths[0] == "registered"
    assert {"scans/scan_10/volume", "variation/areal", "registered/labels/materials"} <= set(paths)
    for path in paths:
        attributes = json.loads((small_series / path / "zarr.json").read_text())["attributes"]
        assert "multiscales" in attributes["ome"], path
    assert verify(Series.open(small_series).store).problems == []


def test_yaozarrs_accepts_root_and_images(small_series: Path) -> None:
    import yaozarrs

    for path in ("registered", "variation/areal", "registered/labels/materials"):
        yaozarrs.validate_zarr_store(str(small_series / path))
    yaozarrs.v05.Bf2Raw.model_validate(zarr.open_group(str(small_series), mode="r").attrs["ome"])


def test_ngff_zarr_follows_the_root(small_series: Path) -> None:
    ngff_zarr = pytest.importorskip("ngff_zarr")
    parse = pytest.importorskip("ngff_zarr.parse_metadata")
    group = zarr.open_group(str(small_series), mode="r")
    assert parse._is_bioformats2raw(dict(group.attrs))
    assert parse._get_bioformats2raw_series(group) == listed(small_series)
    image = ngff_zarr.from_ngff_zarr(str(small_series / "registered")).images[0]
    assert image.scale["z"] == pytest.approx(100 / 3)
    assert image.scale["t"] == pytest.approx(TIMES_S[1] - TIMES_S[0])
    assert image.translation["t"] == pytest.approx(TIMES_S[0])


def test_ome_zarr_py_reads_images(small_series: Path) -> None:
    reader = pytest.importorskip("ome_zarr.reader")
    location = pytest.importorskip("ome_zarr.io").parse_url(str(small_series / "registered"))
    nodes = list(reader.Reader(location)())
    assert nodes[0].data[0].shape == (11, 40, 48, 48)


def test_times_are_in_standard_metadata(small_series: Path) -> None:
    multiscale = json.loads((small_series / "registered" / "zarr.json").read_text())["attributes"]["ome"][
        "multiscales"
    ][0]
    assert multiscale["axes"][0] == {"name": "t", "type": "time", "unit": "second"}
    scale, shift = multiscale["datasets"][0]["coordinateTransformations"]
    assert (scale["scale"][0], shift["translation"][0]) == (TIMES_S[1] - TIMES_S[0], TIMES_S[0])
    assert even_times([0.0, 10.0, 60.0]) == (0.0, 30.0)
    assert even_times([0.0, None, 60.0]) is None
    assert even_times([5.0]) is None


@pytest.mark.parametrize("path", ["registered", "scans/scan_3/volume", "variation/areal"])
def test_xarray_opens_each_level(small_series: Path, path: str) -> None:
    levels = sorted(p.name for p in (small_series / path).iterdir() if p.name.isdecimal())
    for level in levels:
        others = [name for name in levels if name != level]
        found = xr.open_zarr(small_series / path, consolidated=False, drop_variables=others)[level]
        own = Series.open(small_series).image(path, int(level))
        assert found.dims == own.dims
        assert np.array_equal(found.values, own.values, equal_nan=True)
