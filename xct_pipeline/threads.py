"""Threads that begin or say that they cannot, and those of BLAS, which are held back."""

from __future__ import annotations

import _thread
import functools
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any

BEGIN_S = 10.0  # that a thread may take to its first step


class Shared:
    """Results that threads share which ask for the same at about the same time; the latest are kept.

    A copy in another process begins empty.

    Parameters
    ----------
    most : int
        Results that are kept.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, Future[Any]] = OrderedDict()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.most,)

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return what is kept under a key, else what `make` returns, which one thread calls while others wait."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                mine = False
            else:
                mine, found = True, Future()
                self._kept[key] = found
                while len(self._kept) > self.most:
                    self._kept.popitem(last=False)
        if mine:
            try:
                found.set_result(make())
            except BaseException as error:
                with self._lock:
                    self._kept.pop(key, None)
                found.set_exception(error)
        return found.result()


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


def one_thread_each() -> AbstractContextManager[Any]:
    """Return what keeps BLAS and OpenMP to one thread while it is entered: the tasks beside are the parallelism.

    Their libraries are looked for, four milliseconds each time, only where modules were loaded since they last were.
    """
    context: AbstractContextManager[Any] = _libraries(len(sys.modules)).limit(limits=1)
    return context


@functools.lru_cache(maxsize=1)
def _libraries(loaded: int) -> Any:
    from threadpoolctl import ThreadpoolController

    del loaded
    return ThreadpoolController()
