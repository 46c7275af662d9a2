"""Read what a battery cycler recorded: time, charge and voltage, whatever the file calls them.

Everything that could be read in two ways is decided for a whole column, or refused with both readings and the key
that decides; what was taken for granted is told in `CyclerLog.notes`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from xct_pipeline.electrochemistry import charge as charges
from xct_pipeline.electrochemistry import decimals
from xct_pipeline.electrochemistry import states as numbered
from xct_pipeline.electrochemistry.charge import Between
from xct_pipeline.electrochemistry.decimals import Decimal
from xct_pipeline.electrochemistry.moments import times_of
from xct_pipeline.electrochemistry.options import LogOptions
from xct_pipeline.electrochemistry.readers import read_table
from xct_pipeline.electrochemistry.roles import Roles, completed, directions, partner, states_of
from xct_pipeline.electrochemistry.table import Table
from xct_pipeline.electrochemistry.units import Quantity, scale

Array = npt.NDArray[np.float64]

JITTER = 0.05
"""Share of a usual step by which a time may step back."""
SAMPLE = 5000
"""Cells of a column that are looked at for its decimal sign, from each end."""


@dataclass(frozen=True)
class CyclerLog:
    """What the cycler recorded.

    Attributes
    ----------
    time_s : numpy.ndarray of float64
        Not decreasing.
    charge_C : numpy.ndarray of float64
        Charge passed, positive when the species leaves the anode.
    voltage_V : numpy.ndarray of float64 or None
        None where no column was named.
    start : datetime or None
        Absolute time of ``time_s == 0``, where the log tells it.
    current_A : numpy.ndarray of float64 or None
        With the sign of the charge; None where the log has none.
    gaps_s : tuple of (float, float)
        Times between which the log has no rows for more than twenty usual steps.
    notes : tuple of str
        What had to be decided, and what does not agree.
    """

    time_s: Array
    charge_C: Array
    voltage_V: Array | None = None
    start: datetime | None = None
    current_A: Array | None = None
    gaps_s: tuple[tuple[float, float], ...] = ()
    notes: tuple[str, ...] = ()


def read_log(
    path: str | Path,
    *,
    time: str | None = None,
    charge: str | None = None,
    discharge: str | None = None,
    current: str | None = None,
    voltage: str | None = None,
    absolute_time: str | None = None,
    state: str | None = None,
    options: LogOptions | None = None,
    scans: tuple[float, float] | None = None,
    **more: Any,
) -> CyclerLog:
    """Read a cycler's log.

    Parameters
    ----------
    path : path
        ``.mpt``, ``.mpr`` (needs yadg), ``.nda``, ``.ndax`` (need fastnda), ``.xlsx`` (needs openpyxl), Gamry
        ``.dta``; anything else as text: comma, semicolon or tab, any encoding, packed with gzip or not.
    time, charge, discharge, current, voltage, absolute_time, state : str, optional
        Names of columns; what is not named is found by name and unit. Without `charge` (or with "none") the `current`
        is integrated. `discharge` is the second of two columns that count the directions apart; `state` says charge,
        discharge or rest; `absolute_time` holds dates, and serves as `time` where that is not named.
    options : LogOptions, optional
        Its fields may also be given as keywords.
    scans : (float, float), optional
        First and last moment of the scans, s since 1970 on their clock: tells dates that could be read in two ways.

    Returns
    -------
    CyclerLog

    Raises
    ------
    ValueError
        For a missing file, an unknown column (with the nearest names) or unit, text where numbers belong, time that
        runs backwards, or what could be read in two ways.
    """
    choice = replace(options or LogOptions(), **more)
    if choice.charge_sign not in (1, -1):
        raise ValueError(f"charge_sign {choice.charge_sign}: set it to 1 or -1")
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"the cycler's log {path} does not exist: set log to the file's path")
    table = read_table(path, next((c for c in (time, absolute_time, charge, current) if c and c != "none"), None))
    none = charge == "none"
    named = Roles(
        **{
            role: None if name in (None, "none") else name
            for role, name in {
                "time": time,
                "absolute_time": absolute_time,
                "charge": charge,
                "charge_out": discharge,
                "current": current,
                "voltage": voltage,
                "state": state,
            }.items()
        }
    )
    roles, notes = completed(table, replace(named, current=named.current or ("" if none else None)))
    if state == "none":
        roles = replace(roles, state=None)
    if none:
        roles = replace(roles, charge=None, capacity=None, charge_in=None, charge_out=None, current=named.current)
        roles = replace(roles, current=roles.current or completed(table, Roles())[0].current)
    return _Reading(
        table, _paired(table, roles), choice, scans, state not in (None, "none"), bool(time), state == "none"
    ).log(notes)


def _paired(table: Table, roles: Roles) -> Roles:
    """Put charge and discharge together where one of the two is named."""
    if roles.charge and roles.charge_out:
        return replace(roles, charge=None, charge_in=roles.charge)
    pair = partner(table, roles.charge) if roles.charge else None
    return replace(roles, charge=None, charge_in=pair[0], charge_out=pair[1]) if pair else roles


def _levelled(time_s: Array, usual: float) -> tuple[Array, tuple[str, ...]]:
    """Return times without steps back that are far smaller than a usual step, as where an instrument changes steps."""
    back = -np.diff(time_s)
    if not (back > 0).any() or back.max() > JITTER * usual:
        return time_s, ()
    note = f"the time steps back by up to {back.max():.3g} s in {int((back > 0).sum())} row(s); it is held there"
    return np.maximum.accumulate(time_s), (note,)


@dataclass(frozen=True)
class _Reading:
    """One log being read."""

    table: Table
    roles: Roles
    options: LogOptions
    scans: tuple[float, float] | None
    state_named: bool
    time_named: bool
    state_left: bool

    @property
    def source(self) -> str:
        return self.table.source

    def log(self, notes: tuple[str, ...]) -> CyclerLog:
        roles, table = self.roles, self.table
        if not roles.time and not roles.absolute_time:
            raise ValueError(f"{self.source}: set time to the column that holds the time; {table.listed()}")
        counted = [name for name in (roles.charge, roles.charge_in, roles.capacity) if name]
        if not counted and not roles.current:
            raise ValueError(f"{self.source}: set charge or current to the column that holds it; {table.listed()}")
        decimal = self._decimal()
        seconds, start, said = times_of(table, roles, self.options, self.scans, decimal, self.time_named)
        values = {q: self._quantity(name, q, decimal) for q, name in self._measured().items()}
        main = values[next(iter(values))]
        keep = np.isfinite(seconds) & np.isfinite(main)
        if not keep.any():
            raise ValueError(
                f"{self.source}: no row holds both a time and a value of {next(iter(self._measured().values()))!r}; "
                f"set time, and charge or current, to columns that are filled in the same rows"
            )
        usual = charges.usual_step(seconds)
        held = {q: v[keep] for q, v in values.items()}
        state, found = (roles.state, ()) if roles.state else self._state_by_words(held)
        states, by = self._states(state, held, seconds, keep, decimal)
        steps = None if roles.step is None else np.asarray(table.column(roles.step), dtype=object)[keep]
        time_s, level = _levelled(seconds[keep], usual)
        self._refuse_backwards(time_s)
        gaps = charges.gaps_of(time_s, usual)
        current, told = self._current(held, states)
        passed = self._charge(held, time_s, current, states, states if steps is None else steps, gaps)
        sign = self.options.charge_sign
        return CyclerLog(
            time_s,
            sign * passed.charge_C,
            held.get("voltage"),
            start,
            None if current is None else sign * current,
            tuple((float(time_s[k - 1]), float(time_s[k])) for k in gaps),
            (
                *(*table.notes, *notes, *found, *said, *level, *by, *told, *passed.notes),
                *self._gap_notes(time_s, gaps, passed),
                *self._one_way_notes(held, time_s, states),
            ),
        )

    def _state_by_words(self, held: dict[str, Array]) -> tuple[str | None, tuple[str, ...]]:
        """Return a column whose words are those of charge and discharge, where nothing else tells the direction."""
        roles, unsigned = self.roles, "charge_in" not in held
        counted = [held[q] for q in ("charge", "capacity", "current") if q in held]
        unsigned &= not any(np.nanmin(values, initial=0.0) < 0 for values in counted)
        if self.state_left or not unsigned:
            return None, ()
        taken = {getattr(roles, field.name) for field in fields(roles) if field.name != "step"}
        free = [n for n in self.table.names if n not in taken]
        name = directions(self.table, free) or numbered.column_of_codes(self.table, free)
        return name, () if name is None else (f"the direction is that of column {name!r}",)

    def _states(
        self, name: str | None, held: dict[str, Array], seconds: Array, keep: npt.NDArray[np.bool_], decimal: Decimal
    ) -> tuple[Any | None, tuple[str, ...]]:
        """Return the words of the states, also where the file holds numbers, and how those were understood."""
        if name is None:
            return None, ()
        states = numbered.said(states_of(self.table, name)[keep], self.options.states)
        flow = self._flow(held, seconds[keep])
        if flow is None:
            return states, ()
        energies = numbered.energies_of(self.table, decimal)
        pair = None if energies is None else (energies[0][keep], energies[1][keep])
        return numbered.understood(self.source, name, states, flow, pair, self.state_named)

    def _flow(self, held: dict[str, Array], time_s: Array) -> numbered.Flow | None:
        """Return what flows without a sign in each row; None where its sign is known."""
        counted = next((held[q] for q in ("charge", "capacity") if q in held), None)
        net = None
        if counted is not None:
            steps = np.diff(counted, prepend=counted[0])
            falls = charges.restarts(counted)
            net = counted if not len(falls) and (steps < 0).any() else None
            steps[falls] = counted[falls]
        if "current" in held:
            size = np.abs(np.nan_to_num(held["current"]))
            amount, flows = size * np.diff(time_s, prepend=time_s[0]), size > 1e-3 * float(size.max())
            signed = bool(np.nanmin(held["current"], initial=0.0) < 0)
        elif counted is not None:
            amount, signed = np.abs(steps), bool((counted < 0).any())
            flows = amount > 1e-6 * float(amount.max())
        else:
            return None
        return None if signed or "charge_in" in held else numbered.Flow(amount, flows, net, held.get("voltage"))

    def _measured(self) -> dict[str, str]:
        """Return what is read as numbers, the one that a row needs first."""
        roles = self.roles
        counters = ("charge", "charge_in", "charge_out", "capacity")
        found = {key: name for key in counters if (name := getattr(roles, key))}
        return found | {key: name for key in ("current", "voltage") if (name := getattr(roles, key))}

    def _decimal(self) -> Decimal:
        """Decide the decimal sign from all columns that matter, and then from all others."""
        if self.options.decimal is not None:
            return self.options.decimal
        first = [n for n in (self.roles.time, *self._measured().values()) if n]
        found = {}
        for name in dict.fromkeys((*first, *self.table.names)):
            cells = self.table.load(name) if name in self.table.names else self.table.column(name)
            if np.asarray(cells).dtype.kind in "fiuM":
                continue
            found[name] = decimals.weigh(str(c) for c in (*cells[:SAMPLE], *cells[-SAMPLE:]))
            if name in first[-1:] and any(e.sure for e in found.values()):
                break
        wanted = {n: e for n, e in found.items() if n in first}
        try:
            return decimals.decimal_of(self.source, wanted)
        except ValueError:
            if any(len(e.sure) for e in wanted.values()):
                raise
            others = {sign for e in found.values() for sign in e.sure}
            if len(others) != 1:
                raise
            return "," if "," in others else "."

    def _quantity(self, name: str, role: str, decimal: Decimal) -> Array:
        quantity: Quantity = "current" if role == "current" else "voltage" if role == "voltage" else "charge"
        size = scale(self.source, name, quantity, self.options.units, self.table.units)
        return decimals.numbers(self.source, name, self.table.column(name), decimal) * size

    def _refuse_backwards(self, time_s: Array) -> None:
        falls = np.diff(time_s) < 0
        if falls.any():
            row = int(np.argmax(falls)) + 1
            raise ValueError(
                f"{self.source}: time runs backwards at data row {row + 1} ({time_s[row]:g} s after "
                f"{time_s[row - 1]:g} s); a time that begins again in each step is not the log's: set time to the "
                f"total time, or absolute_time to a column of dates, and remove rows that stand twice"
            )

    def _current(self, held: dict[str, Array], states: Any | None) -> tuple[Array | None, tuple[str, ...]]:
        if "current" not in held:
            return None, ()
        return charges.signed(self.source, held["current"], states, self.state_named)

    def _charge(
        self,
        held: dict[str, Array],
        time_s: Array,
        current: Array | None,
        states: Any | None,
        steps: Any | None,
        gaps: npt.NDArray[np.intp],
    ) -> charges.Passed:
        """Return the charge passed: counted where it is, else integrated; compared where both are there."""
        roles = self.roles
        if "charge_in" in held:
            into, out = (np.nan_to_num(held[key]) for key in ("charge_in", "charge_out"))
            net = charges.accumulated(np.abs(into)) - charges.accumulated(np.abs(out))
            name = f"{roles.charge_in} - {roles.charge_out}"
            note = f"{roles.charge_in!r} and {roles.charge_out!r} count the directions apart: their difference is taken"
            passed = charges.Passed(net, (note,))
        elif "charge" in held or "capacity" in held:
            name = str(roles.charge or roles.capacity)
            counted_C = held["charge"] if "charge" in held else held["capacity"]
            passed = charges.by_step(self.source, name, counted_C, self._direction(current, states))
        else:
            assert current is not None
            open_ = () if self.options.integrate_gaps else gaps
            between = self._between()
            told: tuple[str, ...] = ()
            swept = between is None and charges.is_swept(time_s, held.get("voltage"))
            if swept and charges.is_resolved(time_s, current):
                between, told = "mean", ("the voltage is swept: between two rows the current is taken as their mean",)
            passed = charges.integrate(self.source, time_s, current, gaps=open_, steps=steps, between=between)
            return charges.Passed(passed.charge_C, (*told, *passed.notes))
        if current is None or len(gaps) or not np.isfinite(current).all():
            return passed
        ways: tuple[Between, ...] = ("mean", "before", "after")
        integrals = [charges.integrate(self.source, time_s, current, between=way).charge_C for way in ways]
        differs = charges.compared(name, passed.charge_C, integrals)
        return charges.Passed(passed.charge_C, (*passed.notes, *differs))

    def _between(self) -> Between | None:
        """Return which row's current holds between two; BioLogic's <I> is the mean since the row before."""
        mean = self.roles.current is not None and self.roles.current.startswith("<")
        return self.options.between_rows or ("after" if mean else None)

    def _direction(self, current: Array | None, states: Any | None) -> Array | None:
        """Return the sign of the current at each row; that of the state where there is no current."""
        if current is not None:
            small = 1e-3 * float(np.nanmax(np.abs(current), initial=0.0))
            unsure = states is None and not (current < -small).any()
            return None if unsure else np.where(np.abs(current) > small, np.sign(current), 0.0)
        if states is None:
            return None
        direction = charges.direction_of(states).astype(float)
        return None if (direction == 2).any() else direction

    def _one_way_notes(self, held: dict[str, Array], time_s: Array, states: Any | None) -> tuple[str, ...]:
        """Tell of a current that could lack its sign: the voltage rises and falls while it flows."""
        voltage, others = held.get("voltage"), [name for name in held if name != "voltage"]
        if voltage is None or states is not None or self.state_left or len(others) != 1:
            return ()
        current = held[others[0]]
        if others != ["current"]:
            steps = np.diff(time_s, prepend=time_s[0] - 1)
            current = np.diff(current, prepend=current[0]) / np.where(steps > 0, steps, np.inf)
        up, down, span = charges.moves_of(current, voltage)
        if np.nanmin(current) < 0 or min(up, down) < 0.5 * span or span <= 0:
            return ()
        return (
            f"the {others[0]} goes one way only, yet under it the voltage rises by {up:.3g} V and falls by {down:.3g} "
            "V: if it has no sign, set state to the column that tells the direction",
        )

    def _gap_notes(self, time_s: Array, gaps: npt.NDArray[np.intp], passed: charges.Passed) -> tuple[str, ...]:
        if not len(gaps) or any("gap(s)" in note for note in passed.notes):
            return ()
        rows = ", ".join(f"{time_s[k - 1]:g} to {time_s[k]:g} s" for k in gaps[:3])
        return (f"the log has {len(gaps)} gap(s) of more than twenty usual steps: {rows}",)
