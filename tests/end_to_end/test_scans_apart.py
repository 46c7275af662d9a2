"""Scans of one store that several processes reconstruct at the same time, and the run that takes them over."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import pandas as pd
import pytest
from command import shards, shell, start, xct
from test_watch import kept, tiny, until

from xct_pipeline.store.store import Store


def state(store: Path) -> list[str]:
    """Return what lies in a store."""
    return sorted(file.relative_to(store).as_posix() for file in store.rglob("*"))


def reconstruct_apart(config: Path, *names: str) -> None:
    """Bring scans to their volumes, each in a process of its own, at the same time."""
    processes = [start("run", config, "--scan", name) for name in names]
    for process in processes:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        assert f"of {config.with_name('store.zarr')} is reconstructed after" in out


def test_two_processes_on_two_scans_end_as_one_run(capsys, tmp_path):
    config, store = tiny(tmp_path, 0, 1), tmp_path / "store.zarr"
    reconstruct_apart(config, "s0", "s1")
    assert not (store / "tables").exists()
    ended = xct(capsys, "run", config, "--reconstructed", "--json")
    assert ended.code == 0, ended.err
    assert [image["computed"] for scan in ended.json["scans"] for image in scan["images"].values()] == [0, 0]
    apart = store.rename(tmp_path / "apart.zarr")
    assert xct(capsys, "run", config).code == 0
    assert kept(apart) == kept(store)
    assert state(apart) == state(store)


@pytest.mark.slow
def test_scans_that_share_estimates_end_as_one_run(work, finished):
    """With defects of the detector found from all scans together."""
    config, store = work / "run.toml", work / "store.zarr"
    reconstruct_apart(config, "scan_00", "scan_01")
    assert shards(store) == shards(finished / "store.zarr")
    ended = shell("run", config, "--reconstructed", "--json")
    assert ended.code == 0, ended.err
    images = [image for scan in ended.json["scans"] for image in scan["images"].values()]
    assert [image["computed"] for image in images] == [0] * len(images)
    assert kept(store) == kept(finished / "store.zarr")
    assert state(store) == state(finished / "store.zarr")


def test_each_scan_by_itself(capsys, tmp_path):
    config = tiny(tmp_path, 0, 1)
    store = tmp_path / "store.zarr"
    assert xct(capsys, "run", config).code == 0
    plain = kept(store)
    shutil.rmtree(store)
    with Store(store).lock("s1"):  # another computes it
        assert xct(capsys, "run", config, "--scan", "s0").code == 0
        for command in (["--scan", "s1"], []):
            ended = xct(capsys, "run", config, *command)
            assert (ended.code, len(ended.err.splitlines())) == (2, 1)
            assert f"is in use by process {os.getpid()} on" in ended.err
    assert [file.name for file in (store / "scans").iterdir() if file.is_dir()] == ["s0"]
    ended = xct(capsys, "run", config, "--reconstructed")
    assert ended.code == 3
    assert "s1: it is not reconstructed" in ended.err
    assert pd.read_csv(store / "tables" / "reconstruction.csv")["problem"].notna().tolist() == [False, True]
    assert xct(capsys, "run", config, "--scan", "s1").code == 0
    assert xct(capsys, "run", config).code == 0
    assert kept(store) == plain
    assert not (store / ".xct" / "leases").exists()


def test_a_scan_that_is_broken_is_told_by_its_own_run(capsys, tmp_path):
    config = tiny(tmp_path, 0, 1)
    (tmp_path / "s1.nxs").write_bytes(b"no scan")
    ended = xct(capsys, "run", config, "--scan", "s1")
    assert (ended.code, len(ended.err.splitlines())) == (1, 1)
    assert "s1.nxs" in ended.err
    assert not (tmp_path / "store.zarr").exists()
    ended = xct(capsys, "run", config, "--scan", "s7")
    assert (ended.code, "there is no scan s7; there are s0, s1" in ended.err) == (1, True)
    for more in (["--cluster", "local:1"], ["--reconstructed"], ["--json"]):
        ended = xct(capsys, "run", config, "--scan", "s0", *more)
        assert (ended.code, "--scan goes with neither" in ended.err) == (1, True)


@pytest.mark.slow
def test_a_killed_run_of_a_scan_is_taken_over(work, finished):
    config, store = work / "run.toml", work / "store.zarr"
    process = start("run", config, "--scan", "scan_00")
    try:
        until(lambda: any((store / ".xct" / "leases").glob("*/lock.json")), "it holds no lease", process)
        process.send_signal(signal.SIGKILL)
    finally:
        process.communicate(timeout=60)
    found = json.loads(shell("status", store, "--json").out)
    assert (found["state"], found["holder"]["pid"]) == ("killed", process.pid)
    for name in ("scan_00", "scan_01"):
        assert shell("run", config, "--scan", name).code == 0
    assert shell("run", config).code == 0
    assert kept(store) == kept(finished / "store.zarr")
