"""TIFF: images without angles, which `open_tiff_scan` puts together; flats and darks of any scan."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xct_pipeline.acquisition.formats.common import Format, Kind, Run
from xct_pipeline.acquisition.tiff_stack import is_tiff, tiff_frames
from xct_pipeline.scan import Scan, ScanError


def _recognise(path: Path, entry: str | None, kind: Kind | None) -> bool:
    del entry
    return (kind is not None or path.is_file()) and is_tiff(path)


def _open(path: Path, entry: str | None, *, pixel_size_um: float | None, energy_keV: float | None) -> Scan:
    del entry, pixel_size_um, energy_keV
    raise ScanError(f"{path}: TIFF images carry no angles: describe them under [[acquisition.tiff]]")


def _references(paths: Sequence[Path], entry: str | None, kind: Kind) -> Run:
    del entry, kind
    frames = tiff_frames(paths)
    return Run(frames, None, list(paths), frames.exposure_s)


FORMAT = Format("TIFF", 0, (), _recognise, _open, _references, together=True)
