"""What a run found, as the values that widgets begin with. No Qt."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from xct_pipeline.acquisition.steps import Frame
from xct_pipeline.config import StartMotion
from xct_pipeline.reconstruction.center.find import CenterEstimate
from xct_pipeline.reconstruction.steps.stage import restored_center
from xct_pipeline.registration import transform as tf
from xct_pipeline.store.files import StoreError
from xct_pipeline.store.series import Series

MOTION = [f"m{i}{j}" for i in range(3) for j in range(4)]


def series_at(store: Path) -> Series | None:
    """Return the series of a store, None where nothing was run yet."""
    try:
        return Series.open(store)
    except StoreError:
        return None


def used_center(series: Series, scan: str) -> float | None:
    """Return the detector column that a scan was reconstructed with, None where it was not."""
    table = series.tables.get("reconstruction")
    if table is None or not {"scan", "center"} <= set(table.columns):
        return None
    found = table.loc[table["scan"].astype(str) == scan, "center"]
    return float(found.iloc[0]) if len(found) and np.isfinite(found.iloc[0]) else None


def found_center(series: Series, scan: str, frame: Frame) -> CenterEstimate | None:
    """Return what the search for a scan's centre gave, scores of trial centres included; None where none is kept."""
    values = series.center(scan)
    return restored_center(values, frame) if "curve" in values and "warnings" in values else None


def found_motion(series: Series, scan: str) -> StartMotion | None:
    """Return the motion that registration found, as shift and turn that bring a scan onto the reference.

    None where there is none: for the reference, and where the scan was not registered. What an affine motion stretches
    is left out.
    """
    table = series.tables.get("registration")
    if table is None or not {"scan", *MOTION} <= set(table.columns) or scan not in series.volumes:
        return None
    rows = table.loc[table["scan"].astype(str) == scan, MOTION].to_numpy(float)
    if not len(rows) or not np.isfinite(rows[0]).all() or scan == series.scans[series.reference]:
        return None
    volume = series.volume(scan)
    step = float(volume.coords["y"][1] - volume.coords["y"][0])
    inverse = tf.invert(tf.voxels_to_um(rows[0].reshape(3, 4), 1 / step))
    middle = (np.array(volume.shape) - 1) / 2
    shift = tf.apply(inverse, middle) - middle
    turn = np.degrees(tf.rotation_vector(inverse))
    z, y, x = (round(float(v), 2) for v in shift)
    return StartMotion(shift=(z, y, x), rotation=(round(float(turn[0]), 2), float(turn[1]), float(turn[2])))


def mass_found(series: Series) -> str:
    """Return the change of mass of the last scan with its error, "" where none was measured."""
    from xct_pipeline.report.markup import plus_minus
    from xct_pipeline.variation.steps.told import last_mass

    table = series.tables.get("mass_balance")
    last = None if table is None else last_mass(table)
    if last is None:
        return ""
    return f"{last['scan']}: {plus_minus(float(last['mass_change_mg']), float(last['sigma_mg']))} mg"
