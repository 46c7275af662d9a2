"""``[electrochemistry]``: the cycler's log, and spectra, voltammograms and cycles recorded beside the scans."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from xct_pipeline.config.section import Section


class ImpedanceFile(Section):
    """A file of impedance spectra, and when they were taken: seconds of the log, a date, or the scan's name."""

    file: str
    time_s: float | None = None
    date: datetime | None = None
    scan: str | int | None = None
    area_cm2: PositiveFloat | None = None
    time_step_s: PositiveFloat | None = None
    turned: bool = False

    @model_validator(mode="after")
    def _check(self) -> ImpedanceFile:
        if sum(value is not None for value in (self.time_s, self.date, self.scan)) > 1:
            raise ValueError("give one of time_s, date and scan")
        return self


class VoltammetrySettings(Section):
    """A file of cyclic voltammetry; columns are found by name where they are not given."""

    file: str
    voltage: str | None = None
    current: str | None = None


class CyclingSettings(Section):
    """Cycles summed up: of a file of their own, or of the log."""

    file: str | None = None
    mass_mg: PositiveFloat | None = None


class Electrochemistry(Section):
    """The cycler's log and how it lies to the scans; spectra, voltammetry and cycling beside it."""

    log: str | None = None
    time: str | None = None
    charge: str | None = None
    discharge: str | None = None
    current: str | None = None
    voltage: str | None = None
    absolute_time: str | None = None
    state: str | None = None
    units: dict[str, str] = {}
    date_format: str | None = None
    decimal: Literal[".", ","] | None = None
    time_zone: str | None = None
    integrate_gaps: bool = False
    between_rows: Literal["mean", "before", "after"] | None = None
    offset_s: float = 0.0
    charge_sign: Literal[1, -1] = 1
    leakage: Annotated[float, Field(ge=0, le=1)] | Literal["fit"] | None = None
    impedance: list[ImpedanceFile] = []
    voltammetry: VoltammetrySettings | None = None
    cycling: CyclingSettings | None = None
    bootstrap: PositiveInt = 200
    seed: int = 0

    @model_validator(mode="after")
    def _check(self) -> Electrochemistry:
        if self.log is None and not (self.impedance or self.voltammetry or self.cycling):
            raise ValueError("name a log, impedance, voltammetry or cycling")
        if self.cycling is not None and self.cycling.file is None and self.log is None:
            raise ValueError("cycling needs a file of its own, or the log")
        return self
