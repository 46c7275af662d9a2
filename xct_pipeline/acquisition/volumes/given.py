"""A volume of another program as a scan: its values on the scale 1/cm, and what is known of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from xct_pipeline.acquisition.volumes.arrays import Box, VolumeView
from xct_pipeline.acquisition.volumes.found import UNITS_PER_CM, Found
from xct_pipeline.scan import ScanError, without_date

CUBE = 5e-3  # relative differences of the edges of a voxel that are taken for rounding
SLAB = 64 * 2**20  # bytes that are read together of a box whose mean is measured
NOT_MEASURED = (
    "centre of rotation, flats and darks, drift of the beam, detector defects, saturated and clipped counts, rays that "
    "the detector does not see"
)
"""What projections would have told of a scan that starts as a volume."""


@dataclass(frozen=True, eq=False)
class GivenVolume:
    """A scan that starts as a volume (z, y, x), opened and not yet read.

    Attributes
    ----------
    name : str
    view : VolumeView
        Grey values as they are in the file.
    voxel_um : float
        Edge of a voxel.
    factor, offset : float
        Attenuation in 1/cm is factor * grey value + offset.
    nan : float or None
        Grey value in place of those that are no number; None refuses them.
    format : str
    files : tuple of Path
        The main one first.
    identity : mapping
        Changes when the values change.
    energy_keV, start, end
        As `xct_pipeline.scan.Scan` has them.
    warnings : tuple of str
    """

    name: str
    view: VolumeView
    voxel_um: float
    factor: float
    offset: float
    nan: float | None
    format: str
    files: tuple[Path, ...]
    identity: Mapping[str, Any]
    energy_keV: float | None = None
    start: datetime | None = None
    end: datetime | None = None
    warnings: tuple[str, ...] = ()

    @property
    def pixel_size_um(self) -> float | None:
        """The edge of a voxel."""
        return self.voxel_um

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x)."""
        return self.view.shape

    def facts(self) -> dict[str, Any]:
        """Return plain facts, for people and for JSON."""
        dated = not without_date(self.start)
        return {
            "name": self.name,
            "files": [str(path) for path in self.files[:3]],
            "file_count": len(self.files),
            "starts_from": "volume",
            "format": self.format,
            "shape": list(self.shape),
            "dtype": str(self.view.dtype),
            "grey_factor_per_cm": self.factor,
            "grey_offset_per_cm": self.offset,
            "pixel_size_um": self.voxel_um,
            "energy_keV": self.energy_keV,
            "start": self.start.isoformat() if self.start and dated else None,
            "end": self.end.isoformat() if self.end and dated else None,
            "not_measured": NOT_MEASURED,
            "warnings": list(self.warnings),
        }


def attenuation(
    values: npt.NDArray[Any], factor: float, offset: float, nan: float | None, where: str, first: int = 0
) -> npt.NDArray[np.float32]:
    """Turn grey values (z, y, x) into 1/cm; float32 values of factor 1 and offset 0 stay as they are, to the last bit.

    Raises
    ------
    ScanError
        Values that are no number, and nothing to put in their place. `where` and the plane `first` of the block begin
        the message.
    """
    if values.dtype.kind == "f":
        wrong = ~np.isfinite(values)
        if wrong.any():
            if nan is None:
                z, y, x = (int(k) for k in np.argwhere(wrong)[0])
                raise ScanError(
                    f"{where}: {int(wrong.sum())} values from z = {z + first}, y = {y}, x = {x} on are no number: "
                    "say what stands in for them, nan = 0.0"
                )
            values = np.where(wrong, values.dtype.type(nan), values)
    if factor == 1 and offset == 0 and values.dtype == np.float32:
        return values
    return np.asarray(values.astype(np.float64) * factor + offset, np.float32)


def order_of(found: Found, picks: Sequence[Any], given: str | None, where: str) -> tuple[tuple[int, int, int], bool]:
    """Return which axis of a volume is z, y, x, and whether anything says so.

    Raises
    ------
    ScanError
        The configuration names another order than the file, or the shape speaks against z, y, x.
    """
    told = None
    if found.axes is not None:
        told = "".join(name for name, pick in zip(found.axes, picks, strict=True) if not isinstance(pick, int))
        told = told if sorted(told) == sorted("zyx") else None
    if told is not None and given is not None and told != given:
        raise ScanError(f'{where}: its axes are {told} as the file says, and axes = "{given}" says otherwise')
    axes = given or told
    sizes = [pick[1] - pick[0] for pick in picks if not isinstance(pick, int)]
    if axes is None and sizes[0] == sizes[2] != sizes[1]:
        raise ScanError(
            f"{where}: {' x '.join(map(str, sizes))}: its square planes speak for the axes y, z, x, and nothing says "
            'so: give axes = "yzx" (or axes = "zyx" if z is first)'
        )
    letters = axes or "zyx"
    return (letters.index("z"), letters.index("y"), letters.index("x")), axes is not None


def voxel_of(found: Found, picks: Sequence[Any], given: float | None, where: str) -> float:
    """Return the edge of a voxel in micrometre.

    Raises
    ------
    ScanError
        It is not known, the configuration says another than the file, or voxels are no cubes.
    """
    told: list[float] = []
    if found.steps_um is not None:
        both = zip(found.steps_um, picks, strict=True)
        told = [step for step, pick in both if not isinstance(pick, int) and step is not None]
    if told and max(told) > min(told) * (1 + CUBE):
        edges = " x ".join(f"{step:.6g}" for step in told)
        raise ScanError(f"{where}: its voxels are {edges} um, which are no cubes: resample it to cubes first")
    if given is not None:
        if told and abs(given - told[0]) > CUBE * told[0]:
            raise ScanError(f"{where}: its voxels are {told[0]:.6g} um as the file says, not voxel_um = {given:g}")
        return given
    if not told:
        raise ScanError(f"{where}: nothing says how large its voxels are: give voxel_um")
    return told[0]


def unit_scale(unit: str, voxel_um: float) -> float:
    """Return 1/cm of a value in a unit; ``1/voxel`` is an inverse edge of a voxel."""
    return 1e4 / voxel_um if unit == "1/voxel" else UNITS_PER_CM[unit]


def mean_of_box(view: VolumeView, box: Box, where: str) -> float:
    """Return the mean grey value of a box (z, y, x), read by slabs.

    Raises
    ------
    ScanError
        It lies outside the volume, or holds no numbers.
    """
    if any(not 0 <= part.start < part.stop <= size for part, size in zip(box, view.shape, strict=True)):
        text = ", ".join(f"{name} = [{part.start}, {part.stop}]" for name, part in zip("zyx", box, strict=True))
        raise ScanError(f"{where}: the box {text} is empty or reaches outside {' x '.join(map(str, view.shape))}")
    plane = (box[1].stop - box[1].start) * (box[2].stop - box[2].start) * view.dtype.itemsize
    thick = max(1, SLAB // plane)
    total, count = 0.0, 0
    for z in range(box[0].start, box[0].stop, thick):
        values = view.read((slice(z, min(z + thick, box[0].stop)), *box[1:])).astype(np.float64)
        good = np.isfinite(values)
        total, count = total + float(values[good].sum()), count + int(good.sum())
    if not count:
        raise ScanError(f"{where}: the box of a material holds no numbers")
    return total / count


def scale_of_materials(values: Sequence[float], attenuations: Sequence[float], where: str) -> tuple[float, float]:
    """Return factor and offset of the line through two materials.

    Raises
    ------
    ScanError
        Both have one grey value.
    """
    if values[0] == values[1]:
        raise ScanError(f"{where}: both materials have the grey value {values[0]:g}")
    factor = (attenuations[1] - attenuations[0]) / (values[1] - values[0])
    return factor, attenuations[0] - factor * values[0]


def sampled(view: VolumeView, nan: float | None, where: str) -> str:
    """Read the first, the middle and the last plane: whether they can be read and hold numbers; return their digest.

    Raises
    ------
    ScanError
        They cannot be read, or hold what is no number.
    """
    z, y, x = view.shape
    digest = hashlib.sha256(repr(view.shape).encode())
    for plane in sorted({0, z // 2, z - 1}):
        values = view.read((slice(plane, plane + 1), slice(0, y), slice(0, x)))
        attenuation(values, 1.0, 0.0, nan, where, plane)
        digest.update(values.tobytes())
    return digest.hexdigest()
