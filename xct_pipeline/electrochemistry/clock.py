"""Times of day and durations in a column: hours, minutes and seconds, carried over midnight."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

DAY_S = 86400.0

_DURATION = re.compile(
    r"\s*(?:(?P<d>\d+)\s*(?:d|days?)?\s*[ .:,-]\s*)?(?P<h>\d+):(?P<m>\d{1,2}):(?P<s>\d{1,2}(?:[.,]\d+)?)"
    r"\s*(?P<half>[AaPp]\.?[Mm]\.?)?\s*"
)
_TWO = re.compile(r"\s*(?P<first>\d+):(?P<second>\d{1,2}(?P<part>[.,]\d+)?)\s*(?P<half>[AaPp]\.?[Mm]\.?)?\s*")
TWO = {"%H:%M": (3600.0, 60.0), "%M:%S": (60.0, 1.0)}
"""What two numbers with a colon between them count, s, by the format that says so."""


def is_duration(cells: Any) -> bool:
    """Tell whether the first filled cell is hours, minutes and seconds without a date, or two of the three."""
    text = next((str(cell) for cell in cells if str(cell).strip() not in ("", "nan")), "")
    return _DURATION.fullmatch(text) is not None or _TWO.fullmatch(text) is not None


def durations(source: str, name: str, cells: Any, date_format: str | None = None) -> Array:
    """Return seconds of a column of h:m:s (with days in front where there are), carried over midnight.

    Parameters
    ----------
    date_format : str, optional
        "%H:%M" or "%M:%S": what two numbers are.

    Raises
    ------
    ValueError
        A cell is nothing of the kind, or hours and minutes as well as minutes and seconds.
    """
    import pandas as pd

    text = pd.Series(cells).astype(str)
    empty = text.str.strip().isin(("", "nan"))
    if text[~empty].str.fullmatch(_TWO.pattern).all():
        return _two(source, name, text, date_format)
    parts = text.str.extract(f"^{_DURATION.pattern}$")
    bad = parts["s"].isna() & ~empty
    if bad.any():
        row = int(np.argmax(bad.to_numpy()))
        raise ValueError(
            f"{source}: {text.iloc[row]!r} in column {name!r}, data row {row + 1}, is no time h:m:s; correct it, or "
            f"set time to another column"
        )
    values = [pd.to_numeric(parts[k].str.replace(",", "."), errors="coerce").to_numpy(float) for k in "dhms"]
    days, hours, minutes, secs = values
    seconds = np.nan_to_num(days) * DAY_S + _full_hours(hours, parts["half"]) * 3600 + minutes * 60 + secs
    return _over_midnight(seconds) if np.isnan(days).all() else seconds


def _two(source: str, name: str, text: Any, date_format: str | None) -> Array:
    """Return seconds of hours and minutes, or of minutes and seconds: the latter where parts of them are written."""
    import pandas as pd

    parts = text.str.extract(f"^{_TWO.pattern}$")
    known = date_format if date_format in TWO else None
    known = known or ("%M:%S" if parts["part"].notna().any() else "%H:%M" if parts["half"].notna().any() else None)
    first, second = (
        pd.to_numeric(parts[k].str.replace(",", "."), errors="coerce").to_numpy(float) for k in ("first", "second")
    )
    if known is None:
        spans = [np.nanmax(first * a + second * b) - np.nanmin(first * a + second * b) for a, b in TWO.values()]
        raise ValueError(
            f"{source}: column {name!r} holds {text[text != ''].iloc[0].strip()!r}, which is hours and minutes "
            f"({spans[0]:g} s in all) or minutes and seconds ({spans[1]:g} s); set date_format = '%H:%M' for the "
            f"first or '%M:%S' for the second"
        )
    large, small = TWO[known]
    return _over_midnight(_full_hours(first, parts["half"]) * large + second * small)


def _full_hours(hours: Array, half: Any) -> Array:
    """Return hours of a day of 24 from those of a clock of 12."""
    letter = half.fillna("").str.lower().str[:1].to_numpy(dtype=str)
    return np.where(letter != "", hours % 12, hours) + np.where(letter == "p", 12.0, 0.0)


def _over_midnight(seconds: Array) -> Array:
    """Add days where a clock of 24 h begins anew: a fall that a step of a usual length explains."""
    known = np.flatnonzero(np.isfinite(seconds))
    steps = np.diff(seconds[known])
    usual = float(np.median(steps[steps > 0])) if (steps > 0).any() else 0.0
    if np.nanmax(seconds, initial=0) >= DAY_S or not (steps < 0).any():
        return seconds
    falls = (steps < 0) & (steps + DAY_S <= 20 * usual)
    result = seconds.copy()
    result[known] += DAY_S * np.concatenate([[0], np.cumsum(falls)])
    return result


def of_day(text: Sequence[str] | npt.NDArray[np.object_]) -> Array | None:
    """Return seconds since midnight of times of day (h:m, h:m:s, with AM and PM); None where a cell is none."""
    result = np.full(len(text), np.nan)
    for k, cell in enumerate(text):
        found = _DURATION.fullmatch(cell) or _TWO.fullmatch(cell)
        if cell and (found is None or found.groupdict().get("d")):
            return None
        if found is not None:
            result[k] = _second_of_day(found)
    return result if np.nanmax(result, initial=0.0) < DAY_S else None


def _second_of_day(found: re.Match[str]) -> float:
    held = found.groupdict()
    hours, minutes = int(held.get("h") or held["first"]), float((held.get("m") or held["second"]).replace(",", "."))
    if held["half"]:
        hours = hours % 12 + (12 if held["half"][0] in "pP" else 0)
    return hours * 3600 + minutes * 60 + float((held.get("s") or "0").replace(",", "."))


def follows_days(of_day: Array, days: npt.NDArray[np.str_]) -> bool:
    """Tell whether times fall where, and only where, the day changes: whether they are the time of that day.

    A time that begins at 0 and never falls on a single day is taken for one that runs from the start.
    """
    known = np.flatnonzero(np.isfinite(of_day) & (days != ""))
    if not len(known):
        return False
    fall, change = np.diff(of_day[known]) < 0, days[known][1:] != days[known][:-1]
    if change.any():
        # a step of a day or more needs no fall
        return bool(not (fall & ~change).any() and fall[change].any())
    return bool(not fall.any() and of_day[known[0]] > 0)
