"""What the file of a volume says by itself: its array, axes, voxel size and unit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xct_pipeline.acquisition.volumes.arrays import VolumeArray

UNITS_PER_CM = {"1/cm": 1.0, "1/mm": 10.0, "1/m": 0.01, "1/um": 1e4}
"""1/cm of a value in each unit."""
LENGTHS_UM = {
    **dict.fromkeys(("um", "micron", "microns", "micrometer", "micrometre", "micrometers", "µm", "μm"), 1.0),
    **dict.fromkeys(("mm", "millimeter", "millimetre"), 1e3),
    **dict.fromkeys(("cm", "centimeter", "centimetre"), 1e4),
    **dict.fromkeys(("m", "meter", "metre"), 1e6),
    **dict.fromkeys(("nm", "nanometer", "nanometre"), 1e-3),
}
"""Micrometres of the units of length that files of volumes name."""


@dataclass(frozen=True)
class Found:
    """What a file says of a volume.

    Attributes
    ----------
    array : VolumeArray
    files : tuple of Path
        Every file whose change means other values, the main one first.
    format : str
        As messages say it.
    axes : str or None
        A letter for each axis of the array, ``tzyx``; None where the file does not say it.
    steps_um : tuple of float or None
        Edge of a voxel along each axis of the array in micrometre, None where the file does not say it.
    unit : str or None
        Of the values, one of `UNITS_PER_CM`.
    """

    array: VolumeArray
    files: tuple[Path, ...]
    format: str
    axes: str | None = None
    steps_um: tuple[float | None, ...] | None = None
    unit: str | None = None


def length_um(unit: str) -> float | None:
    """Return the micrometres of a unit of length, None for none that is known."""
    text = unit.strip().replace("\\u00B5", "µ").lower()
    return LENGTHS_UM.get(text)


def value_unit(text: str) -> str | None:
    """Return a unit of attenuation as `UNITS_PER_CM` writes it: ``cm^-1`` becomes ``1/cm``; None for any other."""
    short = re.sub(r"\s|\*\*|\^|[{}()]", "", text)
    match = re.fullmatch(r"1/(cm|mm|m|um)|(cm|mm|m|um)-1", short)
    return None if match is None else f"1/{match[1] or match[2]}"


def axis_letters(names: Sequence[str]) -> str | None:
    """Return ``zyx`` for names of axes such as z, y, x; None where they are no such names."""
    letters = "".join(name.strip().lower()[:1] for name in names)
    known = all(name.strip().lower() in ("t", "c", "z", "y", "x") for name in names)
    return letters if known and {*"zyx"} <= {*letters} and len({*letters}) == len(letters) else None
