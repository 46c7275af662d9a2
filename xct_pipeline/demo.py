"""The demonstration: a simulated operando cell through the whole pipeline, compared with its known truth.

This is the only place that reads the truth, after the run has ended.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from xct_pipeline import pipeline, show
from xct_pipeline.acquisition.beamline import SimulationSettings
from xct_pipeline.acquisition.simulate import SimulatedSeries, simulate
from xct_pipeline.config_file import load_config
from xct_pipeline.resources import resources
from xct_pipeline.store import Store

CONFIG = """\
# A simulated solid-state sodium cell; every stage reads the raw scans only, never the folder `truth`.
output = "store.zarr"

[acquisition]
scans = ["scan_*.nxs"]

[correction.zinger]
method = "median"

[correction.stripe]
method = "defects"                   # the cell is concentric with the axis: other methods shave its walls

[reconstruction]
center = "auto"
"""


def simulate_folder(
    folder: Path, *, scans: int = 3, columns: int = 160, rows: int = 96, angles: int | None = None, seed: int = 0
) -> Path:
    """Write raw scans, a cycler log, their truth and a configuration for them.

    Returns
    -------
    Path
        The configuration, ``run.toml``.

    Raises
    ------
    ValueError
        The folder holds such files already.
    """
    default = SimulationSettings()
    count = angles or max(default.angles, round(columns * 1.88) | 1)
    settings = SimulationSettings(scans=scans, columns=columns, rows=rows, angles=count)
    return write_config(simulate(folder, settings=settings, seed=seed))


def write_config(series: SimulatedSeries) -> Path:
    """Write the configuration of a simulated series."""
    file = series.folder / "run.toml"
    file.write_text(CONFIG)
    return file


def run_demo(folder: Path, workers: int | None = None, memory: int | None = None) -> None:
    """Simulate a cell (unless the folder holds one already), run every stage and print recovered against true."""
    config = folder / "run.toml"
    if config.exists():
        print(f"{folder} holds a simulated cell already; going on with it")
    else:
        print(f"simulating three scans of a cell in {folder}")
        config = simulate_folder(folder)
    layout = pipeline.plan(load_config(config), resources(workers, memory))
    with show.progress() as progress:
        result = pipeline.run(layout, progress)
    show.print_run(result)
    print_comparison(folder, result.store)


def print_comparison(folder: Path, store: Store) -> None:
    """Print what was recovered beside what is true."""
    truth = json.loads((folder / "truth" / "truth.json").read_text())
    table = Table("scan", "quantity", "recovered", "true", "difference", title="recovered against true")
    for row in compare(truth, store):
        table.add_row(*row)
    Console(highlight=False, width=120).print(table)


def compare(truth: dict[str, Any], store: Store) -> list[tuple[str, str, str, str, str]]:
    """Return rows (scan, quantity, recovered, true, difference) of everything that the store holds."""
    rows = []
    centers = store.read_table("reconstruction")
    for k, name in enumerate(truth["scans"]):
        found, true = float(centers["center"][k]), float(truth["center"][k])
        rows.append((name, "centre, pixel", f"{found:.3f}", f"{true:.3f}", f"{found - true:+.3f}"))
    return rows
