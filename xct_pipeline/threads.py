"""Threads that begin or say that they cannot."""

from __future__ import annotations

import _thread
import threading
from collections.abc import Callable

BEGIN_S = 10.0  # that a thread may take to its first step


def begin_thread(work: Callable[[], None]) -> None:
    """Start a thread that does not keep the process alive.

    Not ``threading.Thread``: its start waits for ever for a thread that finds no memory for its first step.

    Raises
    ------
    MemoryError
        There is none for it.
    """
    begun, given_up = threading.Event(), threading.Event()

    def first() -> None:
        begun.set()
        if not given_up.is_set():
            work()

    _thread.start_new_thread(first, ())
    if not begun.wait(BEGIN_S):
        given_up.set()  # it may begin yet
        raise MemoryError("no memory is left for a thread")
