"""Scans that come in while they are watched: late, cut short, out of order; killed, stopped and gone on with."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from command import shards, shell, start, write_config, xct

TABLES = {"registration": ""}


def until(happened, what: str, process) -> None:
    """Wait for something of a process that goes on."""
    limit = time.monotonic() + 240
    while not happened():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit, what
        time.sleep(0.2)


def kept(store: Path) -> dict[str, bytes]:
    """Return the bytes of everything that a run tells of its scans."""
    files = [f for f in store.rglob("*") if f.is_file() and ".xct" not in f.parts]
    names = {"run.log", "report.html", "ro-crate-metadata.json"}
    return {str(f.relative_to(store)): f.read_bytes() for f in files if f.name not in names}


def test_late_scans_end_as_those_of_a_run(series, tmp_path):
    live, plain = tmp_path / "live", tmp_path / "plain"
    for folder in (live, plain):
        folder.mkdir()
        write_config(folder, TABLES)
    report = live / "store.zarr" / "report.html"
    process = start("watch", live / "run.toml", "--scans", 2, "--rest", 1.5)
    try:
        shutil.copy2(series / "scan_01.nxs", live)  # the later one comes first
        until(report.exists, "no report of the first scan", process)
        first = report.stat().st_mtime_ns
        raw = (series / "scan_00.nxs").read_bytes()
        with (live / "scan_00.nxs").open("wb") as file:
            file.write(raw[: len(raw) // 2])
            file.flush()
            time.sleep(4)  # at rest, and cut short
            for k in range(4):
                part = slice(*(len(raw) // 2 + len(raw) * n // 8 for n in (k, k + 1)))
                file.write(raw[part])
                file.flush()
                time.sleep(0.3)
            file.write(raw[len(raw) // 2 + len(raw) * 4 // 8 :])
        out, err = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert "scan_00.nxs: broken, tried again when it changes" in err
    assert report.stat().st_mtime_ns > first
    rows = [line for line in out.splitlines() if "done" in line and "scan_0" in line]
    assert ["scan_00" in rows[-2], "scan_01" in rows[-1]] == [True, True]  # in order of time
    again = shell("run", live / "run.toml")
    assert "nothing was to be done" in again.out
    for name in ("scan_00.nxs", "scan_01.nxs"):
        os.link(live / name, plain / name)
    assert shell("run", plain / "run.toml").code == 0
    assert kept(live / "store.zarr") == kept(plain / "store.zarr")


def test_killed_and_started_again_loses_nothing(finished, work):
    process = start("watch", work / "run.toml", "--rest", 0.2)
    try:
        until(lambda: any((work / "store.zarr").rglob("c/*")), "nothing was written", process)
    finally:
        process.kill()
        process.communicate()
    ended = shell("watch", work / "run.toml", "--scans", 2, "--rest", 0.2)
    assert ended.code == 0, ended.err
    assert shards(work / "store.zarr") == shards(finished / "store.zarr")


def test_broken_scan_stops_no_other(capsys, done):
    (done / "scan_02.nxs").write_bytes(b"no scan")
    ended = xct(capsys, "watch", done / "run.toml", "--rest", 0, "--idle", 0)
    assert ended.code == 3
    assert "broken" in ended.out
    assert "2 of 3 files' scans are done" in ended.out
    (done / "scan_02.nxs").unlink()
    assert xct(capsys, "watch", done / "run.toml", "--rest", 0, "--idle", 0).code == 0


def test_nothing_came(capsys, tmp_path):
    config = write_config(tmp_path)
    ended = xct(capsys, "watch", config, "--rest", 0, "--idle", 0)
    assert ended.code == 1
    assert not (tmp_path / "store.zarr").exists()


def test_scan_that_does_not_say_its_end_is_waited_for(capsys, work):
    import h5py

    (work / "scan_01.nxs").unlink()
    raw = (work / "scan_00.nxs").read_bytes()
    (work / "scan_00.nxs").unlink()
    (work / "scan_00.nxs").write_bytes(raw)
    with h5py.File(work / "scan_00.nxs", "r+") as file:
        ends: list[str] = []
        file.visit(lambda name: ends.append(name) if name.endswith("end_time") else None)
        for name in ends:
            del file[name]
    assert ends
    assert xct(capsys, "watch", work / "run.toml", "--rest", 0, "--idle", 0, "--ended").code == 1
    assert not (work / "store.zarr").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ends_when_told_to(tmp_path, number):
    process = start("watch", write_config(tmp_path))
    assert process.stdout is not None
    assert "watching scan_*.nxs" in process.stdout.readline()
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "the same command goes on" in err


def test_images_in_folders_are_no_files_to_watch(capsys, tmp_path):
    config = tmp_path / "run.toml"
    config.write_text(
        'output = "store.zarr"\n[[acquisition.tiff]]\nname = "a"\nprojections = "p*.tif"\nangles = {step = 1.0}\n'
    )
    ended = xct(capsys, "watch", config)
    assert ended.code == 1
    assert "[[acquisition.tiff]]: use xct run" in ended.err
