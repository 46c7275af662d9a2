"""When volumes were taken, from a CSV file: scan and time_s, or scan, start and perhaps end."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

from xct_pipeline.inputs import read_bytes
from xct_pipeline.scan import NO_DATE, ScanError

Span = tuple[datetime | None, datetime | None]


def in_seconds(time_s: float, where: str) -> datetime:
    """Return a time that is known in seconds alone.

    Raises
    ------
    ScanError
        It lies a thousand years away.
    """
    if abs(time_s) > 1e9:
        raise ScanError(f"{where}: time_s = {time_s:g} is no time in seconds since the start of an experiment")
    return NO_DATE + timedelta(seconds=time_s)


def read_times(path: Path) -> Mapping[str, Span]:
    """Read start and end of scans by their names.

    Raises
    ------
    ScanError
        The file cannot be read, a column is missing, a scan stands in it twice, or an entry is no time.
    """
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error).removeprefix(f"{path}: ")
        raise ScanError(f"{path}: cannot be read ({reason})") from None
    rows = csv.DictReader(text.splitlines(), skipinitialspace=True, delimiter=";" if ";" in text[:200] else ",")
    columns = [name.strip() for name in rows.fieldnames or ()]
    if "scan" not in columns or not {"time_s", "start"} & {*columns}:
        raise ScanError(f"{path}: has the columns {', '.join(columns)}: scan and time_s, or scan and start, are needed")
    found: dict[str, Span] = {}
    for number, row in enumerate(rows, start=2):
        entry = {str(key).strip(): str(value or "").strip() for key, value in row.items()}
        if entry["scan"] in found:
            raise ScanError(f"{path}: line {number}: {entry['scan']} stands in it twice")
        found[entry["scan"]] = _span(entry, f"{path}: line {number}")
    return found


def _span(entry: Mapping[str, str], where: str) -> Span:
    if entry.get("start"):
        return _moment(entry["start"], where), _moment(entry["end"], where) if entry.get("end") else None
    if not entry.get("time_s"):
        return None, None
    try:
        seconds = float(entry["time_s"])
    except ValueError:
        raise ScanError(f"{where}: time_s = {entry['time_s'][:40]!r} is no number") from None
    return in_seconds(seconds, where), None


def _moment(text: str, where: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ScanError(f"{where}: {text[:40]!r} is no date; write 2024-05-17T09:30:00+02:00") from None
