"""The commands of ``xct`` together, and how each ends."""

from __future__ import annotations

import errno
import logging
import os
from typing import Annotated

import typer

from xct_pipeline.cli import echem, examples, inputs, results, runs, signals, submit, trials, upkeep, watch
from xct_pipeline.cli.options import DONE, INTERRUPTED, REFUSED, WRONG
from xct_pipeline.cli.terminal import complain, set_level, tell

app = typer.Typer(
    name="xct",
    help="From a series of raw X-ray tomography scans to maps of the mass that left and entered.\n\n"
    "Start with [bold]xct demo[/bold], or with [bold]xct init scan_*.nxs > run.toml[/bold], "
    "[bold]xct check run.toml[/bold] and [bold]xct run run.toml[/bold].",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for command in (
    inputs.init,
    inputs.check,
    inputs.schema,
    examples.example,
    trials.center,
    trials.preview,
    trials.sweep,
    runs.run,
    watch.watch,
    submit.submit,
    results.view,
    results.report,
    results.info,
    upkeep.status,
    results.export,
    results.cite,
    upkeep.verify,
    upkeep.forget,
    inputs.simulate,
    runs.demo,
    echem.echem,
    echem.nak,
):
    app.command()(command)

NO_MEMORY = "out of memory; lower --workers or --memory"


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        tell(f"xct {version('xct-pipeline')}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Log warnings only, and show no progress.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every detail.")] = False,
) -> None:
    """Take what holds for every command: xct -q run run.toml."""
    del version
    set_level(logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO)


def execute() -> int:
    """Run the command of this process's arguments and return its exit code; errors are told in one message."""
    for library in ("asyncio", "tifffile"):  # what goes wrong there is told in our own words
        logging.getLogger(library).setLevel(logging.CRITICAL + 1)
    try:
        code = app(standalone_mode=False) or DONE
    except Exception as error:
        message, code = _verdict(error)
        if message and signals.received() is None:  # none where the help was shown instead
            complain(f"xct: {message}")
    if code == INTERRUPTED:
        signals.say_stopped()
    return int(code)


def _verdict(error: Exception) -> tuple[str, int]:
    """Return what to tell about an error, and the exit code."""
    if isinstance(error, MemoryError):
        return NO_MEMORY, REFUSED
    if isinstance(error, OSError):
        refused = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
        named = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            named += "; free some space, then the same command goes on"
        return named, REFUSED if refused else WRONG
    if isinstance(error, ValueError):  # ConfigError and ScanError are
        return str(error), WRONG
    if hasattr(error, "format_message"):  # of the command line itself
        return str(error.format_message()), WRONG
    from xct_pipeline.store.files import RefusedError, StoreError, out_of_memory

    if out_of_memory(error):
        return NO_MEMORY, REFUSED
    if isinstance(error, RefusedError):
        return str(error), REFUSED
    if isinstance(error, StoreError):
        return str(error), WRONG
    if os.environ.get("XCT_DEBUG"):
        raise error
    return f"{type(error).__name__}: {error} (an error in xct itself; XCT_DEBUG=1 tells where)", WRONG
