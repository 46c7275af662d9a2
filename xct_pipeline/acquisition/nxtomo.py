"""NeXus: NXtomo, and files that hold the same things without saying so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import numpy.typing as npt

from xct_pipeline.acquisition.bounds import radians_without_unit
from xct_pipeline.acquisition.facts import (
    detector_facts,
    moment,
    optional,
    photon_energy,
    pixel_mask,
    pixel_size,
    scan_facts_of,
    text,
)
from xct_pipeline.acquisition.hdf5 import (
    Hdf5Frames,
    attribute,
    child,
    counts_dtype,
    has,
    identity,
    missing_links,
    numbers,
    open_hdf5,
    reading,
    resolve,
    stack,
    text_of,
)
from xct_pipeline.acquisition.storage import require_complete
from xct_pipeline.acquisition.units import convert
from xct_pipeline.scan import Scan, ScanError

PROJECTION, FLAT, DARK, INVALID, RETURN = 0, 1, 2, 3, -1
_ANGLE_NAME = re.compile(r"rot|theta|omega|phi|ang", re.IGNORECASE)


class Place(NamedTuple):
    """Where in a file a scan may be: an entry and the group that holds ``data``."""

    entry: str
    detector: str
    rank: int  # 0 an entry that calls itself NXtomo, 1 a detector with an image_key, 2 a detector with frames


def read_nxtomo(
    path: Path,
    entry: str | None = None,
    *,
    pixel_size_um: float | None = None,
    energy_keV: float | None = None,
    reference: bool = False,
) -> Scan:
    """Open a NeXus file.

    ``image_key`` 0, 1, 2 are projections, flats and darks; 3, and -1 in ``image_key_control`` (return
    frames), are left out. Without an image_key all frames are projections.

    Parameters
    ----------
    path : Path
        The file.
    entry : str, optional
        Path of the entry, or of the detector, where the file holds several scans.
    pixel_size_um, energy_keV : float, optional
        Used instead of what the file states.
    reference : bool
        The file is opened for its flats or darks: angles are not needed, and come back empty.

    Returns
    -------
    Scan
        Not yet checked: it may lack flats, darks or projections.

    Raises
    ------
    ScanError
        With the file, the dataset and what to do.
    """
    with open_hdf5(path) as file, reading(str(path)):
        place = find_place(file, path, entry)
        group, detector = file[place.entry], file[place.detector]
        data = resolve(detector, "data")
        address = f"{place.detector}/data"
        n, height, width = stack(data, f"{path}: {address}")
        assert isinstance(data, h5py.Dataset)
        key, files = _image_key(detector, n, path, place)
        storage = require_complete(data, np.flatnonzero((key >= PROJECTION) & (key < INVALID)))
        elsewhere = tuple(sorted(storage.files - {path}))

        def frames(kind: int) -> Hdf5Frames:
            dtype = counts_dtype(data.dtype)
            index = np.flatnonzero(key == kind)
            return Hdf5Frames(path, address, index, height, width, dtype, storage.chunk_rows, elsewhere)

        before = np.cumsum(key == PROJECTION).astype(np.float64)
        warnings = _missing_warning(file)
        angles = np.zeros(0)
        if not reference:
            angles, angle_files = _angles(file, group, place, key, path, warnings)
            files |= angle_files
        facts = scan_facts_of(group, detector) | {"entry": place.entry, "dataset": address}
        if pixel_size_um is None and not reference:
            pixel_size_um = pixel_size(group, detector, str(path), warnings, facts)
        if energy_keV is None and not reference:
            energy_keV = photon_energy(group, str(path), warnings, facts)
        about = detector_facts(group, detector, data.dtype, warnings)
        outer = file[place.entry.rstrip("/").rpartition("/")[0] or "/"]
        for name in ("start", "end"):  # an entry in another leaves times to that
            about[name] = about[name] or moment(text(outer, f"{name}_time"))
        scan = Scan(
            name=path.stem,
            projections=frames(PROJECTION),
            angles=angles,
            flats=frames(FLAT) if np.any(key == FLAT) else None,
            darks=frames(DARK) if np.any(key == DARK) else None,
            flat_position=before[key == FLAT],
            dark_position=before[key == DARK],
            pixel_size_um=pixel_size_um,
            energy_keV=energy_keV,
            files=(path, *sorted((storage.files | files) - {path})),
            warnings=tuple(warnings),
            metadata=facts,
            exposure_s=_exposures(detector, key),
            pixel_mask=pixel_mask(detector, (height, width), warnings),
            **about,
        )
    return scan


def _exposures(detector: Any, key: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.float64]]:
    """Exposure of every frame by its kind, where the file has one for all or for each."""
    for name in ("count_time", "exposure_time", "frame_time"):
        dataset = optional(detector, name)
        if dataset is None or dataset.size not in (1, len(key)):
            continue
        try:
            values = numbers(dataset, name)
        except ScanError:
            continue
        if np.all(np.isfinite(values)) and np.all(values > 0):
            kinds = {"projections": PROJECTION, "flats": FLAT, "darks": DARK}
            values = np.broadcast_to(values, len(key))
            return {kind: values[key == number] for kind, number in kinds.items()}
    return {}


def find_place(file: h5py.File, path: Path, entry: str | None) -> Place:
    """Choose the one scan of a file.

    Entries that call themselves NXtomo come before detectors with an image_key, and those before
    detectors that only hold frames; of the latter two, those whose data are missing are passed over
    where another is whole.

    Raises
    ------
    ScanError
        None, or several that are equally good.
    """
    choices = places(file)
    if entry is not None:
        chosen = "/" + entry.strip("/")
        choices = [p for p in choices if chosen in (p.entry, p.detector)]
    if not choices:
        what = f"no tomography scan under {entry}" if entry else "no tomography scan in this file"
        lost = "".join(f"; {warning}" for warning in _missing_warning(file))
        raise ScanError(f"{path}: {what}: expected an NXtomo entry, a detector with image_key, or /exchange/data{lost}")
    best = min(p.rank for p in choices)
    problems: list[ScanError] = []
    whole: dict[tuple[str, int], Place] = {}
    for place in (p for p in choices if p.rank == best):
        try:
            data = resolve(file[place.detector], "data")
            if data is None:
                raise ScanError(f"{path}: {place.detector}/data: missing from an entry that says it is NXtomo")
            stack(data, f"{path}: {place.detector}/data")
            whole.setdefault(identity(data), place)
        except ScanError as error:
            problems.append(error)
    if not whole:
        raise problems[0]
    if len(whole) > 1:
        equal = list(whole.values())
        several = len({p.entry for p in equal}) > 1
        names = [p.entry if several else p.detector for p in equal]
        raise ScanError(
            f"{path}: holds {len(equal)} scans ({', '.join(names[:8])}{' ...' * (len(names) > 8)}): "
            f'choose one by writing "{path.name}::{names[0]}"'
        )
    return next(iter(whole.values()))


def _groups(parent: Any) -> Iterator[tuple[str, h5py.Group]]:
    """Groups inside a group; links that lead nowhere are passed over."""
    for name in parent:
        inner = child(parent, name)
        if isinstance(inner, h5py.Group):
            yield name, inner


def places(file: h5py.File) -> list[Place]:
    """Everything in a file that may be a scan."""
    found = []
    entries = [("", file)]
    for name, outer in _groups(file):
        entries.append((f"/{name}", outer))
        for inner, grandchild in _groups(outer):
            if attribute(grandchild, "NX_class") in ("NXentry", "NXsubentry") or has(grandchild, "definition"):
                entries.append((f"/{name}/{inner}", grandchild))
    for address, group in entries:
        definition = ""
        if has(group, "definition"):
            try:
                definition = text_of(child(group, "definition")) or attribute(group, "definition")
            except Exception:
                definition = ""
        defined = "nxtomo" in (definition or attribute(group, "definition")).lower()
        for detector in _detectors(group):
            keyed = has(group[detector], "image_key") or has(group[detector], "image_key_control")
            found.append(Place(address or "/", f"{address}/{detector}", 0 if defined else 1 if keyed else 2))
    return found


def _detectors(entry: h5py.Group) -> list[str]:
    """Groups of an entry that hold frames: detectors of the instrument, else a data group."""
    found = []
    for name, instrument in _groups(entry):
        if name == "instrument" or attribute(instrument, "NX_class") == "NXinstrument":
            for inner, group in _groups(instrument):
                keyed = has(group, "image_key") or attribute(group, "NX_class") == "NXdetector"
                if has(group, "data") and (keyed or inner == "detector"):
                    found.append(f"{name}/{inner}")
    if not found and has(entry, "data"):
        data = child(entry, "data")
        if has(data, "data") and (has(data, "image_key") or has(data, "rotation_angle")):
            found.append("data")
    return found


def _image_key(detector: Any, n: int, path: Path, place: Place) -> tuple[npt.NDArray[np.int64], frozenset[Path]]:
    """One key per frame, with what either dataset calls invalid or a return frame marked invalid."""
    keys: list[npt.NDArray[np.int64]] = []
    files: frozenset[Path] = frozenset()
    for name in ("image_key", "image_key_control"):
        where = f"{path}: {place.detector}/{name}"
        dataset = resolve(detector, name)
        if dataset is None:
            continue
        values = numbers(dataset, where)
        if len(values) != n:
            raise ScanError(f"{where}: has {len(values)} values for {n} frames")
        files |= require_complete(dataset).files
        if not np.all(np.isin(values, (RETURN, PROJECTION, FLAT, DARK, INVALID))):
            strange = values[~np.isin(values, (RETURN, PROJECTION, FLAT, DARK, INVALID))][0]
            raise ScanError(f"{where}: holds {strange:g}; 0 projection, 1 flat, 2 dark, 3 invalid are known")
        keys.append(values.astype(np.int64))
    if not keys:
        return np.zeros(n, dtype=np.int64), files
    key = keys[0].copy()
    for other in keys:
        key[(other == INVALID) | (other == RETURN)] = INVALID
    return key, files


def _angles(
    file: h5py.File, entry: h5py.Group, place: Place, key: npt.NDArray[np.int64], path: Path, warnings: list[str]
) -> tuple[npt.NDArray[np.float64], frozenset[Path]]:
    """Angles of the projections in radians, as recorded."""
    address, dataset = _angle_dataset(file, entry, place, len(key), path)
    where = f"{path}: {address}"
    values = numbers(dataset, where)
    projection = key == PROJECTION
    if len(values) == len(key):
        values = values[projection]
    elif len(values) != projection.sum():
        raise ScanError(
            f"{where}: {len(values)} angles for {len(key)} frames, of which {projection.sum()} are projections"
        )
    files = require_complete(dataset).files
    unit = attribute(dataset, "units")
    if not unit and len(values) and np.ptp(values) < 6.3:
        if radians_without_unit(values):
            warnings.append(f"{address} states no unit: {np.ptp(values):.4g} in all, taken as radians")
            unit = "radian"
        else:
            warnings.append(f"{address} states no unit: {np.ptp(values):.3f} degrees in all, unless they are radians")
    return convert(values, unit, "radian", otherwise="degree", where=where), files


def _angle_dataset(file: h5py.File, entry: h5py.Group, place: Place, n: int, path: Path) -> tuple[str, h5py.Dataset]:
    base = place.entry.rstrip("/")
    for address in (f"{base}/sample/rotation_angle", f"{base}/data/rotation_angle"):
        dataset = resolve(file, address)
        if isinstance(dataset, h5py.Dataset):
            return address, dataset
    dangling: ScanError | None = None
    for address in _angle_candidates(file, entry, base, place):
        try:
            dataset = resolve(file, address)
        except ScanError as error:
            dangling = dangling or error
            continue
        if isinstance(dataset, h5py.Dataset) and dataset.size == n:
            return address, dataset
    if dangling is not None:
        raise dangling
    raise ScanError(f"{path}: {base}/sample/rotation_angle: no rotation angles found for {n} frames")


def _angle_candidates(file: h5py.File, entry: h5py.Group, base: str, place: Place) -> Iterator[str]:
    """Axes of the plots that show the frames, what was read back before what was set; then positioners."""
    frames = identity(resolve(file, f"{place.detector}/data"))
    for name, group in _groups(entry):
        if attribute(group, "NX_class") != "NXdata":
            continue
        signal = child(group, attribute(group, "signal") or "data")
        if not isinstance(signal, h5py.Dataset):
            continue
        if identity(signal) != frames:
            continue
        axes = group.attrs.get("axes", "")
        first = text_of(axes[0] if isinstance(axes, np.ndarray) and axes.size else axes)
        first = first.split(":")[0]
        if _ANGLE_NAME.search(first):
            yield from (f"{base}/{name}/{axis}" for axis in (first.removesuffix("_set"), first) if axis)
    for name, group in _groups(entry):
        if name == "instrument" or attribute(group, "NX_class") == "NXinstrument":
            for inner, positioner in _groups(group):
                if _ANGLE_NAME.search(inner) and has(positioner, "value"):
                    yield f"{base}/{name}/{inner}/value"


def _missing_warning(file: h5py.File) -> list[str]:
    missing = missing_links(file)
    if not missing:
        return []
    count = sum(len(links) for links in missing.values())
    named = "; ".join(f"{target} ({', '.join(links)})" for target, links in missing.items())
    return [f"{count} link{'s' * (count > 1)} to missing targets left out: {named}"]
