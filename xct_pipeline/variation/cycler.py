"""Read what a battery cycler recorded: time, charge and voltage, whatever the file calls them.

Text files are read here (CSV with named columns, BioLogic .mpt); binary ones through readers that other
projects keep, where they are installed: yadg for .mpr (GPL, so never a dependency), fastnda for Neware.
"""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Quantity = Literal["time", "charge", "current", "voltage"]

UNITS: dict[Quantity, dict[str, float]] = {
    "time": {
        **dict.fromkeys(("s", "sec", "second", "seconds"), 1.0),
        "ms": 1e-3,
        **dict.fromkeys(("min", "minute", "minutes"), 60.0),
        **dict.fromkeys(("h", "hr", "hour", "hours"), 3600.0),
        **dict.fromkeys(("d", "day", "days"), 86400.0),
    },
    "charge": {"C": 1.0, "mC": 1e-3, "Ah": 3600.0, "mAh": 3.6, "uAh": 3.6e-3, "As": 1.0, "mAs": 1e-3},
    "current": {"A": 1.0, "mA": 1e-3, "uA": 1e-6, "nA": 1e-9},
    "voltage": {"V": 1.0, "mV": 1e-3, "uV": 1e-6},
}
"""Units per quantity and their size in s, C, A and V."""

_BIOLOGIC_COLUMNS: dict[Quantity, tuple[str, ...]] = {
    "time": ("time/s",),
    "charge": ("(Q-Qo)/mA.h", "(Q-Qo)/mAh", "(Q-Qo)/C"),
    "current": ("I/mA", "<I>/mA"),
    "voltage": ("Ewe/V", "Ecell/V", "<Ewe>/V"),
}


@dataclass(frozen=True)
class CyclerLog:
    """What the cycler recorded.

    Attributes
    ----------
    time_s : numpy.ndarray of float64
        Not decreasing.
    charge_C : numpy.ndarray of float64
        Charge passed, positive when the species leaves the anode.
    voltage_V : numpy.ndarray of float64 or None
        None where no column was named.
    start : datetime or None
        Absolute time of ``time_s == 0``, where the log tells it.
    """

    time_s: Array
    charge_C: Array
    voltage_V: Array | None = None
    start: datetime | None = None


def read_log(
    path: str | Path,
    *,
    time: str | None = None,
    charge: str | None = None,
    current: str | None = None,
    voltage: str | None = None,
    absolute_time: str | None = None,
    units: Mapping[str, str] | None = None,
    charge_sign: int = 1,
) -> CyclerLog:
    """Read a cycler's log.

    Parameters
    ----------
    path : path
        ``.mpt``, ``.mpr`` (needs yadg), ``.nda``, ``.ndax`` (need fastnda), anything else as CSV: comma,
        semicolon or tab, decimal point or comma, lines before the one with the names are skipped.
    time, charge, current, voltage : str
        Names of columns; for BioLogic files the usual ones by default (there charge is positive for oxidation
        at the working electrode). Without `charge` the `current` is integrated (trapezia).
    absolute_time : str, optional
        Column with dates and times; it then also serves as `time` where that is not named.
    units : mapping, optional
        Unit per quantity (``{"charge": "mAh"}``); otherwise the unit stands in the column's name, as in
        ``time_s``, ``Ewe/V``, ``Capacity (mAh)`` or ``I [mA]``.
    charge_sign : int
        -1 where the instrument counts charge as negative when the species leaves the anode.

    Returns
    -------
    CyclerLog

    Raises
    ------
    ValueError
        For a missing file, an unknown column (with the nearest names) or unit, text where numbers belong, or
        time that runs backwards.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"the cycler's log {path} does not exist")
    if charge_sign not in (1, -1):
        raise ValueError(f"charge_sign must be 1 or -1, not {charge_sign}")
    wanted: dict[Quantity, str | None] = {"time": time, "charge": charge, "current": current, "voltage": voltage}
    columns = _columns(path, next((c for c in (time, absolute_time, charge, current) if c), None))
    if path.suffix.lower() in (".mpt", ".mpr"):
        _biologic_defaults(wanted, columns, dated=absolute_time is not None)
    if not wanted["time"] and not absolute_time:
        raise ValueError(f"{path.name}: name the column that holds the time; {_list(columns)}")
    if not wanted["charge"] and not wanted["current"]:
        raise ValueError(f"{path.name}: name the column of the charge or of the current; {_list(columns)}")

    start = None
    stamps = _timestamps(path, columns, absolute_time) if absolute_time else None
    if wanted["time"]:
        seconds = _quantity(path, columns, wanted["time"], "time", units)
    else:
        assert stamps is not None
        seconds = stamps - stamps[np.isfinite(stamps)][0]
    values = {
        q: _quantity(path, columns, name, q, units)
        for q, name in wanted.items()
        if name and q != "time" and not (q == "current" and wanted["charge"])
    }
    keep = np.isfinite(seconds) & np.isfinite(values.get("charge", values.get("current")))  # type: ignore[arg-type]
    if not keep.any():
        raise ValueError(f"{path.name}: no row holds both a time and a charge or current")
    seconds = seconds[keep]
    if np.any(np.diff(seconds) < 0):
        row = int(np.argmax(np.diff(seconds) < 0)) + 1
        raise ValueError(f"{path.name}: time runs backwards at data row {row + 1} ({seconds[row]:g} s)")
    if stamps is not None:
        # The zone, where the file has one, was turned into UTC; without one the clock's own time is kept.
        start = _start(columns[str(absolute_time)], float(stamps[keep][0] - seconds[0]))
    if "charge" in values:
        passed = values["charge"][keep]
    else:
        flow = values["current"][keep]
        # BioLogic's <I> is already the mean since the row before.
        mean = flow[1:] if str(wanted["current"]).startswith("<") else (flow[1:] + flow[:-1]) / 2
        passed = np.concatenate([[0.0], np.cumsum(mean * np.diff(seconds))])
    volts = values.get("voltage")
    return CyclerLog(seconds, charge_sign * passed, None if volts is None else volts[keep], start)


def unit_of(column: str) -> str | None:
    """Take the unit out of a column's name (``time_s``, ``Ewe/V``, ``Capacity (mAh)``, ``I [mA]``), or None."""
    match = re.search(r"[(\[]([^)\]]+)[)\]]\s*$", column) or re.search(r"[/_ ]([^/_ ()\[\]]+)\s*$", column)
    return match.group(1).strip() if match else None


def _scale(path: Path, column: str, quantity: Quantity, units: Mapping[str, str] | None) -> float:
    unit = (units or {}).get(quantity) or unit_of(column)
    known = UNITS[quantity]
    if unit is None:
        raise ValueError(
            f"{path.name}: column {column!r} has no unit in its name; give the unit of the {quantity} "
            f"({', '.join(known)})"
        )
    plain = unit.replace("µ", "u").replace("μ", "u").replace(".", "").replace("·", "")
    if quantity == "time":
        plain = plain.lower()
    if plain not in known:
        raise ValueError(
            f"{path.name}: {unit!r} is not a unit of {quantity} (column {column!r}); known are {', '.join(known)}"
        )
    return known[plain]


def _quantity(
    path: Path, columns: Mapping[str, Any], name: str, quantity: Quantity, units: Mapping[str, str] | None
) -> Array:
    raw = _pick(path, columns, name)
    if quantity == "time" and not _numeric(raw):
        raise ValueError(
            f"{path.name}: column {name!r} holds text such as {str(raw[0])!r}, not seconds or hours; "
            f"give it as the absolute time"
        )
    return _numbers(path, name, raw) * _scale(path, name, quantity, units)


def _pick(path: Path, columns: Mapping[str, Any], name: str) -> Any:
    if name not in columns:
        near = difflib.get_close_matches(name, columns, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else _list(columns)
        raise ValueError(f"{path.name} has no column {name!r}; {hint}")
    return columns[name]


def _list(columns: Mapping[str, Any]) -> str:
    return "its columns are " + ", ".join(map(repr, columns))


def _numeric(raw: npt.ArrayLike) -> bool:
    import pandas as pd

    values = pd.Series(raw)
    if values.dtype.kind in "fiu":
        return True
    first = values.dropna().astype(str).head(1).str.replace(",", ".")
    return bool(pd.to_numeric(first, errors="coerce").notna().all())


def _numbers(path: Path, name: str, raw: npt.ArrayLike) -> Array:
    import pandas as pd

    values = pd.Series(raw)
    if values.dtype.kind not in "fiu":
        text = values.astype(str).str.strip().str.replace(",", ".", regex=False)
        numbers = pd.to_numeric(text, errors="coerce")
        bad = numbers.isna() & ~text.str.lower().isin(("", "nan", "none", "na"))
        if bad.any():
            row = int(np.argmax(bad.to_numpy()))
            raise ValueError(f"{path.name}: {text.iloc[row]!r} in column {name!r}, data row {row + 1}, is no number")
        values = numbers
    return np.asarray(values, dtype=np.float64)


def _timestamps(path: Path, columns: Mapping[str, Any], name: str) -> Array:
    """Seconds since 1970 of a column of dates; of the clock's own time where it has no zone."""
    import pandas as pd

    raw = pd.Series(_pick(path, columns, name))
    if raw.dtype.kind in "fiu":
        return np.asarray(raw, dtype=np.float64)
    try:
        stamps = pd.to_datetime(raw, utc=True, format="mixed")
    except (ValueError, TypeError):
        raise ValueError(
            f"{path.name}: column {name!r} holds no dates that can be read ({str(raw.iloc[0])!r}); "
            f"write them as 2026-05-01T10:00:00"
        ) from None
    seconds = (stamps - pd.Timestamp(0, tz="UTC")).dt.total_seconds()
    return np.asarray(seconds, dtype=np.float64)


def _start(raw: npt.ArrayLike, seconds: float) -> datetime:
    import pandas as pd

    moment = datetime.fromtimestamp(seconds, tz=UTC)
    first = pd.Series(raw).dropna().iloc[0]
    zoned = not isinstance(first, str) or pd.Timestamp(first).tzinfo is not None
    return moment if zoned else moment.replace(tzinfo=None)


def _columns(path: Path, expected: str | None) -> dict[str, Any]:
    match path.suffix.lower():
        case ".mpt":
            return _read_mpt(path)
        case ".mpr":
            return _read_mpr(path)
        case ".nda" | ".ndax":
            frame = _reader("fastnda", path).read(str(path))
            return {str(name): frame[name].to_numpy() for name in frame.columns}
        case _:
            return _read_csv(path, expected)


def _text(path: Path) -> str:
    data = path.read_bytes()
    for encoding in ("utf-8-sig", "latin-1"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise AssertionError  # latin-1 decodes every byte


def _read_csv(path: Path, expected: str | None) -> dict[str, Any]:
    lines = _text(path).splitlines()
    useful = [i for i, line in enumerate(lines) if line.strip() and not line.startswith("#")]
    if len(useful) < 2:
        raise ValueError(f"{path.name} holds no table: a line of column names and rows of numbers are needed")
    header = useful[0]
    for i in useful[:200]:
        if expected and expected in [name.strip().strip('"') for name in lines[i].split(_separator(lines[i]))]:
            header = i
            break
    return _table(lines[header], lines[header + 1 :], _separator(lines[header]))


def _separator(line: str) -> str:
    return max("\t;,", key=line.count)


def _table(header: str, rows: list[str], separator: str) -> dict[str, Any]:
    import io

    import pandas as pd

    names = [name.strip().strip('"') for name in header.split(separator)]
    while names and not names[-1]:  # many instruments end each line with a separator
        names.pop()
    # A decimal comma can only be told from a separator where something else separates.
    decimal = "," if separator != "," and any("," in row for row in rows[:50]) else "."
    body = "\n".join(row for row in rows if not row.startswith("#"))
    frame = pd.read_csv(
        io.StringIO(body),
        sep=separator,
        decimal=decimal,
        header=None,
        names=names,
        usecols=range(len(names)),
        skipinitialspace=True,
        low_memory=False,
    )
    return {name: frame[name].to_numpy() for name in names}


def _read_mpt(path: Path) -> dict[str, Any]:
    """Columns of a BioLogic text export: "Nb header lines : N" says that line N holds their names."""
    lines = path.read_bytes().decode("latin-1").splitlines()
    for line in lines[:10]:
        match = re.match(r"\s*Nb header lines\s*:\s*(\d+)", line)
        if match:
            header = int(match.group(1)) - 1
            break
    else:
        header = 0  # exported without the header: the names come first
    if header >= len(lines) - 1 or "\t" not in lines[header]:
        raise ValueError(f"{path.name} is no BioLogic text file: line {header + 1} holds no column names")
    return _table(lines[header], lines[header + 1 :], "\t")


def _biologic_defaults(wanted: dict[Quantity, str | None], columns: Mapping[str, Any], *, dated: bool) -> None:
    for quantity, names in _BIOLOGIC_COLUMNS.items():
        other = {"charge": wanted["current"], "current": wanted["charge"], "time": dated}.get(quantity)
        if not wanted[quantity] and not other:
            wanted[quantity] = next((name for name in names if name in columns), None)


def _read_mpr(path: Path) -> dict[str, Any]:
    """Columns of a BioLogic binary file, named ``name/unit`` like those of the text export."""
    tree = _reader("yadg.extractors", path).extract("eclab.mpr", path)
    data = tree.to_dataset()
    columns: dict[str, Any] = {}
    for name, variable in data.data_vars.items():
        if variable.dims == ("uts",) and not str(name).endswith("_std_err"):
            unit = str(variable.attrs.get("units", "")).replace("·", "")
            columns[f"{name}/{unit}" if unit else str(name)] = variable.to_numpy()
    if "uts" in data.coords:
        columns["uts"] = data["uts"].to_numpy()
    return columns


def _reader(module: str, path: Path) -> Any:
    package = module.split(".")[0]
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ValueError(
            f"{path.name} needs the package {package} (pip install {package}); or export it as text (CSV, .mpt)"
        ) from None
