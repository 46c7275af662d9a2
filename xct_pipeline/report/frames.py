"""Which frames of each scan deviate from their kind, drawn in the order in which they were taken."""

from __future__ import annotations

from typing import Any

import pandas as pd

from xct_pipeline.report.charts import subplots
from xct_pipeline.report.contents import Contents
from xct_pipeline.report.drawing import GREY, ORANGE, VERMILION
from xct_pipeline.report.plotly_json import scatter

KINDS = {"projections": 0.6, "flats": 0.2, "darks": 0.2}
ROW = 22  # pixels of a scan


def frames(contents: Contents) -> Any:
    """Draw a line for the frames of each scan and kind; runs that are left out, or told only, stand on it."""
    table = contents.table("frames", "scan", "kind", "first", "last", "frames", "finding")
    runs = table[table["left_out"].notna()] if "left_out" in table else table[:0]
    whole = table.drop(runs.index)
    kinds = [kind for kind in KINDS if (whole["kind"] == kind).any()]
    names = list(dict.fromkeys(table["scan"].astype(str)))
    places = {"column_widths": [KINDS[k] for k in kinds], "subplot_titles": kinds, "shared_yaxes": True}
    chart = subplots(1, len(kinds), max(220, 130 + ROW * len(names)), places)
    styles = (
        ("all frames", whole, GREY, 2, "lines"),
        ("left out", runs[runs["left_out"].astype(str) == "True"], VERMILION, 9, "lines+markers"),
        ("told, but kept", runs[runs["left_out"].astype(str) != "True"], ORANGE, 9, "lines+markers"),
    )
    for name, rows, color, width, mode in styles:
        for column, kind in enumerate(kinds, 1):
            shown = _runs(rows[rows["kind"] == kind], name, color, width, mode)
            chart.add_trace({**shown, "showlegend": column == 1 and len(rows) > 0}, 1, column)
    chart.update_xaxes(title="frame", rangemode="tozero")
    chart.update_yaxes(type="category", categoryorder="array", categoryarray=names[::-1], showgrid=False)
    return chart


def _runs(rows: pd.DataFrame, name: str, color: str, width: int, mode: str) -> Any:
    """Return runs of frames as pieces of one line; pointing at one tells what was seen."""
    x: list[float | None] = []
    y: list[str | None] = []
    text: list[str] = []
    runs = zip(rows["first"].astype(int), rows["last"].astype(int), strict=True)
    for (first, last), scan, kind, finding in zip(runs, rows["scan"], rows["kind"], rows["finding"], strict=True):
        span = f"{kind} {first}" + (f" to {last}" if last > first else "")
        x += [first, last, None]
        y += [str(scan), str(scan), None]
        text += [f"{scan}, {span}: {finding}"] * 2 + [""]
    return scatter(
        x=x,
        y=y,
        text=text,
        hoverinfo="text",
        name=name,
        legendgroup=name,
        mode=mode,
        line={"color": color, "width": width},
        marker={"color": color, "size": 7, "symbol": "square"},
    )
