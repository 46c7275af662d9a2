"""Charts as the JSON that plotly's script draws, put together as dictionaries.

plotly's own classes check every value and its subplots change layouts key by key: that took as long as all pictures of
a report. Here nothing is checked; tests hand what is made to those classes.
"""

from __future__ import annotations

import base64
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

Trace = dict[str, Any]
SHORT = {"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4"}
SHORT |= {"float32": "f4", "float64": "f8"}
RED_TO_BLUE = (
    *("#67001f", "#b2182b", "#d6604d", "#f4a582", "#fddbc7"),
    *("#f7f7f7", "#d1e5f0", "#92c5de", "#4393c3", "#2166ac", "#053061"),
)
BLUE_TO_RED = [[k / 10, colour] for k, colour in enumerate(reversed(RED_TO_BLUE))]
"""Brewer's colours of a signed quantity, matplotlib's RdBu_r."""


def trace(kind: str, **settings: Any) -> Trace:
    """Return a trace of a kind of plotly's, without the settings that are None."""
    return {"type": kind} | {key: value for key, value in settings.items() if value is not None}


def scatter(**settings: Any) -> Trace:
    """Return points and lines."""
    return trace("scatter", **settings)


@dataclass(frozen=True)
class Cell:
    """Where a trace is drawn: row, column (from 1), and the names of its axes or of its scene."""

    row: int
    column: int
    names: Mapping[str, str]

    def axis(self, letter: str) -> str:
        """Return the key of an axis in the layout, "" in a scene."""
        name = self.names.get(f"{letter}axis", "")
        return f"{letter}axis{name[1:]}" if name else ""


class Chart:
    """A chart while it is put together; methods are named as plotly's are.

    Attributes
    ----------
    data : list of dict
        Traces.
    layout : dict
    cells : list of Cell
        Of charts with several axes; one that is everywhere else.
    """

    def __init__(self, layout: Mapping[str, Any], cells: Sequence[Cell] = (Cell(1, 1, {}),)) -> None:
        self.data: list[Trace] = []
        self.layout: dict[str, Any] = dict(layout)
        self.cells = list(cells)

    @property
    def rows(self) -> int:
        """Number of rows of axes."""
        return max(cell.row for cell in self.cells)

    def add_trace(self, made: Trace, row: int = 1, column: int = 1) -> None:
        """Draw a trace on the axes of a cell."""
        (cell,) = self._chosen(row, column)
        self.data.append({**made, **cell.names})

    def update_layout(self, **settings: Any) -> None:
        """Change the layout; what is not named inside of a key stays."""
        self.layout = _merged(self.layout, settings)

    def update_xaxes(self, row: int | None = None, col: int | None = None, **settings: Any) -> None:
        """Change all x axes, or those of a row or column."""
        self._update("x", row, col, settings)

    def update_yaxes(self, row: int | None = None, col: int | None = None, **settings: Any) -> None:
        """Change all y axes, or those of a row or column."""
        self._update("y", row, col, settings)

    def _update(self, letter: str, row: int | None, column: int | None, settings: dict[str, Any]) -> None:
        if isinstance(settings.get("title"), str):
            settings["title"] = {"text": settings["title"]}
        for cell in self._chosen(row, column):
            key = cell.axis(letter) or ("" if cell.names else f"{letter}axis")
            if key:
                self.layout[key] = _merged(self.layout.get(key, {}), settings)

    def add_vline(
        self, x: float, line: Mapping[str, Any], note: str = "", row: int | None = None, col: int | None = None
    ) -> None:
        """Draw an upright line through the axes that hold something, with a note beside its upper end."""
        for across, up in self._used(row, col):
            ends = {"x0": x, "x1": x, "xref": across, "y0": 0, "y1": 1, "yref": f"{up} domain"}
            self.layout.setdefault("shapes", []).append({"type": "line", **ends, "line": dict(line)})
            if note:
                place = {"x": x, "xref": across, "y": 1, "yref": f"{up} domain", "xanchor": "left", "yanchor": "top"}
                self.add_annotation(text=note, font={"size": 9}, textangle=-90, **place)

    def add_hline(self, y: float, line: Mapping[str, Any], row: int | None = None, col: int | None = None) -> None:
        """Draw a level line through the axes that hold something."""
        for across, up in self._used(row, col):
            ends = {"x0": 0, "x1": 1, "xref": f"{across} domain", "y0": y, "y1": y, "yref": up}
            self.layout.setdefault("shapes", []).append({"type": "line", **ends, "line": dict(line)})

    def add_vrect(self, x0: float, x1: float, **style: Any) -> None:
        """Draw an upright band through the axes that hold something."""
        for across, up in self._used(None, None):
            ends = {"x0": x0, "x1": x1, "xref": across, "y0": 0, "y1": 1, "yref": f"{up} domain"}
            self.layout.setdefault("shapes", []).append({"type": "rect", **ends, **style})

    def add_annotation(self, **note: Any) -> None:
        """Write somewhere."""
        self.layout.setdefault("annotations", []).append({"showarrow": False, **note})

    def to_json(self) -> str:
        """Return what plotly's script draws."""
        return json.dumps(plain({"data": self.data, "layout": self.layout}), separators=(",", ":"), allow_nan=False)

    def _chosen(self, row: int | None, column: int | None) -> list[Cell]:
        return [cell for cell in self.cells if row in (None, cell.row) and column in (None, cell.column)]

    def _used(self, row: int | None, column: int | None) -> list[tuple[str, str]]:
        """Return the names of axes that have traces."""
        pairs = [(cell.names.get("xaxis", "x"), cell.names.get("yaxis", "y")) for cell in self._chosen(row, column)]
        drawn = {(made.get("xaxis", "x"), made.get("yaxis", "y")) for made in self.data}
        return [pair for pair in pairs if pair in drawn]


def grid(
    rows: int,
    columns: int,
    axis: Mapping[str, Any],
    layout: Mapping[str, Any],
    specs: Sequence[Sequence[Mapping[str, Any] | None]] | None = None,
    row_heights: Sequence[float] = (),
    column_widths: Sequence[float] = (),
    horizontal_spacing: float | None = None,
    vertical_spacing: float | None = None,
    subplot_titles: Sequence[str] = (),
    shared_xaxes: bool = False,
    shared_yaxes: bool = False,
) -> Chart:
    """Return an empty chart of several axes, placed as plotly's `make_subplots` does; all of them have `axis`."""
    across = _spans(
        column_widths or [1.0] * columns, 0.2 / columns if horizontal_spacing is None else horizontal_spacing
    )
    down = _spans(row_heights or [1.0] * rows, 0.3 / rows if vertical_spacing is None else vertical_spacing)
    whole, cells, titles = dict(layout), [], iter(subplot_titles)
    notes = []
    for row, column in itertools.product(range(rows), range(columns)):
        spec = specs[row][column] if specs is not None else {}
        if spec is None:
            continue
        right, bottom = column + spec.get("colspan", 1) - 1, row + spec.get("rowspan", 1) - 1
        x, y = [across[column][0], across[right][1]], [1 - down[bottom][1], 1 - down[row][0]]
        if spec.get("type") == "scene":
            whole["scene"] = {"domain": {"x": x, "y": y}}
            cells.append(Cell(row + 1, column + 1, {"scene": "scene"}))
        else:
            number = sum("xaxis" in cell.names for cell in cells) + 1
            mark = str(number) if number > 1 else ""
            cells.append(Cell(row + 1, column + 1, {"xaxis": f"x{mark}", "yaxis": f"y{mark}"}))
            whole |= {f"xaxis{mark}": {**axis, "anchor": f"y{mark}", "domain": x}}
            whole |= {f"yaxis{mark}": {**axis, "anchor": f"x{mark}", "domain": y}}
        title = next(titles, "")
        if title:
            place = {
                "x": sum(x) / 2,
                "xanchor": "center",
                "xref": "paper",
                "y": y[1],
                "yanchor": "bottom",
                "yref": "paper",
            }
            notes.append({"text": title, "font": {"size": 16}, "showarrow": False, **place})
    for cell in cells:
        last = max(other.row for other in cells if other.column == cell.column)
        if shared_xaxes and cell.row < last:
            (below,) = [other for other in cells if (other.row, other.column) == (last, cell.column)]
            whole[cell.axis("x")] |= {"matches": below.names["xaxis"], "showticklabels": False}
        if shared_yaxes and cell.column > 1:
            (first,) = [other for other in cells if (other.row, other.column) == (cell.row, 1)]
            whole[cell.axis("y")] |= {"matches": first.names["yaxis"], "showticklabels": False}
    return Chart(whole | ({"annotations": notes} if notes else {}), cells)


def _spans(sizes: Sequence[float], gap: float) -> list[tuple[float, float]]:
    """Return begin and end of pieces of these relative sizes between 0 and 1."""
    room = (1 - gap * (len(sizes) - 1)) / sum(sizes)
    begins = itertools.accumulate((size * room + gap for size in sizes), initial=0.0)
    return [(begin, begin + size * room) for begin, size in zip(begins, sizes, strict=False)]


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(old)
    for key, value in new.items():
        nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merged(merged[key], value) if nested else value
    return merged


def plain(value: Any) -> Any:
    """Return a value as JSON has it: numbers that plotly's script unpacks as base64, what is no number as null."""
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, pd.Series | np.ndarray):
        return _packed(np.asarray(value))
    if isinstance(value, list | tuple | range):
        return [plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if value is pd.NA or (isinstance(value, float) and not math.isfinite(value)) else value


def _packed(values: np.ndarray[Any, Any]) -> Any:
    if values.dtype.kind in "iu" and values.dtype.itemsize == 8 and values.size:
        fitting = (kind for kind in ("int8", "int16", "int32") if _fits(values, kind))
        values = values.astype(next(fitting, "float64"))
    if values.dtype.name not in SHORT or not values.size:
        return plain(values.tolist())
    packed = {"dtype": SHORT[values.dtype.name], "bdata": base64.b64encode(values.tobytes()).decode()}
    return packed | ({"shape": str(values.shape)[1:-1]} if values.ndim > 1 else {})


def _fits(values: np.ndarray[Any, Any], kind: str) -> bool:
    return bool(np.iinfo(kind).min <= values.min() and values.max() <= np.iinfo(kind).max)
