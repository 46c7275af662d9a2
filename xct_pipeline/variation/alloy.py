"""Sodium-potassium alloy: density, phase boundaries that are known, Na that can leave, diffusion.

Compositions are mass fractions of K, temperatures degrees Celsius, densities g/cm3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeVar

import numpy as np

from xct_pipeline.device import Array, array_namespace
from xct_pipeline.variation.attenuation import ATOMIC_WEIGHT

Quantity = TypeVar("Quantity", float, Array)

DensityModel = Literal["foust", "additive", "table"]

MELTING_POINT_C = {"Na": 97.8, "K": 63.5}
EUTECTIC_C = -12.6
"""Eutectic temperature, near 77 to 78 wt% K."""
LIQUID_RANGE_25C = (0.418, 0.908)
"""Mass fractions of K between which the alloy is liquid at 25 C: the only two points given here."""
SOLID_DENSITY = {"Na": 0.968, "K": 0.862}
"""Solid metals near 20 C, g/cm3, as in the usual handbooks."""
SELF_DIFFUSION_373K = (4.169, 4.360, 4.547, 4.723, 4.909, 5.097, 5.270, 5.451, 5.649)
"""Na self-diffusion at 373 K, 1e-5 cm2/s, for 10, 20 ... 90 wt% K."""


def sodium_density(temperature_C: Quantity) -> Quantity:
    """Density of liquid Na, g/cm3 (O. J. Foust, Sodium-NaK Engineering Handbook, vol. 1, 1972).

    ``0.9453 - 2.2473e-4 T``; extrapolated below 210 C, where it is used for the alloy's undercooled Na.
    """
    return 0.9453 - 2.2473e-4 * temperature_C


def potassium_density(temperature_C: Quantity) -> Quantity:
    """Density of liquid K, g/cm3 (Foust, as `sodium_density`); extrapolated below 63 C."""
    t = temperature_C
    return 0.8415 - 2.172e-4 * t - 2.7e-8 * t**2 + 4.77e-12 * t**3


def alloy_density(
    w_K: float | Array,
    temperature_C: float = 25.0,
    model: DensityModel = "foust",
    table: Sequence[tuple[float, float]] | None = None,
) -> Any:
    """Density of the liquid alloy.

    Parameters
    ----------
    w_K : float or array
        Mass fraction of K, 0 to 1.
    temperature_C : float
        Degrees Celsius; not used by ``table``, which holds at the temperature it was measured at.
    model : {"foust", "additive", "table"}
        ``foust``: 1/rho = x_K/rho_K + x_Na/rho_Na with *mole* fractions x, the handbook's rule, which
        encodes the contraction on mixing (0.3 % from the published 0.866 g/cm3 of 77.8 wt% K at 20 C;
        1.4 % from published values at 100 C). ``additive``: the same with mass fractions, volumes that
        add, about 1 % low. ``table``: linear interpolation in the user's measurements.
    table : sequence of (w_K, density), optional
        For ``table``: at least two points, increasing in w_K.

    Returns
    -------
    float or array
        g/cm3.

    Raises
    ------
    ValueError
        For a composition outside 0 to 1 or outside the table, or a temperature below the eutectic.

    References
    ----------
    O. J. Foust (ed.), Sodium-NaK Engineering Handbook, vol. 1, Gordon and Breach, 1972.
    """
    xp = array_namespace(w_K)
    w = xp.asarray(w_K, dtype=xp.float64)
    low, high = (0.0, 1.0) if model != "table" else _table_range(table)
    if w.size and (float(w.min()) < low - 1e-12 or float(w.max()) > high + 1e-12):
        raise ValueError(
            f"the density of NaK is asked for {float(w.min()):g} to {float(w.max()):g} of K by mass, "
            f"outside {low:g} to {high:g}"
        )
    if model == "table":
        nodes = np.asarray(table, dtype=np.float64)
        density = xp.interp(w, xp.asarray(nodes[:, 0]), xp.asarray(nodes[:, 1]))
        return density if w.ndim else float(density)
    if not EUTECTIC_C <= temperature_C <= 1000:
        raise ValueError(f"NaK is not liquid, or not described, at {temperature_C:g} C (-12.6 to 1000 C)")
    share = w
    if model == "foust":
        moles_K, moles_Na = w / ATOMIC_WEIGHT["K"], (1 - w) / ATOMIC_WEIGHT["Na"]
        share = moles_K / (moles_K + moles_Na)
    density = 1 / (share / potassium_density(temperature_C) + (1 - share) / sodium_density(temperature_C))
    return density if w.ndim else float(density)


def _table_range(table: Sequence[tuple[float, float]] | None) -> tuple[float, float]:
    nodes = np.asarray(table if table is not None else [], dtype=np.float64)
    if nodes.ndim != 2 or nodes.shape[0] < 2 or nodes.shape[1] != 2 or np.any(np.diff(nodes[:, 0]) <= 0):
        raise ValueError("a density table needs two or more (w_K, g/cm3) points with increasing w_K")
    if nodes[:, 1].min() <= 0:
        raise ValueError(f"a density in the table is not positive: {nodes[:, 1].min():g} g/cm3")
    return float(nodes[0, 0]), float(nodes[-1, 0])


def liquid_range(temperature_C: float, boundaries: tuple[float, float] | None = None) -> tuple[float, float]:
    """Mass fractions of K between which the alloy is wholly liquid.

    Parameters
    ----------
    temperature_C : float
        Degrees Celsius.
    boundaries : (low, high), optional
        The user's own liquidus points at this temperature.

    Returns
    -------
    (low, high)
        Below `low` solid Na coexists, above `high` solid K.

    Raises
    ------
    ValueError
        Where neither the user nor this module knows the liquidus: no open table exists, only the two
        points at 25 C and the melting points, and points in between are not invented.

    References
    ----------
    C. W. Bale, Bull. Alloy Phase Diagrams 3 (1982) 313, after J. B. Ott et al., Trans. Faraday Soc. 65
    (1969) 2870.
    """
    if boundaries is not None:
        low, high = boundaries
        if not 0 <= low < high <= 1:
            raise ValueError(f"liquidus points must satisfy 0 <= low < high <= 1, not {boundaries}")
        return float(low), float(high)
    if temperature_C >= MELTING_POINT_C["Na"]:
        return 0.0, 1.0
    if abs(temperature_C - 25.0) <= 1.0:
        return LIQUID_RANGE_25C
    raise ValueError(
        f"the liquidus of NaK at {temperature_C:g} C is not known here (only at 25 C, and above 97.8 C all "
        f"is liquid): give the two liquidus compositions at your temperature"
    )


def removable_sodium(w_K: float, liquidus_K: float = LIQUID_RANGE_25C[1]) -> float:
    """Na that can leave before solid K appears, mg per mg of alloy.

    K stays, so the composition reaches the liquidus when ``w_K / liquidus_K`` of the mass is left.
    At 25 C: NaK50 0.4493, NaK65 0.2841, NaK80 0.1189 mg (times 1.1658 mAh/mg).
    """
    if not 0 < w_K <= liquidus_K <= 1:
        raise ValueError(f"w_K = {w_K:g} must be between 0 and the liquidus composition {liquidus_K:g}")
    return 1 - w_K / liquidus_K


def phase_split(w_K: float, boundaries: tuple[float, float]) -> tuple[float, float, float]:
    """Mass fractions of solid Na, liquid and solid K at an overall composition, by the lever rule.

    The solids are taken as pure metals (their mutual solubility is small).
    """
    if not 0 <= w_K <= 1:
        raise ValueError(f"w_K = {w_K:g} is not a mass fraction")
    low, high = boundaries
    if w_K < low:
        return 1 - w_K / low, w_K / low, 0.0
    if w_K > high:
        return 0.0, (1 - w_K) / (1 - high), (w_K - high) / (1 - high)
    return 0.0, 1.0, 0.0


def condensed_density(
    w_K: float,
    boundaries: tuple[float, float],
    temperature_C: float = 25.0,
    model: DensityModel = "foust",
    table: Sequence[tuple[float, float]] | None = None,
) -> float:
    """Density of liquid and solid metal together at an overall composition, g/cm3; volumes add."""
    solid_Na, liquid, solid_K = phase_split(w_K, boundaries)
    inside = min(max(w_K, boundaries[0]), boundaries[1])
    volume = solid_Na / SOLID_DENSITY["Na"] + solid_K / SOLID_DENSITY["K"]
    if liquid > 0:
        volume += liquid / float(alloy_density(inside, temperature_C, model, table))
    return 1 / volume


def composition_after(w_K: float, alloy_mg: float, sodium_out_mg: float) -> float:
    """Mass fraction of K once `sodium_out_mg` has left `alloy_mg` of alloy and all K has stayed.

    Raises ValueError where more Na would leave than there is.
    """
    sodium = alloy_mg * (1 - w_K)
    if sodium_out_mg > sodium * (1 + 1e-9):
        raise ValueError(
            f"the charge takes {sodium_out_mg:.4g} mg of Na out of an anode that holds {sodium:.4g} mg: "
            f"check the loading, the composition and the sign of the charge"
        )
    return alloy_mg * w_K / (alloy_mg - min(sodium_out_mg, sodium))


def sodium_self_diffusion(w_K: float | Array) -> Any:
    """Na self-diffusion coefficient in the liquid alloy at 373 K, cm2/s; linear between the table's points.

    R. V. Gopala Rao and A. K. Murthy, Pramana (1977), as tabulated for 10 to 90 wt% K in Table S1 of the
    supporting information of the NaK/NASICON paper. A composition outside 0.1 to 0.9 is a ValueError.
    """
    xp = array_namespace(w_K)
    w = xp.asarray(w_K, dtype=xp.float64)
    if w.size and (float(w.min()) < 0.1 or float(w.max()) > 0.9):
        raise ValueError("Na self-diffusion is tabulated from 10 to 90 wt% K only")
    value = 1e-5 * xp.interp(w, xp.linspace(0.1, 0.9, 9), xp.asarray(SELF_DIFFUSION_373K))
    return value if w.ndim else float(value)
