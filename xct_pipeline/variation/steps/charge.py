"""The cycler's log at the scans of a series, and the composition of the alloy that follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xct_pipeline.config import Config, Variation
from xct_pipeline.electrochemistry.given import given_at_scans
from xct_pipeline.electrochemistry.log import CyclerLog
from xct_pipeline.electrochemistry.scans import ScanTimes, at_scans
from xct_pipeline.electrochemistry.steps.log import charges_of, log_of, times_on_log
from xct_pipeline.engine.blocks import Array
from xct_pipeline.scan import AnyScan
from xct_pipeline.variation import alloy
from xct_pipeline.variation.budget import balance_errors
from xct_pipeline.variation.faraday import ScanCharge, better_offset, faraday_mg
from xct_pipeline.variation.steps.physics import Physics

if TYPE_CHECKING:
    import pandas as pd


def charge_of_series(
    config: Config, names: Sequence[str], scans: Sequence[AnyScan | None], reference: int
) -> SeriesCharge | None:
    """Bring the cycler's log to the times of the scans, or take what is given for each; None where neither is there.

    Raises
    ------
    ValueError
        What is wrong with the log, its columns, units or times, or with the charges that are given.
    """
    settings = config.electrochemistry
    species = config.variation.species if config.variation else "Na"
    if settings is None or (settings.log is None and settings.charges is None):
        return None
    if settings.log is None:
        found = given_at_scans(charges_of(config), names, reference, settings.charge_sign)
        charge = ScanCharge(found.charge_C, found.voltage_V, faraday_mg(found.charge_C, species))
        return SeriesCharge(None, None, charge, found.notes)
    record = log_of(config, scans)
    times = times_on_log(config, record, names, scans)
    found = at_scans(record, times, names, reference=reference)
    notes = tuple(note for note in (*record.notes, *found.notes) if "columns found" not in note)
    return SeriesCharge(
        record, times, ScanCharge(found.charge_C, found.voltage_V, faraday_mg(found.charge_C, species)), notes
    )


@dataclass(frozen=True)
class SeriesCharge:
    """The charge at the scans of a series, and where it is from.

    Attributes
    ----------
    record, times
        The cycler's log, and the scans on its clock; None where the charge is given for each scan.
    charge : ScanCharge
    notes : tuple of str
        Worth telling.
    """

    record: CyclerLog | None
    times: ScanTimes | None
    charge: ScanCharge
    notes: tuple[str, ...]


def series_times(scans: Sequence[AnyScan | None]) -> Array:
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


def offset_note(table: pd.DataFrame, record: CyclerLog, reference: int, species: str, scale: float) -> list[str]:
    """Tell a shift of the log that would bring mass and charge closer; it is never applied."""
    times = table["time_s"].to_numpy(float)
    known = np.sort(times[np.isfinite(times)])
    if len(known) < 2:
        return []
    interval = float(np.median(np.diff(known)))

    def faraday_at(shift: float) -> Array:
        charge = np.interp(times - shift, record.time_s, record.charge_C, left=np.nan, right=np.nan)
        return np.asarray(faraday_mg(charge - charge[reference], species))

    errors = balance_errors(table, scale)
    found = better_offset(
        table["apparent_mass_mg"].to_numpy(float),
        errors.sigma_mg,
        faraday_at,
        interval * np.linspace(-2, 2, 81),
        sigma_reference_mg=errors.shared_mg,
        scale=errors.scale,
    )
    if found is None:
        return []
    shift, without, with_it = found
    return [
        f"a log {abs(shift):.0f} s {'later' if shift > 0 else 'earlier'} would bring mass and charge closer (chi2 "
        f"about a slope of 1 from {without:.3g} to {with_it:.3g}); it was not shifted: look at both clocks, and set "
        f"offset_s or time_zone where one is wrong"
    ]
