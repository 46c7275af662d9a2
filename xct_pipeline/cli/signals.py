"""Ending when told to: at once where Python can, by force after a grace period where a library holds on.

A signal raises KeyboardInterrupt in the main thread, so that files and clusters are closed on the way out. That is not
enough: the exception is lost where it is raised inside a callback or a destructor, and threads that compute are waited
for. So a thread that the C level of the interpreter wakes ends the process after `GRACE_S`; a store stands that.

Once a command has told how it ended, a signal changes nothing of that: its exit code stays, as there is nothing left to
stop. Until the interpreter is gone a signal still bounds how long that takes.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any, NoReturn

INTERRUPTED = 130
GRACE_S = 3.0
STOPPED = "xct: stopped; the same command goes on where this one ended"
_ENDING = [number for name in ("SIGINT", "SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None]
_state: dict[str, Any] = {"signal": None, "told": False, "stderr": None, "armed": False, "code": None}


def received() -> int | None:
    """Return the signal that ended this process's work, None where there was none."""
    number: int | None = _state["signal"]
    return number


@contextlib.contextmanager
def stoppable(last: bool = False) -> Iterator[None]:
    """Let signals end what is done inside; those that were ignored from outside (nohup, a job of a script) stay so.

    With `last`, the process ends after it: signals that come then do not get back the effect that they had before.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _state.update(signal=None, told=False, stderr=sys.stderr, armed=False, code=None)
    before = {n: signal.getsignal(n) for n in _ENDING if signal.getsignal(n) != signal.SIG_IGN}
    inner, outer = socket.socketpair()
    for end in (inner, outer):
        end.setblocking(False)
    if last:
        atexit.register(_set_all, before, signal.SIG_IGN)  # the first registered is the last called
    _set_all(before, _stop)
    woken = signal.set_wakeup_fd(outer.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(inner,), daemon=True, name="xct signals").start()
    hooks = sys.unraisablehook, threading.excepthook
    sys.unraisablehook = lambda error: None if received() else hooks[0](error)
    threading.excepthook = lambda error: None if received() else hooks[1](error)
    try:
        yield
    finally:
        sys.stderr = _state["stderr"]
        sys.unraisablehook, threading.excepthook = hooks
        _state["armed"] = False
        if last:
            _state["open"] = outer  # as long as the interpreter is there
        else:
            signal.set_wakeup_fd(woken)
            for number, handler in before.items():
                signal.signal(number, handler)
            outer.close()  # which ends the thread


def arm() -> None:
    """From here on a signal raises KeyboardInterrupt, here already if one has come."""
    _state["armed"] = True
    if received() is not None:
        raise KeyboardInterrupt


def ended(code: int) -> None:
    """Take note of the exit code of a command that has told how it ended, if no signal came before that."""
    if received() is None:
        _state["code"] = code


def done() -> bool:
    """Tell whether the command had ended before any signal came."""
    return _state["code"] is not None


def _set_all(numbers: Iterable[int], handler: Callable[[int, FrameType | None], object] | signal.Handlers) -> None:
    for number in numbers:
        signal.signal(number, handler)


def _stop(number: int, frame: object) -> None:
    del frame
    if done():
        return
    _state["signal"] = _state["signal"] or number
    if not isinstance(sys.stderr, io.StringIO):  # libraries that catch everything tell tracebacks of it
        sys.stderr = io.StringIO()
    if _state["armed"]:
        raise KeyboardInterrupt


def _watch(inner: socket.socket) -> None:
    """Wait for the first signal, then for the end of the grace period or a second signal."""
    seen = False
    with inner:
        while True:
            ready, _, _ = select.select([inner], [], [], GRACE_S if seen else None)
            if not ready:
                leave()
            numbers = inner.recv(64)
            if not numbers:
                return
            ending = [n for n in numbers if n in _ENDING]
            _state["signal"] = _state["signal"] or next(iter(ending), None)
            if seen and ending:
                leave()
            seen = seen or bool(ending)


def say_stopped() -> None:
    """Say, once, that the same command goes on."""
    if _state["told"]:
        return
    _state["told"] = True
    stream = _state["stderr"] or sys.stderr
    cursor = "\x1b[?25h" if stream.isatty() else ""  # a progress bar hides it
    print(f"{cursor}{STOPPED}", file=stream, flush=True)


def leave() -> NoReturn:
    """End the process now, with the exit code of the signal, or that of a command that had told how it ended."""
    code = _state["code"]
    with contextlib.suppress(Exception):
        if code is None:
            say_stopped()
        sys.stdout.flush()
    os._exit(128 + (received() or signal.SIGINT) if code is None else code)
