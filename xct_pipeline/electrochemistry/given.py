"""The charge at each scan as it was written down, where there is no log: scan and charge, perhaps the voltage."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xct_pipeline.electrochemistry.scans import LogAtScans
from xct_pipeline.electrochemistry.units import UNITS, Quantity, size_of, unit_of
from xct_pipeline.inputs import first_of, read_bytes


@dataclass(frozen=True)
class GivenCharges:
    """Charge, C, and voltage, V, by the name of the scan; `source` says where they are from."""

    source: str
    charge_C: Mapping[str, float]
    voltage_V: Mapping[str, float]


def read_charges(path: Path) -> GivenCharges:
    """Read a CSV file with the columns ``scan`` and ``charge_C`` (or another unit), perhaps ``voltage_V``.

    Raises
    ------
    ValueError
        It cannot be read, a column is missing or of no known unit, a scan stands in it twice, or an entry is no number.
    """
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error).removeprefix(f"{path}: ")
        raise ValueError(f"{path}: cannot be read ({reason})") from None
    semicolons = ";" in text[:200]
    rows = csv.DictReader(text.splitlines(), skipinitialspace=True, delimiter=";" if semicolons else ",")
    columns = [name.strip() for name in rows.fieldnames or ()]
    charge, voltage = (_column(path, columns, quantity) for quantity in ("charge", "voltage"))
    if "scan" not in columns or charge is None:
        raise ValueError(
            f"{path}: has the columns {', '.join(columns)}: scan and charge_C (or charge_mAh and the like) are needed"
        )
    found: dict[str, dict[str, float]] = {"charge": {}, "voltage": {}}
    for number, row in enumerate(rows, start=2):
        entry = {str(key).strip(): str(value or "").strip() for key, value in row.items()}
        name, where = entry["scan"], f"{path}: line {number}"
        if name in found["charge"]:
            raise ValueError(f"{where}: {name} stands in it twice")
        for what, column in (("charge", charge), ("voltage", voltage)):
            if column is not None and entry[column[0]]:
                text_of = entry[column[0]].replace(",", ".") if semicolons else entry[column[0]]
                found[what][name] = column[1] * _number(text_of, f"{where}: {column[0]}")
    return GivenCharges(str(path), found["charge"], found["voltage"])


def _column(path: Path, columns: Sequence[str], quantity: Quantity) -> tuple[str, float] | None:
    """Return the column of a quantity and the size of its unit; None where there is none."""
    named = [name for name in columns if name.lower().startswith(quantity)]
    if not named:
        return None
    if len(named) > 1:
        raise ValueError(f"{path}: the columns {' and '.join(named)} both hold a {quantity}: keep one")
    size = size_of(unit_of(named[0]) or "", quantity)
    if size is None:
        units = ", ".join(UNITS[quantity])
        raise ValueError(f"{path}: the column {named[0]} names no unit of a {quantity}: one of {units} behind a _")
    return named[0], size


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{where} = {text[:40]!r} is no number")
    return value


def given_at_scans(given: GivenCharges, names: Sequence[str], reference: int, sign: int = 1) -> LogAtScans:
    """Return charge and voltage at the scans of a series, the charge counted from the reference.

    Raises
    ------
    ValueError
        None is given for the reference.
    """
    strange = [name for name in given.charge_C if name not in names]
    told = f"; {', '.join(first_of(strange))} named there is no scan of the series" if strange else ""
    if names[reference] not in given.charge_C:
        raise ValueError(f"{given.source}: no charge for the reference scan {names[reference]}{told}")
    charge = sign * np.array([given.charge_C.get(name, np.nan) for name in names])
    voltage = np.array([given.voltage_V.get(name, np.nan) for name in names])
    return LogAtScans(charge - charge[reference], voltage, (told.removeprefix("; "),) if told else ())
