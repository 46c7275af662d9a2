"""The local amount of the host stays."""

from __future__ import annotations

from typing import Any

from xct_pipeline.device import array_namespace
from xct_pipeline.variation.alloy import alloy_density
from xct_pipeline.variation.anode import Anode
from xct_pipeline.variation.closures import na_only
from xct_pipeline.variation.closures.common import (
    DENSITY,
    FRACTION,
    NOTHING,
    Closure,
    DensityChange,
    Given,
    compositions,
    outside_room,
)


def const_k(dmu: Any, anode: Anode, given: Given = NOTHING) -> DensityChange:
    """The local amount of K stays; voids fill, or the metal's volume changes.

    Derivation: as `na_only`, with rho_K fixed: ``drho_Na = dmu / k_Na``. Inverse: ``dmu = k_Na drho_Na``.
    Domain: Na leaves or enters a pool of liquid that does not flow. The metal must still fit: with w the new
    composition, its volume (rho_Na + rho_K) / rho(w) beyond the room in the voxel is flagged.
    """
    del given
    xp = array_namespace(dmu)
    sodium, potassium = anode.initial
    change, _, flags = na_only.na_only(dmu, k_species=anode.k_species, initial=sodium)
    left = xp.maximum(change + dmu.dtype.type(sodium), dmu.dtype.type(1e-6))
    amount = left + potassium
    # Without K the density model of the alloy does not apply to what is added.
    fraction = amount / _density_inside(xp, anode, potassium / amount) if anode.w_host else 0 * amount
    return DensityChange(change, None, flags | outside_room(xp, fraction, anode.room))


def _density_inside(xp: Any, anode: Anode, w: Any) -> Any:
    """Density of liquid at compositions held inside the model's range, for flags only."""
    model = (anode.temperature_C, anode.density_model, anode.density_table)
    return alloy_density(xp.clip(w, *compositions(anode)), *model)


CLOSURE = Closure(
    "const_k", "the host stays, voids fill", const_k, na_only.slopes, flags=DENSITY | FRACTION, composition=True
)
