"""A finished store of which a file or folder became something else: told in one line, and mended, or left alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from command import Ended, shards, write_config, xct

COMMANDS = (["verify"], ["info"], ["cite"])


def becomes(what: str) -> Callable[[Path], None]:
    """Return what makes something else of a file."""

    def make(file: Path) -> None:
        file.unlink()
        match what:
            case "a pipe":
                os.mkfifo(file)
            case "a device":
                file.symlink_to("/dev/zero")
            case "a folder":
                file.mkdir()
            case "a link to nothing":
                file.symlink_to("nowhere")
            case "three gigabytes":
                file.touch()
                os.truncate(file, 3 * 10**9)
            case text:
                file.write_text(text)

    return make


WAYS = ("a pipe", "a device", "a folder", "a link to nothing", "three gigabytes", "", "[]", "[" * 200_000, "null")
IMAGE = "scans/scan_00/volume"
FILES = (
    ".xct/store.json",
    "zarr.json",
    ".xct/files.json",
    ".xct/steps.json",
    f".xct/markers/{IMAGE}.pass.json",
    f".xct/markers/{IMAGE}/0_0_0.json",
    f"{IMAGE}/zarr.json",
    f"{IMAGE}/0/zarr.json",
    f"{IMAGE}/0/c/0/0/0",
    "scans/zarr.json",
    "OME/zarr.json",
    "tables/README.json",
    "tables/reconstruction.csv",
    "report.html",
    "ro-crate-metadata.json",
    ".xct/estimates/scan_00/center.npz",
    ".xct/lock.json",
)
PAIRS = [(file, way) for file in FILES for way in WAYS]


def one_line(ended: Ended) -> None:
    assert ended.code in (0, 1, 2), ended.err
    assert ended.err.count("xct: ") <= 1, ended.err


def mended(capsys: pytest.CaptureFixture[str], done: Path, finished: Path, file: str, way: str) -> None:
    store = done / "store.zarr"
    (store / file).touch()
    becomes(way)(store / file)
    for words in COMMANDS:
        one_line(xct(capsys, *words, store))
    repaired = xct(capsys, "verify", store, "--repair")
    if way == "a folder" and file in (".xct/store.json", ".xct/lock.json"):  # what lies in it may be somebody's
        assert repaired.code == 1
        assert file in repaired.err
        return
    assert repaired.code == 0
    ended = xct(capsys, "run", done / "run.toml")
    assert ended.code == 0, ended.err
    assert shards(store) == shards(finished / "store.zarr")
    ended = xct(capsys, "verify", store)
    assert ended.code == 0, ended.out


@pytest.mark.parametrize(("file", "way"), PAIRS[:: len(WAYS) + 4])
def test_a_file_that_became_something_else_is_mended(capsys, done, finished, file, way):
    mended(capsys, done, finished, file, way)


@pytest.mark.slow
@pytest.mark.parametrize(("file", "way"), PAIRS if "XCT_SOAK" in os.environ else PAIRS[::4])
def test_every_file_and_everything_that_it_may_become(capsys, done, finished, file, way):
    mended(capsys, done, finished, file, way)


PLACES = ("tables", ".xct", ".xct/markers", ".xct/lock", "run.log", "scans", "OME", "scans/scan_00", f"{IMAGE}/0/c")


@pytest.mark.parametrize("place", PLACES)
def test_what_leads_out_of_the_store_is_left_alone(capsys, done, place):
    """A part that was moved and linked, beside something that a killed write may have left."""
    store, theirs = done / "store.zarr", done / "theirs"
    (store / place).rename(theirs)
    (store / place).symlink_to(theirs)
    if theirs.is_dir():
        (theirs / "0.partial").write_text("precious")
    before = {file: file.stat().st_mtime_ns for file in (theirs, *theirs.rglob("*"))}
    write_config(done, {"reconstruction": 'center = "auto"\nfilter = "hann"'})
    ended = xct(capsys, "run", done / "run.toml", "--rows", "16:18")
    assert ended.code == 2, ended.err
    assert str(store) in ended.err
    for words in (["verify", store, "--repair"], ["forget", store, "scan_00"]):
        one_line(xct(capsys, *words))
    assert {file: file.stat().st_mtime_ns for file in (theirs, *theirs.rglob("*"))} == before


def test_a_log_that_is_a_pipe_is_refused(capsys, done):
    log = done / "store.zarr/run.log"
    becomes("a pipe")(log)
    ended = xct(capsys, "run", done / "run.toml")
    assert ended.code == 2
    assert "run.log is not a file" in ended.err
