"""A thread begins, or what started it is told that it cannot."""

from __future__ import annotations

import pickle
import sys
import threading

import numpy as np
import pytest
import threadpoolctl

from xct_pipeline import threads


def test_the_work_is_done_beside() -> None:
    done = threading.Event()
    threads.begin_thread(done.set)
    assert done.wait(10)


def test_a_thread_that_never_takes_its_first_step_is_an_error_and_does_nothing_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    late: list[object] = []
    monkeypatch.setattr(threads, "BEGIN_S", 0.05)
    monkeypatch.setattr("_thread.start_new_thread", lambda first, arguments: late.append(first))
    worked = threading.Event()
    with pytest.raises(MemoryError, match="no memory is left for a thread"):
        threads.begin_thread(worked.set)
    late[0]()  # type: ignore[operator]
    assert not worked.is_set()


def test_what_threads_share_is_made_once_and_the_latest_is_kept() -> None:
    shared, made, gate = threads.Shared(2), [], threading.Event()

    def make(key: int) -> int:
        gate.wait(10)
        made.append(key)
        return 10 * key

    found: list[int] = []
    asking = [threading.Thread(target=lambda: found.append(shared.get(1, lambda: make(1)))) for _ in range(4)]
    for thread in asking:
        thread.start()
    gate.set()
    for thread in asking:
        thread.join()
    assert found == [10] * 4
    assert made == [1]
    for key in (2, 3, 2, 1):
        assert shared.get(key, lambda key=key: make(key)) == 10 * key
    assert made == [1, 2, 3, 1]
    assert len(pickle.loads(pickle.dumps(shared))._kept) == 0


def test_a_failure_is_told_to_all_and_tried_again() -> None:
    shared = threads.Shared(2)

    def fail() -> None:
        raise OSError("no disk")

    with pytest.raises(OSError, match="no disk"):
        shared.get("a", fail)
    assert shared.get("a", lambda: 5) == 5


def test_blas_keeps_to_one_thread_and_its_libraries_are_looked_for_again_where_modules_were_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def counts() -> list[int]:
        return [library["num_threads"] for library in threadpoolctl.threadpool_info()]

    np.ones((2, 2)) @ np.ones((2, 2))
    with threadpoolctl.threadpool_limits(2):
        before = counts()
        with threads.one_thread_each():
            assert set(counts()) == {1}
            with threads.one_thread_each():  # of a step within a step
                assert set(counts()) == {1}
            assert set(counts()) == {1}
        assert counts() == before
    with threads.one_thread_each():  # whatever the last import of all was
        pass
    looked = threads._libraries.cache_info().misses
    with threads.one_thread_each():
        pass
    assert threads._libraries.cache_info().misses == looked
    monkeypatch.setitem(sys.modules, "a_library_with_threads", threads)
    with threads.one_thread_each():
        pass
    assert threads._libraries.cache_info().misses == looked + 1
