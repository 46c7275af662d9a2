"""The napari window: opened with what can be decided about the data at hand, and readable when it cannot open."""

from __future__ import annotations

import atexit
import functools
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xct_pipeline.store.files import RefusedError
from xct_pipeline.store.remote import is_remote

if TYPE_CHECKING:
    from napari import Viewer

    from xct_pipeline.viewer.answer import Answer


MISSING = "the viewer needs napari and a Qt binding: pip install 'xct-pipeline[napari]'"
PLUGIN = "xct-pipeline"


def open_window(path: str | os.PathLike[str], block: bool = True) -> Any:
    """Open a viewer on `path`; see `xct_pipeline.view`."""
    napari = import_napari()
    problem = display_problem()
    if problem:
        raise RefusedError(problem)
    from xct_pipeline.viewer.answer import answer_of
    from xct_pipeline.viewer.layers import read, store_at

    store = store_at(path)
    answer = answer_of(store) if store is not None else None
    layers = read(path) if answer is None else answer.shown
    viewer = napari.Viewer(title=f"xct {Path(path).name}")
    viewer.window.resize(1400, 900)
    fill(viewer, layers)
    if answer is not None:
        show_answer(viewer, answer)
    if not is_remote(path):  # what is decided is written beside the data
        add_widgets(viewer, Path(path))
    _finish_at_exit()
    viewer.reset_view()  # the widgets have narrowed the canvas
    if block:
        napari.run()
    return viewer


@functools.cache
def _finish_at_exit() -> None:
    """Let work end before Python takes Qt down, also where the window is still open then."""
    from xct_pipeline.viewer.running import finish_work

    atexit.register(finish_work)


def import_napari() -> Any:
    """Import napari with a Qt binding.

    Raises
    ------
    RefusedError
        One of them is missing.
    """
    try:
        import napari
        from qtpy import QtWidgets
    except Exception as error:  # qtpy raises its own errors where a binding is missing or broken
        raise RefusedError(f"{MISSING} ({str(error).splitlines()[0] if str(error) else error!r})") from None
    del QtWidgets
    return napari


def display_problem() -> str | None:
    """Return why no window can open, None where one can. Qt itself would end the process."""
    if not sys.platform.startswith("linux") or os.environ.get("QT_QPA_PLATFORM", "xcb") not in ("xcb", "wayland"):
        return None
    hint = "log in with ssh -X, use a remote desktop, or look at pictures with xct preview, xct center and xct report"
    if os.environ.get("WAYLAND_DISPLAY"):
        return None
    display = os.environ.get("DISPLAY", "")
    if not display:
        return f"no display to open a window on (DISPLAY is not set): {hint}"
    return None if _answers(display) else f"the display {display} does not answer: {hint}"


def _answers(display: str) -> bool:
    host, _, number = display.rpartition(":")
    number = number.split(".")[0]
    if not number.isdigit():
        return True  # a form we do not know: let Qt decide
    local = host in ("", "unix") or host.startswith("/")
    if local:
        path = f"/tmp/.X11-unix/X{number}"
        attempts: list[tuple[int, Any]] = [(socket.AF_UNIX, path), (socket.AF_UNIX, f"\0{path}")]
    else:
        attempts = [(socket.AF_INET, (host, 6000 + int(number)))]
    for family, address in attempts:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.settimeout(3)
            try:
                probe.connect(address)
            except OSError:
                continue
            return True
    return host.startswith("/")  # a socket of macOS's kind; Qt decides


def fill(viewer: Viewer, layers: list[Any]) -> list[Any]:
    """Add layers to a viewer, with what belongs to a store's: times along t and one-sided maps in 3-D."""
    from napari.layers import Image, Layer

    added = [viewer.add_layer(Layer.create(*layer)) for layer in layers]
    show_times(viewer)
    swap_in_3d(viewer)
    if any(str(unit) == "micrometer" for layer in added for unit in layer.units):
        viewer.canvas.overlays.scale_bar.visible = True
    shown = [layer for layer in added if layer.visible and layer.ndim > 2 and isinstance(layer, Image)]
    if shown:
        viewer.layers.selection.active = shown[0]
    if added and viewer.dims.ndim > 2:
        viewer.dims.current_step = tuple(
            int(n) // 2 if k >= viewer.dims.ndim - 3 else 0 for k, n in enumerate(viewer.dims.nsteps)
        )
    return added


def time_text(viewer: Viewer) -> str:
    """Return which scan is shown and when it was taken, or which value of a sweep."""
    from xct_pipeline.viewer.times import label_of, time_axis

    for layer in reversed(viewer.layers):
        note = layer.metadata.get("xct", {})
        if layer.visible and "steps" in note:
            return str(note["steps"][viewer.dims.current_step[viewer.dims.ndim - layer.ndim]])
        axis = time_axis(viewer, layer)
        if layer.visible and axis is not None:
            return label_of(note, viewer.dims.current_step[axis])
    names = [layer.metadata.get("xct", {}).get("scans") for layer in viewer.layers if layer.visible]
    return next((name[0] for name in names if name), "")


def scale_text(viewer: Viewer) -> str:
    """Return the limits of the colours of a change that is shown."""
    for layer in reversed(viewer.layers):
        unit = layer.metadata.get("xct", {}).get("scale_told")
        if layer.visible and unit:
            low, high = layer.contrast_limits
            return f"colours: {low:.3g} to {high:.3g} {unit}".replace("-", "\N{MINUS SIGN}")
    return ""


def show_times(viewer: Viewer) -> None:
    """Write scan, time and colours into the corner of the picture, now and whenever a slider or a limit moves."""
    overlay = viewer.canvas.overlays.text
    overlay.position = "top_left"

    def update(event: object = None) -> None:
        del event
        text = "\n".join(line for line in (time_text(viewer), scale_text(viewer)) if line)
        overlay.text, overlay.visible = text, bool(text)

    viewer.dims.events.current_step.connect(update)
    viewer.layers.events.connect(update)
    for layer in viewer.layers:
        if "scale_told" in layer.metadata.get("xct", {}):
            layer.events.contrast_limits.connect(update)
    update()


def swap_in_3d(viewer: Viewer) -> None:
    """Show gain and loss as layers of their own in 3-D, where a projection would drop what is negative."""

    def update(event: object = None) -> None:
        del event
        volume = viewer.dims.ndisplay == 3
        notes = {layer: layer.metadata.get("xct", {}) for layer in viewer.layers}
        for layer, note in notes.items():
            if note.get("hidden_in_3d"):
                layer.visible = not volume
        sided = {layer: note for layer, note in notes.items() if note.get("shown_in_3d")}
        for layer, note in sided.items():
            layer.visible = volume
            for other, about in notes.items():
                if about.get("path") == note["path"] and about.get("store") == note["store"] and "side" not in about:
                    other.visible = not volume

    viewer.dims.events.ndisplay.connect(update)


def show_answer(viewer: Viewer, answer: Answer) -> None:
    """Go to the last scan and the middle of the region, outline the materials, and dock the series in time."""
    from napari.layers import Labels

    from xct_pipeline.viewer.answer import SMOOTHED, UP, VIEW
    from xct_pipeline.viewer.timeline import Timeline

    for layer in viewer.layers:
        if isinstance(layer, Labels):
            layer.contour = 1
        elif layer.metadata["xct"]["path"] != SMOOTHED:
            continue
        elif "side" in layer.metadata["xct"]:
            box = layer.bounding_box
            box.visible, box.points, box.line_color = True, False, "gray"
        else:
            layer.colorbar.visible, layer.colorbar.size = True, (18, 220)
            viewer.layers.selection.active = layer
    viewer.dims.set_current_step(0, answer.scan)
    viewer.dims.set_point(1, answer.z)
    seen: list[bool] = []

    def turn(event: object = None) -> None:
        del event
        if viewer.dims.ndisplay == 3 and not seen:
            seen.append(True)
            viewer.camera.set_view_direction(VIEW, UP)

    viewer.dims.events.ndisplay.connect(turn)
    timeline = Timeline(viewer, answer.contents, answer.others)
    viewer.window.add_dock_widget(timeline, name=Timeline.title, area="bottom")


def add_widgets(viewer: Viewer, path: Path) -> None:
    """Dock the widgets that make sense for `path`, in tabs."""
    from xct_pipeline.viewer.docks import dock_all

    dock_all(viewer, path)
