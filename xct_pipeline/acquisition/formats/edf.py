"""EDF: images without angles, which `open_tiff_scan` puts together; flats and darks of any scan. Read through fabio."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xct_pipeline.acquisition.formats.common import Format, Kind, Run
from xct_pipeline.acquisition.images import edf_frames, is_edf
from xct_pipeline.scan import Scan, ScanError


def _recognise(path: Path, entry: str | None, kind: Kind | None) -> bool:
    del entry, kind
    return path.is_file() and is_edf(path)


def _open(path: Path, entry: str | None, *, pixel_size_um: float | None, energy_keV: float | None) -> Scan:
    del entry, pixel_size_um, energy_keV
    raise ScanError(f"{path}: EDF images carry no angles: describe them under [[acquisition.tiff]]")


def _references(paths: Sequence[Path], entry: str | None, kind: Kind) -> Run:
    del entry, kind
    return Run(edf_frames(paths), None, list(paths))


FORMAT = Format("EDF", -1, (), _recognise, _open, _references, together=True)
