"""The voxel stays full of liquid while its composition changes."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from xct_pipeline.device import array_namespace
from xct_pipeline.variation.alloy import alloy_density
from xct_pipeline.variation.anode import Anode
from xct_pipeline.variation.closures.common import (
    COMPOSITION,
    NOTHING,
    Closure,
    DensityChange,
    Given,
    Slopes,
    compositions,
    flag,
)

_ROUNDING = 1e-5  # float32 must not flag a voxel that is a pure metal
_NODES = 4097


def filled(dmu: Any, anode: Anode, given: Given = NOTHING) -> DensityChange:
    """The voxel stays full of liquid while its composition changes.

    Derivation: with phi the liquid's volume fraction, ``dmu = phi [mu(w) - mu(w0)]`` and
    ``mu(w) = rho(w) [w k_K + (1 - w) k_Na]``, which rises steadily with w below about 100 keV, so w is unique;
    then ``drho_Na = phi [rho(w) (1 - w) - rho(w0) (1 - w0)]``. Inverse: the same formula forwards.
    Domain: pools of liquid far from voids. Note the sign: Na replaced by K brightens the voxel. The relation is
    curved, so noise does not average out: apply it to means (columns, bins) where single voxels are noisy.
    A dmu beyond the pure metals is extended along the end slopes and flagged.

    Raises
    ------
    ValueError
        Where mu(w) is not monotonic at this energy, so that w is not unique.
    """
    del given
    xp = array_namespace(dmu)
    steps, sodium, potassium = _curve(anode)
    beyond = (dmu < steps[0] - _ROUNDING) | (dmu > steps[-1] + _ROUNDING)
    return DensityChange(
        _follow(xp, dmu, steps, sodium), _follow(xp, dmu, steps, potassium), flag(xp, beyond, COMPOSITION)
    )


def _slopes(anode: Anode, given: Given) -> Slopes:
    del given
    steps, sodium, _ = _curve(anode)
    return Slopes((float(np.interp(0.0, steps, np.gradient(sodium, steps))),))


@functools.lru_cache(maxsize=32)
def _curve(anode: Anode) -> tuple[Any, Any, Any]:
    """Nodes of (dmu rising, drho_Na, drho_K) over all compositions the density model covers."""
    if anode.w_host is None:
        raise ValueError("closure filled needs the initial composition w_K")
    w = np.linspace(*compositions(anode), _NODES)
    model = (anode.temperature_C, anode.density_model, anode.density_table)
    density = alloy_density(w, *model)
    start = float(alloy_density(anode.w_host, *model))
    mu = density * anode.mixture(w)  # type: ignore[arg-type]
    steps = anode.filling * (mu - start * anode.mixture(anode.w_host))
    sodium = anode.filling * (density * (1 - w) - start * (1 - anode.w_host))
    potassium = anode.filling * (density * w - start * anode.w_host)
    rising = np.diff(steps)
    if not (np.all(rising > 0) or np.all(rising < 0)):
        raise ValueError(
            "closure filled has no unique answer at this energy: the alloy's attenuation does not rise "
            "steadily with its share of K; use a lower energy or another closure"
        )
    order = slice(None) if rising[0] > 0 else slice(None, None, -1)
    return steps[order].copy(), sodium[order].copy(), potassium[order].copy()


def _follow(xp: Any, x: Any, nodes: Any, values: Any) -> Any:
    """Interpolate along nodes and go on along the end slopes; the result has the dtype of `x`."""
    slopes = np.diff(values[[0, 1, -2, -1]])[::2] / np.diff(nodes[[0, 1, -2, -1]])[::2]
    y = xp.interp(x, xp.asarray(nodes), xp.asarray(values))
    y = y + xp.minimum(x - nodes[0], 0) * slopes[0] + xp.maximum(x - nodes[-1], 0) * slopes[1]
    return y.astype(x.dtype)


CLOSURE = Closure(
    "filled",
    "the voxel stays full of liquid",
    filled,
    _slopes,
    flags=COMPOSITION,
    linear=False,
    proportional=False,
    composition=True,
)
