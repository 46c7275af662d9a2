"""The charge that passed, from what the instrument counts: signed or not, begun again in each step, or a current."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Between = Literal["mean", "before", "after"]

GAP_STEPS = 20.0
"""A row later than so many usual steps follows a gap."""
NEAR, BESIDE = 5, 3.0
"""... and than so many times the median of so many steps on either side of it."""
DISAGREE = 0.05
"""Share of the charge passed beyond which two readings of it are told or refused."""
STEADY, MOSTLY, FEWEST_SWEPT = 0.2, 0.8, 10
"""A voltage is swept whose rate stays within this share of its median in so much of the rows, of so many at least."""
CHANGED = 0.1
"""Share by which a current of another step differs."""
UNRESOLVED = 0.1
"""Share of the charge by which half of the rows may differ from all where a voltage is swept."""
SIGNS = {"-1": -1, "0": 0, "1": 1, "+1": 1}
"""States that are signs, where one of them is negative."""
_OUT = re.compile(
    r"-|d|d[_ ]?c.*|.*(dchg|dischg|disch|dis\b|dch\b|放电|entlad|ontlad|urladd|d[ée]charg|descarg|scaric|rozład|разряд"
    r"|放電|방전).*",
    re.IGNORECASE,
)
_IN = re.compile(
    r"\+|c|c[_ ]c?c.*|.*(chg|charg|cha\b|充电|\b(auf)?lade|laddn|carga|carica|ładow|заряд|充電|충전).*", re.IGNORECASE
)
_REST = re.compile(
    r"r|p|s|o|i|e|0|.*\brest\b.*|ocv.*|.*pause.*|pau|idle.*|susp.*|ruhe.*|repos.*|rust|vila|pauza|пауза|.*(静置|搁置|休止|휴지).*|finish.*|end.*|off.*|",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Passed:
    """Charge passed at each row, C, and what had to be decided for it."""

    charge_C: Array
    notes: tuple[str, ...] = ()


def direction_of(states: Any) -> npt.NDArray[np.int8]:
    """Return 1 for charge, -1 for discharge, 0 for rest of a column of states; 2 where the word is not known."""
    words = np.asarray([str(s).strip() for s in states], dtype=object)
    known = {word: _direction(word) for word in set(words.tolist())}
    if "-1" in known and known.keys() <= set(SIGNS):
        known = {word: SIGNS[word] for word in known}
    return np.array([known[word] for word in words], dtype=np.int8)


def _direction(word: str) -> int:
    if _OUT.fullmatch(word):
        return -1
    if _IN.fullmatch(word):
        return 1
    return 0 if _REST.fullmatch(word) else 2


def signed(source: str, current: Array, states: Any | None, asked: bool = False) -> tuple[Array, tuple[str, ...]]:
    """Give a current without a sign that of its state.

    Parameters
    ----------
    current : array
        A; NaN where nothing was recorded.
    states : sequence of str or None
    asked : bool
        The column of states was named by the user: words that are not understood are then an error.

    Raises
    ------
    ValueError
        A state with a current that is none of charge, discharge and rest.
    """
    if states is None or np.nanmin(current, initial=0.0) < 0:
        return current, ()
    direction = direction_of(states)
    flows = np.nan_to_num(current) > 0
    strange = (direction == 2) & flows
    if strange.any():
        words = sorted({str(s) for s in np.asarray(states, dtype=object)[strange]})[:4]
        listed = ", ".join(map(repr, words))
        if asked:
            raise ValueError(
                f"{source}: the states {listed} are neither charge, discharge nor rest; set states to what they mean "
                f"(states = {{ {words[0]!r} = 'charge' }}), or state = 'none' if all of it goes one way"
            )
        if len({str(s) for s in np.asarray(states, dtype=object)[flows]}) > 1:
            raise ValueError(
                f"{source}: the current has no sign, and the states {listed} are neither charge, discharge nor rest: "
                f"all of it may go one way, or some of it back; set states to what they mean (states = {{ "
                f"{words[0]!r} = 'charge' }}), or set state = 'none' if all of it goes one way"
            )
        return current, (f"states {', '.join(map(repr, words))} are not understood: the current keeps its sign",)
    if not (direction == -1).any():
        return current, ()
    return current * np.where(direction == -1, -1.0, 1.0), ("the current has no sign; it is taken from the state",)


def moves_of(current: Array, voltage_V: Array) -> tuple[float, float, float]:
    """Return the furthest that a voltage rises and falls while one current flows, and its span there, V.

    Where the current changes, the voltage's jump is left aside.
    """
    flows = np.nan_to_num(current) > 1e-3 * float(np.nanmax(np.abs(current), initial=0.0))
    known = flows & np.isfinite(voltage_V)
    if not known.any():
        return 0.0, 0.0, 0.0
    changed = np.abs(np.diff(current)) > CHANGED * np.maximum(np.abs(current[1:]), np.abs(current[:-1]))
    bounds = np.flatnonzero(changed | (known[1:] != known[:-1])) + 1
    runs = [voltage_V[rows[1:]] for rows in np.split(np.arange(len(current)), bounds) if known[rows[0]]]
    up = max((float((run - np.minimum.accumulate(run)).max(initial=0.0)) for run in runs), default=0.0)
    down = max((float((np.maximum.accumulate(run) - run).max(initial=0.0)) for run in runs), default=0.0)
    return up, down, float(np.ptp(voltage_V[known]))


def usual_step(time_s: Array) -> float:
    """Return the median time from row to row, s."""
    steps = np.diff(time_s[np.isfinite(time_s)])
    return float(np.median(steps[steps > 0])) if (steps > 0).any() else 0.0


def gaps_of(time_s: Array, usual: float) -> npt.NDArray[np.intp]:
    """Return the rows before which more than twenty usual steps are missing.

    Where an instrument writes rows less often for a while (at rest), their steps are the usual ones there: a step that
    is not three times those beside it is no gap.
    """
    steps = np.diff(time_s)
    if usual <= 0 or not (steps > GAP_STEPS * usual).any():
        return np.zeros(0, np.intp)
    found = [
        k + 1
        for k in np.flatnonzero(steps > GAP_STEPS * usual).tolist()
        if all(
            steps[k] > BESIDE * np.median(beside)
            for beside in (steps[max(k - NEAR, 0) : k], steps[k + 1 : k + 1 + NEAR])
            if len(beside)
        )
    ]
    return np.array(found, np.intp)


def is_swept(time_s: Array, voltage_V: Array | None) -> bool:
    """Tell whether a voltage changes at a steady rate, up or down: a voltammogram, whose current follows it."""
    if voltage_V is None or len(time_s) < FEWEST_SWEPT:
        return False
    step = np.diff(time_s)
    rate = np.abs(np.diff(voltage_V)[step > 0] / step[step > 0])
    usual = float(np.nanmedian(rate)) if len(rate) else 0.0
    return usual > 0 and float(np.mean(np.abs(rate - usual) <= STEADY * usual)) > MOSTLY


def is_resolved(time_s: Array, current: Array) -> bool:
    """Tell whether every second row of a current gives the charge too, within a tenth of the largest."""
    part = np.append(0.0, np.cumsum((current[1:] + current[:-1]) / 2 * np.diff(time_s)))
    every = slice(0, len(time_s), 2)
    t, i = time_s[every], current[every]
    coarse = np.append(0.0, np.cumsum((i[1:] + i[:-1]) / 2 * np.diff(t)))
    return bool(np.abs(part[every] - coarse).max(initial=0.0) <= UNRESOLVED * np.ptp(part))


def integrate(
    source: str,
    time_s: Array,
    current: Array,
    *,
    gaps: Sequence[int] | npt.NDArray[np.intp] = (),
    steps: Any | None = None,
    between: Between | None = None,
) -> Passed:
    """Integrate a current, C.

    Parameters
    ----------
    gaps : sequence of int
        Rows before which the log has a gap: nothing is integrated over it.
    steps : sequence, optional
        Names the step of each row: where it changes, the row's current is that of the time before it.
    between : {"mean", "before", "after"}, optional
        Which row's current holds between two rows: their mean (trapezia), the row before, or the row after.
        Left out it is the mean, and where that leaves more than 5 % of the charge open, both readings are shown.

    Raises
    ------
    ValueError
        The current jumps between rows so far apart that the charge is unknown.
    """
    span = np.diff(time_s)
    before, after = current[:-1], current[1:]
    mean = (before + after) / 2
    if steps is not None and between is None:
        words = np.asarray(steps).astype(str)
        mean = np.where(words[1:] != words[:-1], after, mean)
    mean = {"before": before, "after": after}.get(between or "", mean)
    open_ = np.zeros(len(span), bool)
    open_[np.asarray(gaps, np.intp) - 1] = True
    parts = np.where(open_, 0.0, mean * span)
    notes = []
    if between is None:
        _refuse_jumps(source, time_s, current, np.where(open_, 0.0, span), steps)
    if open_.any():
        held = float(np.abs(mean * span)[open_].sum())
        rows = ", ".join(f"{time_s[k]:g} to {time_s[k + 1]:g} s" for k in np.flatnonzero(open_)[:3])
        if held > 0:
            notes.append(
                f"the log has {int(open_.sum())} gap(s) ({rows}); the current was not integrated over them "
                f"({held:.4g} C if it were: integrate_gaps = true)"
            )
    return Passed(np.concatenate([[0.0], np.cumsum(parts)]), tuple(notes))


def _refuse_jumps(source: str, time_s: Array, current: Array, span: Array, steps: Any | None) -> None:
    """Refuse a log whose charge depends on when, between two rows, the current changed."""
    jump = np.abs(np.diff(current)) > 0.5 * np.maximum(np.abs(current[1:]), np.abs(current[:-1]))
    if steps is not None:
        words = np.asarray(steps).astype(str)
        jump &= words[1:] == words[:-1]
    unsure = float((np.abs(np.diff(current)) * span)[jump].sum())
    passed = float((np.abs(current[1:]) * span).sum() + (np.abs(current[:-1]) * span).sum()) / 2
    if not jump.any() or unsure <= DISAGREE * passed:
        return
    k = int(np.argmax(np.where(jump, np.abs(np.diff(current)) * span, 0)))
    low, high = current[k] * span[k], current[k + 1] * span[k]
    raise ValueError(
        f"{source}: between {time_s[k]:g} and {time_s[k + 1]:g} s the current goes from {current[k]:g} to "
        f"{current[k + 1]:g} A, so {low:.4g} or {high:.4g} C passed; set between_rows = 'before' for the first, "
        f"'after' for the second or 'mean', or name a column of the charge"
    )


def accumulated(counted: Array) -> Array:
    """Return what a counter passed that only grows and begins again at zero, per cycle or step."""
    steps = np.diff(counted)
    return np.concatenate([[0.0], np.cumsum(np.where(steps < 0, np.maximum(counted[1:], 0.0), steps))])


def restarts(counted: Array) -> npt.NDArray[np.intp]:
    """Return the rows at which a counter falls back to zero, or to what one row adds.

    A fall counts where it is far larger than what the rows beside it change, and ends near zero.
    """
    if len(counted) < 2:
        return np.zeros(0, np.intp)
    steps = np.diff(counted)
    size = np.abs(steps)
    following = np.append(size[1:], 0.0)
    preceding = np.append(0.0, size[:-1])
    beside = np.maximum(following, preceding)
    reach = np.maximum(1.5 * np.minimum(np.where(following > 0, following, np.inf), beside), 1e-9)
    near = np.abs(counted[1:]) <= np.where(np.isfinite(reach), reach, 0.0)
    falls = (np.abs(counted[1:]) < 0.5 * np.abs(counted[:-1])) & (size > 2.5 * beside) & near
    return np.flatnonzero(falls | ((counted[1:] == 0) & (size > 0) & (size > 1.5 * preceding))) + 1


def by_step(source: str, name: str, counted: Array, direction: Array | None) -> Passed:
    """Return the charge of a column that may begin again at zero and may count without a sign.

    Parameters
    ----------
    counted : array
        The column, C.
    direction : array or None
        Sign of the current at each row; 0 at rest, None where nothing tells it.

    Raises
    ------
    ValueError
        It begins again and nothing says in which direction it counts.
    """
    falls = restarts(counted)
    steps = np.diff(counted)
    steps[falls - 1] = counted[falls]
    if direction is None or not np.any(direction):
        if len(falls):
            raise ValueError(
                f"{source}: column {name!r} falls back to zero at data row {int(falls[0]) + 1}: it begins anew in each "
                f"step; name the current or the state, which tell the direction (current, state), or set charge = "
                f"'none' and current to the column to integrate"
            )
        return Passed(counted)
    way = _way(direction)[1:]
    tiny = 1e-9 * float(np.abs(counted).max() or 1.0)
    moved = np.abs(steps) > tiny
    both = (way > 0).any() and (way < 0).any()
    forward, backward = steps[moved & (way > 0)].sum(), steps[moved & (way < 0)].sum()
    unsigned = both and forward * backward > 0 and not (counted < -tiny).any()
    if not len(falls) and not unsigned:
        return Passed(counted)
    # each step counted from zero: what it holds is a magnitude, unless the column is negative somewhere
    signed_steps = np.abs(steps) * way if unsigned or not (counted < -tiny).any() else steps
    notes = []
    if len(falls):
        notes.append(f"column {name!r} begins again at zero {len(falls)} time(s); its steps were added up")
    if unsigned:
        notes.append(f"column {name!r} counts without a sign; it is that of the current or the state")
    return Passed(counted[0] + np.concatenate([[0.0], np.cumsum(signed_steps)]), tuple(notes))


def _way(direction: Array) -> Array:
    """Return the sign at each row, at rest that of the row before: a counter may be read after its step ended."""
    known = np.where(direction != 0, np.arange(len(direction)), 0)
    return np.sign(direction[np.maximum.accumulate(known)])


def compared(name: str, passed: Array, integrals: Sequence[Array]) -> tuple[str, ...]:
    """Return a sentence where the counted charge differs from every integral of the current by more than 5 %."""
    a = passed - passed[0]
    others = [b - b[0] for b in integrals]
    size = float(max(np.ptp(a), *(np.ptp(b) for b in others)))
    if size <= 0 or min(np.abs(a - b).max() for b in others) <= DISAGREE * size:
        return ()
    if min(np.abs(a + b).max() for b in others) <= DISAGREE * size:
        return (f"column {name!r} counts against the sign of the current; charge_sign says which is right",)
    b = min(others, key=lambda other: float(np.abs(a - other).max()))
    k = int(np.argmax(np.abs(a - b)))
    return (
        f"column {name!r} and the integrated current differ: {a[k]:.4g} and {b[k]:.4g} C where they are furthest apart",
    )
