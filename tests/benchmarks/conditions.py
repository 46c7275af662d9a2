"""What conditions that are not ideal do to the mass of a simulated cell, and whether it is told.

    python tests/benchmarks/conditions.py                       # 96 x 80, about ten minutes on one core
    python tests/benchmarks/conditions.py --columns 160 --seed 3 --only scatter

Two scans of one cell, of the same seed in every row; the cell keeps its size, whatever the columns. The error is of
the change of mass in per cent of the true one and in units of the stated standard error.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from xct_pipeline import demo, pipeline
from xct_pipeline.config.file import load_config
from xct_pipeline.engine.resources import Resources

CELL_UM = 1600.0  # width of the field of view
PHOTONS = 4.5e4  # with room for scatter in 16 bits
CONDITIONS: Mapping[str, Mapping[str, Any]] = {
    "ideal": {},
    "scatter 3 %": {"scatter": 0.03},
    "response not linear by 2 %": {"nonlinearity": 0.02},
    "spectrum 12 keV wide": {"spectrum_keV": 12.0},
    "dark risen by 0.5 % in one scan": {"dark_drift": 0.005},
    "axis tilted by 0.3 degree": {"axis_tilt_deg": 0.3},
    "axis leaning by 0.3 degree": {"axis_lean_deg": 0.3},
    "motion within a scan, 1.5 pixels": {"drift_voxels": 1.5},
    "the same, motion = moments": {"drift_voxels": 1.5},
    "flats of the first scan, bands change by 2 %": {"flat_drift": 0.02, "flats_of_first": True},
    "the same, dynamic flats": {"flat_drift": 0.02, "flats_of_first": True},
    "gains of pixels drift by 1 % (rings)": {"gain_drift": 0.01},
    "clock of the log 19 minutes behind": {"log_late_s": 1140.0},
    "gas outside the charge, 20 %": {"uncharged": 0.2},
    "stripping from the ceramic on": {"voids": "interface"},
    "the same, region = anode": {"voids": "interface"},
}

ADDED: Mapping[str, str] = {  # to the configuration, as the warnings ask
    "the same, motion = moments": '\n[correction]\nmotion = "moments"\n',
    "the same, dynamic flats": '\n[correction.flatfield]\nmethod = "dynamic"\n',
}
FLATS_OF_FIRST = ('scans = ["scan_*.nxs"]', 'scans = ["scan_*.nxs"]\nflats = ["scan_00.nxs"]')
WHOLE = "region = anode"  # in place of a cylinder off the ceramic
SEEN = re.compile(r"^scan_\d+: ")  # of which scan


class Row(NamedTuple):
    """What came of one condition."""

    condition: str
    percent: float
    sigmas: float
    sigma_percent: float
    told: tuple[str, ...]

    @property
    def near(self) -> bool:
        """Whether the mass is within 2 % and two standard errors."""
        return abs(self.percent) <= 2 and abs(self.sigmas) <= 2

    @property
    def covered(self) -> bool:
        """Whether a warning was given and the mass is within two standard errors."""
        return bool(self.told) and abs(self.sigmas) <= 2


def simulated(condition: str, folder: Path, *, columns: int, rows: int, seed: int, **more: Any) -> Path:
    """Simulate a cell under one condition, with `more` of the simulator's settings; return its configuration."""
    size = {"columns": columns, "rows": rows, "seed": seed, "pixel_size_um": CELL_UM / columns, "photons": PHOTONS}
    wide = {"scatter_pixels": columns / 4} if "scatter" in CONDITIONS[condition] else {}
    config = demo.simulate_folder(folder, **size, **wide, **CONDITIONS[condition], **more)
    text = config.read_text() + ADDED.get(condition, "")
    if WHOLE in condition:
        text = re.sub(r"(?m)^region = .*$", 'region = "anode"', text)
    config.write_text(text.replace(*FLATS_OF_FIRST) if CONDITIONS[condition].get("flats_of_first") else text)
    return config


def run_one(condition: str, folder: Path, *, columns: int, rows: int, seed: int) -> Row:
    """Simulate a cell under one condition and map its mass."""
    config = simulated(condition, folder, columns=columns, rows=rows, seed=seed, scans=2)
    done = pipeline.run(pipeline.plan(load_config(config), Resources(1, 4_000_000_000)))
    truth = json.loads((folder / "truth" / "truth.json").read_text())["mass_change_mg"][-1]
    last = done.store.read_table("mass_balance").iloc[-1]
    off, sigma = float(last["mass_change_mg"]) - truth, float(last["sigma_mg"])
    told = [text for scan in done.scans for text in scan.warnings] + list(done.warnings)
    return Row(condition, 100 * off / abs(truth), off / sigma, 100 * sigma / abs(truth), tuple(told))


def run_all(chosen: Iterable[str], *, columns: int = 80, rows: int = 96, seed: int = 1) -> list[Row]:
    """Run conditions one after the other."""
    found = []
    for condition in chosen:
        with tempfile.TemporaryDirectory(prefix="xct-conditions-") as folder:
            found.append(run_one(condition, Path(folder) / "cell", columns=columns, rows=rows, seed=seed))
        print(table(found[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
    return found


def table(rows: Iterable[Row]) -> str:
    """Return the results as Markdown."""
    text = ["| condition | error of the mass | in sigma | sigma | told |", "| --- | --- | --- | --- | --- |"]
    for row in rows:
        told = "; ".join(dict.fromkeys(SEEN.sub("", warning).split(" (")[0][:70] for warning in row.told)) or "-"
        text.append(
            f"| {row.condition} | {row.percent:+.1f} % | {row.sigmas:+.1f} | {row.sigma_percent:.1f} % | {told} |"
        )
    return "\n".join(text)


def chosen_of(names: Iterable[str], parts: Sequence[str] | None) -> list[str]:
    """Return the names that hold one of some parts, all where there are none."""
    return [name for name in names if not parts or any(part in name for part in parts)]


def main() -> None:
    """Print the table from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--columns", type=int, default=80)
    parser.add_argument("--rows", type=int, default=96)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append", help="condition, or part of its name; may be repeated")
    given = parser.parse_args()
    chosen = chosen_of(CONDITIONS, given.only)
    print(table(run_all(chosen, columns=given.columns, rows=given.rows, seed=given.seed)))


if __name__ == "__main__":
    main()
