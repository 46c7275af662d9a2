"""Scans in the layouts of beamlines: `xct init DIR` finds them, and they hold the same counts in whatever files."""

from __future__ import annotations

import re
import tomllib
from datetime import datetime
from pathlib import Path
from typing import Any

import h5py
import layouts
import numpy as np
import pytest
import tifffile
from command import xct
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import DEGREES, FIRST_ONLY, LAYOUTS, TIMED, N

from xct_pipeline import open_scan, parse_config
from xct_pipeline.acquisition.hdf5 import reading
from xct_pipeline.acquisition.layout.angles import matched
from xct_pipeline.acquisition.layout.recipes import MOST_LINES, OURS, load_recipes
from xct_pipeline.acquisition.layout.split import split
from xct_pipeline.acquisition.steps import OpenedScan, open_scans, scan_identity
from xct_pipeline.scan import Scan, ScanError

PAGE = Path(__file__).resolve().parents[3] / "docs" / "layouts.md"
SERIES = layouts.series()


def opened(text: str, folder: Path) -> list[OpenedScan]:
    return open_scans(parse_config(tomllib.loads(f'output = "store.zarr"\n{text}'), folder))


def one(text: str, folder: Path) -> Scan:
    (item,) = opened(text, folder)
    assert item.scan is not None, item.problem
    return item.scan


def refusal(text: str, folder: Path) -> str:
    """Return why the only scan cannot be opened: one line."""
    (item,) = opened(text, folder)
    assert item.problem is not None
    assert "\n" not in item.problem
    return item.problem


def written(name: str, folder: Path) -> Path:
    raw = folder / "raw"
    raw.mkdir()
    LAYOUTS[name](raw, SERIES)
    return raw


def test_every_row_of_the_page_is_tested() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", PAGE.read_text().split("\n## ")[0], flags=re.MULTILINE)
    assert sorted(rows) == sorted(LAYOUTS)


@pytest.mark.parametrize("name", LAYOUTS)
def test_init_finds_the_scans_of_a_layout(name: str, tmp_path: Path, capsys: Any) -> None:
    if name == "edf_folders":
        pytest.importorskip("fabio")
    raw = written(name, tmp_path)
    config = tmp_path / "run.toml"
    ended = xct(capsys, "init", raw, "-o", config)
    assert ended.code == 0, ended.err
    found = opened_of(config)
    scans = [item.scan for item in found]
    expected = {"hex_averaged": 1, "hex_two_cameras": 2}.get(name, 3)
    assert [item.problem for item in found] == [None] * expected
    for k, scan in enumerate(scans):
        assert scan is not None
        turn = -1 if name == "swinging" and k % 2 else 1
        references = SERIES[0 if name in FIRST_ONLY else k]
        np.testing.assert_array_equal(scan.projections.read(), SERIES[k].projections[::turn])
        assert scan.flats is not None
        assert scan.darks is not None
        np.testing.assert_array_equal(scan.flats.read(), references.flats)
        np.testing.assert_array_equal(scan.darks.read(), references.darks)
        ahead = 180.0 * k if name == "i12" else 0.0
        np.testing.assert_allclose(np.degrees(scan.angles), DEGREES[::turn] + ahead, atol=1e-9)
        assert set(scan.flat_position) == ({0.0, float(N)} if name == "dx_pre_post" else {0.0})
    if name in TIMED:
        starts = [scan.start for scan in scans if scan is not None]
        assert all(isinstance(start, datetime) for start in starts)
        assert starts == sorted(starts)  # type: ignore[type-var]
    assert len({str(scan_identity(scan)) for scan in scans if scan is not None}) == expected


def opened_of(config: Path) -> list[OpenedScan]:
    return open_scans(parse_config(tomllib.loads(config.read_text()), config.parent))


def test_recipes_are_short_and_hold_no_code() -> None:
    files = sorted(OURS.glob("*.toml"))
    assert len(files) >= 11
    for file in files:
        assert len(file.read_text().splitlines()) <= MOST_LINES, file
    assert len(load_recipes()) == len(files)


def test_references_go_with_the_scans_that_follow_them(tmp_path: Path, capsys: Any) -> None:
    raw = tmp_path / "raw"
    layouts.hex_scripts(raw, SERIES)
    layouts.detector(raw / "scan_00043b/flat_00001.hdf", SERIES[1].flats, 1e9 + 2500)
    (raw / "scan_00043b").rename(raw / "scan_00100")  # its number says after all, its time between two scans
    ended = xct(capsys, "init", raw, "-o", tmp_path / "run.toml")
    assert ended.code == 0, ended.err
    assert re.search(r"6 flats scan_00041/flat_00000\.hdf.* for scan_00042, scan_00043\n", ended.out)
    assert re.search(r"6 flats scan_00100/flat_00001\.hdf.* for scan_00044\n", ended.out)
    scans = [item.scan for item in opened_of(tmp_path / "run.toml")]
    assert [int(scan.flats.read()[0, 0, 0]) - int(SERIES[0].flats[0, 0, 0]) for scan in scans] == [0, 0, 1]  # type: ignore[union-attr]


def test_a_user_adds_a_recipe_and_is_told_where_two_match(tmp_path: Path, capsys: Any) -> None:
    raw, own = tmp_path / "raw", tmp_path / "recipes"
    raw.mkdir()
    own.mkdir()
    for k, scan in enumerate(SERIES):
        with h5py.File(raw / f"x{k}.h5", "w") as file:
            file["a/alpha"], file["b"] = np.radians(scan.degrees), scan.projections
            file["c"], file["d"] = scan.flats, scan.darks
    recipe = (
        'name = "{}"\nfile = "x*.h5"\nhas = ["a/alpha"]\n'
        '[scan]\ndata = "b"\nangles = "a/alpha"\nflats = "c"\ndarks = "d"\n'
    )
    (own / "mine.toml").write_text(recipe.format("mine"))
    arguments = ("init", raw, "--recipes", own, "-o", tmp_path / "run.toml")
    assert xct(capsys, *arguments).code == 0
    scan = opened_of(tmp_path / "run.toml")[2].scan
    assert scan is not None
    np.testing.assert_array_equal(scan.projections.read(), SERIES[2].projections)
    (own / "other.toml").write_text(recipe.format("other"))
    (tmp_path / "run.toml").unlink()
    twice = xct(capsys, *arguments)
    assert twice.code == 1
    assert "recipes 'mine' (mine.toml) and 'other' (other.toml) both recognise it" in twice.err
    assert len(twice.err.strip().splitlines()) == 1
    assert not (tmp_path / "run.toml").exists()
    assert xct(capsys, *arguments, "--recipe", "other").code == 0
    (own / "bad.toml").write_text('name = "bad"\nfle = "x"\n')
    assert "bad.toml: fle: unknown key" in xct(capsys, *arguments).err


MISSING = {
    "angles": (lambda raw: (raw / "theta.txt").unlink(), "no angles for its 61 projections"),
    "flats": (lambda raw: [f.unlink() for f in raw.glob("ff_*")], "no flats were found"),
    "darks": (lambda raw: [f.unlink() for f in raw.glob("df_*")], "no darks were found"),
    "short angles": (lambda raw: np.savetxt(raw / "theta.txt", DEGREES[:30]), "theta.txt has 30"),
    "other detector": (
        lambda raw: [tifffile.imwrite(f, np.ones((5, 9), "u2")) for f in raw.glob("ff_*")],
        "flats of ff_0000.tif are (5, 9), its frames (4, 48) (row, column): references of another detector",
    ),
}


@pytest.mark.parametrize("what", MISSING)
def test_what_is_missing_is_said_and_nothing_is_written(what: str, tmp_path: Path, capsys: Any) -> None:
    raw = written("tiff_names", tmp_path)
    spoil, told = MISSING[what]
    spoil(raw)
    ended = xct(capsys, "init", raw, "-o", tmp_path / "run.toml")
    assert ended.code == 1
    assert told in ended.err
    assert not (tmp_path / "run.toml").exists()


def test_an_empty_folder_has_no_scan(tmp_path: Path, capsys: Any) -> None:
    ended = xct(capsys, "init", tmp_path, "-o", tmp_path / "run.toml")
    assert ended.code == 1
    assert "no scan was found" in ended.err


def plain(path: Path, **more: Any) -> Path:
    """Write a file that has everything under names of its own."""
    scan = SERIES[0]
    with h5py.File(path, "w") as file:
        file["p"], file["t"], file["f"], file["d"] = scan.projections, scan.degrees, scan.flats, scan.darks
        for name, data in more.items():
            if name in file:
                del file[name]
            file[name] = data
    return path


TABLE = '[acquisition]\nscans = ["*.h5"]\n[acquisition.hdf5]\n'
NAMED = f'{TABLE}data = "p"\nangles = "t"\nflats = "f"\ndarks = "d"\n'


def test_one_table_says_how_all_scans_are_read(tmp_path: Path) -> None:
    for k in range(2):
        plain(tmp_path / f"scan_{k}.h5")
    assert [item.name for item in opened(NAMED, tmp_path)] == ["scan_0", "scan_1"]


def test_ranges_patterns_and_files_of_angles(tmp_path: Path) -> None:
    for k in (3, 12):
        (tmp_path / f"run {k}").mkdir()
        plain(tmp_path / f"run {k}" / "cam.h5")
        np.savetxt(tmp_path / f"run {k}" / f"angles_{k}.txt", DEGREES[5:50])
    text = (
        '[acquisition.hdf5]\ndata = "run {scan}/cam.h5::p[5:50]"\nangles = "angles_{scan}.txt"\n'
        'flats = ["cam.h5::f[0:2, 4]", "f[5]"]\ndarks = "::d[::2]"\n'
    )
    scans = opened(text, tmp_path)
    assert [item.name for item in scans] == ["3", "12"]
    for item in scans:
        assert item.scan is not None, item.problem
        np.testing.assert_array_equal(item.scan.projections.read(), SERIES[0].projections[5:50])
        assert item.scan.flats is not None
        np.testing.assert_array_equal(item.scan.flats.read(), SERIES[0].flats[[0, 1, 4, 5]])
        assert item.scan.darks is not None
        assert item.scan.darks.shape[0] == 2


@pytest.mark.parametrize("angles", ["{ start = 0.0, stop = 180.0, count = 61 }", "{ step = 3.0 }"])
def test_angles_as_a_range_or_a_constant_step(angles: str, tmp_path: Path) -> None:
    plain(tmp_path / "scan.h5")
    scan = one(NAMED.replace('"t"', angles), tmp_path)
    np.testing.assert_allclose(np.degrees(scan.angles), DEGREES)


def test_frames_at_one_angle_are_averaged(tmp_path: Path) -> None:
    plain(tmp_path / "scan.h5", p=np.repeat(SERIES[0].projections, 2, axis=0) + np.tile([0, 1], N)[:, None, None])
    problem = refusal(NAMED, tmp_path)
    assert "61 angles for 122 frames: set frames_per_angle = 2" in problem
    scan = one(f"{NAMED}frames_per_angle = 2\n", tmp_path)
    np.testing.assert_allclose(scan.projections.read(), SERIES[0].projections + 0.5, rtol=1e-6)
    np.testing.assert_allclose(scan.projections.read(slice(3, 9, 2), slice(1, 3)), scan.projections.read()[3:9:2, 1:3])


BAD = {
    "absent dataset": ('data = "p"', 'data = "q"', "/q: no such dataset"),
    "near name": ('angles = "t"', 'angles = "x/t"', "did you mean /t?"),
    "range outside": ('data = "p"', 'data = "p[0:99]"', "[0:99] reaches outside, there are 61"),
    "file absent": ('flats = "f"', 'flats = "other.h5::f"', "other.h5: no such file"),
    "flats of another detector": ('flats = "f"', 'flats = "small"', "references of another detector"),
    "no frames": ('data = "p"', 'data = "t"', "expected (frame, row, column)"),
    "no angles": ('angles = "t"\n', "", "angles are not given"),
    "strange key": ('angles = "t"', 'angles = "t"\nkey = "t"', "0 projection, 1 flat, 2 dark, 3 invalid are known"),
    "split by nothing": ('angles = "t"', 'angles = "t"\nsplit = "nowhere"', "/nowhere: no such dataset"),
    "no date": ('angles = "t"', 'angles = "t"\nstart = "word"', "is no date and time"),
    "loop": ('data = "p"', 'data = "loop"', "loop"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_wrong_is_one_line(what: str, tmp_path: Path) -> None:
    with h5py.File(plain(tmp_path / "scan.h5", small=np.ones((3, 2, 2)), word="yesterday"), "a") as file:
        file["loop"] = h5py.SoftLink("/loop")
    old, new, told = BAD[what]
    assert told in refusal(NAMED.replace(old, new), tmp_path)


def test_an_angle_file_that_is_too_short_is_refused_with_the_figures(tmp_path: Path) -> None:
    plain(tmp_path / "scan.h5")
    np.savetxt(tmp_path / "a.txt", DEGREES[:40])
    assert "a.txt: 40 angles for 61 frames" in refusal(NAMED.replace('"t"', '"a.txt"'), tmp_path)


def test_a_lost_frame_is_found_by_the_time_stamps(tmp_path: Path) -> None:
    kept = np.delete(np.arange(N), 20)
    plain(tmp_path / "scan.h5", p=SERIES[0].projections[kept], stamps=1.7e9 + 0.1 * kept)
    assert "61 angles for 60 frames" in refusal(NAMED, tmp_path)
    scan = one(f'{NAMED}times = "stamps"\n', tmp_path)
    np.testing.assert_allclose(np.degrees(scan.angles), DEGREES[kept])
    assert any("by their time stamps 1 lost (angle 20 has no frame)" in text for text in scan.warnings)


@given(st.integers(20, 400), st.data())
@settings(max_examples=60, deadline=None)
def test_frames_lost_anywhere_between_the_ends_are_found(n: int, data: st.DataObject) -> None:
    lost = data.draw(st.lists(st.integers(1, n - 2), max_size=max(1, n // 60), unique=True))
    jitter = np.array(data.draw(st.lists(st.floats(-0.05, 0.05), min_size=n, max_size=n)))
    angles = np.linspace(0, np.pi, n)
    kept = np.setdiff1d(np.arange(n), lost)
    found = matched(angles, len(kept), "angles", clock=(np.arange(n) + jitter)[kept] * 0.2)
    np.testing.assert_array_equal(found.angles, angles[kept])


def test_without_stamps_nothing_is_guessed() -> None:
    with pytest.raises(ScanError, match="61 angles for 60 frames: name those that belong by a range"):
        matched(np.linspace(0, 3, 61), 60, "angles")


@given(st.integers(2, 6), st.integers(30, 90), st.sampled_from(["on", "modulo", "swing", "back"]), st.integers(0, 29))
@settings(max_examples=80, deadline=None)
def test_every_half_turn_is_one_scan_and_a_rest_is_refused(count: int, n: int, way: str, rest: int) -> None:
    half = np.linspace(0, 180, n)
    turns = {
        "on": [half + 180 * k for k in range(count + 1)],
        "modulo": [(half + 180 * k) % 360 for k in range(count + 1)],
        "swing": [half[:: -1 if k % 2 else 1] for k in range(count + 1)],
        "back": [half] * (count + 1),
    }[way]
    rest = rest if 5 < rest < n - 1 else 0  # one less than a closed half turn is an open one
    angles = np.radians(np.concatenate([*turns[:count], turns[count][:rest]]))
    parts = split(angles, "rotation")
    whole = [part for part in parts if part.problem is None]
    assert [(part.first, part.stop) for part in whole] == [(k * n, (k + 1) * n) for k in range(count)]
    assert [part.problem is None for part in parts[count:]] == [False] * bool(rest)
    by_number = split(angles, n)
    assert [(part.first, part.stop) for part in by_number[:count]] == [(k * n, (k + 1) * n) for k in range(count)]


def test_a_rotation_that_was_cut_short_is_refused_by_name_and_hinders_no_other(tmp_path: Path) -> None:
    angles = np.concatenate([DEGREES, DEGREES[::-1], DEGREES[:20]])
    frames = np.concatenate([SERIES[0].projections, SERIES[1].projections[::-1], SERIES[2].projections[:20]])
    plain(tmp_path / "swing.h5", p=frames, t=angles, stamps=1.7e9 + np.arange(len(frames)))
    found = opened(f'{NAMED}split = "rotation"\ntimes = "stamps"\n', tmp_path)
    assert [item.name for item in found] == ["swing_00", "swing_01", "swing_02"]
    assert found[2].problem == "swing_02: the rotation was cut short: 20 projections over 57 of 180 degrees"
    second = found[1].scan
    assert second is not None
    assert second.start is not None
    assert second.start.timestamp() == pytest.approx(1.7e9 + N)
    np.testing.assert_array_equal(second.projections.read(), SERIES[1].projections[::-1])


def test_counts_are_brought_to_one_ring_current(tmp_path: Path) -> None:
    scan = SERIES[0]
    current = np.linspace(100, 90, len(scan.flats) + N)
    level = scan.darks.mean(axis=0)
    stack = np.concatenate([scan.flats, scan.projections]).astype("f4")
    faded = level + (stack - level) * (current / np.median(current))[:, None, None]
    key = np.repeat([1, 0], [len(scan.flats), N])
    plain(tmp_path / "scan.h5", p=faded.astype("f4"), k=key, c=current, t=np.r_[np.zeros(len(scan.flats)), DEGREES])
    text = NAMED.replace('flats = "f"\n', 'key = "k"\ncurrent = "c"\n')
    found = one(text, tmp_path)
    np.testing.assert_allclose(found.projections.read(), scan.projections, rtol=1e-4)
    assert found.flats is not None
    np.testing.assert_allclose(found.flats.read(), scan.flats, rtol=1e-4)
    assert any("brought to one ring current (90 to 100" in text for text in found.warnings)


TIMES = {
    "given": ("start = 2026-01-02T03:04:05Z", "2026-01-02T03:04:05+00:00"),
    "a dataset of seconds": ('start = "seconds"', "2023-11-14T22:13:20+00:00"),
    "a text": ('start = "text"', "2024-05-06T07:08:09+02:00"),
    "stamps in ms": ('times = "ms"', "2023-11-14T22:13:20+00:00"),
}


@pytest.mark.parametrize("what", TIMES)
def test_times_from_wherever_they_stand(what: str, tmp_path: Path) -> None:
    stamps = 1.7e12 + 100.0 * np.arange(N)
    plain(tmp_path / "scan.h5", seconds=1.7e9, text="2024-05-06T07:08:09+02:00", ms=stamps)
    line, start = TIMES[what]
    scan = one(f"{NAMED}{line}\n", tmp_path)
    assert scan.start is not None
    assert scan.start.isoformat() == start


def test_the_time_of_a_file_is_told(tmp_path: Path) -> None:
    plain(tmp_path / "scan.h5")
    scan = one(f'{NAMED}times = "file"\n', tmp_path)
    assert scan.end is not None
    assert any("that of the file, which a copy may change" in text for text in scan.warnings)


def test_parts_and_layouts_are_different_data(tmp_path: Path) -> None:
    plain(tmp_path / "scan.h5", p=np.concatenate([SERIES[0].projections] * 2), t=np.tile(DEGREES, 2))
    scans = [item.scan for item in opened(f"{NAMED}split = {N}\n", tmp_path)]
    assert len({str(scan_identity(scan)) for scan in scans if scan}) == 2


def test_what_is_absent_is_named_with_the_extra_that_brings_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "fabio", None)
    (tmp_path / "p_0001.edf").write_bytes(b"{\n HeaderID = EH:000001;\n}\n" + bytes(64))
    text = '[[acquisition.tiff]]\nname = "a"\nprojections = "p_*.edf"\nangles = { start = 0.0, step = 1.0 }\n'
    assert "EDF is read through fabio, which is not installed: pip install 'xct-pipeline[formats]'" in refusal(
        text, tmp_path
    )
    (tmp_path / "p_0001.edf").rename(tmp_path / "p_0001.his")
    assert "HIS images are not read here" in refusal(text.replace(".edf", ".his"), tmp_path)


def test_what_a_library_lacks_is_named_with_what_to_do() -> None:
    with (
        pytest.raises(ScanError, match=r"install imagecodecs, pip install 'xct-pipeline\[formats\]'"),
        reading("a.tif"),
    ):
        raise ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")
    with pytest.raises(ScanError, match="hdf5plugin has no such filter"), reading("a.h5"):
        raise OSError("can't open directory or file (required filter 'x' is not registered)")


def test_times_of_the_entry_around_hold_for_a_subentry(tmp_path: Path) -> None:
    layouts.i13(tmp_path, SERIES[:1])
    start = open_scan(tmp_path / "100.nxs").start
    assert start is not None
    assert start.isoformat() == "2026-11-28T10:00:00"
