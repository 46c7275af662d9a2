"""Who holds a store, or a scan of it: the process whose run writes there, or was killed while it did.

The run over the series holds the whole store; runs of single scans hold a lease of their scan each, many at a time.
Neither begins while the other is alive. A lock is the kernel's and ends with its process; as it may not reach from one
host to another, what is written about its holder is renewed while that is alive (`BEAT_S`), and a holder on another
host of which nothing has been seen for `SILENT_S` counts as dead.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from xct_pipeline.inputs import read_bytes
from xct_pipeline.names import check_name
from xct_pipeline.store import layout
from xct_pipeline.store.files import PARTIAL, RefusedError, write_atomic
from xct_pipeline.store.layout import STATE
from xct_pipeline.threads import begin_thread

LOCK = f"{STATE}/lock"
PATIENCE_S = 0.5  # that a run waits for the lock: whoever asks about a run that was killed takes it for a moment
ASK_S = 0.1  # that whoever asks waits for others who ask
BEAT_S = 15.0  # between two signs of life of a holder
SILENT_S = 180.0  # without one, after which a holder on another host is dead: caches of network file systems hold 60 s
LOOK_S = 1.0  # between two looks for one
_asking = threading.Lock()  # whoever asks takes the lock for a moment, which another who asks would see
log = logging.getLogger("xct")


@dataclass(frozen=True)
class Holder:
    """A process that holds a store or a scan of it, or did when it was killed.

    Attributes
    ----------
    pid : int
    host : str
    since : datetime
        UTC.
    held : bool
        It is alive; else it was killed, and the next run goes on.
    job : str
        Of SLURM, empty outside of one.
    scan : str or None
        That it holds a lease of; None for the whole store.
    """

    pid: int
    host: str
    since: datetime
    held: bool
    job: str = ""
    scan: str | None = None

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}" + (f" (job {self.job})" if self.job else "")


@dataclass(frozen=True)
class _Note:
    """What is written about a holder, and when it was renewed; `beats` where it is renewed at all."""

    holder: Holder
    renewed: float
    beats: bool


@dataclass(frozen=True)
class _Seat:
    """Where the lock of a store or of a scan lies, and what is written about its holder."""

    lock: Path
    note: Path
    scan: str | None = None


def holder_of(root: Path) -> Holder | None:
    """Return who holds the store at a folder, or a scan of it; None where nobody does.

    The lock is the kernel's and ends with its process, so what is written about a process says nothing by itself.
    """
    seat = _whole(root)
    found = _noted(seat)  # a run writes it as soon as it has the lock, and takes it away before it lets go
    if found is not None:
        return replace(found.holder, held=_is_held(seat, found))
    leases = leases_of(root)
    return next((lease for lease in leases if lease.held), leases[0] if leases else None)


def leases_of(root: Path) -> list[Holder]:
    """Return who holds scans of a store, those that were killed while they did included."""
    noted = [(seat, _noted(seat)) for seat in _scan_seats(root)]
    return [replace(found.holder, held=_is_held(seat, found)) for seat, found in noted if found is not None]


def lease_folder(root: Path, scan: str) -> Path:
    """Return the folder of what is kept of the lease of a scan, and of how its last run ended."""
    return root / layout.LEASES / check_name(scan)


@contextlib.contextmanager
def held(root: Path, scan: str | None = None) -> Iterator[None]:
    """Hold a store for this process, or a scan of it.

    Raises
    ------
    RefusedError
        Another process holds it: the store or any scan of it where all is asked for, else the store or that scan.
    """
    import filelock

    seat = _whole(root) if scan is None else _scan_seat(root, scan)
    seat.lock.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(seat.lock, timeout=PATIENCE_S)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise _refusal(root, _noted(seat), scan) from None
    try:
        _require_dead(root, seat, is_locked=lambda _: False)  # but by this process
        with _noting(seat):
            others = list(_scan_seats(root)) if scan is None else [_whole(root)]
            for other in others:
                _require_dead(root, other)
                if scan is None:
                    with contextlib.suppress(OSError):
                        other.note.unlink()
            yield
    finally:
        lock.release()


def _whole(root: Path) -> _Seat:
    return _Seat(root / LOCK, root / layout.HOLDER)


def _scan_seat(root: Path, scan: str) -> _Seat:
    folder = lease_folder(root, scan)
    return _Seat(folder / "lock", folder / "lock.json", scan)


def _scan_seats(root: Path) -> Iterator[_Seat]:
    for note in sorted((root / layout.LEASES).glob("*/lock.json")):
        yield _Seat(note.with_name("lock"), note, note.parent.name)


@contextlib.contextmanager
def _noting(seat: _Seat) -> Iterator[None]:
    """Write down that this process holds a place, and renew that until the end."""
    about = {"pid": os.getpid(), "host": socket.gethostname(), "job": _job(), "beat_s": BEAT_S}
    write_atomic(seat.note, json.dumps({**about, "since": datetime.now(UTC).isoformat()}).encode())
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(BEAT_S):
            with contextlib.suppress(OSError):  # a file system that is away for a moment
                os.utime(seat.note)

    try:
        begin_thread(renew)
        yield
    finally:
        ended.set()
        with contextlib.suppress(OSError):
            seat.note.unlink()


def _job() -> str:
    """Return the job of SLURM that this process belongs to, an element of an array as SLURM writes it."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID", "")


def _require_dead(root: Path, seat: _Seat, is_locked: Callable[[_Note], bool] | None = None) -> None:
    """Wait until it is known whether what is written about a holder is that of a living one, and refuse that.

    A holder on another host that has been killed is not known to be dead before it has been silent for long enough.
    """
    first = found = _noted(seat)
    locked = is_locked or partial(_is_locked, seat)
    told = False
    while first is not None and found is not None:
        if locked(found) or found.renewed != first.renewed:
            raise _refusal(root, found, seat.scan)
        if not _may_live(seat, found):
            return
        if not told:
            log.info("waiting up to %.0f s for a sign of life of %s", SILENT_S, found.holder)
            told = True
        time.sleep(LOOK_S)
        found = _noted(seat)


def _refusal(root: Path, found: _Note | None, scan: str | None) -> RefusedError:
    who = "another process" if found is None else str(found.holder)
    what = f"{scan} of {root}" if scan is not None else str(root)
    return RefusedError(f"{what} is in use by {who}; wait for it or stop it")


def _noted(seat: _Seat) -> _Note | None:
    try:
        found = json.loads(read_bytes(seat.note))
        renewed = seat.note.stat().st_mtime
        since = datetime.fromisoformat(found["since"]) if "since" in found else datetime.fromtimestamp(renewed, UTC)
        holder = Holder(int(found["pid"]), str(found["host"]), since, False, str(found.get("job", "")), seat.scan)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return _Note(holder, renewed, "beat_s" in found)  # earlier versions did not renew it


def _is_held(seat: _Seat, found: _Note) -> bool:
    return _is_locked(seat, found) or _may_live(seat, found)


def _may_live(seat: _Seat, found: _Note) -> bool:
    """Tell whether a holder may be alive on another host, from where its lock may not be seen."""
    if not found.beats or found.holder.host == socket.gethostname():
        return False
    return _now(seat.note.parent) - found.renewed <= SILENT_S


def _now(folder: Path) -> float:
    """Return the time by the clock of a folder's file system, by which what lies there is dated."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".now.", suffix=PARTIAL) as file:
            return os.fstat(file.fileno()).st_mtime
    except OSError:  # somebody else's store, to be read only
        return time.time()


def _is_locked(seat: _Seat, found: _Note) -> bool:
    import filelock

    lock = filelock.FileLock(seat.lock, timeout=ASK_S)
    with _asking:
        try:
            lock.acquire(poll_interval=ASK_S / 5)
        except filelock.Timeout:
            return True
        except OSError:  # somebody else's store, to be read only
            host = found.holder.host
            return not found.beats if host != socket.gethostname() else _is_alive(found.holder.pid)
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
