"""What was recorded beside the scans, from the configuration into tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import TypeVar

import numpy as np

from xct_pipeline.config import Config, Electrochemistry, ImpedanceFile
from xct_pipeline.electrochemistry.drt import relaxation
from xct_pipeline.electrochemistry.impedance import read_spectra
from xct_pipeline.electrochemistry.log import CyclerLog, read_log
from xct_pipeline.electrochemistry.options import LogOptions
from xct_pipeline.electrochemistry.scans import ScanTimes, one_clock
from xct_pipeline.electrochemistry.spectrum import Spectrum
from xct_pipeline.electrochemistry.steps.log import charges_of, log_of, times_on_log
from xct_pipeline.electrochemistry.steps.tables import Taken, write_cycling, write_log, write_spectra, write_voltammetry
from xct_pipeline.scan import AnyScan
from xct_pipeline.store.store import Store

Read = TypeVar("Read")


def run(config: Config, names: Sequence[str], scans: Sequence[AnyScan | None], store: Store) -> tuple[str, ...]:
    """Write tables ``cycler``, ``impedance``, ``drt``, ``drt_peaks``, ``voltammetry``, ``cycling``; return warnings.

    Everything is read before anything is written.

    Raises
    ------
    ValueError
        What is wrong with a file.
    """
    settings = config.electrochemistry
    assert settings is not None
    record = None if settings.log is None else log_of(config, scans)
    times = None if record is None else times_on_log(config, record, names, scans)
    taken = spectra_of(config, names, times, record)
    sweep = _other_log(config, settings.voltammetry.file) if settings.voltammetry else None
    own = settings.cycling.file if settings.cycling else None
    cycled = record if own is None else _other_log(config, own)
    if record is not None:
        write_log(store, record)
    if taken:
        write_spectra(store, taken)
    if sweep is not None:
        write_voltammetry(store, sweep)
    if settings.cycling is not None and cycled is not None:
        write_cycling(store, cycled, settings.cycling.mass_mg)
    return tuple(f"{entry.spectrum.name}: {note}" for entry in taken for note in entry.found.notes)


def check(config: Config, names: Sequence[str], scans: Sequence[AnyScan | None]) -> None:
    """Read every file that is named.

    Raises
    ------
    ValueError
        What is wrong, a line for each file that cannot be used.
    """
    settings = config.electrochemistry
    assert settings is not None
    problems: list[str] = []
    record = None if settings.log is None else _tried(problems, lambda: log_of(config, scans))
    times = None if record is None else _tried(problems, lambda: times_on_log(config, record, names, scans))
    for entry in settings.impedance:
        _tried(problems, partial(_placed, config, entry, names, times, record))
    _read_others(config, problems)
    if problems:
        raise ValueError("\n".join(dict.fromkeys(problems)))


def read_all(config: Config) -> None:
    """Read every file that is named, where nothing is known of the scans.

    Raises
    ------
    ValueError
        What is wrong, a line for each file that cannot be used.
    """
    settings = config.electrochemistry
    assert settings is not None
    problems: list[str] = []
    if settings.log is not None:
        _tried(problems, lambda: log_of(config))
    for entry in settings.impedance:
        file = config.resolve(entry.file)
        _tried(problems, partial(read_spectra, file, area_cm2=entry.area_cm2, turned=entry.turned))
    _read_others(config, problems)
    if problems:
        raise ValueError("\n".join(dict.fromkeys(problems)))


def _read_others(config: Config, problems: list[str]) -> None:
    settings = config.electrochemistry
    assert settings is not None
    if settings.charges is not None:
        _tried(problems, lambda: charges_of(config))
    for file in (settings.voltammetry and settings.voltammetry.file, settings.cycling and settings.cycling.file):
        if file:
            _tried(problems, partial(_other_log, config, file))


def _tried(problems: list[str], read: Callable[[], Read]) -> Read | None:
    """Return what is read, or note why it cannot be."""
    try:
        return read()
    except ValueError as error:
        problems.append(str(error))
        return None


def _placed(
    config: Config, entry: ImpedanceFile, names: Sequence[str], times: ScanTimes | None, record: CyclerLog | None
) -> None:
    assert config.electrochemistry is not None
    for spectrum in read_spectra(config.resolve(entry.file), area_cm2=entry.area_cm2, turned=entry.turned):
        _when(entry, spectrum, 0, config.electrochemistry, names, times, record)


def spectra_of(config: Config, names: Sequence[str], times: ScanTimes | None, record: CyclerLog | None) -> list[Taken]:
    """Read the spectra that a configuration names, in the order of time."""
    settings = config.electrochemistry
    assert settings is not None
    taken = []
    for entry in settings.impedance:
        found = read_spectra(config.resolve(entry.file), area_cm2=entry.area_cm2, turned=entry.turned)
        for k, spectrum in enumerate(found):
            time_s, scan = _when(entry, spectrum, k, settings, names, times, record)
            done = relaxation(spectrum, bootstrap=settings.bootstrap, seed=settings.seed)
            taken.append(Taken(spectrum, done, time_s, scan))
    return sorted(taken, key=lambda entry: (np.isnan(entry.time_s), entry.time_s))


def _when(
    entry: ImpedanceFile,
    spectrum: Spectrum,
    position: int,
    settings: Electrochemistry,
    names: Sequence[str],
    times: ScanTimes | None,
    record: CyclerLog | None,
) -> tuple[float, str]:
    """Return a spectrum's time on the log's axis, and the scan that it was taken with."""
    later = position * (entry.time_step_s or 0.0)
    if entry.time_step_s is None and np.isfinite(spectrum.time_s):
        later = spectrum.time_s
    if entry.time_s is not None:
        return entry.time_s + later, _nearest(entry.time_s + later, names, times)
    if entry.scan is not None:
        k = _position(entry.scan, names)
        return (float(times.time_s[k]) if times is not None else np.nan), names[k]
    start = entry.date or spectrum.start
    if start is None or record is None or record.start is None:
        return np.nan, ""
    time_s = _between(start, record.start, settings.time_zone) + later
    return time_s, _nearest(time_s, names, times)


def _between(moment: datetime, zero: datetime, time_zone: str | None) -> float:
    moment = one_clock(moment, zero, time_zone, "the spectrum's date")
    zero = one_clock(zero, moment, time_zone)
    return (moment - zero).total_seconds()


def _position(scan: str | int, names: Sequence[str]) -> int:
    if isinstance(scan, str):
        if scan not in names:
            raise ValueError(f"electrochemistry.impedance: there is no scan {scan!r}; scans are {', '.join(names)}")
        return list(names).index(scan)
    if not 0 <= scan < len(names):
        raise ValueError(f"electrochemistry.impedance: there is no scan {scan}; there are {len(names)}")
    return scan


def _nearest(time_s: float, names: Sequence[str], times: ScanTimes | None) -> str:
    """Return the scan nearest in time, where it is no further than half the usual time between scans."""
    if times is None or not np.isfinite(times.time_s).any():
        return ""
    away = np.abs(times.time_s - time_s)
    k = int(np.nanargmin(away))
    known = np.sort(times.time_s[np.isfinite(times.time_s)])
    reach = max(float(np.median(np.diff(known))) / 2 if len(known) > 1 else 0.0, float(times.duration_s[k]))
    return names[k] if away[k] <= reach else ""


def _other_log(config: Config, file: str) -> CyclerLog:
    """Read a log beside that of the scans, by the same rules; its columns are found by name."""
    settings = config.electrochemistry
    assert settings is not None
    sweep = settings.voltammetry
    named = (sweep.voltage, sweep.current) if sweep is not None and sweep.file == file else (None, None)
    options = LogOptions(
        charge_sign=settings.charge_sign,
        date_format=settings.date_format,
        decimal=settings.decimal,
        time_zone=settings.time_zone,
        states=settings.states,
        integrate_gaps=settings.integrate_gaps,
        between_rows=settings.between_rows or "mean",
    )
    return read_log(config.resolve(file), options=options, voltage=named[0], current=named[1])
