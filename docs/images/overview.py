"""Draw the README's picture from a store that has been run through to mass.

xct demo && python docs/images/overview.py xct-demo/store.zarr
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import xct_pipeline as xct
from xct_pipeline.store import open_image


def main(store: Path, file: Path) -> None:
    """Draw a section, its change, and the map of mass."""
    series = xct.open_volume(store)
    change = open_image(store / "variation/attenuation")
    areal = open_image(store / "variation/areal").values[-1]
    table = xct.open_table(store, "mass_balance")
    middle = series.sizes["y"] // 2
    thick = slice(middle - 12, middle + 12)  # single voxels are noise: sections are means, and the map is binned
    section, difference = (np.nanmean(a[-1, :, thick].values, axis=1) for a in (series, change))
    ny, nx = (n // 4 for n in areal.shape)
    areal = areal[: 4 * ny, : 4 * nx].reshape(ny, 4, nx, 4).mean(axis=(1, 3))
    extent = [0, series.x[-1] / 1e3, 0, series.z[-1] / 1e3]
    wide = [0, series.x[-1] / 1e3, series.y[-1] / 1e3, 0]

    figure = Figure(figsize=(13.5, 4.1), layout="constrained", dpi=88)
    axes = figure.subplots(1, 4, width_ratios=[1.35, 1.35, 1, 1.05])
    looks = {"origin": "lower", "extent": extent}
    shown = axes[0].imshow(section, cmap="gray", vmin=-0.1, vmax=1.6, **looks)
    figure.colorbar(shown, ax=axes[0], location="bottom", label="attenuation, 1/cm")
    shown = axes[1].imshow(difference, cmap="RdBu_r", vmin=-0.15, vmax=0.15, **looks)
    figure.colorbar(shown, ax=axes[1], location="bottom", label="change of attenuation, 1/cm")
    limit = float(np.nanpercentile(np.abs(areal), 98))
    shown = axes[2].imshow(areal, cmap="RdBu_r", vmin=-limit, vmax=limit, extent=wide)
    figure.colorbar(shown, ax=axes[2], location="bottom", label="change of Na, mg/cm$^2$")
    bars = axes[3].errorbar
    bars(
        table["charge_C"], table["mass_change_mg"] * 1e3, table["sigma_mg"] * 1e3, fmt="o", capsize=4, label="measured"
    )
    axes[3].plot(table["charge_C"], table["faraday_mg"] * 1e3, "k--", label="Faraday's law")
    axes[3].set(xlabel="charge, C", ylabel="change of Na, µg")
    axes[3].legend(frameon=False)
    for ax, title in zip(
        axes, ("section, last scan", "minus first scan", "areal map", "against the charge"), strict=True
    ):
        ax.set_title(title, fontsize=11)
    for ax in axes[:3]:
        ax.set_xlabel("mm")
    figure.savefig(file)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).with_name("overview.png"))
