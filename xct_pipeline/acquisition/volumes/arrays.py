"""Volumes in files as arrays that are read in boxes and can be sent to another process."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from xct_pipeline.acquisition.hdf5 import counts_dtype, open_hdf5, reading
from xct_pipeline.scan import Frames, ScanError

Box = tuple[slice, ...]
Pick = int | tuple[int, int]
"""One index, or a half-open range, of one axis."""


class VolumeArray(Protocol):
    """Numbers in a file.

    Attributes
    ----------
    shape : tuple of int
        Of any number of axes.
    dtype : numpy dtype
        As they are read.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102

    @property
    def dtype(self) -> np.dtype[Any]: ...  # noqa: D102

    def read(self, box: Box) -> npt.NDArray[Any]:
        """Read a box in the machine's byte order; ScanError where it cannot be read."""
        ...


@dataclass(frozen=True, eq=False)
class FlatArray:
    """Numbers one after the other in a file: raw, NumPy's, or a TIFF whose images follow each other.

    Attributes
    ----------
    path : Path
    offset : int
        Bytes before the first of them.
    shape : tuple of int
    stored : numpy dtype
        With the byte order of the file.
    fortran : bool
        The first axis runs fastest.
    """

    path: Path
    offset: int
    shape: tuple[int, ...]
    stored: np.dtype[Any]
    fortran: bool = False

    @property
    def dtype(self) -> np.dtype[Any]:
        """In the machine's byte order; half floats as float32."""
        return counts_dtype(self.stored)

    @property
    def end(self) -> int:
        """The byte after the last number."""
        return self.offset + math.prod(self.shape) * self.stored.itemsize

    def read(self, box: Box) -> npt.NDArray[Any]:
        """Read a box through a map of the file."""
        with reading(str(self.path)):
            if self.path.stat().st_size < self.end:
                raise ScanError(f"{self.path}: the file is truncated: copy it again")
            order = "F" if self.fortran else "C"
            mapped = np.memmap(self.path, self.stored, "r", self.offset, self.shape, order)  # type: ignore[call-overload]
            return np.array(mapped[box], self.dtype, order="C")


@dataclass(frozen=True, eq=False)
class FramesArray:
    """Images of equal size, as TIFF slices are read."""

    frames: Frames

    @property
    def shape(self) -> tuple[int, ...]:
        """(image, row, column)."""
        return self.frames.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """As they are read."""
        return self.frames.dtype

    def read(self, box: Box) -> npt.NDArray[Any]:
        """Read a box."""
        return self.frames.read(*box)


@dataclass(frozen=True, eq=False)
class Hdf5Array:
    """A dataset of an HDF5 file, which is opened for each box that is read."""

    path: Path
    dataset: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def read(self, box: Box) -> npt.NDArray[Any]:
        """Read a box."""
        with open_hdf5(self.path) as file, reading(f"{self.path}: {self.dataset}"):
            return np.asarray(file[self.dataset][box], self.dtype)


@dataclass(frozen=True, eq=False)
class VolumeView:
    """A volume (z, y, x) in an array of any axes.

    Attributes
    ----------
    array : VolumeArray
    picks : tuple
        One index or a half-open range along each axis of the array; three are ranges.
    order : tuple of int
        Which of the three ranges is z, y, x.
    """

    array: VolumeArray
    picks: tuple[Pick, ...]
    order: tuple[int, int, int]

    @property
    def _ranges(self) -> list[tuple[int, int]]:
        return [pick for pick in self.picks if not isinstance(pick, int)]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x)."""
        sizes = [stop - first for first, stop in self._ranges]
        return sizes[self.order[0]], sizes[self.order[1]], sizes[self.order[2]]

    @property
    def dtype(self) -> np.dtype[Any]:
        """As it is read."""
        return self.array.dtype

    def read(self, region: Box) -> npt.NDArray[Any]:
        """Read a box (z, y, x)."""
        wanted = dict(zip(self.order, region, strict=True))
        box: list[slice] = []
        place = 0
        for pick in self.picks:
            if isinstance(pick, int):
                box.append(slice(pick, pick + 1))
                continue
            first, part = pick[0], wanted[place]
            box.append(slice(first + part.start, first + part.stop))
            place += 1
        values = self.array.read(tuple(box))
        single = tuple(k for k, pick in enumerate(self.picks) if isinstance(pick, int))
        return np.ascontiguousarray(np.transpose(np.squeeze(values, single), self.order))


def split_data(text: str) -> tuple[str, str | None, str | None]:
    """Split ``file::dataset[range]`` into file, dataset and range; what is not there is None."""
    ending = re.search(r"\[([\d\s:,]+)\]\s*$", text)
    chosen = None
    if ending is not None:
        text, chosen = text[: ending.start()], ending[1]
    file, mark, dataset = text.partition("::")
    return file, dataset if mark else None, chosen


def picks_of(text: str | None, shape: tuple[int, ...], where: str) -> tuple[Pick, ...]:
    """Return what a range such as ``2, 0:100, :, 20:80`` takes of an array; axes that it does not name are whole.

    Raises
    ------
    ScanError
        More axes than there are, an index outside the array, an empty range, or not three axes left.
    """
    parts = [] if text is None else [part.strip() for part in text.split(",")]
    if len(parts) > len(shape):
        raise ScanError(f"{where}: [{text}] names {len(parts)} axes of {len(shape)}")
    picks: list[Pick] = []
    for part, size in zip([*parts, *([":"] * (len(shape) - len(parts)))], shape, strict=True):
        first, colon, stop = (piece.strip() for piece in part.partition(":"))
        if not re.fullmatch(r"\d*", first) or not re.fullmatch(r"\d*", stop) or (not colon and not first):
            raise ScanError(f"{where}: [{text}]: write a number or first:stop for each axis")
        low, high = int(first or 0), int(stop or size) if colon else int(first) + 1
        if not 0 <= low < high <= size:
            raise ScanError(f"{where}: [{text}]: {part} lies outside an axis of {size}")
        picks.append((low, high) if colon else low)
    left = sum(not isinstance(pick, int) for pick in picks)
    if left != 3:
        raise ScanError(
            f"{where}: has shape {' x '.join(map(str, shape))}, of which {left} axes are left: a volume has three; "
            "choose one by a range at its end, as in [0, :, :, :]"
        )
    return tuple(picks)
