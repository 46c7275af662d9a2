"""Commands that compute a little, to choose settings by eye: center, preview, sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xct_pipeline.cli.options import ConfigPath, JsonFlag, end_partial, load, print_json
from xct_pipeline.cli.terminal import start_logging, tell


def center(
    config: ConfigPath,
    scan: Annotated[list[str] | None, typer.Option(help="Only these scans (names).")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Contact sheet (PNG).")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Find the centre of rotation: its uncertainty, the agreement of two methods, a labelled contact sheet.

    Example: xct center run.toml --scan scan_00
    """
    from xct_pipeline.cli import show
    from xct_pipeline.planning import preview as previewing
    from xct_pipeline.report.center_sheet import center_sheet

    start_logging()
    settings = load(config)
    found = previewing.find_centers(settings, scan)
    sheet = output or config.with_name(f"{config.stem}_center.png")
    center_sheet(settings, found, sheet)
    if as_json:
        print_json({name: show.center_facts(estimate) for name, estimate in found.items()})
    else:
        show.print_centers(found)
        tell(f"contact sheet: {sheet}")
    end_partial(settings, scan, found)


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
    from xct_pipeline.report.sheets import preview_sheet, registration_sheet

    start_logging()
    sheet = output or config.with_name(f"{config.stem}_preview.png")
    settings = load(config)
    if until not in ("reconstruction", "registration"):
        raise ValueError(f"--until {until}: choose reconstruction or registration")
    if until == "registration":
        registration_sheet(settings, z, scan, sheet)
        tell(f"wrote {sheet}")
        return
    drawn = preview_sheet(settings, z, scan, sheet)
    tell(f"wrote {sheet}")
    end_partial(settings, scan, drawn)


def sweep(
    config: ConfigPath,
    change: Annotated[str, typer.Argument(metavar="KEY=VALUES", help="correction.stripe.snr=2,3,5")],
    z: Annotated[int | None, typer.Option("--z", help="Detector row (default: the middle).")] = None,
    scan: Annotated[str | None, typer.Option(help="Which scan (default: the first).")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Contact sheet (PNG).")] = None,
    look: Annotated[bool, typer.Option("--view", help="Then open the slices as a stack in napari.")] = False,
) -> None:
    """Compute one slice with several values of one setting: a contact sheet on one grey scale. The file stays as it is.

    Example: xct sweep run.toml correction.stripe.snr=2,3,5 --z 40 --view
    """
    from xct_pipeline.report.sheets import sweep_sheet

    start_logging()
    sheet = output or config.with_name(f"{config.stem}_sweep.png")
    sweep_sheet(load(config), change, z, scan, sheet)
    stack = sheet.with_suffix(".tif")
    tell(f"wrote {sheet} and {stack}; xct view {stack} shows the stack in napari")
    if look:
        from xct_pipeline.viewer import view as open_viewer

        open_viewer(stack)
