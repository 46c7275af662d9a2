"""Worker processes may die during a run: it finishes with the same bytes."""

from __future__ import annotations

import os
import signal
import time

import pytest
from command import SERIAL, shards, shell, start, xct


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


def test_many_workers_are_shared_out_to_processes_where_a_run_is_long(capsys, work, monkeypatch):
    """Threads of one process hold each other up; a short run ends before others have begun."""
    monkeypatch.setattr("xct_pipeline.planning.plan.THREADS", 4)
    monkeypatch.setattr("xct_pipeline.planning.plan.THREADS_EACH", 2)
    ask = "check", work / "run.toml", "--workers", "16", "--memory", "20GB"
    assert xct(capsys, *ask, "--json").json["processes"] == 0
    monkeypatch.setattr("xct_pipeline.planning.plan.LONG_S", 0.0)
    assert "6 workers in 3 processes" in " ".join(xct(capsys, *ask).out.split())  # there are no more tasks
    for less in (["--workers", "4", "--memory", "20GB"], ["--workers", "16", "--memory", "2GB"], ["--workers", "1"]):
        assert xct(capsys, "check", work / "run.toml", *less, "--json").json["processes"] == 0


@pytest.mark.slow
@pytest.mark.alone
def test_processes_of_several_threads_write_the_same_bytes(work, finished):
    ended = shell("run", work / "run.toml", "--cluster", "local:2", "--workers", "4", timeout=300)
    assert ended.code == 0, ended.err
    assert shards(work / "store.zarr") == shards(finished / "store.zarr")
    assert "4 workers, local:2" in (work / "store.zarr/run.log").read_text()
