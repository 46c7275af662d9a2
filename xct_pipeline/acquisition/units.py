"""Numbers with units, as files state them, to the units of this package."""

from __future__ import annotations

import math
import re
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from xct_pipeline.scan import ScanError

# What beamlines write and pint does not read, or reads as something else ("A" is ampere to pint).
_SPELLINGS = {
    "a": "angstrom",
    "å": "angstrom",
    "deg.": "degree",
    "degs": "degree",
    "degree(s)": "degree",
    "rad.": "radian",
    "rads": "radian",
    "radian(s)": "radian",
    "micro m": "micrometer",
    "mu": "micrometer",
    "ev": "eV",
    "kev": "keV",
}
# pint counts angles as dimensionless, so "counts" would pass for radians: angles are named one by one.
_ANGLES = {"degree", "radian", "milliradian", "microradian", "arcminute", "arcsecond", "turn"}
# Lengths to pint that say nothing of the size of a detector's pixel.
_NO_LENGTHS = {"px", "pix", "pixel", "pixels", "dot", "dots", "pt", "point", "points", "voxel", "voxels"}
# What nearly all files say, as pint has it: to load its registry takes longer than to read what a file states.
_COMMON = {
    "radian": {
        **dict.fromkeys(("deg", "degree", "degrees"), math.pi / 180),
        **dict.fromkeys(("rad", "radian", "radians"), 1.0),
    },
    "micrometer": {
        "m": 1e6,
        "mm": 1e3,
        **dict.fromkeys(("um", "\u00b5m", "\u03bcm", "micron", "microns", "micrometer"), 1.0),
        "nm": 1e-3,
    },
    "keV": {"keV": 1.0, "eV": 1e-3},
}
_EXAMPLES = {"radian": "'deg' or 'rad'", "micrometer": "'m', 'mm' or 'um'", "keV": "'eV' or 'keV'"}
# names with small powers, multiplied or divided: pint would compute whatever else a file says, 9**9**9 for days
_NAME = r"[^\W\d_][^\W\d]{0,29}(?:(?:\^|\*\*)-?[1-9])?"
_GRAMMAR = re.compile(rf"(?=.{{1,60}}$)(?:{_NAME}|°)(?: ?[*/·] ?{_NAME}| {_NAME})*")


@cache
def _registry() -> Any:
    import pint

    return pint.UnitRegistry()


@cache
def unit_factor(unit: str, to: str) -> float:
    """How many `to` one `unit` is.

    Parameters
    ----------
    unit : str
        As written in a file: ``deg``, ``degrees``, ``µm``, ``microns``, ``keV``, ``J`` ...
    to : {"radian", "micrometer", "keV"}
        The unit wanted.

    Returns
    -------
    float
        Factor to multiply by.

    Raises
    ------
    ScanError
        The unit is unknown, or of another kind.
    """
    text = unit.strip()
    if to == "micrometer":
        text = re.sub(r"\s*(/|per)\s*(px|pix|pixels?|voxels?)$", "", text, flags=re.IGNORECASE)
    text = _SPELLINGS.get(text.lower(), text)
    if text in _COMMON[to]:
        return _COMMON[to][text]
    if not _GRAMMAR.fullmatch(text):
        raise ScanError(f"unit {unit[:40]!r} is not known here; write {_EXAMPLES[to]}")
    if text.lower() in _NO_LENGTHS:
        raise ScanError(f"unit {unit[:40]!r} is no length; write {_EXAMPLES[to]}")
    registry = _registry()
    try:
        try:
            parsed = registry.parse_units(text)
        except Exception:
            if to == "keV":  # MEV could be mega or milli
                raise
            parsed = registry.parse_units(text.lower())
        if not text or (to == "radian" and str(parsed) not in _ANGLES):
            raise ValueError("not an angle")
        return float(registry.Quantity(1.0, parsed).to(to).magnitude)
    except Exception as error:  # pint raises whatever its tokenizer meets in a garbage string
        raise ScanError(f"unit {unit[:40]!r} is not known here; write {_EXAMPLES[to]}") from error


def convert(
    values: npt.NDArray[np.float64], unit: str | None, to: str, *, otherwise: str, where: str
) -> npt.NDArray[np.float64]:
    """Convert values to another unit.

    Parameters
    ----------
    values : numpy.ndarray
        Any shape.
    unit : str or None
        As written in the file; None or blank where it states none.
    to : {"radian", "micrometer", "keV"}
        The unit wanted.
    otherwise : str
        The unit taken where the file states none.
    where : str
        File and dataset, for the message.

    Returns
    -------
    numpy.ndarray of float64
        In unit `to`.

    Raises
    ------
    ScanError
        The unit is unknown, or of another kind.
    """
    try:
        factor = unit_factor(unit if unit and unit.strip() else otherwise, to)
    except ScanError as error:
        raise ScanError(f"{where}: {error}") from None
    return np.asarray(values, dtype=np.float64) * factor
