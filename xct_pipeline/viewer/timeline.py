"""Dock below the picture: voltage and mass against time; a click goes to a scan, a switch brings all layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from magicgui.widgets import CheckBox, Container

from xct_pipeline.report.charts import abscissa
from xct_pipeline.report.contents import AbsentError, Contents
from xct_pipeline.report.drawing import BLUE, GREY, INK, VERMILION, time_unit
from xct_pipeline.report.maps import voltage_of
from xct_pipeline.viewer.layers import Layer
from xct_pipeline.viewer.times import time_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from napari import Viewer

HEIGHT = 190
SMALL = 8


class Timeline(Container):  # type: ignore[misc]
    """The series in time.

    Parameters
    ----------
    viewer : napari.Viewer
    contents : Contents
    others : sequence of layer
        The layers that the switch adds.
    """

    title = "Series"

    def __init__(self, viewer: Viewer, contents: Contents, others: Sequence[Layer]) -> None:
        super().__init__(labels=False)
        self.viewer, self.contents = viewer, contents
        self.others, self.added = list(others), list[Any]()
        self.switch = CheckBox(value=False, text=f"all layers of the store ({len(self.others)} more)")
        self.switch.changed.connect(self.show_all)
        if self.others:
            self.append(self.switch)
        self.places, label = scan_places(contents)
        self.axes = self._plot(label)
        self.mark = self.axes.axvline(self.places[0], color=VERMILION, linewidth=1.5)
        self.axes.figure.canvas.mpl_connect("button_press_event", self.clicked)
        self.viewer.dims.events.current_step.connect(self.follow)
        self.follow()

    def _plot(self, label: str) -> Axes:
        from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
        from matplotlib.figure import Figure

        canvas = FigureCanvasQTAgg(Figure(figsize=(9, HEIGHT / 100), layout="constrained"))
        canvas.setMinimumHeight(HEIGHT)
        self.native.layout().addWidget(canvas)
        return draw_series(canvas.figure.subplots(), self.contents, self.places, label)

    @property
    def axis(self) -> int | None:
        """The viewer's axis along t."""
        axes = (time_axis(self.viewer, layer) for layer in self.viewer.layers)
        return next((axis for axis in axes if axis is not None), None)

    def follow(self, event: object = None) -> None:
        """Mark the scan at the slider."""
        del event
        if self.axis is not None:
            k = min(self.viewer.dims.current_step[self.axis], len(self.places) - 1)
            self.mark.set_xdata([self.places[k]] * 2)
            self.axes.figure.canvas.draw_idle()

    def clicked(self, event: Any) -> None:
        """Go to the scan nearest to where the curve was clicked."""
        if event.xdata is not None and self.axis is not None:
            nearest = int(np.abs(np.asarray(self.places) - event.xdata).argmin())
            self.viewer.dims.set_current_step(self.axis, nearest)

    def show_all(self, wanted: bool) -> None:
        """Add the other layers below those of the answer, or take them away."""
        from napari.layers import Layer as Shown

        if wanted:
            self.added = [Shown.create(*layer) for layer in self.others]
            for k, layer in enumerate(self.added):
                self.viewer.layers.insert(k, layer)
            return
        for layer in self.added:
            if layer in self.viewer.layers:
                self.viewer.layers.remove(layer)
        self.added = []


def scan_places(contents: Contents) -> tuple[list[float], str]:
    """Return where scans stand on the abscissa and its label: their times, their numbers where one has none."""
    places, label = abscissa(contents, contents.scans)
    return (places, label) if label.startswith("time") else ([k + 1.0 for k in range(len(places))], label)


def draw_series(axes: Axes, contents: Contents, places: Sequence[float], label: str) -> Axes:
    """Draw the voltage of the log, the scans, and the change of mass with its error bars; return the axes."""
    axes.set_xlabel(label, fontsize=SMALL)
    for place in places:
        axes.axvline(place, color=GREY, linewidth=0.6, linestyle=":")
    voltage = voltage_of(contents) if label.startswith("time") else None
    if voltage is not None:
        time, values, style = voltage
        axes.plot(time / time_unit(contents.times_s)[0], values, style, color=INK, linewidth=1.1, markersize=3)
    axes.set_ylabel("voltage, V" if voltage is not None else "", fontsize=SMALL)
    axes.tick_params(labelsize=SMALL, left=voltage is not None, labelleft=voltage is not None)
    _draw_mass(axes, contents, places)
    return axes


def _draw_mass(axes: Axes, contents: Contents, places: Sequence[float]) -> None:
    try:
        table = contents.table("mass_balance", "scan", "mass_change_mg", "sigma_mg").set_index("scan")
    except AbsentError:
        return
    table = table.reindex(contents.scans)
    other = axes.twinx()
    mass, sigma = (table[key].to_numpy(float) for key in ("mass_change_mg", "sigma_mg"))
    other.errorbar(places, mass, np.nan_to_num(sigma), color=BLUE, marker="o", markersize=4, linewidth=1, capsize=2)
    other.set_ylabel("mass change, mg", fontsize=SMALL, color=BLUE)
    other.tick_params(labelsize=SMALL, colors=BLUE)
    other.set_zorder(-1)
    axes.set_facecolor("none")
