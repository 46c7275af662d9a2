"""Volumes as other programs write them: HDF5, TIFF, NumPy and raw numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import numpy.typing as npt

from xct_pipeline.acquisition.hdf5 import attribute, counts_dtype, open_hdf5, reading, resolve, text_of
from xct_pipeline.acquisition.storage import require_complete
from xct_pipeline.acquisition.tiff_stack import tiff_frames
from xct_pipeline.acquisition.volumes.arrays import FlatArray, FramesArray, Hdf5Array, VolumeArray
from xct_pipeline.acquisition.volumes.found import Found, axis_letters, length_um, value_unit
from xct_pipeline.inputs import require_regular
from xct_pipeline.scan import ScanError

if TYPE_CHECKING:
    import tifffile

NUMPY = b"\x93NUMPY"
MOST_LISTED = 8  # datasets in a message
NABU = ("configuration/processing_options/reconstruction/voxel_size_cm", "pixel_size_cm")


# ----------------------------------------------------------------------------------------------------- HDF5


def open_hdf5_volume(path: Path, dataset: str | None) -> Found:
    """Open a dataset of an HDF5 file; without a name the one that can be a volume.

    Voxel size, axes and unit are taken from attributes of the dataset (``voxel_size_um``, ``units``), from the axes of
    its NXdata group, or from what nabu notes beside it.

    Raises
    ------
    ScanError
        No such dataset, several that can be meant, or one that is no volume or not complete.
    """
    with open_hdf5(path) as file, reading(str(path)):
        name = dataset or _only_volume(file, path)
        node = resolve(file, name)
        where = f"{path}: {name}"
        if node is None:
            raise ScanError(f"{where}: no such dataset; those that can be a volume: {_listed(_volumes(file))}")
        if not isinstance(node, h5py.Dataset):
            inner = resolve(node, "results/data")  # of nabu's and tomoscan's entries
            if not isinstance(inner, h5py.Dataset):
                raise ScanError(
                    f"{where}: a group, not a dataset; those that can be a volume: {_listed(_volumes(file))}"
                )
            node = inner
        if node.shape is None or 0 in node.shape or node.dtype.kind not in "uif":
            raise ScanError(f"{where}: holds {node.dtype} of shape {node.shape}, expected numbers")
        home = str(node.name)
        storage = require_complete(node)
        array = Hdf5Array(path, name if node.name is None else home, tuple(node.shape), counts_dtype(node.dtype))
        axes, steps = _axes_of(node)
        files = (path, *sorted(storage.files - {path}))
        return Found(array, files, "HDF5", axes, steps or _noted_steps(node), value_unit(attribute(node, "units")))


def _only_volume(file: h5py.File, path: Path) -> str:
    found = _volumes(file)
    if len(found) != 1:
        what = f"several datasets that can be a volume ({_listed(found)})" if found else "no dataset of three axes"
        raise ScanError(f"{path}: holds {what}: name one, file.h5::/path/of/dataset")
    return found[0]


def _volumes(file: h5py.File) -> list[str]:
    """Return the datasets of at least three axes, each once however many links lead to it."""
    found: list[str] = []

    def visit(name: str, node: h5py.Group | h5py.Dataset) -> None:
        if isinstance(node, h5py.Dataset) and node.ndim >= 3 and node.dtype.kind in "uif" and node.size:
            found.append(f"/{name}")

    file.visititems(visit)
    return found


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
    return (", ".join(names[:MOST_LISTED]) + more) or "none"


def _axes_of(node: h5py.Dataset) -> tuple[str | None, tuple[float | None, ...] | None]:
    """Return axes and steps as the NXdata group of a dataset says them."""
    group = node.parent
    named = group.attrs.get("axes", node.attrs.get("axes"))
    if named is None or text_of(group.attrs.get("signal", "")) not in ("", str(node.name).rsplit("/", 1)[-1], "1"):
        return None, None
    names = [text_of(n) for n in np.atleast_1d(named)] if not isinstance(named, str) else named.split(":")
    letters = axis_letters([name.rsplit("_", 1)[0] if name.endswith("_axis") else name for name in names])
    if letters is None or len(letters) != node.ndim:
        return None, None
    steps: list[float | None] = []
    for name in names:
        axis = resolve(group, name)
        unit = length_um(attribute(axis, "units")) if isinstance(axis, h5py.Dataset) else None
        ends = np.ravel(axis[:2]) if isinstance(axis, h5py.Dataset) and axis.ndim == 1 else np.zeros(0)
        steps.append(None if unit is None or len(ends) < 2 else float(abs(ends[1] - ends[0])) * unit)
    return letters, tuple(steps)


def _noted_steps(node: h5py.Dataset) -> tuple[float | None, ...] | None:
    """Return the voxel size that an attribute of the dataset says, or nabu's configuration beside it."""
    own = node.attrs.get("voxel_size_um")
    if own is not None:
        return _per_axis(own, node.ndim, 1.0)
    process = node.parent.parent
    for name in (NABU[0], NABU[0].replace("voxel_size_cm", NABU[1])) if process is not None else ():
        noted = resolve(process, name)
        if isinstance(noted, h5py.Dataset) and noted.dtype.kind in "uif" and noted.size in (1, 3):
            return _per_axis(noted[()], node.ndim, 1e4)
    return None


def _per_axis(value: npt.ArrayLike, axes: int, factor: float) -> tuple[float, ...] | None:
    sizes = [float(v) * factor for v in np.ravel(value)]
    return tuple(sizes * axes) if len(sizes) == 1 else tuple(sizes) if len(sizes) == axes else None


# ----------------------------------------------------------------------------------------------------- TIFF


def open_tiff_volume(paths: Sequence[Path]) -> Found:
    """Open slices, one image a file, or all images of one file (ImageJ's and BigTIFF included).

    Raises
    ------
    ScanError
        Missing or damaged files, images of different size, or no grey values.
    """
    if len(paths) > 1:
        frames = tiff_frames(paths)
        if frames.shape[0] != len(paths):
            raise ScanError(f"{paths[0]}: {len(paths)} files hold {frames.shape[0]} images: a slice is one file")
        steps, unit, _ = _told(paths[0], 3)
        return Found(FramesArray(frames), tuple(paths), "TIFF slices", None, steps, unit)
    frames = tiff_frames(paths)
    array: VolumeArray = FramesArray(frames)
    shape, axes = _series_of(paths[0])
    if len(shape) > 3 and math.prod(shape) == math.prod(frames.shape):
        if not np.all(np.diff(frames.offset) == math.prod(shape[-2:]) * frames.stored.itemsize) or frames.offset[0] < 0:
            raise ScanError(f"{paths[0]}: compressed images of {len(shape)} axes: save one file for each volume")
        array = FlatArray(paths[0], int(frames.offset[0]), shape, frames.stored)
    steps, unit, spaced = _told(paths[0], len(array.shape))
    known = axes if len(axes) == len(array.shape) and spaced else None
    return Found(array, tuple(paths), "TIFF", known, steps, unit)


def _series_of(path: Path) -> tuple[tuple[int, ...], str]:
    import tifffile

    with reading(str(path)), tifffile.TiffFile(path) as tiff:
        series = tiff.series[0]
        return tuple(int(n) for n in series.shape), str(series.axes).lower()


def _told(path: Path, axes: int) -> tuple[tuple[float | None, ...] | None, str | None, bool]:
    """Return steps along the axes, the unit of the values, and whether the axes are ImageJ's (z is along slices)."""
    import tifffile

    with reading(str(path)), tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        imagej: Mapping[str, Any] = tiff.imagej_metadata or {}
        shaped: Mapping[str, Any] = next(iter(tiff.shaped_metadata or ()), {})
        across = _resolution_um(page, str(imagej.get("unit", "")))
    unit = value_unit(str(shaped.get("unit") or imagej.get("value_unit") or ""))
    if shaped.get("voxel_size_um"):
        return (float(shaped["voxel_size_um"]),) * axes, unit, False
    length = length_um(str(imagej.get("unit", "")))
    along = float(imagej["spacing"]) * length if length and imagej.get("spacing") else None
    if across is None:
        return None, unit, bool(imagej)
    return (*[None] * (axes - 3), along if imagej else None, across, across), unit, bool(imagej)


def _resolution_um(page: tifffile.TiffPage, unit: str) -> float | None:
    """Return the edge of a pixel, um; resolutions in inches are what printers are told, not what was measured."""
    tag = page.tags.get("XResolution")
    if tag is None or not all(tag.value) or page.tags.get("ResolutionUnit") is None:
        return None
    pixels = tag.value[0] / tag.value[1]
    kind = int(page.tags["ResolutionUnit"].value)
    length = length_um(unit) if unit else (1e4 if kind == 3 else None)
    return None if length is None else length / pixels


# --------------------------------------------------------------------------------------------- NumPy and raw


def open_npy(path: Path) -> Found:
    """Open a file of ``numpy.save``.

    Raises
    ------
    ScanError
        No numbers in it, or fewer than it says.
    """
    with reading(str(path)), path.open("rb") as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(stream)
        offset = stream.tell()
    array = FlatArray(path, offset, tuple(shape), _numbers(dtype, path), bool(fortran))
    _require_all(array)
    return Found(array, (path,), "NumPy")


def open_raw(path: Path, shape: Sequence[int], dtype: str, byte_order: str, header_bytes: int) -> Found:
    """Open numbers without any description.

    Raises
    ------
    ScanError
        The file has another size than they take.
    """
    stored = np.dtype(dtype).newbyteorder("<" if byte_order == "little" else ">")
    array = FlatArray(path, header_bytes, tuple(shape), stored)
    with reading(str(path)):
        size = require_regular(path)
    if size != array.end:
        what = "the file is truncated, or shape" if size < array.end else "shape"
        raise ScanError(
            f"{path}: {size} bytes, but {' x '.join(map(str, shape))} of {dtype} after {header_bytes} bytes take "
            f"{array.end}: {what}, dtype or header_bytes is another"
        )
    return Found(array, (path,), "raw numbers")


def _numbers(dtype: np.dtype[Any], path: Path) -> np.dtype[Any]:
    if dtype.kind not in "uif":
        raise ScanError(f"{path}: holds {dtype}, expected numbers")
    return dtype


def _require_all(array: FlatArray) -> None:
    size = array.path.stat().st_size
    if size < array.end:
        raise ScanError(f"{array.path}: {size} bytes of {array.end} are here: the file is truncated, copy it again")
