"""``[acquisition]``: the raw scans, and what their files do not say."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

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


class AngleSteps(Section):
    """Evenly spaced angles in degrees, as many as there are projections."""

    start: Degrees = 0.0
    """First angle, degrees."""
    step: Degrees
    """From one projection to the next, degrees; negative where the stage turns back."""


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
    angles: AngleFile | AngleRange | AngleSteps
    """Angle of each projection: a text file, a range, or a constant step."""
    pixel_size_um: PixelSize | None = None
    """Edge of a detector pixel on the sample, micrometre."""
    energy_keV: Energy | None = None
    """Photon energy, keV."""
    times: Literal["file"] | None = None
    """With "file", start and end are those of the first and last image: by its tag, else by the file's own time."""
    start: datetime | None = None
    """When the scan began, where the images do not say it."""
    end: datetime | None = None
    """When it ended."""


class Hdf5Scan(Section):
    """Scans whose datasets are named: ``dataset``, or ``file::dataset[range]`` from the scan's file on."""

    name: ScanName | None = None
    """Of the scan in the store; by default what ``{scan}`` stands for, else the stem of its file."""
    file: str | list[str] | None = None
    """The scan's file, names or patterns; by default those of ``scans``, or the file that ``data`` names."""
    entry: str | None = None
    """Entry or detector of a NeXus file that holds several scans, where ``data`` is left out."""
    data: str | None = None
    """Frames, or texts that name the images; left out, the file is read as its own format tells."""
    angles: str | AngleFile | AngleRange | AngleSteps | None = None
    """One angle for each projection (or frame): a dataset, a text file, a range or a constant step."""
    angle_times: str | None = None
    """When each angle was read, on the clock of ``times``: frames then take their angle by time."""
    key: str | None = None
    """What each frame of ``data`` is: 0 projection, 1 flat, 2 dark, 3 and -1 left out."""
    flats: str | list[str] | None = None
    """Images of the open beam before the projections: datasets or files; "none" goes without."""
    flats_after: str | list[str] | None = None
    """The same after the projections."""
    darks: str | list[str] | None = None
    """Images without beam: datasets or files; "none" goes without."""
    darks_after: str | list[str] | None = None
    """The same after the projections."""
    images: str | None = None
    """Folder of the images that ``data`` names, from the scan's file on; by default it and the folders in it."""
    times: str | None = None
    """When each frame was taken: a dataset of seconds; "file" takes the time of the file itself."""
    start: datetime | str | None = None
    """When the scan began: a date, or a dataset that holds one (or seconds since 1970)."""
    end: datetime | str | None = None
    """When it ended."""
    energy: str | None = None
    """Dataset of the photon energy."""
    pixel_size: str | None = None
    """Dataset of the edge of a pixel on the sample."""
    pixel_size_um: PixelSize | None = None
    """Edge of a detector pixel on the sample, micrometre."""
    energy_keV: Energy | None = None
    """Photon energy, keV."""
    current: str | None = None
    """Current of the storage ring for each frame: counts are brought to one current."""
    current_times: str | None = None
    """When each current was read, where they are not as many as frames; on the clock of ``times``."""
    split: Annotated[int, Field(ge=3)] | str | None = None
    """Several scans: each half turn ("rotation") or "turn", so many projections, or found from the "angles"."""
    frames_per_angle: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Frames that were taken at each angle, one after the other, and are averaged."""
    angles_per_frame: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Angles that were recorded for each frame, one after the other, and are averaged."""

    @property
    def describes_scans(self) -> bool:
        """Tell whether it says how the files of ``scans`` are read, as it names none of its own."""
        return self.file is None and (self.data is None or "::" not in self.data)


def _listed(value: Any) -> Any:
    """Let one table stand for a list of one."""
    return [value] if isinstance(value, dict) else value


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
    hdf5: Annotated[list[Hdf5Scan], BeforeValidator(_listed)] = []
    """Scans in HDF5 files whose datasets are named; one table without ``file`` says how all of ``scans`` are read."""
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
        if not self.scans and not self.tiff and not self.hdf5 and not self.volume:
            raise ValueError(
                'no scans: give scans = ["scan_00.nxs", ...], [[acquisition.tiff]], [[acquisition.hdf5]] or '
                "[[acquisition.volume]] tables"
            )
        names = [table.name for tables in (self.tiff, self.hdf5, self.volume) for table in tables]
        check_distinct((name for name in names if name is not None), "scans")
        general = [table for table in self.hdf5 if table.describes_scans]
        if general and (len(self.hdf5) > 1 or not self.scans):
            raise ValueError(
                "hdf5: a table without file says how all of scans are read, so it must be the only one, beside scans"
            )
        for name in ("rows", "columns"):
            span = getattr(self, name)
            if span is not None and span[0] >= span[1]:
                raise ValueError(f"{name} = {list(span)} is empty: give [first, stop] with first < stop")
        return self
