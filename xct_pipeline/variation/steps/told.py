"""What a run found, in one line of its log."""

from __future__ import annotations

from xct_pipeline.store import layout
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
        fit = store.read_table("faraday")
        for _, row in fit[fit["quantity"] == "slope"].iterrows():
            parts.append(f"slope of the Faraday balance {float(row['value']):.4g} +- {float(row['sigma']):.2g}")
    return ", ".join(parts)
