"""Tasks on threads and on a cluster."""

from __future__ import annotations

import importlib
import logging
import threading

import numpy as np
import psutil
import pytest

from xct_pipeline.engine import parcels, scheduling, waiting
from xct_pipeline.engine.resources import BASE_BYTES, Need, Resources
from xct_pipeline.engine.scheduling import cluster_of, run_tasks
from xct_pipeline.store.files import RefusedError

MB = 10**6
BUSY = []


def square(number):
    return number**2


def crowd(number):
    BUSY.append(number)
    seen = len(BUSY)
    threading.Event().wait(0.02)
    BUSY.remove(number)
    return seen


def large(number):
    return {"map": np.full(300_000, number)}


def test_no_more_tasks_at_a_time_than_fit():
    limits = Resources(8, BASE_BYTES + 25 * MB)
    assert max(run_tasks(crowd, [(k,) for k in range(12)], Need("x", 12, 10 * MB), limits)) == 2


def test_nothing_is_begun_that_does_not_fit():
    with pytest.raises(RefusedError, match="x needs"):
        list(run_tasks(square, [(1,)], Need("x", 1, 10 * MB), Resources(1, BASE_BYTES)))


def test_arguments_are_not_looked_through_for_each_task(monkeypatch):
    """Of a reduction of many regions each task is told of all of them: what dask did grew with their square."""
    delayed, looked = importlib.import_module("dask.delayed"), []
    plain = delayed.unpack_collections
    monkeypatch.setattr(delayed, "unpack_collections", lambda *a, **k: looked.append(0) or plain(*a, **k))
    calls = [(Need(str([]), k, 0), [(slice(0, 1), slice(k, 2))] * 500) for k in range(4)]
    found = run_tasks(lambda need, regions: need.tasks * len(regions), calls, Need("x", 4, 1), Resources(1, 10**10))
    assert sorted(found) == [0, 500, 1000, 1500]
    assert len(looked) <= 8 * len(calls)  # however many regions


def test_a_large_result_travels_in_a_file(tmp_path):
    put = parcels.put(large(3), tmp_path)
    assert isinstance(put, parcels.Parcel)
    assert list(tmp_path.iterdir())
    np.testing.assert_array_equal(parcels.take(put)["map"], large(3)["map"])
    assert not list(tmp_path.iterdir())
    assert parcels.take(parcels.put(5, tmp_path)) == 5


@pytest.mark.skipif(scheduling._c_library() is None, reason="the C library is not glibc")
def test_freed_memory_is_kept_for_the_next_task_and_given_back_at_the_end():
    resident = psutil.Process().memory_info
    scheduling.release_memory()
    before = resident().rss
    with scheduling.kept_memory():
        np.ones(200 * MB, np.uint8)  # gone at once
        kept = resident().rss
        np.ones(200 * MB, np.uint8)
        again = resident().rss
    assert kept - before > 150 * MB
    assert again - kept < 50 * MB
    assert resident().rss - before < 50 * MB


@pytest.mark.slow
@pytest.mark.alone
def test_one_cluster_serves_all_steps_of_a_run(tmp_path):
    import distributed

    limits = Resources(2, 10**10, "local:2")
    with cluster_of(limits):
        squares = run_tasks(square, [(k,) for k in range(5)], Need("x", 5, MB), limits, tmp_path)
        assert sorted(squares) == [0, 1, 4, 9, 16]
        first = distributed.default_client()
        found = list(run_tasks(large, [(k,) for k in range(3)], Need("y", 3, MB), limits, tmp_path / "parcels"))
        assert distributed.default_client() is first
    assert sorted(int(part["map"][0]) for part in found) == [0, 1, 2]
    assert not (tmp_path / "parcels").exists()


def test_the_refusal_of_small_workers_says_how_many_threads_they_have():
    class Client:  # what a scheduler answers
        def run_on_scheduler(self, function):
            return {"tcp://a:1": (3, 0), "tcp://b:2": (4, BASE_BYTES + 30 * MB)}

    limits, watch = Resources(2, 10**10, "tcp://s:3"), waiting.Watch(None, "tcp://s:3")
    with pytest.raises(RefusedError) as refused:
        scheduling._refuse_small_workers(Client(), Need("x", 1, 10 * MB), limits, watch)
    assert "x needs 578.15 MiB for the 4 threads of tcp://b:2, whose limit is" in str(refused.value)


@pytest.mark.slow
@pytest.mark.alone
def test_workers_of_a_cluster_that_are_too_small_are_refused():
    import distributed

    options = {"n_workers": 1, "threads_per_worker": 2, "dashboard_address": None, "memory_limit": BASE_BYTES + 30 * MB}
    with distributed.LocalCluster(**options) as cluster:
        limits = Resources(2, 10**10, cluster.scheduler_address)
        assert list(run_tasks(square, [(3,)], Need("x", 1, 10 * MB), limits)) == [9]
        with pytest.raises(RefusedError, match=r"x needs .* for the 2 threads of .*whose limit is"):
            list(run_tasks(square, [(3,)], Need("x", 1, 20 * MB), limits))


def test_worker_processes_of_this_machine_print_no_lost_connections():
    """A sign of life that no scheduler hears any more, as at the end of a busy run, is no news for a user."""
    limits = Resources(1, 10**9, cluster="local:2")
    with scheduling._client(limits) as client:
        client.wait_for_workers(2, timeout=60)
        assert client.run(_tells_errors) == dict.fromkeys(client.scheduler_info()["workers"], False)


def _tells_errors():
    return any(logging.getLogger(name).isEnabledFor(logging.ERROR) for name in ("distributed.worker", "tornado"))


def test_calls_side_by_side_keep_their_order_and_share_what_there_is():
    limits = Resources(4, BASE_BYTES + 80 * MB)
    need = Need("x", 1, 30 * MB, alone=True, beside=9)

    def call(item, share):
        threading.Event().wait(0.001 * (10 - item))
        return item, share

    found = list(scheduling.call_each(call, range(10), [Need("y", 1, 0, alone=True, beside=9), need], limits))
    assert [item for item, _ in found] == list(range(10))
    assert {share for _, share in found} == {Resources(2, BASE_BYTES + 40 * MB)}  # two fit, with two threads each
    alone = list(scheduling.call_each(call, range(3), [Need("x", 1, 30 * MB, alone=True)], limits))
    assert [share for _, share in alone] == [limits] * 3
    with pytest.raises(RefusedError, match="x needs"):
        list(scheduling.call_each(call, [1], [Need("x", 1, 90 * MB, alone=True)], limits))


def test_what_fails_side_by_side_ends_the_others():
    def call(item, share):
        BUSY.append(item)
        if item == 1:
            raise OSError("no space")
        return item

    BUSY.clear()
    with pytest.raises(OSError, match="no space"):
        list(scheduling.call_each(call, range(50), [Need("x", 1, 0, alone=True, beside=49)], Resources(2, 10**10)))
    begun = len(BUSY)
    BUSY.clear()
    assert begun < 50


@pytest.mark.parametrize("workers", [1, 3])
def test_tasks_begin_in_the_order_they_are_given(workers):
    begun = []

    def begin(number):
        begun.append(number)

    list(scheduling.run_threads(begin, [(k,) for k in range(300)], workers, 10**10))
    assert all(abs(number - place) < 2 * workers for place, number in enumerate(begun))
