"""What readers open: an image with its coordinates, on a disk or behind an address."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from xct_pipeline.store.derived import DerivedArray, image_attributes, open_array, open_remote, with_ome
from xct_pipeline.store.files import StoreError
from xct_pipeline.store.image import SPATIAL
from xct_pipeline.store.remote import is_remote, remote_attributes
from xct_pipeline.store.stored_array import StoredArray

if TYPE_CHECKING:
    import xarray as xr


def open_image(folder: str | os.PathLike[str], level: int = 0) -> xr.DataArray:
    """Open one level of an OME-Zarr image as a dask-backed xarray.DataArray.

    Parameters
    ----------
    folder : path
        Of the image's group; an address such as https:// or s3:// is read over the network.
    level : int
        0 is the full resolution.

    Returns
    -------
    xarray.DataArray
        dims from the axes, coordinates of voxel centres in micrometre (pixels where unknown), along t the times in
        seconds and the names of the scans (``scan``), where they are kept; ``attrs["units"]``.
        An image that is derived from the registered series is computed from it, block by block.
        Its blocks are whole shards. A damaged chunk raises when it is computed.

    Raises
    ------
    StoreError
        No such image or level.
    """
    if is_remote(folder):
        url = os.fspath(folder).rstrip("/")
        attributes = with_ome(remote_attributes(url))
        path = _dataset_of(attributes, level, url)["path"]
        return _labelled(attributes, open_remote(url, path, attributes), level, url.rsplit("/", 1)[-1])
    folder = Path(folder)
    attributes = image_attributes(folder)
    dataset = _dataset_of(attributes, level, str(folder))
    return _labelled(attributes, open_array(folder / dataset["path"]), level, folder.name)


def _dataset_of(attributes: Mapping[str, Any], level: int, where: str) -> dict[str, Any]:
    """Return what the attributes of an image say of one level.

    Raises
    ------
    StoreError
        It is no image, or has no such level.
    """
    if "ome" not in attributes or "multiscales" not in attributes["ome"]:
        raise StoreError(f"{where} is no OME-Zarr image")
    multiscale = attributes["ome"]["multiscales"][0]
    if not 0 <= level < len(multiscale["datasets"]):
        raise StoreError(f"{where} has levels 0 to {len(multiscale['datasets']) - 1}, not {level}")
    return dict(multiscale["datasets"][level])


def _labelled(attributes: Mapping[str, Any], array: StoredArray | DerivedArray, level: int, name: str) -> xr.DataArray:
    """Return an array of an image with its coordinates, units and scans; see `open_image`."""
    import dask.array as da
    import xarray as xr

    multiscale = attributes["ome"]["multiscales"][0]
    dataset = multiscale["datasets"][level]
    scale = dataset["coordinateTransformations"][0]["scale"]
    shift = [0.0] * len(scale)
    for transform in dataset["coordinateTransformations"][1:]:
        shift = transform["translation"]
    axes = [axis["name"] for axis in multiscale["axes"]]
    coords: dict[str, npt.NDArray[np.float64]] = {
        axis: np.arange(n) * s + o for axis, n, s, o in zip(axes, array.shape, scale, shift, strict=True)
    }
    xct = attributes.get("xct", {})
    if "time_s" in xct and "t" in coords:
        coords["t"] = np.asarray(xct["time_s"], dtype=float)
    scans = xct.get("scans", ()) if "t" in coords else ()
    lazy = da.from_array(array, chunks=array.shards or array.chunks, name=False)
    extra = {
        key: value
        for key, value in xct.items()
        if key not in ("identity", "layout", "unit", "arrays", "scans", "derived")
    }
    image = xr.DataArray(lazy, dims=axes, coords=coords, name=name, attrs={"units": xct.get("unit", ""), **extra})
    for axis in multiscale["axes"]:
        if axis["name"] in SPATIAL and "unit" in axis:
            image[axis["name"]].attrs["units"] = "µm"
        elif axis["name"] == "t" and "time_s" in xct:
            image["t"].attrs["units"] = "s"
    return with_scans(image, scans)


def with_scans(image: xr.DataArray, scans: Sequence[str]) -> xr.DataArray:
    """Name the planes along t, where there is a name for each."""
    if not scans or len(scans) != image.sizes.get("t"):
        return image
    return image.assign_coords(scan=("t", [str(name) for name in scans]))
