"""Volumes in zarr: OME-Zarr images, and plain arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from xct_pipeline.acquisition.hdf5 import MOST_CHUNK, reading
from xct_pipeline.acquisition.volumes.arrays import Box
from xct_pipeline.acquisition.volumes.found import Found, axis_letters, length_um, value_unit
from xct_pipeline.engine.blocks import Array
from xct_pipeline.scan import ScanError


@dataclass(frozen=True, eq=False)
class ZarrArray:
    """An array of zarr 2 or 3."""

    folder: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def read(self, box: Box) -> Array:
        """Read a box."""
        with reading(str(self.folder)):
            array: Any = zarr.open_array(str(self.folder), mode="r")
            return np.asarray(array[box], self.dtype)


def open_zarr_volume(folder: Path, inner: str | None) -> Found:
    """Open an OME-Zarr image (0.4 or 0.5) in full resolution, or a plain zarr array.

    Raises
    ------
    ScanError
        There is neither at that place.
    """
    place = folder / inner.strip("/") if inner else folder
    with reading(str(place)):
        if not place.is_dir():
            raise ScanError(f"{place}: no such image in {folder}")
        node: Any = zarr.open(str(place), mode="r")
        if isinstance(node, zarr.Array):
            array = _zarr_array(place, node)
            return Found(array, (place,), "zarr")
        attributes = dict(node.attrs)
    ome: Mapping[str, Any] = attributes.get("ome", attributes)
    if "multiscales" not in ome:
        images = sorted(
            str(file.parent.relative_to(place))
            for pattern in ("*/zarr.json", "*/.zattrs", "*/*/*/zarr.json")
            for file in place.glob(pattern)
            if "multiscales" in file.read_text(errors="replace")
        )
        raise ScanError(f"{place}: no OME-Zarr image, which would have multiscales; it holds: {_few(images)}")
    return _multiscale(place, ome["multiscales"][0], attributes)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) or "none"


def _zarr_array(folder: Path, node: zarr.Array[Any]) -> ZarrArray:
    dtype = np.dtype(node.dtype).newbyteorder("=")
    if dtype.kind not in "uif":
        raise ScanError(f"{folder}: holds {dtype}, expected numbers")
    piece = math.prod(node.chunks) * dtype.itemsize
    if piece > MOST_CHUNK:  # one voxel is read by unpacking all of it
        raise ScanError(
            f"{folder}: is stored in pieces of {piece / 1e9:.1f} GB, of which one is read for every voxel: "
            "write it in smaller chunks"
        )
    return ZarrArray(folder, tuple(int(n) for n in node.shape), dtype)


def _multiscale(place: Path, multiscale: Mapping[str, Any], attributes: Mapping[str, Any]) -> Found:
    with reading(str(place)):
        dataset = multiscale["datasets"][0]
        folder = place / str(dataset["path"])
        array = _zarr_array(folder, zarr.open_array(str(folder), mode="r"))
        axes = [axis if isinstance(axis, dict) else {"name": axis} for axis in multiscale.get("axes", [])]
        scale = next((t["scale"] for t in dataset.get("coordinateTransformations", []) if "scale" in t), None)
        lengths = [length_um(str(axis.get("unit", ""))) for axis in axes]
    steps = None
    if scale is not None and len(scale) == len(lengths) == len(array.shape):
        steps = tuple(None if unit is None else float(s) * unit for s, unit in zip(scale, lengths, strict=True))
    letters = axis_letters([str(axis["name"]) for axis in axes])
    unit = value_unit(str(attributes.get("xct", {}).get("unit", "")))
    return Found(
        array, (place,), "OME-Zarr", letters if letters and len(letters) == len(array.shape) else None, steps, unit
    )
