"""``[acquisition]``: the raw scans, and what their files do not say."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from xct_pipeline.config.section import Degrees, Distance, Energy, PixelSize, Section, Span
from xct_pipeline.config.volumes import VolumeScan
from xct_pipeline.names import ScanName, check_distinct


class AngleFile(Section):
    """Angles in degrees from a text file, one a line."""

    file: str
    """Text file, one angle in degrees a line."""
    lines: Span | None = None
    """Which lines, half-open [first, stop]; all by default."""


class AngleRange(Section):
    """Evenly spaced angles in degrees, both ends included."""

    start: Degrees
    """First angle, degrees."""
    stop: Degrees
    """Last angle, degrees."""
    count: Annotated[int, Field(ge=3, le=10_000_000)]
    """Number of angles, both ends included."""


class TiffScan(Section):
    """A scan stored as TIFF files; patterns are sorted naturally."""

    name: ScanName
    """Of the scan in the store."""
    projections: str | list[str]
    """Files or patterns of the projections, sorted naturally."""
    flats: str | list[str] | None = None
    """Files or patterns of the images of the open beam before the projections."""
    flats_after: str | list[str] | None = None
    """The same after the projections."""
    darks: str | list[str] | None = None
    """Files or patterns of the images without beam before the projections."""
    darks_after: str | list[str] | None = None
    """The same after the projections."""
    angles: AngleFile | AngleRange
    """Angle of each projection: a text file, or a range."""
    pixel_size_um: PixelSize | None = None
    """Edge of a detector pixel on the sample, micrometre."""
    energy_keV: Energy | None = None
    """Photon energy, keV."""


class Around(Section):
    """Files recorded before and after the projections."""

    before: list[str] = []
    """Files recorded before the projections."""
    after: list[str] = []
    """Files recorded after the projections."""


class LeftOut(Section):
    """Frames of one scan that are left out, each a number from 0 or a span [first, stop]."""

    projections: list[int | Span] = []
    """Projections that are left out."""
    flats: list[int | Span] = []
    """Flats that are left out."""
    darks: list[int | Span] = []
    """Darks that are left out."""


class Acquisition(Section):
    """Which raw scans there are, in time order, and what their files do not say."""

    scans: list[str] = []
    """Raw files (NXtomo, NeXus, Data Exchange), names or patterns, in time order."""
    tiff: list[TiffScan] = []
    """Scans stored as TIFF files."""
    volume: list[VolumeScan] = []
    """Scans that start as volumes which another program reconstructed, in time order, after those above."""
    exclude: list[str] | dict[str, Literal["scan"] | LeftOut] = []
    """Names of scans that are left out; or, by the name of a scan, its frames that are left out, or "scan"."""
    flats: Literal["none"] | list[str] | Around | None = None
    """Images of the open beam from other files; "none" goes without."""
    darks: Literal["none"] | list[str] | Around | None = None
    """Images without beam from other files; "none" goes without."""
    pixel_size_um: PixelSize | None = None
    """Edge of a detector pixel on the sample, micrometre, where the files do not say it."""
    energy_keV: Energy | None = None
    """Photon energy, keV, where the files do not say it."""
    distance_mm: Distance | None = None
    """From sample to detector, mm, where the files do not say it."""
    angle_unit: Literal["degree", "radian"] | None = None
    """Of the angles in the files, where they do not say it or say it wrongly."""
    most_left_out: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    """Largest share of the projections of a scan that may be left out because they do not belong."""
    rows: Span | None = None
    """Detector rows to use, half-open [first, stop]; all by default."""
    columns: Span | None = None
    """Detector columns to use, half-open [first, stop]; all by default."""
    binning: Annotated[int, Field(ge=1, le=16)] = 1
    """Pixels along rows and along columns that are averaged into one."""

    @property
    def excluded_scans(self) -> frozenset[str]:
        """Names of scans that are left out as a whole."""
        if isinstance(self.exclude, list):
            return frozenset(self.exclude)
        return frozenset(name for name, what in self.exclude.items() if what == "scan")

    def excluded_frames(self, scan: str) -> LeftOut | None:
        """Return which frames of a scan are left out, None for none."""
        what = self.exclude.get(scan) if isinstance(self.exclude, dict) else None
        return what if isinstance(what, LeftOut) else None

    @model_validator(mode="after")
    def _check(self) -> Acquisition:
        if not self.scans and not self.tiff and not self.volume:
            raise ValueError(
                'no scans: give scans = ["scan_00.nxs", ...], [[acquisition.tiff]] or [[acquisition.volume]] tables'
            )
        names = [table.name for table in self.tiff] + [table.name for table in self.volume if table.name is not None]
        check_distinct(names, "scans")
        for name in ("rows", "columns"):
            span = getattr(self, name)
            if span is not None and span[0] >= span[1]:
                raise ValueError(f"{name} = {list(span)} is empty: give [first, stop] with first < stop")
        return self
