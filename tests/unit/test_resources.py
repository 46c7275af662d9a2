"""Cores, memory and disk that a run may take."""

from __future__ import annotations

import os

import pytest

from xct_pipeline import resources as module
from xct_pipeline.resources import BASE_BYTES, Resources, disk_problem, fitting_workers, format_bytes, resources
from xct_pipeline.store import RefusedError

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
    assert fitting_workers(100 * MB, 50, limits, "x") == 3
    assert fitting_workers(10 * MB, 50, limits, "x") == 8
    assert fitting_workers(10 * MB, 2, limits, "x") == 2
    with pytest.raises(RefusedError, match=r"x needs .* for one task but the limit is .*raise --memory"):
        fitting_workers(400 * MB, 50, limits, "x")


def test_processes_count_their_libraries():
    limits = Resources(8, 4 * BASE_BYTES, "local:8")
    assert fitting_workers(MB, 50, limits, "x") == 2
    assert module.run_bytes(2, MB, limits) == 3 * BASE_BYTES + 2 * MB
    assert fitting_workers(10**12, 50, Resources(2, MB, "tcp://host:8786"), "x") == 50  # memory of other machines


@pytest.mark.parametrize(("cluster", "workers"), [(None, None), ("local:3", 3), ("tcp://host:8786", None)])
def test_defaults(cluster, workers):
    found = resources(None, None, cluster)
    assert found.workers == (workers or module.available_cores())
    assert 0 < found.memory <= module.available_memory()


@pytest.mark.parametrize("cluster", ["local", "local:0", "local:-1", "foo", "host:8786"])
def test_bad_clusters(cluster):
    with pytest.raises(ValueError, match="local:N"):
        resources(None, None, cluster)


def test_sizes_as_people_write_them():
    assert [format_bytes(n) for n in (12, 1500, 2.5e6, 3e9, 4e12)] == ["12 B", "1.5 kB", "2.5 MB", "3 GB", "4 TB"]


def test_disk(tmp_path):
    assert disk_problem(tmp_path / "deep" / "store.zarr", 1000) is None
    assert "free" in (disk_problem(tmp_path / "store.zarr", 10**18) or "")
