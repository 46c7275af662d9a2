"""What is exported: one image, or one plane in time of it, with everything that a format may say of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from xct_pipeline.store.derived import DerivedArray
from xct_pipeline.store.stored_array import StoredArray

AROUND = 64  # planes that are read together of an image without shards


@dataclass(frozen=True)
class Exported:
    """An image of one scan.

    Attributes
    ----------
    name : str
        Of the file, without its ending.
    array : StoredArray or DerivedArray
        Level 0 of the image.
    t : int or None
        Plane along t; None for an image without time.
    axes : str
        ``zyx`` or ``yx``.
    unit : str
        Of the values.
    voxel_um : float or None
        None where it is unknown.
    origin_um : tuple of float
        Of the centre of the first voxel along the axes; in voxels where their size is unknown.
    scan : str
        Its name.
    time_s : float or None
        Middle of the scan since the start of the first one.
    image : str
        The path of the image in the store.
    about : mapping
        Where it comes from: program, version, store, raw files, configuration.
    """

    name: str
    array: StoredArray | DerivedArray
    t: int | None
    axes: str
    unit: str
    voxel_um: float | None
    origin_um: tuple[float, ...]
    scan: str
    time_s: float | None
    image: str
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along the axes."""
        shape = self.array.shape
        return shape if self.t is None else shape[1:]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values, little endian."""
        return np.dtype(self.array.dtype).newbyteorder("<")

    @property
    def nbytes(self) -> int:
        """Bytes of all values."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    @property
    def step(self) -> float:
        """Edge of a voxel in micrometre, 1 where it is unknown."""
        return 1.0 if self.voxel_um is None else self.voxel_um

    @property
    def by_planes(self) -> tuple[int, ...] | None:
        """Chunks of a file that is written plane by plane; None for a single plane."""
        return (1, *self.shape[1:]) if self.axes == "zyx" else None

    def planes(self) -> Iterator[npt.NDArray[Any]]:
        """Yield planes (y, x) along z, or the one there is; no more than one shard is held."""
        before: tuple[int, ...] = () if self.t is None else (self.t,)
        if self.axes == "yx":
            yield np.asarray(self.array[(*before, slice(None), slice(None))], self.dtype)
            return
        thick = (self.array.shards or self.array.chunks)[-3] or AROUND
        for start in range(0, self.shape[0], thick):
            block = np.asarray(self.array[(*before, slice(start, min(start + thick, self.shape[0])))], self.dtype)
            yield from block

    def facts(self) -> dict[str, Any]:
        """Return what a file beside the numbers says of them."""
        return {
            "scan": self.scan,
            "image": self.image,
            "axes": list(self.axes),
            "shape": list(self.shape),
            "dtype": self.dtype.name,
            "byte_order": "little",
            "unit": self.unit,
            "voxel_size_um": self.voxel_um,
            "origin_um" if self.voxel_um is not None else "origin_voxel": list(self.origin_um),
            "time_s": self.time_s,
            "program": self.about.get("program"),
            "version": self.about.get("version"),
        }


Write = Callable[[Path, Sequence[Exported]], None]
"""Writes images of one shape into a file (or folder) that does not exist yet."""


@dataclass(frozen=True)
class Format:
    """A format of exports.

    Attributes
    ----------
    name : str
        As ``--format`` takes it.
    suffix : str
        Of the file; empty for a folder.
    what : str
        One line for the help.
    write : callable
        `Write`.
    together : bool
        All scans of an image along t are one file.
    index : callable or None
        Writes a file that lists those of several scans: ``index(path, [(file, exported), ...])``.
    index_suffix : str
        Of that file.
    """

    name: str
    suffix: str
    what: str
    write: Write
    together: bool = False
    index: Callable[[Path, Sequence[tuple[str, Exported]]], None] | None = None
    index_suffix: str = ""


def write_numbers(stream: BinaryIO, exported: Exported) -> None:
    """Write all values one after the other, z slowest, little endian."""
    for plane in exported.planes():
        stream.write(np.ascontiguousarray(plane).data)
