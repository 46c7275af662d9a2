"""Flats and darks that were recorded in other files than the projections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from xct_pipeline.acquisition.formats import Format, Kind, format_of
from xct_pipeline.acquisition.hdf5 import split_entry
from xct_pipeline.acquisition.tiff_stack import matching_files
from xct_pipeline.scan import Frames, Scan, ScanError

Files = str | Path | Sequence[str | Path]


@dataclass(frozen=True, eq=False)
class JoinedFrames:
    """Stacks of frames of one size, one after the other.

    Attributes
    ----------
    parts : tuple of Frames
        At least one.
    """

    parts: tuple[Frames, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(frame, row, column)."""
        _, height, width = self.parts[0].shape
        return sum(part.shape[0] for part in self.parts), height, width

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest type that holds the values of all parts."""
        return np.result_type(*(part.dtype for part in self.parts))

    @property
    def chunk_rows(self) -> int:
        """That of the part that is hardest to read."""
        return max(part.chunk_rows for part in self.parts)

    def read(
        self, frames: slice = slice(None), rows: slice = slice(None), columns: slice = slice(None)
    ) -> npt.NDArray[Any]:
        """Read a box from as many parts as it touches."""
        wanted = range(self.shape[0])[frames]
        step, begin = wanted.step, 0
        boxes: list[npt.NDArray[Any]] = []
        for part in self.parts:
            inside = [i - begin for i in wanted if begin <= i < begin + part.shape[0]]
            if inside:
                stop = inside[-1] + (1 if step > 0 else -1)
                boxes.append(part.read(slice(inside[0], stop if stop >= 0 else None, step), rows, columns))
            begin += part.shape[0]
        if not boxes:
            return self.parts[0].read(slice(0, 0), rows, columns).astype(self.dtype)
        return np.concatenate(boxes[::-1] if step < 0 else boxes).astype(self.dtype, copy=False)


def with_references(scan: Scan, kind: Kind, files: Files | None, after: Files | None, folder: Path) -> Scan:
    """Replace the flats or the darks of a scan by those of other files.

    Parameters
    ----------
    scan : Scan
        With its angles.
    kind : {"flat", "dark"}
        What to replace.
    files, after : str, Path or sequence
        Files or globs: HDF5 (frames of that kind, or a run of its own of which all frames count) or TIFF.
        Where `after` is given, even as an empty list, `files` were taken before the scan and `after` after it.
        Where it is None the start times decide if both files have them, and what has no time counts as taken
        before. The scan's own file among `files` then keeps the positions it records.
    folder : Path
        What relative names start from.

    Returns
    -------
    Scan
        A copy.

    Raises
    ------
    ScanError
        A file that is missing or has no such frames, or frames of another size.
    """
    n = len(scan.angles)
    before = None if after is None else 0.0
    groups = [(named, at) for named, at in ((files, before), (after, float(n))) if named]
    parts: list[Frames] = []
    positions: list[npt.NDArray[np.float64]] = []
    used_files: list[Path] = []
    exposures: list[npt.NDArray[np.float64] | None] = []
    for named, given in groups:
        for frames, when, own, used, exposure in _open_all(scan, kind, named, folder):
            if frames.shape[1:] != scan.shape[1:]:
                raise ScanError(
                    f"{used[0]}: {kind}s are {frames.shape[1:]}, the projections {scan.shape[1:]} (row, column)"
                )
            at = given if given is not None else _position(scan, when)
            parts.append(frames)
            positions.append(own if own is not None and given is None else np.full(frames.shape[0], at))
            used_files += used
            exposures.append(exposure)
    if not parts:
        raise ScanError(f"{kind}s: an empty list of files")
    stack = parts[0] if len(parts) == 1 else JoinedFrames(tuple(parts))
    position = np.concatenate(positions)
    every = tuple(dict.fromkeys((*scan.files, *used_files)))
    scan = replace(scan, exposure_s=_exposures(scan, f"{kind}s", exposures))
    if kind == "flat":
        return replace(scan, flats=stack, flat_position=position, files=every)
    return replace(scan, darks=stack, dark_position=position, files=every)


def _exposures(
    scan: Scan, kind: str, parts: Sequence[npt.NDArray[np.float64] | None]
) -> dict[str, npt.NDArray[np.float64]]:
    """Return the exposures of a scan whose frames of one kind are those of `parts`, left out where one is unknown."""
    others = {name: values for name, values in scan.exposure_s.items() if name != kind}
    known = [part for part in parts if part is not None]
    return {**others, kind: np.concatenate(known)} if len(known) == len(parts) else others


_Opened = tuple[Frames, datetime | None, npt.NDArray[np.float64] | None, list[Path], npt.NDArray[np.float64] | None]


def _open_all(scan: Scan, kind: Kind, named: Files, folder: Path) -> list[_Opened]:
    opened: list[_Opened] = []
    stacks: dict[str, tuple[Format, list[Path]]] = {}
    for name in [named] if isinstance(named, str | Path) else named:
        named_path, entry = split_entry(name, folder)
        for path in matching_files(named_path, Path()):
            if (form := format_of(path, entry, kind)).together:
                stacks.setdefault(form.name, (form, []))[1].append(path)
                continue
            own = scan.files and path.exists() and path.samefile(scan.files[0]) and entry is None
            if own:
                frames = scan.flats if kind == "flat" else scan.darks
                if frames is None:
                    raise ScanError(f"{path}: holds no {kind}s of its own")
                position = scan.flat_position if kind == "flat" else scan.dark_position
                opened.append((frames, None, position, [path], scan.exposure_s.get(f"{kind}s")))
            else:
                run = form.references([path], entry, kind)
                opened.append((run.frames, run.start, None, run.files, run.exposure_s))
    for form, paths in stacks.values():
        run = form.references(paths, None, kind)
        opened.append((run.frames, run.start, None, run.files, run.exposure_s))
    return opened


def _position(scan: Scan, when: datetime | None) -> float:
    """Projections taken before that moment, supposing an even pace; 0 where a time is missing."""
    n = float(len(scan.angles))
    if when is None or scan.start is None or (when.tzinfo is None) != (scan.start.tzinfo is None):
        return 0.0
    if when <= scan.start:
        return 0.0
    end = scan.end
    if end is None or (end.tzinfo is None) != (when.tzinfo is None) or end <= scan.start:
        return n
    return min(n, n * ((when - scan.start) / (end - scan.start)))
