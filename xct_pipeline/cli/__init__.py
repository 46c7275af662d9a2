"""The command line, ``xct``."""

from __future__ import annotations

import errno
import logging
import os
import sys
from typing import NoReturn

import typer

from xct_pipeline.cli import inputs, results, runs, trials, upkeep
from xct_pipeline.cli.options import DONE, INTERRUPTED, REFUSED, WRONG

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

for command in (
    inputs.init,
    inputs.check,
    trials.center,
    trials.preview,
    trials.sweep,
    runs.run,
    results.view,
    results.report,
    results.info,
    results.export,
    upkeep.verify,
    upkeep.forget,
    inputs.simulate,
    runs.demo,
):
    app.command()(command)


def main() -> NoReturn:
    """Run the command; whatever a user can mend ends as one message and an exit code, never as a traceback."""
    for library in ("asyncio", "tifffile"):  # what goes wrong there is told in our own words
        logging.getLogger(library).setLevel(logging.CRITICAL + 1)
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
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            named += "; free some space, then the same command goes on"
        return named, REFUSED if refused else WRONG
    if isinstance(error, ValueError):  # ConfigError and ScanError are
        return str(error), WRONG
    if hasattr(error, "format_message"):  # of the command line itself
        return str(error.format_message()), WRONG
    from xct_pipeline.store.files import RefusedError, StoreError  # here because it imports zarr

    if isinstance(error, RefusedError):
        return str(error), REFUSED
    if isinstance(error, StoreError):
        return str(error), WRONG
    if os.environ.get("XCT_DEBUG"):
        raise error
    return f"{type(error).__name__}: {error} (an error in xct itself; XCT_DEBUG=1 tells where)", WRONG
