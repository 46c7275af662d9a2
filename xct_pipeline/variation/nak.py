"""The numbers of a sodium-potassium alloy in one place: density, phases, removable sodium, diffusion."""

from __future__ import annotations

from typing import Any

import numpy as np

from xct_pipeline.variation import alloy
from xct_pipeline.variation.faraday import charge_of

DIFFUSION_C = 100.0
"""Temperature at which self-diffusion is tabulated, degrees Celsius (373 K)."""


def facts(wt_k: float, temperature_C: float = 25.0) -> dict[str, Any]:
    """Return what is known of an alloy.

    Parameters
    ----------
    wt_k : float
        Potassium, per cent by mass.
    temperature_C : float

    Returns
    -------
    dict
        What is not known at this temperature or composition is None, with the reason under ``notes``.

    Raises
    ------
    ValueError
        The composition or the temperature is impossible.
    """
    if not 0 <= wt_k <= 100:
        raise ValueError(f"--wt-k {wt_k:g} is no percentage by mass (0 to 100)")
    w = wt_k / 100
    result: dict[str, Any] = {
        "wt_K": wt_k,
        "temperature_C": temperature_C,
        "density_g_cm3": float(alloy.alloy_density(w, temperature_C)),
        "density_additive_g_cm3": float(alloy.alloy_density(w, temperature_C, "additive")),
        "sodium_mg_per_mg": 1 - w,
        "sodium_mAh_per_mg": float(charge_of(1 - w)),
    }
    notes = []
    empty = ("liquid_from_wt_K", "liquid_to_wt_K", "solid_sodium", "liquid", "solid_potassium")
    result |= dict.fromkeys((*empty, "removable_mg_per_mg", "removable_mAh_per_mg", "diffusivity_cm2_s"))
    try:
        low, high = alloy.liquid_range(temperature_C)
    except ValueError as error:
        notes.append(str(error))
    else:
        result |= dict(zip(empty, (100 * low, 100 * high, *alloy.phase_split(w, (low, high))), strict=True))
        if 0 < w <= high:
            out = alloy.removable_sodium(w, high)
            result |= {"removable_mg_per_mg": out, "removable_mAh_per_mg": float(charge_of(out))}
    try:
        result["diffusivity_cm2_s"] = float(alloy.sodium_self_diffusion(np.float64(w)))
        result["diffusivity_temperature_C"] = DIFFUSION_C
    except ValueError as error:
        notes.append(str(error))
    return result | {"notes": notes}
