"""NeXus, application definition NXtomoproc: data with axes, and the process with its parameters."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xct_pipeline.store.formats.common import Exported, Format

if TYPE_CHECKING:
    import h5py


def _write(target: Path, images: Sequence[Exported]) -> None:
    import h5py

    (exported,) = images
    with h5py.File(target, "w") as file:
        file.attrs["NX_class"] = "NXroot"
        file.attrs["default"] = "entry"
        entry = _group(file, "entry", "NXentry", default="data")
        entry["definition"] = "NXtomoproc"
        entry["title"] = f"{exported.image} of {exported.scan}"
        if exported.about.get("start"):
            entry["start_time"] = str(exported.about["start"])
        _describe(entry, exported)
        data = _group(entry, "data", "NXdata", signal="data", axes=list(exported.axes))
        for axis, n, origin in zip(exported.axes, exported.shape, exported.origin_um, strict=True):
            data[axis] = origin + exported.step * np.arange(n)
            data[axis].attrs["units"] = "um" if exported.voxel_um is not None else "pixel"
        if exported.time_s is not None:
            data["time"] = exported.time_s
            data["time"].attrs["units"] = "s"
        values = data.create_dataset("data", shape=exported.shape, dtype=exported.dtype, chunks=exported.by_planes)
        values.attrs["units"] = exported.unit
        values.attrs["transform"], values.attrs["offset"], values.attrs["scaling"] = "none", 0.0, 1.0  # as they stand
        values.attrs["interpretation"] = "scalar" if exported.axes == "zyx" else "image"
        for z, plane in enumerate(exported.planes()):
            values[z if exported.axes == "zyx" else ...] = plane


def _describe(entry: h5py.Group, exported: Exported) -> None:
    """Write instrument, sample and the process that made the image."""
    source = _group(_group(entry, "instrument", "NXinstrument"), "source", "NXsource")
    source["type"], source["name"], source["probe"] = "Synchrotron X-ray Source", "unknown", "x-ray"
    _group(entry, "sample", "NXsample")["name"] = str(exported.about.get("sample") or exported.scan)
    process = _group(entry, "reconstruction", "NXprocess")
    for key in ("program", "version", "date"):
        process[key] = str(exported.about.get(key) or "unknown")
    parameters = _group(process, "parameters", "NXparameters")
    parameters["raw_file"] = ", ".join(exported.about.get("files") or ()) or "unknown"
    parameters["configuration"] = json.dumps(exported.about.get("config") or {})


def _group(parent: h5py.Group, name: str, kind: str, **attributes: str | list[str]) -> h5py.Group:
    group = parent.create_group(name)
    group.attrs["NX_class"] = kind
    for key, value in attributes.items():
        group.attrs[key] = value
    return group


FORMAT = Format("nexus", ".nxs", "NXtomoproc, one file a scan, with axes and provenance", _write)
