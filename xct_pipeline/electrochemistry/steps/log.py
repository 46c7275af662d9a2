"""The log of a configuration, and both clocks side by side."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from xct_pipeline.config import Config
from xct_pipeline.electrochemistry.given import GivenCharges, read_charges
from xct_pipeline.electrochemistry.log import CyclerLog, read_log
from xct_pipeline.electrochemistry.options import LogOptions
from xct_pipeline.electrochemistry.scans import ScanTimes, scan_times, span_of
from xct_pipeline.scan import NO_DATE, AnyScan, without_date

FEWEST_SINCE_1970 = timedelta(days=7305)
"""Twenty years: seconds of a scan that are more count since 1970."""
_kept: dict[tuple[Any, ...], CyclerLog] = {}
"""The log that was read last."""


def log_of(config: Config, scans: Sequence[AnyScan | None] = ()) -> CyclerLog:
    """Read the log that a configuration names.

    Parameters
    ----------
    scans : sequence of AnyScan or None
        Their times tell dates that could be read in two ways.

    Raises
    ------
    ValueError
        What is wrong with the log, its columns, units or times.
    """
    settings = config.electrochemistry
    assert settings is not None
    assert settings.log is not None
    options = LogOptions(
        units=settings.units,
        charge_sign=settings.charge_sign,
        date_format=settings.date_format,
        decimal=settings.decimal,
        time_zone=settings.time_zone,
        states=settings.states,
        integrate_gaps=settings.integrate_gaps,
        between_rows=settings.between_rows,
    )
    starts, ends = _moments(scans)
    file, span = config.resolve(settings.log), span_of([None if without_date(s) else s for s in starts], ends)
    key = file, _state(file), settings.model_dump_json(), span
    if (kept := _kept.get(key)) is not None:  # what checks, tables and charges ask one after the other
        return kept
    found = read_log(
        file,
        time=settings.time,
        charge=settings.charge,
        discharge=settings.discharge,
        current=settings.current,
        voltage=settings.voltage,
        absolute_time=settings.absolute_time,
        state=settings.state,
        options=options,
        scans=span,
    )
    _kept.clear()
    _kept[key] = found
    return found


def _state(file: Path) -> tuple[int, ...]:
    """Return what changes with a file, nothing where there is none."""
    try:
        status = file.stat()
    except OSError:
        return ()
    return status.st_ino, status.st_mtime_ns, status.st_size, status.st_ctime_ns


def charges_of(config: Config) -> GivenCharges:
    """Return the charges at the scans that a configuration gives in place of a log.

    Raises
    ------
    ValueError
        What is wrong with their file.
    """
    settings = config.electrochemistry
    assert settings is not None
    assert settings.charges is not None
    if isinstance(settings.charges, str):
        return read_charges(config.resolve(settings.charges))
    return GivenCharges("electrochemistry.charges", dict(settings.charges), {})


def times_on_log(config: Config, record: CyclerLog, names: Sequence[str], scans: Sequence[AnyScan | None]) -> ScanTimes:
    """Put the scans on the log's time axis.

    Raises
    ------
    ValueError
        A scan without a time, or clocks of which only one has a zone.
    """
    settings = config.electrochemistry
    assert settings is not None
    starts, ends = _moments(scans)
    if record.start is not None and record.start.tzinfo is not None:
        starts, ends = (list(map(_since_1970, moments)) for moments in (starts, ends))
    seconds = any(map(without_date, starts))
    if seconds and record.start is not None:
        raise ValueError("the times of the scans are seconds without a date, those of the log have one: give start")
    return scan_times(
        names,
        starts,
        ends,
        log_start=NO_DATE if seconds else record.start,  # seconds are counted on the clock of the log
        offset_s=settings.offset_s,
        absent=[k for k, scan in enumerate(scans) if scan is None],
        time_zone=settings.time_zone,
    )


def _since_1970(moment: datetime | None) -> datetime | None:
    """Return the date of a scan whose seconds can be those since 1970: no log is twenty years long."""
    if moment is None or not without_date(moment) or moment - NO_DATE < FEWEST_SINCE_1970:
        return moment
    return datetime(1970, 1, 1, tzinfo=UTC) + (moment - NO_DATE)


def _moments(scans: Sequence[AnyScan | None]) -> tuple[list[datetime | None], list[datetime | None]]:
    return [s.start if s else None for s in scans], [s.end if s else None for s in scans]


def clocks(config: Config, names: Sequence[str], scans: Sequence[AnyScan | None]) -> dict[str, Any]:
    """Return the log's first and last time beside those of the scans, as plain values.

    Raises
    ------
    ValueError
        The log cannot be read, or its clock not be brought to that of the scans.
    """
    settings = config.electrochemistry
    assert settings is not None
    record = log_of(config, scans)
    first, last = float(record.time_s[0]), float(record.time_s[-1])
    times = times_on_log(config, record, names, scans)
    start = record.start
    return {
        "log": settings.log,
        "first": None if start is None else _written(start, first),
        "last": None if start is None else _written(start, last),
        "first_s": first,
        "last_s": last,
        "zone": "not known" if start is None or start.tzinfo is None else str(start.tzinfo),
        "offset_s": settings.offset_s,
        "charge_C": float(record.charge_C[-1]),
        "scans": [
            {
                "scan": name,
                "start": None
                if scan is None or scan.start is None or without_date(scan.start)
                else scan.start.isoformat(),
                "log_s": None if not np.isfinite(t) else float(t),
                "in_log": bool(first <= t <= last),
            }
            for name, scan, t in zip(names, scans, times.time_s, strict=True)
        ],
        "scans_in_seconds": any(scan is not None and without_date(scan.start) for scan in scans),
        "notes": list(record.notes),
    }


def _written(start: datetime, seconds: float) -> str:
    return (start + timedelta(seconds=seconds)).isoformat(timespec="seconds")
