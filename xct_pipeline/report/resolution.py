"""What even and odd projections tell: correlation in shells of spatial frequency, and noise, of each scan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from xct_pipeline.report.charts import axes, subplots
from xct_pipeline.report.contents import AbsentError, Contents
from xct_pipeline.report.drawing import BLUE, GREY, hue, shown_scans
from xct_pipeline.report.markup import plus_minus
from xct_pipeline.report.plotly_json import scatter

MOST = 6  # curves
NYQUIST = 2.0  # voxels of the shortest period that voxels hold


def resolution(contents: Contents) -> Any:
    """Correlation of the halves of a few scans against spatial frequency, and the noise of all scans."""
    table, numbers = _curves(contents), contents.table("reconstruction", "scan", "resolution_voxel", "noise_halves")
    titles = ("even against odd projections", "noise of a voxel")
    chart = subplots(1, 2, 380, {"subplot_titles": titles, "horizontal_spacing": 0.12})
    unit = "µm" if table["frequency_per_um"].notna().all() else "voxel"
    _draw_curves(chart, table, numbers.set_index("scan"), list(contents.scans), "um" if unit == "µm" else "voxel")
    _draw_noise(chart, numbers[numbers["noise_halves"].notna()])
    axes(chart, f"spatial frequency, 1/{unit}", "correlation")
    chart.update_yaxes(range=(-0.1, 1.05), row=1, col=1)
    chart.update_xaxes(title="scan", type="category", row=1, col=2)
    chart.update_yaxes(title=f"standard deviation, {_unit(numbers)}", rangemode="tozero", row=1, col=2)
    return chart


def _draw_curves(chart: Any, table: pd.DataFrame, numbers: pd.DataFrame, scans: list[str], unit: str) -> None:
    """Draw a curve a scan, where it falls below half a bit, and the thresholds."""
    along = f"frequency_per_{unit}"
    known = [k for k, scan in enumerate(scans) if scan in set(table["scan"])]
    for k in (known[i] for i in shown_scans(len(known), MOST)):
        part, color = table[table["scan"] == scans[k]], hue(k, len(scans))
        curve = scatter(
            x=part[along],
            y=part["correlation"],
            name=scans[k],
            mode="lines",
            line={"color": color, "width": 1.8},
            customdata=1 / part[along],
            hovertemplate=f"period %{{customdata:.3g}} {'µm' if unit == 'um' else unit}: %{{y:.3f}}",
        )
        chart.add_trace(curve, 1, 1)
        (at,) = numbers.loc[[scans[k]], f"resolution_{unit}"].to_numpy(float)
        if np.isfinite(at):
            chart.add_vline(1 / at, line={"color": color, "width": 1, "dash": "dot"}, row=1, col=1)
    first = table[table["scan"] == scans[known[0]]]
    thresholds = {"half a bit": ("dash", first["half_bit"]), "1/7": ("dot", np.full(len(first), 1 / 7))}
    for name, (dash, values) in thresholds.items():
        line = {"color": GREY, "width": 1.4, "dash": dash}
        level = scatter(x=first[along], y=values, name=name, mode="lines", line=line, hoverinfo="skip")
        chart.add_trace(level, 1, 1)


def _draw_noise(chart: Any, numbers: pd.DataFrame) -> None:
    """Draw the noise of a voxel of each scan, with its error."""
    marks = scatter(
        x=numbers["scan"],
        y=numbers["noise_halves"],
        error_y={"array": numbers["noise_halves_sigma"], "thickness": 1.4, "width": 4},
        mode="markers",
        marker={"color": BLUE, "size": 8},
        showlegend=False,
    )
    chart.add_trace(marks, 1, 2)


def resolved(contents: Contents) -> Sequence[str]:
    """Say down to which period structure stands above noise, in which scan that is worst, and how strong noise is."""
    _curves(contents)
    table = contents.table("reconstruction", "scan", "resolution_voxel", "resolution_um", "noise_halves", "halves")
    known = table[table["noise_halves"].notna()]
    said = []
    reached = known[known["resolution_voxel"].notna()]
    if len(reached):
        row = reached.sort_values("resolution_voxel").iloc[-1]
        said.append(f"The coarsest scan is {row['scan']}: a voxel holds half a bit down to {_period(row)}.")
    never = known[known["resolution_voxel"].isna()]
    if len(never):
        said.append(f"At no period does a voxel hold half a bit in {', '.join(never['scan'].astype(str))}.")
    if len(known):
        row = known.sort_values("noise_halves").iloc[-1]
        noise = plus_minus(float(row["noise_halves"]), float(row["noise_halves_sigma"]))
        where = f"in the box {row['halves']} of its volume"
        said.append(f"The noisiest scan is {row['scan']}: a voxel is uncertain by {noise} {_unit(known)}, {where}.")
    without = table[table["halves"].astype(str).str.startswith("not available")]
    if len(without):
        row = without.iloc[0]
        more = f" and {len(without) - 1} more" if len(without) > 1 else ""
        said.append(f"Of {row['scan']}{more} this is {row['halves']}.")
    return said


def _period(row: pd.Series) -> str:
    """Return a period in words, with what limits it."""
    size = f" ({row['resolution_um']:.3g} µm)" if np.isfinite(row["resolution_um"]) else ""
    finest = ", the finest that voxels hold" if row["resolution_voxel"] <= NYQUIST else ""
    return f"periods of {row['resolution_voxel']:.3g} voxels{size}{finest}"


def _unit(numbers: pd.DataFrame) -> str:
    units = set(numbers["unit"].dropna()) if "unit" in numbers else set()
    return str(units.pop()) if len(units) == 1 else "1/cm"


def _curves(contents: Contents) -> pd.DataFrame:
    """Return the curves of the scans that have one; where halves were not asked for, say how they are."""
    if "shell_correlation" not in contents.tables:
        raise AbsentError("the store has no table shell_correlation: it comes with reconstruction.halves = true")
    return contents.table("shell_correlation", "scan", "frequency_per_voxel", "frequency_per_um", "correlation")
