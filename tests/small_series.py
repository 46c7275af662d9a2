"""Eleven small scans of a simulated cell, run to the end: what tests of everything that reads a store look at.

The names sort differently as text (`scan_10` before `scan_2`) than in time.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
from command import shell

from xct_pipeline.demo import write_config
from xct_pipeline.simulation.simulate import SimulationSettings, simulate
from xct_pipeline.store.files import read_attributes, write_group

SCANS = tuple(f"scan_{k}" for k in range(1, 12))
TIMES_S = tuple(300.0 + 4200.0 * k for k in range(11))
REFERENCE = 0
SETTINGS = SimulationSettings(
    scans=11,
    rows=40,
    columns=48,
    angles=61,
    pixel_size_um=100 / 3,
    supersample=1,
    flats=4,
    darks=2,
    defective_columns=0,
    dead_pixels=0,
    zinger_fraction=0.0,
    shift_voxels=1.0,
)


def run_series(folder: Path) -> Path:
    """Simulate the scans, rename them and run every stage; return the store. About 30 CPU-seconds."""
    config = write_config(simulate(folder, settings=SETTINGS, seed=0))
    shutil.rmtree(folder / "truth")
    for k in reversed(range(len(SCANS))):
        (folder / f"scan_{k:02d}.nxs").rename(folder / f"{SCANS[k]}.nxs")
    time_s = np.arange(400.0)
    sweep = {"time_s": time_s, "Ewe/V": 3 + 0.5 * np.abs((time_s / 100) % 2 - 1), "I/mA": np.sin(time_s / 50)}
    pd.DataFrame(sweep).to_csv(folder / "sweep.csv", index=False)
    current = np.where((time_s // 100) % 2 == 0, 1.0, -1.0)
    cycles = {"time_s": time_s * 60, "Ewe/V": 3.5 + 0.2 * current, "I/mA": current}
    pd.DataFrame(cycles).to_csv(folder / "cycles.csv", index=False)
    config.write_text(config.read_text().replace("[reconstruction]\n", "[reconstruction]\nhalves = true\n"))
    with config.open("a") as file:
        file.write(
            '[electrochemistry.voltammetry]\nfile = "sweep.csv"\n[electrochemistry.cycling]\nfile = "cycles.csv"\n'
        )
    ended = shell("run", config, timeout=540)
    assert ended.code == 0, ended.err
    return folder / "store.zarr"


def as_written_before(store: Path) -> Path:
    """Take out of a copy of the store what versions that did not keep the order of the scans did not write."""
    for file in [store / "zarr.json", *store.rglob("zarr.json")]:
        document = json.loads(file.read_text())
        attributes = document.get("attributes", {})
        if document["node_type"] == "group" and "xct" in attributes:
            kept = {key: value for key, value in attributes["xct"].items() if key not in ("order",)}
            if file.parent != store:
                kept.pop("scans", None)
            write_group(file.parent, {**read_attributes(file.parent), "xct": kept})
    (store / "tables" / "areal_noise.csv").unlink()
    shutil.rmtree(store / "variation" / "areal_noise")
    return store
