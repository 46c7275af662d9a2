"""``tables/reconstruction.csv``: how each scan was reconstructed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xct_pipeline.acquisition.levels import Finding
from xct_pipeline.acquisition.selection import runs
from xct_pipeline.acquisition.volumes.given import NOT_MEASURED, GivenVolume
from xct_pipeline.correction.steps.fields import Fields
from xct_pipeline.correction.steps.stage import COUNTS
from xct_pipeline.engine.blocks import Array
from xct_pipeline.engine.execution import PassResult
from xct_pipeline.reconstruction.center.find import CenterEstimate
from xct_pipeline.reconstruction.steps.halves import crossings, noise_of, shells_of, where_of
from xct_pipeline.reconstruction.steps.motion import Motion
from xct_pipeline.reconstruction.steps.stage import unit_of
from xct_pipeline.reconstruction.steps.upright import AxisTilt
from xct_pipeline.store.store import Store
from xct_pipeline.store.tables import TABLES

if TYPE_CHECKING:
    import pandas as pd

UNITS = ("voxel", "um")
TILT = ("tilt_deg", "tilt_sigma", "lean_deg", "lean_sigma", "lift", "lift_sigma")


def table_row(
    name: str,
    opened: bool,
    center: CenterEstimate | None,
    tilt: AxisTilt | None,
    motion: Motion | None,
    fields: Fields | None,
    pixel: float | None,
    passes: Sequence[PassResult],
    problem: str | None,
    halves: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the row of one scan.

    Parameters
    ----------
    opened : bool
        Whether the raw scan could be read.
    fields : Fields or None
        What is known of the detector and the beam.
    pixel : float or None
        Edge of a voxel in micrometre.
    halves : mapping, optional
        Columns from `halves_columns`.
    """
    counts: Counter[str] = Counter()
    for passed in passes:
        counts.update(passed.counts)
    return {
        "scan": name,
        "center": center.center if center else None,
        "center_sigma": center.sigma if center else None,
        "center_agreement": center.agreement if center else None,
        "center_method": center.method if center else None,
        **_tilt_columns(tilt),
        **_motion_columns(motion),
        "unit": unit_of(pixel) if opened else None,
        "voxel_size_um": pixel,
        **_beam_columns(fields),
        **{key: counts[key] for key in (*COUNTS, "truncated_rows")},
        **(halves or {}),
        "seconds": round(sum(passed.seconds for passed in passes), 2),
        "problem": problem,
    }


def _beam_columns(fields: Fields | None) -> dict[str, Any]:
    """Return what is known of air and of flats that age."""
    margin = fields.margin if fields else None
    change = fields.flat_change if fields else None
    left = fields.flat_left if fields else None
    of_flats, of_bands = (None, None) if fields is None or change is None else fields.components
    return {
        "margin_left": margin[0] if margin else None,
        "margin_right": margin[1] if margin else None,
        "flat_components": of_flats,
        "flat_bands": of_bands,
        "flat_change": change[0] if change else None,
        "flat_change_sigma": change[1] if change else None,
        "flat_left": left[0] if left else None,
        "flat_left_sigma": left[1] if left else None,
    }


def _motion_columns(motion: Motion | None) -> dict[str, Any]:
    """Return what is known of the sample's motion within the scan."""
    size = motion.size if motion else None
    sigma = motion.sigma if motion else None
    return {
        "motion_rows": size[0] if size else None,
        "motion_rows_sigma": sigma[0] if sigma else None,
        "motion_columns": size[1] if size else None,
        "motion_columns_sigma": sigma[1] if sigma else None,
        "motion_method": motion.method if motion else None,
    }


def _tilt_columns(tilt: AxisTilt | None) -> dict[str, Any]:
    """Return what is known of the axis's tilt; empty where nothing is."""
    found = tilt.found if tilt else None
    known = {} if found is None else {name: getattr(found, name) for name in TILT}
    corrected = {
        "tilt_corrected_deg": tilt.corrected_deg if tilt else None,
        "lean_corrected_deg": tilt.lean_corrected_deg if tilt else None,
        "tilt_method": tilt.method if tilt else None,
    }
    return {name: known.get(name) for name in TILT} | corrected


def volume_row(
    name: str,
    volume: GivenVolume,
    passes: Sequence[PassResult],
    problem: str | None,
    halves: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the row of a scan that starts as a volume: what projections would have told is empty, and named."""
    return {
        "scan": name,
        "center_method": "none: starts from a volume",
        "unit": "1/cm",
        "voxel_size_um": volume.voxel_um,
        **(halves or {}),
        "seconds": round(sum(passed.seconds for passed in passes), 2),
        "starts_from": f"volume ({volume.format})",
        "not_measured": NOT_MEASURED,
        "problem": problem,
    }


def write_table(store: Store, rows: Sequence[dict[str, Any]]) -> None:
    """Write the rows of all scans, in the order of the configuration."""
    import pandas as pd

    store.write_table("reconstruction", pd.DataFrame(list(rows)))


def halves_columns(found: Mapping[str, Array], problem: str, pixel: float | None) -> dict[str, Any]:
    """Return what even and odd projections told of a scan, as columns of its row.

    Parameters
    ----------
    found : mapping
        The result of `halves_step`; empty where nothing is known, and `problem` says why.
    pixel : float or None
        Edge of a voxel in micrometre.
    """
    names = ("noise_halves", "noise_halves_sigma")
    row: dict[str, Any] = dict.fromkeys((*names, *(f"resolution{c}_{u}" for c in ("", "_seventh") for u in UNITS)))
    row["halves"] = problem
    if not found:
        return row
    row |= zip(names, noise_of(found), strict=True)
    for criterion, frequency in zip(("", "_seventh"), crossings(found), strict=True):
        row[f"resolution{criterion}_voxel"] = 1 / frequency
        row[f"resolution{criterion}_um"] = None if pixel is None else pixel / frequency
    return row | {"halves": where_of(found)}


def shells_table(scans: Sequence[tuple[str, Mapping[str, Array], float | None]]) -> pd.DataFrame:
    """Return the correlation of halves in shells of spatial frequency, of all scans where it is known.

    Parameters
    ----------
    scans : sequence of (name, result of `halves_step`, edge of a voxel in micrometre)
    """
    import pandas as pd

    frames = [pd.DataFrame(columns=[column.name for column in TABLES["shell_correlation"].columns])]
    for name, found, pixel in scans:
        if found:
            shells = shells_of(found)
            columns = {
                "scan": name,
                "frequency_per_voxel": shells.frequency,
                "frequency_per_um": shells.frequency / (pixel or np.nan),
                "correlation": shells.correlation,
                "correlation_sigma": shells.sigma,
                "half_bit": shells.half_bit,
                "independent": shells.independent,
            }
            frames.append(pd.DataFrame(columns))
    return pd.concat(frames[1:], ignore_index=True) if len(frames) > 1 else frames[0]


def frames_table(scans: Sequence[tuple[str, Mapping[str, int], Sequence[Finding]]]) -> pd.DataFrame:
    """Return what was found of frames: a summary for each kind of each scan, then the runs of those that deviate.

    Parameters
    ----------
    scans : sequence of (name, counts, findings)
        `counts` are the frames of each kind that were looked at.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for name, counts, findings in scans:
        for kind, count in counts.items():
            out = len({k for f in findings if f.kind == kind and f.left_out for k in f.frames})
            text = f"{out} left out" if out else "all belong"
            rows.append({"scan": name, "kind": kind, "first": 0, "last": count - 1, "frames": count, "finding": text})
        rows += [
            {
                "scan": name,
                "kind": found.kind,
                "first": first,
                "last": last,
                "frames": last - first + 1,
                "level": found.level,
                "left_out": found.left_out,
                "finding": found.what,
            }
            for found in findings
            for first, last in runs(found.frames)
        ]
    columns = ["scan", "kind", "first", "last", "frames", "level", "left_out", "finding"]
    return pd.DataFrame(rows, columns=columns)


def write_frames(store: Store, scans: Sequence[tuple[str, Mapping[str, int], Sequence[Finding]]]) -> None:
    """Write ``tables/frames.csv``."""
    store.write_table("frames", frames_table(scans))
