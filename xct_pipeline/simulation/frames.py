"""The frames of one scan of the simulated cell, in the order of acquisition."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from xct_pipeline.simulation.bands import Bands
from xct_pipeline.simulation.beamline import Detector, Placement, SimulationSettings, detect
from xct_pipeline.simulation.cell import Cell, Change, attenuation_bodies, cell_materials
from xct_pipeline.simulation.imperfections import drifted_gains
from xct_pipeline.simulation.phantom import Array, Body, project, transform

BLOCK = 16  # frames made together; part of what a seed means
DARK, FLAT, PROJECTION = 2, 1, 0  # image_key


def _drift(settings: SimulationSettings, rng: np.random.Generator) -> Array:
    """Return the relative intensity at each projection: a level of the scan and a random walk."""
    walk = np.cumsum(rng.normal(size=settings.angles)) / np.sqrt(settings.angles)
    return np.asarray(1.0 + settings.beam_drift * np.clip(walk + 0.5 * rng.normal(), -2.0, 2.0))


def make_frames(
    settings: SimulationSettings,
    cell: Cell,
    changes: list[Change],
    placement: Placement,
    detector: Detector,
    rng: np.random.Generator,
    risen: float = 0.0,
    bands: Bands | None = None,
    number: int = 0,
) -> Iterator[tuple[int, npt.NDArray[np.uint16]]]:
    """Make all frames of a scan, the series' `number`, in the order of acquisition, as (image_key, block).

    `risen` as in `detect`.
    """
    drift = _drift(settings, rng)
    across = np.linspace(-1.0, 1.0, settings.columns)

    def light(share: Array, time: Array, moments: slice) -> Array:
        profile = 1.0 + settings.profile_drift * time[:, None, None] * across
        even = np.asarray(settings.photons * share[:, None, None] * profile * detector.beam)
        return even if bands is None else even * bands.light(number, moments)

    flats, dark = np.ones(settings.flats), np.zeros((settings.darks, settings.rows, settings.columns))
    yield DARK, detect(dark, detector, settings, rng)
    if takes_flats(settings, number):
        first = light(drift[0] * flats, 0.0 * flats, slice(0, 1))
        yield FLAT, detect(first, detector, settings, rng, risen=risen)
    beam = _beam(settings, cell, changes, placement)
    gains, time = drifted_gains(settings, rng), np.linspace(0.0, 1.0, settings.angles)
    for start in range(0, settings.angles, BLOCK):
        block = slice(start, min(start + BLOCK, settings.angles))
        arriving = light(drift[block], time[block], slice(block.start + 1, block.stop + 1))
        arriving = arriving * gains * _transmission(settings, beam, placement, block)
        yield PROJECTION, detect(arriving, detector, settings, rng, projections=True, risen=risen)
    if takes_flats(settings, number):
        last = light(drift[-1] * flats, flats, slice(-1, None))
        yield FLAT, detect(last, detector, settings, rng, risen=risen)


def takes_flats(settings: SimulationSettings, number: int) -> bool:
    """Tell whether flats are taken with a scan of the series."""
    return number == 0 or not settings.flats_of_first


def drift_path(settings: SimulationSettings) -> Array:
    """Return by how many voxels the cell has moved at each projection, along rows and columns alike."""
    time = np.linspace(0.0, 1.0, settings.angles)
    return np.asarray(settings.drift_voxels * (1.0 - np.exp(-3.0 * time)) / (1.0 - np.exp(-3.0)))


def _beam(
    settings: SimulationSettings, cell: Cell, changes: list[Change], placement: Placement
) -> list[tuple[float, list[Body]]]:
    """Return the share of each energy of the spectrum and the cell that it sees, moved as it is in the scan."""
    pivot = np.array([0.5 * (settings.rows - 1), 0.0, 0.0])
    offset = pivot - placement.rotation @ pivot + placement.shift
    seen = []
    for energy, share in settings.spectrum:
        bodies = attenuation_bodies(cell, changes, None if energy == settings.energy_keV else cell_materials(energy))
        seen.append((share, [transform(body, placement.rotation, offset) for body in bodies]))
    return seen


def _transmission(
    settings: SimulationSettings, beam: list[tuple[float, list[Body]]], placement: Placement, block: slice
) -> Array:
    """Return the share of the light that arrives (angle, row, column), all energies taken together."""
    total = None
    for share, bodies in beam:
        part = share * np.exp(-_integrals(settings, bodies, placement, block))
        total = part if total is None else total + part
    return np.asarray(total)


def _integrals(settings: SimulationSettings, bodies: Sequence[Body], placement: Placement, block: slice) -> Array:
    """Return the line integrals of some projections."""

    def view(bodies: Sequence[Body], angles: Array, center: float) -> Array:
        return project(
            bodies,
            angles,
            rows=settings.rows,
            columns=settings.columns,
            center=center,
            pixel_size_um=settings.pixel_size_um,
            supersample=settings.supersample,
            average="intensity" if settings.average_intensity else "integral",
            axis_tilt=float(np.radians(settings.axis_tilt_deg)),
            axis_lean=float(np.radians(settings.axis_lean_deg)),
        )

    angles = placement.angles[block]
    if settings.drift_voxels == 0:
        return view(bodies, angles, placement.center)
    views = []
    for angle, moved in zip(angles, drift_path(settings)[block], strict=True):
        lifted = [transform(body, np.eye(3), np.array([moved, 0.0, 0.0])) for body in bodies]
        views.append(view(lifted, np.array([angle]), placement.center + float(moved)))
    return np.concatenate(views)
