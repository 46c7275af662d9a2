"""What the numbers say, in a sentence each: how much changed, how sure that is, whether charge explains it."""

from __future__ import annotations

import math

import scipy

from xct_pipeline.report import charts
from xct_pipeline.report.contents import AbsentError, Contents
from xct_pipeline.report.markup import plus_minus
from xct_pipeline.variation.steps.told import last_mass

SURE, AGREES = 1.645, 2.0  # standard deviations: the decision limit, and what is taken for agreement


def mass_says(contents: Contents) -> list[str]:
    """Return whether the mass of the last scan changed beyond its error; nothing where no mass was measured."""
    try:
        table = contents.table("mass_balance", "scan", "mass_change_mg", "sigma_mg")
    except AbsentError:
        return []
    row = last_mass(table)
    mass, sigma = (0.0, 0.0) if row is None else (float(row["mass_change_mg"]), float(row["sigma_mg"]))
    if row is None or not sigma > 0:
        return []
    species, size = (contents.config.get("variation") or {}).get("species") or "mass", abs(mass) / sigma
    shown = f"{plus_minus(abs(mass), sigma)} mg of {species}"
    if size < SURE:
        return [f"No change is seen in {row['scan']}: {shown}, {size:.1f} σ, lies below the decision limit."]
    return [f"By {row['scan']}, {shown} {'entered' if mass > 0 else 'left'} the region: {size:.1f} σ from no change."]


def balance_says(contents: Contents) -> list[str]:
    """Return whether the slope of the Faraday balance is 1, and whether the scatter is what the errors predict."""
    found, said = charts.fitted(contents), []
    slope, sigma = found.get("slope", (math.nan, math.nan))
    if math.isfinite(slope) and sigma > 0:
        away = abs(slope - 1) / sigma
        verdict = (
            "agrees with all charge carried by the species"
            if away <= AGREES
            else f"more mass {'changed' if slope > 1 else 'was expected'} than "
            f"{'charge explains' if slope > 1 else 'changed'}"
        )
        said.append(f"The slope {plus_minus(slope, sigma)} is {away:.1f} σ from 1: {verdict}.")
    chi2, degrees = found.get("chi2", (math.nan, 0.0))[0], round(found.get("degrees", (0.0, 0.0))[0])
    if degrees > 0 and math.isfinite(chi2):
        chance = float(scipy.special.chdtrc(degrees, chi2))
        fits = "as their errors predict" if chance > 0.05 else "more than their errors predict"
        said.append(f"The points scatter {fits} (probability of this much or more: {chance:.2g}).")
    return said
