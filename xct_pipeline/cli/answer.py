"""The end of a run, and the head of what is told about a store: what was found, with errors, and what to mind."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from xct_pipeline.cli.terminal import console, print_table, said_before, tell
from xct_pipeline.inputs import first_of
from xct_pipeline.store import layout
from xct_pipeline.variation.steps.told import known, parts_of_error, slope_of

if TYPE_CHECKING:
    import pandas as pd

    from xct_pipeline.pipeline import RunResult
    from xct_pipeline.store.series import Series

MATRIX = [[f"m{i}{j}" for j in range(4)] for i in range(3)]
PER_SCAN = ("mass_change_mg", "mass_change_sigma_mg", "faraday_mg", "center", "center_sigma", "shift", "turn_deg")


def answer_of(series: Series) -> dict[str, Any]:
    """Return what a run found, as plain values.

    Returns
    -------
    dict
        ``species``, ``slope`` and ``slope_sigma`` of measured against Faraday's mass; ``scans``: mass change in mg with
        error, centre in detector columns with error, motion of the middle of the volume in `length` and turn in
        degrees; ``error``: of the last scan that has a mass change, its error and the parts of it in mg, the largest
        first; ``warnings``: each text once, with its scans; ``report``. None for what is not known.
    """
    tables = series.tables
    slope, slope_sigma = slope_of(tables.get("faraday"))
    reference = series.scans[series.reference] if series.scans else ""
    moved, length = _motions(series, tables.get("registration"), reference)
    rows = {name: {**_masses(tables, name), **_center(tables, name), **moved.get(name, {})} for name in series.scans}
    report = series.store.path / layout.REPORT
    return {
        "species": (series.config.get("variation") or {}).get("species"),
        "slope": slope,
        "slope_sigma": slope_sigma,
        "reference": reference or None,
        "length": length,
        "scans": [
            {"name": name, "problem": series.problems.get(name), **{key: rows[name].get(key) for key in PER_SCAN}}
            for name in series.scans
        ],
        "error": _error(tables, [name for name in series.scans if name != reference]),
        "warnings": [{"text": text, "scans": scans} for text, scans in grouped(series.warnings)],
        "report": str(report) if report.exists() else None,
    }


def grouped(warnings: Iterable[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    """Return each text once, with the scans that it was told of."""
    found: dict[str, list[str]] = {}
    for scan, text in warnings:
        scans = found.setdefault(text, [])
        if scan and scan not in scans:
            scans.append(scan)
    return list(found.items())


def _row(tables: Mapping[str, pd.DataFrame], table: str, scan: str) -> Mapping[str, Any]:
    rows = tables.get(table)
    if rows is None or "scan" not in rows:
        return {}
    chosen = rows[rows["scan"].astype(str) == scan]
    return dict(chosen.iloc[0]) if len(chosen) else {}


def _masses(tables: Mapping[str, pd.DataFrame], scan: str) -> dict[str, float | None]:
    row = _row(tables, "mass_balance", scan)
    names = {"mass_change_mg": "mass_change_mg", "mass_change_sigma_mg": "sigma_mg", "faraday_mg": "faraday_mg"}
    return {key: known(row.get(column)) for key, column in names.items()}


def _error(tables: Mapping[str, pd.DataFrame], scans: Sequence[str]) -> dict[str, Any] | None:
    """Return the error of the last of some scans of which there is one, and its parts."""
    for scan in reversed(scans):
        found, parts = _masses(tables, scan), parts_of_error(_row(tables, "mass_balance", scan))
        if parts and found["mass_change_mg"] is not None and found["mass_change_sigma_mg"] is not None:
            return {"scan": scan, **found, "parts_mg": parts}
    return None


def _center(tables: Mapping[str, pd.DataFrame], scan: str) -> dict[str, float | None]:
    row = _row(tables, "reconstruction", scan)
    return {key: known(row.get(key)) for key in ("center", "center_sigma")}


def _motions(
    series: Series, table: pd.DataFrame | None, reference: str
) -> tuple[dict[str, dict[str, float | None]], str | None]:
    """Return how far each scan's middle moved and how far it turned, and the unit of length."""
    import numpy as np

    from xct_pipeline.store.derived import open_array

    path = series.volumes.get(reference)
    if table is None or path is None or not {"scan", "m23"} <= set(table.columns):
        return {}, None
    size, voxel = open_array(series.store.path / path / "0").shape, series.voxel_um(path)
    middle = (np.array(size) - 1) / 2 * (voxel or 1.0)
    found: dict[str, dict[str, float | None]] = {}
    for _, row in table.iterrows():
        matrix = np.array([[row[name] for name in line] for line in MATRIX], float)
        shift = float(np.linalg.norm(matrix[:, :3] @ middle + matrix[:, 3] - middle))
        turned = matrix[:, :3] - matrix[:, :3].T
        angle = float(np.degrees(np.linalg.norm(turned[[2, 0, 1], [1, 2, 0]]) / 2))
        found[str(row["scan"])] = {"shift": known(shift), "turn_deg": known(angle)}
    return found, "um" if voxel else "voxel"


def print_answer(answer: Mapping[str, Any]) -> None:
    """Print a line for each scan, the balance, and every warning once."""
    species, unit = answer["species"] or "mass", answer["length"] or ""
    heads = {
        "mass_change_mg": f"change of {species}, mg",
        "faraday_mg": "by charge, mg",
        "center": "centre, column",
        "shift": f"motion, {unit}",
        "turn_deg": "turn, deg",
    }
    errors = {"mass_change_mg": "mass_change_sigma_mg", "center": "center_sigma"}
    columns = [key for key in heads if any(scan[key] is not None for scan in answer["scans"])]
    table = Table("scan", *(escape(heads[key]) for key in columns))
    for scan in answer["scans"]:
        cells = [with_error(scan[key], scan.get(errors.get(key, ""))) for key in columns]
        if scan["problem"]:
            cells = ["[red]failed[/red]", *cells[1:]] if cells else []
        elif scan["name"] == answer["reference"] and "mass_change_mg" in columns:
            cells[columns.index("mass_change_mg")] = "reference"
        table.add_row(escape(scan["name"]), *cells)
    if columns:
        print_table(table)
    if answer["slope"] is not None:
        tell(
            f"slope of the Faraday balance: {with_error(answer['slope'], answer['slope_sigma'])} "
            f"(1 where {species} carries all the charge)"
        )
    if answer["error"] is not None:
        tell(_error_line(answer["error"]))
    _print_remarks(answer)


def _error_line(error: Mapping[str, Any]) -> str:
    """Say how large an error is and what most of it comes from: parts above a third of the largest."""
    mass, sigma, parts = abs(error["mass_change_mg"]), error["mass_change_sigma_mg"], error["parts_mg"]
    share = sigma < mass / 2  # otherwise there may be no change to be a share of

    def size(value: float) -> str:
        return f"{100 * value / mass:.2g} %" if share else f"{value:.2g} mg"

    large = [name for name, part in parts.items() if part > max(parts.values()) / 3][:3]
    total = f"{size(sigma)} of its change" if share else size(sigma)
    return f"error of {error['scan']}: {total}, from {', '.join(f'{name} {size(parts[name])}' for name in large)}"


def _print_remarks(answer: Mapping[str, Any]) -> None:
    failed = [(scan["name"], scan["problem"]) for scan in answer["scans"] if scan["problem"]]
    problems = [f"{name} failed: {problem.removeprefix(f'{name}: ')}" for name, problem in failed]
    new = [entry for entry in answer["warnings"] if not said_before(entry["text"])]
    texts = [": ".join(filter(None, (_names(entry["scans"]), entry["text"]))) for entry in new]
    above = len(answer["warnings"]) - len(new)
    for line in first_of(problems):
        console().print(f"[red]{escape(line)}[/red]", soft_wrap=True)
    if above:
        tell(f"{above} warning{'s' * (above > 1)} above, kept in run.log")
    if texts:
        tell(f"{len(texts)} {'more ' if above else ''}warning{'s' * (len(texts) > 1)}:")
    for line in first_of(texts):
        console().print(f"  [yellow]{escape(line)}[/yellow]", soft_wrap=True)


def _names(scans: Sequence[str]) -> str:
    return ", ".join(scans) if len(scans) <= 3 else f"{scans[0]}, {scans[1]} and {len(scans) - 2} more scans"


def with_error(value: float | None, sigma: float | None) -> str:
    """Return a value with two digits of its error, "-" where it is unknown."""
    if value is None:
        return "-"
    if sigma is None or sigma <= 0:
        return f"{value:.4g}"
    digits = max(0, 1 - math.floor(math.log10(sigma)))
    return f"{value:.{digits}f} +- {sigma:.{digits}f}"


def run_answer(result: RunResult) -> dict[str, Any]:
    """Return the answer of a run that has ended: that of its store, with the failures and warnings of this run."""
    from xct_pipeline.store.series import Series

    found = answer_of(Series.open(result.store))
    problems = {scan.name: scan.problem for scan in result.scans}
    for scan in found["scans"]:
        scan["problem"] = problems.get(scan["name"], scan["problem"])
    pairs = [(scan.name, text) for scan in result.scans for text in scan.warnings] + [("", t) for t in result.warnings]
    found["warnings"] = [{"text": text, "scans": scans} for text, scans in grouped(pairs)]
    return found


def print_run(result: RunResult, seconds: float, report: Path | None) -> None:
    """Print the answer of a run, where its report is, and what was computed and reused."""
    print_answer(run_answer(result))
    passes = [done for scan in result.scans for done in scan.passes] + list(result.passes)
    for done in passes:
        if done.changed:
            tell(f"{done.name} was computed anew: {'; '.join(done.changed[:3])}")
    images = {done.name for done in passes}
    others = [outcome for name, outcome in result.outcomes.items() if name not in images]
    computed = sum(done.computed for done in passes), others.count("executed")
    reused = sum(done.reused for done in passes), others.count("reused")
    told = f"computed {_counted(computed)}, reused {_counted(reused)}"
    if report is not None:
        tell(f"report: {report}")
    failed, count = len(result.failed), len(result.scans)
    state = "finished" if not failed else f"{failed} of {count} scans failed, the others are finished"
    state = "all scans failed" if failed == count else state
    tell(f"{state}: {result.store.path}; {told}, in {duration(seconds)}")


def _counted(pair: tuple[int, int]) -> str:
    names = ("shard", "estimate")
    return " and ".join(f"{n} {name}{'s' * (n != 1)}" for n, name in zip(pair, names, strict=True) if n) or "nothing"


def duration(seconds: float) -> str:
    """Return a measured duration, 1 h 02 min, 3 min 05 s or 12 s."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"
