"""Files of a store that are written whole or not at all, and what goes wrong with them."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xct_pipeline.names import check_path


class StoreError(RuntimeError):
    """A store that is damaged or cannot be used; the message says what to do."""


class RefusedError(RuntimeError):
    """Something that is possible but not allowed: memory, disk, another experiment, a live run (exit code 2)."""


def unwritable(error: OSError) -> bool:
    """Tell whether the disk is full, over quota or read-only, so that nothing else can be written either."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def write_atomic(file: Path, data: bytes) -> None:
    """Write a file so that it is either whole or absent, even after a kill: temporary, fsync, rename."""
    try:
        _write(file, data)
    except OSError as error:  # of the file that was meant, not of a temporary one; a full disk comes without a name
        raise OSError(error.errno, error.strerror, str(file)) from error


def _write(file: Path, data: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
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
    return root / ".xct" / "markers" / check_path(name) / ("_".join(map(str, shard)) + ".json")


def write_group(folder: Path, attributes: Mapping[str, Any]) -> None:
    """Write the metadata of a zarr group atomically (a group is its ``zarr.json``)."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {"zarr_format": 3, "node_type": "group", "attributes": dict(attributes)}
    write_atomic(folder / "zarr.json", json.dumps(document, indent=1).encode())


def read_attributes(folder: Path) -> dict[str, Any]:
    """Return the attributes of a zarr group, empty where there is no group."""
    file = folder / "zarr.json"
    try:
        return dict(json.loads(file.read_text()).get("attributes", {}))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (ValueError, AttributeError) as error:
        raise StoreError(f"{file}: damaged metadata ({error})") from error
