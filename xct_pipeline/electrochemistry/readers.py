"""Files of instruments as tables: each is known by its suffix or its first line."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from xct_pipeline.electrochemistry.aligned import with_tabs
from xct_pipeline.electrochemistry.table import (
    MOST_BYTES,
    NO_TABLE,
    Table,
    frame_table,
    header_row,
    is_data,
    is_units,
    lines_of,
    read_text,
    separator_of,
    split,
    text_table,
    unique,
)
from xct_pipeline.inputs import require_regular

EXTRAS = {"yadg": "biologic", "fastnda": "cycler", "openpyxl": "cycler", "pyimpspec": "impedance"}
"""Extra of this package that installs a reader."""
COMMENT = re.compile(r"\s*(%+|//+)\s?(?=.*\w)")
"""Other marks of a comment, as they stand at the beginning of a line."""
SEEN = 1000
"""Cells of a workbook's column that are looked at for dates."""


def read_table(path: Path, expected: str | None = None) -> Table:
    """Read a file's table.

    Parameters
    ----------
    path : Path
        ``.mpt``, Gamry ``.dta``, any text with named columns (packed with gzip or not), ``.xlsx`` (needs openpyxl),
        ``.mpr`` (needs yadg), ``.nda``, ``.ndax`` (need fastnda).
    expected : str, optional
        The name of a column, which finds the line of names.

    Raises
    ------
    ValueError
        The file does not exist or holds no table, or its reader is not installed.
    """
    if not path.is_file():
        raise ValueError(f"the file {path} does not exist: check its path")
    match path.suffix.lower():
        case ".mpr":
            return read_mpr(path)
        case ".nda" | ".ndax":
            frame = reader("fastnda", path).read(str(path))
            return frame_table(path.name, {str(n): frame[n].to_numpy() for n in frame.columns}, "Neware")
        case ".xlsx" | ".xlsm":
            return read_workbook(path, expected)
    text = read_text(path)
    lines, cut = lines_of(path, text), not text.endswith(("\n", "\r"))
    if path.suffix.lower() == ".mpt" or (lines and lines[0].startswith("EC-Lab ASCII FILE")):
        return read_mpt(path.name, lines, cut)
    if lines and lines[0].strip() == "EXPLAIN":
        tables = gamry_tables(path.name, lines, "CURVE")
        if not tables:
            raise ValueError(f"{path.name} holds no table CURVE: name the file of a charge or a voltammogram")
        return tables[0]
    lines = with_tabs([COMMENT.sub("# ", line, count=1) if COMMENT.match(line) else line for line in lines])
    row = header_row(lines, expected)
    if row is None:
        raise ValueError(f"{path.name} {NO_TABLE}")
    return text_table(path.name, lines, row, separator_of(lines[row]), lines[:row], cut=cut)


def read_mpt(source: str, lines: Sequence[str], cut: bool = False) -> Table:
    """Read a BioLogic text export: "Nb header lines : N" says that line N holds the names."""
    row = 0  # exported without the header: the names come first
    for line in lines[:10]:
        match = re.match(r"\s*Nb header lines\s*:\s*(\d+)", line)
        if match:
            row = int(match.group(1)) - 1
            break
    if row >= len(lines) - 1 or "\t" not in lines[row]:
        raise ValueError(f"{source} is no BioLogic text file: line {row + 1} holds no column names; export it again")
    return text_table(source, lines, row, "\t", lines[:row], "BioLogic", cut=cut)


def read_mpr(path: Path) -> Table:
    """Read a BioLogic binary file; columns are named ``name/unit`` like those of the text export."""
    tree = reader("yadg.extractors", path).extract("eclab.mpr", path)
    data = tree.to_dataset()
    columns: dict[str, Any] = {}
    for name, variable in data.data_vars.items():
        if variable.dims == ("uts",) and not str(name).endswith("_std_err"):
            unit = str(variable.attrs.get("units", "")).replace("·", "")
            columns[f"{name}/{unit}" if unit else str(name)] = variable.to_numpy()
    if "uts" in data.coords:
        columns["uts"] = data["uts"].to_numpy()
    return frame_table(path.name, columns, "BioLogic")


def reader(module: str, path: Path) -> Any:
    """Import another project's reader.

    Raises
    ------
    ValueError
        It is not installed.
    """
    package = module.split(".")[0]
    try:
        return importlib.import_module(module)
    except ImportError:
        extra = f"pip install 'xct-pipeline[{EXTRAS[package]}]'"
        raise ValueError(f"{path.name} needs {package}: {extra}; or export it as text (CSV, .mpt)") from None


def gamry_tables(source: str, lines: Sequence[str], kind: str) -> list[Table]:
    """Return the tables of a Gamry file whose names begin with `kind` (CURVE, ZCURVE), all of one kind as one."""
    found: list[tuple[list[str], list[str], list[str]]] = []
    k = 0
    while k < len(lines):
        cells = lines[k].split("\t")
        if not (len(cells) > 1 and cells[1] == "TABLE" and cells[0].startswith(kind)):
            k += 1
            continue
        rows = []
        for line in lines[k + 1 :]:
            if not line.startswith("\t"):
                break
            rows.append(line[1:])
        if len(rows) > 2:
            found.append((split(rows[0], "\t"), split(rows[1], "\t"), rows[2:]))
        k += 1 + len(rows)
    if not found:
        return []
    names, units, _ = found[0]
    body = [f"{row}\t{number}" for number, (_, _, rows) in enumerate(found, 1) for row in rows]
    named = [f"{n} ({_gamry_unit(u)})" if _gamry_unit(u) else n for n, u in zip(names, units, strict=False)]
    text = ["\t".join([*named, "curve"]), *body]
    return [text_table(source, text, 0, "\t", lines[:60], "Gamry", [*named, "curve"])]


def _gamry_unit(text: str) -> str:
    unit = text.split(" ")[0].strip("()")
    return unit if re.fullmatch(r"[A-Za-z]+", unit) and unit.lower() not in ("bits", "cycle") else ""


# Workbooks ----------------------------------------------------------------------------------------------------


def read_workbook(path: Path, expected: str | None = None) -> Table:
    """Read the sheet of a workbook that holds the log; sheets that go on with the same names are put behind it.

    Raises
    ------
    ValueError
        It is no workbook, or no sheet holds a table.
    """
    import zipfile

    import pandas as pd

    reader("openpyxl", path)
    try:
        require_regular(path)
        with zipfile.ZipFile(path) as packed:
            nbytes = sum(part.file_size for part in packed.infolist())
        if nbytes > MOST_BYTES:
            raise ValueError(
                f"it unpacks to {nbytes} bytes, more than the {MOST_BYTES} that a log can have: export less of it"
            )
        sheets = pd.read_excel(path, sheet_name=None, header=None, dtype=object)
    except (ValueError, KeyError, OSError, SyntaxError, zipfile.BadZipFile) as error:  # of XML, too
        reason = " ".join(str(error).split())
        raise ValueError(f"{path.name} is no workbook that can be read ({reason}); save it again as .xlsx") from None
    parts = list(_sheets(sheets, expected))
    if not parts:
        raise ValueError(f"{path.name} {NO_TABLE}; no sheet of it does")
    names, _ = max(parts, key=lambda part: len(part[1]))
    frame = pd.concat([frame for other, frame in parts if other == names], ignore_index=True)
    named = {k: name for k, name in enumerate(unique(names)) if not name.startswith("nan")}
    units: dict[str, str] = {}
    first = [str(cell).strip() for cell in frame.iloc[0].fillna("")]
    if is_units(first) and len(frame) > 1:
        units, frame = {name: first[k].strip("()[] ") for k, name in named.items() if first[k]}, frame.iloc[1:]
    return frame_table(path.name, {name: _cells(frame[k]) for k, name in named.items()}, units=units)


def _sheets(sheets: dict[str, Any], expected: str | None) -> Iterator[tuple[list[str], Any]]:
    """Yield names and rows of every sheet that holds a table."""
    for sheet in sheets.values():
        head = sheet.head(60).fillna("").astype(str).to_numpy().tolist()
        for k, cells in enumerate(head[:-1]):
            texts = [c.strip() for c in cells]
            words = [c for c in texts if c]
            if expected not in texts and (len(words) < 2 or is_data(texts) or is_units(texts)):
                continue
            if expected not in texts and not (is_data(head[k + 1]) or is_units(head[k + 1])):
                continue
            yield [c or "nan" for c in texts], sheet.iloc[k + 1 :].set_axis(range(sheet.shape[1]), axis=1)
            break


def _cells(column: Any) -> Any:
    import pandas as pd

    numeric = pd.to_numeric(column, errors="coerce")
    if numeric.notna().sum() == column.notna().sum():
        return numeric.to_numpy(float)
    from datetime import datetime, time, timedelta

    first = column.dropna().iloc[0]
    if any(isinstance(cell, datetime) for cell in column.dropna()[:SEEN]) and not isinstance(first, time | timedelta):
        if any(isinstance(cell, str) and cell.strip() for cell in column):
            return column.to_numpy(dtype=object)  # refused where it is read as dates
        return pd.to_datetime(column, errors="coerce").to_numpy()
    if isinstance(first, time):
        return column.astype(str).to_numpy(dtype=object)
    if isinstance(first, timedelta):
        seconds = pd.to_timedelta(column).dt.total_seconds()
        return seconds.map(lambda s: f"{int(s // 3600)}:{int(s % 3600 // 60):02d}:{s % 60:06.3f}").to_numpy(object)
    return column.fillna("").astype(str).str.strip().to_numpy(dtype=object)
