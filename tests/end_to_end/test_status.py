"""`xct status` of stores that another process computes, finished, killed, stopped and half failed ones, and others."""

from __future__ import annotations

import json
import os
import signal
import time
from datetime import datetime
from pathlib import Path

import pytest
from command import Ended, shell, start, write_config, xct
from conftest import link_scans
from test_watch import tiny


def status(capsys, store: Path) -> dict:
    ended = xct(capsys, "status", store, "--json")
    assert ended.code == 0, ended.err
    return ended.json


def until(happened, process) -> None:
    limit = time.monotonic() + 240
    while not happened():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit
        time.sleep(0.05)


def test_of_a_finished_store_and_of_one_with_a_broken_scan(capsys, tmp_path):
    config = tiny(tmp_path, 0, 1)
    assert xct(capsys, "run", config).code == 0
    store = tmp_path / "store.zarr"
    found = status(capsys, store)
    assert (found["state"], found["holder"], found["share"], found["expected_end"]) == ("finished", {}, 1.0, None)
    assert [(scan["name"], scan["state"], scan["done"]) for scan in found["scans"]] == [
        ("s0", "done", 1),
        ("s1", "done", 1),
    ]
    assert [(part["name"], part["state"]) for part in found["stages"]] == [("reconstruction", "done")]
    assert f"{store} is finished" in xct(capsys, "status", store).out
    (tmp_path / "s2.nxs").write_bytes(b"no scan")
    assert xct(capsys, "run", config).code == 3
    found = status(capsys, store)
    assert found["state"] == "incomplete"
    assert [scan["state"] for scan in found["scans"]] == ["done", "done", "failed"]
    assert "s2.nxs" in found["scans"][2]["problem"]
    assert "failed: " in xct(capsys, "status", store).out


def test_of_what_is_no_store(capsys, tmp_path):
    for path, why in ((tmp_path, "is a folder, not a store"), (tmp_path / "none", "no such folder")):
        ended: Ended = xct(capsys, "status", path)
        assert ended.code == 1
        assert why in ended.err
        assert len(ended.err.splitlines()) == 1
    assert not any(tmp_path.iterdir())


def test_looking_changes_nothing_and_damage_is_no_error(capsys, tmp_path):
    assert xct(capsys, "run", tiny(tmp_path, 0)).code == 0
    store = tmp_path / "store.zarr"
    before = {f: f.read_bytes() for f in store.rglob("*") if f.is_file()}
    status(capsys, store)
    assert {f: f.read_bytes() for f in store.rglob("*") if f.is_file()} == before
    (store / ".xct" / "lock.json").write_text(json.dumps({"pid": 2**22 + 1, "host": "elsewhere"}))
    assert "was left by process 4194305 on elsewhere, which was killed" in xct(capsys, "status", store).out
    for name in ("plan.json", "steps.json", "lock.json"):
        (store / ".xct" / name).write_bytes(b"{" + os.urandom(40))
    (store / "tables" / "reconstruction.csv").write_bytes(b"\xff")
    found = status(capsys, store)
    assert (found["state"], found["stages"], found["started"]) == ("stopped", [], None)
    assert [scan["name"] for scan in found["scans"]] == ["s0"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_of_a_store_that_another_process_computes_and_that_is_ended(capsys, series, tmp_path, number):
    link_scans(series, tmp_path)
    config, store = write_config(tmp_path), tmp_path / "store.zarr"
    process = start("run", config)
    try:
        until(lambda: any((store / "scans").rglob("c/*")), process)
        process.send_signal(signal.SIGSTOP)  # or it ends while it is looked at
        found = status(capsys, store)
        assert found["state"] == "running"
        assert found["holder"]["pid"] == process.pid
        assert 0 < found["share"] < 1
        assert datetime.fromisoformat(found["expected_end"]) > datetime.fromisoformat(found["started"])
        assert "running" in {part["state"] for part in found["stages"]}
        assert f"is computed by process {process.pid} on" in xct(capsys, "status", store).out
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)
    finally:
        process.communicate(timeout=60)
    found = status(capsys, store)
    assert found["state"] == ("killed" if number == signal.SIGKILL else "stopped")
    assert found["expected_end"] is None
    assert "begun" in {part["state"] for part in found["stages"]}
    assert shell("run", config).code == 0
    assert status(capsys, store)["state"] == "finished"
