"""The log at the scans: one clock for both, and charge and voltage at each scan's middle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from xct_pipeline.electrochemistry.log import CyclerLog
from xct_pipeline.electrochemistry.zones import zone_of

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ScanTimes:
    """When the scans were taken, on the clock of the log.

    Attributes
    ----------
    time_s : numpy.ndarray
        Midpoint where the end is known, else the start; seconds of the log's time.
    duration_s : numpy.ndarray
        0 where unknown.
    """

    time_s: Array
    duration_s: Array


def one_clock(moment: datetime, other: datetime, time_zone: str | None, what: str = "the log's dates") -> datetime:
    """Give a moment without a zone the zone that it was taken in, where another one has a zone.

    Parameters
    ----------
    moment, other : datetime
        `moment` is returned, with a zone where `other` has one.
    time_zone : str or None
        The zone of the clock that names none.

    Raises
    ------
    ValueError
        Its zone is not known: UTC on one clock says nothing about the other. Where the other clock shows a local
        time (+02:00), both are taken to show the same.
    """
    if moment.tzinfo is not None or other.tzinfo is None:
        return moment
    if time_zone is not None:
        return moment.replace(tzinfo=zone_of(time_zone))
    if other.utcoffset() != timedelta(0):
        return moment.replace(tzinfo=other.tzinfo)
    seen = f"{moment:%Y-%m-%d %H:%M} without a zone beside {other:%Y-%m-%d %H:%M} UTC"
    raise ValueError(
        f"{what} name no time zone, but the other clock is in UTC ({seen}): "
        f"set electrochemistry.time_zone to the zone of the clock that names none ('Europe/Berlin', or 'UTC')"
    )


def scan_times(
    names: Sequence[str],
    starts: Sequence[datetime | None],
    ends: Sequence[datetime | None],
    *,
    log_start: datetime | None = None,
    offset_s: float = 0.0,
    absent: Sequence[int] = (),
    time_zone: str | None = None,
) -> ScanTimes:
    """Put the scans on the time axis of the log.

    Parameters
    ----------
    names, starts, ends : sequences, one entry per scan
        An end may be None.
    log_start : datetime, optional
        Absolute time of the log's 0 (`CyclerLog.start`). Without it the log's 0 is the start of the first scan.
    offset_s : float
        Seconds added to the time of the log to make it agree with the scans: -600 for a log that began ten
        minutes before the first scan.
    absent : sequence of int
        Positions of scans that cannot be read; their time is NaN.
    time_zone : str, optional
        Of the clock (the log's or the scans') that names none; see `one_clock`.

    Raises
    ------
    ValueError
        For a scan without a start, one that ends before it starts, a log whose 0 is the start of a first scan
        that cannot be read, or clocks of which only one has a zone.
    """
    if 0 in absent and log_start is None:
        raise ValueError(
            f"the time 0 of the cycler's log is the start of the first scan, and {names[0]} cannot be read: name the "
            f"log's absolute_time, or leave that scan out and give offset_s"
        )
    for k, (name, start, end) in enumerate(zip(names, starts, ends, strict=True)):
        if k in absent:
            continue
        if start is None:
            raise ValueError(
                f"scan {name} has no start time, so the cycler's log cannot be aligned to it; set charges "
                f"in place of log, which needs no times"
            )
        if end is not None and _seconds(end, start) < 0:
            raise ValueError(f"scan {name} ends before it starts ({start} to {end}): correct its times")
    zero = starts[0] if log_start is None else log_start
    begin = np.array([np.nan if s is None or zero is None else _between_clocks(s, zero, time_zone) for s in starts])
    duration = np.array([0.0 if s is None or e is None else _seconds(e, s) for s, e in zip(starts, ends, strict=True)])
    return ScanTimes(begin + duration / 2 - offset_s, duration)


def _between_clocks(scan: datetime, zero: datetime, time_zone: str | None) -> float:
    scan = one_clock(scan, zero, time_zone, "the scans' times")
    return _seconds(scan, one_clock(zero, scan, time_zone))


def _seconds(later: datetime, earlier: datetime) -> float:
    if (later.tzinfo is None) != (earlier.tzinfo is None):
        later, earlier = later.replace(tzinfo=None), earlier.replace(tzinfo=None)
    return (later - earlier).total_seconds()


def span_of(starts: Sequence[datetime | None], ends: Sequence[datetime | None]) -> tuple[float, float] | None:
    """Return the first and last moment of the scans in seconds since 1970 on their own clock; None where unknown."""
    known = [moment.replace(tzinfo=None) for moment in (*starts, *ends) if moment is not None]
    if not known:
        return None
    zero = datetime(1970, 1, 1)
    return (min(known) - zero).total_seconds(), (max(known) - zero).total_seconds()


@dataclass(frozen=True)
class LogAtScans:
    """The log at the scans; NaN for a scan that the log does not reach.

    Attributes
    ----------
    charge_C : numpy.ndarray
        Passed since the reference scan, positive when the species leaves the anode.
    voltage_V : numpy.ndarray
        NaN throughout where the log has no voltage.
    notes : tuple of str
        Scans that lie in a gap of the log over which the charge changed.
    """

    charge_C: Array
    voltage_V: Array
    notes: tuple[str, ...] = ()


def at_scans(log: CyclerLog, times: ScanTimes, names: Sequence[str], *, reference: int = 0) -> LogAtScans:
    """Charge and voltage at each scan, by linear interpolation in the log.

    A scan up to one scan's length beyond either end of the log takes the log's last (first) values: nothing
    is extrapolated, and a scan further out gets NaN. A scan of unknown length counts as long as the median
    interval between scans.

    Raises
    ------
    ValueError
        Where the log reaches no scan, or not the reference.
    """
    first, last = float(log.time_s[0]), float(log.time_s[-1])
    known = times.time_s[np.isfinite(times.time_s)]
    interval = float(np.median(np.diff(np.sort(known)))) if len(known) > 1 else 0.0
    reach = np.where(times.duration_s > 0, times.duration_s, interval)
    within = (times.time_s >= first - reach) & (times.time_s <= last + reach)
    overlap = (times.time_s + times.duration_s / 2 >= first) & (times.time_s - times.duration_s / 2 <= last)
    span = f"the log covers {first:g} to {last:g} s, the scans {known.min():g} to {known.max():g} s"
    if not overlap.any():
        raise ValueError(
            f"the time of the cycler's log does not overlap the scans: {span}; set offset_s or an absolute time"
        )
    if not within[reference]:
        raise ValueError(
            f"the cycler's log does not reach the reference scan {names[reference]} "
            f"({times.time_s[reference]:g} s): {span}; set offset_s, or reference to a scan within the log"
        )
    charge = np.where(within, np.interp(times.time_s, log.time_s, log.charge_C), np.nan)
    charge = charge - charge[reference]
    voltage = np.full(len(charge), np.nan)
    if log.voltage_V is not None:
        good = np.isfinite(log.voltage_V)
        if good.any():
            voltage = np.where(within, np.interp(times.time_s, log.time_s[good], log.voltage_V[good]), np.nan)
    return LogAtScans(charge, voltage, _in_gaps(log, times, names))


def _in_gaps(log: CyclerLog, times: ScanTimes, names: Sequence[str]) -> tuple[str, ...]:
    size = float(np.ptp(log.charge_C)) or 1.0
    notes = []
    for first, last in log.gaps_s:
        change = float(np.diff(np.interp([first, last], log.time_s, log.charge_C))[0])
        inside = [name for name, t in zip(names, times.time_s, strict=True) if first < t < last]
        if inside and abs(change) > 0.01 * size:
            notes.append(
                f"{', '.join(inside)} lie(s) in a gap of the log ({first:g} to {last:g} s) over which {change:.4g} C "
                f"passed: the charge there is interpolated"
            )
    return tuple(notes)
