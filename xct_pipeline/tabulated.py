"""Numbers of elements from the tables of xraydb, kept once asked: to load that library takes half a second.

They lie in the user's cache under its version, which may be deleted any time, and are asked anew where that cannot be
read or written.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from xct_pipeline.outputs import user_cache


def tabulated(function: str, *arguments: str | float) -> Any:
    """Return what a function of xraydb says: a number, or a dict of numbers. What it raises is not kept."""
    version = importlib.metadata.version("xraydb")
    file = user_cache() / f"xraydb-{version}.txt"
    kept = _kept(file)
    key = json.dumps([function, *arguments])
    if key not in kept:
        import xraydb

        found = getattr(xraydb, function)(*arguments)
        kept[key] = {name: float(n) for name, n in found.items()} if isinstance(found, dict) else float(found)
        with contextlib.suppress(OSError):
            _keep(file, kept)
    value = kept[key]
    return dict(value) if isinstance(value, dict) else value


@functools.cache
def _kept(file: Path) -> dict[str, Any]:
    """Return what a file keeps: nothing where it is not there, or not as it was written."""
    try:
        digest, text = file.read_text("utf-8").split("\n", 1)
    except (OSError, ValueError):
        return {}
    if digest != hashlib.sha256(text.encode()).hexdigest():
        return {}
    values: dict[str, Any] = json.loads(text)
    return values


def _keep(file: Path, values: dict[str, Any]) -> None:
    text = json.dumps(values)
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=file.parent, delete=False) as part:
        part.write(f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}")
    os.replace(part.name, file)
