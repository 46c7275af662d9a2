"""``[[acquisition.volume]]``: scans that start as volumes which another program reconstructed."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from xct_pipeline.config.section import Box, Energy, PixelSize, Section
from xct_pipeline.names import ScanName

Finite = Annotated[float, Field(allow_inf_nan=False)]
Axes = Literal["zyx", "zxy", "yzx", "yxz", "xzy", "xyz"]
ValueUnit = Literal["1/cm", "1/mm", "1/m", "1/um", "1/voxel"]
RawType = Literal[
    "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64"
]
SCAN = "{scan}"


class GreyMaterial(Section):
    """A material whose attenuation is known, and its grey value or where it lies."""

    value: Finite | None = None
    """Its grey value."""
    box: Box | None = None
    """Where it lies in this volume; its grey value is the mean of the box."""
    attenuation: Finite
    """Its attenuation, 1/cm."""

    @model_validator(mode="after")
    def _check(self) -> GreyMaterial:
        if (self.value is None) == (self.box is None):
            raise ValueError("give either the grey value of the material or the box in which it lies")
        return self


class GreyScale(Section):
    """From grey values to 1/cm: a factor and an offset, or two materials of known attenuation."""

    factor: Finite | None = None
    """1/cm of one grey value."""
    offset: Finite = 0.0
    """1/cm of the grey value 0, with a factor."""
    materials: list[GreyMaterial] = []
    """Two materials of known attenuation."""

    @model_validator(mode="after")
    def _check(self) -> GreyScale:
        if (self.factor is None) == (not self.materials):
            raise ValueError("give either factor (and offset) or two materials")
        if self.materials and (len(self.materials) != 2 or self.offset):
            raise ValueError("give two materials, and no offset with them")
        if self.factor == 0 or (self.materials and self.materials[0].attenuation == self.materials[1].attenuation):
            raise ValueError("all grey values would be one attenuation")
        return self


class VolumeScan(Section):
    """A scan that starts as a volume: OME-Zarr, TIFF, HDF5, NumPy, or raw numbers."""

    name: ScanName | None = None
    """Of the scan in the store; left out where `data` holds {scan}."""
    data: str
    """OME-Zarr folder, TIFF file, folder or pattern of slices, .npy, raw file, or file::dataset, each perhaps with a
    range as in [0:100, :, 20:80]; {scan} stands for the name of each of several volumes.
    """
    axes: Axes | None = None
    """Order of the axes in the file, where it does not say it; z runs along the rotation axis."""
    voxel_um: PixelSize | None = None
    """Edge of a voxel, micrometre, where the file does not say it."""
    unit: ValueUnit | None = None
    """Of the values, where the file does not say it."""
    grey: GreyScale | None = None
    """From grey values to 1/cm, in place of a unit."""
    nan: Finite | None = None
    """Grey value that stands in for values that are no number; without it they are an error."""
    start: datetime | None = None
    """When the scan began."""
    end: datetime | None = None
    """When it ended."""
    time_s: Finite | None = None
    """Middle of the scan in seconds, on the clock of the cycler's log, where no date is known."""
    times: str | None = None
    """CSV file with the columns scan and time_s, or scan, start and perhaps end."""
    energy_keV: Energy | None = None
    """Photon energy, keV."""
    shape: tuple[PositiveInt, PositiveInt, PositiveInt] | None = None
    """Of raw numbers: how many along each axis, the slowest first."""
    dtype: RawType | None = None
    """Of raw numbers."""
    byte_order: Literal["little", "big"] = "little"
    """Of raw numbers."""
    header_bytes: NonNegativeInt = 0
    """Of raw numbers: bytes before the first of them."""

    @model_validator(mode="after")
    def _check(self) -> VolumeScan:
        several = SCAN in self.data
        if several == (self.name is not None):
            raise ValueError(f"give either a name, or {SCAN} in data where the names of several volumes stand")
        if not self.data.strip():
            raise ValueError("data is empty: name a file or folder")
        if self.unit is not None and self.grey is not None:
            raise ValueError("give either unit or grey")
        if sum(given is not None for given in (self.start, self.time_s, self.times)) > 1:
            raise ValueError("give one of start, time_s and times")
        if self.end is not None and self.start is None:
            raise ValueError("end needs start")
        if several and (self.start is not None or self.time_s is not None):
            raise ValueError(f"one time for all volumes of {SCAN}: give times, a CSV file, or a table for each volume")
        if (self.shape is None) != (self.dtype is None):
            raise ValueError("raw numbers need both shape and dtype")
        if self.shape is None and (self.header_bytes or self.byte_order == "big"):
            raise ValueError("header_bytes and byte_order are those of raw numbers, which need shape and dtype")
        return self
