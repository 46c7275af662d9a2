"""APS Data Exchange: files with ``/exchange/data``, or with flats or darks of that format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xct_pipeline.acquisition.dxchange import read_dxchange
from xct_pipeline.acquisition.formats.common import Format, Kind, Run, frames_of_kind
from xct_pipeline.acquisition.hdf5 import has, open_hdf5, reading
from xct_pipeline.scan import Scan

STACKS = {"flat": "data_white", "dark": "data_dark"}


def _recognise(path: Path, entry: str | None, kind: Kind | None) -> bool:
    with open_hdf5(path) as file, reading(str(path)):
        exchange = file.get("exchange")
        if kind is None:
            return entry is None and has(exchange, "data")
        return has(exchange, "data") or has(exchange, STACKS[kind])


def _open(path: Path, entry: str | None, *, pixel_size_um: float | None, energy_keV: float | None) -> Scan:
    del entry
    return read_dxchange(path, pixel_size_um=pixel_size_um, energy_keV=energy_keV)


def _references(paths: Sequence[Path], entry: str | None, kind: Kind) -> Run:
    del entry
    return frames_of_kind(paths[0], read_dxchange(paths[0], reference=True), kind)


FORMAT = Format("Data Exchange", 1, (".h5", ".hdf", ".hdf5"), _recognise, _open, _references)
