"""Files outside of a store that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def written_whole(file: Path) -> Iterator[Path]:
    """Give the path to write to; what was written there gets its name only when all of it is on the disk.

    After a kill a hidden ``.NAME.partial`` is left beside, which the next writing of the file replaces.
    """
    part = file.with_name(f".{file.name}.partial")
    try:
        yield part
        with part.open("rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(part, file)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
