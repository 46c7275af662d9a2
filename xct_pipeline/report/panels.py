"""The panels that are more than one picture or chart: tables, lists, the slice viewer, things that go together."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from xct_pipeline.report import areal, charts, figures, solid
from xct_pipeline.report.colours import label_colours
from xct_pipeline.report.conclusions import balance_says
from xct_pipeline.report.contents import AbsentError, Array, Contents, label_names, open_level
from xct_pipeline.report.markup import SCROLLS, chart_markup, frame_markup, plus_minus, table

MAX_CONFIG = 200_000
SHARED = {
    "title": ("title", "{}"),
    "sample": ("sample", "{}"),
    "sample_name": ("sample", "{}"),
    "instrument": ("instrument", "{}"),
    "start": ("start of the first scan", "{}"),
    "distance_mm": ("sample to detector", "{:g} mm"),
}
"""What files say alike, in words and as it is shown."""
FIT_NAMES = {"slope": "slope of measured against Faraday's mass", "leakage": "share of the charge that leaks"}


def experiment(contents: Contents) -> Markup:
    """Draw the scans: raw files, times, and what was recorded."""
    series, facts = contents.series, contents.series.facts
    rows = []
    for k, name in enumerate(contents.scans):
        start, end = series.spans_s[k]
        rows.append(
            {
                "scan": name,
                "raw file": ", ".join(series.files[name]) or "–",
                "start, s": start,
                "end, s": end,
                **_recorded(facts.get(name) or {}),
                "role": "reference" if k == contents.reference else "",
            }
        )
    if not rows:
        raise AbsentError("the store names no scans")
    return frame_markup(pd.DataFrame(rows)) + _shared_facts(facts)


def _recorded(facts: dict[str, Any]) -> dict[str, Any]:
    if not facts:
        return {}
    if facts.get("starts_from") == "volume":
        size = " × ".join(map(str, facts.get("shape") or ()))
        return {
            "starts from": f"volume, {facts.get('format')}, {size}",
            "pixel, µm": facts.get("pixel_size_um"),
            "energy, keV": facts.get("energy_keV"),
        }
    return {
        "projections × rows × columns": " × ".join(str(facts.get(k, "?")) for k in ("projections", "rows", "columns")),
        "range, °": facts.get("angle_range_deg"),
        "flats": facts.get("flats"),
        "darks": facts.get("darks"),
        "pixel, µm": facts.get("pixel_size_um"),
        "energy, keV": facts.get("energy_keV"),
    }


def _shared_facts(facts: dict[str, dict[str, Any]]) -> Markup:
    """Draw what else all files say alike: sample, instrument, the day."""
    first = next(iter(facts.values()), {})
    items = [
        Markup("<li><span>{}</span> {}</li>").format(words, shown.format(first[key]))
        for key, (words, shown) in SHARED.items()
        if first.get(key) is not None and (key == "start" or all(f.get(key) == first[key] for f in facts.values()))
    ]
    return Markup('<ul class="versions">{}</ul>').format(Markup("").join(items)) if items else Markup("")


def versions(contents: Contents) -> Markup:
    """Draw the versions of the software that made the store."""
    found = contents.series.versions
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
    return Markup("<details><summary>Configuration with every default</summary><pre {}>{}</pre></details>").format(
        SCROLLS.format("configuration"), text
    )


def _tables_last(value: object) -> Any:
    """Leave None out, which TOML has not, and put tables behind plain keys, where it wants them."""
    if isinstance(value, dict):
        kept = {k: _tables_last(v) for k, v in value.items() if v is not None}
        return dict(sorted(kept.items(), key=lambda item: isinstance(item[1], dict)))
    return [_tables_last(v) for v in value if v is not None] if isinstance(value, list) else value


def viewer(contents: Contents) -> Markup:
    """Draw the pristine cell: a slider through z beside two upright sections."""
    shown = figures.slices(contents)
    low, high, power = shown["tone"]
    frames = [
        ("x–y, y up", shown["planes"][shown["start"]], shown["shape"][1:], "plane"),
        ("x–z, z up", shown["front"], (shown["shape"][0], shown["shape"][2]), "upright"),
        ("y–z, z up", shown["side"], (shown["shape"][0], shown["shape"][1]), "upright"),
    ]
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
    names, colors = label_names(level), label_colours(level)
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
        left = row.get("undetermined")
        if isinstance(left, str) and left:
            rows[-1]["not determined, left at the start"] = ", ".join(left.split()).replace("_", " ")
    return frame_markup(pd.DataFrame(rows)) + Markup('<p class="note">{}</p>').format(
        "Where a point of the reference lies in the scan: shift of the volume's centre, and small angles."
    )


def _rotation(matrix: Array) -> Any:
    """Return small angles about z, y and x, rad, of a matrix in (z, y, x) order."""
    skew = (matrix - matrix.T) / 2
    return np.array([skew[2, 1], skew[0, 2], skew[1, 0]])


def areal_maps(contents: Contents) -> Markup:
    """Draw the areal maps, and how much of each is beyond its decision limit."""
    figure, sentence = areal.areal(contents)
    drawn = chart_markup(figure) + Markup('<p class="note">{}</p>').format(sentence)
    rows = areal.significance(contents)
    return drawn + frame_markup(pd.DataFrame(rows)) if rows else drawn


def changes(contents: Contents) -> Markup:
    """Draw the surfaces in 3-D beside voltage and mass."""
    figure, sentence = solid.changes_in_space(contents)
    return chart_markup(figure) + Markup('<p class="note">{}</p>').format(sentence)


def fit(contents: Contents) -> Markup:
    """Draw the numbers of the Faraday fit, and what they say."""
    found = charts.fitted(contents)
    if not found:
        raise AbsentError("the store has no table faraday")
    named = [
        (FIT_NAMES.get(name, name), plus_minus(*pair))
        for name, pair in found.items()
        if name not in ("chi2", "degrees")
    ]
    degrees = round(found.get("degrees", (0.0, 0.0))[0])
    if degrees > 0 and "chi2" in found:
        named.append(("χ²", f"{found['chi2'][0]:.3g} for {degrees} degree{'s' * (degrees > 1)} of freedom"))
    items = Markup("").join(Markup("<li><span>{}</span> {}</li>").format(*pair) for pair in named)
    said = Markup("").join(Markup('<p class="conclusion">{}</p>').format(text) for text in balance_says(contents))
    return Markup('{}<ul class="versions">{}</ul>').format(said, items)


def other_tables(contents: Contents) -> Markup:
    """Draw every table of the store, folded; long ones are cut."""
    names = sorted(name for name, rows in contents.tables.items() if not rows.empty)
    if not names:
        raise AbsentError("the store has no tables")
    return Markup("").join(table(name)(contents) for name in names)
