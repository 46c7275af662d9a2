"""``tables/reconstruction.csv``: how each scan was reconstructed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pandas as pd

from xct_pipeline.correction.steps.stage import COUNTS
from xct_pipeline.engine.execution import PassResult
from xct_pipeline.reconstruction.center.find import CenterEstimate
from xct_pipeline.reconstruction.steps.stage import unit_of
from xct_pipeline.store.store import Store


def table_row(
    name: str,
    opened: bool,
    center: CenterEstimate | None,
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
        "tilt_deg": center.tilt_deg if center else None,
        "unit": unit_of(pixel) if opened else None,
        "voxel_size_um": pixel,
        "margin_left": margin[0] if margin else None,
        "margin_right": margin[1] if margin else None,
        **{key: counts[key] for key in (*COUNTS, "truncated_rows")},
        "seconds": round(sum(passed.seconds for passed in passes), 2),
        "problem": problem,
    }


def write_table(store: Store, rows: Sequence[dict[str, Any]]) -> None:
    """Write the rows of all scans, in the order of the configuration."""
    store.write_table("reconstruction", pd.DataFrame(list(rows)))
