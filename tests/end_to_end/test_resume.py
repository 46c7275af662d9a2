"""A run may end at any moment; the same command goes on, and only what changed is computed again."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
from command import shards, shell, start, write_config, xct

from xct_pipeline.store import provenance
from xct_pipeline.store.store import Store

NAMES = ("scan_00", "scan_01")


def computed(facts) -> dict[str, tuple[int, int]]:
    return {
        name: (image["computed"], image["reused"]) for scan in facts["scans"] for name, image in scan["images"].items()
    }


def test_unchanged_run_computes_nothing(capsys, done):
    before = {f: f.stat().st_mtime_ns for f in (done / "store.zarr" / "scans").rglob("*") if "c" in f.parts}
    facts = xct(capsys, "run", done / "run.toml", "--json").json
    assert computed(facts) == {f"scans/{name}/volume": (0, 3) for name in NAMES}
    assert all(f.stat().st_mtime_ns == time_ns for f, time_ns in before.items())


def test_a_page_that_is_not_as_it_was_drawn_is_drawn_again(capsys, done):
    page, crate = done / "store.zarr/report.html", done / "store.zarr/ro-crate-metadata.json"
    xct(capsys, "run", done / "run.toml")
    drawn, described = page.read_bytes(), json.loads(crate.read_bytes())
    for ruin in (lambda: page.write_bytes(b"<html>"), crate.unlink, lambda: os.utime(page, (1, 1))):
        ruin()
        assert xct(capsys, "run", done / "run.toml", "--json").code == 0
        assert page.read_bytes() == drawn
        assert page.stat().st_mtime > 2  # a run that was killed while it drew leaves a page older than its images
        assert json.loads(crate.read_bytes())["@graph"][0] == described["@graph"][0]


def test_changed_filter_keeps_estimates(capsys, done):
    estimates = done / "store.zarr" / ".xct" / "estimates" / "scan_00"
    before = {f.name: f.stat().st_mtime_ns for f in estimates.iterdir()}
    write_config(done, {"reconstruction": 'center = "auto"\nfilter = "hann"'})
    ended = xct(capsys, "run", done / "run.toml", "--json")
    assert computed(ended.json) == {f"scans/{name}/volume": (3, 0) for name in NAMES}
    changed = ended.json["scans"][0]["images"]["scans/scan_00/volume"]["changed"]
    assert changed == ['ops.reconstruction.fourier.filter: "ram-lak" -> "hann"']
    assert changed[0] in (done / "store.zarr" / "run.log").read_text()
    assert {f.name: f.stat().st_mtime_ns for f in estimates.iterdir()} == before


def test_centre_of_one_scan_recomputes_that_scan(capsys, work):
    tables = {"correction.stripe": 'method = "none"'}
    assert xct(capsys, "run", write_config(work, {**tables, "reconstruction": "center = [49.0, 49.0]"})).code == 0
    config = write_config(work, {**tables, "reconstruction": "center = [49.0, 49.5]"})
    facts = xct(capsys, "run", config, "--json").json
    assert computed(facts) == {"scans/scan_00/volume": (0, 3), "scans/scan_01/volume": (3, 0)}
    (changed,) = facts["scans"][1]["images"]["scans/scan_01/volume"]["changed"]
    assert "center: 49.0 -> 49.5" in changed


def test_replaced_raw_file_recomputes(capsys, done):
    raw = done / "scan_01.nxs"
    data = raw.read_bytes()
    raw.unlink()  # not the linked original
    raw.write_bytes(data)
    write_config(done, {"correction.stripe": 'method = "none"'})
    xct(capsys, "run", done / "run.toml")
    os.utime(raw, (1, 1))
    facts = xct(capsys, "run", done / "run.toml", "--json").json
    assert computed(facts) == {"scans/scan_00/volume": (0, 3), "scans/scan_01/volume": (3, 0)}


def test_a_third_scan_joins_the_store(capsys, done):
    shutil.copy2(done / "scan_01.nxs", done / "scan_02.nxs")
    write_config(done, {"correction.stripe": 'method = "none"'})
    assert xct(capsys, "run", done / "run.toml").code == 0
    table = pd.read_csv(done / "store.zarr" / "tables" / "reconstruction.csv")
    assert list(table.scan) == ["scan_00", "scan_01", "scan_02"]
    assert {"center", "center_sigma", "center_agreement"} <= set(table.columns)


@pytest.mark.parametrize("state", ["folder", "markers", "torn"])
def test_store_killed_before_its_first_metadata(capsys, work, state):
    store = work / "store.zarr"
    (store / ".xct" / "markers").mkdir(parents=True)
    if state != "folder":
        (store / ".xct" / "lock").touch()
    if state == "torn":
        (store / ".zarr.json.abcdef").write_text('{"zarr_fo')
    assert xct(capsys, "run", work / "run.toml", "--rows", "16:18").code == 0


def test_lock_of_a_dead_process(capsys, done):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (done / "store.zarr/.xct/lock").touch()
    (done / "store.zarr/.xct/lock.json").write_text(json.dumps({"pid": dead.pid, "host": "here"}))
    assert xct(capsys, "run", done / "run.toml").code == 0


def test_second_run_is_refused_and_names_the_first(done):
    before = (done / "store.zarr/zarr.json").read_bytes()
    with Store(done / "store.zarr").lock():
        ended = shell("run", done / "run.toml")
    assert ended.code == 2
    assert f"process {os.getpid()}" in ended.err
    assert (done / "store.zarr/zarr.json").read_bytes() == before


def test_leftovers_of_a_kill_are_removed(capsys, done, finished):
    shard = done / "store.zarr/scans/scan_00/volume/0/c/1/0/0"
    shard.rename(shard.with_name("0.partial"))
    facts = xct(capsys, "run", done / "run.toml", "--json").json
    assert computed(facts)["scans/scan_00/volume"] == (1, 2)
    assert not list((done / "store.zarr").rglob("*.partial*"))
    assert shards(done / "store.zarr") == shards(finished / "store.zarr")


def test_a_bad_scan_that_was_repaired(capsys, work, finished):
    good = (work / "scan_01.nxs").read_bytes()
    status = (work / "scan_01.nxs").stat()
    (work / "scan_01.nxs").unlink()
    (work / "scan_01.nxs").write_bytes(good[:5000])
    assert xct(capsys, "run", work / "run.toml").code == 3
    (work / "scan_01.nxs").write_bytes(good)
    os.utime(work / "scan_01.nxs", ns=(status.st_atime_ns, status.st_mtime_ns))
    ended = xct(capsys, "run", work / "run.toml")
    assert ended.code == 0, ended.err
    assert shards(work / "store.zarr") == shards(finished / "store.zarr")


def test_markers_hold_no_package_version(done):
    marker = json.loads(next((done / "store.zarr/.xct/markers").rglob("0_0_0.json")).read_text())
    assert len(marker["fingerprint"]) == 32
    notes = "".join(f.read_text() for f in (done / "store.zarr/.xct/markers").rglob("*.pass.json"))
    assert provenance.versions()["numpy"] not in notes


def test_killed_once(work, finished):
    process = start("run", work / "run.toml")
    marker = work / "store.zarr/.xct/markers/scans/scan_00/volume/0_0_0.json"
    while not marker.exists() and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    ended = shell("run", work / "run.toml", "--json")
    assert ended.code == 0, ended.err
    assert sum(reused for _, reused in computed(ended.json).values()) >= 1
    assert shards(work / "store.zarr") == shards(finished / "store.zarr")


@pytest.mark.slow
def test_killed_at_ten_moments(work, finished):
    began = time.perf_counter()
    shutil.copytree(work, work.with_name("timed"))
    assert shell("run", work.with_name("timed") / "run.toml").code == 0
    whole = time.perf_counter() - began
    draw = random.Random(0)
    for _ in range(10):
        process = start("run", work / "run.toml")
        time.sleep(draw.uniform(0.3, 1.0) * whole)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if process.returncode == 0:  # it was done before: begin anew
            shutil.rmtree(work / "store.zarr")
    ended = shell("run", work / "run.toml")
    assert ended.code == 0, ended.err
    assert shards(work / "store.zarr") == shards(finished / "store.zarr")
    tables = [pd.read_csv(f / "store.zarr/tables/reconstruction.csv").drop(columns="seconds") for f in (work, finished)]
    pd.testing.assert_frame_equal(*tables)
