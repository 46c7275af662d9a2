"""Two scans at two energies, with no assumption about either component."""

from __future__ import annotations

from typing import Any

import numpy as np

from xct_pipeline.device import array_namespace
from xct_pipeline.variation.anode import Anode
from xct_pipeline.variation.closures.common import (
    DENSITY,
    Closure,
    Coefficients,
    DensityChange,
    Given,
    Slopes,
    below_nothing,
)


def dual_energy(dmu: Any, second: Any, *, k: Coefficients, initial: Any = None) -> DensityChange:
    """Two scans at two energies separate the two components, with no assumption about either.

    Derivation: ``dmu_e = k[e][0] drho_species + k[e][1] drho_host`` at two energies, a 2 x 2 solve.
    Inverse: the same formula forwards. Domain: energies between which the ratio k_host/k_species changes;
    noise is amplified, at 30/80 keV to 0.128 (Na) and 0.0277 g/cm3 (K) for 0.01 /cm in every scan.

    Parameters
    ----------
    dmu, second : array
        Change of attenuation at the first and the second energy, 1/cm.
    k : ((species, host), (species, host))
        Mass attenuation at the first and at the second energy, cm2/g.
    initial : (species, host), optional
        Partial densities at the reference, g/cm3, for the flags.
    """
    xp = array_namespace(dmu)
    inverse = dual_energy_inverse(k).astype(dmu.dtype)
    species = inverse[0, 0].item() * dmu + inverse[0, 1].item() * second
    host = inverse[1, 0].item() * dmu + inverse[1, 1].item() * second
    flags = xp.zeros(dmu.shape, xp.uint8)
    if initial is not None:
        flags = below_nothing(xp, species, initial[0]) | below_nothing(xp, host, initial[1])
    return DensityChange(species, host, flags)


def dual_energy_inverse(k: Coefficients) -> np.ndarray[Any, Any]:
    """Matrix from (dmu_1, dmu_2) to (drho_species, drho_host), g/cm3 per 1/cm; its rows give the noise.

    Raises ValueError where the two energies do not tell the components apart.
    """
    (a, b), (c, d) = k
    determinant = a * d - b * c
    if abs(determinant) < 0.02 * (abs(a * d) + abs(b * c)):
        raise ValueError("the two energies do not tell the two components apart: choose them further apart")
    return np.array([[d, -b], [-c, a]], dtype=np.float64) / determinant


def _density(dmu: Any, anode: Anode, given: Given) -> DensityChange:
    assert given.k is not None
    known = anode.w_host is not None or anode.density is not None
    return dual_energy(dmu, given.second, k=given.k, initial=anode.initial if known else None)


def _slopes(anode: Anode, given: Given) -> Slopes:
    del anode
    assert given.k is not None
    species, host = dual_energy_inverse(given.k).tolist()
    return Slopes(tuple(species), tuple(host))


CLOSURE = Closure("dual_energy", "two energies", _density, _slopes, flags=DENSITY, from_initial=True, energies=2)
