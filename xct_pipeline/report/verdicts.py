"""What each panel says, from the numbers of this store: a conclusion and how sure it is, or nothing.

One function a panel. A number that is not there, or has no error, gives no sentence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import scipy

from xct_pipeline.report import areal
from xct_pipeline.report.charts import FEW
from xct_pipeline.report.conclusions import AGREES, SURE
from xct_pipeline.report.contents import AbsentError, Contents
from xct_pipeline.report.echem import FEWEST_FOR_RANK, related_peaks
from xct_pipeline.report.markup import plus_minus
from xct_pipeline.report.routes import NAMES
from xct_pipeline.variation.steps.told import last_mass, parts_of_error
from xct_pipeline.variation.uncertainty import DECISION

NEAR = 0.5
"""Pixels that the two methods of the centre may lie apart: beyond it a run warns."""
UNSURE = 0.05
"""Chance from which on a correlation shows nothing."""
CUPPED = 3.0
"""Standard errors from which on cupping is told."""


def significant_bins(contents: Contents) -> Sequence[str]:
    """Say how much of the last map is beyond the decision limit, and how much noise alone would put there."""
    rows = areal.significance(contents)
    if not rows:
        return ()
    chance = 100 * 2 * float(scipy.special.ndtr(-DECISION))
    last = rows[-1]
    share = f"{last['bins beyond the decision limit, %']} % of the squares lie beyond the decision limit"
    return (f"{last['scan']}: {share}; noise alone puts {chance:.0f} % there.",)


def largest_step(contents: Contents) -> Sequence[str]:
    """Say between which neighbours the mass changed most, in units of its error."""
    table = contents.table("mass_balance", "scan", "mass_change_consecutive_mg", "sigma_consecutive_mg")
    change, sigma = (table[c].to_numpy(float) for c in ("mass_change_consecutive_mg", "sigma_consecutive_mg"))
    with np.errstate(invalid="ignore", divide="ignore"):
        size = np.where(sigma > 0, np.abs(change) / sigma, np.nan)
    if not np.isfinite(size).any():
        return ()
    k = int(np.nanargmax(np.where(np.isfinite(size), np.abs(change), np.nan)))
    seen = f"{size[k]:.1f} σ" + ("" if size[k] >= SURE else ", below the decision limit")
    return (f"The largest step is the one to {table['scan'].iloc[k]}: {plus_minus(change[k], sigma[k])} mg ({seen}).",)


def main_error(contents: Contents) -> Sequence[str]:
    """Say which cause makes most of the error of the last mass."""
    row = last_mass(contents.table("mass_balance", "scan", "mass_change_mg", "sigma_mg"))
    parts = {} if row is None else parts_of_error(dict(row))
    if row is None or not parts:
        return ()
    (largest, size), total = next(iter(parts.items())), sum(part**2 for part in parts.values())
    said = f"{row['scan']}: {largest} is {100 * size**2 / total:.0f} % of the variance of the mass."
    return (said, *_rings(contents, str(row["scan"])))


def _rings(contents: Contents, scan: str) -> Sequence[str]:
    """Say how far columns of the detector are off, and whether that is in the errors, or why it is not known."""
    try:
        table = contents.table("noise", "scan", "column_error", "column_error_sigma", "rings")
    except AbsentError:
        return ()
    for _, row in table[(table["scan"] == scan) & table["rings"].notna()].iterrows():
        if not math.isfinite(row["column_error"]):
            return (f"Rings about the axis are not in the errors: {row['rings']}.",)
        off = plus_minus(100 * float(row["column_error"]), 100 * float(row["column_error_sigma"]))
        return (f"Columns of the detector are off by {off} % at all angles alike: their rings are {row['rings']}.",)
    return ()


def routes_agree(contents: Contents) -> Sequence[str]:
    """Say whether each other route that is drawn gives the mass of the last scan, in units of the joint error."""
    table = contents.table("mass_routes", "scan", "route", "difference_mg", "sigma_difference_mg")
    known = table[
        (table["sigma_difference_mg"] > 0) & table["difference_mg"].notna() & table["route"].isin(list(NAMES))
    ]
    if "truncated_rows" in known:  # where the sample reaches beyond the detector they do not see all of it
        known = known[~(known["truncated_rows"] > 0)]
    said = []
    for _, row in known[known["scan"] == known["scan"].iloc[-1]].iterrows() if len(known) else ():
        away = abs(float(row["difference_mg"])) / float(row["sigma_difference_mg"])
        verdict = "they agree"
        if away > AGREES:
            verdict = "something changed beside the region too, or an error is larger than stated"
        names = f"{NAMES['volume'][0]} and {NAMES[row['route']][0]}"
        said.append(f"{row['scan']}: {names} differ by {away:.1f} joint σ: {verdict}.")
    return said


def cupping(contents: Contents) -> Sequence[str]:
    """Say how surely grey values of the uniform material differ, and what that would mean for the mass."""
    table = contents.table("grey_scale", "scan", "cupping", "sigma_cupping", "mass_scatter", "mass_nonlinearity")
    known = table[table["sigma_cupping"] > 0]
    if not len(known):
        return ()
    sizes = (known["cupping"].abs() / known["sigma_cupping"]).to_numpy(float)
    row, size = known.iloc[int(sizes.argmax())], float(sizes.max())
    if size < CUPPED:
        return (f"No scan shows cupping beyond {CUPPED:g} σ (at most {size:.1f} σ, {row['scan']}).",)
    low, high = sorted(100 * float(row[name]) for name in ("mass_scatter", "mass_nonlinearity"))
    return (f"{row['scan']}: cupping of {size:.1f} σ; a change of mass may be off by {low:+.1f} to {high:+.1f} %.",)


def peak(name: str, x: str, word: str) -> Callable[[Contents], Sequence[str]]:
    """Return the verdict on a profile: where the last scan changed most, and in how many errors."""

    def verdict(contents: Contents) -> Sequence[str]:
        table = contents.table(name, "scan", x, "density_g_cm3", "sigma_density_g_cm3")
        if "voxels" in table:
            table = table[table["voxels"] >= FEW * table["voxels"].median()]
        table = table[(table["sigma_density_g_cm3"] > 0) & table["density_g_cm3"].notna()]
        if not len(table):
            return ()
        last = table[table["scan"] == table["scan"].iloc[-1]]
        row = last.loc[last["density_g_cm3"].abs().idxmax()]
        value, sigma = float(row["density_g_cm3"]), float(row["sigma_density_g_cm3"])
        size = abs(value) / sigma
        seen = f"{size:.1f} σ" + ("" if size >= SURE else ", below the decision limit")
        shown = f"{plus_minus(value, sigma)} g/cm³ at a {word} of {row[x]:.4g} µm"
        return (f"{row['scan']}: the largest change is {shown} ({seen}).",)

    return verdict


def contact_change(contents: Contents) -> Sequence[str]:
    """Say which material's contact changed most from the first scan to the last."""
    table = contents.table("interface", "scan", "material", "fraction")
    if "offset_voxels" in table:
        table = table[table["offset_voxels"] == table["offset_voxels"].max()]
    of = table["scan"].astype(str)
    names = [name for name in contents.scans if name in set(of)]
    if len(names) < 2:
        return ()
    first, last = (100 * table[of == name].groupby("material")["fraction"].mean() for name in (names[0], names[-1]))
    change = (last - first).dropna().abs()
    if not len(change) or not change.max() > 0:
        return ()
    most = str(change.index[int(change.argmax())])
    shown = f"{first[most]:.1f} % of the ceramic's surface in {names[0]}, {last[most]:.1f} % in {names[-1]}"
    return (f"The contact that changed most is that of {most}: {shown}; no error of it is kept.",)


def volume_change(contents: Contents) -> Sequence[str]:
    """Say which material's volume changed most from the first scan to the last, as a share of what it was."""
    table = contents.table("labels", "scan", "name", "volume_mm3")
    wide = table.assign(scan=table["scan"].astype(str)).pivot_table(index="name", columns="scan", values="volume_mm3")
    names = [name for name in contents.scans if name in wide]
    if len(names) < 2:
        return ()
    first, last = wide[names[0]], wide[names[-1]]
    share = ((last - first) / first).where(first > 0).dropna()
    if not len(share):
        return ()
    most = str(share.abs().idxmax())
    change = f"{100 * share[most]:+.1f} %".replace("-", "\N{MINUS SIGN}")
    text = f"{first[most]:.3g} mm³ in {names[0]}, {last[most]:.3g} mm³ in {names[-1]} ({change})"
    return (f"The material that changed most is {most}: {text}; no error of it is kept.",)


def related(contents: Contents) -> Sequence[str]:
    """Say how often as strong a rank correlation comes by chance with so few scans."""
    scans = related_peaks(contents)["scan"].nunique()
    if scans < FEWEST_FOR_RANK:
        return ("Too few scans for a correlation.",)
    chance = 2 / math.factorial(scans)
    end = ": nothing is concluded." if chance > UNSURE else "."
    return (f"A full rank correlation of {scans} scans, ±1, comes by chance in {100 * chance:.2g} % of cases{end}",)


def match(contents: Contents) -> Sequence[str]:
    """Say how far off the worst match is, and which grey scales are off."""
    table = contents.table("registration", "scan")
    said = []
    if "tre_self" in table and table["tre_self"].notna().any():
        row = table[table["tre_self"].notna()].sort_values("tre_self").iloc[-1]
        said.append(f"The least certain match is that of {row['scan']}: {row['tre_self']:.2g} voxel.")
    if {"gain", "gain_sigma"} <= set(table.columns):
        known = table[table["gain_sigma"] > 0]
        off = known[(known["gain"] - 1).abs() > AGREES * known["gain_sigma"]]
        if len(known):
            which = (
                f"differ from the reference's in {len(off)} of {len(known)} scans"
                if len(off)
                else "are the reference's"
            )
            said.append(f"Grey scales {which}, within {AGREES:g} σ.")
    return said


def centres_agree(contents: Contents) -> Sequence[str]:
    """Say how well the centres are known, and whether the two methods agree."""
    table = contents.table("reconstruction", "scan", "center", "center_sigma", "center_agreement")
    sure = table[table["center_sigma"].notna()]
    both = table[table["center_agreement"].notna()]
    said = []
    if len(sure):
        row = sure.sort_values("center_sigma").iloc[-1]
        said.append(
            f"The least certain centre is that of {row['scan']}: {plus_minus(row['center'], row['center_sigma'])}."
        )
    if len(both):
        row = both.sort_values("center_agreement").iloc[-1]
        verdict = "they agree" if row["center_agreement"] <= NEAR else "they disagree there"
        far = f"{row['center_agreement']:.2g} pixel apart ({row['scan']})"
        said.append(f"The two methods lie at most {far}: {verdict}.")
    return said


def frames_left_out(contents: Contents) -> Sequence[str]:
    """Say how many frames were left out."""
    table = contents.table("frames", "scan", "first", "last", "left_out")
    runs = table[table["left_out"].notna()]
    out = runs[runs["left_out"].astype(str) == "True"]
    number = int((out["last"] - out["first"] + 1).sum())
    told = int((runs["last"] - runs["first"] + 1).sum()) - number
    if not len(runs):
        return ("All frames belong.",)
    return (f"{number} frame{'s' * (number != 1)} left out; {told} told and kept.",)


def resistances(contents: Contents) -> Sequence[str]:
    """Say which arc's resistance changed most from its first spectrum to its last."""
    peaks = related_peaks(contents)
    best: tuple[float, str] | None = None
    for number, rows in peaks.groupby("group"):
        rows = rows[rows["resistance_sigma_ohm"] > 0].sort_values("time_s") if "time_s" in rows else rows.iloc[:0]
        if len(rows) < 2:
            continue
        change = float(rows["resistance_ohm"].iloc[-1] - rows["resistance_ohm"].iloc[0])
        sigma = math.hypot(*(float(rows["resistance_sigma_ohm"].iloc[k]) for k in (0, -1)))
        tau = float(np.exp(np.log(rows["tau_s"].astype(float)).mean()))
        text = f"peak {number} (τ about {tau:.2g} s): {plus_minus(change, sigma)} ohm, {abs(change) / sigma:.0f} σ"
        if best is None or abs(change) > best[0]:
            best = (abs(change), text)
    return (
        ()
        if best is None
        else (f"From the first scan to the last the largest change of resistance is that of {best[1]}.",)
    )
