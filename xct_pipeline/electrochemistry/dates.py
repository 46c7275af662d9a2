"""Dates and serial dates in a column: one reading for all of it, or none.

A reading is kept where no cell contradicts it, time does not run backwards, rows follow each other evenly, and it
overlaps the scans. Where two readings are left that differ, both are shown and the user decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from xct_pipeline.electrochemistry.zones import Question, Stamps, epoch, zone_of, zoned

Array = npt.NDArray[np.float64]

EXCHANGED = "days and months exchanged"
"""Date format of a workbook whose dates a program read with days for months."""
SEEN = 1000
"""Cells that are looked at for dates among text."""
SERIAL_DAYS = (25569.0, 62000.0)
"""Whole days since 1899-12-30, of years from 1970 to 2069."""
ORDERS = {"day first": "dmy", "month first": "mdy", "year first": "ymd"}
DAY_S = 86400.0
PLAUSIBLE = (1990, 2060)
"""Years that a log can be of: tells what a number counts."""
COUNTS: tuple[tuple[str, float, float, bool], ...] = (
    ("days since 1899-12-30", -25569 * DAY_S, DAY_S, False),
    ("days since 1904-01-01", -24107 * DAY_S, DAY_S, False),
    ("days since year 0 (datenum)", -719529 * DAY_S, DAY_S, False),
    ("modified Julian days", -40587 * DAY_S, DAY_S, True),
    ("Julian days", -2440587.5 * DAY_S, DAY_S, True),
    ("s since 1970", 0.0, 1.0, True),
    ("ms since 1970", 0.0, 1e-3, True),
    ("us since 1970", 0.0, 1e-6, True),
    ("ns since 1970", 0.0, 1e-9, True),
    ("s since 1904", -2082844800.0, 1.0, True),
    ("100 ns since 1601", -11644473600.0, 1e-7, True),
)
"""What numbers for moments count: name, their 0 in s since 1970, their size in s, and whether they are in UTC."""
SLACK_S = 14 * 3600.0
"""How far a clock without a zone may be from one with a zone."""

_DATE = re.compile(
    r"(?:[A-Za-z]{2,}\.?,?\s+)?(?P<a>\d{1,4})(?P<sep>[./-])(?P<b>\d{1,2})(?P=sep)(?P<c>\d{1,4})"
    r"\.?(?:[ T,_]+(?P<rest>.*))?"
)
_COMPACT = re.compile(r"(?P<a>(?:19|20)\d\d)(?P<b>\d\d)(?P<c>\d\d)(?:[ T_-]*(?P<rest>\d\d.*))?")
_TIME = re.compile(
    r"(?P<h>\d{1,2})(?P<colon>[:.h]?)(?P<m>\d{2})(?:(?P=colon)(?P<s>\d{2}(?:[.,:]\d+)?))?\s*(?P<half>[AaPp]\.?[Mm]\.?)?"
    r"\s*(?P<zone>Z|[A-Z]{3,4}|(?:UTC|GMT)?[+-]\d{2}(?::?\d{2})?)?"
)
_TIME_FIRST = re.compile(r"(?P<time>\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?: ?[AaPp][Mm])?)[ ,_]+(?P<date>\S.*\d)")
_MONTHS = {
    name: f"{k:02d}"
    for k, names in enumerate(
        [
            "jan ene gen",
            "feb fév fev",
            "mar mär mrz",
            "apr avr abr",
            "may mai mag",
            "jun juin giu",
            "jul juil lug",
            "aug aoû aou ago",
            "sep set",
            "oct okt ott out",
            "nov",
            "dec dez déc dic",
        ],
        1,
    )
    for name in names.split()
}


def read_stamps(question: Question, cells: Any) -> Stamps:
    """Read a column of dates.

    Raises
    ------
    ValueError
        Two readings are possible (both are shown, with the key that decides), or none.
    """
    import pandas as pd

    values = pd.Series(cells)
    if values.dtype.kind == "M" or any(isinstance(value, datetime) for value in values.dropna().iloc[:SEEN]):
        return _of_workbook(question, values)
    text = values.astype(str).str.strip().replace({"nan": "", "NaT": "", "None": ""})
    filled = text[text != ""]
    if not len(filled):
        raise question.refuse(
            "is empty where dates belong; set absolute_time to another column, or time to one of seconds"
        )
    numeric = values if values.dtype.kind in "fiu" else pd.to_numeric(text.str.replace(",", "."), errors="coerce")
    if numeric.notna().sum() >= len(filled) and not _is_compact(filled.str.removesuffix(".0")):
        return _serial(question, np.asarray(numeric, float))
    if question.date_format and "%" in question.date_format:
        return _pattern(question, text)
    return _written(question, text)


def _of_workbook(question: Question, values: Any) -> Stamps:
    """Read dates that a workbook holds as such, where the program that wrote it took no days for months.

    Raises
    ------
    ValueError
        Some cells are text, or days and months are exchanged; with both readings.
    """
    import pandas as pd

    none = np.array([""] * len(values))
    texts = values.map(lambda value: isinstance(value, str) and bool(value.strip()))
    if texts.any():
        return zoned(question, _partly_text(question, values, texts), none)
    stamps = pd.to_datetime(values)
    as_they_stand = epoch(stamps)
    known = stamps[stamps.notna()]
    if (known.dt.day > 12).any() or (known.dt.day == known.dt.month).all():
        return zoned(question, as_they_stand, none)
    readings = {"ymd": as_they_stand, "exchanged": epoch(_exchanged(stamps))}
    chosen = {"year first": "ymd", EXCHANGED: "exchanged"}.get(question.date_format or "")
    left = _left(question, readings)
    if chosen is None and "ymd" not in left:
        other = _span(readings["exchanged"])
        raise question.refuse(
            f"can be read in two ways: as its dates stand: {_span(as_they_stand)} (date_format = 'year first'); or "
            f"with days and months exchanged, as by a program that took one for the other: {other} "
            f"(date_format = {EXCHANGED!r}); set date_format to the one that is right"
        )
    return zoned(question, readings[chosen or "ymd"], none)


def _exchanged(stamps: Any) -> Any:
    """Return dates with days for months; where that gives none, as they are."""
    import pandas as pd

    return pd.Series(
        [v if pd.isna(v) or v.day > 12 else v.replace(day=v.month, month=v.day) for v in stamps], dtype="datetime64[ns]"
    )


def _partly_text(question: Question, values: Any, texts: Any) -> Array:
    """Return seconds of dates of which a program left some as text, as it took others with days for months.

    Raises
    ------
    ValueError
        `date_format` does not say which it is; with both readings.
    """
    import pandas as pd

    text = values.where(texts, "").astype(str).str.strip()
    first = text[text != ""].iloc[0]
    try:
        written = _written(replace(question, date_format=None, time_zone=None), text).seconds
    except ValueError as error:
        raise question.refuse(
            f"holds dates, and text such as {first!r}, which is none or can be read in two ways ({error}); write all "
            f"of them as text, and set date_format"
        ) from None
    stamps = pd.to_datetime(values.mask(texts))
    readings = {
        "year first": np.where(texts, written, epoch(stamps)),
        EXCHANGED: np.where(texts, written, epoch(_exchanged(stamps))),
    }
    if question.date_format in readings:
        return readings[question.date_format]
    shown = "; or ".join(f"{_span(seconds)} (date_format = {name!r})" for name, seconds in readings.items())
    raise question.refuse(
        f"holds dates, and text such as {first!r}, as a program leaves that takes days for months where it can: as its "
        f"dates stand, or with their days and months exchanged: {shown}; set date_format to the one that is right"
    )


def days_of(cells: Any) -> npt.NDArray[np.str_] | None:
    """Return the days of a column that holds days without a time of day, "" where a cell is empty; else None."""
    import pandas as pd

    values = pd.Series(cells)
    if values.dtype.kind == "M":
        days = values.dt.normalize()
        whole = bool((values.isna() | (values == days)).all()) and bool(values.notna().any())
        return days.dt.strftime("%Y-%m-%d").fillna("").to_numpy(dtype=str) if whole else None
    if values.dtype.kind == "f":
        known = values.dropna()
        serial = len(known) and bool(((known % 1 == 0) & known.between(*SERIAL_DAYS)).all())
        return days_of(pd.to_datetime(values, unit="D", origin="1899-12-30")) if serial else None
    if values.dtype.kind != "O":
        return None
    text = values.astype(str).str.strip().replace({"nan": "", "NaT": "", "None": ""})
    filled = text[text != ""]
    if not len(filled):
        return None
    if filled.str.fullmatch(r"\d{5}").all() and filled.astype(float).between(*SERIAL_DAYS).all():
        return days_of(pd.to_numeric(text, errors="coerce").astype(float))
    spelled = _without_month_names(filled)
    match = spelled.str.extract(f"^{_DATE.pattern}$")
    alone = match["a"].notna() & match["rest"].fillna("").eq("")
    alone |= spelled.str.fullmatch(r"(?:19|20)\d{6}")
    return text.to_numpy(dtype=str) if alone.all() else None


def _is_compact(filled: Any) -> bool:
    """Tell whether digits are years, months and days in a row, maybe with hours, minutes and seconds."""
    parts = filled.str.extract(f"^{_COMPACT.pattern}$")
    month, day = parts["b"].astype(float), parts["c"].astype(float)
    return bool((parts["a"].notna() & month.between(1, 12) & day.between(1, 31) & filled.str.len().ne(10)).all())


def _serial(question: Question, values: Array) -> Stamps:
    """Read numbers as what gives years that a log can be of, and overlaps the scans where that leaves a choice.

    Raises
    ------
    ValueError
        They are nothing that is known.
    """
    low, high = (datetime(year, 1, 1, tzinfo=UTC).timestamp() for year in PLAUSIBLE)
    counts = {name: rest for name, *rest in COUNTS}
    if question.date_format in counts:
        counts = {question.date_format: counts[question.date_format]}
    readings = {name: zero + values * size for name, (zero, size, _) in counts.items()}
    readings = {name: s for name, s in readings.items() if low <= np.nanmin(s) and np.nanmax(s) < high}
    overlaps = _overlapping(question)
    left = {name: seconds for name, seconds in readings.items() if overlaps(seconds, [])} or readings
    if not left:
        raise question.refuse(
            f"holds numbers such as {values[np.isfinite(values)][0]:.10g}, which are no dates ({', '.join(counts)}); "
            f"set time to a column of times instead"
        )
    name = next(iter(left))
    notes = (f"{question.name!r} was taken as {name}{' in UTC' if counts[name][2] else ''}",)
    others = [other for other in left if other != name]
    if others:
        shown = "; or ".join(f"{n}: {_span(left[n])} (date_format = {n!r})" for n in left)
        notes = (f"{notes[0]}, as spreadsheets and instruments do; {shown}",)
    if counts[name][2]:
        return Stamps(left[name], UTC, notes)
    found = zoned(question, left[name], np.array([""] * len(values)))
    return Stamps(found.seconds, found.zone, (*notes, *found.notes))


def _pattern(question: Question, text: Any) -> Stamps:
    import pandas as pd

    try:
        stamps = pd.to_datetime(text.replace("", pd.NaT), format=question.date_format)
    except (ValueError, TypeError) as error:
        first = text[text != ""].iloc[0]
        raise question.refuse(
            f"does not follow date_format {question.date_format!r} ({first!r}): {str(error).splitlines()[0]}; correct "
            f"date_format"
        ) from None
    if stamps.dt.tz is not None:
        return Stamps(epoch(stamps), UTC)
    return zoned(question, epoch(stamps), np.array([""] * len(text)))


def _written(question: Question, text: Any) -> Stamps:
    """Read dates of digits: every order that fits, and the one that is left."""
    plain = _without_month_names(_date_first(text))
    parts = plain.str.extract(f"^{_DATE.pattern}$")
    if parts["a"].isna().all():
        parts = plain.str.extract(f"^{_COMPACT.pattern}$").assign(sep="-")
    bad = parts["a"].isna() & (text != "")
    times = parts["rest"].fillna("").str.extract(f"^{_TIME.pattern}$")
    bad |= (parts["rest"].fillna("") != "") & times["h"].isna()
    _refuse_zones(question, times["zone"])
    if bad.any():
        row = int(np.argmax(bad.to_numpy()))
        raise question.refuse(
            f"holds no dates that can be read ({text.iloc[row]!r}, data row {row + 1}); "
            f"write them as 2026-05-01T10:00:00, or set date_format"
        )
    of_day, zones = _of_day(times), times["zone"].fillna("").to_numpy(dtype=str)
    readings: dict[str, Array] = {}
    for order in _orders(question, parts):
        days = _days(parts, order)
        if days is not None:
            readings[order] = days + of_day
    if not readings:
        raise question.refuse(f"holds no dates that can be read ({text[text != ''].iloc[0]!r}); set date_format")
    order, notes = _decide(question, readings)
    found = zoned(question, readings[order], zones)
    return Stamps(found.seconds, found.zone, (*notes, *found.notes))


def _date_first(text: Any) -> Any:
    """Put the date before the time of day, and signs of the day, month and year between digits as dashes."""
    plain = text.str.replace(r"(\d{4})\s*年\s*(\d{1,2})\s*月\s*(\d{1,2})\s*日", r"\1-\2-\3", regex=True)
    plain = plain.str.replace(r"\s*Uhr$", "", regex=True)
    sample = next((cell for cell in plain if cell), "")
    return (
        plain.str.replace(f"^{_TIME_FIRST.pattern}$", r"\g<date> \g<time>", regex=True)
        if _TIME_FIRST.fullmatch(sample)
        else plain
    )


def _refuse_zones(question: Question, zones: Any) -> None:
    for zone in set(zones.dropna()):
        try:
            zone_of(zone)
        except ValueError:
            raise question.refuse(
                f"names the zone {zone!r}, which is not known or means more than one; write its offset (+02:00) into "
                f"the cells, or leave it out and set time_zone"
            ) from None


def _without_month_names(text: Any) -> Any:
    def spelled(match: re.Match[str]) -> str:
        name = match["m"].lower()
        number = _MONTHS.get(name[:4]) or _MONTHS.get(name[:3])
        year = match["y"] if len(match["y"]) == 4 else f"20{match['y']}"
        return f"{year}-{number}-{int(match['d']):02d}" if number else match[0]

    sample = next((cell for cell in text if cell), "")
    if not re.search(r"[A-Za-z]{3}", sample):
        return text
    replaced = text.str.replace(
        r"(?P<d>\d{1,2})\.?[ -](?P<m>[A-Za-zäéû]{3,})\.?[ -](?P<y>\d{4}|\d{2}(?!\d|:))", spelled, regex=True
    )
    # Sun May 03 22:00:00 2026
    replaced = replaced.str.replace(
        r"(?P<m>[A-Za-zäé]{3,})\.? +(?P<d>\d{1,2}) +(?P<t>\d{1,2}:\d{2}:\d{2})(?P<z> [A-Z]{3,4})? (?P<y>\d{4})",
        lambda match: f"{spelled(match)} {match['t']}{match['z'] or ''}",
        regex=True,
    )
    return replaced.str.replace(r"(?P<m>[A-Za-zäé]{3,})\.? (?P<d>\d{1,2}),? (?P<y>\d{4})", spelled, regex=True)


def _of_day(times: Any) -> Array:
    import pandas as pd

    hours, minutes = (pd.to_numeric(times[k], errors="coerce").fillna(0).to_numpy(float) for k in "hm")
    secs = times["s"].fillna("0").str.replace(r"[,:]", ".", regex=True)
    half = times["half"].fillna("").str.lower().str[:1].to_numpy(dtype=str)
    hours = np.where(half != "", hours % 12, hours) + np.where(half == "p", 12.0, 0.0)
    return np.asarray(hours * 3600 + minutes * 60 + pd.to_numeric(secs).to_numpy(float))


def _orders(question: Question, parts: Any) -> list[str]:
    """Return the orders that the digits allow; dots mean day first."""
    first = parts.dropna(subset=["a"]).iloc[0]
    if question.date_format:
        if question.date_format not in ORDERS:
            raise ValueError(
                f"date_format {question.date_format!r}: write 'day first', 'month first', 'year first' or a pattern "
                f"such as '%d/%m/%Y %H:%M:%S'"
            )
        return [ORDERS[question.date_format]]
    if len(first["a"]) == 4:
        return ["ymd"]
    if first["sep"] == ".":
        return ["dmy"]
    return ["dmy", "mdy"] if len(first["c"]) == 4 else ["dmy", "mdy", "ymd"]


def _days(parts: Any, order: str) -> Array | None:
    """Return seconds of each day since 1970 (NaN where there is none), None where a date does not exist."""
    import pandas as pd

    triples = parts[["a", "b", "c"]].dropna().drop_duplicates()
    named = triples.set_axis([{"d": "day", "m": "month", "y": "year"}[letter] for letter in order], axis=1).astype(int)
    named["year"] = named["year"].where(named["year"] >= 100, named["year"] + 2000)
    days = pd.to_datetime(named, errors="coerce")
    if days.isna().any() or ((named["year"] < 1970) | (named["year"] > 2200)).any():
        return None
    keys = triples["a"] + "/" + triples["b"] + "/" + triples["c"]
    lookup = dict(zip(keys, (days - pd.Timestamp(0)).dt.total_seconds(), strict=True))
    return np.asarray((parts["a"] + "/" + parts["b"] + "/" + parts["c"]).map(lookup), dtype=np.float64)


def _decide(question: Question, readings: dict[str, Array]) -> tuple[str, tuple[str, ...]]:
    """Return the one order that is possible, and what was taken for granted."""
    left = _left(question, readings)
    orders = list(left)
    if len(orders) == 1 or all(np.array_equal(left[orders[0]], left[o], equal_nan=True) for o in orders[1:]):
        return orders[0], ()
    words = {value: key for key, value in ORDERS.items()}
    shown = [f"{words[o]}: {_span(left[o])} (date_format = {words[o]!r})" for o in orders]
    if question.usual in left:
        return question.usual, (
            f"dates of {question.name!r} were taken as {words[question.usual]}; " + "; ".join(shown),
        )
    raise question.refuse(
        "can be read in two ways: " + "; or ".join(shown) + "; set date_format to the one that is right"
    )


def _left(question: Question, readings: dict[str, Array]) -> dict[str, Array]:
    """Return the readings that run forwards, evenly, and overlap the scans; each where one of them does."""
    left = dict(readings)
    for rule in (_forwards, _even, _overlapping(question)):
        better = {order: seconds for order, seconds in left.items() if rule(seconds, list(left.values()))}
        left = better or left
    return left


def _span(seconds: Array) -> str:
    first, last = (datetime.fromtimestamp(float(f(seconds)), UTC) for f in (np.nanmin, np.nanmax))
    return f"{first.day} {first:%B %Y %H:%M} to {last.day} {last:%B %Y %H:%M}"


def _forwards(seconds: Array, _: Sequence[Array]) -> bool:
    return bool(np.all(np.diff(seconds[np.isfinite(seconds)]) >= 0))


def _unevenness(seconds: Array) -> tuple[float, float]:
    steps = np.diff(seconds[np.isfinite(seconds)])
    steps = steps[steps > 0]
    if len(steps) < 2:
        return 1.0, 0.0
    return float(steps.max() / np.median(steps)), float(steps.std() / steps.mean())


def _even(seconds: Array, others: Sequence[Array]) -> bool:
    """Tell whether no other reading is far more even."""
    worst, spread = _unevenness(seconds)
    best = [_unevenness(other) for other in others]
    return worst <= 3 * min(b[0] for b in best) and not (spread > 1e-3 and min(b[1] for b in best) < 1e-6)


def _overlapping(question: Question) -> Callable[[Array, Sequence[Array]], bool]:
    def overlaps(seconds: Array, _: Sequence[Array]) -> bool:
        if question.scans is None:
            return True
        first, last = question.scans
        return bool(np.nanmin(seconds) <= last + SLACK_S and np.nanmax(seconds) >= first - SLACK_S)

    return overlaps
