"""Times of day and durations in a column: hours, minutes and seconds, carried over midnight."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

DAY_S = 86400.0

_DURATION = re.compile(
    r"\s*(?:(?P<d>\d+)\s*(?:d|days?)?\s*[ .:,-]\s*)?(?P<h>\d+):(?P<m>\d{1,2}):(?P<s>\d{1,2}(?:[.,]\d+)?)\s*"
)


def is_duration(cells: Any) -> bool:
    """Tell whether the first filled cell is hours, minutes and seconds without a date."""
    text = next((str(cell) for cell in cells if str(cell).strip() not in ("", "nan")), "")
    return _DURATION.fullmatch(text) is not None


def durations(source: str, name: str, cells: Any) -> Array:
    """Return seconds of a column of h:m:s (with days in front where there are), carried over midnight.

    Raises
    ------
    ValueError
        A cell is nothing of the kind.
    """
    import pandas as pd

    text = pd.Series(cells).astype(str)
    parts = text.str.extract(f"^{_DURATION.pattern}$")
    bad = parts["s"].isna() & ~text.str.strip().isin(("", "nan"))
    if bad.any():
        row = int(np.argmax(bad.to_numpy()))
        raise ValueError(f"{source}: {text.iloc[row]!r} in column {name!r}, data row {row + 1}, is no time h:m:s")
    values = [pd.to_numeric(parts[k].str.replace(",", "."), errors="coerce").to_numpy(float) for k in "dhms"]
    days, hours, minutes, secs = values
    seconds = np.nan_to_num(days) * DAY_S + hours * 3600 + minutes * 60 + secs
    return _over_midnight(seconds) if np.isnan(days).all() else seconds


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
