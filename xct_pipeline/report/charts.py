"""The interactive charts: plotly figures as divs that share one copy of plotly.js in the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from xct_pipeline.report.colours import material_colours
from xct_pipeline.report.contents import AbsentError, Contents
from xct_pipeline.report.drawing import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PALETTE,
    PURPLE,
    VERMILION,
    hue,
    plain_unit,
    shown_scans,
    time_unit,
)
from xct_pipeline.report.plotly_json import Chart, grid, scatter, trace
from xct_pipeline.store.tables import units
from xct_pipeline.variation.steps.told import TERMS

FONT = {"family": "Inter, 'Helvetica Neue', Arial, sans-serif", "size": 12, "color": INK}
AXIS: dict[str, Any] = {
    "showline": True,
    "linecolor": "#9aa3ab",
    "gridcolor": "#e9ecef",
    "zeroline": False,
    "ticks": "outside",
    "tickcolor": "#9aa3ab",
    "exponentformat": "none",
    "title": {"standoff": 8},
    "automargin": True,
}
COLOURS_OF_TERMS = {
    "sigma_noise_mg": BLUE,
    "sigma_rings_mg": "#8C564B",
    "sigma_registration_mg": VERMILION,
    "sigma_calibration_mg": GREEN,
    "sigma_faces_mg": "#B5A400",
    "sigma_linearity_mg": "#7F7F7F",
    "sigma_table_mg": ORANGE,
    "sigma_energy_mg": PURPLE,
    "sigma_pixel_mg": "#E377C2",
    "sigma_closure_mg": "#56B4E9",
}


FEW = 0.025
"""Share of the median number of voxels below which a bin of a profile is not drawn."""

BUTTONS = 32  # pixels in height, of plotly's


def figure(height: int = 380, **layout: object) -> Any:
    """Return an empty plotly figure in the page's style."""
    return Chart(_style(height) | {"xaxis": AXIS, "yaxis": AXIS} | layout)


def subplots(rows: int, columns: int, height: int, places: Mapping[str, Any], **layout: object) -> Any:
    """Return an empty plotly figure of several axes in the page's style; `places` are keywords of `grid`.

    Titles of the axes lie below the buttons that appear in the upper right corner.
    """
    style = _style(height)
    if places.get("subplot_titles"):
        style["height"], style["margin"]["t"] = height + BUTTONS, style["margin"]["t"] + BUTTONS
    return grid(rows, columns, AXIS, style | layout, **places)


def _style(height: int) -> dict[str, Any]:
    return {
        "height": height,
        "font": FONT,
        "margin": {"l": 70, "r": 20, "t": 30, "b": 55},
        "hovermode": "closest",
        "hoverlabel": {"align": "left"},
        "autotypenumbers": "strict",
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "colorway": list(PALETTE),
    }


def axes(chart: Chart, xlabel: str, ylabel: str) -> None:
    """Name the axes."""
    chart.update_xaxes(title=xlabel)
    chart.update_yaxes(title=ylabel)


def centres(contents: Contents) -> Any:
    """Score of trial centres of rotation against their distance from the centre that was chosen."""
    found = []
    for k, name in enumerate(contents.scans):
        kept = contents.series.center(name)
        if "center" in kept and kept.get("curve", np.zeros(0)).ndim == 2:
            found.append((k, name, kept))
    if not found:
        raise AbsentError("no estimate of a centre is kept in the store")
    titles = ("registration of opposite views: highest is best", "second method: lowest is best")
    chart = subplots(1, 2, 360, {"subplot_titles": titles, "horizontal_spacing": 0.1})
    for k, name, kept in found:
        for column, key in ((1, "curve"), (2, "metric_curve")):
            curve = kept.get(key, np.zeros((2, 0)))
            if curve.ndim != 2 or not curve.shape[1] or (column == 2 and str(kept.get("method")) == "metric"):
                continue
            score = curve[1] / np.nanmax(np.abs(curve[1])) if np.nanmax(np.abs(curve[1]), initial=0) > 0 else curve[1]
            chart.add_trace(
                scatter(
                    x=curve[0] - float(kept["center"]),
                    y=score,
                    name=name,
                    legendgroup=name,
                    mode="lines",
                    showlegend=column == 1,
                    line={"color": hue(k, len(contents.scans)), "width": 1.6},
                ),
                1,
                column,
            )
    axes(chart, "trial centre − chosen centre, pixel", "score, relative")
    chart.add_vline(0, line={"color": GREY, "width": 1, "dash": "dot"})
    return chart


def residuals(contents: Contents) -> Any:
    """What registration left over, per scan."""
    table = contents.table("registration", "scan")
    kinds = [
        (("tre_self",), "error of the match, self-check"),
        (("residual",), "residual on the mask"),
        (("gain",), "gain of the grey scale − 1"),
    ]
    kinds = [kind for kind in kinds if kind[0][0] in table and table[kind[0][0]].notna().any()]
    if not kinds:
        raise AbsentError("table registration has no residuals")
    titles = [text for _, text in kinds]
    chart = subplots(1, len(kinds), 320, {"subplot_titles": titles, "horizontal_spacing": 0.1}, showlegend=False)
    for column, ((name,), _) in enumerate(kinds, 1):
        values = table[name] - 1 if name == "gain" else table[name]
        sigma = {"type": "data", "array": table["gain_sigma"]} if name == "gain" and "gain_sigma" in table else None
        chart.add_trace(
            scatter(x=table["scan"], y=values, error_y=sigma, mode="markers", marker={"color": BLUE, "size": 9}),
            1,
            column,
        )
        unit = units("registration").get(name, "")
        label = {"tre_self": "error", "residual": "residual", "gain": "gain − 1"}[name]
        chart.update_yaxes(title=label + (f", {plain_unit(unit)}" if unit not in ("", "1") else ""), row=1, col=column)
    chart.update_xaxes(type="category")
    chart.update_yaxes(rangemode="tozero")
    return chart


def label_volumes(contents: Contents) -> Any:
    """Volume of each material against time."""
    table = contents.table("labels", "scan", "name", "volume_mm3")
    chart, colours = figure(340), material_colours(contents, table["name"])
    for name, rows in table.groupby("name", sort=False):
        x, _ = abscissa(contents, rows["scan"])
        chart.add_trace(
            scatter(x=x, y=rows["volume_mm3"], name=str(name), mode="lines+markers", line={"color": colours[str(name)]})
        )
    axes(chart, abscissa(contents, contents.scans)[1], "volume, mm³")
    chart.update_yaxes(rangemode="tozero")
    return chart


def abscissa(contents: Contents, scans: Iterable[Any]) -> tuple[list[Any], str]:
    """Return times of scans and the axis' label; their names where times are unknown."""
    known = dict(zip(contents.scans, contents.times_s, strict=True))
    times = [known.get(str(name), np.nan) for name in scans]
    if not np.isfinite(list(known.values())).all():
        return [str(name) for name in scans], "scan"
    divisor, unit = time_unit(list(known.values()))
    return [t / divisor for t in times], f"time, {unit}"


def profile(contents: Contents, name: str, x: str, xlabel: str) -> Any:
    """A quantity against depth or radius, one curve per scan."""
    table = contents.table(name, "scan", x)
    y = next((c for c in ("density_g_cm3", "attenuation_1_cm") if c in table), None)
    if y is None:
        raise AbsentError(f"table {name} has no column density_g_cm3")
    chart = figure(360)
    chosen = {contents.scans[k]: k for k in shown_scans(len(contents.scans), 12)}
    if "voxels" in table:
        table = table[table["voxels"] >= FEW * table["voxels"].median()]
    for scan, rows in table.groupby("scan", sort=False):
        if str(scan) in chosen:
            k = chosen[str(scan)]
            band = next((c for c in ("sigma_density_g_cm3", "sigma_g_cm3", "density_sigma_g_cm3") if c in rows), None)
            chart.add_trace(
                scatter(
                    x=rows[x],
                    y=rows[y],
                    name=str(scan),
                    mode="lines",
                    error_y=None if band is None else {"array": rows[band], "thickness": 0.6},
                    line={"color": hue(k, len(contents.scans)), "width": 1.8},
                )
            )
    axes(chart, xlabel, "change of density, g/cm³" if y == "density_g_cm3" else "change of attenuation, 1/cm")
    chart.add_hline(0, line={"color": GREY, "width": 1, "dash": "dot"})
    return chart


def faraday(contents: Contents) -> Any:
    """Measured mass against what the charge asks for, with the fitted slope; pulls beneath."""
    table = contents.table("mass_balance", "scan", "charge_C", "mass_change_mg", "sigma_mg", "faraday_mg")
    if not (table["faraday_mg"].notna() & table["mass_change_mg"].notna()).any():
        raise AbsentError("table mass_balance has no charge at the scans")
    chart = subplots(2, 1, 480, {"row_heights": [0.74, 0.26], "shared_xaxes": True, "vertical_spacing": 0.05})
    rows = table.sort_values("charge_C")
    chart.add_trace(
        scatter(
            x=rows["charge_C"],
            y=rows["faraday_mg"],
            name="Faraday's law",
            mode="lines",
            line={"color": GREY, "dash": "dash"},
        ),
        1,
        1,
    )
    fit = fitted(contents)
    if "slope" in fit:
        slope, error = fit["slope"]
        intercept = fit.get("intercept", (0.0, 0.0))[0]
        line = slope * rows["faraday_mg"] + intercept
        chart.add_trace(
            scatter(
                x=rows["charge_C"],
                y=line,
                name=f"fit, slope {slope:.3f} ± {error:.3f}",
                mode="lines",
                line={"color": VERMILION},
            ),
            1,
            1,
        )
    chart.add_trace(
        scatter(
            x=rows["charge_C"],
            y=rows["mass_change_mg"],
            name="measured",
            mode="markers",
            text=rows["scan"],
            hovertemplate="%{text}<br>%{x:.4g} C<br>%{y:.4g} mg<extra></extra>",
            error_y={"array": rows["sigma_mg"], "thickness": 1.4, "width": 5},
            marker={"color": BLUE, "size": 9},
        ),
        1,
        1,
    )
    sigma = rows["sigma_mg"].where(rows["sigma_mg"] > 0)
    pull = (rows["mass_change_mg"] - rows["faraday_mg"]) / sigma
    chart.add_trace(
        trace(
            "bar",
            x=rows["charge_C"],
            y=pull,
            marker={"color": BLUE},
            showlegend=False,
            name="pull",
            width=0.03 * max(float(rows["charge_C"].max() - rows["charge_C"].min()), 1e-9),
        ),
        2,
        1,
    )
    chart.update_xaxes(title="charge, C (1 C = 0.2778 mAh)", row=2)
    chart.update_yaxes(title="mass change, mg", row=1)
    reach = max(2.6, 1.15 * float(pull.abs().max(skipna=True) if pull.notna().any() else 0))
    middle = {"zeroline": True, "zerolinecolor": GREY, "zerolinewidth": 2}
    chart.update_yaxes(title="difference / σ", range=[-reach, reach], row=2, **middle)
    for bound in (-2, 2):
        chart.add_hline(bound, line={"color": GREY, "width": 1, "dash": "dot"}, row=2, col=1)
    chart.update_layout(legend={"x": 0.99, "xanchor": "right", "y": 0.99})
    return chart


def fitted(contents: Contents) -> dict[str, tuple[float, float]]:
    """Return value and error of each quantity of the Faraday fit, empty where there is none."""
    try:
        table = contents.table("faraday", "quantity", "value")
    except AbsentError:
        return {}
    sigma = table["sigma"] if "sigma" in table else pd.Series(np.nan, index=table.index)
    pairs = zip(table["quantity"], table["value"], sigma, strict=True)
    numbers = {str(q): (pd.to_numeric(v, errors="coerce"), float(s)) for q, v, s in pairs}
    return {name: (float(v), s) for name, (v, s) in numbers.items() if pd.notna(v)}


def budget(contents: Contents) -> Any:
    """What the error of each scan's mass consists of."""
    table = contents.table("mass_balance", "scan", "sigma_mg")
    chart = figure(340, barmode="group")
    for column, name in TERMS.items():
        if column in table and table[column].notna().any():
            bar = {"name": name, "marker": {"color": COLOURS_OF_TERMS[column]}}
            chart.add_trace(trace("bar", x=table["scan"], y=table[column], **bar))
    chart.add_trace(
        scatter(
            x=table["scan"],
            y=table["sigma_mg"],
            name="all together",
            mode="markers",
            marker={"symbol": "line-ew-open", "size": 34, "color": INK, "line": {"width": 2}},
        )
    )
    axes(chart, "scan", "σ of the mass, mg")
    chart.update_xaxes(type="category")
    chart.update_yaxes(rangemode="tozero")
    return chart


def contact(contents: Contents) -> Any:
    """Share of the ceramic's surface that each material covers, against time."""
    table = contents.table("interface", "scan", "material", "fraction")
    chart, colours = figure(360), material_colours(contents, table["material"])
    offsets = sorted(table["offset_voxels"].unique()) if "offset_voxels" in table else [None]
    dashes = ("solid", "dash", "dot", "dashdot")
    for material, rows in table.groupby("material", sort=False):
        color = colours[str(material)]
        for j, offset in enumerate(offsets):
            part = rows if offset is None else rows[rows["offset_voxels"] == offset]
            x, _ = abscissa(contents, part["scan"])
            name = str(material) if offset is None else f"{material}, {offset:g} voxels in"
            chart.add_trace(
                scatter(
                    x=x,
                    y=part["fraction"],
                    name=name,
                    mode="lines+markers",
                    line={"color": color, "dash": dashes[j % 4]},
                )
            )
    axes(chart, abscissa(contents, contents.scans)[1], "share of the surface")
    chart.update_yaxes(range=[-0.02, 1.02])
    return chart
