"""Schedulers die and workers stop during a run: it finishes, or ends with one line, and the next run goes on."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command import SERIAL, Ended, shards, shell, start

from xct_pipeline.engine import waiting

SHORT = "import sys; from xct_pipeline.engine import waiting; waiting.LOOK_S, waiting.SILENT_S = 1.0, 20.0; "
COMMAND = [sys.executable, "-c", SHORT + "from xct_pipeline.cli import main; main()"]


@contextlib.contextmanager
def processes(folder: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """Run a scheduler and two workers as processes of their own; give its address and all three."""
    told = folder / "scheduler.json"
    module = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", "--host", "127.0.0.1"]
    work = [sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", str(told), "--no-nanny"]
    options: dict[str, Any] = {"cwd": folder, "env": {**os.environ, **SERIAL}, "stderr": subprocess.DEVNULL}
    begun = [subprocess.Popen([*module, "--no-dashboard", "--scheduler-file", str(told)], **options)]
    try:
        while not told.exists():
            time.sleep(0.05)
        begun += [
            subprocess.Popen([*work, "--nthreads", "1", "--memory-limit", "0", "--no-dashboard"], **options)
            for _ in range(2)
        ]
        yield json.loads(told.read_text())["address"], begun
    finally:
        for process in begun:
            process.kill()
            process.wait()


def begun_run(work: Path, cluster: str) -> subprocess.Popen[str]:
    """Start a run on a cluster, little patient, and wait until it has computed something."""
    process = start("run", work / "run.toml", "--cluster", cluster, command=COMMAND)
    markers = work / "store.zarr/.xct/markers/scans"
    while not list(markers.rglob("*_0.json")) and process.poll() is None:
        time.sleep(0.01)
    return process


def ended(process: subprocess.Popen[str]) -> Ended:
    out, err = process.communicate(timeout=300)
    return Ended(process.returncode, out, err)


def assert_refused_and_continued(work: Path, finished: Path, end: Ended, words: str) -> None:
    assert end.code == 2, end.err
    assert words in end.err.splitlines()[-1]
    assert "Traceback" not in end.err, end.err
    assert "an error in xct itself" not in end.err
    assert shell("run", work / "run.toml").code == 0
    assert shards(work / "store.zarr") == shards(finished / "store.zarr")


BOTH = [signal.SIGKILL, signal.SIGSTOP] if "XCT_SOAK" in os.environ else []  # what stops is waited for by minutes


ENDS = {"scheduler": (slice(1), "the scheduler answers no more"), "workers": (slice(1, None), "no worker is left")}
SHORT = [("scheduler", signal.SIGSTOP), ("workers", signal.SIGKILL)]


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize(("who", "number"), [(who, number) for who in ENDS for number in BOTH] or SHORT)
def test_the_scheduler_or_all_workers_die_or_stop(work, finished, tmp_path_factory, who, number):
    whom, words = ENDS[who]
    with processes(tmp_path_factory.mktemp("cluster")) as (address, begun):
        process = begun_run(work, address)
        for one in begun[whom]:
            one.send_signal(number)
        end = ended(process)
    assert_refused_and_continued(work, finished, end, words)


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("number", BOTH or [signal.SIGKILL])
def test_one_worker_dies_or_stops(work, finished, tmp_path_factory, number):
    with processes(tmp_path_factory.mktemp("cluster")) as (address, begun):
        process = begun_run(work, address)
        begun[1].send_signal(number)
        end = ended(process)
    assert end.code == 0, end.err
    assert shards(work / "store.zarr") == shards(finished / "store.zarr")


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("number", BOTH or [signal.SIGKILL])
def test_a_worker_of_this_machine_dies_or_stops(work, finished, number):
    import psutil

    process = begun_run(work, "local:2")
    workers = [p for p in psutil.Process(process.pid).children(recursive=True) if "spawn_main" in " ".join(p.cmdline())]
    os.kill(workers[-1].pid, number)
    end = ended(process)
    assert end.code == 0, end.err
    assert shards(work / "store.zarr") == shards(finished / "store.zarr")
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive


def test_a_call_that_takes_too_long_is_left_to_itself():
    with pytest.raises(TimeoutError):
        waiting.within(0.01, lambda: time.sleep(1))
    assert waiting.within(5, lambda: 3) == 3
    with pytest.raises(KeyError):
        waiting.within(5, lambda: {}["x"])
