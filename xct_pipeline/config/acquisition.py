"""``[acquisition]``: the raw scans, and what their files do not say."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, model_validator

from xct_pipeline.config.section import Section, Span


class AngleFile(Section):
    """Angles in degrees from a text file, one a line."""

    file: str
    lines: Span | None = None


class AngleRange(Section):
    """Evenly spaced angles in degrees, both ends included."""

    start: float
    stop: float
    count: Annotated[int, Field(ge=3)]


class TiffScan(Section):
    """A scan stored as TIFF files; patterns are sorted naturally."""

    name: str
    projections: str | list[str]
    flats: str | list[str] | None = None
    flats_after: str | list[str] | None = None
    darks: str | list[str] | None = None
    darks_after: str | list[str] | None = None
    angles: AngleFile | AngleRange
    pixel_size_um: PositiveFloat | None = None
    energy_keV: PositiveFloat | None = None


class Around(Section):
    """Files recorded before and after the projections."""

    before: list[str] = []
    after: list[str] = []


class LeftOut(Section):
    """Frames of one scan that are left out, each a number from 0 or a span [first, stop]."""

    projections: list[int | Span] = []
    flats: list[int | Span] = []
    darks: list[int | Span] = []


class Acquisition(Section):
    """Which raw scans there are, in time order, and what their files do not say."""

    scans: list[str] = []
    tiff: list[TiffScan] = []
    flats: Literal["none"] | list[str] | Around | None = None
    darks: Literal["none"] | list[str] | Around | None = None
    pixel_size_um: PositiveFloat | None = None
    energy_keV: PositiveFloat | None = None
    distance_mm: PositiveFloat | None = None
    angle_unit: Literal["degree", "radian"] | None = None
    exclude: dict[str, LeftOut] = {}
    most_left_out: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    rows: Span | None = None
    columns: Span | None = None
    binning: Annotated[int, Field(ge=1, le=16)] = 1

    @model_validator(mode="after")
    def _check(self) -> Acquisition:
        if not self.scans and not self.tiff:
            raise ValueError('no scans: give scans = ["scan_00.nxs", ...] or [[acquisition.tiff]] tables')
        for name in ("rows", "columns"):
            span = getattr(self, name)
            if span is not None and span[0] >= span[1]:
                raise ValueError(f"{name} = {list(span)} is empty: give [first, stop] with first < stop")
        return self
