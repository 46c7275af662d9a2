"""The cycler's log at the scans of a series, and the composition of the alloy that follows from it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xct_pipeline.config import Config, Variation
from xct_pipeline.engine.blocks import Array
from xct_pipeline.scan import Scan
from xct_pipeline.variation import alloy
from xct_pipeline.variation.cycler import CyclerLog, read_log
from xct_pipeline.variation.electrochemistry import ScanCharge, ScanTimes, at_scans, scan_times
from xct_pipeline.variation.steps.physics import Physics


def charge_of_series(
    config: Config, names: Sequence[str], scans: Sequence[Scan | None], reference: int
) -> tuple[CyclerLog, ScanTimes, ScanCharge]:
    """Read the cycler's log and bring it to the times of the scans.

    Raises
    ------
    ValueError
        What is wrong with the log, its columns, units or times.
    """
    settings = config.electrochemistry
    assert settings is not None
    record = read_log(
        config.resolve(settings.log),
        time=settings.time,
        charge=settings.charge,
        current=settings.current,
        voltage=settings.voltage,
        absolute_time=settings.absolute_time,
        units=settings.units,
        charge_sign=settings.charge_sign,
    )
    starts = [scan.start if scan else None for scan in scans]
    ends = [scan.end if scan else None for scan in scans]
    absent = [k for k, scan in enumerate(scans) if scan is None]
    times = scan_times(names, starts, ends, log_start=record.start, offset_s=settings.offset_s, absent=absent)
    species = config.variation.species if config.variation else "Na"
    return record, times, at_scans(record, times, names, species=species, reference=reference)


def series_times(scans: Sequence[Scan | None]) -> Array:
    """Return the midpoint (the start where no end is known) of each scan in seconds since the first scan's start."""
    starts = [scan.start for scan in scans if scan is not None and scan.start is not None]
    result = np.full(len(scans), np.nan)
    for k, scan in enumerate(scans):
        if scan is not None and scan.start is not None:
            begin = (scan.start - starts[0]).total_seconds()
            length = (scan.end - scan.start).total_seconds() if scan.end is not None else 0.0
            result[k] = begin + length / 2
    return result


def compositions_of(settings: Variation, physics: Physics, charge: ScanCharge | None, count: int) -> list[float | None]:
    """Return the composition of the alloy at each scan for a closure that needs it; None where it is not known.

    Raises
    ------
    ValueError
        The charge is unknown.
    """
    if not physics.closure.charge:
        return [None] * count
    if charge is None:
        raise ValueError(
            f"closure {physics.closure.name} needs [electrochemistry]: the composition follows from the charge"
        )
    loading, start = settings.anode.loading_mg, settings.anode.w_host
    assert loading is not None
    assert start is not None
    return [
        None if not np.isfinite(out) else float(alloy.composition_after(start, loading, -float(out)))
        for out in charge.faraday_mg
    ]
