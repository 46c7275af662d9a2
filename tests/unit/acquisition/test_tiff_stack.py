"""TIFF stacks: order, pages, plain and compressed images, angles from text, damaged files."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import tifffile

from xct_pipeline.acquisition import open_tiff_scan
from xct_pipeline.acquisition.tiff_stack import matching_files, read_angles, tiff_frames
from xct_pipeline.scan import ScanError

FRAMES = (np.arange(12 * 5 * 7).reshape(12, 5, 7) + 100).astype(np.uint16)
STEPS = {"start": 0, "stop": 180, "count": 12}


def write_scan(folder, frames=FRAMES, **options):
    for i, frame in enumerate(frames):
        tifffile.imwrite(folder / f"p_{i}.tif", frame, **options)  # p_10 sorts before p_2 as text
    tifffile.imwrite(folder / "flat.tif", np.full((5, 7), 5000, np.float32))
    tifffile.imwrite(folder / "dark.tif", np.full((5, 7), 10, np.float32))


def opened(folder, **changes):
    options = {"flats": "flat.tif", "darks": "dark.tif", "angles": STEPS, "folder": folder} | changes
    return open_tiff_scan("run", options.pop("projections", "p_*.tif"), **options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "zlib"},
        {"compression": "zlib", "predictor": True},
        {"byteorder": ">"},
        {"bigtiff": True},
        {"rowsperstrip": 2},
        {"tile": (16, 16)},
    ],
)
def test_one_image_a_file_in_natural_order(tmp_path, options):
    write_scan(tmp_path, **options)
    scan = opened(tmp_path, pixel_size_um=1.5, energy_keV=20)
    frames = pickle.loads(pickle.dumps(scan.projections))
    assert frames.dtype == np.uint16
    np.testing.assert_array_equal(frames.read(), FRAMES)
    box = (slice(10, 1, -3), slice(1, 4, 2), slice(-3, None))
    np.testing.assert_array_equal(frames.read(*box), FRAMES[box])
    assert frames.chunk_rows == (5 if {"compression", "tile"} & set(options) else 1)
    np.testing.assert_allclose(np.rad2deg(scan.angles), np.linspace(0, 180, 12))
    assert (scan.name, scan.pixel_size_um, scan.energy_keV, scan.saturation) == ("run", 1.5, 20, 65535)
    assert (scan.flats.shape, scan.darks.shape) == ((1, 5, 7), (1, 5, 7))
    assert len(scan.files) == 14


@pytest.mark.parametrize("options", [{}, {"imagej": True}, {"compression": "zlib"}])
def test_many_images_in_a_file(tmp_path, options):
    options = {"photometric": "minisblack"} | options
    tifffile.imwrite(tmp_path / "all.tif", FRAMES, **options)
    np.testing.assert_array_equal(tiff_frames([tmp_path / "all.tif"]).read(), FRAMES)
    tifffile.imwrite(tmp_path / "more.tif", FRAMES[:4], **options)
    both = tiff_frames([tmp_path / "all.tif", tmp_path / "more.tif"])
    np.testing.assert_array_equal(both.read(slice(10, 14)), np.concatenate([FRAMES[10:], FRAMES[:2]]))


def test_pages_written_one_by_one(tmp_path):
    with tifffile.TiffWriter(tmp_path / "pages.tif") as writer:
        for frame in FRAMES:
            writer.write(frame, contiguous=False)
    np.testing.assert_array_equal(tiff_frames([tmp_path / "pages.tif"]).read(), FRAMES)


@pytest.mark.parametrize("following", [10**8, 9])
def test_pages_that_cannot_be_found_are_not_left_out(tmp_path, following):
    with tifffile.TiffWriter(tmp_path / "pages.tif") as writer:
        for frame in FRAMES:
            writer.write(frame, contiguous=False)
    with tifffile.TiffFile(tmp_path / "pages.tif") as tiff:
        where = tiff.pages[1].offset + 2 + 12 * len(tiff.pages[1].tags)  # where page 1 says that page 2 lies
    data = bytearray((tmp_path / "pages.tif").read_bytes())
    data[where : where + 4] = following.to_bytes(4, "little")
    (tmp_path / "pages.tif").write_bytes(data)
    with pytest.raises(ScanError, match=r"pages\.tif: images after the first [23] cannot be found"):
        tiff_frames([tmp_path / "pages.tif"])


def test_flats_before_and_after(tmp_path):
    write_scan(tmp_path)
    scan = opened(tmp_path, flats_after=["flat.tif", "flat.tif"])
    np.testing.assert_array_equal(scan.flat_position, [0, 12, 12])
    assert scan.flats.shape == (3, 5, 7)
    np.testing.assert_array_equal(scan.dark_position, [0])


def refused(folder, *words, **changes):
    with pytest.raises(ScanError) as caught:
        opened(folder, **changes)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_wrong_files(tmp_path):
    write_scan(tmp_path)
    refused(tmp_path, "none_*.tif", projections="none_*.tif")
    refused(tmp_path, "p_77.tif", projections=["p_0.tif", "p_77.tif"])
    refused(tmp_path, "empty list", projections=[])
    tifffile.imwrite(tmp_path / "small.tif", np.ones((3, 3), np.uint16))
    refused(tmp_path, "small.tif", "flats are (3, 3)", flats="small.tif")
    refused(tmp_path, "small.tif", "(3, 3)", projections=["p_0.tif", "small.tif"])
    refused(tmp_path, "flat.tif", "float32", projections=["p_0.tif", "flat.tif"])
    refused(tmp_path, 'flats = "none"', flats=None)
    refused(tmp_path, 'darks = "none"', darks=None)
    assert opened(tmp_path, flats=None, darks=None, without_flats=True, without_darks=True).flats is None
    tifffile.imwrite(tmp_path / "rgb.tif", np.zeros((5, 7, 3), np.uint8), photometric="rgb")
    refused(tmp_path, "rgb.tif", "grey", projections="rgb.tif")
    tifffile.imwrite(tmp_path / "complex.tif", np.zeros((5, 7), np.complex64))
    refused(tmp_path, "complex.tif", "expected grey values", projections="complex.tif")
    (tmp_path / "text.tif").write_text("II but no TIFF")
    refused(tmp_path, "text.tif", projections="text.tif")
    (tmp_path / "empty.tif").touch()
    refused(tmp_path, "empty.tif", projections="empty.tif")


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"bigtiff": True}])
def test_truncated_anywhere(tmp_path, options):
    write_scan(tmp_path, **options)
    whole = (tmp_path / "p_11.tif").read_bytes()
    for size in range(0, len(whole), 3):
        (tmp_path / "p_11.tif").write_bytes(whole[:size])
        with pytest.raises(ScanError, match="p_11"):
            opened(tmp_path).projections.read()
    (tmp_path / "p_11.tif").write_bytes(whole)
    scan = opened(tmp_path)
    (tmp_path / "p_11.tif").write_bytes(whole[:-9])
    with pytest.raises(ScanError, match="p_11"):
        scan.projections.read()


def test_angles_from_a_file(tmp_path):
    lines = ["-88.2"] * 3 + [str(a) for a in range(12)] + ["", "# end", "junk"]
    (tmp_path / "angles.txt").write_text("\n".join(lines), encoding="utf-8")
    np.testing.assert_allclose(np.rad2deg(read_angles({"file": "angles.txt", "lines": (3, 15)}, tmp_path)), range(12))
    (tmp_path / "plain.txt").write_text("# degrees\n\n1.5,\n-2e1 # comment\r\n3\n")
    np.testing.assert_allclose(np.rad2deg(read_angles({"file": "plain.txt", "lines": None}, tmp_path)), [1.5, -20, 3])
    np.testing.assert_allclose(read_angles([0, 90, 180], tmp_path), [0, np.pi / 2, np.pi])


@pytest.mark.parametrize(
    ("angles", "words"),
    [
        ({"file": "gone.txt"}, "gone.txt"),
        ({"file": "a.txt"}, "line 3 is 'x'"),
        ({"file": "a.txt", "lines": [0, 5]}, "of a file of 4 lines"),
        ({"file": "a.txt", "lines": [2, 2]}, "of a file of 4 lines"),
        ({"file": "a.txt", "lines": [-1, 2]}, "of a file of 4 lines"),
        ({"file": "a.txt", "lines": [0, 1, 2]}, "lines ="),
        ({"file": "a.txt", "lines": "all"}, "lines ="),
        ({"file": "a.txt", "lines": [0, 3]}, "3 angles for 12 projections"),
        ({"start": 0, "stop": 180, "count": 11}, "11 angles for 12 projections"),
        ({"start": 0, "stop": 180, "count": 0}, "count"),
        ({"start": 0, "stop": "b", "count": 12}, "angles"),
        ({"start": 0, "stop": 180}, "expected"),
        ({}, "expected"),
        ([1, 2, "x"], "angles"),
        ([np.nan] * 12, "not numbers"),
    ],
)
def test_wrong_angles(tmp_path, angles, words):
    write_scan(tmp_path)
    (tmp_path / "a.txt").write_text("1\n2\n3\nx\n")
    refused(tmp_path, words, angles=angles)


def test_globs(tmp_path):
    for name in ("a10.tif", "a2.tif", "a[1].tif", "b1.tif"):
        (tmp_path / name).touch()
    assert [p.name for p in matching_files("a*", tmp_path)] == ["a2.tif", "a10.tif", "a[1].tif"]
    assert [p.name for p in matching_files(["b1.tif", "a[1].tif"], tmp_path)] == ["b1.tif", "a[1].tif"]
    assert [p.name for p in matching_files(str(tmp_path / "?2*"), tmp_path / "elsewhere")] == ["a2.tif"]
