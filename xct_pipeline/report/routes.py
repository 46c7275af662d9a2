"""Charts of what the mass rests on: routes to it, rows of the detector, grey values of what is uniform."""

from __future__ import annotations

from typing import Any

from xct_pipeline.report.charts import axes, figure
from xct_pipeline.report.contents import AbsentError, Contents
from xct_pipeline.report.drawing import BLUE, GREEN, GREY, VERMILION, hue, shown_scans
from xct_pipeline.report.plotly_json import scatter

NAMES = {
    "volume": ("sum over the region", BLUE),
    "projections": ("least squares on projections", GREEN),
    "rows": ("its detector rows", VERMILION),
}


def routes(contents: Contents) -> Any:
    """Change of mass of each scan by each route."""
    table = contents.table("mass_routes", "scan", "route", "mass_change_mg", "sigma_mg")
    chart = figure(340, scattermode="group")
    for route, (name, color) in NAMES.items():
        rows = table[table["route"] == route]
        if rows.empty:
            continue
        chart.add_trace(
            scatter(
                x=rows["scan"],
                y=rows["mass_change_mg"],
                name=name,
                mode="markers",
                offsetgroup=route,
                error_y={"array": rows["sigma_mg"], "thickness": 1.4, "width": 4},
                marker={"color": color, "size": 8},
            )
        )
    axes(chart, "scan", "mass change, mg")
    chart.update_xaxes(type="category")
    return chart


def cupping(contents: Contents) -> Any:
    """Grey value of the uniform material at its surface over that in its middle, of each scan."""
    table = contents.table("grey_scale", "scan", "cupping", "sigma_cupping")
    if table["cupping"].isna().all():
        raise AbsentError("table grey_scale has no cupping")
    chart = figure(300)
    chart.add_trace(
        scatter(
            x=table["scan"],
            y=100 * table["cupping"],
            mode="markers",
            error_y={"array": 100 * table["sigma_cupping"], "thickness": 1.4, "width": 4},
            marker={"color": BLUE, "size": 8},
        )
    )
    chart.add_hline(0, line={"color": GREY, "width": 1})
    axes(chart, "scan", "cupping, %")
    chart.update_xaxes(type="category")
    return chart


def rows(contents: Contents) -> Any:
    """Change of mass per detector row, of a few scans."""
    table = contents.table("row_totals", "scan", "z", "mass_change_mg", "sigma_mg", "in_region")
    if table["mass_change_mg"].isna().all():
        raise AbsentError("table row_totals has no change of mass")
    chart = figure(360)
    scans = list(contents.scans)
    known = [k for k, scan in enumerate(scans) if scan in set(table["scan"])]
    for k in (known[i] for i in shown_scans(len(known), 8)):
        part = table[table["scan"] == scans[k]]
        chart.add_trace(
            scatter(
                x=part["z"],
                y=part["mass_change_mg"],
                name=scans[k],
                mode="lines",
                line={"color": hue(k, len(scans)), "width": 1.8},
            )
        )
    inside = table[table["in_region"].astype(bool)]["z"]
    if len(inside):
        low, high = float(inside.min()) - 0.5, float(inside.max()) + 0.5
        chart.add_vrect(x0=low, x1=high, fillcolor=GREY, opacity=0.15, line={"width": 0})
    axes(chart, "detector row", "mass change, mg")
    return chart
