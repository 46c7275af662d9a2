"""Frames wherever a source says they are: one dataset, many of one frame each, or images that a dataset names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import numpy.typing as npt

from xct_pipeline.acquisition.hdf5 import (
    Hdf5Frames,
    counts_dtype,
    identity,
    one_line,
    open_hdf5,
    piece,
    reading,
    require_frame,
    stack,
    text_of,
)
from xct_pipeline.acquisition.images import image_frames
from xct_pipeline.acquisition.layout.source import Source, addresses, file_of, near_names
from xct_pipeline.acquisition.selection import DerivedFrames
from xct_pipeline.acquisition.storage import require_complete
from xct_pipeline.inputs import MOST_TEXT
from xct_pipeline.scan import Frames, ScanError

Member = tuple[str, tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class MemberFrames:
    """Frames of which each lies in a dataset of its own, or behind axes of length one.

    Attributes
    ----------
    path : Path
        The file.
    members : tuple of (str, tuple of int)
        For each frame its dataset, and its indices along the axes before (row, column).
    height, width : int
        Rows and columns.
    dtype : numpy dtype
        As stored, in the machine's byte order.
    """

    path: Path
    members: tuple[Member, ...]
    height: int
    width: int
    dtype: np.dtype[Any]
    chunk_rows: int = 1

    @property
    def shape(self) -> tuple[int, int, int]:
        """(frame, row, column)."""
        return len(self.members), self.height, self.width

    def read(
        self, frames: slice = slice(None), rows: slice = slice(None), columns: slice = slice(None)
    ) -> npt.NDArray[Any]:
        """Read a box."""
        wanted = self.members[frames]
        top, bottom, inner_rows = piece(rows, self.height)
        left, right, inner_columns = piece(columns, self.width)
        box = np.empty((len(wanted), bottom - top, right - left), self.dtype)
        with open_hdf5(self.path) as file:
            for k, (dataset, lead) in enumerate(wanted if box.size else ()):
                with reading(one_line(f"{self.path}: {dataset}")):
                    box[k] = file[dataset][(*lead, slice(top, bottom), slice(left, right))]
        return np.ascontiguousarray(box[:, inner_rows, inner_columns])


@dataclass(frozen=True, eq=False)
class AveragedFrames(DerivedFrames):
    """Means of so many neighbouring frames each, float32.

    Attributes
    ----------
    whole : Frames
        A multiple of `count` frames.
    count : int
        That are averaged.
    """

    count: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """(frame, row, column)."""
        n, height, width = self.whole.shape
        return n // self.count, height, width

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of means."""
        return np.dtype(np.float32)

    def read(
        self, frames: slice = slice(None), rows: slice = slice(None), columns: slice = slice(None)
    ) -> npt.NDArray[Any]:
        """Read a box, one mean after the other."""
        means = []
        for k in range(self.shape[0])[frames]:
            counts = self.whole.read(slice(k * self.count, (k + 1) * self.count), rows, columns)
            means.append(counts.mean(axis=0, dtype=np.float64).astype(np.float32))
        if not means:
            return self.whole.read(slice(0, 0), rows, columns).astype(np.float32)
        return np.stack(means)


class Opened(NamedTuple):
    """Frames that were found: the stack, its files, and the file and dataset that really hold it."""

    frames: Frames
    files: tuple[Path, ...]
    where: str
    holder: tuple[Path, str] | None
    numbers: npt.NDArray[np.int64]


def open_stack(source: Source, home: Path, images: str | None = None) -> Opened:
    """Open the frames that a source names.

    Parameters
    ----------
    source : Source
        A dataset (frame, row, column), with axes of length one in between; a single frame; a pattern of datasets of
        one frame each; or texts that name images.
    home : Path
        The scan's file.
    images : str, optional
        Folder of the images, from the scan's file on.

    Raises
    ------
    ScanError
        Absent, incomplete, of another shape, or several stacks.
    """
    path = file_of(source, home)
    with open_hdf5(path) as file, reading(one_line(str(path))):
        found = addresses(file, source.dataset)
        if not found:
            raise ScanError(one_line(f"{path}: /{source.dataset}: no such dataset{near_names(file, source.dataset)}"))
        where = one_line(f"{path}: {found[0]}{' ...' if len(found) > 1 else ''}")
        nodes = [file[address] for address in found]
        if any(not isinstance(node, h5py.Dataset) for node in nodes):
            raise ScanError(f"{where}: a group, not the frames{near_names(file, source.dataset)}")
        if len(found) > 1:
            return _members(source, path, found, nodes, where)
        node = nodes[0]
        if node.dtype.kind in "OSU" and node.size and node.size > 1:
            return _named(source, path, node, where, images)
        shape = tuple(node.shape or ())
        if len(shape) == 3:
            return _dataset(source, path, found[0], node, where)
        return _members(source, path, found, nodes, where)


def _dataset(source: Source, path: Path, address: str, node: h5py.Dataset, where: str) -> Opened:
    n, height, width = stack(node, where)
    index = source.index(n, where)
    storage = require_complete(node, np.unique(index))
    files = tuple(sorted(storage.files - {path}))
    dtype = counts_dtype(node.dtype)
    frames = Hdf5Frames(path, address, index, height, width, dtype, storage.chunk_rows, files)
    return Opened(frames, (path, *files), where, (Path(identity(node)[0]), str(node.name)), index)


def _members(source: Source, path: Path, found: Sequence[str], nodes: Sequence[Any], where: str) -> Opened:
    """Frames of datasets of one frame each, or with axes of length one."""
    members: list[Member] = []
    files: set[Path] = {path}
    first = nodes[0]
    for address, node in zip(found, nodes, strict=True):
        shape = tuple(node.shape or ())
        if len(shape) < 2 or node.dtype.kind not in "uif" or 0 in shape or shape[-2:] != tuple(first.shape[-2:]):
            raise ScanError(
                f"{where}: {address} has shape {shape} {node.dtype}, expected (frame, row, column) as all have"
            )
        lead = [k for k, size in enumerate(shape[:-2]) if size > 1]
        if len(lead) > 1 or (lead and len(found) > 1):
            what = f"matches {len(found)} stacks, {', '.join(found[:3])}: name one" if len(found) > 1 else ""
            raise ScanError(
                f"{where}: {what}" if what else f"{where}: has shape {shape}, expected (frame, row, column)"
            )
        files |= require_complete(node).files
        count = shape[lead[0]] if lead else 1
        if count == 1:
            require_frame(node, where)
        for k in range(count):
            members.append((address, tuple(k if axis in lead else 0 for axis in range(len(shape) - 2))))
    index = source.index(len(members), where)
    height, width = (int(size) for size in first.shape[-2:])
    dtype = counts_dtype(np.result_type(*(node.dtype for node in nodes)))
    frames = MemberFrames(path, tuple(members[k] for k in index), height, width, dtype)
    holder = (Path(identity(first)[0]), str(first.name))
    return Opened(frames, (path, *sorted(files - {path})), where, holder, index)


def _named(source: Source, path: Path, node: h5py.Dataset, where: str, images: str | None) -> Opened:
    """Images whose names a dataset lists."""
    if node.size * 256 > MOST_TEXT:
        raise ScanError(f"{where}: {node.size} names, more than there can be images")
    names = [text_of(value) for value in np.asarray(node[()], dtype=object).ravel()]
    index = source.index(len(names), where)
    chosen = [names[k] for k in index]
    folder = _folder_of(path, chosen[0], where, images)
    paths = [_image(folder, name) for name in chosen]
    lost = [name for name, image in zip(chosen, paths, strict=True) if not image.is_file()]
    if lost:
        raise ScanError(
            one_line(f"{where}: {len(lost)} of {len(chosen)} images are not in {folder}, such as {lost[0]}")
        )
    return Opened(image_frames(paths), (path, *paths), where, None, index)


def _image(folder: Path, name: str) -> Path:
    plain = folder / name.replace("\\", "/")
    return plain if plain.is_file() else folder / name.replace("\\", "/").rsplit("/", 1)[-1]


def _folder_of(path: Path, first: str, where: str, images: str | None) -> Path:
    if images is not None:
        return path.parent / images
    folders = [path.parent, *sorted(p for p in path.parent.iterdir() if p.is_dir())]
    found = [folder for folder in folders if _image(folder, first).is_file()]
    if len(found) != 1:
        what = f"is in several folders, {found[0].name} and {found[1].name}" if found else "is not beside it"
        raise ScanError(one_line(f"{where}: the image {first} {what}: name their folder by images"))
    return found[0]


def length_of(opened: Opened, otherwise: int) -> int:
    """Return how many frames the dataset holds from which some were chosen."""
    if opened.holder is None:
        return otherwise
    with open_hdf5(opened.holder[0]) as file:
        shape = file[opened.holder[1]].shape
        return int(shape[0]) if len(shape) > 2 else otherwise


@lru_cache(maxsize=256)
def mean_levels(path: Path, dataset: str, stamp: int) -> npt.NDArray[np.float64]:
    """Return the mean of each frame of a dataset, of the rows in its middle; `stamp` is the file's time."""
    del stamp
    with open_hdf5(path) as file, reading(one_line(f"{path}: {dataset}")):
        node = file[dataset]
        rows = slice(node.shape[1] // 2, node.shape[1] // 2 + 2)
        return np.array([np.median(node[k, rows, :]) for k in range(node.shape[0])], np.float64)
