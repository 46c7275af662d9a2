"""The page: every panel drawn or left out with its reason, put into the template."""

from __future__ import annotations

import math
from importlib import resources
from typing import Any

from markupsafe import Markup

from xct_pipeline.report import charts
from xct_pipeline.report.conclusions import balance_says, mass_says
from xct_pipeline.report.contents import AbsentError, Contents, warnings_of
from xct_pipeline.report.drawing import closure_words, time_unit
from xct_pipeline.report.markup import plus_minus
from xct_pipeline.report.panel import Panel
from xct_pipeline.report.sections import SECTIONS
from xct_pipeline.variation.steps.told import last_mass


def render(contents: Contents) -> str:
    """Return the page of a store; charts without the library that draws them where that is not to be embedded."""
    from jinja2 import Environment
    from plotly.offline import get_plotlyjs

    folder = resources.files("xct_pipeline.report")
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        (folder / "template.html.j2").read_text(encoding="utf-8")
    )
    drawn = [(section, [draw_panel(panel, contents) for panel in section.panels]) for section in SECTIONS]
    sections = [(section, panels) for section, panels in drawn if not all(panel["absent"] for panel in panels)]
    missing = [panel for _, panels in drawn if all(panel["absent"] for panel in panels) for panel in panels]
    interactive = any('class="chart' in panel["body"] for _, panels in sections for panel in panels)
    return template.render(
        title=title(contents),
        store=contents.store.path.name,
        facts=facts(contents),
        sections=sections,
        missing=missing,
        warnings=warnings_of(contents),
        said=[*mass_says(contents), *balance_says(contents)],
        plotly=Markup(get_plotlyjs()) if interactive and embeds(contents) else "",
        beside=f"../{library_name()}" if interactive and not embeds(contents) else "",
        style=Markup((folder / "style.css").read_text(encoding="utf-8")),
        script=Markup((folder / "page.js").read_text(encoding="utf-8")),
    )


def embeds(contents: Contents) -> bool:
    """Tell whether the library of charts is part of the page."""
    return bool((contents.config.get("report") or {}).get("embed", True))


def library_name() -> str:
    """Return the name of the library's file where it lies beside the stores of a folder."""
    from plotly.offline import get_plotlyjs_version

    return f"plotly-{get_plotlyjs_version()}.min.js"


def title(contents: Contents) -> str:
    """Return what the page is about: the experiment's title, else the species, the scans and how long they took."""
    called = (contents.config.get("experiment") or {}).get("title")
    if called:
        return str(called)
    count = f"{len(contents.scans)} scan{'s' * (len(contents.scans) != 1)}"
    known = [t for t in contents.times_s if math.isfinite(t)]
    span = max(known) - min(known) if known else 0.0
    divisor, unit = time_unit([span])
    when = f" over {span / divisor:.3g} {unit}" if span > 0 else ""
    species = (contents.config.get("variation") or {}).get("species")
    return f"Change of {species} in {count}{when}" if species else f"{count}{when}"


def draw_panel(panel: Panel, contents: Contents) -> dict[str, Any]:
    """Return a panel's title, text, body and what it concludes, or why it is left out."""
    try:
        body = panel.draw(contents)
    except AbsentError as reason:
        return {"title": panel.title, "text": "", "body": "", "said": [], "absent": str(reason)}
    return {"title": panel.title, "text": panel.text, "body": body, "said": panel.says(contents), "absent": ""}


TOLD = {"sample": ("sample", "sample_name"), "beamline": ("instrument",), "date": ("start",), "operator": ("operator",)}
"""What the head of the page begins with, and what the raw files call it."""


def told_facts(contents: Contents) -> list[tuple[str, str]]:
    """Return sample, beamline, date and operator: as the configuration says, else as all raw files do."""
    experiment, facts_of = contents.config.get("experiment") or {}, contents.series.facts
    files = [facts_of[name] for name in contents.scans if facts_of.get(name)]
    found = []
    for name, keys in TOLD.items():
        if experiment.get(name):
            found.append((name, str(experiment[name])))
            continue
        shared = ({str(f.get(key) or "")[: 10 if name == "date" else None] for f in files} for key in keys)
        alike = next((value for values in shared if len(values) == 1 for value in values if value), "")
        if name == "date" and not alike and files:
            days = sorted(str(f["start"])[:10] for f in files if f.get("start"))
            alike = f"{days[0]} to {days[-1]}" if days else ""
        found += [(name, alike)] if alike else []
    return found


def facts(contents: Contents) -> list[tuple[str, str]]:
    """Return the numbers at the head of the page."""
    found = told_facts(contents)
    try:
        level = contents.volume(contents.reference, 10**9)
        found.append(("volume", " × ".join(map(str, level.full)) + " voxels"))
        found.append(("voxel", f"{level.step:g} µm" if level.length == "µm" else "size unknown"))
    except AbsentError:
        pass
    variation = contents.config.get("variation") or {}
    if variation.get("species"):
        found.append(("species", str(variation["species"])))
    closure = variation.get("closure")
    if closure:
        found.append(("closure", closure_words(closure)))
    try:
        row = last_mass(contents.table("mass_balance", "scan", "mass_change_mg", "sigma_mg"))
        if row is not None:
            found.append((f"mass change, {row['scan']}", plus_minus(row["mass_change_mg"], row["sigma_mg"]) + " mg"))
    except AbsentError:
        pass
    fit = charts.fitted(contents)
    if "slope" in fit:
        found.append(("Faraday slope", plus_minus(*fit["slope"])))
    return found
