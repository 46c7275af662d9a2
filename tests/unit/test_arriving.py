"""Files that come in, in every order and state: what can be used, what is waited for, and why."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import h5py
import layouts
import numpy as np
import pytest
import tifffile
from cases import Raw
from hypothesis import given, settings
from hypothesis import strategies as st

from xct_pipeline.acquisition.steps import open_scans
from xct_pipeline.acquisition.steps.pieces import with_pieces
from xct_pipeline.cli import arriving
from xct_pipeline.config.file import parse_config

REST = 5.0


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(arriving, "time", found)
    return found


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    """Three tiny scans an hour apart, the names against the order of time."""
    folder = tmp_path_factory.mktemp("raw")
    for k in range(3):
        scan = Raw.make(layouts.DEGREES, width=48, center=23.6, seed=k)
        scan.start = f"2024-05-01T{10 + k}:00:00+00:00"
        scan.write(folder, "nxtomo", f"s{9 - k}")
    return folder


def watched(folder: Path, **acquisition: object) -> arriving.Arrivals:
    config = parse_config({"output": "store.zarr", "acquisition": acquisition or {"scans": ["s*.nxs"]}}, folder)
    return arriving.Arrivals(config, REST)


def states(arrivals: arriving.Arrivals) -> dict[str, str]:
    return {item.piece.label: item.state for item in arrivals.pieces.values()}


def rested(arrivals: arriving.Arrivals, clock: Clock, seconds: float = REST) -> dict[str, str]:
    arrivals.look()
    clock.now += seconds
    arrivals.look()
    return states(arrivals)


def test_files_of_the_past_and_of_the_future_rest_alike(raw, tmp_path, clock):
    for name, moment in (("s9.nxs", 1e8), ("s8.nxs", 4e9)):
        shutil.copy(raw / name, tmp_path)
        os.utime(tmp_path / name, (moment, moment))
    arrivals = watched(tmp_path)
    arrivals.look()
    assert set(states(arrivals).values()) == {"arriving"}
    assert set(rested(arrivals, clock).values()) == {"whole"}


def test_order_is_that_of_the_times(raw, tmp_path, clock):
    for file in raw.iterdir():
        shutil.copy(file, tmp_path)
    arrivals = watched(tmp_path)
    rested(arrivals, clock)
    assert [item.names[0] for item in arriving.in_order(arrivals.whole)] == ["s9", "s8", "s7"]
    config = parse_config({"output": "store.zarr", "acquisition": {"scans": ["s*.nxs"]}}, tmp_path)
    assert [item.name for item in open_scans(config)] == ["s9", "s8", "s7"]
    (tmp_path / "s0.nxs").write_bytes(b"no scan")
    assert [item.name for item in open_scans(config)] == ["s0", "s9", "s8", "s7"]
    with h5py.File(tmp_path / "s7.nxs", "r+") as file:
        del file["entry/start_time"]
    assert [item.name for item in open_scans(config)] == ["s0", "s7", "s8", "s9"]  # not all times are known


def test_file_renamed_into_place_and_one_that_vanishes(raw, tmp_path, clock):
    arrivals = watched(tmp_path)
    shutil.copy(raw / "s9.nxs", tmp_path / ".s9.nxs.part")
    assert rested(arrivals, clock) == {}
    (tmp_path / ".s9.nxs.part").rename(tmp_path / "s9.nxs")
    shutil.copy(raw / "s8.nxs", tmp_path)
    assert rested(arrivals, clock) == {"s8.nxs": "whole", "s9.nxs": "whole"}
    (tmp_path / "s8.nxs").unlink()
    assert arrivals.look()
    assert states(arrivals) == {"s9.nxs": "whole"}


def test_what_could_not_be_read_is_tried_again_without_a_change(raw, tmp_path, clock, monkeypatch):
    shutil.copy(raw / "s9.nxs", tmp_path)
    arrivals = watched(tmp_path)

    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "s9.nxs")

    with monkeypatch.context() as patch:
        patch.setattr(arriving, "open_scans", denied)
        assert rested(arrivals, clock) == {"s9.nxs": "broken"}
        assert "Permission denied" in next(iter(arrivals.pieces.values())).problem
    assert rested(arrivals, clock) == {"s9.nxs": "broken"}
    assert rested(arrivals, clock, arriving.AGAIN_S) == {"s9.nxs": "whole"}


def test_second_scan_of_one_name_hinders_only_itself(raw, tmp_path, clock):
    for part in ("a", "b"):
        (tmp_path / part).mkdir()
        shutil.copy(raw / "s9.nxs", tmp_path / part)
    arrivals = watched(tmp_path, scans=["*/s*.nxs"])
    rested(arrivals, clock)
    assert [item.state for item in arrivals.pieces.values()] == ["whole", "broken"]
    assert "two scans are called s9" in list(arrivals.pieces.values())[1].problem


def test_folder_of_images_that_grows(tmp_path, clock):
    (tmp_path / "p").mkdir()
    frame = np.full((4, 48), 900, np.uint16)
    images = {"name": "a", "projections": "p/p_*.tif", "flats": "flat.tif", "darks": "dark.tif"}
    tables = [{**images, "angles": {"start": 0.0, "stop": 180.0, "count": 7}}]
    arrivals = watched(tmp_path, tiff=tables)
    assert rested(arrivals, clock) == {}
    for name in ("flat", "dark"):
        tifffile.imwrite(tmp_path / f"{name}.tif", frame if name == "flat" else frame * 0)
    for k in range(7):
        tifffile.imwrite(tmp_path / "p" / f"p_{k}.tif", frame - 9 * k)
        assert rested(arrivals, clock, REST - 1) == {"a": "arriving"}
    assert rested(arrivals, clock) == {"a": "whole"}
    (scan,) = open_scans(with_pieces(arrivals._config, [item.piece for item in arrivals.whole]))
    assert scan.scan is not None
    assert len(scan.scan.angles) == 7


def test_frames_in_other_files_must_rest_too(tmp_path, clock):
    layouts.hex_pairs(tmp_path, layouts.series(2))
    table = {
        "data": "entry/data/data",
        "angles": "panda.h5::Angle",
        "flats": "../dark_flat_00001/dark_flat.h5::entry/data/data[4:10]",
        "darks": "../dark_flat_00001/dark_flat.h5::entry/data/data[0:4]",
    }
    arrivals = watched(tmp_path, scans=["scan_{scan}/proj.h5"], hdf5=[table])
    assert rested(arrivals, clock) == {"00001": "arriving", "00002": "arriving"}
    with h5py.File(tmp_path / "scan_00002" / "panda.h5", "r+") as file:
        file["more"] = 1  # still written
    clock.now += 1
    assert rested(arrivals, clock, REST - 1) == {"00001": "whole", "00002": "arriving"}
    assert rested(arrivals, clock) == {"00001": "whole", "00002": "whole"}
    again = open_scans(with_pieces(arrivals._config, [item.piece for item in arrivals.whole]))
    assert [(item.name, item.scan and item.scan.files) for item in again] == [
        (item.name, item.scan and item.scan.files) for item in open_scans(arrivals._config)
    ]


def test_volumes_of_other_programs(tmp_path, clock):
    table = {"data": "{scan}/z_*.tif", "axes": "zyx", "unit": "1/cm", "voxel_um": 2.0}
    arrivals = watched(tmp_path, volume=[table])
    assert rested(arrivals, clock) == {}
    (tmp_path / "one").mkdir()
    for z in range(3):
        tifffile.imwrite(tmp_path / "one" / f"z_{z}.tif", np.full((8, 8), z, np.float32))
        assert rested(arrivals, clock, REST - 1) == {"one": "arriving"}
    assert rested(arrivals, clock) == {"one": "whole"}


Step = tuple[str, int, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["copy", "cut", "grow", "garbage", "remove", "rename", "touch", "folder", "link"]),
        st.integers(7, 9),
        st.integers(0, 2),
    ),
    max_size=12,
)


def happens(folder: Path, raw: Path, what: str, k: int) -> None:
    """Do to a file what happens to files."""
    file, source = folder / f"s{k}.nxs", (raw / f"s{k}.nxs").read_bytes()
    if file.is_dir():
        file.rmdir()
    match what:
        case "copy":
            file.unlink(missing_ok=True)
            file.write_bytes(source)
        case "cut":
            file.write_bytes(source[: len(source) // 3])
        case "grow" if file.exists():
            with file.open("ab") as stream:
                stream.write(source[file.stat().st_size :])
        case "garbage":
            file.write_bytes(b"garbage")
        case "remove":
            file.unlink(missing_ok=True)
        case "rename":
            (folder / "part").write_bytes(source)
            (folder / "part").rename(file)
        case "touch" if file.exists():
            os.utime(file, (5e9, 5e9))
        case "folder":
            file.unlink(missing_ok=True)
            file.mkdir()
        case "link":
            file.unlink(missing_ok=True)
            file.symlink_to(folder / "nothing")


@settings(max_examples=25, deadline=None)
@given(steps=STEPS)
def test_whatever_happens_to_files_the_whole_ones_are_found(raw, tmp_path_factory, steps: list[Step]):
    folder, clock = tmp_path_factory.mktemp("in"), Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arriving, "time", clock)
        arrivals = watched(folder)
        for what, k, looks in steps:
            happens(folder, raw, what, k)
            for _ in range(looks):
                arrivals.look()
                clock.now += 0.7 * REST
        for _ in range(2):
            rested(arrivals, clock, max(REST, arriving.AGAIN_S))
        good = {f.name for f in folder.glob("s*.nxs") if f.is_file() and f.read_bytes() == (raw / f.name).read_bytes()}
        assert {item.piece.label for item in arrivals.whole} == good
        assert not arrivals.look()
