"""Kernels compiled by numba: made here and nowhere else, kept on the disk where it can be written, told of while made.

numba looks for a folder beside the source, then in the user's cache, and gives up an import where neither can be
written, as in a container. A cache is a convenience: without one, with a full disk or with a damaged file in it,
kernels are compiled in memory, and that is said once.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numba
from numba.core.caching import FunctionCache
from numba.core.dispatcher import Dispatcher
from numba.core.event import Event, Listener, register, unregister

log = logging.getLogger("xct")
HINT = "every run compiles them again; set NUMBA_CACHE_DIR to a folder that can be written"
_state: dict[str, Any] = {"unkept": None, "told": False}


class _KeptWhereItCan(FunctionCache):
    """A cache of which no failure reaches who calls the kernel."""

    def load_overload(self, sig: object, target_context: object) -> Any:
        """Return what is kept for a signature, None where nothing is or it cannot be read."""
        try:
            return super().load_overload(sig, target_context)
        except OSError as error:
            _cannot_keep(error)
        except Exception as error:  # a torn file, or one of another version: as good as none
            log.debug("%s: unreadable compiled kernels (%s)", self.cache_path, error)
            with contextlib.suppress(OSError):
                self.flush()
        return None

    def save_overload(self, sig: object, data: object) -> None:
        """Keep what was compiled for a signature, if that can be done."""
        try:
            super().save_overload(sig, data)
        except Exception as error:  # the disk is full, the folder gone, its files damaged
            _cannot_keep(error)


def njit(function: Callable[..., Any] | None = None, *, cache: bool = True, nogil: bool = True, **options: Any) -> Any:
    """Compile a function at its first call, as ``numba.njit`` does, and keep the result for later processes.

    Parameters
    ----------
    function : callable
    cache : bool
        Keep it where numba finds a folder that can be written; elsewhere it lasts as long as the process.
    nogil : bool
        Let other threads work meanwhile.
    **options
        Of ``numba.njit``.
    """
    if function is None:
        return lambda later: njit(later, cache=cache, nogil=nogil, **options)
    made = numba.njit(nogil=nogil, **options)(function)
    if cache and isinstance(made, Dispatcher):  # not where NUMBA_DISABLE_JIT is set
        try:
            setattr(made, "_cache", _KeptWhereItCan(function))  # noqa: B010  (as enable_caching does)
        except (RuntimeError, OSError) as error:  # no locator: told once a kernel is compiled, not at each import
            _state["unkept"] = _state["unkept"] or str(error)
    return made


def _cannot_keep(error: Exception) -> None:
    """Tell, once in a process, that compiled kernels are not kept."""
    if not _state["told"]:
        _state["told"] = True
        log.warning("compiled kernels cannot be kept (%s): %s", " ".join(str(error).split()), HINT)


class _Watch(Listener):
    """Counts the kernels that are compiled, those inside others with them, and tells of the outermost."""

    def __init__(self, told: Callable[[str | None], None]) -> None:
        self.told, self.depth = told, 0
        self.count, self.seconds, self._since = 0, 0.0, 0.0
        self._thread = threading.Lock()

    def on_start(self, event: Event) -> None:
        """Take note of a kernel that begins to be compiled."""
        with self._thread:
            self.depth += 1
            if self.depth > 1:
                return
            self._since = time.monotonic()
            self.count += 1
        if _state["unkept"] is not None:
            _cannot_keep(RuntimeError(_state["unkept"]))
        function = event.data["dispatcher"].py_func
        self.told(function.__name__.strip("_"))

    def on_end(self, event: object) -> None:
        """Take note of one that is ready."""
        del event
        with self._thread:
            self.depth -= 1
            if self.depth:
                return
            self.seconds += time.monotonic() - self._since
        self.told(None)


@contextlib.contextmanager
def watched(told: Callable[[str | None], None]) -> Iterator[_Watch]:
    """Tell of every kernel that this process compiles: its name when it begins, None when it is ready.

    Yields
    ------
    object with ``count`` and ``seconds``
        How many were compiled so far, and how long that took.
    """
    watch = _Watch(told)
    register("numba:compile", watch)
    try:
        yield watch
    finally:
        unregister("numba:compile", watch)
