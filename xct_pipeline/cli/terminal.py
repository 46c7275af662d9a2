"""The one way to the terminal: results on stdout, logs and progress together on stderr, nothing that others control.

Names, paths and messages come from files. Whatever reaches a console or a log passes `clean`, so that no escape
sequence in them colours, moves or renames the terminal; square brackets are kept from rich by its own ``escape``.
"""

from __future__ import annotations

import functools
import logging
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from xct_pipeline.inputs import PlainFormatter, clean

if TYPE_CHECKING:
    from rich.table import Table

_chosen = {"level": logging.INFO}
_said: list[str] = []  # warnings that a person at this terminal has seen go by
WHOLE = 24  # characters of a name that a table keeps on one line, whatever else it has to fold
WIDE = 160  # columns, where no terminal says how many there are


class SafeConsole(Console):
    """A console whose strings are cleaned of control characters before they are drawn."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Turn a string into text, as every print and every cell of a table does."""
        return super().render_str(clean(text), **options)


def console() -> Console:
    """Return the console of results, on stdout as it is now."""
    wide = sys.stdout.isatty()
    return SafeConsole(highlight=False, emoji=False, soft_wrap=not wide, width=None if wide else WIDE)


def print_table(table: Table) -> None:
    """Print a table in which nothing is cut: what is too long is folded, names in its first column last of all."""
    screen = console()
    for k, column in enumerate(table.columns):
        column.overflow = "fold"
        longest = max((screen.measure(cell).maximum for cell in (column.header, *column.cells)), default=0)
        column.no_wrap = column.no_wrap or (k == 0 and longest <= WHOLE)
    screen.print(table)


@functools.cache
def error_console() -> Console:
    """Return the console of logs and progress, on whatever stderr is at the time."""
    return SafeConsole(stderr=True, highlight=False, emoji=False)


def tell(text: object = "") -> None:
    """Print a line on stdout."""
    print(clean(str(text)))


def complain(text: object) -> None:
    """Print a line on stderr."""
    print(clean(str(text)), file=sys.stderr)


def set_level(level: int) -> None:
    """Choose what `start_logging` will show: logging.WARNING, INFO or DEBUG."""
    _chosen["level"] = level


def quiet() -> bool:
    """Tell whether only warnings are wanted, and no progress."""
    return _chosen["level"] > logging.INFO


def said_before(text: str) -> bool:
    """Tell whether a warning went by on this very terminal, so that saying it again would tell nothing."""
    return sys.stdout.isatty() and any(text in message for message in _said)


def _keep_warning(record: logging.LogRecord) -> bool:
    if record.levelno >= logging.WARNING:
        _said.append(record.getMessage())
    return True


def start_logging() -> None:
    """Log on stderr: through the console of the progress bar on a terminal, with times elsewhere."""
    logger, level = logging.getLogger("xct"), _chosen["level"]
    logger.setLevel(min(level, logging.INFO))
    if logger.handlers:
        return
    if sys.stderr.isatty():
        from rich.logging import RichHandler

        handler: logging.Handler = RichHandler(
            console=error_console(), show_path=False, show_time=False, markup=False, highlighter=None
        )
        handler.setFormatter(PlainFormatter("%(message)s"))
        handler.addFilter(_keep_warning)
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(PlainFormatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    handler.setLevel(level)
    logger.addHandler(handler)
