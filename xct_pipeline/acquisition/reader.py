"""From the name of a raw file to a Scan that has been checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from xct_pipeline.acquisition.checks import checked
from xct_pipeline.acquisition.formats import format_of
from xct_pipeline.acquisition.hdf5 import one_line, reading, split_entry
from xct_pipeline.acquisition.images import image_frames
from xct_pipeline.acquisition.references import Files, with_references
from xct_pipeline.acquisition.tiff_stack import TiffFrames, matching_files, read_angles
from xct_pipeline.names import ALLOWED, fitting_name
from xct_pipeline.scan import Scan, ScanError


def open_scan(
    path: str | Path,
    *,
    name: str | None = None,
    flats: Files | None = None,
    darks: Files | None = None,
    flats_after: Files | None = None,
    darks_after: Files | None = None,
    pixel_size_um: float | None = None,
    energy_keV: float | None = None,
    without_flats: bool = False,
    without_darks: bool = False,
    folder: str | Path = ".",
) -> Scan:
    """Open an NXtomo, NeXus or APS Data Exchange file; frames are read later.

    Parameters
    ----------
    path : str or Path
        The file. Where it holds several scans, ``file.nxs::/entry0001`` chooses one.
    name : str, optional
        Name of the scan; by default the file's stem, with the entry where one is chosen. A name that no file may have
        (`xct_pipeline.names`) is mapped to the nearest that one may, with a warning.
    flats, darks, flats_after, darks_after : str, Path or sequence, optional
        Files or globs with flats (darks), used instead of those in `path`: NXtomo or Data Exchange files of
        which frames of that kind are taken, runs of their own of which every frame is taken, or TIFF. Where
        the ``_after`` list is given (even empty) the first list was taken before the scan and it after. Where
        it is None, start times decide if both files have them, and what has no time counts as taken before.
        To keep the flats in `path` as well, name `path` among `flats`.
    pixel_size_um, energy_keV : float, optional
        Used instead of what the file states.
    without_flats, without_darks : bool
        Go without, even where there are some.
    folder : str or Path
        What relative names start from.

    Returns
    -------
    Scan
        Angles as recorded, in radians. What is worth telling the user is in ``warnings``.

    Raises
    ------
    ScanError
        One line with the file, the dataset and what to do.
    """
    file_path, entry = split_entry(path, Path(folder))
    with reading(one_line(str(file_path))):
        if file_path.is_dir():
            raise ScanError(f"{file_path}: a folder: name its files; TIFF stacks go under [[acquisition.tiff]]")
        form = format_of(file_path, entry)
        scan = form.open(file_path, entry, pixel_size_um=pixel_size_um, energy_keV=energy_keV)
        if name is None and entry is not None:
            name = f"{scan.name}_{entry.strip('/').split('/')[-1]}"
        if entry is not None:  # of one file there may be several scans
            scan = replace(scan, metadata={**scan.metadata, "part": entry})
        scan = _named(scan, name)
        scan = _referenced(scan, (flats, flats_after), (darks, darks_after), Path(folder), without_flats, without_darks)
        return checked(scan, without_flats=without_flats, without_darks=without_darks)


def open_tiff_scan(
    name: str,
    projections: Files,
    flats: Files | None = None,
    darks: Files | None = None,
    *,
    angles: Mapping[str, Any] | Sequence[float] | npt.NDArray[np.floating[Any]],
    flats_after: Files | None = None,
    darks_after: Files | None = None,
    pixel_size_um: float | None = None,
    energy_keV: float | None = None,
    without_flats: bool = False,
    without_darks: bool = False,
    folder: str | Path = ".",
) -> Scan:
    """Open TIFF images as a scan; only their headers are read now.

    Parameters
    ----------
    name : str
        Name of the scan.
    projections : str, Path or sequence
        Globs, sorted naturally, or files in order; files may hold many images.
    flats, darks, flats_after, darks_after : str, Path or sequence, optional
        As for `open_scan`.
    angles : mapping or sequence of float
        ``{"file": ..., "lines": [first, end]}`` (one angle in degrees per line; lines counted from 0, end left
        out), ``{"start": ..., "stop": ..., "count": ...}`` (degrees, both ends included),
        ``{"start": ..., "step": ...}``, or degrees.
    pixel_size_um, energy_keV : float, optional
        Pixel in the sample plane and photon energy.
    without_flats, without_darks : bool
        Go without.
    folder : str or Path
        What relative names start from.

    Returns
    -------
    Scan
        As `open_scan` returns it.

    Raises
    ------
    ScanError
        One line with the file and what to do.
    """
    with reading(f"scan {one_line(name)}"):
        base = Path(folder)
        paths = matching_files(projections, base)
        frames = image_frames(paths)
        if isinstance(angles, Mapping) and angles.get("step") is not None:
            angles = np.asarray(float(angles.get("start", 0.0)) + float(angles["step"]) * np.arange(frames.shape[0]))
        values = read_angles(angles, base)
        if len(values) != frames.shape[0]:
            raise ScanError(f"scan {name}: {len(values)} angles for {frames.shape[0]} projections ({projections})")
        kind = frames.dtype
        exposure = frames.exposure_s if isinstance(frames, TiffFrames) else None
        named = [base / str(angles["file"])] if isinstance(angles, Mapping) and angles.get("file") else []
        scan = Scan(
            name="",
            projections=frames,
            angles=values,
            pixel_size_um=pixel_size_um,
            energy_keV=energy_keV,
            saturation=float(np.iinfo(kind).max) if kind.kind in "ui" else None,
            files=(*paths, *named),
            exposure_s={} if exposure is None else {"projections": exposure},
        )
        scan = _named(scan, name)
        scan = _referenced(scan, (flats, flats_after), (darks, darks_after), base, without_flats, without_darks)
        return checked(scan, without_flats=without_flats, without_darks=without_darks)


def _named(scan: Scan, given: str | None) -> Scan:
    """Name a scan as its configuration does, or by its file as far as that fits; a name that was mapped is told."""
    name = given or scan.name
    fitting = fitting_name(name)
    if fitting == name:
        return replace(scan, name=name)
    told = f"its name is {fitting!r}, because {name[:100]!r} holds more than {ALLOWED} or is reserved"
    return replace(scan, name=fitting, warnings=(*scan.warnings, told))


def _referenced(
    scan: Scan,
    flats: tuple[Files | None, Files | None],
    darks: tuple[Files | None, Files | None],
    folder: Path,
    without_flats: bool,
    without_darks: bool,
) -> Scan:
    if any(flats) and not without_flats:
        scan = with_references(scan, "flat", *flats, folder)
    if any(darks) and not without_darks:
        scan = with_references(scan, "dark", *darks, folder)
    return scan
