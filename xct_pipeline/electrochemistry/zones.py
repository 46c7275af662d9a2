"""Zones and offsets: a clock's own time turned into UTC where its zone is known, summer time found where it is not."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

HOUR_S = 3600.0
_ZONES = {"UTC": 0, "GMT": 0, "WET": 0, "WEST": 1, "CET": 1, "CEST": 2, "MEZ": 1, "MESZ": 2, "EET": 2, "EEST": 3}
_ZONES |= {"EST": -5, "EDT": -4, "PST": -8, "PDT": -7, "JST": 9, "KST": 9}
"""Hours of zones by their short names, of those that mean one thing only."""


@dataclass(frozen=True)
class Stamps:
    """Moments of a log.

    Attributes
    ----------
    seconds : numpy.ndarray
        Since 1970 in UTC where the zone is known, else on the clock's own time; NaN where there is nothing.
    zone : tzinfo or None
        None where the clock's zone is unknown.
    notes : tuple of str
        What was taken for granted.
    """

    seconds: Array
    zone: tzinfo | None = None
    notes: tuple[str, ...] = ()

    def moment(self, seconds: float) -> datetime:
        """Return a moment as a date, with its zone where it is known."""
        found = datetime.fromtimestamp(0, UTC) + timedelta(seconds=seconds)
        return found.replace(tzinfo=None) if self.zone is None else found


@dataclass(frozen=True)
class Question:
    """A column of dates and what helps to read it.

    Attributes
    ----------
    source, name : str
        File and column, for messages.
    date_format : str or None
        "day first", "month first", "year first", or a pattern of `strptime`.
    time_zone : str or None
        Of dates that name none: ``Europe/Berlin``, ``UTC`` or ``+02:00``.
    scans : (float, float) or None
        First and last moment of the scans, s since 1970 on their clock.
    usual : str or None
        The order that this instrument always writes.
    """

    source: str
    name: str
    date_format: str | None = None
    time_zone: str | None = None
    scans: tuple[float, float] | None = None
    usual: str | None = None

    def refuse(self, text: str) -> ValueError:
        """Return an error about the column."""
        return ValueError(f"{self.source}: column {self.name!r} {text}")


def zone_of(text: str) -> tzinfo:
    """Return a time zone by its name or offset.

    Raises
    ------
    ValueError
        There is no such zone.
    """
    from zoneinfo import ZoneInfo

    match = re.fullmatch(r"(?:UTC|GMT)?([+-])(\d{1,2})(?::?(\d{2}))?", text.strip())
    if match:
        size = timedelta(hours=int(match[2]), minutes=int(match[3] or 0))
        return timezone(-size if match[1] == "-" else size)
    if text.strip().upper() == "Z" or _ZONES.get(text.strip().upper()) == 0:
        return UTC
    if text.strip() in _ZONES:
        return timezone(timedelta(hours=_ZONES[text.strip()]), text.strip())
    try:
        return ZoneInfo(text.strip())
    except (KeyError, ValueError, OSError):
        raise ValueError(f"time_zone {text!r} is unknown; write it as 'Europe/Berlin', 'UTC' or '+02:00'") from None


def zoned(question: Question, seconds: Array, zones: npt.NDArray[np.str_]) -> Stamps:
    """Turn the clock's own time into UTC where its zone is known."""
    filled = np.isfinite(seconds)
    named = (zones != "") & filled
    if named.any():
        if not named[filled].all():
            raise question.refuse("names a time zone in some rows only; write it in all, or in none and set time_zone")
        shift = {zone: zone_of(zone).utcoffset(None) for zone in set(zones[named])}
        away = np.array([0.0 if z == "" else (shift[z] or timedelta()).total_seconds() for z in zones.tolist()])
        first = zone_of(str(zones[named][0]))
        return Stamps(seconds - away, first)
    if question.time_zone:
        return Stamps(_localized(question, seconds), zone_of(question.time_zone))
    _refuse_summer_time(question, seconds[filled])
    return Stamps(seconds)


def epoch(stamps: Any) -> Array:
    """Return seconds since 1970 of dates, with a zone or on the clock's own time."""
    import pandas as pd

    naive = pd.Series(stamps)
    naive = naive.dt.tz_convert(None) if naive.dt.tz is not None else naive
    return np.asarray((naive - pd.Timestamp(0)).dt.total_seconds(), dtype=np.float64)


def _localized(question: Question, seconds: Array) -> Array:
    import pandas as pd

    zone = zone_of(str(question.time_zone))
    naive = pd.Series(pd.to_datetime(seconds, unit="s", errors="coerce")).dt.round("us")
    try:
        return epoch(naive.dt.tz_localize(zone, ambiguous="infer", nonexistent="shift_forward"))
    except ValueError:  # nothing repeats: a log that does not show both hours of the change
        return epoch(naive.dt.tz_localize(zone, ambiguous=np.zeros(len(naive), bool), nonexistent="shift_forward"))


def _refuse_summer_time(question: Question, seconds: Array) -> None:
    """Refuse a clock that jumps by an hour as clocks do in the night of a Sunday in spring or autumn."""
    steps = np.diff(seconds)
    usual = float(np.median(steps[steps > 0])) if (steps > 0).any() else 0.0
    slack = max(0.1 * min(usual, HOUR_S), 60.0)
    back = np.flatnonzero(steps < 0)
    if len(back) and np.all(np.abs(steps[back] + HOUR_S) <= max(2 * usual, slack)):
        raise _summer_time(question, int(back[0]) + 1, f"falls back by {-steps[back[0]] / HOUR_S:.2g} h", "ends")
    for k in np.flatnonzero(np.abs(np.abs(steps - usual) - HOUR_S) <= slack) if usual > 0 else ():
        if steps[k] >= 0 and _changes_clocks(float(seconds[k]), float(seconds[k + 1])):
            begins = steps[k] > usual
            what = f"has a step of {steps[k] / HOUR_S:.2g} h instead of {usual / HOUR_S:.2g} h"
            raise _summer_time(question, int(k) + 1, what, "begins" if begins else "ends")


def _changes_clocks(before: float, after: float) -> bool:
    """Tell whether two o'clock in the night of a Sunday of March, April, or September to November lies between."""
    first = datetime.fromtimestamp(before, UTC)
    sunday = (first + timedelta(days=(6 - first.weekday()) % 7)).replace(hour=0, minute=0, second=0, microsecond=0)
    night = (sunday + timedelta(hours=1)).timestamp(), (sunday + timedelta(hours=4)).timestamp()
    return sunday.month in (3, 4, 9, 10, 11) and before < night[1] and after >= night[0]


def _summer_time(question: Question, row: int, what: str, way: str) -> ValueError:
    return question.refuse(
        f"{what} at data row {row + 1}, as clocks do where summer time {way}: set time_zone (such as 'Europe/Berlin', "
        f"or 'UTC' where the clock does not change)"
    )
