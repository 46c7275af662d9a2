"""What others wrote: files are read if regular and no larger than they can be, texts are shown without controls."""

from __future__ import annotations

import glob
import logging
import os
import re
import stat
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

IMAGE_SUFFIXES = (".tif", ".tiff", ".edf")
MOST_TEXT = 64 * 2**20  # bytes of a list of angles or of a log
MOST_LINES = 10  # of errors that are alike
MOST_FOLDERS = 10_000  # that are looked through for a pattern
MOST_ALIKE = 5  # of remarks that differ in names and numbers alone
_NUMBER = re.compile(r"\d+(\.\d+)?(e[+-]?\d+)?")
_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")  # Unicode's categories of what is not seen but acts


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
        return stream.read(size + 1)


def matching(pattern: str) -> list[str]:
    """Return what matches a pattern, as `glob.glob` with ``**`` for any folders, each folder looked through once.

    Links that lead back to a folder above would be followed for ever else.

    Raises
    ------
    ValueError
        More than `MOST_FOLDERS` folders lie below that of a ``**``.
    """
    head, stars, tail = pattern.partition(f"**{os.sep}")
    if not stars:
        head, stars, tail = (pattern[:-2], "**", "*") if pattern.endswith(f"{os.sep}**") else (pattern, "", "")
    if not stars or (head and not head.endswith(os.sep)):
        return glob.glob(pattern)
    found: dict[str, None] = {}
    for base in glob.glob(head) if head else [os.curdir]:
        for folder in _folders(base, pattern):
            below = folder if head else os.path.relpath(folder)
            found |= dict.fromkeys(matching(os.path.join(glob.escape(below), tail)))
    return list(found)


def _folders(base: str, pattern: str) -> Iterator[str]:
    """Yield a folder and those below it, links followed, but each once and none that is hidden."""
    seen: set[tuple[int, int]] = set()
    for folder, names, _ in os.walk(base, followlinks=True):
        here = os.stat(folder)
        if (here.st_dev, here.st_ino) in seen:
            names.clear()
            continue
        seen.add((here.st_dev, here.st_ino))
        if len(seen) > MOST_FOLDERS:
            raise ValueError(f"{pattern}: more than {MOST_FOLDERS} folders lie below; name one nearer to the files")
        names[:] = [name for name in names if not name.startswith(".")]
        yield folder


def first_of(lines: Sequence[str], most: int = MOST_LINES) -> list[str]:
    """Return the first lines and how many more there are, so that a thousand alike errors can still be read."""
    if len(lines) <= most + 1:
        return list(lines)
    return [*lines[:most], f"... and {len(lines) - most} more"]


def folded(remarks: Sequence[tuple[str, str]], most: int = MOST_ALIKE) -> list[tuple[str, str]]:
    """Return remarks (name, text) with each told once, and many alike as their count, three names and the first text.

    Parameters
    ----------
    remarks : sequence of (name, text)
        Alike are texts that differ in numbers and in the name alone.
    most : int
        Of alike remarks that are told one by one.
    """
    kinds: dict[str, list[tuple[str, str]]] = {}
    for name, text in dict.fromkeys(remarks):
        kind = _NUMBER.sub("#", text.replace(name, "*") if len(name) > 1 else text)
        kinds.setdefault(kind, []).append((name, text))
    told: list[tuple[str, str]] = []
    for alike in kinds.values():
        if len(alike) <= most:
            told += alike
        else:
            examples = ", ".join(name for name, _ in alike[:3])
            told.append((f"{len(alike)} alike, of {examples} ...", alike[0][1]))
    return told


def clean(text: str) -> str:
    r"""Return text that no terminal acts upon: control characters, marks of direction and halves of pairs as ``\x1b``.

    Line breaks and tabs stay.
    """
    return "".join(c if c in "\n\t" or unicodedata.category(c) not in _UNSEEN else _written(c) for c in text)


def _written(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


class PlainFormatter(logging.Formatter):
    """Formats a record of a log, then cleans it: what is logged names files and datasets of others."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text that no terminal acts upon."""
        return clean(super().format(record))
