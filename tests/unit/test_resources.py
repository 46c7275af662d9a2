"""Cores, memory and disk that a run may take."""

from __future__ import annotations

import os

import pytest

from xct_pipeline.engine import resources as module
from xct_pipeline.engine.resources import BASE_BYTES, Need, Resources, disk_problem, resources
from xct_pipeline.engine.steps import Estimate, Stage
from xct_pipeline.store.files import RefusedError

MB = 10**6


def test_cores_respect_affinity():
    assert 1 <= module.available_cores() <= len(os.sched_getaffinity(0))


def test_memory_respects_a_cgroup(monkeypatch, tmp_path):
    (tmp_path / "max").write_text("3000000000\n")
    (tmp_path / "current").write_text("2900000000\n")
    real = module.Path
    names = {"/sys/fs/cgroup/memory.max": tmp_path / "max", "/sys/fs/cgroup/memory.current": tmp_path / "current"}
    monkeypatch.setattr(module, "Path", lambda name: names.get(str(name), real(tmp_path / "absent")))
    assert module.available_memory() == 100 * MB


def test_workers_that_fit():
    limits = Resources(8, BASE_BYTES + 350 * MB)
    assert Need("x", 50, 100 * MB).workers(limits) == 3
    assert Need("x", 50, 100 * MB, held_bytes=100 * MB).workers(limits) == 2
    assert Need("x", 50, 10 * MB).workers(limits) == 8
    assert Need("x", 2, 10 * MB).workers(limits) == 2
    assert Need("x", 2, 10 * MB, beside=3).workers(limits) == 5  # as many as there are of all that run together
    assert Need("x", 50, 100 * MB, alone=True).workers(limits) == 1
    assert Need("x", 1, 100 * MB, alone=True, beside=9).workers(limits) == 3  # one of ten scans
    assert Need("x", 1, 10 * MB, alone=True, beside=3).workers(limits) == 4
    assert Need("x", 50, 100 * MB, held_bytes=10 * MB).peak_bytes(limits) == BASE_BYTES + 310 * MB
    with pytest.raises(RefusedError, match=r"x needs .* for one task but the limit is .*raise --memory"):
        Need("x", 50, 400 * MB).workers(limits)
    with pytest.raises(RefusedError, match="x needs"):
        Need("x", 50, 100 * MB, held_bytes=300 * MB).peak_bytes(limits)


def test_processes_count_their_libraries():
    limits = Resources(2, 4 * BASE_BYTES, "local:2")
    assert Need("x", 50, BASE_BYTES).workers(limits) == 1
    assert Need("x", 50, MB).peak_bytes(limits) == 3 * BASE_BYTES + 2 * MB


def test_tasks_of_other_machines_take_none_of_this_memory():
    limits = Resources(2, BASE_BYTES + 100 * MB, "tcp://host:8786")
    there = Need("x", 50, 10**12, held_bytes=MB)
    assert there.workers(limits) == 50
    assert there.peak_bytes(limits) == BASE_BYTES + MB
    with pytest.raises(RefusedError, match="needs"):
        Need("x", 50, 10**12, alone=True).workers(limits)


def test_a_stage_takes_what_its_largest_step_takes():
    limits = Resources(2, 10**10)
    steps = (
        Estimate("a", 1, Need("", 4, 10 * MB, cpu_s=6)),
        Estimate("b", 1, Need("", 6, 50 * MB, cpu_s=8, disk_bytes=MB)),
    )
    stage = Stage("registration", steps)
    assert stage.tasks == 4 + 6
    assert stage.disk_bytes == MB
    assert stage.peak_bytes(limits) == BASE_BYTES + 100 * MB
    assert stage.seconds(limits) == 7


@pytest.mark.parametrize(("cluster", "workers"), [(None, None), ("local:3", 3), ("tcp://host:8786", None)])
def test_defaults(cluster, workers):
    found = resources(None, None, cluster)
    assert found.workers == (workers or module.available_cores())
    assert 0 < found.memory <= module.available_memory()


@pytest.mark.parametrize("cluster", ["local", "local:0", "local:-1", "foo", "host:8786"])
def test_bad_clusters(cluster):
    with pytest.raises(ValueError, match="local:N"):
        resources(None, None, cluster)


def test_disk(tmp_path):
    assert disk_problem(tmp_path / "deep" / "store.zarr", 1000) is None
    assert "free" in (disk_problem(tmp_path / "store.zarr", 10**18) or "")
