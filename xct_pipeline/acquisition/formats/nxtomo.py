"""NeXus: NXtomo and files that hold the same things; what opens every HDF5 file that no other format takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xct_pipeline.acquisition.formats.common import Format, Kind, Run, frames_of_kind
from xct_pipeline.acquisition.hdf5 import open_hdf5, reading
from xct_pipeline.acquisition.nxtomo import places, read_nxtomo
from xct_pipeline.scan import Scan


def _recognise(path: Path, entry: str | None, kind: Kind | None) -> bool:
    del entry
    if kind is None:
        return True  # where there is no scan in it, the message says what was looked for
    with open_hdf5(path) as file, reading(str(path)):
        return bool(places(file))


def _open(path: Path, entry: str | None, *, pixel_size_um: float | None, energy_keV: float | None) -> Scan:
    return read_nxtomo(path, entry, pixel_size_um=pixel_size_um, energy_keV=energy_keV)


def _references(paths: Sequence[Path], entry: str | None, kind: Kind) -> Run:
    return frames_of_kind(paths[0], read_nxtomo(paths[0], entry, reference=True), kind)


FORMAT = Format("NXtomo", 2, (".nxs", ".h5", ".hdf", ".hdf5"), _recognise, _open, _references)
