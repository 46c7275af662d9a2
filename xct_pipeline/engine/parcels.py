"""Large arguments that many tasks of a cluster share, and large results, in files instead of messages.

A pass holds the flats and darks of its scan: tens of megabytes that a scheduler would otherwise get with each of its
tasks; the maps that a reduction returns would pass through it, too. Workers share the store's file system in any case,
because they write their shards to it.
"""

from __future__ import annotations

import functools
import hashlib
import pickle
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xct_pipeline.store.files import write_atomic

SMALL = 32768  # bytes that may as well travel with every task
SMALL_RESULT = 1 << 20


@dataclass(frozen=True)
class Parcel:
    """An argument in a file."""

    file: str


def wrap(calls: Sequence[tuple[Any, ...]], folder: Path) -> list[tuple[Any, ...]]:
    """Replace every large argument of the calls by a parcel; one that several calls share is written once."""
    import cloudpickle  # type: ignore[import-untyped]

    known: dict[int, Any] = {}

    def parcel(value: Any) -> Any:
        if isinstance(value, (str, int, tuple)):
            return value
        if id(value) not in known:
            data = cloudpickle.dumps(value)
            known[id(value)] = value
            if len(data) > SMALL:
                file = folder / f"{hashlib.sha256(data).hexdigest()[:24]}.pickle"
                write_atomic(file, data)
                known[id(value)] = Parcel(str(file))
        return known[id(value)]

    folder.mkdir(parents=True, exist_ok=True)
    return [tuple(parcel(value) for value in call) for call in calls]


def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function with its parcels opened."""
    return function(*(open_parcel(a.file) if isinstance(a, Parcel) else a for a in arguments))


@functools.lru_cache(maxsize=4)
def open_parcel(file: str) -> Any:
    """Return the argument in a file; a worker keeps the last few."""
    return pickle.loads(Path(file).read_bytes())


def put(result: Any, folder: Path) -> Any:
    """Return a result, or a parcel with it where it is large."""
    data = pickle.dumps(result, protocol=5)
    if len(data) <= SMALL_RESULT:
        return result
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{uuid.uuid4().hex}.pickle"
    write_atomic(file, data)
    return Parcel(str(file))


def take(result: Any) -> Any:
    """Return what `put` was given; its file is removed."""
    if not isinstance(result, Parcel):
        return result
    file = Path(result.file)
    value = pickle.loads(file.read_bytes())
    file.unlink(missing_ok=True)
    return value
