"""A small NXtomo file with everything a reader has to know, of which tests change one thing at a time."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np

KEY = [2, 1, 1, 0, 0, 0, 0, 1, 0, 0, 3, 0, 0, 0, 0, 1, 2]  # flats and darks before, after and between
PROJECTIONS = 10


def frames_of(key: list[int], rows: int = 6, columns: int = 8) -> np.ndarray:
    """Counts in which frame, row and column can be told: darks near 10, projections near 500, flats near 1000."""
    level = np.array([{0: 500, 1: 1000, 2: 10, 3: 700, -1: 300}[k] for k in key])
    frame, row, column = np.ogrid[: len(key), :rows, :columns]
    return (level[:, None, None] + frame + 20 * row / rows + column / columns).astype(np.uint16)


def write_nxtomo(path: Path, key: list[int] | None = None, entry: str = "entry", **changes: Any) -> Path:
    """Write an NXtomo file; `changes` replace datasets by path (None leaves them out), with ``path@units`` too."""
    key = KEY if key is None else key
    angles = np.zeros(len(key))
    projection = np.array(key) == 0
    angles[projection] = np.linspace(0, 180, projection.sum())
    content: dict[str, Any] = {
        "definition": "NXtomo",
        "title": "a scan",
        "start_time": "2024-05-01T10:00:00",
        "end_time": "2024-05-01T10:10:00",
        "instrument/detector/data": frames_of(key),
        "instrument/detector/image_key": np.array(key),
        "instrument/detector/x_pixel_size": 6.5,
        "instrument/detector/x_pixel_size@units": "um",
        "instrument/detector/distance": 0.25,
        "instrument/detector/distance@units": "m",
        "instrument/source/energy": 6.0,
        "instrument/source/energy@units": "GeV",
        "instrument/beam/incident_energy": 22000.0,
        "instrument/beam/incident_energy@units": "eV",
        "sample/name": "cell",
        "sample/rotation_angle": angles,
        "sample/rotation_angle@units": "deg",
    }
    content |= changes
    with h5py.File(path, "a") as file:
        group = file.create_group(entry)
        group.attrs["NX_class"] = "NXentry"
        for name, value in content.items():
            if value is None:
                continue
            address, _, attribute = name.partition("@")
            if attribute:
                with contextlib.suppress(KeyError):  # left out, or a link that leads nowhere
                    group[address].attrs[attribute] = value
            elif callable(value):
                value(group, address)
            else:
                group[address] = value
        for name, kind in (("instrument", "NXinstrument"), ("instrument/detector", "NXdetector")):
            with contextlib.suppress(KeyError):
                group[name].attrs["NX_class"] = kind
    return path
