"""What keeps grey values from following the attenuation: scatter, a detector that is not linear, a spectrum.

Nothing here is shared with what detects or corrects it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import numpy as np
import scipy

from xct_pipeline.simulation.cell import Voids
from xct_pipeline.simulation.phantom import Array

if TYPE_CHECKING:
    from xct_pipeline.simulation.beamline import SimulationSettings

ENERGIES = 7  # that stand for a spectrum
MOST_COUNTS = 64_000  # of 16 bits, with room for noise


def check_imperfections(settings: SimulationSettings) -> None:
    """Raise ValueError where a figure cannot be simulated."""
    s = settings
    if s.voids not in get_args(Voids):
        raise ValueError(f"voids is {s.voids!r}; it must be one of {', '.join(get_args(Voids))}")
    if not (0 <= s.scatter < 1 and s.scatter_pixels > 0):
        raise ValueError(
            f"scatter is {s.scatter} over {s.scatter_pixels} pixels; 0 to below 1 over more than 0 is needed"
        )
    if not abs(s.nonlinearity) < 0.5:
        raise ValueError(f"nonlinearity is {s.nonlinearity}; the response must rise with the light: -0.5 to 0.5")
    if not 0 <= s.spectrum_keV <= s.energy_keV / 2:
        raise ValueError(f"spectrum_keV is {s.spectrum_keV}; it must lie between 0 and {s.energy_keV / 2}")
    if not abs(s.dark_drift) < 0.5:
        raise ValueError(f"dark_drift is {s.dark_drift}; it must lie between -0.5 and 0.5")
    if not 0 <= s.gain_drift <= 0.1:
        raise ValueError(f"gain_drift is {s.gain_drift}; it must lie between 0 and 0.1")
    if not abs(s.log_late_s) < s.scan_seconds + s.strip_seconds:
        raise ValueError(f"log_late_s is {s.log_late_s}; it must be shorter than a scan and what follows it")
    if not 0 <= s.uncharged < 1:
        raise ValueError(f"uncharged is {s.uncharged}; it must lie between 0 and below 1")
    brightest = s.photons * ((1 + s.scatter) * (1 + max(s.nonlinearity, 0) * (1 + s.scatter)) + max(s.dark_drift, 0))
    if brightest > MOST_COUNTS:
        raise ValueError(f"photons is {s.photons}; with what comes on top that is {brightest:.0f} counts of 16 bits")


def spectrum_of(energy_keV: float, width_keV: float) -> tuple[tuple[float, float], ...]:
    """Return energies (keV) and shares of the photons: a Gaussian of a full width, cut at twice that."""
    if width_keV == 0:
        return ((energy_keV, 1.0),)
    place = np.linspace(-1.0, 1.0, ENERGIES)
    share = 0.5 ** (4 * place**2)
    return tuple(zip((energy_keV + width_keV * place).tolist(), (share / share.sum()).tolist(), strict=True))


def with_halo(light: Array, share: float, pixels: float) -> Array:
    """Add a share of the light (frame, row, column) as a Gaussian halo of a standard deviation in pixels."""
    if share == 0:
        return light
    halo = scipy.ndimage.gaussian_filter(light, (0.0, pixels, pixels), mode="nearest")
    return np.asarray(light + share * halo)


def drifted_gains(settings: SimulationSettings, rng: np.random.Generator) -> Array:
    """Return the factor (row, column) by which gains changed since the flats; what `rng` draws next is the same."""
    shape = (settings.rows, settings.columns)
    if settings.gain_drift == 0:
        return np.ones(shape)
    return np.asarray(1.0 + settings.gain_drift * np.clip(rng.spawn(1)[0].normal(size=shape), -3, 3))


def respond(signal: Array, full: float, excess: float) -> Array:
    """Return what a detector makes of a signal whose response exceeds the linear one by a share at the full light."""
    return signal if excess == 0 else np.asarray(signal * (1.0 + excess * signal / full))
