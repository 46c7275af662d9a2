"""Whether a spectrum is that of a linear, causal and steady system: the linear Kramers-Kronig test.

A row of RC elements of any sign, spread evenly over the measured times, satisfies the relations whatever their
resistances; what it cannot follow violates them. How many elements are taken follows from the Bayesian criterion.

References: Boukamp, J. Electrochem. Soc. 142, 1885 (1995); Schoenleber, Klotz, Ivers-Tiffee, Electrochim. Acta 131, 20
(2014); Schwarz, Ann. Statist. 6, 461 (1978).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xct_pipeline.electrochemistry.spectrum import Spectrum

Array = npt.NDArray[np.float64]

LARGE = 0.01
"""Relative residual that is a violation in any case."""
SMALL, STRUCTURED = 0.0025, 1.4
"""A smaller one is a violation where it is so much larger than its scatter from one frequency to the next."""
MOST_PER_DECADE = 5


@dataclass(frozen=True)
class KramersKronig:
    """Result of the test.

    Attributes
    ----------
    residual : float
        Root of the mean square of ``|Z - Z_fit| / |Z|``, over real and imaginary parts.
    scatter : float
        The part of it that changes from one frequency to the next: noise.
    elements : int
        RC elements used.
    violated : bool
    """

    residual: float
    scatter: float
    elements: int
    violated: bool


def stacked(values: npt.NDArray[np.complex128], weight: Array) -> Array:
    """Return real above imaginary parts of (frequency, ...) values, each frequency weighted."""
    scaled = (values.T * weight).T
    return np.concatenate([scaled.real, scaled.imag])


def kramers_kronig(spectrum: Spectrum) -> KramersKronig:
    """Test a spectrum."""
    w, z = 2 * np.pi * spectrum.frequency_Hz, spectrum.impedance_ohm
    weight = 1 / np.abs(z)
    decades = np.log10(w.max() / w.min())
    most = max(3, min(2 * len(w) - 6, round(MOST_PER_DECADE * decades)))
    right = stacked(z, weight)
    lumped = np.stack([np.ones_like(w) + 0j, 1j * w / w.max(), w.min() / (1j * w)], 1)
    tried = []
    for count in range(3, most + 1, 2):
        tau = np.geomspace(1 / w.max(), 1 / w.min(), count)
        left = stacked(np.concatenate([lumped, 1 / (1 + 1j * np.outer(w, tau))], 1), weight)
        left = left / np.linalg.norm(left, axis=0)
        residual = right - left @ np.linalg.lstsq(left, right, rcond=1e-10)[0]
        criterion = len(right) * np.log(float(residual @ residual) + 1e-30) + count * np.log(len(right))
        tried.append((criterion, count, residual))
    _, elements, residual = min(tried, key=lambda entry: entry[0])
    size = float(np.sqrt(np.mean(residual**2)))
    scatter = _scatter(residual[: len(w)], residual[len(w) :])
    structured = size > SMALL and size > STRUCTURED * scatter
    dense = len(w) > decades + 1.5  # about one frequency a decade shows no arc, and none that is wrong
    return KramersKronig(size, scatter, elements, bool(dense and (size > LARGE or structured)))


def _scatter(*parts: Array) -> float:
    """Return what second differences say of the noise (Gasser, Sroka, Jennen-Steinmetz, Biometrika 73, 625 (1986))."""
    differences = np.concatenate([part[1:-1] - (part[:-2] + part[2:]) / 2 for part in parts])
    return float(np.sqrt(np.mean(differences**2) / 1.5))
