"""Looking at data in napari: readers, the window, and a widget per thing that is decided by eye.

`layers` and `raw` turn files into napari's layer tuples and know nothing of Qt; `window` opens the viewer; each widget
module is one dock widget. A widget only ever calls the public functions and writes what was decided into the
configuration file, so that the command line repeats it.
"""

from __future__ import annotations

import os
from typing import Any


def view(path: str | os.PathLike[str], block: bool = True) -> Any:
    """Open a store, an OME-Zarr image, a raw scan or a configuration in napari.

    Parameters
    ----------
    path : path
        A store or its address (https, s3), any OME-Zarr 0.4 or 0.5 image, a raw scan (NXtomo, Data Exchange) or
        ``run.toml`` (its store where there is one, else its scans).
    block : bool
        Wait until the window is closed. False returns at once, for notebooks.

    Returns
    -------
    napari.Viewer

    Raises
    ------
    RefusedError
        napari or a Qt binding is missing, or there is no display.
    ValueError, RuntimeError
        What cannot be opened, in one sentence.
    """
    from xct_pipeline.viewer.window import open_window

    return open_window(path, block)


__all__ = ["view"]
