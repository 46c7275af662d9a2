"""Scans of a simulated cell that does not change: does their scatter follow the stated errors?

    python tests/benchmarks/unchanged.py                        # 20 scans, 96 x 80, each condition
    python tests/benchmarks/unchanged.py --scans 10 --only scatter

`factor` is the scatter of the totals over what their errors say, one half of the variance being the reference's in all
of them; 20 scans tell it to 16 %. Only the terms that scatter between repeats are taken, those that a null experiment
takes. `gain` and `offset` are the same of the grey scale (1 and 0, unless the condition itself changes it between
scans). The others are root mean square pulls of what is truly 0: totals, shells of the profile and pixels of the map,
next to the axis (three pixels) and away from it. Of the shells the outermost stands apart: one voxel off the anode's
wall at 80 columns, it holds what resampling leaves of that; and so do those within 1.6 voxels of a column that is
defective in all scans, of which `defects` corrects the mean.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from pathlib import Path

import numpy as np
from conditions import CONDITIONS, chosen_of, simulated

from xct_pipeline import open_table, pipeline
from xct_pipeline.config.file import load_config
from xct_pipeline.engine.resources import Resources
from xct_pipeline.store.opened import open_image
from xct_pipeline.variation.budget import NULL_TERMS
from xct_pipeline.variation.null import null_test

CHARGE = re.compile(r"(?ms)^\[electrochemistry.*?(?=^\[(?!electrochemistry)|\Z)")
DEFECT = 1.6  # voxels, as far as a defective column is seen in a profile
OF_CHANGES = ("log_late_s", "uncharged", "voids")  # settings that say nothing where nothing changes


def run_one(condition: str, folder: Path, *, scans: int, columns: int, rows: int, seed: int) -> dict[str, float]:
    """Map the change of a cell that does not change, and return how it scatters."""
    size = {"columns": columns, "rows": rows, "seed": seed}
    config = simulated(condition, folder, scans=scans, stripped=0.0, **size)
    config.write_text(CHARGE.sub("", config.read_text()))
    done = pipeline.run(pipeline.plan(load_config(config), Resources(1, 4_000_000_000)))
    return pulls(done.store.path)


def pulls(store: Path) -> dict[str, float]:
    """Return the root mean squares of what was found over its error."""
    balance = open_table(store, "mass_balance").iloc[1:]
    motions = open_table(store, "registration").set_index("scan").loc[balance["scan"]]
    null = np.sqrt((balance[[f"sigma_{term}_mg" for term in NULL_TERMS]] ** 2).sum(axis=1))
    scatter = {
        "factor": (balance["mass_change_mg"], null),
        "gain": (motions["gain"] - 1, motions["gain_sigma"]),
        "offset": (motions["offset"], motions["offset_sigma"]),
    }
    radial = open_table(store, "radial_profile")
    radial = radial[radial["scan"].isin(balance["scan"])]
    shell = radial["density_g_cm3"] / radial["sigma_density_g_cm3"]
    radius = radial["radius_um"].to_numpy() / np.diff(radial["radius_um"].iloc[:2])[0]
    inner, edge, defect = radius < 3, radius > radius.max() - 0.5, _near_defects(store, radius)
    areal, sigma = (np.asarray(open_image(store / "variation" / name))[1:] for name in ("areal", "areal_sigma"))
    y, x = (np.arange(n) - (n - 1) / 2 for n in areal.shape[1:])
    near, pixel = np.hypot(y[:, None], x) < 3, areal / sigma
    parts = {
        "totals": balance["mass_change_mg"] / balance["sigma_mg"],
        "inner shells": shell[inner],
        "shells": shell[~(inner | edge | defect)],
        "at the wall": shell[edge],
        "at defects": shell[defect & ~edge],
        "inner pixels": pixel[:, near],
        "pixels": pixel[:, ~near],
    }
    factors = {name: null_test(*of, with_reference=True).factor for name, of in scatter.items()}
    return factors | {name: float(np.sqrt(np.nanmean(np.square(values)))) for name, values in parts.items()}


def _near_defects(store: Path, radius: np.ndarray) -> np.ndarray:
    """Tell which radii, in voxels, lie about a column that is defective in all scans."""
    truth = json.loads((store.parent / "truth" / "truth.json").read_text())
    rings = np.array([abs(one["column"] - truth["center"][0]) for one in truth["defective_columns"]])
    return np.abs(radius[:, None] - rings).min(axis=1, initial=np.inf) <= DEFECT


def main() -> None:
    """Print the table from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scans", type=int, default=20)
    parser.add_argument("--columns", type=int, default=80)
    parser.add_argument("--rows", type=int, default=96)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append", help="condition, or part of its name; may be repeated")
    given = parser.parse_args()
    size = {"scans": given.scans, "columns": given.columns, "rows": given.rows, "seed": given.seed}
    titles = ["factor", "gain", "offset", "totals", "inner shells", "shells", "at the wall", "at defects"]
    titles += ["inner pixels", "pixels"]
    print("| condition | " + " | ".join(titles) + " |\n|" + " --- |" * (len(titles) + 1))
    for name in chosen_of((n for n, settings in CONDITIONS.items() if not set(settings) & set(OF_CHANGES)), given.only):
        with tempfile.TemporaryDirectory(prefix="xct-unchanged-") as folder:
            found = run_one(name, Path(folder) / "cell", **size)
        print(f"| {name} | " + " | ".join(f"{found[title]:.2f}" for title in titles) + " |", flush=True)


if __name__ == "__main__":
    main()
