"""What the columns of a log are, by their names and units; what a file's head says about its start."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from xct_pipeline.electrochemistry.charge import direction_of
from xct_pipeline.electrochemistry.decimals import is_number
from xct_pipeline.electrochemistry.table import Table
from xct_pipeline.electrochemistry.units import Quantity, size_of, unit_of

OXIDATION = re.compile(r"ox(idation)?\s*/\s*red(uction)?", re.IGNORECASE)
FLAGS = {"0", "1", "0.0", "1.0"}
"""What a column of flags holds; 1 is oxidation, which is a positive current: charge."""

_PATTERNS: dict[str, tuple[str, ...]] = {
    "time": (
        r"time/s",
        r"(测试时间|总时间|累计时间).*",
        r"(total|test|elapsed|running|prog(ram)?)[ _]?time.*",
        r"testtime.*",
        r"t( ?\(s\))?",
        r"t ?[/(\[_] ?(s|sec|min|h|d|ms)\W?",
        r"(programm|prüf|test|gesamt|lauf)(dauer|zeit)([ _/(\[].*)?",
        r"time([ _/(\[].*)?",
        r"zeit([ _/(\[].*)?",
    ),
    "absolute_time": (
        r"unix[ _]time.*",
        r"uts",
        r"zeitstempel.*",
        r"(abs(olute)?|system?|sys|real|dpt|date)[ _-]?(and )?_?time.*",
        r"date.*",
        r"datum.*",
        r"time ?stamp.*",
        r"stamp",
        r"systime",
        r"(系统时间|绝对时间|日期).*",
    ),
    "charge": (
        r"\(q-qo\).*",
        r"net[ _](capacity|charge).*",
        r"q( ?[(_/\[].*)?",
        r"charge[ _/(\[]+(c|mc|m?ah|ma\.?h)\W?",
    ),
    "capacity": (r"容量.*", r"amp-hr.*", r"mamp-hr.*", r"cap(acity)?\.?([ _/(\[].*)?"),
    "charge_in": (
        r"(chg|charge|charging)[._ ]*(cap|capacity)\b.*",
        r"(chg|charge|charging)[._ ]*(cap|capacity)_.*",
        r"q charge/.*",
        r"充电容量.*",
    ),
    "charge_out": (
        r"(dchg|dischg|discharge|discharging)[._ ]*(cap|capacity)\b.*",
        r"(dchg|dischg|discharge|discharging)[._ ]*(cap|capacity)_.*",
        r"q discharge/.*",
        r"放电容量.*",
    ),
    "current": (
        r"control/?ma",
        r"i/(m|u|n)?a",
        r"<i>/(m|u|n)?a",
        r"(cur|current|strom)\b.*",
        r"current_.*",
        r"(meas(ured)?|cell|batt(ery)?|actual|ist)[ ._-]*(current|strom)\b.*",
        r"m?amps.*",
        r"im ?\(a\)",
        r"we\(\d+\)\.current.*",
        r"i( ?[(\[_].*)?",
        r"电流.*",
    ),
    "voltage": (
        r"<?ewe>?/v",
        r"ecell/v",
        r"<ewe/v>",
        r"(voltage|volts?|spannung|potential)\b.*",
        r"voltage_.*",
        r"(meas(ured)?|cell|batt(ery)?|actual|ist)[ ._-]*(voltage|spannung)\b.*",
        r"vf ?\(v\)",
        r"we\(\d+\)\.potential.*",
        r"[ue]( ?[(\[_/].*)?",
        r"电压.*",
    ),
    "state": (r"state", r"step[ _]?type", r"status", r"md", r"zustand", r"状态|工步类型|工步状态"),
    "step": (r"step([ _]?(index|no|number|id|nr))?\.?", r"ns", r"half cycle", r"schritt"),
}
_QUANTITY: dict[str, Quantity] = {
    "time": "time",
    "charge": "charge",
    "capacity": "charge",
    "charge_in": "charge",
    "charge_out": "charge",
    "current": "current",
    "voltage": "voltage",
}
NOT_MEASURED = re.compile(
    r"(?<![a-z])(set ?point|set|limit|range|cut ?-?off|max(imum)?|min(imum)?|target|nominal|rated|preset|demand"
    r"|compliance|threshold|error|offset|std|soll(wert)?|grenze|bereich)(?![a-z])",
    re.IGNORECASE,
)
"""Words of a name that make it one of what was set or allowed, not of what was measured."""
MOST_WORDS = 50
"""Different words of a column that can be that of the state."""
PARTNERS = (("discharging", "charging"), ("discharge", "charge"), ("dchg", "chg"), ("dischg", "chg"))


@dataclass(frozen=True)
class Roles:
    """Which column is what; None where there is none.

    `charge` counts up and down; `capacity` is a magnitude that may begin again at zero; `charge_in` and `charge_out`
    count the two directions apart; `state` says charge, discharge or rest; `step` numbers the steps.
    """

    time: str | None = None
    absolute_time: str | None = None
    charge: str | None = None
    capacity: str | None = None
    charge_in: str | None = None
    charge_out: str | None = None
    current: str | None = None
    voltage: str | None = None
    state: str | None = None
    step: str | None = None


Role = Literal["time", "absolute_time", "charge", "capacity", "charge_in", "charge_out", "current", "voltage"]


def guess(table: Table) -> Roles:
    """Find columns by name and unit; a column whose unit is of something else (mAh/g, mA/cm2) is none."""
    found = {role: _first(table, role) for role in _PATTERNS}
    if found["charge"] and found["charge"] in (found["charge_in"], found["charge_out"]):
        found["charge"] = None
    if not (found["charge_in"] and found["charge_out"]):
        found["charge_in"] = found["charge_out"] = None
    return Roles(**found)


def _first(table: Table, role: str) -> str | None:
    for pattern in _PATTERNS[role]:
        for name in table.names:
            if "#" in name[1:] and re.search(r"#\d+$", name):
                continue
            if re.fullmatch(pattern, name.strip().lower()) and _fits(table, name, role):
                return name
    return None


def _fits(table: Table, name: str, role: str) -> bool:
    quantity = _QUANTITY.get(role)
    if quantity is None:
        return True
    unit = unit_of(name)
    if NOT_MEASURED.search(name if unit is None else name.replace(unit, "")):  # minutes are no minimum
        return False
    unit = table.units.get(name) or unit_of(name)
    clock = role == "time" and (unit is None or size_of(unit, "time") is None)
    if clock:  # h:m:s need no unit; the cells are looked at when they are read
        return bool(re.fullmatch(r".*(time|zeit|dauer)( ?[(\[]h.*[)\]])?", name.strip().lower()))
    return unit is not None and size_of(unit, quantity) is not None


def partner(table: Table, name: str) -> tuple[str, str] | None:
    """Return the columns of charge and discharge where `name` is one of such a pair, else None."""
    lowered = {other.lower(): other for other in table.names}
    for out, into in PARTNERS:
        low = name.lower()
        if out in low and low.replace(out, into) in lowered:
            return lowered[low.replace(out, into)], name
        if out not in low and into in low and low.replace(into, out) in lowered:
            return name, lowered[low.replace(into, out)]
    return None


def completed(table: Table, named: Roles) -> tuple[Roles, tuple[str, ...]]:
    """Add what is not named, and tell what was added.

    A time or a charge that is named stands: no other clock, and no other measure of charge, is put beside it. The
    current, the state and the step are looked for in any case: they tell the direction of a charge.
    """
    found = guess(table)
    timed = named.time or named.absolute_time
    charged = named.charge or named.charge_in or named.charge_out
    changes: dict[str, str | None] = {}
    for field in fields(Roles):
        role = field.name
        if getattr(named, role) or getattr(found, role) is None:
            continue
        if (timed and role in ("time", "absolute_time")) or (
            (charged or named.current) and role in ("charge", "capacity", "charge_in", "charge_out")
        ):
            continue
        changes[role] = getattr(found, role)
    if changes.get("charge") or changes.get("charge_in"):
        changes.pop("capacity", None)
    if changes.get("charge"):
        changes["charge_in"] = changes["charge_out"] = None
    shown = [f"{role} = {name!r}" for role, name in changes.items() if name]
    return replace(named, **changes), ((f"columns found by name: {', '.join(shown)}",) if shown else ())


def states_of(table: Table, name: str) -> npt.NDArray[np.object_]:
    """Return a column of states; flags of oxidation and reduction as the words of charge and discharge."""
    cells = np.asarray(table.column(name), dtype=object)
    if not OXIDATION.fullmatch(name.strip()):
        return cells
    flags = np.array([str(cell).strip() in ("1", "1.0") for cell in cells])
    return np.where(flags, "charge", "discharge").astype(object)


def directions(table: Table, names: Sequence[str]) -> str | None:
    """Return the first column, of few words, that has words of charge and of discharge, or their flags."""
    for name in names:
        cells = np.asarray(table.load(name))
        if OXIDATION.fullmatch(name.strip()) and {str(cell).strip() for cell in cells.tolist()} <= FLAGS:
            return name
        if cells.dtype.kind != "O":
            continue
        words = {str(cell).strip() for cell in cells.tolist()}
        if len(words) <= MOST_WORDS and not any(is_number(word) for word in words):
            ways = set(direction_of(sorted(words)).tolist())
            if {1, -1} <= ways:
                return name
    return None


def start_text(table: Table) -> str | None:
    """Return the date at the head of a file that says when its time 0 was."""
    if table.instrument == "BioLogic":
        for line in table.header:
            match = re.match(r"\s*Acquisition started on\s*:\s*(\d.*\S)", line)
            if match:
                return match.group(1)
    if table.instrument == "Gamry":
        held = {cells[0]: cells[2] for line in table.header if len(cells := line.split("\t")) > 2}
        if "DATE" in held and "TIME" in held:
            return f"{held['DATE'].strip()} {held['TIME'].strip()}"
    return None
