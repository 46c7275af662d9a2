"""A thread begins, or what started it is told that it cannot."""

from __future__ import annotations

import threading

import pytest

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
