"""The scans of a configuration piece by piece, as far as their files are there: what is opened alone, and put together.

A piece is a raw file of ``scans``, a file of ``[[acquisition.hdf5]]``, or a table of images or of a volume.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from xct_pipeline.acquisition.layout.files import scan_files
from xct_pipeline.acquisition.steps.volumes import tables_of
from xct_pipeline.acquisition.volumes.arrays import split_data
from xct_pipeline.config import AngleFile, Config, Hdf5Scan, TiffScan, VolumeScan
from xct_pipeline.names import fitting_name
from xct_pipeline.scan import ScanError


@dataclass(frozen=True)
class Piece:
    """Part of ``[acquisition]`` that can be opened alone.

    Attributes
    ----------
    kind : str
        The key of ``[acquisition]`` that it stands under.
    label : str
        What people call it: a file, or the name of a table's scan.
    files : tuple of Path
        That are there of it by now.
    value : str or table
        Its entry in the configuration.
    group : int
        Position of the pattern or table that it is one of.
    """

    kind: Literal["scans", "tiff", "volume", "hdf5"]
    label: str
    files: tuple[Path, ...]
    value: str | TiffScan | VolumeScan | Hdf5Scan
    group: int = 0

    @property
    def key(self) -> str:
        """What tells it from others."""
        return f"{self.kind}: {self.files[0] if self.kind in ('scans', 'hdf5') else self.label}"


def pieces_of(config: Config) -> list[Piece]:
    """Return the pieces of a configuration of which a file is there, in its order, without what it excludes."""
    acquisition = config.acquisition
    general = next((table for table in acquisition.hdf5 if table.describes_scans), None)
    groups: list[Iterable[Piece]] = []
    for pattern in acquisition.scans:
        if general is None:
            groups.append(map(_raw_file, _there(config, [pattern])))
        else:
            groups.append(_hdf5(config, general.model_copy(update={"file": pattern})))
    groups += [[_images(config, table)] for table in acquisition.tiff]
    groups += [_volumes(config, table) for table in acquisition.volume]
    groups += [_hdf5(config, table) for table in acquisition.hdf5 if table is not general]
    found: dict[str, Piece] = {}
    for k, group in enumerate(groups):
        for piece in group:
            if piece.files and not _names(piece) & acquisition.excluded_scans:
                found.setdefault(piece.key, replace(piece, group=k))
    return list(found.values())


def with_pieces(config: Config, pieces: Iterable[Piece], exclude: Sequence[str] = ()) -> Config:
    """Return a configuration of these pieces alone, without the scans of some names."""
    acquisition = config.acquisition
    parts: dict[str, list[object]] = {kind: [] for kind in ("scans", "tiff", "volume", "hdf5")}
    for piece in pieces:
        parts[piece.kind].append(piece.value)
    if isinstance(acquisition.exclude, list):
        left_out: object = [*acquisition.exclude, *exclude]
    else:
        left_out = {**acquisition.exclude, **dict.fromkeys(exclude, "scan")}
    update = {**parts, "exclude": left_out}
    return config.model_copy(update={"acquisition": acquisition.model_copy(update=update)})


def _names(piece: Piece) -> set[str]:
    """Return under what a piece can be left out."""
    stem = piece.files[0].stem if piece.kind == "scans" else piece.label
    return {stem, fitting_name(stem)}


def _there(config: Config, patterns: Sequence[str]) -> list[Path]:
    """Return the files that names and patterns stand for, as far as they are there."""
    found: list[Path] = []
    for pattern in patterns:
        try:
            found += [Path(os.path.abspath(path)) for path in config.expand(pattern) if os.path.lexists(path)]
        except ScanError:  # none yet
            continue
    return found


def _raw_file(path: Path) -> Piece:
    return Piece("scans", path.name, (path,), glob.escape(str(path)))


def _images(config: Config, table: TiffScan) -> Piece:
    named = (table.projections, table.flats, table.flats_after, table.darks, table.darks_after)
    patterns = [p for given in named if given is not None for p in ([given] if isinstance(given, str) else given)]
    if isinstance(table.angles, AngleFile):
        patterns.append(table.angles.file)
    return Piece("tiff", table.name, tuple(_there(config, patterns)), table)


def _hdf5(config: Config, table: Hdf5Scan) -> Iterator[Piece]:
    """Yield a piece for each file of a table, the name that ``{scan}`` stands for filled in."""
    try:
        found = scan_files(table.model_dump(exclude_none=True), config.folder.resolve())
    except (ScanError, OSError):  # none yet
        return
    for item in found:
        if os.path.exists(item.home):
            keys = {**item.keys, "file": glob.escape(str(item.home)), "name": fitting_name(item.name)}
            yield Piece("hdf5", item.name, (item.home,), Hdf5Scan.model_validate(keys))


def _volumes(config: Config, table: VolumeScan) -> Iterator[Piece]:
    """Yield a piece for each volume that a table stands for; a folder is all files in it."""
    try:
        tables = list(tables_of(config, table))
    except ScanError:  # none yet
        return
    for name, one in tables:
        files: list[Path] = []
        for path in _there(config, [split_data(one.data)[0]]):
            inner = sorted(path.rglob("*")) if path.is_dir() else [path]
            files += [file for file in inner if file.is_file()]
        yield Piece("volume", name, tuple(files), one)
