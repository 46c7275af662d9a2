"""What a run found, in one line of its log."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from xct_pipeline.store import layout

if TYPE_CHECKING:
    import pandas as pd

    from xct_pipeline.store.store import Store


def found(store: Store, species: str | None) -> str:
    """Return the change of mass of the last scan in mg, and the slope against Faraday's; empty where none was measured.

    Parameters
    ----------
    store : Store
        Of a run that has ended.
    species : str or None
    """
    parts = []
    if (store.path / layout.TABLE(table="mass_balance")).exists():
        row = store.read_table("mass_balance").iloc[-1]
        mass, sigma = float(row["mass_change_mg"]), float(row["sigma_mg"])
        parts.append(f"{row['scan']} {mass:.4g} +- {sigma:.2g} mg of {species or 'mass'}")
    if (store.path / layout.TABLE(table="faraday")).exists():
        slope, error = slope_of(store.read_table("faraday"))
        if slope is not None and error is not None:
            parts.append(f"slope of the Faraday balance {slope:.4g} +- {error:.2g}")
    return ", ".join(parts)


def slope_of(fit: pd.DataFrame | None) -> tuple[float | None, float | None]:
    """Return the slope of a Faraday balance and its error from its table; None for what is not known."""
    if fit is None or not {"quantity", "value"} <= set(fit.columns) or "slope" not in set(fit["quantity"]):
        return None, None
    row = fit[fit["quantity"] == "slope"].iloc[0]
    return known(row["value"]), known(row.get("sigma"))


def known(value: Any) -> float | None:
    """Return a number of a table; None where it is not known."""
    return None if value is None or not math.isfinite(float(value)) else float(value)
