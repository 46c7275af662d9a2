"""The command line, ``xct``."""

from __future__ import annotations

import errno
import json
import logging
import math
import os
import re
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

DONE, WRONG, REFUSED, PARTIAL, INTERRUPTED = 0, 1, 2, 3, 130

app = typer.Typer(
    name="xct",
    help="From a series of raw X-ray tomography scans to maps of the mass that left and entered.\n\n"
    "Start with [bold]xct demo[/bold], or with [bold]xct init scan_*.nxs > run.toml[/bold], "
    "[bold]xct check run.toml[/bold] and [bold]xct run run.toml[/bold].",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ConfigPath = Annotated[Path, typer.Argument(metavar="RUN.TOML", help="The configuration.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Memory = Annotated[
    str | None, typer.Option(help="Most memory the run may take, e.g. 8GB (default: 80 % of what is free).")
]
Workers = Annotated[int | None, typer.Option(help="Tasks at a time (default: the cores this process may use).")]
Cluster = Annotated[
    str | None, typer.Option(help="local:N for N worker processes, or tcp://HOST:PORT of a dask scheduler.")
]
Rows = Annotated[str | None, typer.Option(help="Detector rows a:b (half-open) instead of the configuration's.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]


def main() -> NoReturn:
    """Run the command; whatever a user can mend ends as one message and an exit code, never as a traceback."""
    try:
        code = app(standalone_mode=False) or DONE
    except Exception as error:
        message, code = _verdict(error)
        if message:  # none where the help was shown instead
            print(f"xct: {message}", file=sys.stderr)
    if code == INTERRUPTED:
        print("xct: stopped; the same command goes on where this one ended", file=sys.stderr)
    sys.exit(code)


def _verdict(error: Exception) -> tuple[str, int]:
    """Return what to tell about an error, and the exit code."""
    if isinstance(error, MemoryError):
        return "out of memory; lower --workers or --memory", REFUSED
    if isinstance(error, OSError):
        refused = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
        named = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
        return named, REFUSED if refused else WRONG
    if isinstance(error, ValueError):  # ConfigError and ScanError are
        return str(error), WRONG
    if hasattr(error, "format_message"):  # of the command line itself
        return str(error.format_message()), WRONG
    from xct_pipeline.store import RefusedError, StoreError  # here because it imports zarr

    if isinstance(error, RefusedError):
        return str(error), REFUSED
    if isinstance(error, StoreError):
        return str(error), WRONG
    if os.environ.get("XCT_DEBUG"):
        raise error
    return f"{type(error).__name__}: {error} (an error in xct itself; XCT_DEBUG=1 tells where)", WRONG


def parse_bytes(text: str | None) -> int | None:
    """Turn 8GB, 500 MB or 2GiB into bytes."""
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*([kMGT]?)(i?)B?\s*", text, re.IGNORECASE)
    if not match or float(match[1]) == 0:
        raise ValueError(f"--memory {text}: write a size such as 8GB or 500MB")
    base = 1024 if match[3] else 1000
    return int(float(match[1]) * base ** " kmgt".index(match[2].lower() or " "))


def parse_rows(text: str | None) -> tuple[int, int] | None:
    """Turn a:b into a pair."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+):(\d+)", text.strip())
    if not match or int(match[1]) >= int(match[2]):
        raise ValueError(f"--rows {text}: write first:stop with first < stop")
    return int(match[1]), int(match[2])


def _print_json(value: Any) -> None:
    from xct_pipeline.provenance import plain

    print(json.dumps(_finite(plain(value)), indent=1, allow_nan=False))


def _finite(value: Any) -> Any:
    """Turn numbers that JSON does not know (nan, inf) into null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _logging() -> None:
    logger = logging.getLogger("xct")
    logger.setLevel(logging.INFO)
    if logger.handlers:
        return
    if sys.stderr.isatty():
        from rich.logging import RichHandler

        logger.addHandler(RichHandler(show_path=False, show_time=False, markup=False))
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
        logger.addHandler(handler)


@app.command()
def init(
    scans: Annotated[list[Path], typer.Argument(metavar="SCAN...", help="Raw scans, in time order.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write instead of printing.")] = None,
) -> None:
    """Write a commented configuration with everything filled in that the files know.

    Example: xct init scan_*.nxs -o run.toml
    """
    from xct_pipeline.template import write_template

    text = write_template(scans, output.parent if output else Path.cwd())
    if output is None:
        print(text, end="")
        return
    if output.exists():
        raise ValueError(f"{output} exists; choose another name or remove it")
    output.write_text(text)
    print(f"wrote {output}; next: xct check {output}")


@app.command()
def check(
    config: ConfigPath,
    memory: Memory = None,
    workers: Workers = None,
    cluster: Cluster = None,
    rows: Rows = None,
    as_json: JsonFlag = False,
) -> None:
    """Tell every error at once, the facts of each scan, and what a run would take. Computes nothing.

    Example: xct check run.toml --memory 8GB
    """
    from xct_pipeline import show

    layout = _plan(config, memory, workers, cluster, rows)
    if as_json:
        _print_json(show.plan_facts(layout))
    else:
        show.print_plan(layout)
    if any(item.problem for item in layout.scans):
        raise typer.Exit(PARTIAL)


@app.command()
def center(
    config: ConfigPath,
    scan: Annotated[list[str] | None, typer.Option(help="Only these scans (names).")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Contact sheet (PNG).")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Find the centre of rotation: its uncertainty, the agreement of two methods, a labelled contact sheet.

    Example: xct center run.toml --scan scan_00
    """
    from xct_pipeline import pipeline, show
    from xct_pipeline.inspection import center_sheet

    _logging()
    settings = _load(config)
    found = pipeline.find_centers(settings, scan)
    sheet = output or config.with_name(f"{config.stem}_center.png")
    center_sheet(settings, found, sheet)
    if as_json:
        _print_json({name: show.center_facts(estimate) for name, estimate in found.items()})
    else:
        show.print_centers(found)
        print(f"contact sheet: {sheet}")
    _partial(settings, scan, found)


@app.command()
def run(
    config: ConfigPath,
    until: Annotated[
        str | None, typer.Option(help="Last stage: reconstruction, registration, segmentation or variation.")
    ] = None,
    rows: Rows = None,
    memory: Memory = None,
    workers: Workers = None,
    cluster: Cluster = None,
    device: Device = "cpu",
    as_json: JsonFlag = False,
) -> None:
    """Run the pipeline, or go on where a run ended. Finished work is never repeated.

    Example: xct run run.toml --memory 16GB --until reconstruction
    """
    from xct_pipeline import pipeline, show

    _logging()
    layout = _plan(config, memory, workers, cluster, rows, until)
    with show.progress() as progress:
        result = pipeline.run(layout, progress, on_device=_use_device(device))
    from xct_pipeline.report import write_report

    page = write_report(result.store.path)
    if as_json:
        _print_json(show.run_facts(result))
    else:
        show.print_run(result)
        print(f"report: {page}")
    if result.failed:
        raise typer.Exit(WRONG if len(result.failed) == len(result.scans) else PARTIAL)
    if result.refused:
        from xct_pipeline.store import RefusedError

        raise RefusedError(f"no mass was written: {'; '.join(result.refused)}")


@app.command()
def preview(
    config: ConfigPath,
    z: Annotated[int | None, typer.Option("--z", min=0, help="Detector row (default: the middle).")] = None,
    scan: Annotated[list[str] | None, typer.Option(help="Only these scans (names).")] = None,
    until: Annotated[
        str, typer.Option(help="reconstruction: a slice of each scan; registration: differences before and after it.")
    ] = "reconstruction",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Picture (PNG).")] = None,
) -> None:
    """Compute one slice of each scan with the code of a run, and draw it; or draw what registration did.

    Example: xct preview run.toml --z 40; after a run, xct preview run.toml --until registration
    """
    from xct_pipeline.inspection import preview_sheet, registration_sheet

    _logging()
    sheet = output or config.with_name(f"{config.stem}_preview.png")
    settings = _load(config)
    if until not in ("reconstruction", "registration"):
        raise ValueError(f"--until {until}: choose reconstruction or registration")
    if until == "registration":
        registration_sheet(settings, z, scan, sheet)
        print(f"wrote {sheet}")
        return
    drawn = preview_sheet(settings, z, scan, sheet)
    print(f"wrote {sheet}")
    _partial(settings, scan, drawn)


@app.command()
def view(
    path: Annotated[
        Path, typer.Argument(metavar="STORE_OR_TOML", help="A store, a raw scan, an OME-Zarr image or run.toml.")
    ],
) -> None:
    """Look at it in napari: volumes, registered series, labels, changes of mass, raw frames.

    Example: xct view store.zarr
    """
    from xct_pipeline.viewer import view as open_viewer

    open_viewer(path)


@app.command()
def sweep(
    config: ConfigPath,
    change: Annotated[str, typer.Argument(metavar="KEY=VALUES", help="correction.stripe.snr=2,3,5")],
    z: Annotated[int | None, typer.Option("--z", help="Detector row (default: the middle).")] = None,
    scan: Annotated[str | None, typer.Option(help="Which scan (default: the first).")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Contact sheet (PNG).")] = None,
) -> None:
    """Compute one slice with several values of one setting: a contact sheet on one grey scale. The file stays as it is.

    Example: xct sweep run.toml correction.stripe.snr=2,3,5 --z 40
    """
    from xct_pipeline.inspection import sweep_sheet

    _logging()
    sheet = output or config.with_name(f"{config.stem}_sweep.png")
    sweep_sheet(_load(config), change, z, scan, sheet)
    print(f"wrote {sheet} and {sheet.with_suffix('.tif')}")


@app.command()
def report(store: Annotated[Path, typer.Argument(metavar="STORE", help="A store.")]) -> None:
    """Write the HTML report of a store again, from the store alone.

    Example: xct report store.zarr
    """
    from xct_pipeline.report import write_report

    print(f"wrote {write_report(store)}")


@app.command()
def info(
    path: Annotated[Path, typer.Argument(metavar="SCAN_OR_STORE", help="A raw scan or a store.")],
    as_json: JsonFlag = False,
) -> None:
    """Tell what is in a raw scan or in a store.

    Example: xct info scan_00.nxs
    """
    from xct_pipeline import show

    facts = show.facts_of(path)
    if as_json:
        _print_json(facts)
    else:
        show.print_facts(path, facts)


@app.command()
def simulate(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write; made if need be.")],
    scans: Annotated[int, typer.Option(min=1, help="Number of scans, the pristine cell included.")] = 3,
    width: Annotated[int, typer.Option(min=64, help="Detector columns.")] = 160,
    rows: Annotated[int, typer.Option(min=32, help="Detector rows.")] = 96,
    angles: Annotated[int | None, typer.Option(min=16, help="Projections (default: follows from the width).")] = None,
    seed: Annotated[int, typer.Option(help="Of every random draw.")] = 0,
) -> None:
    """Write raw scans of a simulated operando cell, a cycler log and, apart from them, the truth.

    Example: xct simulate cell --scans 5
    """
    from xct_pipeline.demo import simulate_folder

    config = simulate_folder(folder, scans=scans, columns=width, rows=rows, angles=angles, seed=seed)
    print(f"wrote {config.parent}; next: xct run {config}")


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to work.")] = Path("xct-demo"),
    workers: Workers = None,
    memory: Memory = None,
) -> None:
    """Simulate an operando NaK cell, run everything on it and tell how far the result is from the truth.

    Example: xct demo
    """
    from xct_pipeline.demo import run_demo

    _logging()
    run_demo(folder, workers, parse_bytes(memory))


@app.command()
def export(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="A store.")],
    format: Annotated[
        str, typer.Option("--format", help="tiff: one file per slice; hdf5: one file per volume.")
    ] = "tiff",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder (default: beside the store).")] = None,
    scan: Annotated[list[str] | None, typer.Option(help="Only these scans (names).")] = None,
) -> None:
    """Write volumes in the formats of other tools, with voxel size and unit.

    Example: xct export store.zarr --format tiff
    """
    from xct_pipeline.export import export_store

    for written in export_store(store, format, output, scan):
        print(f"wrote {written}")


def _load(config: Path) -> Any:
    from xct_pipeline.config_file import load_config

    return load_config(config)


def _partial(settings: Any, asked: list[str] | None, done: Collection[str]) -> None:
    """End with the exit code for "some scans failed" where fewer were done than asked for."""
    from xct_pipeline.acquisition.stage import open_scans

    if len(done) < len(asked or open_scans(settings)):
        raise typer.Exit(PARTIAL)


def _plan(
    config: Path,
    memory: str | None,
    workers: int | None,
    cluster: str | None,
    rows: str | None,
    until: str | None = None,
) -> Any:
    from xct_pipeline import pipeline
    from xct_pipeline.resources import resources

    settings = _load(config)
    span = parse_rows(rows)
    if span is not None:
        settings = settings.model_copy(update={"acquisition": settings.acquisition.model_copy(update={"rows": span})})
    limits = resources(workers, parse_bytes(memory), cluster)
    return pipeline.plan(settings, limits, until)


def _use_device(device: str) -> bool:
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"--device {device}: choose auto, cpu or cuda")
    if device == "cpu":
        return False
    from xct_pipeline.device import cuda_problem
    from xct_pipeline.store import RefusedError

    problem = cuda_problem()
    if problem and device == "cuda":
        raise RefusedError(f"--device cuda: {problem}")
    return problem is None
