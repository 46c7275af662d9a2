"""The beamline that looks at the simulated cell: settings, the axis and motion of each scan, detector, frames.

The photons that reach the detector are drawn first and everything a real detector does to them follows in its
order: beam profile and drift, absorption (intensities averaged over each pixel and over the spectrum), scatter, point
spread, counting, pixel gain, a response that is not linear, columns and pixels that are defective in every scan alike,
dark signal, zingers. Each of these can be switched off by setting its figure to zero.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy

from xct_pipeline.simulation.bands import Bands, make_bands
from xct_pipeline.simulation.cell import Voids
from xct_pipeline.simulation.imperfections import check_imperfections, respond, spectrum_of, with_halo
from xct_pipeline.simulation.phantom import Array, rotation_matrix


@dataclass(frozen=True)
class SimulationSettings:
    """How the cell is scanned; every effect of the beam and the detector is off at 0.

    Attributes
    ----------
    scans : int
        Number of scans; the first is of the pristine cell.
    rows, columns : int
        Detector; the cell is stretched to fill it.
    angles : int
        Projections over 180 degrees.
    endpoint : bool
        Whether 180 degrees is taken as well as 0.
    angle_jitter_deg : float
        Standard deviation of the true and recorded angle about its even place.
    pixel_size_um, energy_keV, distance_mm : float
        Detector pixel in the sample plane, photon energy, sample to detector.
    photons : float
        Photons per pixel of the brightest part of the beam, one count each.
    photon_noise : bool
        Draw counts from Poisson statistics.
    stripped : float
        Share of the sodium that can leave which has left at the last scan (0: nothing changes).
    psf_pixels : float
        Standard deviation of the Gaussian point spread.
    flats, darks : int
        Frames; flats as many before as after the projections, darks before.
    flat_structure : float
        Depth of the beam's profile and, at 0.4 of it, of the pixels' gains.
    profile_drift : float
        Change of the profile across the field between the flats before and after.
    flat_drift : float
        R.m.s. share of the light by which bands along the rows, as of a monochromator, deviate from their mean: they
        move up and down and come and go, during scans and between them.
    flats_of_first : bool
        Take flats with the first scan only.
    beam_drift : float
        Size of the random walk of the intensity during a scan and between scans.
    dark_offset, dark_noise : float
        Counts.
    defective_columns, dead_pixels : int
        The same ones in all scans. Columns are in turn nonlinear and subject to afterglow: flats explain neither.
    defect_strength : float
        Excess of the nonlinear exponent over 1; a third of it is the afterglow's share of the full intensity.
    zinger_fraction : float
        Share of pixels of every frame hit by a stray X-ray.
    center_offset, center_spread : float
        Column of the rotation axis from the detector's middle, pixels, and its largest deviation in a scan.
    axis_tilt_deg : float
        By which the axis leans in the detector's plane.
    axis_lean_deg : float
        By which it leans along the beam.
    shift_voxels, rotation_deg, tilt_deg : float
        Largest motion of the cell between the first and another scan: along each axis, about z, about x and y.
    drift_voxels : float
        By which the cell moves along rows and columns of the detector within each scan, fast at first.
    scan_seconds, strip_seconds : float
        Duration of a scan (no current) and of the stripping between two.
    supersample : int
        Rays per pixel and direction.
    average_intensity : bool
        Average intensities over a pixel as a detector does, or line integrals.
    scatter : float
        Share of the light that comes again as a smooth halo: the light convolved by a Gaussian, added to it. Flats have
        it as well, as from a scintillator; scatter of the sample differs by a factor that air takes out.
    scatter_pixels : float
        Standard deviation of the halo, pixels.
    nonlinearity : float
        By which share the response to the full light exceeds the linear one; less in proportion at less light.
    spectrum_keV : float
        Full width at half maximum of the beam's Gaussian spectrum about `energy_keV`.
    dark_drift : float
        Share of the full light that is added to all frames of the last scan but its darks.
    gain_drift : float
        Standard deviation of what each pixel's gain changes by after the flats, anew in each scan.
    log_late_s : float
        By how much the clock of the cycler's log is behind that of the scans.
    uncharged : float
        Share of the sodium that left which the log has no charge for, as where gas pushes alloy out of the cell.
    voids : {"inside", "interface"}
        Whether sodium leaves off the ceramic, with room for the blur, or from the ceramic on.
    """

    scans: int = 3
    rows: int = 96
    columns: int = 160
    angles: int = 301
    endpoint: bool = True
    angle_jitter_deg: float = 0.0
    pixel_size_um: float = 10.0
    energy_keV: float = 50.0
    distance_mm: float = 100.0
    photons: float = 5e4
    photon_noise: bool = True
    stripped: float = 1.0
    psf_pixels: float = 0.5
    flats: int = 20
    darks: int = 10
    flat_structure: float = 0.05
    profile_drift: float = 0.0
    flat_drift: float = 0.0
    flats_of_first: bool = False
    beam_drift: float = 0.02
    dark_offset: float = 100.0
    dark_noise: float = 2.0
    defective_columns: int = 4
    dead_pixels: int = 12
    defect_strength: float = 0.03
    zinger_fraction: float = 2e-5
    center_offset: float = 1.7
    center_spread: float = 0.5
    axis_tilt_deg: float = 0.0
    axis_lean_deg: float = 0.0
    shift_voxels: float = 2.0
    rotation_deg: float = 0.8
    tilt_deg: float = 0.3
    drift_voxels: float = 0.0
    scan_seconds: float = 600.0
    strip_seconds: float = 3600.0
    supersample: int = 2
    average_intensity: bool = True
    scatter: float = 0.0
    scatter_pixels: float = 20.0
    nonlinearity: float = 0.0
    spectrum_keV: float = 0.0
    dark_drift: float = 0.0
    gain_drift: float = 0.0
    log_late_s: float = 0.0
    uncharged: float = 0.0
    voids: Voids = "inside"

    def __post_init__(self) -> None:
        smallest = {"scans": 1, "rows": 16, "columns": 32, "angles": 3, "flats": 1, "darks": 1, "supersample": 1}
        for name, least in smallest.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least {least}")
        for name in ("pixel_size_um", "energy_keV", "scan_seconds", "strip_seconds"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be positive")
        if not 0 < self.photons <= 6e4:
            raise ValueError(f"photons is {self.photons}; 16-bit counts need it above 0 and at most 60000")
        if not 0 <= self.stripped <= 1:
            raise ValueError(f"stripped is {self.stripped}; it must lie between 0 and 1")
        if not 0 <= self.flat_drift <= 0.1:
            raise ValueError(f"flat_drift is {self.flat_drift}; it must lie between 0 and 0.1")
        if self.defective_columns > self.columns // 8:
            raise ValueError(f"defective_columns is {self.defective_columns}; at most {self.columns // 8} fit")
        check_imperfections(self)

    @property
    def spectrum(self) -> tuple[tuple[float, float], ...]:
        """Energies (keV) of the beam and the share of the photons at each."""
        return spectrum_of(self.energy_keV, self.spectrum_keV)

    def ideal(self) -> SimulationSettings:
        """Return the same scans of the same cell without noise, defects, drift or blur (motion and axis kept)."""
        return replace(
            self,
            angle_jitter_deg=0.0,
            photon_noise=False,
            psf_pixels=0.0,
            flat_structure=0.0,
            profile_drift=0.0,
            flat_drift=0.0,
            beam_drift=0.0,
            dark_noise=0.0,
            defective_columns=0,
            dead_pixels=0,
            zinger_fraction=0.0,
            scatter=0.0,
            nonlinearity=0.0,
            spectrum_keV=0.0,
            dark_drift=0.0,
            gain_drift=0.0,
        )


@dataclass(frozen=True, eq=False)
class Detector:
    """What stays the same from scan to scan: beam profile, gains, dark pattern and defects.

    Attributes
    ----------
    beam, gain, dark : numpy.ndarray
        (row, column): profile of the beam, counts per photon, mean dark counts.
    columns : list of (int, str, float)
        Defective columns: index, ``nonlinear`` (counts go as light to 1 + strength) or ``afterglow`` (projections
        carry that share of the full intensity on top), strength.
    dead : numpy.ndarray of int
        (n, 3): row, column, stuck counts.
    """

    beam: Array
    gain: Array
    dark: Array
    columns: list[tuple[int, str, float]]
    dead: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Placement:
    """How one scan sees the cell: its axis, its angles, and the rigid motion since the first scan."""

    center: float
    angles: Array
    rotation: Array
    shift: Array

    def affine_um(self, shape: tuple[int, int, int], voxel_um: float) -> Array:
        """Return the 3 x 4 map from (z, y, x) um of the first volume to this scan's, origin in voxel (0, 0, 0)."""
        pivot = 0.5 * (np.array(shape, float) - 1.0)
        offset = pivot - self.rotation @ pivot + self.shift
        return np.column_stack([self.rotation, voxel_um * offset])


def make_detector(settings: SimulationSettings, rng: np.random.Generator) -> Detector:
    """Draw the detector and the beam's profile, the same for all scans of a series."""
    shape = (settings.rows, settings.columns)
    row, column = np.meshgrid(np.linspace(-1, 1, shape[0]), np.linspace(-1, 1, shape[1]), indexing="ij")
    bands = scipy.ndimage.gaussian_filter(rng.normal(size=shape), (2.0, 12.0))  # a monochromator's lie along the rows
    bands /= np.abs(bands).max()
    depth = settings.flat_structure
    spots = rng.permutation(shape[0] * shape[1])[: settings.dead_pixels]
    stuck = np.where(np.arange(len(spots)) % 2 == 0, 0.0, 0.5 * settings.photons)
    chosen = 3 + 4 * rng.permutation((settings.columns - 6) // 4)[: settings.defective_columns]
    strength = settings.defect_strength * rng.uniform(0.7, 1.3, len(chosen))
    kinds = ("nonlinear", "afterglow")
    return Detector(
        beam=1.0 - depth * (1.5 * row**2 + column**2 + 0.5 - 0.5 * bands),
        gain=1.0 + 0.4 * depth * np.clip(rng.normal(size=shape), -3, 3),
        dark=settings.dark_offset * (1.0 + 0.02 * rng.normal(size=shape)),
        columns=[
            (int(c), kinds[n % 2], float(s if n % 2 == 0 else s / 3.0))
            for n, (c, s) in enumerate(zip(chosen, strength, strict=True))
        ],
        dead=np.column_stack([*np.unravel_index(spots, shape), stuck]).astype(np.int64),
    )


def detect(
    light: Array,
    detector: Detector,
    settings: SimulationSettings,
    rng: np.random.Generator,
    *,
    projections: bool = False,
    risen: float = 0.0,
) -> npt.NDArray[np.uint16]:
    """Turn light into counts.

    Parameters
    ----------
    light : numpy.ndarray
        (frame, row, column) mean photons before the point spread; 0 for darks.
    detector : Detector
        What the frames have in common.
    settings : SimulationSettings
        Noise figures.
    rng : numpy.random.Generator
        Source of noise.
    projections : bool
        Afterglow is added to projections only, so that flats do not explain it.
    risen : float
        Share of the full light by which the dark signal has risen.

    Returns
    -------
    numpy.ndarray of uint16
        (frame, row, column) counts.
    """
    light = with_halo(light, settings.scatter, settings.scatter_pixels)
    if settings.psf_pixels > 0:
        light = scipy.ndimage.gaussian_filter(light, (0.0, settings.psf_pixels, settings.psf_pixels), mode="nearest")
    signal = (rng.poisson(light) if settings.photon_noise else light) * detector.gain
    signal = respond(signal, settings.photons, settings.nonlinearity)
    for column, kind, strength in detector.columns:
        if kind == "nonlinear":
            signal[:, :, column] = settings.photons * (signal[:, :, column] / settings.photons) ** (1 + strength)
        elif projections:
            signal[:, :, column] += strength * settings.photons
    counts = signal + detector.dark + rng.normal(0.0, settings.dark_noise, signal.shape)
    if risen:
        counts += risen * settings.photons
    rows, columns, stuck = detector.dead.T
    counts[:, rows, columns] = stuck
    hits = rng.poisson(settings.zinger_fraction * counts.size)
    hit = rng.integers(0, counts.size, hits)
    counts.reshape(-1)[hit] += settings.photons * rng.uniform(0.2, 1.0, hits)
    return np.clip(np.rint(counts), 0, 65535).astype(np.uint16)


def generator(seed: int, *stream: int) -> np.random.Generator:
    """Return the random stream of one purpose (and scan)."""
    # one stream per purpose and scan: a scan's noise does not depend on how many there are
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=stream))


def bands_of(settings: SimulationSettings, seed: int) -> Bands | None:
    """Draw the bands of the beam that change with time; None where none do."""
    if settings.flat_drift == 0:
        return None
    shape = (settings.rows, settings.columns)
    return make_bands(
        settings.flat_drift, shape, settings.scans, settings.angles, lambda *scan: generator(seed, 5, *scan)
    )


def place_scans(settings: SimulationSettings, seed: int) -> list[Placement]:
    """Draw the axis, the angles and the motion of each scan; the first is where the cell is at rest."""
    even = np.linspace(0.0, np.pi, settings.angles, endpoint=settings.endpoint)
    placements = []
    for k in range(settings.scans):
        rng = generator(seed, 2, k)
        offset = settings.center_offset + settings.center_spread * rng.uniform(-1.0, 1.0)
        jitter = np.radians(settings.angle_jitter_deg) * rng.normal(size=even.size)
        # at least half the largest motion, so that a registration test has something to find
        share = rng.uniform(0.5, 1.0, 6) * rng.choice([-1.0, 1.0], 6) * (k > 0)
        turn = np.radians([settings.rotation_deg, settings.tilt_deg, settings.tilt_deg]) * share[:3]
        placements.append(
            Placement(
                center=0.5 * (settings.columns - 1) + offset,
                angles=even + jitter,
                rotation=rotation_matrix(turn.tolist()),
                shift=settings.shift_voxels * share[3:],
            )
        )
    return placements
