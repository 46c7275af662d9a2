"""Where the bytes of an HDF5 dataset lie, and whether they are all there.

HDF5 reads as zeros what is not there: missing sources of a virtual dataset, sources that are too short,
frames that were never written. Zeros look like data, so each of these is looked for when a scan is opened.
"""

from __future__ import annotations

import math
import os
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import numpy.typing as npt

from xct_pipeline.acquisition.hdf5 import MOST_FRAMES, open_hdf5, reading, resolve
from xct_pipeline.scan import ScanError

MOST_SOURCES = 100_000  # files of a virtual dataset
Index = npt.NDArray[np.int64]


class Storage(NamedTuple):
    """Every file that holds bytes of a dataset, and the rows that are read together."""

    files: frozenset[Path]
    chunk_rows: int


def require_complete(dataset: h5py.Dataset, frames: Index | None = None, depth: int = 0) -> Storage:
    """Check that all values of a dataset were written and can be reached.

    Parameters
    ----------
    dataset : h5py.Dataset
        Any number of dimensions; the first one counts frames.
    frames : numpy.ndarray of int, optional
        The frames that will be used; all by default.
    depth : int
        Virtual datasets passed on the way here.

    Returns
    -------
    Storage
        Files and chunking.

    Raises
    ------
    ScanError
        Something is missing. The message names the source file and dataset.
    """
    home = Path(dataset.file.filename)
    where = f"{home}: {dataset.name}"
    if depth > 8:
        raise ScanError(f"{where}: virtual datasets that lead in a circle")
    if dataset.ndim and dataset.shape[0] > MOST_FRAMES:
        raise ScanError(f"{where}: has shape {dataset.shape}, more than one value per frame: the file is damaged")
    with reading(where):
        if dataset.is_virtual:
            return _require_sources(dataset, where, depth)
        files = {home}
        for name, _, _ in dataset.external or ():
            raw = _locate(name, home, "HDF5_EXTFILE_PREFIX")
            if raw is None:
                raise ScanError(f"{where}: its bytes lie in {name}, a file that is missing")
            files.add(raw)
        _require_written(dataset, where, frames)
        rows = int(dataset.chunks[1]) if dataset.chunks and dataset.ndim == 3 else 1
        return Storage(frozenset(files), min(rows, dataset.shape[1]) if dataset.ndim == 3 else 1)


def _require_written(dataset: h5py.Dataset, where: str, frames: Index | None) -> None:
    if not dataset.size or dataset.external:
        return
    if dataset.chunks is None:
        if dataset.ndim and dataset.id.get_storage_size() == 0:
            raise ScanError(f"{where}: was never written (HDF5 would read zeros)")
        return
    counts = [-(-n // c) for n, c in zip(dataset.shape, dataset.chunks, strict=True)]
    if dataset.id.get_num_chunks() >= math.prod(counts):
        return
    written = np.zeros(counts[0], dtype=np.int64)

    def count(chunk: Any) -> None:
        written[chunk.chunk_offset[0] // dataset.chunks[0]] += 1

    dataset.id.chunk_iter(count)
    used = np.arange(dataset.shape[0]) if frames is None else frames
    lost = used[written[used // dataset.chunks[0]] < math.prod(counts[1:])]
    if len(lost):
        raise ScanError(
            f"{where}: {len(lost)} of {len(used)} frames were never written, the first is {lost[0]} "
            "(HDF5 would read zeros): mark them 3, invalid, in image_key"
        )


def _require_sources(dataset: h5py.Dataset, where: str, depth: int) -> Storage:
    home = Path(dataset.file.filename)
    by_file: dict[str, list[Any]] = defaultdict(list)
    for source in dataset.virtual_sources():
        for name, path in _expand_pattern(source, dataset.shape):
            by_file[name].append((path, source))
    files, rows = {home}, 1
    for name, sources in by_file.items():
        location = home if name == "." else _locate(name, home, "HDF5_VDS_PREFIX")
        if location is None:
            paths = ", ".join(sorted({path for path, _ in sources})[:3])
            raise ScanError(f"{where}: needs {paths} of {name}, a file that is missing (HDF5 would read zeros)")
        with open_hdf5(location) as file:
            seen: set[tuple[str, bytes]] = set()
            for path, source in sources:
                part = resolve(file, path)
                if not isinstance(part, h5py.Dataset):
                    raise ScanError(f"{where}: needs {path} of {location}, which does not exist")
                _require_extent(part, source, where)
                used = _frames_used(part, source)
                if (path, used.tobytes()) not in seen:
                    seen.add((path, used.tobytes()))
                    storage = require_complete(part, used, depth + 1)
                    files |= storage.files
                    rows = max(rows, storage.chunk_rows)
    _require_cover(dataset, where)
    return Storage(frozenset(files), min(rows, dataset.shape[1]) if dataset.ndim == 3 else 1)


def _expand_pattern(source: Any, shape: tuple[int, ...]) -> list[tuple[str, str]]:
    """File and dataset names of a source; ``%b`` counts blocks along the first axis."""
    name, path = source.file_name, source.dset_name
    if "%b" not in name and "%b" not in path:
        return [(name.replace("%%", "%"), path.replace("%%", "%"))]
    start, stride, _, block = source.vspace.get_regular_hyperslab()
    step = max(int(stride[0]), int(block[0]), 1)
    blocks = max(-(-(shape[0] - int(start[0])) // step), 1)  # HDF5 ends the extent at the first missing file
    if blocks > MOST_SOURCES:
        raise ScanError(f"{name}: {blocks} source files, at most {MOST_SOURCES} can be joined")
    return [
        (name.replace("%b", str(b)).replace("%%", "%"), path.replace("%b", str(b)).replace("%%", "%"))
        for b in range(blocks)
    ]


def _unlimited(space: Any) -> bool:
    if space.get_select_type() != h5py.h5s.SEL_HYPERSLABS or not space.is_regular_hyperslab():
        return False
    _, _, count, block = space.get_regular_hyperslab()
    return any(n >= 2**63 for n in (*count, *block))


def _require_extent(part: h5py.Dataset, source: Any, where: str) -> None:
    space = source.src_space
    if _unlimited(space):
        return
    if space.get_select_type() == h5py.h5s.SEL_ALL:  # the extent of the source is not recorded then
        if _unlimited(source.vspace):
            _, _, count, block = source.vspace.get_regular_hyperslab()
            points = int(block[0]) * math.prod(int(c) * int(b) for c, b in zip(count[1:], block[1:], strict=True))
        else:
            points = int(source.vspace.get_select_npoints())
        if part.size != points:
            raise ScanError(
                f"{where}: needs {points} values of {part.name} in {part.file.filename}, which has {part.size} "
                "(HDF5 would read zeros)"
            )
        return
    needed = tuple(int(n) + 1 for n in space.get_select_bounds()[1])
    if len(needed) != part.ndim or any(n > m for n, m in zip(needed, part.shape, strict=True)):
        raise ScanError(
            f"{where}: needs {needed} of {part.name} in {part.file.filename}, which has {part.shape} "
            "(HDF5 would read zeros)"
        )


def _frames_used(part: h5py.Dataset, source: Any) -> Index:
    space = source.src_space
    if space.get_select_type() == h5py.h5s.SEL_ALL or _unlimited(space):
        return np.arange(part.shape[0])
    low, high = space.get_select_bounds()
    return np.arange(int(low[0]), int(high[0]) + 1)


def _require_cover(dataset: h5py.Dataset, where: str) -> None:
    spaces = [source.vspace for source in dataset.virtual_sources()]
    if any(_unlimited(space) for space in spaces):
        return
    covered = sum(int(space.get_select_npoints()) for space in spaces)
    if covered < dataset.size:
        raise ScanError(f"{where}: its sources cover {covered} of {dataset.size} values (HDF5 would read zeros)")


def _locate(name: str, home: Path, prefix: str) -> Path | None:
    """The file HDF5 would open: as named, by its name alone, beside the file that mentions it."""
    path = Path(os.fsdecode(name))
    folders = [home.parent, Path()]
    if os.environ.get(prefix):
        folders.insert(0, Path(os.environ[prefix].replace("${ORIGIN}", str(home.parent))))
    choices = [path, *(folder / path.name for folder in folders)] if path.is_absolute() else []
    choices = choices or [folder / path for folder in folders]
    choices.append(home.resolve().parent / (path.name if path.is_absolute() else path))
    return next((choice for choice in choices if choice.is_file()), None)
