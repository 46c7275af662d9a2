"""Scans that come in while they are watched: late, cut short, out of order; killed, stopped and gone on with."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cases import Raw
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
    """Return the bytes of everything that a run tells of its scans, but how long it took."""
    files = [f for f in store.rglob("*") if f.is_file() and ".xct" not in f.parts]
    names = {"run.log", "report.html", "ro-crate-metadata.json", "reconstruction.csv"}
    found = {str(f.relative_to(store)): f.read_bytes() for f in files if f.name not in names}
    table = pd.read_csv(store / "tables" / "reconstruction.csv").drop(columns="seconds")
    return found | {"tables/reconstruction.csv": table.to_csv().encode()}


@pytest.mark.slow
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


@pytest.mark.slow
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
    assert "2 of 3 scans are done" in ended.out
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
    assert "watching for the scans of" in process.stdout.readline()
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "the same command goes on" in err


def tiny(folder: Path, *numbers: int, more: str = "", pattern: str = "s*.nxs") -> Path:
    """Write tiny scans, each an hour after the one of the number before, and a configuration that reconstructs them."""
    for k in numbers:
        raw = Raw.make(np.linspace(0, 180, 61), width=48, center=23.6, seed=k)
        raw.start = f"2024-05-01T{10 + k}:00:00+00:00"
        raw.write(folder, "nxtomo", f"s{k}")
    config = folder / "run.toml"
    config.write_text(
        f'output = "store.zarr"\n[acquisition]\nscans = ["{pattern}"]\nenergy_keV = 30.0\n'
        f'[correction.stripe]\nmethod = "none"\n[reconstruction]\ncenter = 23.6\n{more}'
    )
    return config


def watch_once(capsys, config: Path, *more: object):
    return xct(capsys, "watch", config, "--rest", 0, "--idle", 0, *more)


def test_report_is_drawn_after_every_scan(capsys, tmp_path):
    ended = watch_once(capsys, tiny(tmp_path, 0, 1, 2))
    assert ended.code == 0, ended.err
    assert [f"{n} of 3 scans are done" in ended.out for n in (1, 2, 3)] == [True] * 3
    assert "computing" in ended.out
    again = watch_once(capsys, tmp_path / "run.toml")
    assert again.code == 0
    assert "1 of 3" not in again.out  # what is done is not taken apart


def test_report_that_cannot_be_written_is_drawn_later(capsys, tmp_path, monkeypatch):
    config = tiny(tmp_path, 0)
    with monkeypatch.context() as patch:

        def full(_: Path) -> Path:
            raise OSError(errno.ENOSPC, "No space left on device", "report.html")

        patch.setattr("xct_pipeline.report.write_report", full)
        ended = watch_once(capsys, config)
        assert ended.code == 3
        assert "No space left on device" in ended.err
        assert "tried again" in ended.err
    assert watch_once(capsys, config).code == 0
    assert (tmp_path / "store.zarr" / "report.html").exists()


def test_raw_file_that_is_taken_away_stops_no_other(capsys, tmp_path):
    config = tiny(tmp_path, 0, 1)
    assert watch_once(capsys, config).code == 0
    (tmp_path / "s0.nxs").rename(tmp_path / "s0.away")
    tiny(tmp_path, 2)
    ended = watch_once(capsys, config)
    assert ended.code == 0, ended.err
    assert "2 of 2 scans are done" in ended.out
    (tmp_path / "s0.away").rename(tmp_path / "s0.nxs")
    assert "3 of 3 scans are done" in watch_once(capsys, config).out
    assert xct(capsys, "run", config).out.startswith("nothing was to be done")


def test_scan_that_the_store_has_from_another_file_stops_no_other(capsys, tmp_path):
    for part in ("a", "b"):
        (tmp_path / part).mkdir()
    config = tiny(tmp_path, pattern="*/s*.nxs")
    for folder, numbers in (("a", (0, 1)), ("b", (2,))):
        tiny(tmp_path / folder, *numbers)
    assert watch_once(capsys, config).code == 0
    (tmp_path / "a" / "s0.nxs").rename(tmp_path / "b" / "s0.nxs")
    tiny(tmp_path / "b", 3)
    ended = watch_once(capsys, config)
    assert ended.code == 3
    assert "3 of 4 scans are done" in ended.out
    assert "xct forget" in ended.err


def test_log_that_is_still_to_come_is_left_out_until_then(capsys, tmp_path):
    config = tiny(tmp_path, 0, 1, more='[electrochemistry]\nlog = "cycler.csv"\ntime_zone = "UTC"\n')
    ended = watch_once(capsys, config)
    assert ended.code == 3
    assert "without what was recorded beside the scans, for now" in ended.err
    assert "2 of 2 scans are done" in ended.out
    hours = np.arange(0.0, 6.0, 0.25)
    stamps = pd.Timestamp("2024-05-01T09:00:00") + pd.to_timedelta(hours, unit="h")
    log = {"date": stamps.strftime("%Y-%m-%d %H:%M:%S"), "time_s": 3600 * hours, "I/mA": 0 * hours + 1.0}
    pd.DataFrame(log).to_csv(tmp_path / "cycler.csv", index=False)
    ended = watch_once(capsys, config)
    assert ended.code == 0, ended.err
    assert (tmp_path / "store.zarr" / "tables" / "cycler.csv").exists()


def test_output_that_is_no_store_is_refused_at_once(capsys, tmp_path):
    config = tiny(tmp_path, 0)
    (tmp_path / "store.zarr").mkdir()
    (tmp_path / "store.zarr" / "mine").touch()
    ended = xct(capsys, "watch", config)
    assert ended.code == 2
    assert "is not a store of xct" in ended.err
    config.write_text("scans = 3")
    assert xct(capsys, "watch", config).code == 1
