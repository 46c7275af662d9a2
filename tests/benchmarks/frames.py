"""How long napari takes to draw the next plane, the next scan and the volume of a stored series.

    xvfb-run -a -s "-screen 0 1400x1000x24" python tests/benchmarks/frames.py STORE [--frames 20]

Opens the store as `xct view` does, in a window of 1400 x 1000, and prints as JSON, in seconds of the clock and of the
processor: opening; a picture in which nothing changed, which is what this machine takes to draw and copy one; planes
along z and scans of what a user finds; then, of the grey values of the registered series alone, for planes along z, y
and x and for scans the first picture after the axis is turned, and median and largest of those that follow; the same in
3-D, with the camera turned about the volume. Files are in the system's cache, so a disk slower than decoding adds to
these. napari's own cache and its choice of the level are as a user finds them.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Times = tuple[float, float]


def timed(viewer: Any, change: Callable[[], Any]) -> Times:
    """Return the seconds, of the clock and of the processor, until what is changed is drawn."""
    from qtpy.QtWidgets import QApplication

    wall, cpu = time.perf_counter(), time.process_time()
    change()
    QApplication.processEvents()
    viewer.screenshot(canvas_only=True, flash=False)  # waits until the picture is there
    return time.perf_counter() - wall, time.process_time() - cpu


def steps(viewer: Any, axis: int, count: int) -> dict[str, Any]:
    """Move along an axis from a third of it on, plane by plane."""
    n = int(viewer.dims.nsteps[axis])
    first = n // 3 if n > count else 0
    places = range(first, min(n, first + count))
    times = np.array([timed(viewer, lambda k=k: viewer.dims.set_current_step(axis, k)) for k in places])
    return {
        "first": times[0].round(3).tolist(),
        "median": np.median(times[1:], axis=0).round(3).tolist(),
        "most": times[1:].max(axis=0).round(3).tolist(),
    }


def turns(viewer: Any, count: int) -> dict[str, Any]:
    """Turn the camera about the volume, five degrees at a time."""

    def turn(k: int) -> None:
        viewer.camera.angles = (0.0, 5.0 * k, 90.0)

    times = np.array([timed(viewer, lambda k=k: turn(k)) for k in range(count)])
    return {"median": np.median(times[1:], axis=0).round(3).tolist(), "most": times[1:].max(axis=0).round(3).tolist()}


def look_along(viewer: Any, axis: int) -> None:
    """Put the planes across one of the axes of space on the screen."""
    ndim = int(viewer.dims.ndim)
    space = [a for a in range(ndim - 3, ndim) if a != axis]
    viewer.dims.order = (*range(ndim - 3), axis, *space)
    viewer.reset_view()


def measure(store: Path, count: int) -> dict[str, Any]:
    """Open a store and move through it."""
    from xct_pipeline import view

    start = time.perf_counter(), time.process_time()
    viewer = view(store, block=False)
    viewer.window.resize(1400, 1000)
    viewer.screenshot(canvas_only=True, flash=False)
    opened = [round(time.perf_counter() - start[0], 3), round(time.process_time() - start[1], 3)]
    grey = next(layer for layer in viewer.layers if layer.name.startswith("registered"))
    ndim = int(viewer.dims.ndim)
    found: dict[str, Any] = {"shape": list(grey.data[0].shape), "open": opened}
    still = np.array([timed(viewer, lambda: None) for _ in range(count)])
    found["nothing changed"] = np.median(still, axis=0).round(3).tolist()
    found["as opened"] = {"z": steps(viewer, ndim - 3, count)}
    if ndim > 3:
        found["as opened"]["scan"] = steps(viewer, 0, count)
    for layer in viewer.layers:
        layer.visible = layer is grey
    for name, axis in zip("zyx", range(ndim - 3, ndim), strict=True):
        turned = timed(viewer, lambda axis=axis: look_along(viewer, axis))
        found[name] = {"turned": np.round(turned, 3).tolist(), **steps(viewer, axis, count), "level": grey.data_level}
    look_along(viewer, ndim - 3)
    if ndim > 3:
        found["scan"] = steps(viewer, 0, count)
    found["3-D"] = {"turned": np.round(timed(viewer, lambda: setattr(viewer.dims, "ndisplay", 3)), 3).tolist()}
    if ndim > 3:
        found["3-D"] |= steps(viewer, 0, count)
    found["3-D"]["camera"] = turns(viewer, count)
    viewer.close()
    return found


def main() -> None:
    """Print the figures of a store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--frames", type=int, default=20)
    given = parser.parse_args()
    print(json.dumps(measure(given.store, given.frames), indent=1))


if __name__ == "__main__":
    main()
