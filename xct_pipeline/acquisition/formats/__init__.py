"""Formats of raw files: one file each, which tells its own files, opens them, and takes flats or darks out of them.

A file of this folder that defines ``FORMAT`` is a format; reader, references, viewer and plugin take it from here.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

from xct_pipeline.acquisition.formats.common import Format, Kind, Run
from xct_pipeline.scan import ScanError

__all__ = ["FORMATS", "SUFFIXES", "Format", "Kind", "Run", "format_of"]


def _found() -> tuple[Format, ...]:
    """Return the formats of this folder in the order in which a file is shown to them."""
    modules = [importlib.import_module(f"{__name__}.{item.name}") for item in pkgutil.iter_modules(__path__)]
    found: list[Format] = [module.FORMAT for module in modules if hasattr(module, "FORMAT")]
    return tuple(sorted(found, key=lambda form: form.rank))


FORMATS = _found()
SUFFIXES = tuple(dict.fromkeys(suffix for form in FORMATS for suffix in form.suffixes))
"""Endings of files that can be opened by themselves."""


def format_of(path: Path, entry: str | None = None, kind: Kind | None = None) -> Format:
    """Return the format of a file, or of one that holds flats or darks.

    Raises
    ------
    ScanError
        The file cannot be read, or no format takes it.
    """
    for form in FORMATS:
        if form.recognise(path, entry, kind):
            return form
    raise ScanError(f"{path}: no raw file that is known ({', '.join(form.name for form in FORMATS)})")
