"""The scans of a configuration, opened, and their frames as a source of blocks."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from xct_pipeline.acquisition import bounds, experiment, open_scan, open_tiff_scan
from xct_pipeline.acquisition.images import moment_of
from xct_pipeline.acquisition.layout.described import Named, Supplied, open_described
from xct_pipeline.acquisition.layout.files import scan_files
from xct_pipeline.acquisition.numbering import places_of
from xct_pipeline.acquisition.selection import SelectedFrames, without
from xct_pipeline.acquisition.steps.volumes import open_volumes
from xct_pipeline.acquisition.volumes.given import GivenVolume
from xct_pipeline.boxes import Region, size_of
from xct_pipeline.config import Acquisition, AngleFile, AngleRange, AngleSteps, Around, Config, Hdf5Scan, TiffScan
from xct_pipeline.engine.blocks import Array
from xct_pipeline.names import alike, fitting_name
from xct_pipeline.scan import Frames, Scan, ScanError
from xct_pipeline.store import provenance


@dataclass(frozen=True)
class OpenedScan:
    """A scan of the configuration: opened as projections or as a volume, or why it could not be."""

    name: str
    files: tuple[Path, ...]
    scan: Scan | None
    problem: str | None = None
    volume: GivenVolume | None = None


class UnopenedError(ScanError):
    """Scans that cannot be found, a line for each problem; `opened` are the others."""

    def __init__(self, problems: Sequence[str], opened: Sequence[OpenedScan]) -> None:
        self.opened = tuple(opened)
        super().__init__("\n".join(problems))


@dataclass(frozen=True)
class Frame:
    """The pixels that are worked on: detector rows and columns after cropping columns and binning.

    Rows are never cropped here, so that a row's number does not depend on which rows are asked for.

    Attributes
    ----------
    angles, rows, columns : int
        Size of the working frame.
    first_column : int
        Detector column at which it begins.
    binning : int
        Detector pixels per side of a working pixel.
    """

    angles: int
    rows: int
    columns: int
    first_column: int
    binning: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """(angle, row, column)."""
        return self.angles, self.rows, self.columns

    def to_working(self, column: Any) -> Any:
        """Turn a detector column into a column of the working frame."""
        return (column - self.first_column + 0.5) / self.binning - 0.5

    def to_detector(self, column: Any) -> Any:
        """Turn a column of the working frame into a detector column."""
        return (column + 0.5) * self.binning - 0.5 + self.first_column


def working_frame(scan: Scan, acquisition: Acquisition) -> Frame:
    """Return the frame of a scan.

    Raises
    ------
    ScanError
        The columns or rows asked for lie outside the detector.
    """
    angles, rows, columns = scan.shape
    for name, span, size in (("rows", acquisition.rows, rows), ("columns", acquisition.columns, columns)):
        if span is not None and not 0 <= span[0] < span[1] <= size:
            raise ScanError(
                f"{scan.name}: {name} {span[0]}:{span[1]} reach outside the detector, which has {size} {name}"
            )
    first, stop = acquisition.columns or (0, columns)
    bins = acquisition.binning
    if (stop - first) // bins < 3 or rows // bins < 1:
        raise ScanError(f"{scan.name}: {stop - first} columns and {rows} rows are too few to bin by {bins}")
    return Frame(angles, rows // bins, (stop - first) // bins, first, bins)


def row_range(frame: Frame, acquisition: Acquisition) -> tuple[int, int]:
    """Return the rows of the working frame that are reconstructed."""
    if acquisition.rows is None:
        return 0, frame.rows
    first, stop = acquisition.rows
    return first // frame.binning, min(frame.rows, max(-(-stop // frame.binning), first // frame.binning + 1))


@dataclass(frozen=True)
class RawSource:
    """Reads counts of the working frame: cropped, and binned by the mean of the pixels."""

    frames: Frames
    frame: Frame

    def read(self, region: Region) -> Array:
        """Read (frame, row, column); binned counts are float32."""
        index, rows, columns = region
        bins, first = self.frame.binning, self.frame.first_column
        box = [
            slice(part.start * bins + shift, part.stop * bins + shift) for part, shift in ((rows, 0), (columns, first))
        ]
        counts = self.frames.read(index, *box)
        if bins == 1:
            return counts
        n, r, c = counts.shape
        split = counts.reshape(n, r // bins, bins, c // bins, bins)
        return np.asarray(split.mean(axis=(2, 4), dtype=np.float32))

    def nbytes(self, region: Region) -> int:
        """Return the bytes of the counts, and of the means where pixels are binned."""
        raw = size_of(region) * self.frame.binning**2 * self.frames.dtype.itemsize
        return int(raw if self.frame.binning == 1 else raw * (1 + 8 / self.frames.dtype.itemsize))


def open_scans(config: Config) -> list[OpenedScan]:
    """Open every scan of a configuration; one that cannot be opened says why and hinders no other.

    Raises
    ------
    ScanError
        Two scans have one name, or a pattern matches nothing; a line for each problem, those of scans included.
    """
    acquisition = config.acquisition
    problems: list[str] = []
    opened: list[OpenedScan] = []
    general = next((table for table in acquisition.hdf5 if table.describes_scans), None)
    for pattern in acquisition.scans:
        try:
            if general is not None:
                opened += _open_hdf5(config, general.model_copy(update={"file": pattern}))
                continue
            files = [path for path in config.expand(pattern) if not _excluded(config, path)]
            opened += _by_time([_open_file(config, path) for path in files])
        except ScanError as error:
            problems.append(str(error))
    opened += [_open_tiff(config, table) for table in acquisition.tiff if table.name not in acquisition.excluded_scans]
    try:
        opened += [OpenedScan(v.name, v.files, None, v.problem, v.volume) for v in open_volumes(config)]
    except ScanError as error:
        problems.append(str(error))
    for table in acquisition.hdf5:
        try:
            opened += _open_hdf5(config, table) if table is not general else []
        except ScanError as error:
            problems.append(str(error))
    for first, second, *_ in alike(item.name for item in opened):
        both = first if first == second else f"{first} and {second}, which differ by case alone"
        problems.append(f"two scans are called {both}; names are file stems and must differ")
    if not opened and not problems:
        problems.append("acquisition.exclude leaves out every scan; keep one")
    if problems:
        raise UnopenedError([*problems, *(item.problem for item in opened if item.problem)], opened)
    return _one_experiment(config, opened)


def _one_experiment(config: Config, opened: Sequence[OpenedScan]) -> list[OpenedScan]:
    """Compare the scans with each other; what a series cannot be made of is a problem, all else a warning."""
    at = [k for k, item in enumerate(opened) if item.scan is not None]
    scans = experiment.one_clock([opened[k].scan for k in at])  # type: ignore[misc]
    several = config.variation is not None and "dual" in str(config.variation.closure)
    told = experiment.compare(scans, energies_differ=several)
    result = list(opened)
    for k, scan, texts in zip(at, scans, told, strict=True):
        if texts:
            scan = replace(scan, warnings=(*scan.warnings, *texts))
        result[k] = replace(opened[k], scan=scan)
    return result


def _excluded(config: Config, path: Path) -> bool:
    """Tell whether the configuration leaves a scan out, which is called like its file."""
    return bool({path.stem, fitting_name(path.stem)} & config.acquisition.excluded_scans)


def _open_file(config: Config, path: Path) -> OpenedScan:
    acquisition = config.acquisition
    try:
        references = _around("flats", acquisition.flats, config) | _around("darks", acquisition.darks, config)
        scan = open_scan(path, **references, pixel_size_um=acquisition.pixel_size_um, energy_keV=acquisition.energy_keV)
        scan = _supplied(scan, acquisition)
    except (ScanError, OSError) as error:
        return OpenedScan(fitting_name(path.stem), (path,), None, str(error))
    return OpenedScan(scan.name, scan.files[:1] or (path,), scan)


def open_as_found(path: Path) -> Scan:
    """Open a raw scan to look at it, with the flats and darks that it has, even none.

    Raises
    ------
    ScanError
        It cannot be opened whatever is left out.
    """
    try:
        return open_scan(path)
    except ScanError as error:
        for missing in (("darks",), ("flats",), ("flats", "darks")):
            with contextlib.suppress(ScanError):
                return open_scan(path, **{f"without_{kind}": True for kind in missing})  # type: ignore[arg-type]
        raise error


def _around(kind: str, files: Any, config: Config) -> dict[str, Any]:
    match files:
        case None:
            return {}
        case "none":
            return {f"without_{kind}": True}
        case Around():
            return {kind: config.expand(files.before), f"{kind}_after": config.expand(files.after)}
        case _:
            return {kind: config.expand(files)}


def _open_tiff(config: Config, table: TiffScan) -> OpenedScan:
    acquisition = config.acquisition
    files: tuple[Path, ...] = ()
    try:
        files = tuple(config.expand(table.projections))
        frames: dict[str, Any] = {
            kind: config.expand(patterns)
            for kind in ("flats", "flats_after", "darks", "darks_after")
            if (patterns := getattr(table, kind)) is not None
        }
        angles: Mapping[str, Any] = table.angles.model_dump()
        if isinstance(table.angles, AngleFile):
            angles = {**angles, "file": config.resolve(table.angles.file)}
        places = _places(table, files)
        if isinstance(table.angles, AngleSteps):
            angles = {"start": table.angles.start, "step": table.angles.step}
        scan = open_tiff_scan(
            table.name,
            files,
            angles=angles if places is None else _at_places(table.angles, places),
            **frames,
            pixel_size_um=table.pixel_size_um or acquisition.pixel_size_um,
            energy_keV=table.energy_keV or acquisition.energy_keV,
            without_flats=acquisition.flats == "none",
            without_darks=acquisition.darks == "none",
        )
        if places is not None:
            missing = int(places[-1]) + 1 - len(places)
            text = f"{missing} numbers are missing in the names: each file has its number's angle"
            scan = replace(scan, warnings=(*scan.warnings, text))
        scan = _supplied(_tiff_times(scan, table, files), acquisition)
    except (ScanError, OSError) as error:
        return OpenedScan(table.name, files, None, str(error))
    return OpenedScan(table.name, files, scan)


def _tiff_times(scan: Scan, table: TiffScan, files: Sequence[Path]) -> Scan:
    """Say when images were taken: as the table gives it, or by their tags or the times of the files."""
    start, end, told = table.start, table.end, []
    if table.times == "file":
        (first, said), (last, _) = moment_of(files[0]), moment_of(files[-1])
        start, end = start or first, end or max(first, last)
        told.append(f"its start and end are from {said}")
    return replace(scan, start=start, end=end, warnings=(*scan.warnings, *told))


def _open_hdf5(config: Config, table: Hdf5Scan) -> list[OpenedScan]:
    """Open the scans of a table of named datasets.

    Raises
    ------
    ScanError
        No file matches.
    """
    acquisition = config.acquisition
    supplied = Supplied(
        acquisition.pixel_size_um,
        acquisition.energy_keV,
        without_flats=acquisition.flats == "none",
        without_darks=acquisition.darks == "none",
    )
    opened: list[OpenedScan] = []
    keys = table.model_dump(exclude_none=True)
    for kind in ("flats", "darks"):
        if kind not in keys and f"{kind}_after" not in keys:
            around = _around(kind, getattr(acquisition, kind), config)
            keys |= {key: [str(path) for path in files] for key, files in around.items() if isinstance(files, list)}
    for found in scan_files(keys, config.folder.resolve()):
        name = fitting_name(found.name)
        if {found.name, name} & acquisition.excluded_scans:
            continue
        try:
            scans = open_described(found.keys, found.home, name, supplied)
        except (ScanError, OSError) as error:
            opened.append(OpenedScan(name, (found.home,), None, str(error)))
            continue
        opened += [_with_given(config, item, found.home) for item in scans]
    return _by_time([item for item in opened if item.name not in acquisition.excluded_scans])


def _by_time(opened: list[OpenedScan]) -> list[OpenedScan]:
    """Return the scans of one pattern in order of their times where all are known; one without a scan stays in place.

    Names need not be in that order: numbers start again, and a scan that was taken again is called otherwise.
    """
    at = [k for k, item in enumerate(opened) if item.scan is not None]
    scans = experiment.one_clock([item.scan for item in opened if item.scan is not None])
    starts = [scan.start for scan in scans if scan.start is not None]
    if len(starts) < len(at):
        return opened
    result = list(opened)
    for k, j in zip(at, sorted(range(len(at)), key=starts.__getitem__), strict=True):
        result[k] = opened[at[j]]
    return result


def _with_given(config: Config, item: Named, home: Path) -> OpenedScan:
    """Let the configuration supply what it says of all scans."""
    if item.scan is None:
        return OpenedScan(item.name, (home,), None, item.problem)
    try:
        scan = _supplied(item.scan, config.acquisition)
    except ScanError as error:
        return OpenedScan(item.name, (home,), None, str(error))
    return OpenedScan(item.name, scan.files[:1], scan)


def _places(table: TiffScan, files: Sequence[Path]) -> Any:
    """Return the places of numbered files among evenly spread angles where numbers are missing, else None."""
    if not isinstance(table.angles, AngleRange) or not isinstance(table.projections, str) or len(files) < 3:
        return None
    return places_of(files, table.angles.count)


def _at_places(angles: Any, places: Any) -> list[float]:
    return [float(a) for a in np.linspace(angles.start, angles.stop, angles.count)[places]]


def _supplied(scan: Scan, acquisition: Acquisition) -> Scan:
    """Let the configuration supply what only it knows, leave out what it says, and hold what is left to bounds.

    Raises
    ------
    ScanError
        Frames to leave out that are not there, or angles in another unit than is stated.
    """
    scan = replace(scan, distance_mm=acquisition.distance_mm or scan.distance_mm)
    bounds.require_square(scan)
    scan = bounds.angles_in_unit(scan, acquisition.angle_unit)
    told = bounds.plausible(scan)
    named = acquisition.excluded_frames(scan.name)
    if named is not None:
        numbers = {kind: _numbers(getattr(named, kind)) for kind in ("projections", "flats", "darks")}
        scan = without(scan, **numbers)
        counts = ", ".join(f"{len(set(v))} {kind}" for kind, v in numbers.items() if v)
        told.append(f"left out as the configuration says: {counts}")
        if len(scan.angles) < 3:
            raise ScanError(f"{scan.name}: acquisition.exclude leaves {len(scan.angles)} projections")
    return replace(scan, warnings=(*scan.warnings, *told))


def _numbers(named: Sequence[Any]) -> list[int]:
    spans = [(entry, entry + 1) if isinstance(entry, int) else entry for entry in named]
    return [k for first, stop in spans for k in range(first, stop)]


def scan_identity(scan: Scan) -> dict[str, Any]:
    """Return what changes when the raw data of a scan change."""
    chosen = {
        kind: frames.index
        for kind in ("projections", "flats", "darks")
        if isinstance(frames := getattr(scan, kind), SelectedFrames)
    }
    identity = {"files": provenance.file_identity(scan.files), "angles": scan.angles, "saturation": scan.saturation}
    described = {key: scan.metadata[key] for key in ("layout", "part") if key in scan.metadata}
    return {**identity, **({"frames": chosen} if chosen else {}), **described}
