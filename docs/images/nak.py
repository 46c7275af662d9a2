"""Draw nak.png: what the package knows of sodium-potassium alloys. Run: python docs/images/nak.py [folder]"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xct_pipeline.variation import alloy
from xct_pipeline.variation.nak import facts

BLUE, VERMILION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#5b6570"
WT_K = np.linspace(0, 100, 101)


def density(ax: Axes) -> None:
    """Density against composition, by both rules."""
    for temperature, color in ((25.0, BLUE), (100.0, VERMILION)):
        for model, style in (("foust", "-"), ("additive", ":")):
            values = [alloy.alloy_density(w / 100, temperature, model) for w in WT_K]  # type: ignore[arg-type]
            ax.plot(WT_K, values, style, color=color, label=f"{temperature:g} °C, {model}")
    ax.set_ylabel("density of the liquid, g/cm³")
    ax.legend(fontsize=7)


def phases(ax: Axes) -> None:
    """What is solid and what is liquid at 25 degrees Celsius, by mass."""
    split = np.array([[facts(w, 25.0)[key] for key in ("solid_sodium", "liquid", "solid_potassium")] for w in WT_K])
    labels, colors = ("solid Na", "liquid", "solid K"), (GREY, "#56B4E9", "#CC79A7")
    ax.stackplot(WT_K, split.T, labels=labels, colors=colors, alpha=0.8)
    for edge in alloy.LIQUID_RANGE_25C:
        ax.axvline(100 * edge, color="black", linewidth=0.8, linestyle="--")
        ax.text(100 * edge - 1, 0.03, f"{100 * edge:.1f}", rotation=90, fontsize=7, ha="right")
    ax.set_ylabel("share of the mass at 25 °C")
    ax.legend(fontsize=7, loc="center left")


def removable(ax: Axes) -> None:
    """Sodium that can leave until solid potassium forms, beside all of it."""
    found = [facts(w, 25.0) for w in WT_K]
    ax.plot(WT_K, [row["sodium_mAh_per_mg"] for row in found], color=GREY, label="all sodium")
    out = [np.nan if row["removable_mAh_per_mg"] is None else row["removable_mAh_per_mg"] for row in found]
    ax.plot(WT_K, out, color=GREEN, label="until solid K forms, 25 °C")
    ax.set_ylabel("mAh for each mg of alloy")
    ax.legend(fontsize=7)


def diffusion(ax: Axes) -> None:
    """Self-diffusion of sodium as tabulated."""
    table = np.arange(10, 100, 10.0)
    line = np.linspace(10, 90, 81)
    ax.plot(line, [facts(w, 100.0)["diffusivity_cm2_s"] * 1e5 for w in line], color=BLUE)
    ax.plot(table, alloy.SELF_DIFFUSION_373K, "o", color=VERMILION, label="Table S1, 373 K")
    ax.set_ylabel("diffusivity of Na, 10⁻⁵ cm²/s")
    ax.legend(fontsize=7)


def draw() -> Figure:
    """Return the four panels."""
    figure = Figure(figsize=(8, 6), layout="constrained", facecolor="white")
    for ax, panel in zip(figure.subplots(2, 2).flat, (density, phases, removable, diffusion), strict=True):
        panel(ax)
        ax.set_xlabel("potassium, wt%", fontsize=8)
        ax.set_xlim(0, 100)
        ax.tick_params(labelsize=7)
        ax.yaxis.label.set_size(8)
    return figure


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    draw().savefig(folder / "nak.png", dpi=110)
