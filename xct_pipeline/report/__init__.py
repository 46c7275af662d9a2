"""One HTML page about an experiment, drawn from its store and from nothing else."""

from __future__ import annotations

import os
from pathlib import Path


def write_report(store_path: str | os.PathLike[str]) -> Path:
    """Write ``report.html`` into a store: one file that needs no network, under 15 MB for any size of data.

    Beside it goes ``ro-crate-metadata.json``: inputs, software, parameters, people and licence as an RO-Crate.
    With ``report.embed = false`` the library that draws charts is a second file, beside the stores of a folder.

    Parameters
    ----------
    store_path : path
        A store of any stage. Panels whose data are not there are left out with one line that says so.

    Returns
    -------
    Path
        The report.

    Raises
    ------
    StoreError
        There is no store, or its metadata are damaged.
    """
    from xct_pipeline.report.contents import read_contents
    from xct_pipeline.report.crate import crate_bytes
    from xct_pipeline.report.page import embeds, library_name, render
    from xct_pipeline.store import layout
    from xct_pipeline.store.files import write_atomic
    from xct_pipeline.store.records import record

    contents = read_contents(Path(store_path))
    file, crate = contents.store.path / layout.REPORT, contents.store.path / layout.CRATE
    page = render(contents).encode()
    write_atomic(crate, crate_bytes(contents.series))
    write_atomic(file, page)  # last: what is older than the last run is drawn again
    record(contents.store.path, crate, file)
    if not embeds(contents):
        _put_library(contents.store.path.resolve().parent / library_name())
    return file


def is_current(store_path: str | os.PathLike[str]) -> bool:
    """Tell whether the report and its crate are as they were written, after the last run that changed anything."""
    from xct_pipeline.store import layout
    from xct_pipeline.store.records import is_as_recorded

    root = Path(store_path)
    files = [root / layout.CRATE, root / layout.REPORT]
    try:
        ran = (root / layout.STEPS).stat().st_mtime_ns
        return all(file.stat().st_mtime_ns >= ran and is_as_recorded(root, file) for file in files)
    except OSError:
        return False


def _put_library(file: Path) -> None:
    """Write the library of charts where the pages of all stores of a folder look for it."""
    from plotly.offline import get_plotlyjs

    from xct_pipeline.store.files import write_atomic

    if not file.exists():
        write_atomic(file, get_plotlyjs().encode())


__all__ = ["is_current", "write_report"]
