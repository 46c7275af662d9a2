"""The demonstration: a simulated operando cell through the whole pipeline, compared with its known truth.

This is the only place that reads the truth, after the run has ended.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from dask.utils import format_bytes

from xct_pipeline import pipeline
from xct_pipeline.config.file import load_config
from xct_pipeline.engine.execution import Progress
from xct_pipeline.engine.resources import resources
from xct_pipeline.outputs import written_whole
from xct_pipeline.planning.plan import Plan
from xct_pipeline.simulation.beamline import SimulationSettings
from xct_pipeline.simulation.simulate import SimulatedSeries, simulate, unfinished
from xct_pipeline.store.files import RefusedError
from xct_pipeline.store.store import Store

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

[registration]
method = "rigid"
reference = 0
mask = {{ min_attenuation = 4.0 }}     # the ceramic does not change

[segmentation]
method = "watershed"
thresholds = [0.12, 0.44, 4.0]       # 1/cm, half-way between materials
names = ["gas", "light", "anode", "ceramic"] # from dark to bright; polymer and metal without its sodium look alike
ceramic = "ceramic"

[segmentation.interface]
offsets = [2.0, 8.0]                 # voxels; what leaves this cell begins six voxels above the ceramic
partners = ["ceramic"]               # what touches it on all sides

[variation]
species = "Na"
closure = "na_only"
region = {{ cylinder = {{ z = [{first}, {stop}], radius = {radius} }} }}

[electrochemistry]
log = "cycler.csv"
time = "time_s"
charge = "charge_C"
voltage = "voltage_V"
"""

MOST_SCANS = 10_000
IMPEDANCE = """
[[electrochemistry.impedance]]
file = "{file}"
scan = {scan}
"""


def simulate_folder(
    folder: Path,
    *,
    scans: int = 3,
    columns: int = 160,
    rows: int = 96,
    angles: int | None = None,
    seed: int = 0,
    **imperfections: Any,
) -> Path:
    """Write raw scans, a cycler log, their truth and a configuration for them.

    Parameters
    ----------
    scans, columns, rows, angles, seed
        As `SimulationSettings` has them; the number of angles follows from the columns.
    **imperfections
        Other fields of `SimulationSettings`.

    Returns
    -------
    Path
        The configuration, ``run.toml``.

    Raises
    ------
    ValueError
        The folder holds such files already; those of the same call that was stopped are finished.
    """
    default = SimulationSettings()
    count = angles or max(default.angles, round(columns * 1.88) | 1)
    small = min(1.0, columns / default.columns)  # the same picture on fewer pixels: air stays at its edges
    settings = SimulationSettings(
        scans=scans,
        columns=columns,
        rows=rows,
        angles=count,
        center_offset=small * default.center_offset,
        center_spread=small * default.center_spread,
        shift_voxels=small * default.shift_voxels,
        **imperfections,
    )
    _refuse(settings)
    simulate(folder, settings=settings, seed=seed, last=write_config)
    return folder / "run.toml"


def _refuse(settings: SimulationSettings) -> None:
    """Refuse a series that this machine cannot hold, by what its cell and the frames of one scan take at the least.

    Raises
    ------
    RefusedError
        With the figure.
    """
    if settings.scans > MOST_SCANS:
        raise RefusedError(f"{settings.scans} scans: at most {MOST_SCANS} are simulated")
    need = 8 * settings.rows * settings.columns * (settings.columns + settings.angles)
    limit = resources().memory
    if need > limit:
        raise RefusedError(
            f"a cell of {settings.rows} x {settings.columns} x {settings.columns} voxels and {settings.angles} angles "
            f"take at least {format_bytes(need)} of memory, and {format_bytes(limit)} may be used; make it smaller"
        )


def write_config(series: SimulatedSeries) -> Path:
    """Write the configuration of a simulated series."""
    file = series.folder / "run.toml"
    first, stop = series.region_z
    spectra = "".join(IMPEDANCE.format(file=path.name, scan=k) for k, path in enumerate(series.spectra))
    with written_whole(file) as part:
        part.write_text(CONFIG.format(first=first, stop=stop, radius=series.region_radius) + spectra)
    return file


def plan_demo(folder: Path, workers: int | None = None, memory: int | None = None) -> Plan:
    """Simulate a cell, unless the folder holds one already, and lay out every stage on it."""
    config = folder / "run.toml"
    if not config.exists() or unfinished(folder):
        simulate_folder(folder)
    return pipeline.plan(load_config(config), resources(workers, memory))


def run_demo(
    folder: Path, workers: int | None = None, memory: int | None = None, progress: Progress | None = None
) -> pipeline.RunResult:
    """Simulate a cell, unless the folder holds one already, and run every stage on it."""
    return pipeline.run(plan_demo(folder, workers, memory), progress)


def compare(folder: Path, store: Store) -> list[tuple[str, str, str, str, str]]:
    """Return rows (scan, quantity, recovered, true, difference) of everything that the store of a demo holds."""
    truth = json.loads((folder / "truth" / "truth.json").read_text())
    rows = []
    centers = store.read_table("reconstruction")
    motions = store.read_table("registration")
    balance = store.read_table("mass_balance")
    for k, name in enumerate(truth["scans"]):
        found, true = float(centers["center"][k]), float(truth["center"][k])
        rows.append((name, "centre, pixel", f"{found:.3f}", f"{true:.3f}", f"{found - true:+.3f}"))
        if k == 0:
            continue
        shift, expected = (_middle_shift(m, truth) for m in (_matrix(motions, k), np.array(truth["motion"][k])))
        apart = float(np.linalg.norm(shift - expected))
        shown = ["(" + ", ".join(f"{v:.3f}" for v in values) + ")" for values in (shift, expected)]
        rows.append((name, "motion of the middle (z, y, x), voxel", *shown, f"{apart:.3f}"))
        mass, sigma, true = balance["mass_change_mg"][k], balance["sigma_mg"][k], truth["mass_change_mg"][k]
        share = 100 * (mass - true) / abs(truth["mass_change_mg"][-1])
        recovered = f"{mass:.5f} +- {sigma:.5f}"
        rows.append((name, "change of Na, mg", recovered, f"{true:.5f}", f"{share:+.1f} % of the full change"))
    fit = store.read_table("faraday")
    slope, sigma = (float(fit[column][list(fit["quantity"]).index("slope")]) for column in ("value", "sigma"))
    rows += _interface_rows(truth, store) + _contact_rows(truth, store)
    rows.append(("all", "slope of the Faraday balance", f"{slope:.3f} +- {sigma:.3f}", "1", f"{slope - 1:+.3f}"))
    return rows


def _interface_rows(truth: dict[str, Any], store: Store) -> list[tuple[str, str, str, str, str]]:
    """Compare the resistance of the interface, the slowest peak of each spectrum, with the simulated one."""
    if not (store.path / "tables" / "drt_peaks.csv").exists() or "interface_ohm" not in truth:
        return []
    peaks = store.read_table("drt_peaks")
    rows = []
    for k, name in enumerate(truth["scans"]):
        found = peaks[(peaks["scan"].astype(str) == name) & (peaks["peak"] > 0)].sort_values("tau_s")
        if len(found):
            value, sigma, true = (
                float(found["resistance_ohm"].iloc[-1]),
                float(found["resistance_sigma_ohm"].iloc[-1]),
                float(truth["interface_ohm"][k]),
            )
            shown = f"{value:.2f} +- {sigma:.2f}"
            rows.append((name, "resistance of the interface, ohm", shown, f"{true:.2f}", f"{value - true:+.2f}"))
    return rows


def _contact_rows(truth: dict[str, Any], store: Store) -> list[tuple[str, str, str, str, str]]:
    """Compare the contact of the metal with the ceramic, as a share of the first scan's, with the simulated one."""
    if not (store.path / "tables" / "interface.csv").exists() or "contact" not in truth:
        return []
    table = store.read_table("interface")
    table = table[(table["material"] == "anode") & (table["offset_voxels"] == table["offset_voxels"].max())]
    found = table.set_index(table["scan"].astype(str))["fraction"]
    rows = []
    for k, name in enumerate(truth["scans"]):
        if k and name in found.index and truth["scans"][0] in found.index:
            share, true = float(found[name] / found[truth["scans"][0]]), truth["contact"][k] / truth["contact"][0]
            shown = "contact with the ceramic, of the first scan's"
            rows.append((name, shown, f"{share:.3f}", f"{true:.3f}", f"{share - true:+.3f}"))
    return rows


def _matrix(table: pd.DataFrame, row: int) -> npt.NDArray[np.float64]:
    return np.array([[table[f"m{i}{j}"][row] for j in range(4)] for i in range(3)], float)


def _middle_shift(matrix: npt.NDArray[np.float64], truth: dict[str, Any]) -> npt.NDArray[np.float64]:
    """Return how far a motion (micrometre) takes the middle of the volume, in voxels."""
    middle = (np.array(truth["shape"]) - 1) / 2 * truth["voxel_um"]
    return np.asarray((matrix[:, :3] @ middle + matrix[:, 3] - middle) / truth["voxel_um"])
