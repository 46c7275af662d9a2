"""What the command line prints: facts, plans, progress and results, for people and (as plain values) for machines."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dask.utils import format_bytes
from rich.markup import escape
from rich.table import Column, Table

from xct_pipeline.cli.answer import answer_of, print_answer
from xct_pipeline.cli.kinds import require_scan, require_store
from xct_pipeline.cli.terminal import console, print_table, tell
from xct_pipeline.inputs import MOST_LINES, first_of, folded

if TYPE_CHECKING:
    from xct_pipeline.correction.steps.look import Look
    from xct_pipeline.engine.resources import Resources
    from xct_pipeline.engine.steps import Stage
    from xct_pipeline.pipeline import RunResult
    from xct_pipeline.planning.plan import Plan
    from xct_pipeline.planning.scan import ScanPlan
    from xct_pipeline.reconstruction.center.find import CenterEstimate

SHOWN = "raw scan or a store"  # by xct info


def facts_of(path: Path) -> dict[str, Any]:
    """Return what is in a raw scan or a store, as plain values."""
    from xct_pipeline.store.files import StoreError
    from xct_pipeline.store.store import Store

    if path.is_dir():
        require_store(path, SHOWN)
        store = Store(path)
        if not store.exists():
            raise StoreError(f"{path} is no store of xct; give a raw scan, or the folder that a run wrote")
        return store_facts(store)
    require_scan(path, SHOWN)
    from xct_pipeline.acquisition.checks import scan_facts
    from xct_pipeline.acquisition.steps import open_as_found

    return scan_facts(open_as_found(path))


def store_facts(store: Any) -> dict[str, Any]:
    """Return what a store holds: scans, images with shape and unit, tables, versions."""
    from natsort import natsorted

    from xct_pipeline.store.derived import with_ome
    from xct_pipeline.store.files import read_attributes
    from xct_pipeline.store.series import Series

    series = Series.open(store)
    images = {}
    for file in natsorted(store.path.rglob("zarr.json"), key=str):
        found = read_attributes(file.parent)
        xct = found.get("xct", {})
        if "identity" in xct and "ome" in with_ome(found):
            images[str(file.parent.relative_to(store.path))] = {
                "shape": xct["identity"]["shape"],
                "axes": "".join(xct["identity"]["axes"]),
                "unit": xct["unit"],
                "voxel_um": xct["identity"]["voxel_um"],
                "levels": xct["layout"][1],
            }
    tables = sorted(f.stem for f in (store.path / "tables").glob("*.csv"))
    return {
        "store": str(store.path),
        "answer": answer_of(series),
        "order": list(series.scans),
        "scans": series.files,
        "times_s": {name: _known(span) for name, span in zip(series.scans, series.spans_s, strict=True)},
        "reference": series.scans[series.reference] if series.scans else None,
        "failed": series.problems,
        "warnings": [f"{scan}: {text}" if scan else text for scan, text in series.warnings],
        "images": images,
        "tables": tables,
        "versions": series.versions,
    }


def _known(values: Sequence[float]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values]


def print_facts(path: Path | str, facts: Mapping[str, Any]) -> None:
    """Print facts, one a line, nested ones indented; of a store what it holds and, at the end, its answer."""
    tell(path)
    found = facts.get("answer")
    if found is None:
        _print_nested(facts, "  ")
        return
    _print_held(facts)
    print_answer(found)
    if found["report"]:
        tell(f"report: {found['report']}")


def _print_held(facts: Mapping[str, Any]) -> None:
    """Print the scans, images, tables and versions of a store."""
    scans = Table("scan", "file", "begins, s", "ends, s")
    for name in facts["order"]:
        span = ("" if value is None else f"{value:.10g}" for value in facts["times_s"][name])
        scans.add_row(escape(name), escape("\n".join(facts["scans"].get(name, ()))), *span)
    images = Table("image", Column("shape", no_wrap=True), "unit", "voxel, um", "levels")
    for name, about in facts["images"].items():
        shape = f"{about['axes']} {'x'.join(str(n) for n in about['shape'])}"
        voxel = "" if about["voxel_um"] is None else f"{about['voxel_um']:.6g}"
        images.add_row(escape(name), shape, escape(about["unit"]), voxel, str(about["levels"]))
    for table in (scans, images):
        if table.row_count:
            print_table(table)
    versions = (f"{name} {version}" for name, version in facts["versions"].items())
    for label, names in (("tables", facts["tables"]), ("versions", versions)):
        console().print(f"{label}: {escape(', '.join(names))}")


def _print_nested(facts: Mapping[str, Any], indent: str) -> None:
    width = max((len(str(key)) for key in facts), default=0)
    for key, value in facts.items():
        if isinstance(value, Mapping) and value:
            tell(f"{indent}{key}")
            _print_nested(value, indent + "  ")
        elif isinstance(value, (list, tuple)) and value and all(isinstance(v, str) for v in value):
            tell(f"{indent}{key:<{width}}  {value[0]}")
            for more in value[1:]:
                tell(f"{indent}{'':<{width}}  {more}")
        else:
            shown = f"{value:.6g}" if isinstance(value, float) else value
            tell(f"{indent}{key:<{width}}  {shown}")


def plan_facts(plan: Plan, looks: Mapping[str, Look]) -> dict[str, Any]:
    """Return a plan, and what a look at the frames of its scans told, as plain values."""
    scans = []
    for item in plan.scans:
        entry: dict[str, Any] = {"name": item.name, "problem": item.problem}
        if item.taken is not None:
            entry |= {"facts": item.facts(), "warnings": list(item.warnings)}
            entry["frames"] = _look_facts(looks[item.name]) if item.name in looks else None
            entry["passes"] = [
                {
                    "image": step.image.path,
                    "shape": step.image.shape,
                    "unit": step.image.unit,
                    "shards": len(step.shards()),
                    "task_bytes": step.memory(),
                    "ops": [op.name for op in step.ops],
                }
                for step in item.passes
            ]
        scans.append(entry)
    return {
        "store": str(plan.config.store_path),
        "workers": plan.workers,
        "processes": plan.processes,
        "memory_limit": plan.limits.memory,
        "memory_predicted": plan.memory_bytes,
        "disk_bytes": plan.disk_bytes,
        "seconds": sum(stage.seconds(plan.limits) for stage in plan.stages),
        "stages": [stage_facts(stage, plan.limits) for stage in plan.stages],
        "scans": scans,
    }


def _look_facts(look: Look) -> dict[str, Any]:
    return {
        "looked_at": look.looked_at,
        "there": look.there,
        "levels": look.levels,
        "findings": [asdict(found) for found in look.findings],
    }


def stage_facts(stage: Stage, limits: Resources) -> dict[str, Any]:
    """Return what a stage takes as plain values: all of it, and step by step."""
    steps = [
        {
            "name": need.name,
            "tasks": need.tasks,
            "workers": need.workers(limits),
            "task_bytes": need.task_bytes,
            "held_bytes": need.held_bytes,
            "memory_predicted": need.peak_bytes(limits),
            "cpu_s": need.cpu_s,
        }
        for need in stage.needs
    ]
    return {
        "stage": stage.stage,
        "tasks": stage.tasks,
        "memory_predicted": stage.peak_bytes(limits),
        "disk_bytes": stage.disk_bytes,
        "cpu_s": stage.cpu_s,
        "seconds": stage.seconds(limits),
        "steps": steps,
    }


def print_plan(plan: Plan, looks: Mapping[str, Look]) -> None:
    """Print the scans, what a look at their frames told, and what a run would take."""
    table = Table("scan", "projections", "flats", "darks", "pixel", "energy", "output", "shards", "per task")
    counted = set([item.name for item in plan.scans if item.taken is None][MOST_LINES:])  # not shown one by one
    for item in plan.scans:
        if item.taken is None:
            if item.name not in counted:
                table.add_row(escape(item.name), "[red]cannot be used[/red]")
            continue
        scan, step = item.taken, item.passes[-1]
        table.add_row(
            escape(item.name),
            *_input_cells(item),
            f"{scan.pixel_size_um:g} um" if scan.pixel_size_um else "unknown",
            f"{scan.energy_keV:g} keV" if scan.energy_keV else "unknown",
            f"{' x '.join(map(str, step.image.shape))} {step.image.unit}",
            str(len(step.shards())),
            format_bytes(step.memory()),
        )
    print_table(table)
    _print_looks(plan, looks)
    _print_remarks([(item.name, item.problem, item.warnings) for item in plan.scans])
    for step in plan.good[0].passes:
        tell(f"steps to {step.image.path}: {', '.join(op.name for op in step.ops)}")
    _print_stages(plan)


def _input_cells(item: ScanPlan) -> tuple[str, str, str]:
    """Return projections, flats and darks of a scan, or the volume that it starts from."""
    if item.volume is not None:
        return f"volume, {item.volume.format}", "-", "-"
    scan = item.scan
    assert scan is not None
    counts = (str(frames.shape[0] if frames else 0) for frames in (scan.flats, scan.darks))
    return " x ".join(map(str, scan.shape)), *counts  # type: ignore[return-value]


def _print_looks(plan: Plan, looks: Mapping[str, Look]) -> None:
    """Print the angles of each scan and the levels of the frames that were looked at."""
    from xct_pipeline.acquisition.checks import scan_facts

    table = Table("scan", "angles", "step", "flats", "darks", "transmission", "frames looked at")
    for item in plan.scans:
        if item.scan is None:
            continue
        facts, look = scan_facts(item.scan), looks.get(item.name)
        row = [f"{facts['angle_first_deg']:g} to {facts['angle_last_deg']:g}", f"{facts['angle_step_deg']:.4g} deg"]
        if look is not None:
            found = look.levels
            row += [f"{found[kind]:g}" if kind in found else "-" for kind in ("flats", "darks")]
            row.append(f"{found['transmission_least']:.3g} to {found['transmission_most']:.3g}")
            row.append(f"{sum(look.looked_at.values())} of {sum(look.there.values())}")
        table.add_row(escape(item.name), *row)
    print_table(table)


def _print_stages(plan: Plan) -> None:
    """Print what each stage takes, and the whole run."""
    limits = plan.limits
    table = Table("stage", "tasks", "at a time", "peak memory", "largest step", "disk, at most", "time, about")
    for stage in plan.stages:
        if not stage.needs:
            nothing = format_bytes(stage.disk_bytes), "nothing to compute"
            table.add_row(stage.stage, "0", "", format_bytes(stage.peak_bytes(limits)), "", *nothing)
            continue
        largest = max(stage.needs, key=lambda need: need.peak_bytes(limits))
        table.add_row(
            stage.stage,
            str(stage.tasks),
            str(max(need.workers(limits) for need in stage.needs)),
            format_bytes(stage.peak_bytes(limits)),
            f"{largest.name}: {format_bytes(largest.task_bytes)} per task",
            format_bytes(stage.disk_bytes),
            format_duration(stage.seconds(limits)),
        )
    print_table(table)
    seconds = sum(stage.seconds(limits) for stage in plan.stages)
    workers = max((need.workers(limits) for stage in plan.stages for need in stage.needs), default=1)
    processes = f" in {plan.processes} processes" if plan.processes else ""
    tell(
        f"store {plan.config.store_path}: at most {format_bytes(plan.disk_bytes)} on disk, {workers} "
        f"worker{'s' * (workers > 1)}{processes}, peak memory {format_bytes(plan.memory_bytes)} "
        f"(limit {format_bytes(limits.memory)}), about {format_duration(seconds)}"
    )


def format_duration(seconds: float) -> str:
    """Return a duration as people write it, 3 min."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.2g} {unit}"
    return f"{max(seconds, 1):.0f} s"


def _print_remarks(remarks: Iterable[tuple[str, str | None, Sequence[str]]]) -> None:
    """Print the problem and the warnings of each scan, one a line; alike ones are counted, the first ten lines told."""
    found = list(remarks)
    failed = folded([(name, problem) for name, problem, _ in found if problem])
    told = folded([(name, text) for name, _, texts in found for text in texts])
    problems = [f"[red]{escape(name)} failed:[/red] {escape(text)}" for name, text in failed]
    warnings = [f"[yellow]{escape(name)}: {escape(text)}[/yellow]" for name, text in told]
    for line in (*first_of(problems), *first_of(warnings)):
        console().print(line, soft_wrap=True)


def center_facts(estimate: CenterEstimate) -> dict[str, Any]:
    """Return a centre as plain values."""
    return {
        "center": estimate.center,
        "sigma": estimate.sigma,
        "agreement": estimate.agreement,
        "method": estimate.method,
        "metric_center": estimate.metric_center,
        "tilt_deg": estimate.tilt_deg,
        "tilt_sigma_deg": estimate.tilt_sigma,
        "warnings": list(estimate.warnings),
    }


def print_centers(found: Mapping[str, CenterEstimate]) -> None:
    """Print a table of centres."""
    table = Table(
        "scan", "centre, column", "sigma, columns", "other method, column", "difference, columns", "tilt, deg", "method"
    )
    for name, estimate in found.items():
        table.add_row(
            escape(name),
            f"{estimate.center:.3f}",
            _number(estimate.sigma),
            _number(estimate.metric_center),
            _number(estimate.agreement),
            _number(estimate.tilt_deg),
            estimate.method,
        )
    print_table(table)
    _print_remarks([(name, None, estimate.warnings) for name, estimate in found.items()])


def _number(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.3f}"


def run_facts(result: RunResult) -> dict[str, Any]:
    """Return the result of a run as plain values."""
    scans = [
        {
            "name": scan.name,
            "problem": scan.problem,
            "warnings": list(scan.warnings),
            "center": center_facts(scan.center) if scan.center else None,
            "images": {
                p.name: {
                    "computed": p.computed,
                    "reused": p.reused,
                    "seconds": p.seconds,
                    "counts": p.counts,
                    "changed": list(p.changed),
                }
                for p in scan.passes
            },
        }
        for scan in result.scans
    ]
    return {
        "store": str(result.store.path),
        "scans": scans,
        "warnings": list(result.warnings),
        "refused": list(result.refused),
        "unchanged": result.unchanged,
    }


def print_comparison(rows: Iterable[tuple[str, str, str, str, str]]) -> None:
    """Print what a demonstration recovered beside what is true."""
    table = Table("scan", "quantity", "recovered", "true", "difference", title="recovered against true")
    for row in rows:
        table.add_row(*row)
    print_table(table)
