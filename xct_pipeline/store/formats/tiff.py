"""TIFF slices: a folder, one image a file, resolution and unit in its tags."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xct_pipeline.store.formats.common import Exported, Format


def _write(target: Path, images: Sequence[Exported]) -> None:
    import tifffile

    (exported,) = images
    target.mkdir()
    scale: dict[str, Any] = {}
    if exported.voxel_um is not None:
        scale = {"resolution": (1e4 / exported.voxel_um,) * 2, "resolutionunit": "CENTIMETER"}
    metadata = {"unit": exported.unit, "voxel_size_um": exported.voxel_um, "time_s": exported.time_s}
    for z, plane in enumerate(exported.planes()):
        tifffile.imwrite(target / f"{exported.name}_{z:05d}.tif", plane, metadata=metadata, **scale)


FORMAT = Format("tiff", "", "a folder of slices for each scan", _write)
