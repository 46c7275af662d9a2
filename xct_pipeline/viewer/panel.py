"""What all widgets share: the configuration file they write, work in a thread, readable errors, a plot."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from magicgui.widgets import ComboBox, Container, FileEdit, Label
from napari.qt.threading import create_worker
from napari.utils.notifications import show_error, show_info

from xct_pipeline.config import Config
from xct_pipeline.config.file import load_config
from xct_pipeline.device import Array

if TYPE_CHECKING:
    from napari import Viewer

    from xct_pipeline.store.image import Image


log = logging.getLogger("xct")
NUMBER = 64  # pixels that the box of a number has at least
EXPECTED = (ValueError, OSError, RuntimeError, MemoryError, KeyError, IndexError)  # what a user can mend or wait out


class Panel(Container):  # type: ignore[misc]
    """A dock widget about one configuration file.

    Parameters
    ----------
    viewer : napari.Viewer
    config : Path, optional
        The configuration; can be chosen in the widget.
    """

    title: ClassVar[str] = ""
    draws: ClassVar[str] = ""
    """How the names of the layers begin that it draws."""

    def __init__(self, viewer: Viewer, config: Path | None = None) -> None:
        super().__init__(labels=True)
        self.viewer = viewer
        self.closed, self.away = False, False
        self._seen: set[str] = set()
        self.file = FileEdit(label="configuration", mode="r", filter="*.toml", value=config or "")
        self.status = Label(value="")
        self.status.native.setWordWrap(True)
        fill_width(self.status)
        self.native.destroyed.connect(self._close)
        self.append(self.file)

    def _close(self) -> None:
        self.closed = True

    def refresh(self) -> None:
        """Take everything from the configuration; called when the widget is first looked at."""

    def looked_at(self, now: bool) -> None:
        """Show what it draws as long as its tab is looked at: it would cover the answer, and what others draw."""
        self.away = not now
        if self.away:
            self._seen.clear()
            self.withdraw()
            return
        for layer in self._own():
            layer.visible = layer.visible or layer.name in self._seen

    def withdraw(self) -> None:
        """Hide what it draws where another tab is looked at, until its own is again."""
        for layer in self._own() if self.away else ():
            if layer.visible:
                self._seen.add(layer.name)
                layer.visible = False

    def _own(self) -> list[Any]:
        return [layer for layer in self.viewer.layers if self.draws and layer.name.startswith(self.draws)]

    @property
    def path(self) -> Path:
        """The configuration file.

        Raises
        ------
        ValueError
            None was chosen.
        """
        if not str(self.file.value or "") or not Path(self.file.value).is_file():
            raise ValueError("choose a configuration (run.toml) first; xct init writes one")
        return Path(self.file.value)

    def load(self) -> Config:
        """Read the configuration."""
        return load_config(self.path)

    def say(self, text: str) -> None:
        """Show a line in the widget."""
        self.status.value = text

    @contextlib.contextmanager
    def guard(self) -> Iterator[None]:
        """Turn an error into a notification."""
        try:
            yield
        except Exception as error:  # one that leaves a Qt slot ends the process under PyQt
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Tell an error in the widget and as a notification."""
        error = error.__cause__ if type(error).__name__ == "EmitLoopError" and error.__cause__ else error
        text = str(error) or type(error).__name__
        if not isinstance(error, EXPECTED):
            log.error("unexpected", exc_info=error)
            text = f"{type(error).__name__}: {text}"
        self.say(text.splitlines()[0])
        show_error(text)

    def inform(self, text: str) -> None:
        """Tell a success."""
        self.say(text)
        show_info(text)

    def slot(self) -> Latest:
        """Return a place in which one thing at a time is worked on."""
        return Latest(self)


class Latest:
    """Work in a thread, one piece at a time: of the requests that came meanwhile only the newest is done."""

    def __init__(self, panel: Panel) -> None:
        self.panel = panel
        self.running: Any = None
        self.waiting: tuple[Any, ...] | None = None

    @property
    def busy(self) -> bool:
        """Whether something is worked on."""
        return self.running is not None

    def start(self, what: str, done: Callable[[Any], None], function: Callable[..., Any], *args: object) -> None:
        """Call ``function(*args)`` in a thread, then ``done(result)`` in the window's.

        Parameters
        ----------
        what : str
            Shown beside the progress bar.
        """
        if self.running is not None:
            self.waiting = (what, done, function, *args)
            return
        worker = create_worker(_caught, function, args, _start_thread=False, _progress={"desc": what})
        worker.returned.connect(lambda result: self._end(done, result))
        worker.errored.connect(lambda error: self._end(done, Problem(error)))
        self.running = worker
        worker.start()

    def cancel(self) -> None:
        """Forget what is waiting and drop the result of what runs."""
        self.waiting = None
        if self.running is not None:
            self.running.quit()
            self.running = _DROPPED

    def _end(self, done: Callable[[Any], None], result: Any) -> None:
        dropped, self.running = self.running is _DROPPED, None
        waiting, self.waiting = self.waiting, None
        if self.panel.closed:
            return
        if waiting is not None:
            self.start(*waiting)
        if isinstance(result, Problem):
            self.panel.fail(result.error)
        elif not dropped:
            with self.panel.guard():
                done(result)
                self.panel.withdraw()


@dataclass(frozen=True)
class Problem:
    """An error as a result: raised in a thread it would end in a traceback."""

    error: BaseException


_DROPPED = object()


def _caught(function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """Return an error instead of raising it, so that it is told in one sentence."""
    try:
        return function(*args)
    except Exception as error:  # told in the window; raised in a thread it would end the process under PyQt
        return Problem(error)


def scan_names(config: Config) -> list[str]:
    """Return the names of a configuration's scans, without opening them."""
    from xct_pipeline.acquisition.steps import open_scans

    return [item.name for item in open_scans(config)]


class NameBox(ComboBox):  # type: ignore[misc]
    """A choice of names that are known later; napari asks for them again whenever layers change."""

    def __init__(self, label: str) -> None:
        self.names: list[str] = []
        super().__init__(label=label, choices=lambda _: self.names)

    def offer(self, names: list[str]) -> None:
        """Offer other names; what was chosen stays where it is still there."""
        self.names = list(names)
        with self.changed.blocked():
            self.reset_choices()


def set_picture(viewer: Viewer, name: str, data: Array, **keywords: object) -> Any:
    """Add an image layer, or put new data into the one of this name and keep how the user set it."""
    if name in viewer.layers:
        layer = viewer.layers[name]
        if layer.data.shape == data.shape:
            layer.data = data
            return layer
        viewer.layers.remove(name)
    first = not any(layer.metadata.get("xct", {}).get("kind") == "preview" for layer in viewer.layers)
    added = viewer.add_image(data, name=name, **keywords)
    if first:  # counts lie in the way of slices
        for layer in raw_layers(viewer):
            layer.visible = False
        viewer.reset_view()
    return added


def raw_layers(viewer: Viewer) -> list[Any]:
    """Return the layers of raw scans."""
    return [layer for layer in viewer.layers if "scan" in layer.metadata.get("xct", {})]


def placed(image: Image) -> dict[str, Any]:
    """Return scale and units that put a slice (y, x) where the volume lies.

    Parameters
    ----------
    image : Image
        Of the volume's pass.
    """
    step = image.voxel_um or 1.0
    unit = "um" if image.voxel_um else "pixel"
    origin = (image.origin or (0.0, 0.0, 0.0))[-2:]
    return {
        "scale": (step, step),
        "translate": tuple(o * step for o in origin),
        "units": (unit, unit),
        "axis_labels": ("y", "x"),
    }


def volume_image(config: Config, scan: str) -> Any:
    """Return the image of a scan's volume as a run would make it.

    Raises
    ------
    ValueError
        The scan cannot be used.
    """
    from xct_pipeline import pipeline

    item = next((item for item in pipeline.plan(config).scans if item.name == scan), None)
    if item is None or item.taken is None:
        raise ValueError(item.problem if item and item.problem else f"there is no scan {scan}")
    return next(step.image for step in item.passes if step.image.path.endswith("volume"))


def readable(widget: Any) -> None:
    """Give the box of the number beside a slider the width of the numbers that it holds."""
    from qtpy.QtWidgets import QAbstractSpinBox, QLineEdit

    for kind in (QAbstractSpinBox, QLineEdit):
        for box in widget.native.findChildren(kind):
            box.setMinimumWidth(NUMBER)


def fill_width(label: Any) -> None:
    """Let a line of words begin at the left and take all the width there is."""
    from qtpy.QtCore import Qt
    from qtpy.QtWidgets import QSizePolicy

    label.native.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
    label.native.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)


def plot(panel: Panel, height: int = 220) -> Any:
    """Add a matplotlib figure to a panel, hidden until `show_plot`, and return its axes."""
    from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
    from matplotlib.figure import Figure

    canvas = FigureCanvasQTAgg(Figure(figsize=(3.6, height / 100), layout="constrained"))
    canvas.setMinimumHeight(height)
    canvas.hide()
    panel.native.layout().addWidget(canvas)
    return canvas.figure.subplots()


def show_plot(axes: Any) -> None:
    """Show what was drawn."""
    axes.figure.canvas.show()
    axes.figure.canvas.draw_idle()
