"""APS Data Exchange: ``/exchange/data``, ``data_white``, ``data_dark`` and ``theta``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from xct_pipeline.acquisition import facts
from xct_pipeline.acquisition.bounds import radians_without_unit
from xct_pipeline.acquisition.hdf5 import (
    Hdf5Frames,
    attribute,
    counts_dtype,
    numbers,
    open_hdf5,
    reading,
    resolve,
    stack,
)
from xct_pipeline.acquisition.storage import require_complete
from xct_pipeline.acquisition.units import convert
from xct_pipeline.scan import Scan, ScanError


def read_dxchange(
    path: Path, *, pixel_size_um: float | None = None, energy_keV: float | None = None, reference: bool = False
) -> Scan:
    """Open a Data Exchange file.

    Flats and darks are taken to lie before the projections, unless
    ``/process/acquisition/flat_fields/flat_field_mode`` (``dark_fields/dark_field_mode``) says ``End`` or
    ``Both``.

    Parameters
    ----------
    path : Path
        The file.
    pixel_size_um, energy_keV : float, optional
        Used instead of what the file states.
    reference : bool
        The file is opened for its flats or darks: angles are not needed, and come back empty.

    Returns
    -------
    Scan
        Not yet checked: it may lack flats or darks.

    Raises
    ------
    ScanError
        With the file, the dataset and what to do.
    """
    with open_hdf5(path) as file, reading(str(path)):
        projections, files = _frames(file, path, "data")
        if projections is None:
            raise ScanError(f"{path}: /exchange/data: missing")
        flats, flat_files = _frames(file, path, "data_white")
        darks, dark_files = _frames(file, path, "data_dark")
        files |= flat_files | dark_files
        warnings: list[str] = []
        n = projections.shape[0]
        angles = np.zeros(0)
        if not reference:
            angles, angle_files = _angles(file, path, n, warnings)
            files |= angle_files
        about: dict[str, Any] = {"dataset": "/exchange/data"}
        about |= {"sample": facts.text(file, "measurement/sample/name")}
        about |= {"title": facts.text(file, "exchange/title")}
        if pixel_size_um is None and not reference:
            pixel_size_um = _pixel_size(file, path, warnings, about)
        if energy_keV is None and not reference:
            energy_keV = facts.photon_energy(file, str(path), warnings, about)
        detector = facts.group(file, "measurement/instrument/detector")
        stacks = {"projections": projections, "flats": flats, "darks": darks}
        mask = facts.pixel_mask(detector, projections.shape[1:], warnings)
        if mask is None:
            mask = facts.pixel_mask(facts.group(file, "exchange"), projections.shape[1:], warnings)
        return Scan(
            name=path.stem,
            projections=projections,
            angles=angles,
            flats=flats,
            darks=darks,
            flat_position=_position(file, "flat", flats, n),
            dark_position=_position(file, "dark", darks, n),
            pixel_size_um=pixel_size_um,
            energy_keV=energy_keV,
            saturation=facts.saturation(detector, projections.dtype),
            start=facts.moment(facts.text(file, "process/acquisition/start_date")),
            end=facts.moment(facts.text(file, "process/acquisition/end_date")),
            files=(path, *sorted(files - {path})),
            exposure_s=facts.exposures(file, detector, {kind: f.shape[0] for kind, f in stacks.items() if f}),
            pixel_mask=mask,
            warnings=tuple(warnings),
            metadata={key: value for key, value in about.items() if value},
        )


def _frames(file: h5py.File, path: Path, name: str) -> tuple[Hdf5Frames | None, frozenset[Path]]:
    address = f"/exchange/{name}"
    where = f"{path}: {address}"
    dataset = resolve(file, address)
    if dataset is None or (name != "data" and getattr(dataset, "size", None) == 0):
        return None, frozenset()
    n, height, width = stack(dataset, where)
    axes = attribute(dataset, "axes").lower()
    if axes.count(":") == 2 and not axes.startswith("theta"):
        raise ScanError(f"{where}: its axes are {axes}, expected theta:y:x: write it as projections")
    storage = require_complete(dataset)
    dtype = counts_dtype(dataset.dtype)
    elsewhere = tuple(sorted(storage.files - {path}))
    frames = Hdf5Frames(path, address, np.arange(n), height, width, dtype, storage.chunk_rows, elsewhere)
    return frames, storage.files


def _angles(
    file: h5py.File, path: Path, n: int, warnings: list[str]
) -> tuple[npt.NDArray[np.float64], frozenset[Path]]:
    where = f"{path}: /exchange/theta"
    dataset = resolve(file, "exchange/theta")
    if dataset is None:
        raise ScanError(f"{where}: missing, so the angles of the {n} projections are unknown")
    values = numbers(dataset, where)
    if len(values) != n:
        raise ScanError(f"{where}: {len(values)} angles for {n} projections")
    files = require_complete(dataset).files
    unit = attribute(dataset, "units")
    if not unit and np.ptp(values) < 6.3:
        if radians_without_unit(values):
            warnings.append(f"/exchange/theta states no unit: {np.ptp(values):.4g} in all, taken as radians")
            unit = "radian"
        else:
            text = f"/exchange/theta states no unit: {np.ptp(values):.3f} degrees in all, unless they are radians"
            warnings.append(text)
    return convert(values, unit, "radian", otherwise="degree", where=where), files


def _position(file: h5py.File, kind: str, frames: Hdf5Frames | None, n: int) -> npt.NDArray[np.float64]:
    count = frames.shape[0] if frames is not None else 0
    position = np.zeros(count)
    mode = facts.text(file, f"process/acquisition/{kind}_fields/{kind}_field_mode").lower()
    if mode == "end":
        position[:] = n
    elif mode == "both":
        position[count // 2 :] = n
    return position


def _pixel_size(file: h5py.File, path: Path, warnings: list[str], about: dict[str, Any]) -> float | None:
    """The objective's resolution is the pixel in the sample plane; else detector pixel / magnification."""
    objective = facts.group(file, "measurement/instrument/detection_system/objective")
    detector = facts.group(file, "measurement/instrument/detector")
    magnification = facts.magnification(objective)
    choices = [
        (objective, "resolution", "micrometer", 1.0),
        (detector, "actual_pixel_size_x", "micrometer", 1.0),
        (detector, "pixel_size_x", "micrometer", magnification),
        (detector, "x_pixel_size", "micrometer", magnification),
    ]
    for group, name, otherwise, factor in choices:
        dataset = facts.optional(group, name)
        if dataset is None:
            continue
        size = facts.quantity(dataset, "micrometer", otherwise, str(path), warnings)
        if size is not None and 1e-4 < size / factor < 1e4:
            about["pixel_size_from"] = dataset.name + (f" / {factor:g}" if factor != 1 else "")
            other = facts.optional(group, re.sub(r"(?<![a-z])x(?![a-z])", "y", name)) if name != "resolution" else None
            height = None if other is None else facts.quantity(other, "micrometer", otherwise, str(path), [])
            facts.note_height(height, factor, size / factor, about)
            return size / factor
    return None
