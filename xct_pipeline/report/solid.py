"""The series in 3-D beside the voltage profile: surfaces of loss and gain of one scan at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from xct_pipeline.report.changes import SIDE, Changes, smoothed_changes
from xct_pipeline.report.charts import abscissa, subplots
from xct_pipeline.report.contents import AbsentError, Array, Contents
from xct_pipeline.report.drawing import BLUE, GREY, INK, VERMILION, plain_unit, time_unit
from xct_pipeline.report.plotly_json import Chart, scatter, trace
from xct_pipeline.report.projection import surface_mesh
from xct_pipeline.report.region import Part

SIDES = (SIDE, 64, 40, 24)
OPACITIES = (0.3, 1.0)
"""Of the surfaces."""
TRIANGLES = 150_000
LOSS, GAIN = "#2166ac", "#b2182b"  # the ends of the diverging scale


def changes_in_space(contents: Contents) -> tuple[Any, str]:
    """Return the figure and a sentence on the levels of the surfaces."""
    changes, meshes = _surfaces(contents)
    chosen, parts, (faint, solid) = changes.scans, changes.parts, changes.levels
    places = {
        "column_widths": [0.58, 0.42],
        "row_heights": [0.5, 0.5],
        "horizontal_spacing": 0.1,
        "vertical_spacing": 0.16,
        "specs": [[{"type": "scene", "rowspan": 2}, {"type": "xy"}], [None, {"type": "xy"}]],
    }
    chart = subplots(2, 2, 560, places)
    owner: list[int | None] = [None]
    _outline(chart, parts[0])
    kinds = [(color, name, opacity) for opacity in OPACITIES for color, name in ((LOSS, "loss"), (GAIN, "gain"))]
    for position, found in enumerate(meshes):
        for mesh, (color, name, opacity) in zip(found, kinds, strict=True):
            chart.add_trace(_mesh(mesh, color, name, position == len(chosen) - 1, opacity), 1, 1)
            owner.append(position)
    fixed = _curves(chart, contents)
    owner += [None] * fixed
    for position, t in enumerate(chosen):
        for added in _marks(chart, contents, t, position == len(chosen) - 1):
            owner.append(position if added else None)
    steps = [
        {
            "label": contents.scans[t],
            "method": "restyle",
            "args": [{"visible": [who is None or who == position for who in owner]}],
        }
        for position, t in enumerate(chosen)
    ]
    drawn = {made["yaxis"] for made in chart.data if made["type"] == "scatter"}
    slider = {
        "active": len(chosen) - 1,
        "steps": steps,
        "currentvalue": {"prefix": "scan: "},
        "pad": {"t": 10},
        "len": 0.55 if drawn else 0.96,
        "x": 0.02,
    }
    chart.update_layout(sliders=[slider], showlegend=False, margin={"l": 10, "r": 20, "t": 20, "b": 50})
    for name, axis in (("y", "axis"), ("y2", "axis2")):
        if name not in drawn:
            chart.update_layout(**{f"x{axis}": {"visible": False}, f"y{axis}": {"visible": False}})
    _arrange_scene(chart, parts[0].level.length, wide=not drawn)
    unit = plain_unit(parts[0].level.unit)
    return chart, f"Loss is blue, gain red: half-transparent at ∓{faint:.3g} {unit}, solid at ∓{solid:.3g} {unit}."


def _surfaces(contents: Contents) -> tuple[Changes, list[list[Any]]]:
    """Return the changes, and per scan the surfaces of loss and gain at each level; small enough for a page.

    Where the finest size asks for too many triangles a coarser one is taken.
    """
    for side in SIDES:
        changes = smoothed_changes(contents, side)
        meshes = [
            [surface_mesh(sign * field, level, part.step, part.origin) for level in changes.levels for sign in (-1, 1)]
            for field, part in zip(changes.fields, changes.parts, strict=True)
        ]
        if sum(len(mesh[1]) for found in meshes for mesh in found if mesh is not None) <= TRIANGLES:
            break
    return changes, meshes


def _arrange_scene(chart: Chart, length: str, wide: bool) -> None:
    """Name the axes in space and place the eye; `wide` where nothing stands beside it."""
    plain = {"backgroundcolor": "white", "gridcolor": "#e3e6e9", "showbackground": False, "zeroline": False}
    plain |= {"tickfont": {"size": 10}, "ticks": "", "linecolor": "white", "gridwidth": 2}
    names = {
        f"{a}axis": {**plain, "nticks": 3, "title": {"text": f"{a}, {length}", "font": {"size": 11}}} for a in "xyz"
    }
    # far enough, and aside, for all labels to be seen at 800 px
    eye = {"eye": {"x": 2.25, "y": -2.92, "z": 1.87}, "center": {"x": -0.09, "y": -0.07, "z": -0.15}}
    chart.update_layout(scene={"aspectmode": "data", "camera": eye, **names})
    if wide:
        chart.update_layout(scene={"domain": {"x": [0.0, 1.0]}})


def _mesh(mesh: tuple[Array, Array] | None, color: str, name: str, visible: bool, opacity: float) -> Any:
    if mesh is None:
        return trace("mesh3d", x=[], y=[], z=[], i=[], j=[], k=[], visible=visible, name=name)
    (z, y, x), (i, j, k) = mesh[0].T, mesh[1].T
    small = np.uint16 if len(z) < 65536 else np.int32
    x, y, z = (np.ascontiguousarray(a, dtype=np.float32) for a in (x, y, z))
    return trace(
        "mesh3d",
        x=x,
        y=y,
        z=z,
        i=i.astype(small),
        j=j.astype(small),
        k=k.astype(small),
        color=color,
        name=name,
        opacity=opacity,
        visible=visible,
        hoverinfo="name",
        flatshading=False,
        lighting={"ambient": 0.55, "diffuse": 0.7, "specular": 0.15, "roughness": 0.7},
    )


def _outline(chart: Chart, part: Part) -> None:
    mesh = surface_mesh(part.inside.astype(np.float32), 0.5, part.step, part.origin)
    chart.add_trace({**_mesh(mesh, "#b8c0c7", "region", True, 0.10), "hoverinfo": "skip"}, 1, 1)


def _curves(chart: Chart, contents: Contents) -> int:
    """Draw voltage and mass against time; return how many traces that took."""
    count = 0
    label = abscissa(contents, contents.scans)[1]
    for name in ("cycler", "mass_balance"):
        try:
            table = contents.table(name, "time_s", "voltage_V")
        except AbsentError:
            continue
        if table["voltage_V"].notna().any():
            divisor = time_unit(contents.times_s)[0]
            chart.add_trace(
                scatter(
                    x=table["time_s"] / divisor,
                    y=table["voltage_V"],
                    mode="lines",
                    hoverinfo="x+y",
                    line={"color": INK, "width": 1.4},
                ),
                1,
                2,
            )
            chart.update_yaxes(title="voltage, V", row=1, col=2)
            count += 1
            break
    try:
        table = contents.table("mass_balance", "scan", "mass_change_mg", "sigma_mg")
        x, _ = abscissa(contents, table["scan"])
        chart.add_trace(
            scatter(
                x=x,
                y=table["mass_change_mg"],
                error_y={"array": table["sigma_mg"]},
                name="measured",
                mode="lines+markers",
                line={"color": BLUE, "width": 1.2},
            ),
            2,
            2,
        )
        count += 1
        if "faraday_mg" in table and table["faraday_mg"].notna().any():
            chart.add_trace(
                scatter(
                    x=x, y=table["faraday_mg"], name="Faraday's law", mode="lines", line={"color": GREY, "dash": "dash"}
                ),
                2,
                2,
            )
            count += 1
        chart.update_yaxes(title="mass change, mg", row=2, col=2)
    except AbsentError:
        pass
    chart.update_xaxes(title=label)
    return count


def _marks(chart: Chart, contents: Contents, t: int, visible: bool) -> list[bool]:
    """Mark a scan on the voltage and on the mass; one entry per trace added."""
    added = []
    name, when = contents.scans[t], contents.times_s[t] / time_unit(contents.times_s)[0]
    marker = {"color": VERMILION, "size": 13, "line": {"color": "white", "width": 1.5}}
    for row, column in ((1, "voltage_V"), (2, "mass_change_mg")):
        try:
            table = contents.table("mass_balance", "scan", column)
        except AbsentError:
            continue
        value = table.loc[table["scan"] == name, column]
        if len(value) and np.isfinite(when):
            chart.add_trace(
                scatter(x=[when], y=[float(value.iloc[0])], mode="markers", marker=marker, name=name, visible=visible),
                row,
                2,
            )
            added.append(True)
    return added
