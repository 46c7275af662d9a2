"""Flats and darks of other files: what counts, when they were taken, and what is refused."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import tifffile
from nxtomo_writer import KEY, frames_of, write_nxtomo

from xct_pipeline.acquisition import open_scan
from xct_pipeline.acquisition.references import JoinedFrames
from xct_pipeline.scan import ArrayFrames, ScanError


def run(path, kind, count=3, hour="09:00", **changes):
    """A run of its own in which every frame is marked as a projection, and nothing turns."""
    level = {"flat": 1000, "dark": 10}[kind]
    key = [0] * count
    data = np.full((count, 6, 8), level, np.uint16) + np.arange(count, dtype=np.uint16)[:, None, None]
    times = (
        {"start_time": f"2024-05-01T{hour}:00", "end_time": None} if hour else {"start_time": None, "end_time": None}
    )
    return write_nxtomo(
        path, key, **{"instrument/detector/data": data, "sample/rotation_angle": None} | times | changes
    )


@pytest.fixture
def bare(tmp_path):
    """Projections only, 10:00 to 10:10."""
    return write_nxtomo(tmp_path / "scan.nxs", [0] * 10)


def test_runs_of_their_own_by_time(tmp_path, bare):
    run(tmp_path / "f0.nxs", "flat", 3, "09:58")
    run(tmp_path / "f1.nxs", "flat", 2, "10:20")
    run(tmp_path / "f2.nxs", "flat", 1, "10:05")
    run(tmp_path / "d0.nxs", "dark", 2, None)
    scan = open_scan("scan.nxs", flats=["f1.nxs", "f0.nxs", "f2.nxs"], darks="d*.nxs", folder=tmp_path)
    np.testing.assert_array_equal(scan.flat_position, [10, 10, 0, 0, 0, 5])
    np.testing.assert_array_equal(scan.flats.read()[:, 0, 0], [1000, 1001, 1000, 1001, 1002, 1000])
    np.testing.assert_array_equal(scan.dark_position, [0, 0])
    assert [p.name for p in scan.files] == ["scan.nxs", "f1.nxs", "f0.nxs", "f2.nxs", "d0.nxs"]


def test_a_folder_that_is_relative(tmp_path, bare, monkeypatch):
    run(tmp_path / "f0.nxs", "flat", 3)
    monkeypatch.chdir(tmp_path.parent)
    for name in ("f0.nxs", "f0.nxs::/entry", "f*.nxs", tmp_path / "f0.nxs"):
        assert open_scan(bare, flats=[name], without_darks=True, folder=tmp_path.name).flats.shape[0] == 3


def test_sides_that_are_given(tmp_path, bare):
    flat, dark = run(tmp_path / "f.nxs", "flat"), run(tmp_path / "d.nxs", "dark", hour="11:00")
    scan = open_scan(bare, flats=[flat], flats_after=[flat], darks=[], darks_after=[dark])
    np.testing.assert_array_equal(scan.flat_position, [0, 0, 0, 10, 10, 10])
    np.testing.assert_array_equal(scan.dark_position, [10, 10, 10])
    np.testing.assert_array_equal(open_scan(bare, flats=flat, flats_after=[], darks=[dark]).dark_position, [10] * 3)


def test_frames_of_that_kind_and_the_scans_own(tmp_path):
    path = write_nxtomo(tmp_path / "scan.nxs")
    other = write_nxtomo(tmp_path / "other.nxs", [1, 1, 2, 0, 0, 0], start_time="2024-05-01T12:00:00")
    scan = open_scan(path, flats=[path, other])
    np.testing.assert_array_equal(scan.flat_position, [0, 0, 4, 10, 10, 10])
    np.testing.assert_array_equal(scan.flats.read()[:4], frames_of(KEY)[np.array(KEY) == 1])
    np.testing.assert_array_equal(open_scan(path, flats=[other]).flats.read(), frames_of([1, 1, 2, 0, 0, 0])[:2])
    assert open_scan(path, flats=other, without_flats=True).flats is None


def test_tiff_exchange_and_plain_files(tmp_path, bare):
    for i in range(3):
        tifffile.imwrite(tmp_path / f"f{i}.tif", np.full((6, 8), 900 + i, np.float32))
    with h5py.File(tmp_path / "dx.h5", "w") as file:
        file["exchange/data_white"] = np.full((2, 6, 8), 800, np.uint16)
        file["exchange/data"] = np.full((4, 6, 8), 1, np.uint16)
    with h5py.File(tmp_path / "plain.h5", "w") as file:
        file["deep/down/mean"] = np.full((6, 8), 7.5)
        file["time"] = np.arange(5)
    scan = open_scan(bare, flats=[tmp_path / "f*.tif", tmp_path / "dx.h5"], darks=tmp_path / "plain.h5")
    assert scan.flats.dtype == np.float32
    assert sorted(scan.flats.read()[:, 0, 0]) == [800, 800, 900, 901, 902]
    assert scan.darks.read().shape == (1, 6, 8)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: None, "no such file"),
        (lambda p: p.write_text("x" * 100), "not an HDF5 file"),
        (lambda p: write_nxtomo(p, [2, 2, 0, 0, 0]), "holds no flats"),
        (lambda p: write_nxtomo(p, [0] * 3, **{"instrument/detector/data": np.ones((3, 5, 8), "u2")}), "(5, 8)"),
        (
            lambda p: write_nxtomo(p, [0] * 3, **{"instrument/detector/data": h5py.ExternalLink("gone.h5", "/d")}),
            "gone.h5",
        ),
        (lambda p: h5py.File(p, "w").close(), "no images"),
    ],
)
def test_files_that_are_refused(tmp_path, bare, make, words):
    path = tmp_path / "ref.nxs"
    make(path)
    with pytest.raises(ScanError) as caught:
        open_scan(bare, flats=[path], without_darks=True)
    assert "ref.nxs" in str(caught.value)
    assert words in str(caught.value)


def test_several_images_in_a_plain_file(tmp_path, bare):
    with h5py.File(tmp_path / "ref.h5", "w") as file:
        file["a"], file["b"] = np.ones((6, 8)), np.ones((6, 8))
    with pytest.raises(ScanError, match="/a, /b"):
        open_scan(bare, flats=tmp_path / "ref.h5", without_darks=True)


@pytest.mark.parametrize(
    "frames", [slice(None), slice(2, 9, 2), slice(None, None, -1), slice(8, 1, -3), slice(4, 4), slice(-1, None)]
)
def test_joined_frames(frames):
    data = np.arange(10 * 3 * 4).reshape(10, 3, 4)
    joined = JoinedFrames((ArrayFrames(data[:3].astype("u2")), ArrayFrames(data[3:4]), ArrayFrames(data[4:])))
    assert joined.shape == (10, 3, 4)
    got = joined.read(frames, slice(1, 3), slice(None, None, 2))
    np.testing.assert_array_equal(got, data[frames, 1:3, ::2])
    assert got.dtype == joined.dtype
