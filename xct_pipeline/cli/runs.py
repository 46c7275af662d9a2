"""Commands that run the pipeline."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xct_pipeline.cli.options import (
    PARTIAL,
    WRONG,
    Cluster,
    ConfigPath,
    Device,
    JsonFlag,
    Memory,
    Rows,
    Workers,
    parse_bytes,
    plan_of,
    print_json,
    uncollected,
    use_device,
)
from xct_pipeline.cli.terminal import start_logging, tell

if TYPE_CHECKING:
    from xct_pipeline.pipeline import RunResult
    from xct_pipeline.planning.plan import Plan


def run(
    config: ConfigPath = Path("run.toml"),
    until: Annotated[
        str | None, typer.Option(help="Last stage: reconstruction, registration, segmentation or variation.")
    ] = None,
    rows: Rows = None,
    memory: Memory = None,
    workers: Workers = None,
    cluster: Cluster = None,
    device: Device = "cpu",
    scan: Annotated[
        str | None, typer.Option(help="Bring only this scan to its volume, beside other such runs on the same store.")
    ] = None,
    reconstructed: Annotated[
        bool, typer.Option("--reconstructed", help="Take scans as they are: one without a whole volume has failed.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Run the pipeline, or go on where a run ended. Finished work is never repeated.

    Example: xct run run.toml --memory 16GB --until reconstruction
    """
    with uncollected():
        from xct_pipeline import pipeline
    from xct_pipeline.cli import answer, progress, show

    start_logging()
    if scan is not None and (cluster is not None or reconstructed or as_json):
        raise ValueError("--scan goes with neither --cluster nor --reconstructed nor --json")
    layout, started = plan_of(config, memory, workers, cluster, rows, until), time.monotonic()
    if scan is not None:
        _run_scan(layout, scan, use_device(device))
        return
    with progress.shown(layout) as course:
        result = pipeline.run(
            layout, course, on_device=use_device(device), watch=course.step, only_reconstructed=reconstructed
        )
    page = drawn_report(result)
    if as_json:
        print_json(show.run_facts(result) | {"answer": answer.run_answer(result)})
    elif result.unchanged:
        tell(f"nothing was to be done: {result.store.path} is finished")
        if page is not None:
            tell(f"report: {page}")
    else:
        answer.print_run(result, time.monotonic() - started, page)
    if len(result.failed) == len(result.scans):
        raise typer.Exit(WRONG)
    if result.refused:  # also where some scans failed: more scans would not bring mass
        from xct_pipeline.store.files import RefusedError

        raise RefusedError(f"no mass was written: {'; '.join(result.refused)}")
    if result.failed:
        raise typer.Exit(PARTIAL)


def _run_scan(layout: Plan, name: str, on_device: bool) -> None:
    """Bring one scan to its volume, and say so."""
    from xct_pipeline import pipeline
    from xct_pipeline.cli import progress
    from xct_pipeline.planning.one_scan import part_of, scan_named
    from xct_pipeline.scan import ScanError

    started = time.monotonic()
    with progress.shown(part_of(layout, scan_named(layout, name))) as course:
        result = pipeline.run_scan(layout, name, course, on_device=on_device, watch=course.step)
    if result.problem is not None:
        raise ScanError(result.problem if name in result.problem else f"{name}: {result.problem}")
    tell(f"{name} of {layout.config.store_path} is reconstructed after {time.monotonic() - started:.1f} s")


def drawn_report(result: RunResult) -> Path | None:
    """Draw the report, unless nothing has changed and it is there as it was drawn."""
    from xct_pipeline.report import is_current, write_report

    return None if result.unchanged and is_current(result.store.path) else write_report(result.store.path)


def demo(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to work.")] = Path("xct-demo"),
    workers: Workers = None,
    memory: Memory = None,
) -> None:
    """Simulate an operando NaK cell, run everything on it and tell how far the result is from the truth.

    Example: xct demo
    """
    with uncollected():
        from xct_pipeline import pipeline
    from xct_pipeline.cli import answer, progress, show
    from xct_pipeline.demo import compare, plan_demo

    start_logging()
    started = time.monotonic()
    there = (folder / "run.toml").exists()
    tell(f"{folder} holds a simulated cell already; going on with it" if there else f"simulating a cell in {folder}")
    layout = plan_demo(folder, workers, parse_bytes(memory))
    with progress.shown(layout) as course:
        result = pipeline.run(layout, course, watch=course.step)
    page = drawn_report(result) or result.store.path / "report.html"
    show.print_comparison(compare(folder, result.store))
    answer.print_run(result, time.monotonic() - started, page)
