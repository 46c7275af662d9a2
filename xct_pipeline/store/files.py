"""Files of a store that are written whole or not at all, and what goes wrong with them."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from xct_pipeline.inputs import read_bytes
from xct_pipeline.names import check_path
from xct_pipeline.store import seal
from xct_pipeline.store.layout import STATE

PARTIAL = ".partial"  # ends the names of files that are being written
HEALED = "xct run writes it anew"


class StoreError(RuntimeError):
    """A store that is damaged or cannot be used; the message says what to do."""


class RefusedError(RuntimeError):
    """Something that is possible but not allowed: memory, disk, another experiment, a live run (exit code 2)."""


def unwritable(error: OSError) -> bool:
    """Tell whether the disk is full, over quota or read-only, so that nothing else can be written either."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def out_of_memory(error: BaseException) -> bool:
    """Tell whether there was no memory; where it lacks for a thread's own, Python says so by a RuntimeError."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "start new thread" in str(error))


def write_atomic(file: Path, data: bytes) -> None:
    """Write a file so that it is either whole or absent, even after a kill: temporary, fsync, rename."""
    _replace(file, [data], synced=True)


def write_parts(file: Path, parts: Iterable[bytes]) -> None:
    """Write a large file, given in parts, so that it is either whole or absent: temporary, rename, without waiting."""
    _replace(file, parts, synced=False)


def _replace(file: Path, parts: Iterable[bytes], *, synced: bool) -> None:
    try:
        _write(file, parts, synced)
    except OSError as error:  # of the file that was meant, not of a temporary one; a full disk comes without a name
        raise OSError(error.errno, error.strerror, str(file)) from error


def _write(file: Path, parts: Iterable[bytes], synced: bool) -> None:
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name[:60]}.", suffix=PARTIAL)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.writelines(parts)
            if synced:
                stream.flush()
                os.fsync(stream.fileno())
        os.chmod(name, 0o644)
        os.replace(name, file)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def marker_file(root: Path, name: str, shard: Sequence[int]) -> Path:
    """Return the path of the marker that calls a shard of an image of the store `root` finished."""
    return root / STATE / "markers" / check_path(name) / ("_".join(map(str, shard)) + ".json")


def store_root(path: Path) -> Path | None:
    """Return the folder of the store that a path lies in, None where it lies in none."""
    return next((folder for folder in (path, *path.parents) if (folder / STATE).is_dir()), None)


def place_of(file: Path) -> str:
    """Return where a file lies in its store, which its seal holds; its name where it lies in none."""
    root = store_root(file.parent)
    return file.name if root is None else file.relative_to(root).as_posix()


def group_bytes(folder: Path, attributes: Mapping[str, Any]) -> bytes:
    """Return the metadata of a zarr group (its ``zarr.json``), the seal among its ``xct`` attributes."""
    document = {"zarr_format": 3, "node_type": "group", "attributes": dict(attributes)}
    return seal.dumps(document, place_of(folder / "zarr.json"), ("attributes", "xct"))


def write_group(folder: Path, attributes: Mapping[str, Any]) -> None:
    """Write the metadata of a zarr group whole; one that says the same already is left alone."""
    folder.mkdir(parents=True, exist_ok=True)
    write_changed(folder / "zarr.json", group_bytes(folder, attributes))


def write_changed(file: Path, data: bytes) -> None:
    """Write a file whole, unless it holds these bytes already."""
    with contextlib.suppress(OSError, ValueError):
        if read_bytes(file) == data:
            return
    write_atomic(file, data)


def read_attributes(folder: Path) -> dict[str, Any]:
    """Return the attributes of a zarr group without its seal, empty where there is no group.

    Raises
    ------
    StoreError
        It is damaged: not what was written there.
    """
    file = folder / "zarr.json"
    try:
        document = seal.loads(read_bytes(file), place_of(file), ("attributes", "xct"))
        return dict(document.get("attributes", {}))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(f"{file}: damaged metadata ({error}); {HEALED}") from error
