"""Numbers in text: which of comma and dot is the decimal sign and which groups thousands, for a whole file at once."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Decimal = Literal[".", ","]

NUMBER = re.compile(r"[+−-]?(?:\d[\d.,'’´`\s]*|[.,]\d+)(?:[eE][+-]?\d+)?")
MISSING = ("", "nan", "none", "na", "n/a", "-", "--")


@dataclass
class Evidence:
    """What cells say about the decimal sign: ``sure`` signs, and cells that could be read either way."""

    sure: set[str]
    grouped: set[str]
    unclear: dict[str, str]
    whole: bool = False
    rounded: bool = False


def is_number(cell: str) -> bool:
    """Tell whether a cell holds a number in any notation."""
    return NUMBER.fullmatch(cell.strip()) is not None


def weigh(cells: Iterable[str]) -> Evidence:
    """Collect what the cells of a column say about the decimal sign.

    A sign is decimal for sure where it stands last of two kinds, or before other than three digits, or behind a zero
    or more than three digits; it groups for sure where it stands more than once.
    """
    found = Evidence(set(), set(), {})
    for cell in cells:
        text = cell.strip()
        if NUMBER.fullmatch(text) is None:
            continue
        mantissa = re.split(r"[eE]", text.lstrip("+-−"))[0]
        signs = [c for c in mantissa if c in ".,"]
        if not signs:
            found.whole = True
            continue
        last = signs[-1]
        before, _, after = mantissa.rpartition(last)
        if len(set(signs)) == 2:
            found.sure.add(last)
        elif len(signs) > 1:
            found.grouped.add(last)
        elif len(after) != 3 or len(before) > 3 or before in ("", "0") or re.search("[eE]", text):
            found.sure.add(last)
        else:
            found.unclear.setdefault(last, text)
            found.rounded |= after.endswith("0")
    return found


def decimal_of(source: str, columns: dict[str, Evidence], chosen: Decimal | None = None) -> Decimal:
    """Decide the decimal sign of a file.

    Parameters
    ----------
    columns : dict
        Name of each column to its evidence.
    chosen : str, optional
        As configured; it decides.

    Raises
    ------
    ValueError
        Columns contradict each other, or a comma before three digits could be either; with both readings.
    """
    if chosen is not None:
        return chosen
    sure = {sign: name for name, evidence in columns.items() for sign in evidence.sure}
    if len(sure) == 2:
        raise ValueError(
            f"{source}: the decimal sign is a comma in column {sure[',']!r} and a dot in {sure['.']!r}; "
            f"set decimal to the one that is right"
        )
    if sure:
        return "," if "," in sure else "."
    grouped = {sign for evidence in columns.values() for sign in evidence.grouped}
    if grouped:
        return "." if "," in grouped else ","
    for name, evidence in columns.items():
        mixed = evidence.whole and evidence.rounded  # 900 beside 1,800: no decimal is written like that
        if "," in evidence.unclear and not mixed:
            cell = evidence.unclear[","]
            raise ValueError(
                f"{source}: {cell!r} in column {name!r} reads as {cell.replace(',', '')} or as "
                f"{cell.replace(',', '.')}; set decimal = '.' for the first or decimal = ',' for the second"
            )
        if "." in evidence.unclear and mixed:
            cell = evidence.unclear["."]
            raise ValueError(
                f"{source}: {cell!r} in column {name!r} reads as {cell} or as {cell.replace('.', '')}; "
                f"set decimal = '.' for the first or decimal = ',' for the second"
            )
    return "."


def numbers(source: str, name: str, cells: Any, decimal: Decimal) -> Array:
    """Turn cells into float64, NaN where there is nothing.

    Raises
    ------
    ValueError
        Text where a number belongs, with its row.
    """
    import pandas as pd

    values = pd.Series(cells)
    if values.dtype.kind in "fiu":
        return np.asarray(values, dtype=np.float64)
    text = values.astype(str).str.strip()
    plain = text.str.replace(r"(?<=\d)['’´`\s](?=\d)", "", regex=True).str.replace("−", "-", regex=False)
    plain = plain.str.replace("." if decimal == "," else ",", "", regex=False)
    if decimal == ",":
        plain = plain.str.replace(",", ".", regex=False)
    result = pd.to_numeric(plain, errors="coerce")
    bad = (result.isna() & ~text.str.lower().isin(MISSING)) | result.abs().eq(np.inf)
    if bad.any():
        row = int(np.argmax(bad.to_numpy()))
        raise ValueError(
            f"{source}: {text.iloc[row]!r} in column {name!r}, data row {row + 1}, is no number; correct it, "
            f"or name another column"
        )
    return np.asarray(result, dtype=np.float64)
