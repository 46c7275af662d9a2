"""Which panels there are, in which order, and what they say."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from xct_pipeline.report import charts, figures, maps, solid
from xct_pipeline.report.contents import AbsentError, Contents, label_names, open_level
from xct_pipeline.report.markup import both, chart, chart_markup, frame_markup, picture, plus_minus, table

MAX_CONFIG = 200_000


@dataclass(frozen=True)
class Panel:
    """One thing to look at: what it is, what it says, and how it is drawn."""

    title: str
    text: str
    draw: Callable[[Contents], Markup]


@dataclass(frozen=True)
class Section:
    """A chapter of the page."""

    key: str
    title: str
    panels: tuple[Panel, ...]


def experiment(contents: Contents) -> Markup:
    """Draw the scans: raw files and times."""
    files, spans = contents.attributes.get("scans", {}), contents.attributes.get("times_s", {})
    rows = []
    for k, name in enumerate(contents.scans):
        start, end = spans.get(name) or (None, None)
        rows.append({"scan": name, "raw file": ", ".join(files.get(name, [])) or "–", "start, s": start, "end, s": end,
                     "role": "reference" if k == contents.reference else ""})  # fmt: skip
    if not rows:
        raise AbsentError("the store names no scans")
    return frame_markup(pd.DataFrame(rows))


def versions(contents: Contents) -> Markup:
    """Draw the versions of the software that made the store."""
    found = contents.attributes.get("versions") or {}
    if not found:
        raise AbsentError("no versions are kept in the store")
    items = Markup("").join(Markup("<li><span>{}</span> {}</li>").format(k, v) for k, v in sorted(found.items()))
    return Markup('<ul class="versions">{}</ul>').format(items)


def configuration(contents: Contents) -> Markup:
    """Draw the configuration as TOML."""
    import tomlkit

    if not contents.config:
        raise AbsentError("no configuration is kept in the store")
    text = tomlkit.dumps(_tables_last(contents.config))[:MAX_CONFIG]
    return Markup("<details><summary>Configuration with every default</summary><pre>{}</pre></details>").format(text)


def _tables_last(value: Any) -> Any:
    """Leave None out, which TOML has not, and put tables behind plain keys, where it wants them."""
    if isinstance(value, dict):
        kept = {k: _tables_last(v) for k, v in value.items() if v is not None}
        return dict(sorted(kept.items(), key=lambda item: isinstance(item[1], dict)))
    return [_tables_last(v) for v in value if v is not None] if isinstance(value, list) else value


def viewer(contents: Contents) -> Markup:
    """Draw the pristine cell: a slider through z beside two upright sections."""
    shown = figures.slices(contents)
    low, high, power = shown["tone"]
    frames = [("x–y, y up", shown["planes"][shown["start"]], shown["shape"][1:], "plane"),
              ("x–z, z up", shown["front"], (shown["shape"][0], shown["shape"][2]), "upright"),
              ("y–z, z up", shown["side"], (shown["shape"][0], shown["shape"][1]), "upright")]  # fmt: skip
    boxes = []
    for (name, source, (tall, wide), kind), bar in zip(frames, shown["bars"], strict=True):
        overlay = Markup('<img class="overlay" alt="" hidden>') if kind == "plane" and shown["overlays"] else ""
        line = Markup('<div class="cut"></div>') if kind == "upright" else ""
        boxes.append(
            Markup(
                '<figure><div class="frame {}" style="aspect-ratio:{} / {}"><img class="slice" alt="{}" src="{}">{}{}'
                '<div class="bar" style="width:{:.3f}%"></div><span class="bartext">{}</span></div>'
                "<figcaption>{}</figcaption></figure>"
            ).format(kind, wide, tall, name, source, overlay, line, bar["percent"], bar["text"], name)
        )
    data = {key: shown[key] for key in ("planes", "overlays", "fractions", "heights", "rows", "start")}
    toggle = Markup('<label><input type="checkbox" class="labels"> labels</label>') if shown["overlays"] else ""
    return Markup(
        '<div class="viewer"><div class="frames">{}</div><div class="controls"><label>z <input type="range" min="0" '
        'max="{}" value="{}" aria-label="slice along z"></label><output></output>{}<span class="grey"><i></i>'
        "<span>{:.3g}</span><span>{:.3g}</span><span>{:.3g}</span><b>attenuation, {}{}</b></span></div>"
        '<script type="application/json" class="slices">{}</script></div>'
    ).format(
        Markup("").join(boxes),
        len(shown["planes"]) - 1,
        shown["start"],
        toggle,
        low,
        low + (high - low) * 0.5 ** (1 / power),
        high,
        shown["unit"],
        "" if power == 1 else ", square-root scale",
        Markup(json.dumps(data).replace("<", "\\u003c")),
    )


def legend(contents: Contents) -> Markup:
    """Draw names and colours of the labels that the slider can lay over."""
    level = open_level(contents, "registered/labels/materials", 64, contents.reference)
    names, colors = label_names(level), figures.label_colours(level)
    items = [
        Markup('<li><i style="background:rgb{}"></i>{}</li>').format(str(colors[v]), names[v]) for v in sorted(names)
    ]
    return Markup('<ul class="legend">{}</ul>').format(Markup("").join(items))


def motion(contents: Contents) -> Markup:
    """Draw shift and rotation of each scan, from its matrix."""
    entries = [f"m{i}{j}" for i in range(3) for j in range(4)]
    level = contents.volume(contents.reference, 10**9)
    centre = np.array([*((n - 1) / 2 * level.step for n in level.shape), 1.0])
    rows = []
    for _, row in contents.table("registration", "scan", *entries).iterrows():
        matrix = row[entries].to_numpy(dtype=float).reshape(3, 4)
        if not np.isfinite(matrix).all():
            rows.append({"scan": row["scan"]})
            continue
        shift, turn = matrix @ centre - centre[:3], np.degrees(_rotation(matrix[:, :3]))
        shifts = {f"shift {axis}, {level.length}": s for axis, s in zip("zyx", shift, strict=True)}
        rows.append(
            {
                "scan": row["scan"],
                **shifts,
                "rotation z, °": turn[0],
                "rotation y, °": turn[1],
                "rotation x, °": turn[2],
            }
        )
    return frame_markup(pd.DataFrame(rows)) + Markup('<p class="note">{}</p>').format(
        "Where a point of the reference lies in the scan: shift of the volume's centre, and small angles."
    )


def _rotation(matrix: Any) -> Any:
    """Return small angles about z, y and x, rad, of a matrix in (z, y, x) order."""
    skew = (matrix - matrix.T) / 2
    return np.array([skew[2, 1], skew[0, 2], skew[1, 0]])


def significance(contents: Contents) -> Markup:
    """Draw how much of each map is beyond its decision limit."""
    rows = charts.significance(contents)
    if not rows:
        raise AbsentError("no areal map beside the reference's")
    return frame_markup(pd.DataFrame(rows))


def changes(contents: Contents) -> Markup:
    """Draw the surfaces in 3-D beside voltage and mass."""
    figure, sentence = solid.changes_in_space(contents)
    return chart_markup(figure) + Markup('<p class="note">{}</p>').format(sentence)


def fit(contents: Contents) -> Markup:
    """Draw the numbers of the Faraday fit."""
    found = charts.fitted(contents)
    if not found:
        raise AbsentError("the store has no table faraday")
    items = [Markup("<li><span>{}</span> {}</li>").format(name, plus_minus(*pair)) for name, pair in found.items()]
    return Markup('<ul class="versions">{}</ul>').format(Markup("").join(items))


def other_tables(contents: Contents) -> Markup:
    """Draw every table of the store, folded; long ones are cut."""
    names = sorted(name for name, rows in contents.tables.items() if not rows.empty)
    if not names:
        raise AbsentError("the store has no tables")
    return Markup("").join(table(name)(contents) for name in names)


SECTIONS: Sequence[Section] = (
    Section(
        "experiment",
        "Experiment",
        (
            Panel(
                "Scans", "Raw files as the store names them; times count from the start of the first scan.", experiment
            ),
            Panel("Software", "Versions of what computed the store.", versions),
            Panel("Configuration", "What was asked for; running it again gives the same store.", configuration),
        ),
    ),
    Section(
        "cell",
        "Pristine cell",
        (
            Panel(
                "Virtual cross-sections",
                "The reference scan in three planes on one grey scale. Drag the slider to move "
                "through z; the line in the upright sections marks the plane.",
                both(viewer, legend),
            ),
        ),
    ),
    Section(
        "map",
        "Mass variation",
        (
            Panel(
                "Maps beside the voltage profile",
                "Each column is a scan, marked on the profile where the store has one. Top: the change of density in "
                "3-D, seen from above at an angle. Below: its mean over the region, looked at from above (x–y), from "
                "the front (x–z) and from the side (y–z). One scale for all; losses are blue, gains red.",
                picture(maps.time_series, "time series of mass-variation maps below the voltage profile"),
            ),
            Panel(
                "The same in 3-D",
                "Turn it with the mouse and choose the scan with the slider; its place on the voltage "
                "profile and on the mass curve is marked in orange.",
                changes,
            ),
            Panel(
                "From slice to map",
                "One section of the last scan at each stage: the reconstruction, its registered difference to the "
                "reference, the change of density that the closure makes of it, and the integral along z.",
                picture(figures.workflow, "from the reconstructed slice to the areal map"),
            ),
        ),
    ),
    Section(
        "areal",
        "Areal maps",
        (
            Panel(
                "Change, error and significance",
                "Mass per area along the stack, its standard error, and their ratio; the black line holds what "
                "exceeds the decision limit, 1.645 σ, after smoothing over neighbours. Point at a pixel to read it.",
                both(chart(charts.areal), significance),
            ),
            Panel(
                "Between consecutive scans",
                "What changed from each scan to the next.",
                picture(maps.consecutive, "areal change between consecutive scans"),
            ),
        ),
    ),
    Section(
        "profiles",
        "Profiles",
        (
            Panel(
                "Depth",
                "Change of density against depth from the ceramic's surface.",
                chart(charts.profile, "depth_profile", "depth_um", "depth, µm"),
            ),
            Panel(
                "Radius",
                "Change of density against distance from the axis.",
                chart(charts.profile, "radial_profile", "radius_um", "radius, µm"),
            ),
        ),
    ),
    Section(
        "balance",
        "Faraday balance",
        (
            Panel(
                "Measured mass against charge",
                "Error bars are one standard deviation of the whole budget. A slope of 1 "
                "says that all charge was carried by the species. Below: the difference in units of its error.",
                both(chart(charts.faraday), fit),
            ),
            Panel(
                "What the error consists of",
                "Standard deviation of each scan's mass by cause; the bar across is their root sum of squares.",
                chart(charts.budget),
            ),
        ),
    ),
    Section(
        "interface",
        "Interface",
        (
            Panel(
                "Contact with the ceramic",
                "Share of the ceramic's surface that each material covers, this many voxels into the anode.",
                chart(charts.contact),
            ),
        ),
    ),
    Section(
        "labels",
        "Labels",
        (
            Panel(
                "Materials",
                "Labels laid over the registered volume, in the middle planes.",
                picture(figures.labels, "labels over sections"),
            ),
            Panel("Volume of each material", "Counted voxels times their volume.", chart(charts.label_volumes)),
        ),
    ),
    Section(
        "registration",
        "Registration",
        (
            Panel(
                "Before and after",
                "Each scan minus the reference. What the motion left at edges before is gone after; "
                "what stays is change and noise. One scale; rms of each picture in its title.",
                picture(figures.differences, "differences before and after registration"),
            ),
            Panel(
                "Residuals",
                "How well each scan lies on the reference and how its grey scale differs.",
                both(chart(charts.residuals), motion),
            ),
        ),
    ),
    Section(
        "reconstruction",
        "Reconstruction",
        (
            Panel(
                "Centre of rotation",
                "Score of trial centres by two independent methods, about the one that was taken.",
                chart(charts.centres),
            ),
            Panel(
                "Numbers",
                "Centre, its error and what was corrected in the raw data, per scan.",
                table("reconstruction"),
            ),
        ),
    ),
    Section(
        "tables",
        "Tables",
        (
            Panel(
                "Everything in tables/",
                "Units stand below the names of columns; whole files are in the store.",
                other_tables,
            ),
        ),
    ),
)
