"""Files that others wrote and that are read as text: regular files only, no larger than they can sensibly be."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

MOST_TEXT = 64 * 2**20  # bytes of a list of angles or of a log
MOST_LINES = 10  # of errors that are alike


def require_regular(path: str | os.PathLike[str]) -> int:
    """Return the size of a regular file; a pipe or a device would be read for ever.

    Raises
    ------
    OSError
        It does not exist or cannot be looked at.
    ValueError
        It is something else.
    """
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{os.fspath(path)}: not a file that can be read again and again")
    return found.st_size


def read_bytes(path: Path, most: int = MOST_TEXT) -> bytes:
    """Read a file whole, unless it is no regular file or too large for what it is.

    Raises
    ------
    OSError
        It cannot be read.
    ValueError
        It is no regular file, or has more than `most` bytes.
    """
    size = require_regular(path)
    if size > most:
        raise ValueError(f"{path}: {size} bytes, more than the {most} that such a file can have")
    with path.open("rb") as stream:
        return stream.read(most + 1)


def first_of(lines: Sequence[str], most: int = MOST_LINES) -> list[str]:
    """Return the first lines and how many more there are, so that a thousand alike errors can still be read."""
    if len(lines) <= most + 1:
        return list(lines)
    return [*lines[:most], f"... and {len(lines) - most} more"]
