"""Files and folders outside of a store that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path


def user_cache() -> Path:
    """Return the folder of what may be deleted any time: ``XCT_CACHE``, else in the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(os.environ.get("XCT_CACHE") or Path(base) / "xct-pipeline")


@contextlib.contextmanager
def written_whole(target: Path) -> Iterator[Path]:
    """Give the path to write a file or folder to; it gets its name only when all of it is on the disk.

    After a kill hidden ``.NAME.partial`` or ``.NAME.replaced`` are left beside, which the next writing of the same name
    takes away.
    """
    part, before = target.with_name(f".{target.name}.partial"), target.with_name(f".{target.name}.replaced")
    _drop(part)
    try:
        yield part
        for file in (part, *part.rglob("*")):
            if file.is_file():
                with file.open("rb+") as stream:
                    os.fsync(stream.fileno())
        if target.is_dir():  # a folder cannot be replaced in one step
            _drop(before)
            os.replace(target, before)
        os.replace(part, target)
        _drop(before)
    except BaseException:
        with contextlib.suppress(OSError):
            _drop(part)
        raise


def _drop(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
