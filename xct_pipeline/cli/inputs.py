"""Commands on what goes in: simulated and measured scans, and the configuration."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from xct_pipeline.cli.kinds import kind_of, require_scan
from xct_pipeline.cli.options import (
    PARTIAL,
    WRONG,
    Cluster,
    ConfigPath,
    JsonFlag,
    Memory,
    Rows,
    Workers,
    plan_of,
    print_json,
    uncollected,
)
from xct_pipeline.cli.terminal import tell
from xct_pipeline.inputs import clean


def init(
    scans: Annotated[
        list[Path], typer.Argument(metavar="SCAN...|DIR", help="Raw scans in time order, or a folder of them.")
    ],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write instead of printing.")] = None,
    recipes: Annotated[
        list[Path] | None, typer.Option(help="Folder of recipes of your own, beside those in the user's folder.")
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="The recipe to use, where several recognise a file.")] = None,
    log: Annotated[Path | None, typer.Option(help="Log of the cycler: its columns and reading are filled in.")] = None,
) -> None:
    """Write a commented configuration with everything filled in that the files know.

    Of a folder, print what is in it (scans, references and the scans they belong to, logs, what is missing) and write
    run.toml; where a scan lacks something essential, write nothing and end with 1.

    Example: xct init scan_*.nxs -o run.toml, or xct init DIR && xct check && xct run
    """
    from xct_pipeline.cli import layouts
    from xct_pipeline.cli.log_template import with_log
    from xct_pipeline.cli.template import write_template
    from xct_pipeline.outputs import written_whole

    known = layouts.recipes_for(recipes or [], recipe)
    where = output.parent if output else Path.cwd()
    if len(scans) == 1 and scans[0].is_dir() and kind_of(scans[0]) in ("folder", "tiffs"):
        output = output or Path("run.toml")
        _require_new(output)
        text = write_template([], where, layouts.find(scans[0], known))
    else:
        for scan in scans:
            require_scan(scan)
        found = None
        if any(layouts.needs_folder(scan, known) for scan in scans):
            found = layouts.find(_common(scans), known, scans)
        text = write_template(scans, where, found)
    text = with_log(text, where, log)
    if output is None:
        print(clean(text) if sys.stdout.isatty() else text, end="")  # a file keeps every character of the paths
        return
    _require_new(output)
    with written_whole(output) as part:
        part.write_text(text)
    tell(f"wrote {output}; next: xct check {output}")


def _require_new(output: Path) -> None:
    if output.exists():
        raise ValueError(f"{output} exists; choose another name with -o, or remove it")


def _common(scans: list[Path]) -> Path:
    """Return the folder that holds all of some files."""
    return Path(os.path.commonpath([scan.absolute().parent for scan in scans]))


def check(
    config: ConfigPath = Path("run.toml"),
    memory: Memory = None,
    workers: Workers = None,
    cluster: Cluster = None,
    rows: Rows = None,
    as_json: JsonFlag = False,
) -> None:
    """Tell every error at once, the facts and frame levels of each scan, and what a run would take. Writes nothing.

    Example: xct check run.toml --memory 8GB
    """
    with uncollected():
        from xct_pipeline import pipeline
        from xct_pipeline.cli import echem, show
        from xct_pipeline.planning.inspection import inspected

    layout, looks = inspected(plan_of(config, memory, workers, cluster, rows))
    clocks = echem.clocks_of(layout)
    if as_json:
        print_json(show.plan_facts(layout, looks) | ({"electrochemistry": clocks} if clocks else {}))
    else:
        show.print_plan(layout, looks)
        echem.print_clocks(clocks)
    pipeline.refuse(layout)
    if any(item.problem for item in layout.scans):
        raise typer.Exit(WRONG if all(item.problem for item in layout.scans) else PARTIAL)


def schema(markdown: Annotated[bool, typer.Option("--markdown", help="As a page of text instead.")] = False) -> None:
    """Print every key of the configuration with type, default and meaning, as a JSON schema for editors.

    Example: xct schema > run.schema.json
    """
    from xct_pipeline.config import reference

    if markdown:
        print(reference.markdown(), end="")
    else:
        print_json(reference.schema())


def simulate(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write; made if need be.")],
    scans: Annotated[int, typer.Option(min=1, help="Number of scans, the pristine cell included.")] = 3,
    width: Annotated[int, typer.Option(min=64, help="Detector columns.")] = 160,
    rows: Annotated[int, typer.Option(min=32, help="Detector rows.")] = 96,
    angles: Annotated[int | None, typer.Option(min=24, help="Projections (default: follows from the width).")] = None,
    seed: Annotated[int, typer.Option(help="Of every random draw.")] = 0,
    scatter: Annotated[float, typer.Option(help="Share of the light in a smooth halo.")] = 0.0,
    scatter_pixels: Annotated[float, typer.Option(help="Standard deviation of the halo, pixels.")] = 20.0,
    nonlinearity: Annotated[float, typer.Option(help="Excess of the response to the full light.")] = 0.0,
    spectrum_keV: Annotated[float, typer.Option("--spectrum-kev", help="Width of the spectrum, keV.")] = 0.0,
    dark_drift: Annotated[float, typer.Option(help="Rise of the dark in the last scan, share of the light.")] = 0.0,
    gain_drift: Annotated[float, typer.Option(help="Change of the pixels' gains after the flats.")] = 0.0,
    log_late_s: Annotated[float, typer.Option(help="By which the cycler's clock is behind, s.")] = 0.0,
    uncharged: Annotated[float, typer.Option(help="Share of the lost mass that no charge explains (gas).")] = 0.0,
    voids: Annotated[str, typer.Option(help="inside or interface: where stripping begins.")] = "inside",
) -> None:
    """Write raw scans of a simulated operando cell, a cycler log and, apart from them, the truth.

    Example: xct simulate cell --scans 5
    """
    from xct_pipeline.demo import simulate_folder

    config = simulate_folder(
        folder,
        scans=scans,
        columns=width,
        rows=rows,
        angles=angles,
        seed=seed,
        scatter=scatter,
        scatter_pixels=scatter_pixels,
        nonlinearity=nonlinearity,
        spectrum_keV=spectrum_keV,
        dark_drift=dark_drift,
        gain_drift=gain_drift,
        log_late_s=log_late_s,
        uncharged=uncharged,
        voids=voids,
    )
    tell(f"wrote {config.parent}; next: xct run {config}")
