"""OME-Zarr images of any writer, opened lazily for display: damaged parts are told once and shown empty."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from xct_pipeline.store.derived import open_array, open_remote, with_ome
from xct_pipeline.store.files import StoreError, store_root
from xct_pipeline.store.remote import remote_attributes

Array = npt.NDArray[Any]
BLOCK_BYTES = 16_000_000  # what is read together: inner chunks are joined until a block is this large
MOST_PLANE = 2**28  # voxels of a plane that is read and drawn whole: what a graphics card takes
SAMPLE = 4_000_000  # values that a contrast is found from
MICROMETRES = {
    "angstrom": 1e-4,
    "picometer": 1e-6,
    "nanometer": 1e-3,
    "micrometer": 1.0,
    "micron": 1.0,
    "um": 1.0,
    "millimeter": 1e3,
    "centimeter": 1e4,
    "meter": 1e6,
    "nm": 1e-3,
    "mm": 1e3,
    "\N{MICRO SIGN}m": 1.0,
}


class Guarded:
    """An array that is empty where it cannot be read; the first failure is told to the user.

    Parameters
    ----------
    array : zarr.Array
    name : str
        Of the image, for the message.
    """

    def __init__(self, array: Any, name: str) -> None:
        self.array, self.name = array, name
        self.shape: tuple[int, ...] = array.shape
        self.dtype = np.dtype(array.dtype)
        self.ndim: int = array.ndim
        self._told = threading.Lock()

    def __getitem__(self, key: Any) -> Array:
        """Read a box of slices and indices."""
        parts = list(key if isinstance(key, tuple) else (key,))
        parts += [slice(None)] * (self.ndim - len(parts))
        single = tuple(k for k, part in enumerate(parts) if not isinstance(part, slice))
        box = tuple(part if isinstance(part, slice) else slice(part, part + 1) for part in parts)
        try:
            values = np.asarray(self.array[box])
        except Exception as error:  # whatever a codec raises, the viewer must stay alive
            if self._told.acquire(blocking=False):
                tell(f"{self.name}: damaged data, shown empty ({_first_line(error)}). Run again to compute it anew.")
            shape = [len(range(*part.indices(n))) for part, n in zip(box, self.shape, strict=True)]
            values = np.full(shape, math.nan if self.dtype.kind == "f" else 0, self.dtype)
        return values.squeeze(single)


@dataclass(frozen=True)
class OmeImage:
    """One multiscale image.

    Attributes
    ----------
    name : str
    axes : tuple of str
    arrays : tuple of Guarded
        Full resolution first.
    scale, translate : tuple of float
        Per axis, in micrometre along space where `unit` says so.
    unit : str
        ``"um"`` or ``"pixel"``.
    attributes : mapping
        Of the group: ``ome`` content flattened, ``xct``, ``omero``, ``image-label``.
    """

    name: str
    axes: tuple[str, ...]
    arrays: tuple[Guarded, ...]
    scale: tuple[float, ...]
    translate: tuple[float, ...]
    unit: str
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def xct(self) -> dict[str, Any]:
        """What the pipeline noted beside the standard's metadata."""
        return dict(self.attributes.get("xct", {}))

    def levels(self) -> list[Any]:
        """Return the pyramid as dask arrays of blocks that are worth a read."""
        return [lazy(array) for array in self.arrays]


def tell(message: str) -> None:
    """Show a notification (on the terminal where there is no window); safe from any thread."""
    from napari.utils.notifications import show_warning

    show_warning(message)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0][:200] or type(error).__name__


def planes(array: Guarded) -> Any:
    """Wrap an array in dask, one block for each plane along its first axis."""
    import dask.array as da

    chunks = (1, *array.shape[1:])
    return da.from_array(array, chunks=chunks, name=False, meta=np.empty((0,) * array.ndim, array.dtype))


def lazy(array: Guarded) -> Any:
    """Wrap an array in dask, its blocks made of whole inner chunks."""
    import dask.array as da

    chunks = list(getattr(array.array, "chunks", array.shape))
    for axis in reversed(range(array.ndim)):
        while chunks[axis] < array.shape[axis] and 2 * math.prod(chunks) * array.dtype.itemsize <= BLOCK_BYTES:
            chunks[axis] *= 2
    chunks = [min(c, n) for c, n in zip(chunks, array.shape, strict=True)]
    return da.from_array(array, chunks=tuple(chunks), name=False, meta=np.empty((0,) * array.ndim, array.dtype))


def open_ome(folder: Path, name: str | None = None) -> OmeImage:
    """Open the metadata of an OME-Zarr 0.4 or 0.5 image.

    Raises
    ------
    StoreError
        It is none, or its metadata is damaged or incomplete.
    """
    return _assembled(str(folder), name or "", ome_attributes(folder), lambda level: _opened(folder / level))


def open_remote_ome(url: str, name: str) -> OmeImage:
    """Open the metadata of an image behind an address, one that a store derives from others included.

    Raises
    ------
    StoreError
        It is none, or cannot be reached.
    """
    attributes = with_ome(remote_attributes(url))
    return _assembled(url, name, _flat(attributes), lambda level: open_remote(url, level, attributes))


def _assembled(where: str, name: str, attributes: Mapping[str, Any], opened: Callable[[str], Any]) -> OmeImage:
    """Put an image together from its attributes and its arrays."""
    if "multiscales" not in attributes:
        raise StoreError(f"{where} is no OME-Zarr image")
    try:
        multiscale = attributes["multiscales"][0]
        axes, units = _axes(multiscale)
        datasets = multiscale["datasets"]
        title = name or multiscale.get("name") or Path(where).stem
        arrays = tuple(Guarded(opened(d["path"]), title) for d in datasets)
        scale, translate = _placement(datasets[0], multiscale, len(axes))
        if "t" in axes and attributes.get("xct", {}).get("time_s"):
            scale[axes.index("t")], translate[axes.index("t")] = 1.0, 0.0  # a slider counts scans, whatever their times
    except (KeyError, IndexError, TypeError, ValueError, OSError) as error:
        raise StoreError(f"{where}: incomplete or damaged metadata ({_first_line(error)})") from error
    if any(len(axes) != array.ndim for array in arrays):
        raise StoreError(f"{where}: its axes are {', '.join(axes)} but its arrays have {arrays[0].ndim} dimensions")
    _require_size(where, arrays)
    factor = [MICROMETRES.get(unit or "", 1.0) for unit in units]
    spatial = [unit for axis, unit in zip(axes, units, strict=True) if axis in "zyx"]
    known = bool(spatial) and all(unit in MICROMETRES for unit in spatial)
    return OmeImage(
        title,
        axes,
        arrays,
        tuple(s * f for s, f in zip(scale, factor, strict=True)),
        tuple(t * f for t, f in zip(translate, factor, strict=True)),
        "um" if known else "pixel",
        attributes,
    )


def _require_size(where: str, arrays: Sequence[Guarded]) -> None:
    """Refuse an image without voxels, and one whose coarsest plane is too large to be drawn.

    Raises
    ------
    StoreError
        Names the shape and what to do.
    """
    if not arrays or any(0 in array.shape for array in arrays):
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise StoreError(f"{where}: holds no voxels (shape {shapes or 'unknown'})")
    coarsest = arrays[-1].shape
    if math.prod(coarsest[-2:]) > MOST_PLANE:
        raise StoreError(
            f"{where}: planes of {' x '.join(map(str, coarsest[-2:]))} at its coarsest level are too large to show: "
            "write it with more levels (a pyramid)"
        )


def _opened(folder: Path) -> Any:
    """Open an array: one of a store so that only what a run finished is read of it."""
    return zarr.open_array(str(folder), mode="r") if store_root(folder) is None else open_array(folder)


def ome_attributes(folder: Path) -> dict[str, Any]:
    """Return a group's attributes with the ``ome`` level of version 0.5 taken away; empty where there is no group."""
    try:
        attributes = with_ome(dict(zarr.open_group(str(folder), mode="r", use_consolidated=False).attrs))
    except (FileNotFoundError, zarr.errors.ContainsArrayError):
        return {}
    except (ValueError, OSError, KeyError, TypeError) as error:
        raise StoreError(f"{folder}: damaged metadata ({_first_line(error)})") from error
    return _flat(attributes)


def _flat(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes with the content of ``ome`` beside the others."""
    inner = attributes.get("ome", {})
    others = {key: value for key, value in attributes.items() if key != "ome"}
    return {**others, **(inner if isinstance(inner, Mapping) else {})}


def _axes(multiscale: Mapping[str, Any]) -> tuple[tuple[str, ...], list[str | None]]:
    axes = multiscale.get("axes", "tczyx")  # versions before 0.3 had no choice
    if all(isinstance(axis, str) for axis in axes):
        return tuple(axes), [None] * len(axes)
    return tuple(axis["name"] for axis in axes), [axis.get("unit") for axis in axes]


def _placement(dataset: Mapping[str, Any], multiscale: Mapping[str, Any], ndim: int) -> tuple[list[float], list[float]]:
    """Return scale and translation: the dataset's transformations, then those of the whole image."""
    scale, translate = [1.0] * ndim, [0.0] * ndim
    for transform in [*dataset.get("coordinateTransformations", ()), *multiscale.get("coordinateTransformations", ())]:
        if transform["type"] == "scale":
            scale = [a * float(b) for a, b in zip(scale, transform["scale"], strict=True)]
            translate = [a * float(b) for a, b in zip(translate, transform["scale"], strict=True)]
        elif transform["type"] == "translation":
            translate = [a + float(b) for a, b in zip(translate, transform["translation"], strict=True)]
    return scale, translate


def images_in(folder: Path) -> Iterator[Path]:
    """Yield the folder if it is an image, else the images directly inside it (as bioformats2raw writes them)."""
    if "multiscales" in ome_attributes(folder):
        yield folder
        return
    for child in sorted(folder.iterdir()):
        if child.is_dir() and "multiscales" in ome_attributes(child):
            yield child


def sample(arrays: Sequence[Guarded], time: int | None = None) -> Array:
    """Return finite values of the coarsest level, a few planes of it where it is large.

    Parameters
    ----------
    time : int, optional
        Where the first axis is time: only this index.
    """
    array = arrays[-1]
    lead = array.ndim - 3
    picked: list[list[int]] = [_few(n, 2) for n in array.shape[: max(0, lead)]]
    if time is not None and picked:
        picked[0] = [time % array.shape[0]]
    parts = []
    for index in np.ndindex(*[len(choice) for choice in picked]):
        head = tuple(slice(c[k], c[k] + 1) for c, k in zip(picked, index, strict=True))
        rest = array.shape[len(head) :]
        planes = [slice(None)] if math.prod(rest) <= SAMPLE else [slice(z, z + 1) for z in _few(rest[0], 3)]
        for plane in planes:
            values = array[(*head, plane)].ravel()
            values = values[:: max(1, values.size // SAMPLE)]
            parts.append(values[np.isfinite(values)] if values.dtype.kind == "f" else values)
    return np.concatenate(parts) if parts else np.zeros(0)


def _few(n: int, count: int) -> list[int]:
    """Return up to `count` indices, evenly inside 0 to n - 1."""
    return sorted({min(n - 1, int((k + 0.5) * n / count)) for k in range(count)})


def fine_sample(arrays: Sequence[Guarded], time: int | None = None) -> Array:
    """Return finite values of one block in the middle of the full resolution, whose noise a coarse level hides."""
    array = arrays[0]
    lead = [0 if time is None else time % n for n in array.shape[:1]] if array.ndim > 3 else []
    chunks = getattr(array.array, "chunks", array.shape)
    box = [slice(k, k + 1) for k in lead]
    for n, c in list(zip(array.shape, chunks, strict=True))[len(lead) :]:
        size = min(n, c, 64)
        start = min(n // 2 // c * c, n - size)
        box.append(slice(start, start + size))
    values = array[tuple(box)].ravel()
    return values[np.isfinite(values)] if values.dtype.kind == "f" else values


def contrast(values: Array) -> tuple[float, float]:
    """Return a grey scale that leaves out the most extreme half per cent."""
    if not values.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(values, [0.5, 99.5]))
    return (low, high) if high > low else (low, low + (abs(low) or 1.0))


def signed_contrast(values: Array, noisy: Array | None = None) -> tuple[float, float]:
    """Return limits that are symmetric about zero; exact zeros (the reference, air) do not count.

    Parameters
    ----------
    noisy : array, optional
        Values at full resolution: their noise stays pale.
    """
    size = np.abs(values[values != 0])
    limit = float(np.percentile(size, 99.5)) if size.size else 0.0
    if noisy is not None and noisy.size:
        limit = max(limit, 3 * float(np.median(np.abs(noisy - np.median(noisy)))) / 0.6745)
    return -(limit or 1.0), limit or 1.0
