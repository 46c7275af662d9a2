"""Read impedance spectra: text with named columns, BioLogic, Gamry and ZView files, one or several in a file."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from xct_pipeline.electrochemistry import decimals
from xct_pipeline.electrochemistry.dates import read_stamps
from xct_pipeline.electrochemistry.readers import gamry_tables, read_table, reader
from xct_pipeline.electrochemistry.roles import start_text
from xct_pipeline.electrochemistry.spectrum import FEWEST, Spectrum, spectrum_of
from xct_pipeline.electrochemistry.table import Table, lines_of, read_text
from xct_pipeline.electrochemistry.units import UNITS, unit_of
from xct_pipeline.electrochemistry.zones import Question

Array = npt.NDArray[np.float64]

FOREIGN = (".dfr", ".p00", ".i2b", ".idf", ".ids", ".pssession", ".ods")
"""Files that are read by pyimpspec."""
_NAMES = {
    "frequency": r"(freq(uency)?|f|frequenz)\b.*|freq(uency)?_.*|f_.*|(omega|ω|angular[ _]?freq.*)\b.*",
    "real": r"(re|real)[ _.(\[]*z.*|z[ _]?(re|real)\b.*|z_?re(al)?_.*|z'(?!').*|z′(?!′).*|real\b.*|re( ?[\[(/_].*)?",
    "imaginary": r"([-−]|neg(ative)?[ _]|minus[ _])?((im|imag)[ _.(\[]*z.*|z[ _]?(im|imag)\b.*|z_?im(ag)?_.*"
    r"|z''.*|z\".*|z″.*|z′′.*|imag(inary)?\b.*|im( ?[\[(/_].*)?)",
    "modulus": r"\|z\|.*|z[ _]?mod.*|abs[ _(\[]*z.*|mod(ulus)?\b.*|magnitude.*|z_abs.*|impedance\b.*",
    "phase": r"[-−]?(phase|z[ _]?ph(ase|z).*|theta|phi|θ|φ).*",
    "cycle": r"(cycle|loop|spectrum|sweep)([ _]?(number|index|no|nr))?\.?",
    "time": r"time/s|time([ _]?[(\[_/].*)?|t ?[(\[_/]s.*",
}
_OHMS = {"ohm": 1.0, "ohms": 1.0, "ω": 1.0, "kohm": 1e3, "kω": 1e3, "mohm": 1e-3, "mω": 1e-3, "Mohm": 1e6, "MΩ": 1e6}
_HERTZ = {"hz": 1.0, "khz": 1e3, "mhz": 1e-3, "MHz": 1e6}
_HERTZ |= dict.fromkeys(("rad/s", "rads-1", "rad s-1", "1/s", "s-1"), 1 / (2 * np.pi))
_NO_UNIT = ("", "z", "re", "im", "real", "imag", "imaginary", "mod", "abs")
"""What stands where a unit could, and is none: Re(Z), Z_re."""
CUT_SHORT = 3.0
"""A spectrum that ends at so many times the lowest frequency of the others may have been cut short."""
LARGEST_RADIAN = 1.6
"""A passive cell's phase in radian is below this; in degrees it hardly ever is throughout."""


@dataclass(frozen=True)
class _Columns:
    """Columns of a spectrum; either real and imaginary or modulus and phase."""

    table: Table
    names: Mapping[str, str]

    def numbers(self, role: str) -> Array:
        name = self.names[role]
        cells = self.table.column(name)
        sign = decimals.decimal_of(
            self.table.source,
            {n: decimals.weigh(map(str, self.table.column(n))) for n in self.names.values() if _textual(self.table, n)},
        )
        return decimals.numbers(self.table.source, name, cells, sign)

    def unit(self, role: str) -> str:
        name = self.names[role]
        beneath = self.table.units.get(name)
        angular = re.search(r"rad ?(/ ?s|\.?s-1|\.?s\^-1)|1/s", name)
        return beneath or (angular.group(0).replace(" ", "") if angular else unit_of(name)) or ""


def _textual(table: Table, name: str) -> bool:
    return np.asarray(table.column(name)).dtype.kind == "O"


def holds_spectra(path: Path) -> bool:
    """Tell whether a file holds impedance rather than a log."""
    if path.suffix.lower() == ".z" or path.suffix.lower() in FOREIGN:
        return True
    table = _table(path)
    return table is not None and "frequency" in _found(table)


def read_spectra(path: str | Path, *, area_cm2: float | None = None, turned: bool = False) -> list[Spectrum]:
    """Read the spectra of a file.

    Parameters
    ----------
    path : path
        ``.mpt``, ``.mpr`` (needs yadg), Gamry ``.dta``, ZView ``.z``, ``.xlsx`` (needs openpyxl); ``.dfr``, ``.i2b``,
        ``.ids``, ``.idf``, ``.p00``, ``.pssession``, ``.ods`` (need pyimpspec, GPL-3); else text with named
        columns: frequency; real and imaginary part, or modulus and phase. A minus before the imaginary part or the
        phase belongs to the name (``-Im(Z)/Ohm``). Several spectra are told apart by a column of cycle or loop, else
        where the frequency begins again.
    area_cm2 : float, optional
        Area of a spectrum in ohm cm2, which it is divided by.
    turned : bool
        The imaginary part has the sign of a Nyquist plot, though its name does not say so.

    Returns
    -------
    list of Spectrum
        In ohm.

    Raises
    ------
    ValueError
        What is wrong with the file, its columns or units.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"the file {path} does not exist")
    if path.suffix.lower() == ".z":
        return _read_zview(path, turned)
    if path.suffix.lower() in FOREIGN:
        return _read_foreign(path, area_cm2, turned)
    table = _table(path)
    roles = {} if table is None else _found(table)
    if table is None or "frequency" not in roles:
        listed = "" if table is None else f"; {table.listed()}"
        raise ValueError(f"{path.name} has no column of the frequency (freq/Hz, Frequency (Hz)){listed}")
    columns = _Columns(table, roles)
    impedance = _impedance(columns, area_cm2)
    impedance = impedance.conj() if turned else impedance
    frequency = columns.numbers("frequency") * _size(columns, "frequency", _HERTZ, 1.0)
    times = _times(columns, len(frequency))
    start, notes = _start(table)
    parts = _parts(columns, path.name, frequency)
    told = table.notes
    if len(parts) > 1 and len(parts[-1][1]) < FEWEST:
        told = (*told, f"the file goes on with {len(parts.pop()[1])} frequencies more, too few for a spectrum")
    found = [
        spectrum_of(name, frequency[rows], impedance[rows], time_s=float(times[rows][0]), start=start)
        for name, rows in parts
    ] or _refuse_empty(path, notes)
    return _told(found, told)


def _told(spectra: list[Spectrum], notes: tuple[str, ...]) -> list[Spectrum]:
    """Add what is said of the end of a file to its last spectrum, and of each that ends long before the others."""
    lowest = [float(spectrum.frequency_Hz[-1]) for spectrum in spectra]
    usual = float(np.median(lowest))
    result = []
    for k, spectrum in enumerate(spectra):
        added = notes if k == len(spectra) - 1 else ()
        if lowest[k] > CUT_SHORT * usual or (len(spectra) == 2 and lowest[k] > CUT_SHORT * min(lowest)):
            least = min(lowest)
            added = (*added, f"ends at {lowest[k]:.4g} Hz, another of this file at {least:.4g} Hz: was it cut short?")
        result.append(replace(spectrum, notes=(*spectrum.notes, *added)))
    return result


def _read_foreign(path: Path, area_cm2: float | None, turned: bool) -> list[Spectrum]:
    """Read what only pyimpspec knows; its impedances have the sign of the imaginary part, as ours."""
    parse = reader("pyimpspec", path).parse_data
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a library: what matters here is what it returns
            found = parse(str(path))
    except Exception as error:  # every format has errors of its own
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path.name} cannot be read by pyimpspec ({said})") from None
    if not found:
        raise ValueError(f"{path.name} holds no spectrum")
    size = 1.0 if area_cm2 is None else 1 / area_cm2
    result = []
    for k, data in enumerate(found, 1):
        name = path.name if len(found) == 1 else f"{path.name}#{k}"
        impedance = np.asarray(data.get_impedances(), np.complex128) * size
        result.append(spectrum_of(name, data.get_frequencies(), impedance.conj() if turned else impedance))
    return result


def _refuse_empty(path: Path, notes: Sequence[str]) -> list[Spectrum]:
    raise ValueError(f"{path.name} holds no row with a frequency{'; ' + '; '.join(notes) if notes else ''}")


def _table(path: Path) -> Table | None:
    """Return the table of a file's spectra: for a Gamry file that of its impedance, None where it has none."""
    if path.suffix.lower() in (".mpr", ".nda", ".ndax", ".xlsx", ".xlsm", ".mpt"):
        return read_table(path)
    lines = lines_of(path, read_text(path)) if path.is_file() else []
    if lines and lines[0].strip() == "EXPLAIN":
        tables = gamry_tables(path.name, lines, "ZCURVE")
        return tables[0] if tables else None
    return read_table(path)


def _found(table: Table) -> dict[str, str]:
    """Return the columns of a spectrum by role."""
    result: dict[str, str] = {}
    for role, pattern in _NAMES.items():
        for name in table.names:
            if name not in result.values() and re.fullmatch(pattern, name.strip().lower()):
                result[role] = name
                break
    return result


def _impedance(columns: _Columns, area_cm2: float | None) -> npt.NDArray[np.complex128]:
    names, source = columns.names, columns.table.source
    roles = ("real", "imaginary") if {"real", "imaginary"} <= set(names) else ("modulus", "phase")
    if not set(roles) <= set(names):
        raise ValueError(
            f"{source} needs columns of the real and imaginary part (Re(Z)/Ohm, -Im(Z)/Ohm) or of modulus and phase "
            f"(|Z|/Ohm, Phase(Z)/deg); {columns.table.listed()}"
        )
    first, second = columns.numbers(roles[0]), columns.numbers(roles[1])
    if _minus(names[roles[1]]):
        second = -second
    if roles[1] == "phase":
        radian = _in_radian(columns, second)
        impedance = first * np.exp(1j * (second if radian else np.radians(second)))
        measured: tuple[str, ...] = roles[:1]
    else:
        impedance, measured = first + 1j * second, roles
    per_area = {role: bool(re.search(r"cm|m\^?2|m²|area", columns.unit(role), re.IGNORECASE)) for role in measured}
    if len(set(per_area.values())) > 1:
        shown = " and ".join(repr(names[role]) for role in measured)
        raise ValueError(f"{source}: one of {shown} is per area, the other is not; give both in ohm or in ohm cm2")
    sizes = [_size(columns, role, _OHMS, 1.0) for role in measured]
    impedance = impedance.real * sizes[0] + 1j * impedance.imag * sizes[-1]
    if any(per_area.values()):
        if area_cm2 is None:
            raise ValueError(f"{source}: {names[measured[0]]!r} is per area; give area_cm2 to bring it to ohm")
        square_metre = re.search(r"(?<!c)m(\^?2|²)", columns.unit(measured[0]))
        impedance = impedance * (1e4 if square_metre else 1.0) / area_cm2
    return np.asarray(impedance, np.complex128)


def _in_radian(columns: _Columns, phase: Array) -> bool:
    """Tell whether a phase is in radian; without a unit small values could be either."""
    unit = columns.unit("phase").lower()
    if "rad" in unit or "deg" in unit or "°" in unit or "grad" in unit:
        return "rad" in unit and "grad" not in unit
    largest = float(np.nanmax(np.abs(phase), initial=0.0))
    if 0 < largest < LARGEST_RADIAN:
        raise ValueError(
            f"{columns.table.source}: column {columns.names['phase']!r} has no unit, and its largest value, "
            f"{largest:.3g}, can be degrees or radian ({np.degrees(largest):.3g} degrees); write deg or rad behind its "
            f"name"
        )
    return False


def _minus(name: str) -> bool:
    return bool(re.match(r"\s*([-−]|neg|minus)", name.lower()))


def _size(columns: _Columns, role: str, known: Mapping[str, float], default: float) -> float:
    """Return the size of a column's unit; capitals tell milli from mega."""
    unit = re.sub(r"[.·*⋅ ]*c?m(\^?2|²)$", "", columns.unit(role)).strip(".·*⋅ ()")
    if unit in known:
        return known[unit]
    for name, size in known.items():
        if unit.replace("Ω", "ohm").replace("Ohm", "ohm").replace("OHM", "ohm") == name:
            return size
    explicit = columns.table.units.get(columns.names[role]) or re.search(r"[)\]/]", columns.names[role])
    if unit.lower() not in known and unit.lower().strip("'\"") not in _NO_UNIT and explicit:
        raise ValueError(
            f"{columns.table.source}: {unit!r} is no unit of {columns.names[role]!r} that is known "
            f"({', '.join(dict.fromkeys(known))})"
        )
    return known.get(unit.lower(), default)


def _times(columns: _Columns, count: int) -> Array:
    name = columns.names.get("time")
    if name is None:
        return np.full(count, np.nan)
    unit = columns.unit("time").lower()
    try:
        return columns.numbers("time") * UNITS["time"].get(unit.strip("."), 1.0)
    except ValueError:
        return np.full(count, np.nan)


def _start(table: Table) -> tuple[datetime | None, tuple[str, ...]]:
    text = start_text(table)
    if text is None:
        return None, ()
    usual = "mdy" if table.instrument == "BioLogic" else None
    question = Question(table.source, "start in the head", usual=usual)
    try:
        stamps = read_stamps(question, np.array([text], dtype=object))
    except ValueError as error:
        return None, (str(error),)
    return stamps.moment(float(stamps.seconds[0])), stamps.notes


def _parts(columns: _Columns, name: str, frequency: Array) -> list[tuple[str, npt.NDArray[np.intp]]]:
    """Return names and rows of the spectra of a file."""
    rows = np.flatnonzero(np.isfinite(frequency) & (frequency > 0))
    if not len(rows):
        return []
    f = frequency[rows]
    if "cycle" in columns.names:
        cycle = np.asarray(columns.table.column(columns.names["cycle"])).astype(str)[rows]
        bounds = np.flatnonzero(cycle[1:] != cycle[:-1]) + 1
        if len(bounds):
            return _named(name, np.split(rows, bounds))
    steps = np.diff(f)
    turned = _turns(steps)
    if len(turned):
        return _named(name, np.split(rows, turned))
    usual = np.sign(np.median(steps[steps != 0])) if (steps != 0).any() else 0.0
    bounds = np.flatnonzero(np.sign(steps) == -usual) + 1 if usual else np.zeros(0, np.intp)
    parts = np.split(rows, bounds)
    whole = all(len(part) >= FEWEST for part in parts[:-1])
    again = len(np.unique(f)) < len(f)
    return _named(name, parts if whole and again else [rows])


def _turns(steps: Array) -> npt.NDArray[np.intp]:
    """Return the rows at which sweeps down and up, each long enough for a spectrum, turn into each other."""
    ways = np.sign(steps)
    moving = np.flatnonzero(ways)
    if not len(moving):
        return np.zeros(0, np.intp)
    first = np.concatenate([[0], np.flatnonzero(np.diff(ways[moving])) + 1])
    runs = [(moving[a], moving[b - 1]) for a, b in zip(first, [*first[1:], len(moving)], strict=True)]
    if len(runs) < 2 or any(last - begin + 1 < FEWEST for begin, last in runs):
        return np.zeros(0, np.intp)
    return np.array([last + 2 if ways[last + 1] == 0 else last + 1 for _, last in runs[:-1]], np.intp)


def _named(name: str, parts: Sequence[npt.NDArray[np.intp]]) -> list[tuple[str, npt.NDArray[np.intp]]]:
    return [(name if len(parts) == 1 else f"{name}#{k}", part) for k, part in enumerate(parts, 1)]


def _read_zview(path: Path, turned: bool) -> list[Spectrum]:
    """Read a ZView file: numbers behind "End Comments", frequency first, Z' and Z'' in columns 5 and 6."""
    lines = lines_of(path, read_text(path))
    begin = next(
        (k for k, line in enumerate(lines) if line.strip().lower().startswith(("end comments", "end header"))), None
    )
    if begin is None:
        raise ValueError(f"{path.name} is no ZView file: it has no line 'End Comments'")
    rows: list[Any] = []
    for line in lines[begin + 1 :]:
        cells = [cell for cell in re.split(r"[,\s]+", line.strip()) if cell]
        if len(cells) >= 6 and decimals.is_number(cells[0]):
            rows.append([float(cell) for cell in cells[:6]])
    if not rows:
        raise ValueError(f"{path.name} holds no rows of numbers")
    data = np.array(rows)
    impedance = data[:, 4] + 1j * data[:, 5] * (-1 if turned else 1)
    return [spectrum_of(path.name, data[:, 0], impedance, time_s=float(data[0, 3]))]
