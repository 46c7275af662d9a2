"""Commands on electrochemistry: logs and spectra without any scan, and the alloy's numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from xct_pipeline.cli.options import JsonFlag, print_json
from xct_pipeline.cli.terminal import tell

DecimalSign = Annotated[str | None, typer.Option(help="Decimal sign of the files, . or , where it is not clear.")]


def echem(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Logs, impedance spectra, voltammograms.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Page to write.")] = Path("echem.html"),
    as_json: JsonFlag = False,
    date_format: Annotated[str | None, typer.Option(help="'day first', 'month first', or a pattern.")] = None,
    decimal: DecimalSign = None,
    time_zone: Annotated[str | None, typer.Option(help="Of dates that name none, e.g. Europe/Berlin.")] = None,
    area_cm2: Annotated[float | None, typer.Option(help="Area of spectra in ohm cm2.")] = None,
    turned: Annotated[bool, typer.Option("--turned", help="The imaginary part has the sign of a plot.")] = False,
) -> None:
    """Read cycler logs and impedance spectra, and draw them on one page; no scan is needed.

    Example: xct echem cell.mpt eis_*.csv
    """
    from xct_pipeline.electrochemistry.options import LogOptions
    from xct_pipeline.electrochemistry.steps.files import facts_of, read_files

    if decimal not in (None, ".", ","):
        raise ValueError(f"--decimal {decimal}: write . or ,")
    sign: Any = decimal
    options = LogOptions(date_format=date_format, decimal=sign, time_zone=time_zone)
    found = read_files(files, options, area_cm2, turned)
    if as_json:
        print_json(facts_of(found))
        return
    from xct_pipeline.report.echem_page import write_page

    for line in found.lines():
        tell(line)
    tell(f"wrote {write_page(found, output)}")


def nak(
    wt_k: Annotated[float, typer.Option("--wt-k", help="Potassium, per cent by mass.")],
    temperature: Annotated[float, typer.Option(help="Degrees Celsius.")] = 25.0,
    as_json: JsonFlag = False,
) -> None:
    """Tell density, phases, removable sodium and diffusivity of a sodium-potassium alloy.

    Example: xct nak --wt-k 50 --temperature 25
    """
    from xct_pipeline.cli.show import print_facts
    from xct_pipeline.variation.nak import facts

    found = facts(wt_k, temperature)
    if as_json:
        print_json(found)
    else:
        print_facts(Path(f"NaK, {wt_k:g} wt% K at {temperature:g} C"), found)


def clocks_of(layout: Any) -> dict[str, Any]:
    """Return the log's first and last time and those of the scans, empty where no log is named; read every file.

    Raises
    ------
    ValueError
        What is wrong with the log, or with spectra, voltammetry or cycling.
    """
    settings = layout.config.electrochemistry
    if settings is None:
        return {}
    from xct_pipeline.electrochemistry.steps import stage
    from xct_pipeline.electrochemistry.steps.log import clocks

    names, scans = [item.name for item in layout.scans], [item.taken for item in layout.scans]
    stage.check(layout.config, names, scans)
    return {} if settings.log is None else clocks(layout.config, names, scans)


def print_clocks(clocks: dict[str, Any]) -> None:
    """Print both clocks side by side, and what was taken for granted in the log."""
    if not clocks:
        return
    span = f"{clocks['first_s']:g} to {clocks['last_s']:g} s"
    if clocks["scans_in_seconds"]:
        tell(f"log {clocks['log']}: {span}; the times of the scans are seconds on its clock")
    elif clocks["first"] is None:
        tell(f"log {clocks['log']}: {span}; its dates are not known, so its 0 is the start of the first scan")
    else:
        tell(f"log {clocks['log']}: {clocks['first']} to {clocks['last']} (zone {clocks['zone']}), {span}")
    if clocks["offset_s"]:
        tell(f"  offset_s = {clocks['offset_s']:g} is added to its times")
    for scan in clocks["scans"]:
        middle = "time not known" if scan["log_s"] is None else f"middle at {scan['log_s']:g} s of the log"
        start = "" if clocks["scans_in_seconds"] else f"start {scan['start']}, "
        tell(f"  {scan['scan']}: {start}{middle}{'' if scan['in_log'] else ', outside the log'}")
    for note in clocks["notes"]:
        tell(f"  {note}")
