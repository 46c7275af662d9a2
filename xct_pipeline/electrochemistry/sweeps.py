"""Cyclic voltammetry and long cycling: cycles of a log, and what each of them holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xct_pipeline.electrochemistry.log import CyclerLog

Array = npt.NDArray[np.float64]
Count = npt.NDArray[np.int64]

REST = 1e-3
"""Share of the largest current below which a cell rests."""


@dataclass(frozen=True)
class Cycle:
    """One cycle of charge and discharge.

    Attributes
    ----------
    cycle : int
        From 1.
    start_s, end_s : float
    charge_C, discharge_C : float
        Both positive.
    efficiency : float
        The smaller over the larger of what came back and what was put in first; NaN for half a cycle.
    overpotential_V : float
        Half the difference of the mean voltages on charge and discharge; NaN where the log has no voltage.
    """

    cycle: int
    start_s: float
    end_s: float
    charge_C: float
    discharge_C: float
    efficiency: float
    overpotential_V: float


def half_cycles(log: CyclerLog) -> tuple[Count, npt.NDArray[np.int8]]:
    """Return the number (from 0) and direction of the half cycle of each row; a rest belongs to the one before it."""
    flow = log.current_A
    if flow is None:
        flow = np.gradient(log.charge_C, np.maximum(log.time_s, np.arange(len(log.time_s)) * 1e-9))
    largest = float(np.nanmax(np.abs(flow), initial=0.0))
    sign = np.where(np.abs(flow) > REST * largest, np.sign(flow), 0.0)
    known = np.maximum.accumulate(np.where(sign != 0, np.arange(len(sign)), 0))
    direction = sign[known]
    first = np.flatnonzero(sign)[0] if np.any(sign) else 0
    direction[:first] = sign[first] if len(sign) else 0
    number = np.concatenate([[0], np.cumsum(direction[1:] != direction[:-1])])
    return number.astype(np.int64), direction.astype(np.int8)


def cycles_of(log: CyclerLog) -> list[Cycle]:
    """Sum up each pair of half cycles of a log.

    Raises
    ------
    ValueError
        The log holds no charge that passed.
    """
    number, direction = half_cycles(log)
    if not np.any(direction):
        raise ValueError("the log holds no current, so it has no cycles")
    steps = np.diff(log.charge_C)
    result = []
    for k in range(0, int(number[-1]) + 1, 2):
        rows = (number == k) | (number == k + 1)
        inside = rows[1:]
        gained = [float(steps[inside & (direction[1:] == way)].sum()) for way in (1, -1)]
        charge, discharge = abs(gained[0]), abs(gained[1])
        first = 1 if direction[rows][0] > 0 else -1
        put_in, came_back = (charge, discharge) if first > 0 else (discharge, charge)
        complete = k + 1 <= int(number[-1]) and put_in > 0
        result.append(
            Cycle(
                k // 2 + 1,
                float(log.time_s[rows][0]),
                float(log.time_s[rows][-1]),
                charge,
                discharge,
                came_back / put_in if complete else np.nan,
                _overpotential(log, rows, direction),
            )
        )
    return result


def _overpotential(log: CyclerLog, rows: npt.NDArray[np.bool_], direction: npt.NDArray[np.int8]) -> float:
    """Return half the difference of the voltages of both directions, each the mean over the charge."""
    if log.voltage_V is None:
        return np.nan
    means = []
    weight = np.abs(np.gradient(log.charge_C))
    for way in (1, -1):
        used = rows & (direction == way) & np.isfinite(log.voltage_V) & (weight > 0)
        if not used.any():
            return np.nan
        means.append(float(np.average(log.voltage_V[used], weights=weight[used])))
    return (means[0] - means[1]) / 2


def sweeps_of(voltage_V: Array) -> Count:
    """Return the cycle (from 1) of each row of a voltammogram: it ends where the voltage turned for the second time.

    Raises
    ------
    ValueError
        The voltage does not sweep.
    """
    span = float(np.ptp(voltage_V)) if len(voltage_V) else 0.0
    if span <= 0:
        raise ValueError("the voltage does not change, so it is no voltammogram")
    extreme, way, turns = voltage_V[0], 0, np.zeros(len(voltage_V), np.int64)
    count = 0
    for k, value in enumerate(voltage_V.tolist()):
        if way == 0 and abs(value - extreme) > 0.05 * span:
            way, extreme = (1 if value > extreme else -1), value
        elif way and (value - extreme) * way > 0:
            extreme = value
        elif way and (extreme - value) * way > 0.05 * span:
            way, extreme, count = -way, value, count + 1
        turns[k] = count
    return turns // 2 + 1
