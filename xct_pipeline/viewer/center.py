"""Dock widget: the centre of rotation, found by two methods, moved by hand, seen in a slice, written down."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicgui.widgets import Container, FloatSlider, PushButton, SpinBox

from xct_pipeline import pipeline
from xct_pipeline.config import Config
from xct_pipeline.config.edit import update_config
from xct_pipeline.device import Array
from xct_pipeline.planning import preview as previewing
from xct_pipeline.planning.scan import given_axis
from xct_pipeline.viewer.found import found_center, series_at, used_center
from xct_pipeline.viewer.ome import contrast
from xct_pipeline.viewer.panel import (
    NameBox,
    Panel,
    placed,
    plot,
    readable,
    scan_names,
    set_picture,
    show_plot,
    volume_image,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from napari import Viewer

    from xct_pipeline.reconstruction.center.find import CenterEstimate


LAYER = "centre: slice"
REACH = 20.0  # columns that the slider goes to either side


class CenterPanel(Panel):
    """Find, move, look, accept."""

    title = "Centre"
    draws = "centre: "

    def __init__(self, napari_viewer: Viewer, config: Path | None = None) -> None:
        super().__init__(napari_viewer, config)
        self.scan = NameBox("scan")
        self.row = SpinBox(label="row", min=0, max=1_000_000, value=0)
        self.center = FloatSlider(label="centre", min=0, max=1, step=0.01, value=0)
        readable(self.center)
        self.find = PushButton(text="Find by two methods")
        self.accept_one = PushButton(text="Accept for this scan")
        self.accept_all = PushButton(text="Accept for all scans")
        buttons = Container(widgets=[self.accept_one, self.accept_all], layout="horizontal", labels=False)
        self.extend([self.scan, self.row, self.find, self.center, buttons, self.status])
        self.axes = plot(self)
        self.found: dict[str, Any] = {}
        self.image: Any = None
        self._slice, self._search = self.slot(), self.slot()
        self.file.changed.connect(self.refresh)
        self.scan.changed.connect(self.choose_scan)
        self.row.changed.connect(self.look)
        self.center.changed.connect(self.look)
        self.find.changed.connect(self.search)
        self.accept_one.changed.connect(lambda: self.accept(False))
        self.accept_all.changed.connect(lambda: self.accept(True))
        if config is not None:
            self.refresh()

    def refresh(self) -> None:
        """Read the configuration again."""
        with self.guard():
            config = self.load()
            self.scan.offer(scan_names(config))
            self.choose_scan()

    def choose_scan(self) -> None:
        """Set the sliders to a scan: its middle row, the centre it has."""
        with self.guard():
            config = self.load()
            index = list(self.scan.choices).index(self.scan.value)
            item = pipeline.plan(config).scans[index]
            if item.scan is None:
                raise ValueError(item.problem or f"{item.name} starts from a volume: it has no centre of rotation")
            self.image = volume_image(config, item.name)
            columns, first = item.scan.shape[2], int(self.image.origin[0])
            given = given_axis(config, index)
            series = series_at(config.store_path)
            used = None if series is None else used_center(series, item.name)
            known = used if given is None else given.column
            start = (columns - 1) / 2 if known is None else known
            with self.row.changed.blocked():
                self.row.min, self.row.max = first, first + self.image.shape[0] - 1
                self.row.value = first + self.image.shape[0] // 2
            self._range(start, columns)
            estimate = None if series is None or item.frame is None else found_center(series, item.name, item.frame)
            if estimate is not None:
                self._tell(item.name, estimate)
            else:
                self.say(
                    "given by the configuration" if given is not None else "not searched for yet: the middle is shown"
                )
            self.look()

    def _range(self, center: float, columns: int) -> None:
        with self.center.changed.blocked():
            low, high = max(0.0, math.floor(center - REACH)), min(columns - 1.0, math.ceil(center + REACH))
            self.center.min, self.center.max = min(low, self.center.value), max(high, self.center.value)
            self.center.value = round(center, 2)
            self.center.min, self.center.max = low, high

    def look(self) -> None:
        """Reconstruct the slice with the centre of the slider."""
        with self.guard():
            job = (self.load(), str(self.scan.value), float(self.center.value), int(self.row.value))
            self._slice.start(f"slice with centre {job[2]:.2f}", self._show, slice_with_center, *job)

    def _show(self, plane: Array) -> None:
        unit = {"unit": self.image.unit, "kind": "preview"}
        limits = contrast(plane[abs(plane) >= 0])
        shown = set_picture(
            self.viewer, LAYER, plane, contrast_limits=limits, metadata={"xct": unit}, **placed(self.image)
        )
        shown.metadata["xct"] |= {"center": float(self.center.value)}

    def search(self) -> None:
        """Find the centre by two methods."""
        with self.guard():
            names = [str(self.scan.value)]
            self.say("finding the centre")
            self._search.start("centre of rotation", self._found, previewing.find_centers, self.load(), names)

    def _found(self, found: dict[str, Any]) -> None:
        ((name, estimate),) = found.items()
        self._tell(name, estimate)
        if name == self.scan.value:
            self._range(estimate.center, int(max(self.center.max, estimate.center)) + 1000)
            self.look()

    def _tell(self, name: str, estimate: CenterEstimate) -> None:
        self.found[name] = estimate
        self.say(describe(estimate))
        draw(self.axes, estimate)

    def accept(self, for_all: bool) -> None:
        """Write the centre into the configuration: for this scan (others keep or get theirs), or for all."""
        with self.guard():
            config, center = self.load(), float(self.center.value)
            names = [str(name) for name in self.scan.choices]
            if for_all or len(names) == 1:
                self._write(center)
                return
            given = config.reconstruction.center
            known = list(given) if isinstance(given, tuple) else [given] * len(names)
            known[names.index(str(self.scan.value))] = center
            lacking = [name for name, value in zip(names, known, strict=True) if isinstance(value, str)]
            if not lacking:
                self._write(known)
                return

            def merge(found: dict[str, Any]) -> None:
                self._write([round(found[n].center, 4) if n in found else v for n, v in zip(names, known, strict=True)])

            self.say(f"finding the centres of {', '.join(lacking)} too")
            self._search.start("centres of the other scans", merge, previewing.find_centers, config, lacking)

    def _write(self, center: float | Sequence[float]) -> None:
        update_config(self.path, {"reconstruction.center": center})
        shown = f"{center:g}" if isinstance(center, float) else ", ".join(f"{c:g}" for c in center)
        self.inform(f"wrote center = {shown} into {self.path.name}")


def slice_with_center(config: Config, scan: str, center: float, row: int) -> Any:
    """Return one slice as a run with this centre for all scans would make it."""
    settings = config.reconstruction.model_copy(update={"center": center})
    return previewing.preview(config.model_copy(update={"reconstruction": settings}), row, [scan])[scan]


def describe(estimate: CenterEstimate) -> str:
    """Return an estimate in words."""
    lines = [f"{estimate.center:.3f} +- {estimate.sigma:.3f} ({estimate.method})"]
    if math.isfinite(estimate.metric_center):
        lines.append(f"{estimate.second_method}: {estimate.metric_center:.3f}, {estimate.agreement:.3f} pixels apart")
    if math.isfinite(estimate.tilt_deg):
        lines.append(f"tilt {estimate.tilt_deg:.3f} +- {estimate.tilt_sigma:.3f} degrees")
    return "\n".join([*lines, *estimate.warnings])


def draw(axes: Axes, estimate: CenterEstimate) -> None:
    """Draw the scores of both methods, each scaled to its own range."""
    axes.clear()
    for curve, label, colour in (
        (estimate.curve, estimate.method, "tab:blue"),
        (estimate.metric_curve, estimate.second_method, "tab:orange"),
    ):
        if curve.shape[1]:
            low, high = curve[1].min(), curve[1].max()
            axes.plot(curve[0], (curve[1] - low) / (high - low or 1.0), color=colour, label=label)
    axes.axvline(estimate.center, color="tab:blue", lw=0.8)
    if math.isfinite(estimate.metric_center):
        axes.axvline(estimate.metric_center, color="tab:orange", lw=0.8, ls="--")
    axes.set_xlim(estimate.center - REACH / 2, estimate.center + REACH / 2)
    axes.set_xlabel("centre, detector column")
    axes.set_ylabel("score, scaled")
    axes.legend(fontsize=7)
    show_plot(axes)
