"""The whole liquid has one composition, known from the charge."""

from __future__ import annotations

from typing import Any

from xct_pipeline.device import array_namespace
from xct_pipeline.variation.anode import Anode
from xct_pipeline.variation.closures.common import FRACTION, Closure, DensityChange, Given, Slopes, outside_room


def well_mixed(dmu: Any, anode: Anode, *, w_host: float) -> DensityChange:
    """The whole liquid has one composition, known from the charge; a voxel holds a fraction f of it.

    Derivation: the charge and the initial loading give the overall w (`alloy.composition_after`). Carbon is
    fixed, so ``dmu = f mu(w) - f0 mu(w0)``, which gives f; then ``rho_Na = f rho(w) (1 - w)`` before and
    after. Past the liquidus, rho and mu are those of liquid and solid K together (lever rule).
    Inverse: the same formula forwards.
    Domain: connected liquid, whose mixing time L^2/D (18 s for 300 um) is short against the stripping.
    Linear in dmu; f outside [0, room] is flagged. Two warnings. The charge enters the answer: in a test case
    5 % more charge moves the mass by 4.3 %, 5 % more dmu by 0.7 %, so the Faraday balance has to use `na_only`
    totals, which know nothing of the charge. And the host's total change is a check: it should be zero.

    Parameters
    ----------
    dmu : array
        Change of attenuation, 1/cm.
    anode : Anode
        State at the reference; f0 is its `filling`.
    w_host : float
        Overall mass fraction of K at this scan.
    """
    if anode.w_host is None:
        raise ValueError("closure well_mixed needs the initial composition w_K")
    xp = array_namespace(dmu)
    f0 = dmu.dtype.type(anode.filling)
    w0 = anode.composition
    before = anode.metal_density(w0)
    after = anode.metal_density(w_host)
    f = (dmu + f0 * (before * anode.mixture(w0))) / (after * anode.mixture(w_host))
    f = f.astype(dmu.dtype)
    sodium = f * (after * (1 - w_host)) - f0 * (before * (1 - w0))
    potassium = f * (after * w_host) - f0 * (before * w0)
    return DensityChange(sodium.astype(dmu.dtype), potassium.astype(dmu.dtype), outside_room(xp, f, anode.room))


def _density(dmu: Any, anode: Anode, given: Given) -> DensityChange:
    assert given.w_host is not None
    return well_mixed(dmu, anode, w_host=given.w_host)


def _slopes(anode: Anode, given: Given) -> Slopes:
    w = anode.composition if given.w_host is None else given.w_host
    return Slopes(((1 - w) / anode.mixture(w),))


CLOSURE = Closure(
    "well_mixed",
    "liquid of one composition",
    _density,
    _slopes,
    flags=FRACTION,
    proportional=False,
    composition=True,
    charge=True,
)
