"""Labels that a person painted: a TIFF, a zarr array, an OME-Zarr image, or a labels group that holds one image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


def open_labels(file: Path, key: str) -> Any:
    """Open painted labels.

    Parameters
    ----------
    file : Path
    key : str
        Of the configuration that names the file, for the message.

    Returns
    -------
    array
        Whole numbers, or what slices like an array.

    Raises
    ------
    ValueError
        There is no such file, or it holds no labels.
    """
    if not file.exists():
        raise ValueError(f"no such file ({key})")
    if file.is_file():
        return _open_tiff(file)
    import zarr  # here because that takes half a second

    try:
        node = zarr.open(str(file), mode="r")
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"neither a TIFF nor an OME-Zarr image ({error})") from None
    if isinstance(node, zarr.Array):
        return node
    attributes = dict(node.attrs)
    ome: Any = attributes.get("ome", attributes)
    if "multiscales" in ome:
        return node[ome["multiscales"][0]["datasets"][0]["path"]]
    inner = list(ome.get("labels", []))
    if len(inner) == 1:
        return open_labels(file / inner[0], key)
    raise ValueError(f"holds the labels {', '.join(inner)}: name one of them" if inner else "holds no OME-Zarr image")


def _open_tiff(file: Path) -> Any:
    """Map an uncompressed file into memory, read any other."""
    import tifffile

    try:
        return tifffile.memmap(file, mode="r")
    except ValueError:  # compressed, or scattered over the file
        pass
    except (tifffile.TiffFileError, OSError) as error:
        raise ValueError(f"cannot be read as TIFF ({error})") from None
    try:
        return np.asarray(tifffile.imread(file))
    except (tifffile.TiffFileError, OSError, ValueError) as error:
        raise ValueError(f"cannot be read as TIFF ({error})") from None
