"""Raw scans of a simulated operando cell, its cycler log and, apart from them, the truth."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from xct_pipeline.outputs import written_whole
from xct_pipeline.simulation.bands import Bands
from xct_pipeline.simulation.beamline import (
    Detector,
    Placement,
    SimulationSettings,
    bands_of,
    generator,
    make_detector,
    place_scans,
)
from xct_pipeline.simulation.cell import (
    FARADAY_C_PER_MOL,
    SODIUM_G_PER_MOL,
    Cell,
    Change,
    build_cell,
    changes_at,
    sodium_bodies,
    sodium_change_mg,
)
from xct_pipeline.simulation.frames import drift_path, make_frames, takes_flats
from xct_pipeline.simulation.phantom import Array, rasterize
from xct_pipeline.simulation.spectra import INTERFACE, contact_of, write_spectrum

__all__ = ["SimulatedSeries", "SimulationSettings", "charge_C", "simulate", "unfinished"]

UNFINISHED = "simulation.unfinished"  # lies in the folder until all is written, and says what is being written
FIRST_START = datetime(2025, 1, 1, 8, 0, tzinfo=UTC)


@dataclass(frozen=True)
class SimulatedSeries:
    """What `simulate` wrote, and the facts of the cell that a configuration needs.

    Attributes
    ----------
    folder : Path
        Holds the rest.
    scans : tuple of Path
        NXtomo files in time order.
    cycler : Path
        CSV with ``time_s, charge_C, voltage_V, current_A``.
    spectra : tuple of Path
        CSV with ``freq/Hz, Re(Z)/Ohm, -Im(Z)/Ohm``, one per scan.
    truth : Path
        Folder of ``truth.json`` and ``truth.npz``, which no stage of the pipeline may read.
    shape : tuple of int
        Volume (z, y, x).
    pixel_size_um, energy_keV : float
        As in the files.
    region_z : tuple of int
        Rows of the anode's interior in the first scan's volume, half-open.
    region_radius : float
        Radius of the anode's interior about the axis, voxels.
    """

    folder: Path
    scans: tuple[Path, ...]
    cycler: Path
    spectra: tuple[Path, ...]
    truth: Path
    shape: tuple[int, int, int]
    pixel_size_um: float
    energy_keV: float
    region_z: tuple[int, int]
    region_radius: float


def unfinished(folder: Path) -> bool:
    """Tell whether a folder holds a series whose writing was stopped; the same call of `simulate` finishes it."""
    return (folder / UNFINISHED).exists()


def simulate(
    folder: str | Path,
    *,
    settings: SimulationSettings | None = None,
    seed: int = 0,
    last: Callable[[SimulatedSeries], object] | None = None,
) -> SimulatedSeries:
    """Write raw scans of an operando cell whose anode is stripped between them, or finish what was stopped.

    Parameters
    ----------
    folder : path
        Made if missing. Gets ``scan_00.nxs`` ..., ``impedance_00.csv`` ..., ``cycler.csv`` and ``truth/``.
    settings : SimulationSettings, optional
        The default is small: 96 rows x 160 columns, 301 angles, three scans.
    seed : int
        The only source of randomness: equal seeds give equal files.
    last : function, optional
        Writes more about the series, before it counts as finished.

    Returns
    -------
    SimulatedSeries
        Paths, and the geometry that a configuration needs.

    Raises
    ------
    ValueError
        Where the folder already holds one of the files, or was begun with other settings.
    """
    settings = settings or SimulationSettings()
    folder = Path(folder)
    scans = tuple(folder / f"scan_{k:02d}.nxs" for k in range(settings.scans))
    spectra = tuple(folder / f"impedance_{k:02d}.csv" for k in range(settings.scans))
    cycler, truth = folder / "cycler.csv", folder / "truth"
    begin = _begin(folder, settings, seed, (*scans, *spectra, cycler, truth))
    cell = build_cell(
        settings.rows,
        settings.columns,
        pixel_size_um=settings.pixel_size_um,
        energy_keV=settings.energy_keV,
        rng=generator(seed, 0),
        voids=settings.voids,
    )
    detector = make_detector(settings, generator(seed, 1))
    placements = place_scans(settings, seed)
    bands = bands_of(settings, seed)
    steps = [changes_at(cell, settings.stripped * k / max(settings.scans - 1, 1)) for k in range(settings.scans)]
    masses = np.array([sodium_change_mg(cell, step) for step in steps])
    charge = charge_C(masses * (1 - settings.uncharged))
    begin()
    for k, path in enumerate(scans):
        if not path.exists():  # what is there was written whole
            _write_scan(path, settings, cell, steps[k], placements[k], detector, generator(seed, 3, k), bands, k)
    _write_cycler(cycler, settings, charge)
    contact = [contact_of(cell, step) for step in steps]
    for k, path in enumerate(spectra):
        write_spectrum(path, contact[k], generator(seed, 4, k))
    _write_truth(truth, settings, seed, cell, steps, masses, charge, placements, detector, contact, bands)
    series = SimulatedSeries(
        folder=folder,
        scans=scans,
        cycler=cycler,
        spectra=spectra,
        truth=truth,
        shape=cell.shape,
        pixel_size_um=settings.pixel_size_um,
        energy_keV=settings.energy_keV,
        region_z=cell.region_z,
        region_radius=cell.region_radius,
    )
    if last is not None:
        last(series)
    (folder / UNFINISHED).unlink()
    return series


def _begin(folder: Path, settings: SimulationSettings, seed: int, files: Sequence[Path]) -> Callable[[], None]:
    """Check that the files may be written, and return what marks the folder as unfinished."""
    notice, text = folder / UNFINISHED, json.dumps({"seed": seed, "settings": asdict(settings)}) + "\n"
    if notice.exists():
        if notice.read_bytes() != text.encode():
            raise ValueError(
                f"{folder} holds a simulation that was stopped, of other settings; go on with those in "
                f"{UNFINISHED}, or delete the folder first"
            )
        return lambda: None
    for path in files:
        if path.exists():
            raise ValueError(f"{path} exists already; choose an empty folder, or delete it first")

    def begin() -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with written_whole(notice) as part:
            part.write_text(text)

    return begin


def charge_C(mass_change_mg: npt.ArrayLike) -> Array:
    """Return the charge that stripping this mass of sodium passes (positive when it leaves), by Faraday's law."""
    lost = 0.0 - np.asarray(mass_change_mg, np.float64)  # not -0.0 where nothing left
    return np.asarray(lost * (1e-3 / SODIUM_G_PER_MOL * FARADAY_C_PER_MOL), np.float64)


def _write_scan(
    path: Path,
    settings: SimulationSettings,
    cell: Cell,
    changes: list[Change],
    placement: Placement,
    detector: Detector,
    rng: np.random.Generator,
    bands: Bands | None,
    number: int,
) -> None:
    """Write one NXtomo file."""
    flats = settings.flats if takes_flats(settings, number) else 0
    total = settings.darks + 2 * flats + settings.angles
    before = settings.darks + flats
    angles = np.degrees(placement.angles)
    start = FIRST_START + timedelta(seconds=number * (settings.scan_seconds + settings.strip_seconds))
    with written_whole(path) as part, h5py.File(part, "w") as file:
        shape = (total, settings.rows, settings.columns)
        data = file.create_dataset("entry/instrument/detector/data", shape, np.uint16)
        data.attrs["interpretation"] = "image"
        keys: list[int] = []
        risen = settings.dark_drift if number == settings.scans - 1 else 0.0
        for key, block in make_frames(settings, cell, changes, placement, detector, rng, risen, bands, number):
            data[len(keys) : len(keys) + len(block)] = block
            keys += [key] * len(block)
        recorded = np.concatenate([np.full(before, angles[0]), angles, np.full(flats, angles[-1])])
        _describe(file, settings, start, np.array(keys, np.int32), recorded, path.stem)


def _describe(
    file: h5py.File,
    settings: SimulationSettings,
    start: datetime,
    keys: npt.NDArray[np.int32],
    angles: Array,
    title: str,
) -> None:
    """Add everything but the frames: classes, keys, angles, lengths, energy and times."""
    classes = {
        "entry": "NXentry",
        "entry/instrument": "NXinstrument",
        "entry/instrument/detector": "NXdetector",
        "entry/instrument/beam": "NXbeam",
        "entry/instrument/source": "NXsource",
        "entry/sample": "NXsample",
        "entry/data": "NXdata",
    }
    for group, name in classes.items():
        file.require_group(group).attrs["NX_class"] = name
    file.attrs["default"] = "entry"
    entry = file["entry"]
    entry.attrs["default"] = "data"
    end = start + timedelta(seconds=settings.scan_seconds)
    for name, text in {
        "definition": "NXtomo",
        "title": title,
        "start_time": start.isoformat(),
        "end_time": end.isoformat(),
        "sample/name": "simulated Na | NASICON | NaK cell",
        "instrument/source/name": "simulation",
        "instrument/source/probe": "x-ray",
    }.items():
        entry[name] = text
    pixel = settings.pixel_size_um
    quantities: dict[str, tuple[Any, str]] = {
        "instrument/detector/x_pixel_size": (pixel, "um"),
        "instrument/detector/y_pixel_size": (pixel, "um"),
        "instrument/detector/distance": (settings.distance_mm, "mm"),
        "instrument/beam/incident_energy": (settings.energy_keV, "keV"),
        "sample/rotation_angle": (angles, "degree"),
    }
    for name, (value, unit) in quantities.items():
        entry.create_dataset(name, data=value).attrs["units"] = unit
    detector = entry["instrument/detector"]
    detector["image_key"] = keys
    detector["image_key_control"] = keys
    entry["data"].attrs["signal"] = "data"
    entry["data/data"] = h5py.SoftLink("/entry/instrument/detector/data")
    entry["data/image_key"] = h5py.SoftLink("/entry/instrument/detector/image_key")
    entry["data/rotation_angle"] = h5py.SoftLink("/entry/sample/rotation_angle")


def _starts(settings: SimulationSettings) -> Array:
    """Return when each scan starts, seconds in the cycler's log."""
    return np.arange(settings.scans, dtype=np.float64) * (settings.scan_seconds + settings.strip_seconds)


def _write_cycler(path: Path, settings: SimulationSettings, charge: Array) -> None:
    """Write a log with constant current between scans and an open circuit during them.

    Where the current is switched there are two rows, before and after, as cyclers write them.
    """
    starts = _starts(settings)
    knots = np.column_stack([starts, starts + settings.scan_seconds]).ravel()
    time = np.sort(np.concatenate([np.setdiff1d(np.arange(0.0, knots[-1], 30.0), knots), knots, knots]))
    after = np.diff(time, prepend=-1.0) == 0
    moment = time + np.where(after, 1e-6, np.where(np.isin(time, knots), -1e-6, 0.0))
    passed = np.interp(time, knots, np.repeat(charge, 2))
    step = np.clip(np.searchsorted(starts, moment, "right") - 1, 0, settings.scans - 1)
    since_start = moment - starts[step]
    stripping = since_start > settings.scan_seconds
    following = charge[np.minimum(step + 1, settings.scans - 1)]
    current = np.where(stripping, (following - charge[step]) / settings.strip_seconds, 0.0)
    depth = passed / charge[-1] if charge[-1] > 0 else np.zeros_like(passed)
    # the overpotential grows as contact is lost, and decays within minutes at open circuit
    active = (charge[-1] > 0) * (0.03 + 0.07 * depth**2)
    memory = np.where(stripping, 1.0 - np.exp(-(since_start - settings.scan_seconds) / 60.0), 0.0)
    resting = np.where(~stripping & (step > 0), np.exp(-since_start / 120.0), 0.0)
    voltage = 0.010 + 0.015 * depth + active * (memory + resting)
    table = np.column_stack([time + settings.log_late_s, passed, voltage, current])
    if settings.log_late_s:  # at rest before and after, so that the log covers all scans all the same
        apart = np.array([2 * abs(settings.log_late_s), 0.0, 0.0, 0.0])
        table = np.concatenate([table[:1] - apart, table, table[-1:] + apart])
        table[[0, -1], 3] = 0.0
    with written_whole(path) as part:
        np.savetxt(part, table, "%.15g", ",", header="time_s,charge_C,voltage_V,current_A", comments="")


def _write_truth(
    folder: Path,
    settings: SimulationSettings,
    seed: int,
    cell: Cell,
    steps: list[list[Change]],
    masses: Array,
    charge: Array,
    placements: list[Placement],
    detector: Detector,
    contact: list[float],
    bands: Bands | None,
) -> None:
    """Write what a pipeline should find: axes, motions, masses, defects; maps of the sodium that left."""
    folder.mkdir(exist_ok=True)
    voxel = settings.pixel_size_um
    density = np.stack([rasterize(sodium_bodies(step), cell.shape) for step in steps])
    areal = density.sum(axis=1, dtype=np.float64) * voxel * 1e-4 * 1e3
    with written_whole(folder / "truth.npz") as part, part.open("wb") as stream:
        np.savez_compressed(stream, density_g_cm3=density, areal_mg_cm2=areal.astype(np.float32))
    facts = {
        "seed": seed,
        "settings": asdict(settings),
        "frame": "z, y, x of the first scan's volume, um from the centre of voxel (0, 0, 0)",
        "shape": cell.shape,
        "voxel_um": voxel,
        "scans": [f"scan_{k:02d}" for k in range(settings.scans)],
        "time_s": (_starts(settings) + 0.5 * settings.scan_seconds).tolist(),
        "center": [placement.center for placement in placements],
        "axis_tilt_deg": settings.axis_tilt_deg,
        "axis_lean_deg": settings.axis_lean_deg,
        "motion": [placement.affine_um(cell.shape, voxel).tolist() for placement in placements],
        "mass_change_mg": masses.tolist(),
        "charge_C": charge.tolist(),
        "contact": contact,
        "interface_ohm": [INTERFACE[0] / share for share in contact],
        "species": "Na",
        "spectrum": settings.spectrum,
        "dark_risen": [settings.dark_drift * (k == settings.scans - 1) for k in range(settings.scans)],
        "region": {"z": cell.region_z, "radius": cell.region_radius},
        "materials": asdict(cell.materials),
        "defective_columns": [
            {"column": column, "kind": kind, "strength": strength} for column, kind, strength in detector.columns
        ],
        "dead_pixels": detector.dead[:, :2].tolist(),
        "drift_voxels": drift_path(settings).tolist(),
        "bands": None if bands is None else bands.truth(),
    }
    with written_whole(folder / "truth.json") as part:
        part.write_text(json.dumps(facts, indent=1) + "\n")
