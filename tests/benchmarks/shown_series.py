"""A finished series of a given size for `frames.py`, without the hours that its stages would take.

    python tests/benchmarks/shown_series.py FOLDER --size 1024 --scans 8

Writes what the viewer opens on, with the program's own writer and at its default precision: the registered series of
the cell of `series_store.py` at half its resolution, every other scan with a part of its anode lost, under noise of its
own at full resolution; labels of its materials; the change of density as the formula that a run leaves; masses.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from series_store import ANODE, CERAMIC, VOXEL_UM, CellSource, configuration, scan_names

from xct_pipeline.boxes import Region
from xct_pipeline.config.store import StoreSettings
from xct_pipeline.engine.blocks import Array, BlockOp, Pass
from xct_pipeline.engine.execution import run_passes
from xct_pipeline.engine.resources import Resources
from xct_pipeline.engine.rounding import at_precision
from xct_pipeline.segmentation.steps.labels import describe_labels
from xct_pipeline.store import layout
from xct_pipeline.store.derived import describe
from xct_pipeline.store.image import Image, level_count, shard_thickness
from xct_pipeline.store.store import Store

K_SPECIES = 1.0  # cm2/g
NOISE = 0.1  # 1/cm
EDGES = (0.5 * ANODE, 0.5 * (ANODE + CERAMIC))
MATERIALS = {1: "gas", 2: "anode", 3: "ceramic"}
COLOURS = ("#3c3c3c", "#e6a000", "#006eb4")


@dataclass(frozen=True)
class Doubled:
    """The cell at half the resolution, each voxel twice along every axis, and noise at the full one."""

    cell: CellSource
    noisy: bool

    def nbytes(self, region: Region) -> int:
        """Return the bytes of a region, its noise and what its planes are computed from."""
        return 16 * int(np.prod([part.stop - part.start for part in region]))

    def read(self, region: Region) -> Array:
        """Return (1, z, y, x) in 1/cm."""
        t, z, y, x = region
        half = CellSource(self.cell.size, 0 if t.start % 2 == 0 else 2, 0.0)
        part = tuple(slice(s.start // 2, -(-s.stop // 2)) for s in (z, y, x))
        values = half.read(part).repeat(2, 0).repeat(2, 1).repeat(2, 2)
        if self.noisy:
            rng = np.random.default_rng([t.start, z.start])
            values += np.float32(NOISE) * rng.standard_normal(values.shape, dtype=np.float32)
        return values[None]


def _same(block: Array, before: Region, after: Region) -> Array:
    del before, after
    return block


def _materials(block: Array, before: Region, after: Region) -> Array:
    del before, after
    return (1 + np.digitize(block, EDGES)).astype(np.uint8)


def write(folder: Path, size: int, scans: int, workers: int = 2) -> None:
    """Write the store."""
    store, names = Store(folder), scan_names(scans)
    times = [3600.0 * k for k in range(scans)]
    config = configuration(folder, size, scans)
    store.claim({name: [f"{name}.nxs"] for name in names})
    shown = {"times_s": {name: [t, t] for name, t in zip(names, times, strict=True)}}
    store.update({**shown, "config": config.model_dump(mode="json"), "warnings": [], "facts": {}})
    shape = (size, size, size)
    thickness = shard_thickness(shape)
    note: dict[str, Any] = {"time_s": times, "scans": names}

    def image(path: str, dtype: str, unit: str, labels: bool = False, **more: Any) -> Image:
        levels = level_count(shape, thickness)
        axes = ("t", "z", "y", "x")
        about = {**note, **more}
        return Image(path, axes, (scans, *shape), dtype, unit, thickness, levels, VOXEL_UM, (), labels, None, about)

    cell = CellSource(size // 2, 0, 0.0)
    granule = (1, thickness, size, size)
    grey, kinds = (
        image(layout.REGISTERED, "float32", "1/cm"),
        image(layout.MATERIALS, "uint8", "", True, names=MATERIALS),
    )
    for target, noisy, kernel in ((grey, True, _same), (kinds, False, _materials)):
        op = BlockOp(kernel.__name__, 1, kernel)
        step = at_precision(
            Pass(target, Doubled(cell, noisy), (op,), granule, (0,) * 4, {}), StoreSettings().noise_share
        )
        (result,) = run_passes(store, [step], Resources(workers, 8 * 2**30))
        if result.problem:
            raise RuntimeError(result.problem)
    describe_labels(store, layout.MATERIALS, MATERIALS, COLOURS)
    for path, unit, slope in ((layout.ATTENUATION, "1/cm", 1.0), (layout.DENSITY, "g/cm3", 1 / K_SPECIES)):
        planes = [((t, 0, slope, 0.0),) if t else () for t in range(scans)]
        describe(store, image(path, "float32", unit), planes)
    mass = [-0.02 * (k % 2) for k in range(scans)]
    balance = {"scan": names, "time_s": times, "charge_C": [0.0] * scans, "mass_change_mg": mass, "sigma_mg": 1e-3}
    store.write_table("mass_balance", pd.DataFrame(balance))


def main() -> None:
    """Write a series."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--scans", type=int, default=8)
    given = parser.parse_args()
    write(given.folder, given.size, given.scans)


if __name__ == "__main__":
    main()
