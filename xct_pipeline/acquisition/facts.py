"""Lengths, energies, times and names that a NeXus or Data Exchange file states beside its frames."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

import h5py
import numpy as np

from xct_pipeline.acquisition.hdf5 import attribute, child, numbers, reading, resolve, text_of
from xct_pipeline.acquisition.units import convert
from xct_pipeline.scan import ScanError

HC_KEV_UM = 1.239841984332e-3  # photon energy times wavelength
_HINT = {"micrometer": "pixel_size_um", "keV": "energy_keV"}


def optional(group: h5py.Group, path: str) -> h5py.Dataset | None:
    """A dataset that a scan can do without; links that lead nowhere are reported elsewhere."""
    try:
        found = resolve(group, path)
    except ScanError:
        return None
    return found if isinstance(found, h5py.Dataset) else None


def group(parent: h5py.Group, path: str) -> h5py.Group | None:
    """A group that a scan can do without."""
    try:
        found = resolve(parent, path)
    except ScanError:
        return None
    return found if isinstance(found, h5py.Group) else None


def text(group: h5py.Group, path: str) -> str:
    """A string that a scan can do without."""
    try:
        return text_of(optional(group, path))
    except Exception:
        return ""


def quantity(dataset: h5py.Dataset, to: str, otherwise: str, where: str, warnings: list[str]) -> float | None:
    """One number with its unit; None, with a warning, where it is not one finite positive number.

    Raises
    ------
    ScanError
        The unit is unknown. The message says which setting replaces the dataset.
    """
    where = f"{where}: {dataset.name}"
    try:
        values = numbers(dataset, where)
    except ScanError as error:
        warnings.append(f"{error}: left out")
        return None
    if not len(values) or not np.all(np.isfinite(values)) or np.any(values <= 0):
        warnings.append(f"{dataset.name} is not a positive number: left out")
        return None
    if np.ptp(values) > 1e-3 * np.median(values):
        warnings.append(f"{dataset.name} varies from {values.min():g} to {values.max():g}: left out")
        return None
    unit = attribute(dataset, "units")
    try:
        result = float(convert(np.array(np.median(values)), unit, to, otherwise=otherwise, where=where))
    except ScanError as error:
        raise ScanError(f"{error}, or set {_HINT[to]} under [acquisition]") from None
    if not unit:
        warnings.append(f"{dataset.name} states no unit: taken as {values[0]:g} {otherwise}")
    return result


def pixel_size(
    entry: h5py.Group, detector: h5py.Group, where: str, warnings: list[str], facts: dict[str, Any]
) -> float | None:
    """Pixel in the sample plane, micrometre: as stated for the sample, else detector pixel / magnification."""
    choices = [
        (entry, "sample/x_pixel_size", 1.0),
        (detector, "x_magnified_pixel_size", 1.0),
        (detector, "x_pixel_size", magnification(detector)),
    ]
    for group, name, factor in choices:
        dataset = optional(group, name)
        if dataset is None:
            continue
        size = quantity(dataset, "micrometer", "meter", where, warnings)
        if size is None:
            continue
        size /= factor
        if not 1e-4 < size < 1e4:
            warnings.append(f"{dataset.name} would be a pixel of {size:g} um: left out, set pixel_size_um")
            continue
        other = optional(group, name.replace("x_", "y_"))
        note_height(None if other is None else quantity(other, "micrometer", "meter", where, []), factor, size, facts)
        facts["pixel_size_from"] = dataset.name + (f" / {factor:g}" if factor != 1 else "")
        return size
    return None


def note_height(height: float | None, factor: float, width: float, facts: dict[str, Any]) -> None:
    """Note the height of a pixel among the facts where it is not the width; both in micrometre, width in the sample."""
    if height is not None and abs(height / factor - width) > 1e-3 * width:
        facts["pixel_height_um"] = height / factor


def exposures(file: h5py.Group, detector: h5py.Group, counts: dict[str, int]) -> dict[str, Any]:
    """Exposure of every frame by its kind, seconds, where a Data Exchange file states one for all or for each.

    Parameters
    ----------
    file : h5py.File
    detector : h5py.Group or None
    counts : dict
        Frames of each kind: ``projections``, ``flats``, ``darks``.
    """
    flat = (
        (detector, "exposure_time_flat"),
        (file, "process/acquisition/flat_fields/flat_exposure_time"),
        (detector, "brightfield_exposure_time"),
    )
    dark = ((detector, "exposure_time_dark"), (file, "process/acquisition/dark_fields/dark_exposure_time"))
    own = {"projections": (), "flats": flat, "darks": dark}
    found = {}
    for kind, count in counts.items():
        for holder, name in (*own[kind], (detector, "exposure_time"), (detector, "count_time")):
            values = _times(holder, name)
            if values is not None and values.size in (1, count):
                found[kind] = np.broadcast_to(values, count).copy()
                break
    return found if "projections" in found else {}


def _times(holder: h5py.Group, name: str) -> Any:
    dataset = optional(holder, name)
    if dataset is None:
        return None
    try:
        values = numbers(dataset, name)
    except ScanError:
        return None
    return values if values.size and np.all(np.isfinite(values)) and np.all(values > 0) else None


def pixel_mask(holder: h5py.Group, shape: tuple[int, int], warnings: list[str]) -> Any:
    """Pixels (row, column) that the file says have no value: any bit of a ``pixel_mask``; None where it has none."""
    dataset = optional(holder, "pixel_mask")
    if dataset is None:
        return None
    if dataset.dtype.kind not in "uib" or dataset.size != shape[0] * shape[1]:
        warnings.append(f"{dataset.name} is {dataset.dtype} {dataset.shape}, no mask of {shape} pixels: left out")
        return None
    with reading(f"{dataset.file.filename}: {dataset.name}"):
        mask = np.asarray(dataset[()]).reshape(shape).astype(bool)
    return mask if mask.any() else None


def magnification(holder: h5py.Group) -> float:
    """Of a detector or an objective: a number, or text such as ``10x``; 1 where it is neither."""
    # real_x_pixel_size beside x_pixel_size means that the latter is in the sample plane already
    if optional(holder, "real_x_pixel_size") is not None:
        return 1.0
    try:
        value = float(text(holder, "magnification").lower().strip("x "))
    except ValueError:
        return 1.0
    return value if 0 < value < math.inf else 1.0


def photon_energy(entry: h5py.Group, where: str, warnings: list[str], facts: dict[str, Any]) -> float | None:
    """Photon energy in keV from the beam or the monochromator, by energy or wavelength.

    The energy of the source is that of the electrons in the ring, and is never read.
    """
    beams, monochromators = _by_class(entry)
    names = [(group, "incident_energy") for group in beams]
    names += [(group, "energy") for group in monochromators]
    names += [(group, "incident_wavelength") for group in beams]
    names += [(group, "wavelength") for group in monochromators]
    for group, name in names:
        dataset = optional(group, name)
        if dataset is None:
            continue
        if name.endswith("energy"):
            otherwise = "keV" if _largest(dataset) < 1000 else "eV"  # nobody images with 1 MeV photons
            energy = quantity(dataset, "keV", otherwise, where, warnings)
        else:
            wavelength = quantity(dataset, "micrometer", "angstrom", where, warnings)
            energy = HC_KEV_UM / wavelength if wavelength else None
        if energy is None:
            continue
        if not 0.1 < energy < 1000:
            warnings.append(f"{dataset.name} would be photons of {energy:g} keV: left out, set energy_keV")
            continue
        facts["energy_from"] = dataset.name
        return energy
    return None


def _largest(dataset: h5py.Dataset) -> float:
    try:
        return float(np.nanmax(numbers(dataset, ""), initial=0.0))
    except ScanError:
        return 0.0


def _by_class(entry: h5py.Group) -> tuple[list[Any], list[Any]]:
    """Groups that describe the beam, and the monochromator, by NX_class or by name."""
    beams, monochromators = [], []
    for path in ("instrument", "", "sample", "measurement/instrument"):
        try:
            parent = resolve(entry, path) if path else entry
        except ScanError:
            continue
        if not isinstance(parent, h5py.Group):
            continue
        for name in parent:
            group = child(parent, name)
            kind = attribute(group, "NX_class")
            if not isinstance(group, h5py.Group) or kind == "NXsource":
                continue
            if kind == "NXbeam" or name == "beam":
                beams.append(group)
            elif kind == "NXmonochromator" or name == "monochromator":
                monochromators.append(group)
    return beams, monochromators


def detector_facts(
    entry: h5py.Group, detector: h5py.Group, dtype: np.dtype[Any], warnings: list[str]
) -> dict[str, Any]:
    """Fields of a Scan that a file may leave out: distance, saturation, times."""
    distance = None
    for group, name in ((entry, "sample/propagation_distance"), (detector, "distance")):
        dataset = optional(group, name)
        if dataset is None or distance is not None:
            continue
        try:
            micrometre = quantity(dataset, "micrometer", "meter", "", warnings)
        except ScanError as error:
            warnings.append(f"{str(error).split(', or set')[0].lstrip(': ')}: distance left out")
            continue
        distance = None if micrometre is None else micrometre / 1000
    return {
        "distance_mm": distance,
        "saturation": saturation(detector, dtype),
        "start": moment(text(entry, "start_time")),
        "end": moment(text(entry, "end_time")),
    }


def saturation(detector: h5py.Group, dtype: np.dtype[Any]) -> float | None:
    """Counts at which a pixel is full: as stated, by the bits of the converter, or by the integer type."""
    known = float(np.iinfo(dtype).max) if dtype.kind in "ui" else None
    for name in ("saturation_value", "bit_depth_readout"):
        dataset = optional(detector, name)
        if dataset is None:
            continue
        try:
            values = numbers(dataset, "")
        except ScanError:
            continue
        if values.size != 1 or not np.isfinite(values[0]) or values[0] <= 0:
            continue
        stated = float(values[0]) if name == "saturation_value" else 2.0 ** min(float(values[0]), 64) - 1
        if known is None or stated <= known:
            return stated
    return known


def scan_facts_of(entry: h5py.Group, detector: h5py.Group) -> dict[str, Any]:
    """Names and texts worth showing."""
    wanted = {
        "sample": text(entry, "sample/name") or text(entry, "sample/sample_name"),
        "title": text(entry, "title"),
        "instrument": text(entry, "instrument/name"),
        "exposure_s": text(detector, "count_time"),
    }
    return {key: value for key, value in wanted.items() if value}


def moment(written: str) -> datetime | None:
    """A time as files write it (ISO 8601, or ``Sat Oct 15 13:49:39 2022``); None where it is neither."""
    written = written.strip().strip("\x00")
    try:
        return datetime.fromisoformat(written)
    except ValueError:
        pass
    for pattern in ("%a %b %d %H:%M:%S %Y", "%Y-%m-%d %H:%M:%S%z", "%Y-%m-%dT%H:%M:%S%z"):
        try:
            return datetime.strptime(written, pattern)
        except ValueError:
            continue
    return None
