"""Texts in tables: a spreadsheet that opens a CSV file runs cells that begin like a formula, so they are quoted."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_FORMULA = re.compile(r"'*(?:[=@\t\r\n]|[+-](?!(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\Z))")  # -1.5 is a number, -x is not


def escape_cells(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose texts no spreadsheet runs: ``=1+1`` becomes ``'=1+1``; see `unescape_cells`."""
    return _changed(table, lambda text: f"'{text}" if _FORMULA.match(text) else text)


def unescape_cells(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table as it was before `escape_cells`."""
    return _changed(table, lambda text: text[1:] if text.startswith("'") and _FORMULA.match(text) else text)


def _changed(table: pd.DataFrame, change: Callable[[str], str]) -> pd.DataFrame:
    changed = table.copy()
    for column in table.columns:
        if any(isinstance(value, str) for value in table[column]):
            changed[column] = [change(value) if isinstance(value, str) else value for value in table[column]]
    return changed
