"""What a run found, in one line of its log, and what its error is made of."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from xct_pipeline.store import layout

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from xct_pipeline.store.store import Store

TERMS = {
    "sigma_noise_mg": "counting noise",
    "sigma_rings_mg": "rings",
    "sigma_registration_mg": "registration",
    "sigma_calibration_mg": "calibration",
    "sigma_faces_mg": "faces",
    "sigma_linearity_mg": "linearity",
    "sigma_table_mg": "attenuation table",
    "sigma_energy_mg": "energy",
    "sigma_pixel_mg": "pixel size",
    "sigma_closure_mg": "closure",
}
"""What the parts of the error of a mass are called, by their columns in the table of the mass balance."""

REMEDY = {
    "rings": "take flats nearer to the scans, or remove stripes by another method",
    "registration": "register on more of what does not change",
    "calibration": "bring more air, or more of a material that does not change, into view",
    "faces": "a region two or three voxels off the ceramic has no such error, but holds less than all that changes",
    "linearity": "measure scatter, the detector's response or the spectrum, and have them corrected",
    "attenuation table": "give attenuations measured in place (variation.measured)",
    "energy": "measure the energy, and give its error (variation.energy_error_keV)",
    "pixel size": "measure the pixel size, and give its error (variation.pixel_error)",
    "closure": "name one closure, or fewer alternatives",
}
"""What makes a part of the error smaller, of all but counting noise."""

MATTERS = 0.05  # share of the change
SEEN = 3.29  # times the counting noise of a change, from which it is one


def found(store: Store, species: str | None) -> str:
    """Return the last change of mass in mg, and the slope against Faraday's; empty where none was measured.

    Parameters
    ----------
    store : Store
        Of a run that has ended.
    species : str or None
    """
    parts = []
    if (store.path / layout.TABLE(table="mass_balance")).exists():
        row = last_mass(store.read_table("mass_balance"))
        if row is not None:
            mass, sigma = float(row["mass_change_mg"]), float(row["sigma_mg"])
            parts.append(f"{row['scan']} {mass:.4g} +- {sigma:.2g} mg of {species or 'mass'}")
    if (store.path / layout.TABLE(table="faraday")).exists():
        slope, error = slope_of(store.read_table("faraday"))
        if slope is not None and error is not None:
            parts.append(f"slope of the Faraday balance {slope:.4g} +- {error:.2g}")
    return ", ".join(parts)


def last_mass(table: pd.DataFrame) -> pd.Series | None:
    """Return the row of the last scan whose change of mass is known: a scan that failed has none."""
    rows = table[table["mass_change_mg"].notna() & table["sigma_mg"].notna()]
    return rows.iloc[-1] if len(rows) else None


def slope_of(fit: pd.DataFrame | None) -> tuple[float | None, float | None]:
    """Return the slope of a Faraday balance and its error from its table; None for what is not known."""
    if fit is None or not {"quantity", "value"} <= set(fit.columns) or "slope" not in set(fit["quantity"]):
        return None, None
    row = fit[fit["quantity"] == "slope"].iloc[0]
    return known(row["value"]), known(row.get("sigma"))


def parts_of_error(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the parts of the error of a mass in mg by name, the largest first; without those that are zero or unknown.

    Parameters
    ----------
    row : mapping
        Of the table of the mass balance.
    """
    parts = {name: known(row.get(column)) for column, name in TERMS.items()}
    return dict(sorted(((name, value) for name, value in parts.items() if value), key=lambda part: -part[1]))


def largest_part(table: pd.DataFrame) -> list[str]:
    """Say of what most of the error of the largest change of a series is made, and what to do about it.

    Parameters
    ----------
    table : pandas.DataFrame
        Of the mass balance.

    Returns
    -------
    list of str
        Nothing where no change is more than counting noise makes, where no other part of the error is more than all
        the rest together, or where that is less than `MATTERS` of the change.
    """
    size = table["mass_change_mg"].abs().fillna(0.0).to_numpy(float)
    if not size.any():
        return []
    row = {str(name): value for name, value in table.iloc[int(size.argmax())].items()}
    change, parts = float(size.max()), parts_of_error(row)
    name, largest = next(iter(parts.items()), ("", 0.0))
    most = name in REMEDY and largest > max(MATTERS * change, float(row["sigma_mg"]) / math.sqrt(2))
    if not most or change <= SEEN * parts.get(TERMS["sigma_noise_mg"], 0.0):
        return []
    whole = 100 * float(row["sigma_mg"]) / change
    return [
        f"{row['scan']}: the change of mass is known to {whole:.2g} %, most of which is from {name} "
        f"({100 * largest / change:.2g} %): {REMEDY[name]}"
    ]


def known(value: Any) -> float | None:
    """Return a number of a table; None where it is not known."""
    return None if value is None or not math.isfinite(float(value)) else float(value)
