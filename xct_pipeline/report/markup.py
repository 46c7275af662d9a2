"""Pieces of HTML: charts, pictures, tables and numbers; every text that is put in is escaped."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from markupsafe import Markup, escape

from xct_pipeline.report.contents import AbsentError, Contents
from xct_pipeline.report.drawing import data_uri
from xct_pipeline.report.plotly_json import Chart
from xct_pipeline.store.tables import units

if TYPE_CHECKING:
    from matplotlib.figure import Figure


TABLE_ROWS = 200
SCROLLS = Markup('tabindex="0" role="group" aria-label="{}"')
"""Of a box that scrolls by itself where the page is narrow: reached by the keyboard."""


def chart(draw: Callable[..., Any], *arguments: object) -> Callable[[Contents], Markup]:
    """Return the panel of a plotly figure."""
    return lambda contents: chart_markup(draw(contents, *arguments))


def chart_markup(figure: Chart) -> Markup:
    """Return a plotly figure as a div that the page's script draws; several axes side by side keep their width."""
    data = figure.to_json().replace("<", "\\u003c")
    kind = "chart wide" if "xaxis2" in figure.layout else "chart"
    return Markup(
        '<div class="pan" {}><div class="{}" style="height:{}px"></div>'
        '<script type="application/json">{}</script></div>'
    ).format(SCROLLS.format("chart"), kind, figure.layout["height"], Markup(data))


@dataclass(frozen=True)
class Picture:
    """The panel of a static picture; `data` gives the numbers behind it, for the page's script to save."""

    draw: Callable[[Contents], Figure]
    alt: str
    data: Callable[[Contents], dict[str, Any]] | None = None

    def __call__(self, contents: Contents) -> Markup:
        """Draw the panel."""
        shown = Markup('<div class="pan" {}><img class="picture" alt="{}" src="{}"></div>').format(
            SCROLLS.format("picture"), self.alt, data_uri(self.draw(contents))
        )
        if self.data is None:
            return shown
        text = json.dumps(self.data(contents)).replace("<", "\\u003c")
        return shown + Markup('<script type="application/json" class="maps">{}</script>').format(Markup(text))


def both(*parts: Callable[[Contents], Markup]) -> Callable[[Contents], Markup]:
    """Return the panel of several things, those that are there; absent only when all are."""

    def draw(contents: Contents) -> Markup:
        found, reasons = [], []
        for part in parts:
            try:
                found.append(part(contents))
            except AbsentError as reason:
                reasons.append(str(reason))
        if not found:
            raise AbsentError("; ".join(dict.fromkeys(reasons)))
        return Markup("").join(found)

    return draw


def frame_markup(table: pd.DataFrame, units: dict[str, str] | None = None) -> Markup:
    """Return a table; units stand under the column names."""
    units = units or {}
    kinds = ["n" if pd.api.types.is_numeric_dtype(kind) else "s" for kind in table.dtypes]
    head = Markup("").join(
        Markup('<th scope="col">{}{}</th>').format(
            c, Markup("<small>{}</small>").format(units[c]) if units.get(c) else ""
        )
        for c in map(str, table.columns)
    )
    body = []
    for row in table.head(TABLE_ROWS).to_numpy():
        cells = [f"<td class={kind}>{escape(cell(value))}</td>" for kind, value in zip(kinds, row, strict=True)]
        body.append(f"<tr>{''.join(cells)}</tr>")
    more = len(table) - TABLE_ROWS
    note = Markup('<p class="note">{} more rows in the file</p>').format(more) if more > 0 else ""
    return Markup('<div class="scroll" {}><table><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>{}').format(
        SCROLLS.format("table"), head, Markup("".join(body)), note
    )


def cell(value: object) -> str:
    """Return a cell's text."""
    if value is None or (isinstance(value, (float, np.floating)) and not math.isfinite(value)):
        return "–" if value is None or math.isnan(value) else str(value)
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    return f"{value:.5g}" if isinstance(value, (float, np.floating)) else str(value)


def table(name: str) -> Callable[[Contents], Markup]:
    """Return the panel of a table, folded."""

    def draw(contents: Contents) -> Markup:
        rows = contents.table(name)
        empty = [c for c in rows.columns if rows[c].isna().all()]
        return Markup("<details><summary>Table {} ({} rows)</summary>{}</details>").format(
            name, len(rows), frame_markup(rows.drop(columns=empty), units(name))
        )

    return draw


def plus_minus(value: float, sigma: float) -> str:
    """Return a value and its error with two digits of the error."""
    if not (math.isfinite(value) and math.isfinite(sigma)) or sigma <= 0:
        return f"{value:.4g}"
    digits = max(0, 1 - math.floor(math.log10(sigma)))
    return f"{value:.{digits}f} ± {sigma:.{digits}f}".replace("-", "−")
