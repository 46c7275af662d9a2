"""Units of time, charge, current and voltage, and where column names hold them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

Quantity = Literal["time", "charge", "current", "voltage"]

UNITS: dict[Quantity, dict[str, float]] = {
    "time": {
        **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
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

SPELLED = {
    "coulomb": "C",
    "ampere": "A",
    "amperes": "A",
    "amp": "A",
    "amps": "A",
    "mamps": "mA",
    "milliampere": "mA",
    "volt": "V",
    "volts": "V",
    "amphr": "Ah",
    "mamphr": "mAh",
    "amperehour": "Ah",
    "milliamperehour": "mAh",
}
"""Units that are written as words, some of them a column's whole name (Maccor's Amps, Volts and Amp-hr)."""


_SPECIFIC = re.compile(r"(c|m)?m(\^|-)*2|(/|per|\b)\s*k?g\b|g(\^|-)+1|area|mass", re.IGNORECASE)
"""Units of something divided by mass or area."""


def unit_of(column: str) -> str | None:
    """Take the unit out of a column's name (``time_s``, ``Ewe/V``, ``Capacity (mAh)``, ``I [mA]``), or None."""
    plain = re.sub(r"#\d+$", "", column).strip()
    match = re.search(r"[(\[]([^)\]]+)[)\]]\s*$", plain) or re.search(r"[/_ ]([^/_ ()\[\]]+)\s*$", plain)
    if match:
        return match.group(1).strip()
    return plain if _letters(plain).lower() in SPELLED else None


def size_of(unit: str, quantity: Quantity) -> float | None:
    """Return the size of a unit in s, C, A or V; None where it is none of that quantity. Capitals do not matter."""
    plain = _letters(unit.replace("µ", "u").replace("μ", "u"))
    plain = SPELLED.get(plain.lower(), plain)
    known = UNITS[quantity]
    if plain in known:
        return known[plain]
    return {name.lower(): size for name, size in known.items()}.get(plain.lower())


def scale(
    source: str, column: str, quantity: Quantity, given: Mapping[str, str] | None, beneath: Mapping[str, str]
) -> float:
    """Return what a column's numbers are multiplied by to be s, C, A or V.

    Parameters
    ----------
    source, column : str
        The file's and the column's name, for messages.
    given : mapping, optional
        Unit per quantity, as configured; it goes before the name's.
    beneath : mapping
        Unit per column, from a row of units below the names.

    Raises
    ------
    ValueError
        The unit is unknown or stands nowhere.
    """
    unit = (given or {}).get(quantity) or beneath.get(column) or unit_of(column)
    known = ", ".join(UNITS[quantity])
    if unit is None:
        raise ValueError(
            f"{source}: column {column!r} has no unit in its name; set units = {{ {quantity} = ... }} ({known})"
        )
    size = size_of(unit, quantity)
    if size is None:
        what = f"{source}: {unit!r} is not a unit of {quantity} (column {column!r})"
        if _SPECIFIC.search(unit):
            raise ValueError(f"{what}: it is per mass or area; name a column of the whole cell's {quantity}")
        raise ValueError(f"{what}; set units = {{ {quantity} = ... }} to one of {known}")
    return size


def _letters(unit: str) -> str:
    return re.sub(r"[.·*<>\-\s]", "", unit)
