"""What a result was made from: canonical text, hashes, versions of the software."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from xct_pipeline.store import seal

WHOLE, ENDS, PIECE, PIECES = 256 * 1024, 64 * 1024, 4096, 30  # bytes that are sampled of a raw file
PACKAGES = ("xct-pipeline", "numpy", "scipy", "numba", "zarr", "dask", "h5py", "ducc0", "astra-toolbox", "xraydb")


def plain(value: Any) -> Any:
    """Turn `value` into what JSON can hold, the same for equal values in every process."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in sorted(value.items(), key=lambda pair: str(pair[0]))}
    if isinstance(value, np.ndarray):
        array = np.ascontiguousarray(value)
        return {
            "sha256": hashlib.sha256(array.tobytes()).hexdigest(),
            "shape": list(array.shape),
            "dtype": str(array.dtype),
        }
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, (set, frozenset)):
        return sorted(plain(item) for item in value)
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [plain(item) for item in value]
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, (Path, datetime)):
        return str(value)
    if hasattr(value, "model_dump"):
        return plain(value.model_dump(mode="json"))
    if isinstance(value, (str, int, float, bool)) or value is None:
        return value
    raise TypeError(f"{type(value).__name__} has no canonical text")


def canonical(value: Any) -> str:
    """Return JSON text with sorted keys: equal values give equal text."""
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"))


def fingerprint(value: Any) -> str:
    """Return 32 hexadecimal digits that change when `value` changes."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:32]


def file_identity(files: Iterable[Path]) -> list[list[Any]]:
    """Return name, size, modification time and the digest of samples of each file.

    It is cheap, and other after any change but one that keeps the size, the time and the samples: the first and the
    last 64 kB and 30 pieces of 4 kB between them, all of a file of up to 256 kB.
    """
    identity: list[list[Any]] = []
    for file in sorted(files):
        status = os.stat(file)
        size, times = status.st_size, (status.st_mtime_ns, status.st_ctime_ns)
        identity.append([file.name, size, status.st_mtime_ns, _sampled(str(file), size, *times)])
    return identity


@functools.lru_cache(maxsize=65536)
def _sampled(file: str, size: int, *_times: int) -> str:
    """Return the digest of a file's samples, read once for each change of it."""
    total = seal.hasher()
    with open(file, "rb") as stream:
        if size <= WHOLE:
            return seal.digest(stream.read())
        inner = np.linspace(ENDS, size - ENDS - PIECE, PIECES).astype(int).tolist()
        for start, length in [(0, ENDS), *((k, PIECE) for k in inner), (size - ENDS, ENDS)]:
            stream.seek(start)
            total.update(stream.read(length))
    return total.hexdigest()


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """List what changed between two plain values, one ``path: old -> new`` each."""
    if isinstance(old, dict) and isinstance(new, dict):
        found: list[str] = []
        for key in sorted(set(old) | set(new)):
            where = f"{path}.{key}" if path else key
            if key not in old:
                found.append(f"{where}: (new) {_short(new[key])}")
            elif key not in new:
                found.append(f"{where}: {_short(old[key])} -> (gone)")
            else:
                found += differences(old[key], new[key], where)
        return found
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [
            line for k, (a, b) in enumerate(zip(old, new, strict=True)) for line in differences(a, b, f"{path}[{k}]")
        ]
    return [] if old == new else [f"{path}: {_short(old)} -> {_short(new)}"]


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def versions() -> dict[str, str]:
    """Return the versions that a result depends on: Python, this package and the numeric libraries."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
