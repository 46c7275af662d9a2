"""HDF5 files with one dataset that can be images: flats or darks, as no angles are with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from xct_pipeline.acquisition.formats.common import Format, Kind, Run
from xct_pipeline.acquisition.hdf5 import Hdf5Frames, counts_dtype, open_hdf5, reading, require_frame, stack
from xct_pipeline.acquisition.storage import require_complete
from xct_pipeline.scan import ArrayFrames, Scan, ScanError


def _recognise(path: Path, entry: str | None, kind: Kind | None) -> bool:
    del path, entry
    return kind is not None


def _open(path: Path, entry: str | None, *, pixel_size_um: float | None, energy_keV: float | None) -> Scan:
    del entry, pixel_size_um, energy_keV
    raise ScanError(f"{path}: images without angles are no scan")


def _references(paths: Sequence[Path], entry: str | None, kind: Kind) -> Run:
    """Take the one dataset that can be images."""
    del entry, kind
    path = paths[0]
    found: list[str] = []

    def visit(name: str, node: Any) -> None:
        images = isinstance(node, h5py.Dataset) and node.ndim in (2, 3) and node.dtype.kind in "uif"
        if images and node.size and min(node.shape[-2:]) > 1:
            found.append(f"/{name}")

    with open_hdf5(path) as file, reading(str(path)):
        file.visititems(visit)
        if len(found) != 1:
            what = f"several datasets that may be images ({', '.join(found[:8])})" if found else "no images"
            raise ScanError(f"{path}: holds {what}: expected an NXtomo or Data Exchange file, or one dataset")
        dataset = file[found[0]]
        storage = require_complete(dataset)
        files = [path, *sorted(storage.files - {path})]
        if dataset.ndim == 2:
            require_frame(dataset, f"{path}: {found[0]}")
            return Run(ArrayFrames(np.asarray(dataset[()])[None]), None, files)
        n, height, width = stack(dataset, f"{path}: {found[0]}")
        dtype = counts_dtype(dataset.dtype)
        frames = Hdf5Frames(path, found[0], np.arange(n), height, width, dtype, storage.chunk_rows, tuple(files[1:]))
        return Run(frames, None, files)


FORMAT = Format("plain HDF5", 3, (), _recognise, _open, _references)
