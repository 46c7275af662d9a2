"""Dock widget: what was recorded beside the scans, in the figures of the report, with the shown scan marked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from xct_pipeline.report.contents import AbsentError, Contents, read_contents
from xct_pipeline.report.echem import CHARTS, scan_marks
from xct_pipeline.viewer.charts import draw_chart, mark_time
from xct_pipeline.viewer.panel import NameBox, Panel, plot, show_plot
from xct_pipeline.viewer.times import time_axis

if TYPE_CHECKING:
    from napari import Viewer


class EchemPanel(Panel):
    """Choose a figure; time axes show which scan the slider is at."""

    title = "Electrochemistry"

    def __init__(self, napari_viewer: Viewer, config: Path | None = None) -> None:
        super().__init__(napari_viewer, config)
        self.choice = NameBox("figure")
        self.extend([self.choice, self.status])
        self.canvas = plot(self, 560).figure.canvas
        self.charts: dict[str, Any] = {}
        self.chart: Any = None
        self.axes: list[Any] = []
        self.scans: dict[str, float] = {}
        self.line: list[Any] = []
        self._drawing = self.slot()
        self.file.changed.connect(self.refresh)
        self.choice.changed.connect(self.draw)
        self.viewer.dims.events.current_step.connect(self.follow)
        if config is not None:
            self.refresh()

    def refresh(self) -> None:
        """Offer the figures that the store of the configuration has data for, and draw one."""
        with self.guard():
            self._drawing.start("electrochemistry", self._found, charts_of, self.load().store_path)

    def _found(self, found: tuple[dict[str, Any], dict[str, float]]) -> None:
        self.charts, self.scans = found
        self.choice.offer(list(self.charts))
        if not self.charts:
            raise ValueError("the store holds nothing of electrochemistry yet: name [electrochemistry] files and run")
        self.draw()

    def draw(self) -> None:
        """Draw the chosen figure."""
        with self.guard():
            if self.choice.value is None:
                return
            self.chart = self.charts[str(self.choice.value)]
            self.line.clear()
            self.axes = draw_chart(self.canvas.figure, self.chart)
            self.follow()
            show_plot(self.axes[0])

    def follow(self, event: object = None) -> None:
        """Mark the scan that the viewer shows on figures over time."""
        del event
        with self.guard():
            if self.closed or not self.axes:
                return
            seconds, divisor = self.scans.get(self.shown_scan()), self.chart.layout.get("meta", {}).get("divisor_s")
            mark_time(self.axes, seconds / divisor if seconds is not None and divisor else None, self.line)
            self.canvas.draw_idle()

    def shown_scan(self) -> str:
        """Return the name of the scan at the slider, "" where no layer lies along time."""
        for layer in reversed(self.viewer.layers):
            names = layer.metadata.get("xct", {}).get("scans") or []
            axis = time_axis(self.viewer, layer)
            if layer.visible and axis is not None:
                step = self.viewer.dims.current_step[axis]
                return str(names[step]) if step < len(names) else ""
        return ""


def charts_of(store: Path) -> tuple[dict[str, Any], dict[str, float]]:
    """Return the figures that a store has data for, and the times of its scans on the log's axis."""
    contents: Contents = read_contents(store)
    found = {}
    for name, draw in CHARTS.items():
        try:
            found[name] = draw(contents)
        except AbsentError:
            continue
    return found, dict(scan_marks(contents))
