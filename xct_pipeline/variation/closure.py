"""Closures: the assumption that turns a change of attenuation into a change of mass.

One energy gives one number per voxel, and a binary alloy has two unknowns, so every function here adds one
assumption, states it, and says through a flag where its answer cannot be true. Flagged values are returned
as they are: clipping them would bias every sum of noisy voxels.

Units: attenuation 1/cm, mass attenuation cm2/g, density g/cm3. "Species" is what is followed (Na), "host"
what shares the liquid with it (K). Arrays are numpy or CuPy; the result has the input's kind and dtype.
"""

from __future__ import annotations

import functools
from typing import Any, Literal, NamedTuple

import numpy as np

from xct_pipeline.device import array_namespace
from xct_pipeline.variation.alloy import alloy_density
from xct_pipeline.variation.anode import Anode

ClosureName = Literal["na_only", "const_k", "filled", "same_composition", "well_mixed", "dual_energy"]

DENSITY, COMPOSITION, FRACTION = 1, 2, 4
FLAGS = {
    DENSITY: "less than nothing is left of a component",
    COMPOSITION: "no composition between the pure metals explains the attenuation",
    FRACTION: "the metal would fill less than nothing or more than the room in the voxel",
}
"""Meaning of the bits of a flag mask."""

LINEAR = ("na_only", "const_k", "same_composition", "well_mixed", "dual_energy")
"""Closures whose density is linear in dmu, so that noise averages out in sums; `filled` is not."""

_ROUNDING = 1e-5  # float32 must not flag a voxel that is exactly empty
_NODES = 4097


class DensityChange(NamedTuple):
    """Change of partial density per voxel, g/cm3.

    Attributes
    ----------
    species, host : array
        Change of the species and of the host; `host` is None where the closure keeps it fixed.
    flags : array of uint8
        0, or bits of `FLAGS` where the result is impossible.
    """

    species: Any
    host: Any
    flags: Any

    @property
    def total(self) -> Any:
        """Change of the metal's density, g/cm3."""
        return self.species if self.host is None else self.species + self.host


def _flag(xp: Any, condition: Any, bit: int) -> Any:
    return condition.astype(xp.uint8) * xp.uint8(bit)


def _below_nothing(xp: Any, change: Any, initial: Any) -> Any:
    return _flag(xp, change < -initial * (1 + _ROUNDING) - 1e-12, DENSITY)


def _outside_room(xp: Any, fraction: Any, room: float) -> Any:
    return _flag(xp, (fraction < -_ROUNDING) | (fraction > room + _ROUNDING), FRACTION)


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
    flags = xp.zeros(dmu.shape, xp.uint8) if initial is None else _below_nothing(xp, change, initial)
    return DensityChange(change, None, flags)


def const_k(dmu: Any, *, anode: Anode) -> DensityChange:
    """The local amount of K stays; voids fill, or the metal's volume changes.

    Derivation: as `na_only`, with rho_K fixed: ``drho_Na = dmu / k_Na``. Inverse: ``dmu = k_Na drho_Na``.
    Domain: Na leaves or enters a pool of liquid that does not flow. The metal must still fit: with w the new
    composition, its volume (rho_Na + rho_K) / rho(w) beyond the room in the voxel is flagged.
    """
    xp = array_namespace(dmu)
    sodium, potassium = anode.initial
    change, _, flags = na_only(dmu, k_species=anode.k_species, initial=sodium)
    left = xp.maximum(change + dmu.dtype.type(sodium), dmu.dtype.type(1e-6))
    amount = left + potassium
    # Without K the density model of the alloy does not apply to what is added.
    fraction = amount / _density_inside(xp, anode, potassium / amount) if anode.w_host else 0 * amount
    return DensityChange(change, None, flags | _outside_room(xp, fraction, anode.room))


def same_composition(dmu: Any, *, anode: Anode) -> DensityChange:
    """Liquid of the initial composition moves in or out (a void grows or closes).

    Derivation: drho_K / drho_Na = w / (1 - w) is fixed, so ``drho_total = dmu / (w k_K + (1 - w) k_Na)``, of
    which the share 1 - w is Na. Inverse: ``dmu = drho_total (w k_K + (1 - w) k_Na)``.
    Domain: flow, voids, squeezing; not stripping. Flags: more than the initial metal lost, or more gained than
    fits.
    """
    xp = array_namespace(dmu)
    w = anode.composition
    total = dmu / dmu.dtype.type(anode.mixture(w))
    initial = sum(anode.initial)
    density = anode.density if anode.density is not None else anode.metal_density(w)
    flags = _below_nothing(xp, total, initial) | _outside_room(
        xp, xp.maximum(anode.filling + total / density, 0), anode.room
    )
    return DensityChange(total * dmu.dtype.type(1 - w), total * dmu.dtype.type(w), flags)


def filled(dmu: Any, *, anode: Anode) -> DensityChange:
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
    xp = array_namespace(dmu)
    steps, _, sodium, potassium = _filled_curve(anode)
    flags = (dmu < steps[0] - _ROUNDING) | (dmu > steps[-1] + _ROUNDING)
    return DensityChange(
        _follow(xp, dmu, steps, sodium), _follow(xp, dmu, steps, potassium), _flag(xp, flags, COMPOSITION)
    )


def filled_composition(dmu: Any, *, anode: Anode) -> Any:
    """Mass fraction of K in a voxel that stays full of liquid (see `filled`)."""
    steps, w, _, _ = _filled_curve(anode)
    return _follow(array_namespace(dmu), dmu, steps, w)


def well_mixed(dmu: Any, *, anode: Anode, w_host: float, filling: Any = None) -> DensityChange:
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
        State at the reference.
    w_host : float
        Overall mass fraction of K at this scan.
    filling : float or array, optional
        f0, the metal's volume fraction at the reference; the anode's mean by default. See `filling_of`.
    """
    if anode.w_host is None:
        raise ValueError("closure well_mixed needs the initial composition w_K")
    xp = array_namespace(dmu)
    f0 = dmu.dtype.type(anode.filling) if filling is None else filling
    w0 = anode.composition
    before = anode.metal_density(w0)
    after = anode.metal_density(w_host)
    f = (dmu + f0 * (before * anode.mixture(w0))) / (after * anode.mixture(w_host))
    f = f.astype(dmu.dtype)
    sodium = f * (after * (1 - w_host)) - f0 * (before * (1 - w0))
    potassium = f * (after * w_host) - f0 * (before * w0)
    return DensityChange(sodium.astype(dmu.dtype), potassium.astype(dmu.dtype), _outside_room(xp, f, anode.room))


def filling_of(mu: Any, *, anode: Anode, carbon_attenuation: float = 0.0) -> Any:
    """Volume fraction f0 of metal in each voxel of the reference, from its attenuation.

    ``f0 = (mu - carbon_fraction mu_C) / mu(w0)``; noise and voxels outside the anode are not clipped.
    """
    metal = anode.metal_attenuation(anode.composition)
    return (mu - mu.dtype.type(anode.carbon_fraction * carbon_attenuation)) / mu.dtype.type(metal)


def dual_energy(
    dmu: Any, second: Any, *, k: tuple[tuple[float, float], tuple[float, float]], initial: Any = None
) -> DensityChange:
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
        flags = _below_nothing(xp, species, initial[0]) | _below_nothing(xp, host, initial[1])
    return DensityChange(species, host, flags)


def dual_energy_inverse(k: tuple[tuple[float, float], tuple[float, float]]) -> np.ndarray[Any, Any]:
    """Matrix from (dmu_1, dmu_2) to (drho_species, drho_host), g/cm3 per 1/cm; its rows give the noise.

    Raises ValueError where the two energies do not tell the components apart.
    """
    (a, b), (c, d) = k
    determinant = a * d - b * c
    if abs(determinant) < 0.02 * (abs(a * d) + abs(b * c)):
        raise ValueError("the two energies do not tell the two components apart: choose them further apart")
    return np.array([[d, -b], [-c, a]], dtype=np.float64) / determinant


def density_change(
    name: ClosureName,
    dmu: Any,
    anode: Anode,
    *,
    w_host: float | None = None,
    filling: Any = None,
    second: Any = None,
    k: tuple[tuple[float, float], tuple[float, float]] | None = None,
) -> DensityChange:
    """Turn a change of attenuation into a change of density with the closure called `name`.

    `w_host` (and optionally `filling`) belong to ``well_mixed``, `second` and `k` to ``dual_energy``.
    """
    known = anode.w_host is not None or anode.density is not None
    match name:
        case "na_only":
            return na_only(dmu, k_species=anode.k_species, initial=anode.initial[0] if known else None)
        case "const_k":
            return const_k(dmu, anode=anode)
        case "same_composition":
            return same_composition(dmu, anode=anode)
        case "filled":
            return filled(dmu, anode=anode)
        case "well_mixed":
            if w_host is None:
                raise ValueError("closure well_mixed needs the composition at this scan, from charge and loading")
            return well_mixed(dmu, anode=anode, w_host=w_host, filling=filling)
        case "dual_energy":
            if second is None or k is None:
                raise ValueError("closure dual_energy needs a second scan at another energy")
            return dual_energy(dmu, second, k=k, initial=anode.initial if known else None)
    raise ValueError(f"no closure is called {name!r}")


def sensitivity(name: ClosureName, anode: Anode, *, w_host: float | None = None) -> float:
    """Slope d(rho_species)/d(mu) at the reference, g/cm3 per 1/cm: what turns noise in mu into noise of mass.

    For ``well_mixed`` at the composition `w_host`; for ``dual_energy`` see `dual_energy_inverse`.
    """
    match name:
        case "na_only" | "const_k":
            return 1 / anode.k_species
        case "same_composition":
            w = anode.composition
            return (1 - w) / anode.mixture(w)
        case "well_mixed":
            w = anode.composition if w_host is None else w_host
            return (1 - w) / anode.mixture(w)
        case "filled":
            steps, _, sodium, _ = _filled_curve(anode)
            return float(np.interp(0.0, steps, np.gradient(sodium, steps)))
    raise ValueError(f"the sensitivity of {name} is not one number; see dual_energy_inverse")


@functools.lru_cache(maxsize=32)
def _filled_curve(anode: Anode) -> tuple[Any, Any, Any, Any]:
    """Nodes of (dmu rising, w, drho_Na, drho_K) over all compositions the density model covers."""
    if anode.w_host is None:
        raise ValueError("closure filled needs the initial composition w_K")
    w = np.linspace(*_compositions(anode), _NODES)
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
    return steps[order].copy(), w[order].copy(), sodium[order].copy(), potassium[order].copy()


def _follow(xp: Any, x: Any, nodes: Any, values: Any) -> Any:
    """Interpolate along nodes and go on along the end slopes; the result has the dtype of `x`."""
    slopes = np.diff(values[[0, 1, -2, -1]])[::2] / np.diff(nodes[[0, 1, -2, -1]])[::2]
    y = xp.interp(x, xp.asarray(nodes), xp.asarray(values))
    y = y + xp.minimum(x - nodes[0], 0) * slopes[0] + xp.maximum(x - nodes[-1], 0) * slopes[1]
    return y.astype(x.dtype)


def _compositions(anode: Anode) -> tuple[float, float]:
    """Range of w that the density model covers."""
    if anode.density_model == "table" and anode.density_table:
        return anode.density_table[0][0], anode.density_table[-1][0]
    return 0.0, 1.0


def _density_inside(xp: Any, anode: Anode, w: Any) -> Any:
    """Density of liquid at compositions held inside the model's range, for flags only."""
    model = (anode.temperature_C, anode.density_model, anode.density_table)
    return alloy_density(xp.clip(w, *_compositions(anode)), *model)
