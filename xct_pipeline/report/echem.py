"""Charts of what was recorded beside the scans: log, spectra, relaxation times, voltammetry, cycling, relations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from xct_pipeline.report.charts import subplots
from xct_pipeline.report.colours import material_colours
from xct_pipeline.report.contents import AbsentError, Contents
from xct_pipeline.report.drawing import BLUE, GREY, ORANGE, PALETTE, VERMILION, hue, time_unit
from xct_pipeline.report.plotly_json import scatter, trace

SAME_PEAK_DECADES = 0.5
"""Peaks of different spectra are one where their times follow each other closer than this."""
MANY_CYCLES = 12
"""From so many on, not each has a tick."""
FEWEST_FOR_RANK = 3


def _plots(rows: int, columns: int, height: int, **more: Any) -> Any:
    return subplots(rows, columns, height, more)


def _line(x: Any, y: Any, name: str, color: str, **more: Any) -> Any:
    return scatter(x=x, y=y, name=name, mode=more.pop("mode", "lines"), line={"color": color, "width": 1.6}, **more)


def scan_marks(contents: Contents) -> list[tuple[str, float]]:
    """Return scans and their times on the log's axis."""
    if "mass_balance" in contents.tables and "time_s" in contents.tables["mass_balance"]:
        table = contents.tables["mass_balance"]
        pairs = zip(table["scan"].astype(str), table["time_s"], strict=True)
    else:
        pairs = zip(contents.scans, contents.times_s, strict=True)
    return [(name, float(t)) for name, t in pairs if np.isfinite(t)]


def _mark(chart: Any, contents: Contents, divisor: float) -> None:
    """Mark the scans in all rows of a figure over the log's time, with their names in the first."""
    line = {"color": GREY, "width": 1, "dash": "dot"}
    for name, t in scan_marks(contents):
        chart.add_vline(t / divisor, line=line, note=name, row=1, col=1)
        for row in range(2, chart.rows + 1):
            chart.add_vline(t / divisor, line=line, row=row, col=1)
    chart.update_layout(meta={"divisor_s": divisor})


def timeline(contents: Contents) -> Any:
    """Voltage, current and charge against the log's time, with the scans' marks."""
    log = contents.table("cycler", "time_s", "charge_C")
    shown = [(c, label) for c, label in (("voltage_V", "voltage, V"), ("charge_C", "charge, C")) if c in log]
    divisor, unit = time_unit(list(log["time_s"]))
    chart = _plots(len(shown), 1, 190 * len(shown) + 90, shared_xaxes=True, vertical_spacing=0.06)
    groups = list(log.groupby("file", sort=False)) if "file" in log else [("log", log)]
    for k, (name, rows) in enumerate(groups):
        for row, (column, _) in enumerate(shown, 1):
            line = _line(rows["time_s"] / divisor, rows[column], str(name), PALETTE[k % len(PALETTE)])
            chart.add_trace({**line, "showlegend": row == 1 and len(groups) > 1, "legendgroup": str(name)}, row, 1)
    for row, (_, label) in enumerate(shown, 1):
        chart.update_yaxes(title=label, row=row)
    _mark(chart, contents, divisor)
    chart.update_xaxes(title=f"time of the log, {unit}", row=len(shown))
    return chart


def spectra(contents: Contents) -> Any:
    """Nyquist and Bode plots of all spectra, dark to bright with time."""
    table = contents.table("impedance", "spectrum", "frequency_Hz", "real_ohm", "minus_imaginary_ohm")
    chart = _plots(
        2,
        2,
        640,
        specs=[[{"colspan": 2}, None], [{}, {}]],  # arcs of one scale on both axes are wide
        subplot_titles=("Nyquist", "modulus", "phase"),
        horizontal_spacing=0.1,
        vertical_spacing=0.17,
    )
    places = ((1, 1), (2, 1), (2, 2))
    groups = list(table.groupby("spectrum", sort=False))
    for k, (name, rows) in enumerate(groups):
        z = rows["real_ohm"].to_numpy() - 1j * rows["minus_imaginary_ohm"].to_numpy()
        when = rows["time_s"].iloc[0] if "time_s" in rows else np.nan
        label = f"{name}" + (f", {when:g} s" if np.isfinite(when) else "")
        pairs = ((z.real, -z.imag), (rows["frequency_Hz"], np.abs(z)), (rows["frequency_Hz"], -np.angle(z, deg=True)))
        for place, (x, y) in zip(places, pairs, strict=True):
            line = _line(x, y, label, hue(k, len(groups)), mode="lines+markers", marker={"size": 4})
            chart.add_trace({**line, "showlegend": place == places[0], "legendgroup": label}, *place)
    chart.update_xaxes(title="Re Z, ohm", constrain="domain", row=1, col=1)
    chart.update_yaxes(title="−Im Z, ohm", scaleanchor="x", constrain="domain", row=1, col=1)
    for column, label in ((1, "|Z|, ohm"), (2, "−phase, °")):
        chart.update_xaxes(title="frequency, Hz", type="log", exponentformat="power", row=2, col=column)
        chart.update_yaxes(title=label, row=2, col=column)
    chart.update_yaxes(type="log", tickvals=[m * 10.0**k for k in range(-6, 12) for m in (1, 2, 5)], row=2, col=1)
    return chart


def waterfall(contents: Contents) -> Any:
    """Distribution of relaxation times against time, below the voltage and the change of mass on the same axis."""
    table = contents.table("drt", "spectrum", "tau_s", "distribution_ohm")
    grid, times, values, axis = _heat(table)
    log, balance = contents.tables.get("cycler"), contents.tables.get("mass_balance")
    timed = axis.startswith("time")
    above: list[tuple[str, pd.DataFrame, str]] = []
    if timed and log is not None and "voltage_V" in log and "file" not in log:
        above.append(("voltage, V", log, "voltage_V"))
    if timed and balance is not None and "mass_change_mg" in balance:
        above.append(("mass, mg", balance, "mass_change_mg"))
    longest = [*times, *(above[0][1]["time_s"] if above else [])]
    divisor, unit = time_unit(longest) if timed else (1.0, "")
    rows = len(above) + 1
    heights = [0.2] * len(above) + [1 - 0.2 * len(above)]
    chart = _plots(rows, 1, 360 + 110 * len(above), shared_xaxes=True, vertical_spacing=0.05, row_heights=heights)
    for row, (label, rest, column) in enumerate(above, 1):
        style = {"mode": "lines+markers"} if column == "mass_change_mg" else {}
        line = _line(rest["time_s"] / divisor, rest[column], label, BLUE, **style)
        chart.add_trace({**line, "showlegend": False}, row, 1)
        chart.update_yaxes(title=label, row=row)
    chart.add_trace(
        trace(
            "heatmap",
            x=np.asarray(times) / divisor,
            y=np.log10(grid),
            z=values,
            colorscale="Viridis",
            colorbar={
                "title": {"text": "ohm per<br>ln τ"},
                "len": heights[-1],
                "y": 0,
                "yanchor": "bottom",
                "thickness": 14,
                "outlinewidth": 0,
            },
        ),
        rows,
        1,
    )
    _peak_marks(chart, contents, divisor, rows, timed)
    chart.update_yaxes(title="log10(τ / s)", row=rows)
    chart.update_xaxes(title=f"time of the log, {unit}" if timed else "spectrum", row=rows)
    if timed:
        _mark(chart, contents, divisor)
    return chart


def _heat(table: pd.DataFrame) -> tuple[Any, list[float], Any, str]:
    """Return grid, times (or positions), values (tau, time) and what the axis is."""
    groups = list(table.groupby("spectrum", sort=False))
    longest = max((rows for _, rows in groups), key=len)
    grid = longest["tau_s"].to_numpy(float)
    times = [float(rows["time_s"].iloc[0]) if "time_s" in rows else np.nan for _, rows in groups]
    timed = bool(np.isfinite(times).all()) and len(set(times)) == len(times)
    columns = [
        np.interp(np.log(grid), np.log(rows["tau_s"]), rows["distribution_ohm"], left=np.nan, right=np.nan)
        for _, rows in groups
    ]
    x = times if timed else [float(k) for k in range(1, len(groups) + 1)]
    return grid, x, np.stack(columns, 1), "time" if timed else "spectrum"


def _peak_marks(chart: Any, contents: Contents, divisor: float, row: int, timed: bool) -> None:
    peaks = contents.tables.get("drt_peaks")
    if peaks is None or "tau_s" not in peaks:
        return
    order = {name: k for k, name in enumerate(dict.fromkeys(peaks["spectrum"]), 1)}
    rows = peaks[peaks["peak"] > 0]
    x = rows["time_s"] / divisor if timed else rows["spectrum"].map(order)
    chart.add_trace(
        scatter(
            x=x,
            y=np.log10(rows["tau_s"]),
            mode="markers",
            name="peaks",
            showlegend=False,
            marker={"color": "white", "size": 7, "line": {"color": VERMILION, "width": 2}},
            text=[
                f"{r:.4g} ± {s:.2g} ohm"
                for r, s in zip(rows["resistance_ohm"], rows["resistance_sigma_ohm"], strict=True)
            ],
        ),
        row,
        1,
    )


def spreading(contents: Contents) -> Any:
    """Share of the ceramic, and of each partner, that each material touches, against time below the voltage."""
    when = dict(scan_marks(contents))
    surfaces = [
        (surface, known)
        for surface, table in _surfaces(contents)
        if len(known := table.assign(time_s=table["scan"].astype(str).map(when)).dropna(subset=["time_s"]))
    ]
    if not surfaces:
        raise AbsentError("no time is known of any scan")
    log = contents.tables.get("cycler")
    above = log if log is not None and "voltage_V" in log and "file" not in log else None
    first = 1 if above is None else 2
    rows = first - 1 + len(surfaces)
    times = [t for _, table in surfaces for t in table["time_s"]]
    divisor, unit = time_unit([*times, *([] if above is None else above["time_s"])])
    heights = {} if above is None else {"row_heights": [0.35, *[0.65] * len(surfaces)]}
    chart = _plots(rows, 1, 260 + 130 * rows, shared_xaxes=True, vertical_spacing=0.06, **heights)
    if above is not None:
        line = _line(above["time_s"] / divisor, above["voltage_V"], "voltage", GREY)
        chart.add_trace({**line, "showlegend": False}, 1, 1)
        chart.update_yaxes(title="voltage, V", row=1)
    colors = material_colours(contents, (name for _, table in surfaces for name in table["material"]))
    told: set[str] = set()
    for row, (surface, table) in enumerate(surfaces, first):
        for material, part in table.groupby("material", sort=False):
            shown, name = part.sort_values("time_s"), str(material)
            new = name not in told
            told.add(name)
            line = _line(shown["time_s"] / divisor, shown["fraction"], name, colors[name], mode="lines+markers")
            chart.add_trace({**line, "showlegend": new, "legendgroup": name}, row, 1)
        chart.update_yaxes(title=f"share of {surface} in contact", range=[-0.02, 1.02], row=row)
    chart.update_xaxes(title=f"time of the log, {unit}", row=rows)
    _mark(chart, contents, divisor)
    return chart


def _surfaces(contents: Contents) -> list[tuple[str, pd.DataFrame]]:
    """Return surfaces and what touches them at the largest distance: the ceramic's towards the anode, partners'."""
    partners = contents.tables.get("contacts")
    found = []
    if partners is None or "interface" in contents.tables:
        found.append(("the ceramic", contents.table("interface", "scan", "material", "fraction")))
    if partners is not None:
        found += [(f"all {name}", rows) for name, rows in partners.groupby("partner", sort=False)]
    return [
        (name, rows[rows["offset_voxels"] == rows["offset_voxels"].max()] if "offset_voxels" in rows else rows)
        for name, rows in found
    ]


def voltammograms(contents: Contents) -> Any:
    """Current against voltage, one curve per cycle."""
    table = contents.table("voltammetry", "cycle", "voltage_V", "current_A")
    chart = _plots(1, 1, 400)
    groups = list(table.groupby("cycle"))
    for k, (cycle, rows) in enumerate(groups):
        chart.add_trace(_line(rows["voltage_V"], rows["current_A"], f"cycle {cycle}", hue(k, len(groups))))
    chart.update_xaxes(title="voltage, V")
    chart.update_yaxes(title="current, A", exponentformat="SI")
    return chart


def cycles(contents: Contents) -> Any:
    """Capacity, coulombic efficiency and overpotential against the cycle."""
    table = contents.table("cycling", "cycle", "charge_C", "discharge_C")
    chart = _plots(1, 3, 380, subplot_titles=("capacity", "efficiency", "overpotential"), horizontal_spacing=0.1)
    for column, name, color in (("charge_C", "charge", BLUE), ("discharge_C", "discharge", ORANGE)):
        chart.add_trace(_line(table["cycle"], table[column] / 3.6, name, color, mode="lines+markers"), 1, 1)
    for place, column in ((2, "efficiency"), (3, "overpotential_V")):
        if column in table:
            line = _line(table["cycle"], table[column], column, BLUE, mode="lines+markers")
            chart.add_trace({**line, "showlegend": False}, 1, place)
    chart.update_xaxes(title="cycle", **({"dtick": 1} if len(table) < MANY_CYCLES else {}))
    for place, label in ((1, "mAh"), (2, "came back / put in"), (3, "V")):
        chart.update_yaxes(title=label, row=1, col=place)
    return chart


# Relations ----------------------------------------------------------------------------------------------------


def relation(contents: Contents) -> Any:
    """Polarisation resistance of each peak against contact with the ceramic, and against mass lost, scan by scan."""
    peaks = related_peaks(contents)
    measures = _measures(contents)
    chart = _plots(1, len(measures), 440, horizontal_spacing=0.08)
    for column, (label, values, errors) in enumerate(measures, 1):
        ranks = []
        for k, (number, rows) in enumerate(peaks.groupby("group")):
            x, dx = rows["scan"].map(values), rows["scan"].map(errors)
            known = x.notna() & rows["resistance_ohm"].notna()
            color = PALETTE[k % len(PALETTE)]
            ranks.append(_colored(color, f"peak {number}: {rank_text(x[known], rows['resistance_ohm'][known])}"))
            tau = float(np.exp(np.log(rows["tau_s"]).mean()))
            chart.add_trace(
                scatter(
                    x=x,
                    y=rows["resistance_ohm"],
                    error_x={"array": dx, "thickness": 1},
                    error_y={"array": rows["resistance_sigma_ohm"], "thickness": 1},
                    mode="markers+text",
                    text=rows["scan"],
                    textposition=_above_and_below(x),
                    textfont={"size": 9},
                    cliponaxis=False,
                    name=f"peak {number}, τ about {tau:.2g} s",
                    legendgroup=str(number),
                    showlegend=column == 1,
                    marker={"color": color, "size": 9},
                ),
                1,
                column,
            )
        chart.update_xaxes(title={"text": label, "font": {"size": 12}}, row=1, col=column)
        place = "x domain" if column == 1 else f"x{column} domain"
        chart.add_annotation(
            text="<br>".join(ranks),
            xref=place,
            yref="paper",
            x=0,
            y=1.02,
            xanchor="left",
            yanchor="bottom",
            align="left",
            font={"size": 11},
        )
    chart.update_yaxes(rangemode="tozero", matches="y")
    chart.update_yaxes(title="resistance of the peak, ohm", row=1, col=1)
    chart.update_layout(legend={"orientation": "h", "y": -0.25}, margin={"b": 110, "t": 30 + 16 * len(ranks)})
    return chart


def _colored(color: str, text: str) -> str:
    return f'<span style="color:{color}">{text}</span>'


def _above_and_below(x: pd.Series) -> list[str]:
    """Return where names stand, in turn, so that those of neighbours do not cover each other."""
    return ["bottom center" if rank % 2 == 0 else "top center" for rank in x.rank(method="first").fillna(0)]


def related_peaks(contents: Contents) -> pd.DataFrame:
    """Return the peaks of spectra that belong to scans, with the number of the peak that they are over time."""
    table = contents.table("drt_peaks", "scan", "peak", "tau_s", "resistance_ohm", "resistance_sigma_ohm")
    rows = table[(table["peak"] > 0) & table["scan"].notna() & (table["scan"].astype(str) != "")].copy()
    if rows["scan"].nunique() < 2:
        raise AbsentError("fewer than two spectra belong to scans")
    rows["scan"] = rows["scan"].astype(str)
    rows = rows.sort_values("tau_s")
    apart = np.diff(np.log10(rows["tau_s"].to_numpy(float)), prepend=-np.inf) > SAME_PEAK_DECADES
    return rows.assign(group=np.cumsum(apart))


def _measures(contents: Contents) -> list[tuple[str, dict[str, float], dict[str, float]]]:
    """Return what peaks are held against: label, value and error by scan."""
    found: list[tuple[str, dict[str, float], dict[str, float]]] = []
    touched = {"interface", "contacts"} & set(contents.tables)
    chosen = ""
    for surface, rows in _surfaces(contents) if touched else ():
        first = rows[rows["scan"].astype(str) == contents.scans[contents.reference]]
        if not first["fraction"].notna().any():
            continue
        if chosen not in set(first["material"].astype(str)):  # the same for all surfaces, where it touches them
            chosen = str(first["material"].iloc[int(np.nanargmax(first["fraction"]))])
        material = chosen
        rows = rows[rows["material"] == material]
        contact = dict(zip(rows["scan"].astype(str), rows["fraction"].astype(float), strict=True))
        found.append((f"share of {surface} in contact with {material}", contact, {}))
    balance = contents.tables.get("mass_balance")
    if balance is not None and {"scan", "mass_change_mg", "sigma_mg"} <= set(balance.columns):
        names = balance["scan"].astype(str)
        lost = dict(zip(names, -balance["mass_change_mg"].astype(float), strict=True))
        found.append(("mass lost, mg", lost, dict(zip(names, balance["sigma_mg"].astype(float), strict=True))))
    if not found:
        raise AbsentError("the store has neither table interface, contacts nor mass_balance")
    return found


def rank_text(x: pd.Series, y: pd.Series) -> str:
    """Return Spearman's rank correlation in words."""
    if len(x) < FEWEST_FOR_RANK or x.nunique() < 2 or y.nunique() < 2:
        return "too few scans for a rank"
    return f"rank correlation {float(np.corrcoef(x.rank(), y.rank())[0, 1]):+.2f} ({len(x)} scans)"


CHARTS: Mapping[str, Callable[[Contents], Any]] = {
    "Log": timeline,
    "Resistance against contact and mass": relation,
    "Spreading": spreading,
    "Impedance": spectra,
    "Relaxation times": waterfall,
    "Voltammetry": voltammograms,
    "Cycling": cycles,
}
"""Every figure by its title; the report and the viewer draw the same."""
