"""Painted labels as planes of the registered series, and tiles of them to take examples from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from xct_pipeline.boxes import Region
from xct_pipeline.device import Array, Sliced

TILE = 256
SLAB = 64


class Painted(Sliced, Protocol):
    """Painted labels of any size, read plane by plane."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Kind of the values."""
        ...


class Plane(NamedTuple):
    """A painted plane (y, x) of one scan."""

    time: int
    z: int
    labels: Array


def painted_planes(array: Painted, shape: Sequence[int], *, time: int, z: Sequence[int] | None = None) -> list[Plane]:
    """Return the planes that hold painted voxels.

    Parameters
    ----------
    array : array of whole numbers, or what slices like one
        (t, z, y, x) like the series, (z, y, x) of one scan, or a single plane (y, x); 0 where nothing is painted.
    shape : sequence of int
        Of the registered series (t, z, y, x).
    time : int
        The scan that planes without t are painted on.
    z : sequence of int, optional
        Which plane each of the planes without t is, where not all of them are there.

    Raises
    ------
    ValueError
        Sizes or planes that do not fit the series, or values outside 0 to 255.
    """
    given = tuple(array.shape)
    check_whole_numbers(array)
    if given == tuple(shape):
        return [plane for t in range(shape[0]) for plane in _of_volume(array, t, (t,), range(shape[1]))]
    if len(given) not in (2, 3) or given[-2:] != tuple(shape[2:]):
        raise ValueError(
            f"painted labels of {_size(given)} do not fit the series of {_size(shape)} (t, z, y, x): paint at full size"
        )
    depth = given[0] if len(given) == 3 else 1
    if z is None and depth != shape[1]:
        raise ValueError(f"{depth} of {shape[1]} planes are there: say which by segmentation.z = [...]")
    places = range(depth) if z is None else list(z)
    if len(places) != depth or max(places) >= shape[1]:
        raise ValueError(f"segmentation.z = {list(places)}: give one of 0 to {shape[1] - 1} for each of {depth} planes")
    return list(_of_volume(array if len(given) == 3 else array[:][None], time, (), places))


def check_whole_numbers(array: Painted) -> None:
    """Raise ValueError unless an array holds whole numbers."""
    if np.dtype(array.dtype).kind not in "uib":
        raise ValueError(f"painted labels are whole numbers, not {array.dtype}")


def _size(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _of_volume(array: Painted, time: int, index: tuple[int, ...], z: Sequence[int]) -> Iterator[Plane]:
    for start in range(0, len(z), SLAB):
        slab = np.asarray(array[(*index, slice(start, start + SLAB))])
        for k, plane in enumerate(slab):
            if plane.any():
                if plane.min() < 0 or plane.max() > 255:
                    raise ValueError(f"painted labels from {plane.min()} to {plane.max()}: use 1 to 255")
                yield Plane(time, z[start + k], np.ascontiguousarray(plane, np.uint8))


def check_painted(planes: Sequence[Plane], materials: Sequence[str]) -> None:
    """Raise ValueError unless every material, and nothing else, is painted somewhere; label 1 is the first."""
    if not planes:
        raise ValueError("nothing is painted: paint examples of each material with labels from 1")
    found = np.unique(np.concatenate([np.unique(plane.labels) for plane in planes]))
    if found.max() > len(materials):
        raise ValueError(f"label {found.max()} is painted but only {len(materials)} names are given")
    missing = [name for k, name in enumerate(materials) if k + 1 not in found]
    if missing:
        raise ValueError(f"no voxel is painted as {', '.join(missing)}: paint examples of each material")


def tiles(plane: Plane) -> Iterator[tuple[Region, Array]]:
    """Yield regions (1, 1, y, x) of the series and the labels (1, y, x) painted there, small enough for features."""
    height, width = plane.labels.shape
    for y in range(0, height, TILE):
        for x in range(0, width, TILE):
            box = (slice(y, min(y + TILE, height)), slice(x, min(x + TILE, width)))
            labels = plane.labels[box][None]
            if labels.any():
                yield (slice(plane.time, plane.time + 1), slice(plane.z, plane.z + 1), *box), labels
