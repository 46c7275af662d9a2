"""What corrections of a scan leave: errors of the motion that was undone, and of the weights of its dynamic flats."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from xct_pipeline.scan import Scan
from xct_pipeline.store import layout
from xct_pipeline.store.store import Store

if TYPE_CHECKING:
    from xct_pipeline.variation.steps.series import RegisteredSeries

# grey value in a slice where all line integrals are off by 1, times the width of the detector: the reconstruction
# continues their value beyond its edges (`tests/unit/variation/test_residues.py`)
LEVEL = 0.4
COLUMNS = ("motion_rows_sigma", "motion_columns_sigma", "flat_change_sigma")


class Residue(NamedTuple):
    """Standard errors that a scan has by how it was corrected."""

    shift_voxel: float
    """of where the sample was seen, as far as no registration takes it out"""
    offset: float
    """of grey values, 1/cm"""


def residues_of(series: RegisteredSeries, store: Store) -> tuple[Residue, ...]:
    """Return what corrections leave in each scan, from the table of the reconstruction; empty without one.

    The errors of a motion in single projections are smooth in time and hardly cancel over a scan: they count whole, as
    if registration saw none of it. Those of flats are noise of each projection's air, and cancel over the projections.
    """
    if not (store.path / layout.TABLE(table="reconstruction")).exists():
        return ()
    table = (
        store.read_table("reconstruction").set_index("scan").reindex(columns=list(COLUMNS))
    )  # of volumes: without them
    width_cm = series.frame[2] * (series.volume.voxel_um or math.inf) * 1e-4
    found = []
    for name, scan in zip(series.names, series.scans, strict=True):
        rows, columns, flats = (float(table[column].get(name, math.nan)) for column in table)
        shift = math.hypot(*(one for one in (rows, columns) if math.isfinite(one)))
        count = len(scan.angles) if isinstance(scan, Scan) else 1
        left = flats / math.sqrt(count) if math.isfinite(flats) else 0.0
        found.append(Residue(shift, LEVEL * left / width_cm))
    return tuple(found)


def of_pair(series: RegisteredSeries, pair: tuple[int, int]) -> Residue:
    """Return the errors of the difference of two scans."""
    both = [series.residues[k] for k in pair if k < len(series.residues)]
    return Residue(math.hypot(*(one.shift_voxel for one in both)), math.hypot(*(one.offset for one in both)))
