"""``tables/reconstruction.csv``: how each scan was reconstructed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from xct_pipeline.acquisition.levels import Finding
from xct_pipeline.acquisition.selection import runs
from xct_pipeline.acquisition.volumes.given import NOT_MEASURED, GivenVolume
from xct_pipeline.correction.steps.stage import COUNTS
from xct_pipeline.engine.execution import PassResult
from xct_pipeline.reconstruction.center.find import CenterEstimate
from xct_pipeline.reconstruction.steps.stage import unit_of
from xct_pipeline.reconstruction.steps.upright import AxisTilt
from xct_pipeline.store.store import Store

if TYPE_CHECKING:
    import pandas as pd

TILT = ("tilt_deg", "tilt_sigma", "lean_deg", "lean_sigma", "lift", "lift_sigma")


def table_row(
    name: str,
    opened: bool,
    center: CenterEstimate | None,
    tilt: AxisTilt | None,
    margin: tuple[int, int] | None,
    pixel: float | None,
    passes: Sequence[PassResult],
    problem: str | None,
) -> dict[str, Any]:
    """Return the row of one scan.

    Parameters
    ----------
    opened : bool
        Whether the raw scan could be read.
    margin : (int, int) or None
        Columns of air at the left and right edge.
    pixel : float or None
        Edge of a voxel in micrometre.
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
        "unit": unit_of(pixel) if opened else None,
        "voxel_size_um": pixel,
        "margin_left": margin[0] if margin else None,
        "margin_right": margin[1] if margin else None,
        **{key: counts[key] for key in (*COUNTS, "truncated_rows")},
        "seconds": round(sum(passed.seconds for passed in passes), 2),
        "problem": problem,
    }


def _tilt_columns(tilt: AxisTilt | None) -> dict[str, Any]:
    """Return what is known of the axis's tilt; empty where nothing is."""
    found = tilt.found if tilt else None
    known = {} if found is None else {name: getattr(found, name) for name in TILT}
    corrected = {
        "tilt_corrected_deg": tilt.corrected_deg if tilt else None,
        "tilt_method": tilt.method if tilt else None,
    }
    return {name: known.get(name) for name in TILT} | corrected


def volume_row(name: str, volume: GivenVolume, passes: Sequence[PassResult], problem: str | None) -> dict[str, Any]:
    """Return the row of a scan that starts as a volume: what projections would have told is empty, and named."""
    return {
        "scan": name,
        "center_method": "none: starts from a volume",
        "unit": "1/cm",
        "voxel_size_um": volume.voxel_um,
        "seconds": round(sum(passed.seconds for passed in passes), 2),
        "starts_from": f"volume ({volume.format})",
        "not_measured": NOT_MEASURED,
        "problem": problem,
    }


def write_table(store: Store, rows: Sequence[dict[str, Any]]) -> None:
    """Write the rows of all scans, in the order of the configuration."""
    import pandas as pd

    store.write_table("reconstruction", pd.DataFrame(list(rows)))


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
