"""One page about logs and spectra without any scan."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd
from markupsafe import Markup

from xct_pipeline.electrochemistry.charge import is_swept
from xct_pipeline.electrochemistry.log import CyclerLog
from xct_pipeline.electrochemistry.steps.files import Found
from xct_pipeline.electrochemistry.steps.tables import (
    Taken,
    cycling_table,
    log_table,
    spectra_tables,
    voltammetry_table,
)
from xct_pipeline.report.contents import Contents
from xct_pipeline.report.echem_sections import ELECTROCHEMISTRY
from xct_pipeline.report.page import draw_panel
from xct_pipeline.store.files import write_atomic
from xct_pipeline.store.series import Series
from xct_pipeline.store.store import Store


@dataclass(frozen=True)
class OfFiles(Contents):
    """Tables without a store."""

    found: dict[str, pd.DataFrame]

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """Tables by their names."""
        return self.found

    @property
    def reference(self) -> int:
        """Of no scan at all."""
        return 0


def write_page(found: Found, file: Path) -> Path:
    """Draw logs and spectra on one page that needs no network."""
    from jinja2 import Environment
    from plotly.offline import get_plotlyjs

    contents = OfFiles(Series(Store(file.parent), {}, ()), tables_of(found))
    panels = [draw_panel(panel, contents) for panel in ELECTROCHEMISTRY.panels]
    folder = resources.files("xct_pipeline.report")
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        (folder / "template.html.j2").read_text(encoding="utf-8")
    )
    names = [path.name for path, _ in found.logs] + [spectrum.name for _, spectrum, _ in found.spectra]
    text = template.render(
        title="Electrochemistry",
        store=", ".join(names[:3]) + (" ..." if len(names) > 3 else ""),
        facts=[("logs", str(len(found.logs))), ("spectra", str(len(found.spectra)))],
        sections=[(ELECTROCHEMISTRY, [panel for panel in panels if not panel["absent"]])],
        missing=[],
        warnings=[(path.name, note) for path, log in found.logs for note in log.notes]
        + [(spectrum.name, note) for _, spectrum, result in found.spectra for note in result.notes],
        plotly=Markup(get_plotlyjs()),
        style=Markup((folder / "style.css").read_text(encoding="utf-8")),
        script=Markup((folder / "page.js").read_text(encoding="utf-8")),
    )
    write_atomic(file, text.encode())
    return file


def tables_of(found: Found) -> dict[str, pd.DataFrame]:
    """Return the tables that a store would hold of these files."""
    tables: dict[str, pd.DataFrame] = {}
    if found.spectra:
        tables |= spectra_tables([Taken(spectrum, result, spectrum.time_s) for _, spectrum, result in found.spectra])
    if found.logs:
        logs = [log_table(log).assign(file=path.name) for path, log in found.logs]
        tables["cycler"] = pd.concat(logs, ignore_index=True)
        log = found.logs[0][1]
        if sweeps(log):
            tables["voltammetry"] = voltammetry_table(log)
        elif np.ptp(log.charge_C) > 0:
            tables["cycling"] = cycling_table(log)
    return tables


def sweeps(log: CyclerLog) -> bool:
    """Tell whether a log is a voltammogram: its voltage changes at a steady rate and turns."""
    return log.current_A is not None and is_swept(log.time_s, log.voltage_V)
