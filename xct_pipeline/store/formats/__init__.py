"""Formats that images of a store are exported in: one file each, which defines ``FORMAT``."""

from __future__ import annotations

from collections.abc import Mapping

from xct_pipeline.store.formats import hdf5, imagej, metaimage, nexus, npy, nrrd, tiff, vtk
from xct_pipeline.store.formats.common import Exported, Format

__all__ = ["FORMATS", "Exported", "Format"]

FORMATS: Mapping[str, Format] = {
    module.FORMAT.name: module.FORMAT for module in (tiff, imagej, hdf5, nexus, vtk, nrrd, metaimage, npy)
}
"""All formats by their names."""
