"""Who holds a store: the process whose run writes it, or was killed while it did."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from xct_pipeline.inputs import read_bytes
from xct_pipeline.store import layout
from xct_pipeline.store.files import STATE, RefusedError, write_atomic

LOCK = f"{STATE}/lock"
PATIENCE_S = 0.5  # that a run waits for the lock: whoever asks about a run that was killed takes it for a moment
_asking = threading.Lock()  # whoever asks takes the lock for a moment, which another who asks would see


@dataclass(frozen=True)
class Holder:
    """A process that holds a store, or did when it was killed.

    Attributes
    ----------
    pid : int
    host : str
    since : datetime
        UTC.
    held : bool
        It is alive; else it was killed, and the next run goes on.
    """

    pid: int
    host: str
    since: datetime
    held: bool

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def holder_of(root: Path) -> Holder | None:
    """Return who holds the store at a folder, None where nobody does.

    The lock is the kernel's and ends with its process, so what is written about a process says nothing by itself.
    """
    found = _noted(root)  # a run writes it as soon as it has the lock, and takes it away before it lets go
    if found is None:
        return None
    pid, host, since = found
    return Holder(pid, host, since, _is_held(root, pid, host))


@contextlib.contextmanager
def held(root: Path) -> Iterator[None]:
    """Hold a store for this process.

    Raises
    ------
    RefusedError
        Another process holds it.
    """
    import filelock

    note = root / layout.HOLDER
    lock = filelock.FileLock(root / LOCK, timeout=PATIENCE_S)
    try:
        lock.acquire()
    except filelock.Timeout:
        found = _noted(root)
        who = "another process" if found is None else f"process {found[0]} on {found[1]}"
        raise RefusedError(f"{root} is in use by {who}; wait for it or stop it") from None
    try:
        write_atomic(note, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())
        yield
    finally:
        with contextlib.suppress(OSError):
            note.unlink()
        lock.release()


def _noted(root: Path) -> tuple[int, str, datetime] | None:
    file = root / layout.HOLDER
    try:
        found = json.loads(read_bytes(file))
        since = datetime.fromtimestamp(file.stat().st_mtime, UTC)
        return int(found["pid"]), str(found["host"]), since
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def _is_held(root: Path, pid: int, host: str) -> bool:
    import filelock

    lock = filelock.FileLock(root / LOCK, timeout=0)
    with _asking:
        try:
            lock.acquire()
        except filelock.Timeout:
            return True
        except OSError:  # somebody else's store, to be read only
            return host != socket.gethostname() or _is_alive(pid)
        lock.release()
    return False


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True
