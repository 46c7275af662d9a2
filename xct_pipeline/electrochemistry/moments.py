"""The time of a log, and the moment at which it was 0: from seconds, times of day, dates, or dates and times apart."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from xct_pipeline.electrochemistry import clock, decimals
from xct_pipeline.electrochemistry.dates import PLAUSIBLE, days_of, read_stamps
from xct_pipeline.electrochemistry.decimals import Decimal
from xct_pipeline.electrochemistry.options import LogOptions
from xct_pipeline.electrochemistry.roles import Roles, start_text
from xct_pipeline.electrochemistry.table import Table
from xct_pipeline.electrochemistry.units import scale
from xct_pipeline.electrochemistry.zones import Question, Stamps

Array = npt.NDArray[np.float64]
_OF_DAY = re.compile(r"(time|zeit|heure|hora|ora)( of day)?|uhrzeit|clock( time)?|tageszeit|时间")
"""Names of columns that can hold the time of day."""
Times = tuple[Array, datetime | None, tuple[str, ...]]
"""Seconds, the moment of their 0 where it is known, and what was taken for granted."""


def times_of(
    table: Table, roles: Roles, options: LogOptions, scans: tuple[float, float] | None, decimal: Decimal, named: bool
) -> Times:
    """Return seconds of each row, the moment of their 0 where it is known, and what was taken for granted.

    Parameters
    ----------
    scans : (float, float) or None
        First and last moment of the scans, s since 1970 on their clock.
    named : bool
        The user named the column of times: no other is taken instead of it.

    Raises
    ------
    ValueError
        The columns hold no times, or can be read in two ways.
    """
    return _Clock(table, roles, options, scans, decimal, named).times()


@dataclass(frozen=True)
class _Clock:
    """The columns of time of one log."""

    table: Table
    roles: Roles
    options: LogOptions
    scans: tuple[float, float] | None
    decimal: Decimal
    named: bool

    def times(self) -> Times:
        roles = self.roles
        if roles.time is None and clock.is_duration(self.table.column(str(roles.absolute_time))):
            roles = replace(roles, time=roles.absolute_time, absolute_time=None)
        if roles.time and roles.absolute_time:
            days = days_of(self.table.column(roles.absolute_time))
            if days is not None:
                return self._apart(roles.time, roles.absolute_time, days)
        seconds = self._seconds(roles.time) if roles.time else None
        if roles.time and seconds is None:  # dates in the column named as time
            roles = replace(roles, absolute_time=roles.time)
        if not roles.absolute_time:
            assert seconds is not None
            return self._since_1970(str(roles.time), seconds) or (seconds, *self._head())
        try:
            stamps = self._stamps(roles.absolute_time)
        except ValueError as error:
            if seconds is None or (self.roles.absolute_time == roles.absolute_time and self.scans is not None):
                raise
            return seconds, None, (f"the absolute time was not used: {error}",)
        if seconds is not None and not self.named and _backwards(seconds) and not _backwards(stamps.seconds):
            note = f"{roles.time!r} begins again; the time is that of {roles.absolute_time!r}"
            return self._of_stamps(stamps, None, (note,))
        return self._of_stamps(stamps, seconds)

    def _of_stamps(self, stamps: Stamps, seconds: Array | None, notes: tuple[str, ...] = ()) -> Times:
        known = np.flatnonzero(np.isfinite(stamps.seconds))[0]
        if seconds is None:
            seconds = stamps.seconds - stamps.seconds[known]
        moment = stamps.moment(float(stamps.seconds[known] - seconds[known]))
        return seconds, moment, (*notes, *stamps.notes)

    def _stamps(self, name: str) -> Stamps:
        cells = self.table.column(name)
        days = days_of(cells)
        if days is not None and len(days) > len(np.unique(days)):
            raise ValueError(
                f"{self.table.source}: column {name!r} holds days without a time of day, many rows on each; set "
                f"time to a column of the time of day or of seconds"
            )
        if np.asarray(cells).dtype.kind == "O" and self.decimal == ",":
            cells = [str(c).replace(",", ".") if decimals.is_number(str(c)) else c for c in cells]
        return read_stamps(self._question(name), cells)

    def _apart(self, time: str, date: str, days: npt.NDArray[np.str_]) -> Times:
        """Return what a column of days and one of times of day say together."""
        others = [n for n in self.table.names if n != time and _OF_DAY.fullmatch(n.strip().lower())]
        for name in (time, *others):
            joined = self._joined(name, days)
            if joined is not None:
                stamps = read_stamps(self._question(date), joined)
                elapsed = None if name == time else self._seconds(time)
                return self._of_stamps(stamps, elapsed, (f"{date!r} and {name!r} were read as one",))
        seconds = self._seconds(time)
        if seconds is None:
            raise ValueError(
                f"{self.table.source}: column {time!r} holds dates, and so does {date!r}: set absolute_time to one of "
                f"them"
            )
        text_of = f"the start of the log is not known: column {date!r} holds days without a time of day"
        if self.scans is not None:
            raise ValueError(
                f"{self.table.source}: {text_of}, and {time!r} none either; set time = {time!r}, whose 0 is then the "
                f"start of the first scan, and offset_s where it is not"
            )
        return seconds, None, (text_of,)

    def _joined(self, time: str, days: npt.NDArray[np.str_]) -> npt.NDArray[np.object_] | None:
        """Return days and times of day in one text, None where the column is not the time of those days."""
        cells = np.asarray(self.table.column(time))
        text = np.array([str(c).strip() for c in cells.tolist()], dtype=object)
        of_day = clock.of_day(text) if cells.dtype.kind in "OU" else None
        if of_day is None or not clock.follows_days(of_day, days):
            return None
        return np.array([f"{d} {t}" if d and t else "" for d, t in zip(days, text, strict=True)], dtype=object)

    def _question(self, name: str) -> Question:
        usual = "mdy" if self.table.instrument == "BioLogic" else None
        options = self.options
        return Question(self.table.source, name, options.date_format, options.time_zone, self.scans, usual)

    def _seconds(self, name: str) -> Array | None:
        """Return a column of times in seconds; None where it holds dates."""
        source, cells = self.table.source, self.table.column(name)
        if np.asarray(cells).dtype.kind == "M":
            return None
        if np.asarray(cells).dtype.kind == "O":
            first = next((str(c) for c in cells if str(c).strip()), "")
            if clock.is_duration(cells):
                return clock.durations(source, name, cells, self.options.date_format)
            if not decimals.is_number(first) or (":" in first):
                if ":" in first or first.count("-") > 1 or first.count("/") > 1:
                    return None
                raise ValueError(
                    f"{source}: column {name!r} holds text such as {first!r}, not seconds or hours; set time or "
                    f"absolute_time to another column"
                )
        size = scale(source, name, "time", self.options.units, self.table.units)
        return decimals.numbers(source, name, cells, self.decimal) * size

    def _since_1970(self, name: str, seconds: Array) -> Times | None:
        """Return times that count since 1970: no log is fifty years long."""
        low, high = (datetime(year, 1, 1, tzinfo=UTC).timestamp() for year in PLAUSIBLE)
        known = seconds[np.isfinite(seconds)]
        if not len(known) or known.min() < low or known.max() >= high:
            return None
        return self._of_stamps(Stamps(seconds, UTC, (f"{name!r} was taken as s since 1970 in UTC",)), None)

    def _head(self) -> tuple[datetime | None, tuple[str, ...]]:
        """Return the start that the file's head tells; nothing where it can be read in two ways."""
        text = start_text(self.table)
        if text is None:
            return None, ()
        try:
            cells: Any = np.array([text], dtype=object)
            stamps = read_stamps(self._question("start in the head"), cells)
        except ValueError as error:
            if self.scans is not None:
                raise
            return None, (f"the start of the log was not used: {error}",)
        return stamps.moment(float(stamps.seconds[0])), stamps.notes


def _backwards(seconds: Array) -> bool:
    return bool((np.diff(seconds[np.isfinite(seconds)]) < 0).any())
