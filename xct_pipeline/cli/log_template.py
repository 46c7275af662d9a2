"""The ``[electrochemistry]`` of the configuration that ``xct init`` writes: a log's columns and how it is read."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import tomlkit

if TYPE_CHECKING:
    from xct_pipeline.config import Config
    from xct_pipeline.electrochemistry.log import CyclerLog

SUFFIXES = (".mpt", ".mpr", ".dta", ".nda", ".ndax", ".bdf", ".csv", ".txt", ".xlsx")
MOST_TRIED, MOST_BYTES = 12, 2**26
_SECTION = re.compile(r"(?m)^# \[electrochemistry\].*\n(?:# (?!\[\[).*\n)*")


def with_log(text: str, folder: Path, log: Path | None) -> str:
    """Return a configuration with the log's section filled in: as it stands for `log`, commented for one found beside.

    Parameters
    ----------
    text : str
        What `write_template` returned; its scans tell dates that could be read in two ways.
    folder : Path
        Where the configuration will lie.
    log : Path, optional
        Left out, the one log beside the scans is shown, if there is just one.

    Raises
    ------
    ValueError
        The log that was named cannot be used.
    """
    from xct_pipeline.config.file import parse_config

    config = parse_config(tomllib.loads(text), folder)
    if log is not None:
        section = "\n".join(_lines(config, log, folder))
    else:
        found = list(_beside(config))
        if len(found) != 1:
            return text
        try:
            lines = list(_lines(config, found[0], folder))
        except ValueError as error:
            name = tomlkit.item(os.path.relpath(found[0], folder)).as_string()
            lines = ["[electrochemistry]", f"log = {name}", f"# not read: {error}"]
        section = "\n".join(line if line.startswith("#") else f"# {line}" for line in lines)
    if _SECTION.search(text):
        return _SECTION.sub(lambda _: section + "\n", text, count=1)
    return f"{text.rstrip()}\n\n{section}\n"


def _beside(config: Config) -> Iterator[Path]:
    """Yield files beside the scans that hold a table with a time and a charge or a current."""
    from xct_pipeline.electrochemistry.impedance import holds_spectra
    from xct_pipeline.electrochemistry.readers import read_table
    from xct_pipeline.electrochemistry.roles import guess

    folders = dict.fromkeys(config.resolve(name).parent for name in config.acquisition.scans[:1])
    files = [file for folder in folders for file in sorted(folder.glob("*")) if file.suffix.lower() in SUFFIXES]
    for file in files[:MOST_TRIED]:
        try:
            if not file.is_file() or file.stat().st_size > MOST_BYTES or holds_spectra(file):
                continue
            roles = guess(read_table(file))
        except (ValueError, OSError):
            continue
        if (roles.time or roles.absolute_time) and any((roles.charge, roles.capacity, roles.charge_in, roles.current)):
            yield file


def _lines(config: Config, log: Path, folder: Path) -> Iterator[str]:
    """Yield the section of a log: its columns by name and unit, and the reading that was chosen."""
    from xct_pipeline.acquisition.steps import open_scans
    from xct_pipeline.electrochemistry.log import read_log
    from xct_pipeline.electrochemistry.readers import read_table
    from xct_pipeline.electrochemistry.roles import Roles, completed
    from xct_pipeline.electrochemistry.scans import span_of
    from xct_pipeline.electrochemistry.units import unit_of

    scans = [item.scan for item in open_scans(config)]
    moments = [(s.start if s else None, s.end if s else None) for s in scans]
    record = read_log(log, scans=span_of([a for a, _ in moments], [b for _, b in moments]))
    table = read_table(log)
    roles, _ = completed(table, Roles())
    keys = {
        "time": roles.time,
        "absolute_time": roles.absolute_time,
        "charge": roles.charge or roles.charge_in or roles.capacity,
        "discharge": roles.charge_out if roles.charge_in and not roles.charge else None,
        "current": roles.current,
        "voltage": roles.voltage,
        "state": roles.state,
    }
    width = 36
    yield "[electrochemistry]                   # the balance against the charge"
    yield f"log = {tomlkit.item(Path(os.path.relpath(log, folder)).as_posix()).as_string()}"
    for key, name in keys.items():
        if name is not None:
            unit = table.units.get(name) or unit_of(name)
            line = f"{key} = {tomlkit.item(name).as_string()}"
            what = f"in {unit}" if unit and key not in ("absolute_time", "state") else "as written"
            yield f"{line:<{width}} # found by name, {what}"
    for line in _reading(record):
        yield f"# {line}"
    yield f"{'charge_sign = 1':<{width}} # -1 where the log counts charge as negative when the species leaves"
    if record.start is not None and record.start.tzinfo is None:
        yield f"{'# time_zone = ' + chr(34) + 'Europe/Berlin' + chr(34):<{width}} # of the log's dates, which name none"


def _reading(record: CyclerLog) -> Iterator[str]:
    """Yield how a log was read."""
    span = float(record.time_s[-1] - record.time_s[0])
    if record.start is None:
        yield f"{len(record.time_s)} rows over {span:g} s; no dates: its time 0 is the start of the first scan"
    else:
        first, last = (record.start + timedelta(seconds=float(record.time_s[k])) for k in (0, -1))
        zone = "without a zone" if record.start.tzinfo is None else f"zone {record.start.tzinfo}"
        yield f"{len(record.time_s)} rows from {first:%Y-%m-%d %H:%M:%S} to {last:%Y-%m-%d %H:%M:%S}, {zone}"
    low, high = record.charge_C.min(), record.charge_C.max()
    yield f"charge {record.charge_C[-1]:.4g} C at the end, {low:.4g} to {high:.4g} C"
    yield from (note for note in record.notes if not note.startswith("columns found"))
