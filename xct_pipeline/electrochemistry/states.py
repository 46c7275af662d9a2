"""Which way a current without a sign flows where its state is a number: by what is said of it, or by what it does.

A cell's voltage rises while it is charged and falls while it is discharged (it is passive: the change of its voltage
with the charge has the sign of a resistance), and jumps the same way where the state begins; where the voltage of a
cell of two like electrodes is positive under one state and negative under the other, its sign is that of the current.
A charge that is counted up and down says the same, and so do two columns of energy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from xct_pipeline.electrochemistry.charge import SIGNS
from xct_pipeline.electrochemistry.decimals import Decimal, is_number, numbers
from xct_pipeline.electrochemistry.roles import partner
from xct_pipeline.electrochemistry.table import Table

Array = npt.NDArray[np.float64]
Words = npt.NDArray[np.object_]

WORDS = {1: "charge", -1: "discharge", 0: "rest"}
MOST_CODES = 6
"""Different numbers of a column that can be that of the direction."""
ONE_WAY = 0.8
"""Share of what a voltage moves that has to go one way under a state."""
MOVES = 0.05
"""Share of the voltage's span that it has to move by under a state to say anything."""
JUMPS = 0.02
"""Share of the voltage's span that it jumps by, at the begin of a state, against the way that it then moves."""
_OF_DIRECTION = re.compile(
    r"(charge ?/ ?discharge|c/d|dir(ection)?|richtung|sens|way|sign|polarity|state|status|md|zustand)"
    r"([ _]?(flag|code|id|no|nr))?",
    re.IGNORECASE,
)


_STEP_TYPE = re.compile("step|工步|状态", re.IGNORECASE)
_OF_MODE = re.compile(
    r"((step|work|cycler?|op(eration)?) ?)?(mode|modus|type|kind)|command|control|op(eration)?|function|betriebsart",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Flow:
    """What flows in the rows of a log.

    Attributes
    ----------
    amount_C : numpy.ndarray
        Passed in each row, without a sign.
    flows : numpy.ndarray of bool
        Rows in which anything flows.
    net_C : numpy.ndarray or None
        A charge that is counted up and down, where there is one.
    voltage_V : numpy.ndarray or None
    """

    amount_C: Array
    flows: npt.NDArray[np.bool_]
    net_C: Array | None
    voltage_V: Array | None


def said(states: Words, given: Mapping[str, str] | None) -> Words:
    """Return states with those words put in for which the user gave others (``{"1": "charge"}``)."""
    if not given:
        return states
    return np.array([given.get(_plain(cell), str(cell).strip()) for cell in states], dtype=object)


def _plain(cell: Any) -> str:
    text = str(cell).strip()
    return re.sub(r"[.,]0+$", "", text) if is_number(text) else text.replace("nan", "")


def codes_of(states: Words) -> Words | None:
    """Return states that are whole numbers of a few kinds, written alike; None where they are words."""
    plain = np.array([_plain(cell) for cell in states], dtype=object)
    kinds = {cell for cell in plain.tolist() if cell}
    whole = kinds and len(kinds) <= MOST_CODES and all(re.fullmatch(r"[+-]?\d+", cell) for cell in kinds)
    return plain if whole else None


def is_of_direction(name: str) -> bool:
    """Tell whether a column's name is that of a direction; numbers of a mode or a command may be of anything."""
    return _OF_DIRECTION.fullmatch(name.strip()) is not None


def column_of_codes(table: Table, names: Sequence[str]) -> str | None:
    """Return the first column with a name of a direction, else of a mode, that holds two to six whole numbers."""
    of_mode = [name for name in names if _OF_MODE.fullmatch(name.strip())]
    for name in (*filter(is_of_direction, names), *of_mode):
        codes = codes_of(np.asarray(table.load(name), dtype=object))
        if codes is not None and len(set(codes.tolist())) > 1:
            return name
    return None


def understood(
    source: str, name: str, states: Words, flow: Flow, energies: tuple[Array, Array] | None, asked: bool = False
) -> tuple[Words | None, tuple[str, ...]]:
    """Return words for states that are numbers, and how they were found; words as they are.

    Numbers that nothing explains are left aside where the charge is counted up and down.

    Raises
    ------
    ValueError
        Nothing tells the directions, or the voltage contradicts -1 and 1; with both readings.
    """
    codes = codes_of(states)
    if codes is None or not flow.flows.any():
        return states, ()
    flowing = sorted(set(codes[flow.flows].tolist()) - {""})
    if len(flowing) < 2:
        return states, ()
    ways, how = _found(codes, flowing, flow, energies)
    signs = {code: SIGNS[code] for code in flowing} if "-1" in codes and set(codes.tolist()) <= set(SIGNS) else None
    if signs is not None:
        if ways is not None and all(ways[code] == -signs[code] for code in flowing):
            raise _either(source, name, flowing, codes, flow, f", but by {how} it is the other way round")
        return states, ()
    if ways is None and (flow.net_C is not None or not (asked or is_of_direction(name) or _STEP_TYPE.search(name))):
        return None, (
            f"the numbers of {name!r} were left aside, as nothing says that they are those of a direction; if they "
            f"are, set state and states",
        )
    if ways is None:
        raise _either(source, name, flowing, codes, flow, "")
    words = np.array([WORDS[ways.get(code, 0)] for code in codes.tolist()], dtype=object)
    return words, (f"states of {name!r} by {how}: {_set(ways)}",)


def _found(
    codes: Words, flowing: Sequence[str], flow: Flow, energies: tuple[Array, Array] | None
) -> tuple[dict[str, int] | None, str]:
    """Return the direction of each number that has a current, and by what it was found."""
    if flow.net_C is not None:
        steps = np.diff(flow.net_C, prepend=flow.net_C[0])
        ways = _by(codes, flowing, steps * flow.flows)
        if ways is not None:
            return ways, "the charge, which is counted up and down"
    if energies is not None:
        into, out = (np.maximum(np.diff(np.nan_to_num(values), prepend=0.0), 0.0) for values in energies)
        ways = _by(codes, flowing, (into - out) * flow.flows)
        if ways is not None:
            return ways, "the energies of charge and discharge"
    return (None, "") if flow.voltage_V is None else (_by_voltage(codes, flowing, flow), "the voltage")


def _by(codes: Words, flowing: Sequence[str], moved: Array) -> dict[str, int] | None:
    """Return the direction in which something moves under each number; None for both ways, none, or down alone."""
    ways = {}
    for code in flowing:
        inside = moved[codes == code]
        net, all_ = float(inside.sum()), float(np.abs(inside).sum())
        if all_ <= 0 or abs(net) < ONE_WAY * all_:
            return None
        ways[code] = 1 if net > 0 else -1
    # all down may be a discharge, or the overpotential of a charge that decays
    return ways if 1 in ways.values() else None


def _by_voltage(codes: Words, flowing: Sequence[str], flow: Flow) -> dict[str, int] | None:
    assert flow.voltage_V is not None
    voltage, used = flow.voltage_V, flow.flows & np.isfinite(flow.voltage_V)
    signs = {code: np.sign(voltage[used & (codes == code)]) for code in flowing}
    if all(len(s) and abs(s.mean()) > ONE_WAY for s in signs.values()):
        ways = {code: 1 if s.mean() > 0 else -1 for code, s in signs.items()}
        if set(ways.values()) == {1, -1}:
            return ways
    span = float(np.ptp(voltage[used])) if used.any() else 0.0
    moved, jumped = np.zeros(len(voltage)), np.zeros(len(voltage))
    bounds = np.flatnonzero((codes[1:] != codes[:-1]) | (used[1:] != used[:-1])) + 1
    for rows in np.split(np.arange(len(voltage)), bounds):
        begin = rows[min(1, len(rows) - 1)]
        if used[rows[0]] and rows[0] > 0 and np.isfinite(voltage[rows[0] - 1]):
            jumped[rows[0]] = voltage[begin] - voltage[rows[0] - 1]
        if used[rows[0]] and len(rows) > 2:  # from the second row on: the first may still hold the voltage before
            moved[rows[0]] = voltage[rows[-1]] - voltage[rows[1]]
    if any(np.abs(moved[codes == code]).sum() < MOVES * span for code in flowing):
        return None
    found = _by(codes, flowing, moved)
    jumps = {code: float(jumped[codes == code].sum()) for code in flowing}
    if found is None or any(jumps[code] * found[code] < -JUMPS * span for code in flowing):
        return None  # a voltage that jumps up where it then falls: the overpotential decays
    return found


def _either(source: str, name: str, flowing: Sequence[str], codes: Words, flow: Flow, said_of: str) -> ValueError:
    """Return a refusal with both readings."""
    first, *others = flowing
    readings = ({first: 1, **dict.fromkeys(others, -1)}, {first: -1, **dict.fromkeys(others, 1)})
    shown = []
    for ways in readings:
        sign = np.array([ways.get(code, 0) for code in codes.tolist()])
        passed = np.round(np.cumsum(sign * flow.amount_C), 9) + 0.0
        span = f"{passed[-1]:.4g} C at the end, {passed.min():.4g} to {passed.max():.4g} C between,"
        shown.append(f"{span} with states = {_set(ways)}")
    numbers_ = ", ".join(map(repr, flowing))
    return ValueError(
        f"{source}: what flows has no sign, and the states {numbers_} of {name!r} are neither charge, discharge nor "
        f"rest{said_of}: {shown[0]}, or {shown[1]}; set states to what is right, or state = 'none' if all of it goes "
        f"one way"
    )


def _set(ways: Mapping[str, int]) -> str:
    return "{ " + ", ".join(f"{code} = '{WORDS[way]}'" for code, way in ways.items()) + " }"


def energies_of(table: Table, decimal: Decimal) -> tuple[Array, Array] | None:
    """Return the columns of the energy of charge and of discharge, None where there are none."""
    for name in table.names:
        pair = partner(table, name) if re.search(r"energ|wh\b|能量", name, re.IGNORECASE) else None
        if pair is not None:
            try:
                into, out = (numbers(table.source, n, table.column(n), decimal) for n in pair)
            except ValueError:
                return None
            return into, out
    return None
