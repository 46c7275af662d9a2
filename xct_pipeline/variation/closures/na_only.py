"""Only one species changes."""

from __future__ import annotations

from typing import Any

from xct_pipeline.device import array_namespace
from xct_pipeline.variation.anode import Anode
from xct_pipeline.variation.closures.common import DENSITY, Closure, DensityChange, Given, Slopes, below_nothing


def na_only(dmu: Any, *, k_species: float, initial: Any = None) -> DensityChange:
    """Only one species changes, be it Na or any other.

    Derivation: mu = sum of rho_i k_i with k = mu/rho, and only rho_species changes, so
    ``drho = dmu / k_species``. Inverse: ``dmu = k_species drho``.
    Domain: solid metal plated or stripped; liquid alloy whose host stays in place. Whatever moves inside, the
    integral over the whole anode is right where the host is conserved.

    Parameters
    ----------
    dmu : array
        Change of attenuation, 1/cm.
    k_species : float
        cm2/g.
    initial : float or array, optional
        Partial density of the species at the reference, g/cm3; a loss beyond it is flagged.

    Returns
    -------
    DensityChange
    """
    xp = array_namespace(dmu)
    change = dmu / dmu.dtype.type(k_species)
    flags = xp.zeros(dmu.shape, xp.uint8) if initial is None else below_nothing(xp, change, initial)
    return DensityChange(change, None, flags)


def _density(dmu: Any, anode: Anode, given: Given) -> DensityChange:
    del given
    known = anode.w_host is not None or anode.density is not None
    return na_only(dmu, k_species=anode.k_species, initial=anode.initial[0] if known else None)


def slopes(anode: Anode, given: Given) -> Slopes:
    """Return the slope of any closure that keeps the host in place."""
    del given
    return Slopes((1 / anode.k_species,))


CLOSURE = Closure("na_only", "only the species changes", _density, slopes, flags=DENSITY, from_initial=True)
