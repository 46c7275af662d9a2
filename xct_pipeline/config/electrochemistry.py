"""``[electrochemistry]``: the cycler's log, and spectra, voltammograms and cycles recorded beside the scans."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from xct_pipeline.config.section import Section
from xct_pipeline.names import ScanName

Finite = Annotated[float, Field(allow_inf_nan=False)]


class ImpedanceFile(Section):
    """A file of impedance spectra, and when they were taken: seconds of the log, a date, or the scan's name."""

    file: str
    """File of one or more spectra."""
    time_s: float | None = None
    """When the first was taken, seconds of the log."""
    date: datetime | None = None
    """When it was taken, date and time."""
    scan: str | int | None = None
    """Name or position of the scan that it was taken with."""
    area_cm2: PositiveFloat | None = None
    """Area of the electrode, cm2, where the file holds ohm cm2."""
    time_step_s: PositiveFloat | None = None
    """Between one spectrum of the file and the next, seconds."""
    turned: bool = False
    """The file holds Im Z under the name of -Im Z."""

    @model_validator(mode="after")
    def _check(self) -> ImpedanceFile:
        if sum(value is not None for value in (self.time_s, self.date, self.scan)) > 1:
            raise ValueError("give one of time_s, date and scan")
        return self


class VoltammetrySettings(Section):
    """A file of cyclic voltammetry; columns are found by name where they are not given."""

    file: str
    """File of the sweeps."""
    voltage: str | None = None
    """Name of the column of voltage; found by name by default."""
    current: str | None = None
    """Name of the column of current; found by name by default."""


class CyclingSettings(Section):
    """Cycles summed up: of a file of their own, or of the log."""

    file: str | None = None
    """File of the cycles; the log by default."""
    mass_mg: PositiveFloat | None = None
    """Mass of the active material, mg, for capacities per gram."""


class Electrochemistry(Section):
    """The cycler's log and how it lies to the scans; spectra, voltammetry and cycling beside it."""

    log: str | None = None
    """File of the cycler."""
    time: str | None = None
    """Name of the column of time; found by name by default."""
    charge: str | None = None
    """Name of the column of charge."""
    discharge: str | None = None
    """Name of a second column of charge, counted while the cell is discharged."""
    current: str | None = None
    """Name of the column of current."""
    voltage: str | None = None
    """Name of the column of voltage."""
    absolute_time: str | None = None
    """Name of the column of date and time."""
    state: str | None = None
    """Name of the column that says whether the cell is charged, discharged or at rest; "none" leaves it aside."""
    states: dict[str, Literal["charge", "discharge", "rest"]] = {}
    """What words or numbers of the state mean, where that is not certain: { 1 = "charge", 2 = "discharge" }."""
    units: dict[str, str] = {}
    """Unit of a column, by its name, where the name does not say it."""
    date_format: str | None = None
    """Day first, month first, year first, a pattern as in strftime, what numbers count ("days since 1904-01-01"), or,
    of a workbook, "days and months exchanged"."""
    decimal: Literal[".", ","] | None = None
    """The decimal mark, where that is not certain."""
    time_zone: str | None = None
    """Zone of times without one, an IANA name or an offset as in +02:00."""
    integrate_gaps: bool = False
    """Integrate the current across gaps of the log."""
    between_rows: Literal["mean", "before", "after"] | None = None
    """What the current between two rows is taken to be."""
    offset_s: float = 0.0
    """Added to the time of the log, seconds."""
    charge_sign: Literal[1, -1] = 1
    """-1 where the log counts the loss of the species as negative."""
    leakage: Annotated[float, Field(ge=0, le=1)] | Literal["fit"] | None = None
    """Share of the charge that is not the species; "fit" takes it from the balance."""
    charges: str | dict[ScanName, Finite] | None = None
    """Charge that had passed at each scan, in place of a log: C by the name of the scan, or a CSV file with the columns
    scan and charge_C (or another unit), perhaps voltage_V."""
    impedance: list[ImpedanceFile] = []
    """Files of impedance spectra."""
    voltammetry: VoltammetrySettings | None = None
    """Cyclic voltammetry."""
    cycling: CyclingSettings | None = None
    """Capacity and efficiency of each cycle."""
    bootstrap: PositiveInt = 200
    """Repetitions that errors of relaxation times are taken from."""
    seed: int = 0
    """Of these repetitions."""

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that is read: log, charges, spectra, sweeps, cycles."""
        charges = self.charges if isinstance(self.charges, str) else None
        others = [part.file for part in (*self.impedance, self.voltammetry, self.cycling) if part is not None]
        return tuple(dict.fromkeys(file for file in (self.log, charges, *others) if file is not None))

    @model_validator(mode="after")
    def _check(self) -> Electrochemistry:
        if not (self.log or self.charges or self.impedance or self.voltammetry or self.cycling):
            raise ValueError("name a log, charges, impedance, voltammetry or cycling")
        if self.log is not None and self.charges is not None:
            raise ValueError("give either a log or charges")
        if self.cycling is not None and self.cycling.file is None and self.log is None:
            raise ValueError("cycling needs a file of its own, or the log")
        return self
