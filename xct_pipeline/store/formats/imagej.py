"""One TIFF for all scans of an image: an ImageJ hyperstack with spacing and time; OME-TIFF where ImageJ's cannot be."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xct_pipeline.store.formats.common import Exported, Format

LARGEST = 2**32 - 2**25  # bytes of a TIFF whose places are 32 bits wide
TYPES = ("uint8", "uint16", "float32")  # that ImageJ knows


def _write(target: Path, images: Sequence[Exported]) -> None:
    import tifffile

    first = images[0]
    axes = ("T" if len(images) > 1 else "") + first.axes.upper()
    shape = (*((len(images),) if len(images) > 1 else ()), *first.shape)
    nbytes = sum(image.nbytes for image in images)
    times = [image.time_s for image in images]
    interval = _interval(times)

    def planes() -> Iterator[Any]:
        for image in images:
            yield from image.planes()

    keywords: dict[str, Any] = {"shape": shape, "dtype": first.dtype, "photometric": "minisblack"}
    if first.dtype.name in TYPES and nbytes < LARGEST:
        metadata: dict[str, Any] = {
            "axes": axes,
            "value_unit": first.unit,
            "scans": ", ".join(image.scan for image in images),
        }
        if first.voxel_um is not None:
            keywords["resolution"] = (1 / first.voxel_um,) * 2
            metadata |= {"spacing": first.voxel_um, "unit": "um"}
        if interval is not None:
            metadata |= {"finterval": interval, "tunit": "s"}
        with tifffile.TiffWriter(target, imagej=True) as writer:
            writer.write(planes(), metadata=metadata, **keywords)
        return
    metadata = {"axes": axes, "Name": first.image, "Description": f"values in {first.unit}" if first.unit else ""}
    if first.voxel_um is not None:
        metadata |= {f"PhysicalSize{axis.upper()}": first.voxel_um for axis in first.axes}
        metadata |= {f"PhysicalSize{axis.upper()}Unit": "µm" for axis in first.axes}
    if interval is not None:
        metadata |= {"TimeIncrement": interval, "TimeIncrementUnit": "s"}
    with tifffile.TiffWriter(target, bigtiff=nbytes >= LARGEST, ome=True) as writer:
        writer.write(planes(), metadata=metadata, **keywords)


def _interval(times: Sequence[float | None]) -> float | None:
    """Return the mean interval between scans, which is all that these files have a place for."""
    known = [t for t in times if t is not None and math.isfinite(t)]
    return float(np.ptp(known)) / (len(known) - 1) if len(known) == len(times) > 1 else None


FORMAT = Format("imagej", ".tif", "one hyperstack for all scans, with spacing and time", _write, together=True)
