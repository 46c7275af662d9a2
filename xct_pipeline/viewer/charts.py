"""The report's interactive charts in a dock: the same figures, drawn with matplotlib, one below the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DASHES = {"dash": "--", "dot": ":", "dashdot": "-.", None: "-", "solid": "-"}
SYMBOLS = {None: "o", "circle": "o", "diamond": "D", "square": "s", "x": "x"}
SMALL = 7
LEGEND = 12
"""More names than these are left out of the picture."""
INSIDE = 4
"""More names than these stand below the axes: among the curves they would cover some."""


def draw_chart(figure: Figure, chart: Any) -> list[Axes]:
    """Draw a chart of lines, points, error bars, heat maps and upright marks; return its axes.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Cleared first.
    chart : xct_pipeline.report.plotly_json.Chart
        Of one or several pairs of axes; in a dock, which is narrow, they stand below each other in reading order.
    """
    from plotly.graph_objects import Figure as Checked

    figure.clear()
    chart = Checked(chart.data, chart.layout)  # with all that was not set
    layout = chart.layout
    places = _places(chart)
    heights = [_height(layout, y) for _, y in places]
    grid = figure.add_gridspec(len(places), 1, height_ratios=heights)
    drawn: dict[str, Axes] = {}
    for row, (x, y) in enumerate(places):
        shared = next((drawn[k] for k in drawn if _shared(layout, x, k.split()[0])), None)
        drawn[f"{x} {y}"] = figure.add_subplot(grid[row], sharex=shared)
    for trace in chart.data:
        axes = drawn[f"{trace.xaxis or 'x'} {trace.yaxis or 'y'}"]
        _heat(figure, axes, trace) if trace.type == "heatmap" else _curve(axes, trace)
    for (x, y), axes in zip(places, drawn.values(), strict=True):
        _name(axes, _axis(layout, x), _axis(layout, y))
    _legends(figure, list(drawn.values()))
    _marks(drawn, layout)
    return list(drawn.values())


def _places(chart: Any) -> list[tuple[str, str]]:
    """Return the pairs of axes that traces use, from top left in reading order."""
    pairs = dict.fromkeys((trace.xaxis or "x", trace.yaxis or "y") for trace in chart.data)

    def corner(pair: tuple[str, str]) -> tuple[float, float]:
        x, y = (_axis(chart.layout, name).domain or (0.0, 1.0) for name in pair)
        return -round(float(y[1]), 3), float(x[0])

    return sorted(pairs, key=corner)


def _axis(layout: Any, name: str) -> Any:
    return layout[f"{name[0]}axis{name[1:]}"]


def _height(layout: Any, name: str) -> float:
    low, high = _axis(layout, name).domain or (0.0, 1.0)
    return float(high - low)


def _shared(layout: Any, one: str, other: str) -> bool:
    def root(name: str) -> str:
        return str(_axis(layout, name).matches or name)

    return one != other and root(one) == root(other)


def _curve(axes: Axes, trace: Any) -> None:
    mode = trace.mode or "lines"
    color = (trace.line.color if trace.line else None) or (trace.marker.color if trace.marker else None)
    style: dict[str, Any] = {"color": color, "label": trace.name if trace.showlegend is not False else None}
    style |= {"linestyle": DASHES.get(trace.line.dash, "-") if "lines" in mode else "none", "linewidth": 1.1}
    if "markers" in mode:
        style |= {"marker": SYMBOLS.get(trace.marker.symbol, "o"), "markersize": 3.5}
        edge = trace.marker.line.color if trace.marker and trace.marker.line else None
        style |= {"markeredgecolor": edge, "markerfacecolor": trace.marker.color} if edge else {}
        if "lines" not in mode:
            style["color"] = edge or color
    x, y = np.asarray(trace.x), np.asarray(trace.y, float)
    errors = {key: _bars(bar, len(y)) for key, bar in (("xerr", trace.error_x), ("yerr", trace.error_y))}
    if any(bar is not None for bar in errors.values()):
        axes.errorbar(x, y, **errors, capsize=2, elinewidth=0.8, **style)
    else:
        axes.plot(x, y, **style)
    if "text" in mode and trace.text is not None:
        for a, b, text in zip(x, y, trace.text, strict=True):
            if np.isfinite(b) and not _missing(a):
                axes.annotate(str(text), (a, b), (0, 4), textcoords="offset points", fontsize=SMALL - 1, ha="center")


def _missing(value: Any) -> bool:
    return isinstance(value, float | np.floating) and not np.isfinite(value)


def _bars(bar: Any, count: int) -> Any:
    array = None if bar is None else bar.array
    if array is None or len(array) != count:
        return None
    values = np.asarray(array, float)
    return np.where(np.isfinite(values), values, 0.0)


def _heat(figure: Figure, axes: Axes, trace: Any) -> None:
    x, y = (np.asarray(v, float) for v in (trace.x, trace.y))
    values = np.ma.masked_invalid(np.asarray(trace.z, float))
    shown = axes.pcolormesh(_edges(x), _edges(y), values, cmap="viridis", rasterized=True)
    bar = figure.colorbar(shown, ax=axes, location="bottom", shrink=0.8, aspect=40, pad=0.02)
    bar.set_label(str(trace.colorbar.title.text or "").replace("<br>", " "), fontsize=SMALL)
    bar.ax.tick_params(labelsize=SMALL)


def _edges(middles: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the edges of cells; a single one is one wide."""
    if len(middles) < 2:
        return np.asarray(middles[0] + np.array([-0.5, 0.5]))
    between = (middles[1:] + middles[:-1]) / 2
    return np.asarray([2 * middles[0] - between[0], *between, 2 * middles[-1] - between[-1]])


def _name(axes: Axes, x: Any, y: Any) -> None:
    for which, axis in (("x", x), ("y", y)):
        text = axis.title.text
        if text:
            getattr(axes, f"set_{which}label")(text, fontsize=SMALL)
        if axis.type == "log":
            getattr(axes, f"set_{which}scale")("log")
    if y.scaleanchor:
        axes.set_aspect("equal", adjustable="datalim")
    if y.rangemode == "tozero":
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    axes.tick_params(which="both", labelsize=SMALL)
    axes.grid(color="0.92", linewidth=0.6)
    axes.set_axisbelow(True)


def _legends(figure: Figure, drawn: Sequence[Axes]) -> None:
    below: dict[str, Any] = {}
    for axes in drawn:
        handles, names = axes.get_legend_handles_labels()
        if len(names) > INSIDE:
            below |= dict(zip(names, handles, strict=True))
        elif len(names) > 1 or (names and len(names[0]) > 12):
            axes.legend(handles, names, fontsize=SMALL - 1, loc="best", framealpha=0.7)
    if 0 < len(below) <= LEGEND:
        figure.legend(
            [*below.values()], [*below], fontsize=SMALL - 1, loc="outside lower center", ncols=2, frameon=False
        )


def _marks(drawn: Mapping[str, Axes], layout: Any) -> None:
    """Draw upright lines, and what is written beside them."""
    by_x: dict[str, list[Axes]] = {}
    for names, axes in drawn.items():
        by_x.setdefault(names.split()[0], []).append(axes)
    for shape in layout.shapes:
        if shape.type == "line" and shape.x0 == shape.x1:
            for axes in by_x.get(shape.xref or "x", []):
                axes.axvline(
                    shape.x0, color=shape.line.color, linestyle=DASHES.get(shape.line.dash, "-"), linewidth=0.7
                )
    for note in layout.annotations:
        axes_ = by_x.get(str(note.xref), []) if "domain" in str(note.yref) and note.text else []
        for axes in axes_[:1]:
            place = axes.get_xaxis_transform()
            axes.text(note.x, 0.98, note.text, rotation=90, fontsize=SMALL - 1, va="top", transform=place)


def mark_time(axes: Sequence[Axes], place: float | None, held: list[Any]) -> None:
    """Move the line of the scan that the viewer shows; `held` keeps what was drawn before."""
    for line in held:
        line.remove()
    held.clear()
    if place is not None:
        held += [ax.axvline(place, color="tab:red", linewidth=1.2) for ax in axes]
