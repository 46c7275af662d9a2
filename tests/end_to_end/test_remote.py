"""A store behind https is read as one on the disk; what cannot be reached is told in one line."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from command import xct
from served import served

from xct_pipeline import open_volume
from xct_pipeline.store.files import StoreError
from xct_pipeline.store.opened import open_image
from xct_pipeline.store.remote import is_remote

pytest.importorskip("aiohttp")


@pytest.fixture(scope="module")
def address(small_series: Path) -> Iterator[str]:
    with served(small_series.parent) as root:
        yield f"{root}/store.zarr"


def test_values_coordinates_and_scans_are_those_on_the_disk(address: str, small_series: Path) -> None:
    for arguments in ({"scan": "scan_10"}, {"scan": None}):
        there, here = open_volume(address, **arguments), open_volume(small_series, **arguments)
        assert there.attrs["units"] == "1/cm"
        assert there.coords.equals(here.coords)
        assert np.array_equal(there[..., 10, :, :].values, here[..., 10, :, :].values, equal_nan=True)
    areal = open_image(f"{address}/variation/areal")
    assert areal.dims == ("t", "y", "x")


def test_info_tells_what_is_there(address: str, capsys: pytest.CaptureFixture) -> None:
    ended = xct(capsys, "info", address, "--json")
    assert ended.code == 0, ended.err
    assert ended.json["order"][1] == "scan_2"
    assert ended.json["images"]["registered"]["shape"] == [11, 40, 48, 48]


def test_what_cannot_be_reached_is_one_line(address: str, capsys: pytest.CaptureFixture) -> None:
    for wrong in (address + "x", "http://127.0.0.1:9/store.zarr"):
        ended = xct(capsys, "info", wrong)
        assert ended.code == 1
        assert ended.err.count("\n") == 1
        assert "cannot be read" in ended.err
    with pytest.raises(StoreError, match="cannot be read"):
        open_volume(address, "scan_99")


def test_layers_are_those_of_the_store_on_the_disk(address: str, small_series: Path) -> None:
    pytest.importorskip("napari")
    from xct_pipeline.viewer.layers import read

    there, here = ({layer[1]["name"]: layer for layer in read(place)} for place in (address, small_series))
    assert {"registered, 1/cm", "areal mass change, mg/cm2", "materials"} <= set(there) <= set(here)
    for name, (data, keywords, kind) in there.items():
        mine, others, own_kind = here[name]
        assert kind == own_kind
        for key in ("scale", "translate", "axis_labels", "units", "visible", "contrast_limits"):
            assert keywords.get(key) == others.get(key), (name, key)
        assert keywords["metadata"]["xct"]["scans"] == others["metadata"]["xct"]["scans"]
        coarsest = [levels[-1] if isinstance(levels, list) else levels for levels in (data, mine)]
        np.testing.assert_array_equal(*(np.asarray(level) for level in coarsest))
    (one,) = read(f"{address}/variation/areal")
    assert one[1]["metadata"]["xct"]["unit"] == "mg/cm2"


def test_the_report_that_lies_there_is_fetched(
    address: str, small_series: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = xct(capsys, "report", address)
    assert ended.code == 0, ended.err
    assert (tmp_path / "store_report.html").read_bytes() == (small_series / "report.html").read_bytes()
    assert xct(capsys, "report", address + "x").code == 1
    assert [file.name for file in tmp_path.iterdir()] == ["store_report.html"]


@pytest.mark.parametrize("command", ["info", "report", "view"])
def test_every_command_tells_what_is_missing_or_out_of_reach_in_a_line(
    command: str, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    if command == "view":
        pytest.importorskip("napari", reason="a view asks for napari before it asks for the store")
    monkeypatch.setattr("xct_pipeline.viewer.window.display_problem", lambda: None)
    for wrong in ("http://127.0.0.1:9/store.zarr", "http://no-such-host.invalid/store.zarr"):
        ended = xct(capsys, command, wrong)
        assert ended.code == 1
        assert ended.err.count("\n") == 1
        assert f"{wrong}" in ended.err
        assert "cannot be read" in ended.err
    monkeypatch.setitem(sys.modules, "s3fs", None)
    ended = xct(capsys, command, "s3://bucket/store.zarr")
    assert ended.code == 1
    assert ended.err.count("\n") == 1
    assert 'pip install "xct-pipeline[remote]"' in ended.err


@pytest.mark.parametrize("command", ["info", "report"])
def test_a_server_that_does_not_answer_is_given_up(
    command: str, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xct_pipeline.store.remote.SILENT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        ended = xct(capsys, command, f"http://127.0.0.1:{silent.getsockname()[1]}/store.zarr")
    assert ended.code == 1
    assert ended.err.count("\n") == 1
    assert "cannot be read" in ended.err


def test_how_far_it_is_cannot_be_told_there(address: str, capsys: pytest.CaptureFixture) -> None:
    ended = xct(capsys, "status", address)
    assert ended.code == 1
    assert "xct info" in ended.err


def test_addresses_are_told_from_paths() -> None:
    assert is_remote("s3://bucket/a.zarr")
    assert is_remote("https://host/a.zarr")
    assert not is_remote("a.zarr")
    assert not is_remote(Path("a.nxs::/entry"))
