"""Worker processes may die during a run: it finishes with the same bytes."""

from __future__ import annotations

import os
import signal
import time

import pytest
from command import SERIAL, shards, shell, start, xct

pytest.importorskip("distributed")


@pytest.mark.slow
@pytest.mark.alone
def test_a_worker_is_killed(work, finished):
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, memory_limit=0, env=SERIAL) as cluster,
        Client(cluster) as client,
    ):
        process = start("run", work / "run.toml", "--cluster", cluster.scheduler_address)
        markers = work / "store.zarr/.xct/markers/scans"
        while not list(markers.rglob("*_0.json")) and process.poll() is None:
            time.sleep(0.01)
        os.kill(min(client.run(os.getpid).values()), signal.SIGKILL)
        _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert shards(work / "store.zarr") == shards(finished / "store.zarr")


@pytest.mark.slow
@pytest.mark.alone
def test_a_worker_is_killed_before_the_passes(work, finished):
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, memory_limit=0, env=SERIAL) as cluster,
        Client(cluster) as client,
    ):
        process = start("run", work / "run.toml", "--cluster", cluster.scheduler_address)
        while not (work / "store.zarr/.xct/estimates").exists() and process.poll() is None:
            time.sleep(0.01)
        os.kill(max(client.run(os.getpid).values()), signal.SIGKILL)
        _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert shards(work / "store.zarr") == shards(finished / "store.zarr")


@pytest.mark.slow
@pytest.mark.alone
def test_no_scheduler_answers(work):
    ended = shell("run", work / "run.toml", "--cluster", "tcp://127.0.0.1:9", timeout=120)
    assert ended.code == 2
    assert "no scheduler answers" in ended.err


def test_memory_of_worker_processes_is_counted(capsys, work):
    threads = xct(capsys, "check", work / "run.toml", "--workers", "2", "--json").json
    processes = xct(capsys, "check", work / "run.toml", "--cluster", "local:2", "--json").json
    assert processes["workers"] == 2
    assert processes["memory_predicted"] > 2.5 * threads["memory_predicted"]
