"""Liquid of the initial composition moves in or out."""

from __future__ import annotations

from typing import Any

from xct_pipeline.device import array_namespace
from xct_pipeline.variation.anode import Anode
from xct_pipeline.variation.closures.common import (
    DENSITY,
    FRACTION,
    NOTHING,
    Closure,
    DensityChange,
    Given,
    Slopes,
    below_nothing,
    outside_room,
)


def same_composition(dmu: Any, anode: Anode, given: Given = NOTHING) -> DensityChange:
    """Liquid of the initial composition moves in or out (a void grows or closes).

    Derivation: drho_K / drho_Na = w / (1 - w) is fixed, so ``drho_total = dmu / (w k_K + (1 - w) k_Na)``, of
    which the share 1 - w is Na. Inverse: ``dmu = drho_total (w k_K + (1 - w) k_Na)``.
    Domain: flow, voids, squeezing; not stripping. Flags: more than the initial metal lost, or more gained than
    fits.
    """
    del given
    xp = array_namespace(dmu)
    w = anode.composition
    total = dmu / dmu.dtype.type(anode.mixture(w))
    initial = sum(anode.initial)
    density = anode.density if anode.density is not None else anode.metal_density(w)
    flags = below_nothing(xp, total, initial) | outside_room(
        xp, xp.maximum(anode.filling + total / density, 0), anode.room
    )
    return DensityChange(total * dmu.dtype.type(1 - w), total * dmu.dtype.type(w), flags)


def _slopes(anode: Anode, given: Given) -> Slopes:
    del given
    w = anode.composition
    return Slopes(((1 - w) / anode.mixture(w),))


CLOSURE = Closure(
    "same_composition",
    "liquid of the initial composition moves",
    same_composition,
    _slopes,
    flags=DENSITY | FRACTION,
    composition=True,
)
