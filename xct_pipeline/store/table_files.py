"""Tables as files: CSV, and beside them what each column is."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xct_pipeline.inputs import read_bytes
from xct_pipeline.store import layout, records
from xct_pipeline.store.cells import escape_cells, unescape_cells
from xct_pipeline.store.columns import Kind
from xct_pipeline.store.files import HEALED, StoreError, write_atomic
from xct_pipeline.store.tables import RENAMED, TABLES
from xct_pipeline.store.tables.shared import SCAN

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger("xct")

NO_NUMBER = ["", "nan", "NaN"]


def write_table(root: Path, name: str, table: pd.DataFrame) -> Path:
    """Write a table of the store at `root`, and unit and meaning of each of its columns.

    Raises
    ------
    ValueError
        The table or one of its columns is not declared.
    """
    described = describe(name, table.columns)
    file, readme = root / layout.TABLE(table=name), root / layout.COLUMNS
    file.parent.mkdir(parents=True, exist_ok=True)
    known = _described(root, readme)
    for other, columns in known.items():  # of a version that kept nothing but units
        if columns and all(isinstance(entry, str) for entry in columns.values()):
            known[other] = {c: {"unit": unit} for c, unit in columns.items()}
    known[file.name] = described
    write_atomic(file, escape_cells(table).to_csv(index=False, float_format="%.10g").encode())
    write_atomic(readme, json.dumps(known, indent=1, sort_keys=True, ensure_ascii=False).encode())
    records.record(root, file, readme)
    return file


def _described(root: Path, readme: Path) -> dict[str, dict[str, Any]]:
    """Return what is kept of the columns of each table; nothing where that is damaged."""
    try:
        if records.problem(root, readme) is None:
            return {str(name): dict(columns) for name, columns in json.loads(read_bytes(readme)).items()}
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError, TypeError):
        pass
    log.warning("%s is damaged; %s", readme, HEALED)
    return {}


def describe(name: str, columns: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return unit and meaning of the columns of a declared table.

    Raises
    ------
    ValueError
        It is not declared, or one of the columns is not.
    """
    if name not in TABLES:
        raise ValueError(f"table {name} is not declared: the tables of a store stand in xct_pipeline/store/tables")
    found = [TABLES[name].column(column) for column in columns]
    return {c.name: {"kind": str(c.kind), "unit": c.unit, "meaning": c.meaning} for c in found}


def read_table(root: Path, name: str) -> pd.DataFrame:
    """Read a table of the store at `root`: text as text, columns under the names they have today.

    Raises
    ------
    StoreError
        There is no such table.
    """
    import pandas as pd

    file = root / layout.TABLE(table=name)
    if not file.exists():
        there = sorted(f.stem for f in file.parent.glob("*.csv")) if file.parent.is_dir() else []
        raise StoreError(f"{root} has no table {name}; it has: {', '.join(there) or 'none'}")
    records.check(root, file)
    texts = _texts(name)
    header = list(pd.read_csv(file, nrows=0).columns)
    types: dict[Any, Any] = {column: "str" for column in header if column in texts}
    empty: dict[Any, Any] = {column: [""] if column in texts else NO_NUMBER for column in header}
    # without this a scan that is called 007, 1e3 or NA would be read as a number, or as none
    table = pd.read_csv(file, dtype=types, keep_default_na=False, na_values=empty)
    return unescape_cells(table).rename(columns=dict(RENAMED.get(name, {})))


def _texts(name: str) -> set[str]:
    declared = TABLES.get(name)
    if declared is None:
        return {SCAN.name}
    return {column.name for column in declared.columns if column.kind is Kind.TEXT}
