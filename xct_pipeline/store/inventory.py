"""The raw files of a store by their full content: noted when they are first read whole, compared ever after."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xct_pipeline.inputs import read_bytes
from xct_pipeline.store import seal
from xct_pipeline.store.files import write_changed
from xct_pipeline.store.layout import STATE
from xct_pipeline.store.marker import digest_of
from xct_pipeline.store.store import Store

INPUTS = f"{STATE}/inputs.json"


def changed_inputs(store: Store) -> Iterator[tuple[str, str]]:
    """Yield raw files whose content is another than when they were first read whole, and say so.

    Files that are read whole for the first time are noted; those that cannot be reached are left out. A file whose
    size or time is another than before is a new file, which the next run finds by itself: it is noted anew.
    """
    known = _known(store.path)
    found: dict[str, Any] = {}
    for file in sorted({file for files in store.known_scans().values() for file in files}):
        path = store.path / file
        try:
            status = path.stat()
            now = [status.st_size, status.st_mtime_ns, digest_of(path)]
        except OSError:
            found |= {file: known[file]} if file in known else {}
            continue
        before = known.get(file)
        if before is not None and before[:2] == now[:2] and before[2] != now[2]:
            yield file, "its content changed but neither its size nor its time; touch it, then xct run"
            found[file] = before
        else:
            found[file] = now
    if os.access(store.state, os.W_OK):
        write_changed(store.path / INPUTS, seal.dumps(found, INPUTS))


def _known(root: Path) -> dict[str, list[Any]]:
    try:
        found = seal.loads(read_bytes(root / INPUTS), INPUTS)
        return {str(file): [int(entry[0]), int(entry[1]), str(entry[2])] for file, entry in found.items()}
    except (OSError, ValueError, TypeError, KeyError, IndexError):
        return {}
