"""Defective columns where only the mean over many rows shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from xct_pipeline.correction.defect_search import isolated_offsets
from xct_pipeline.correction.defects import Bools, Defects, Floats, check_statistics, interpolate_dead, with_offset
from xct_pipeline.device import to_host

TOGETHER = 64  # runs that are searched at once: the search takes many copies in double precision


def in_pooled_rows(
    found: Defects,
    statistics: Sequence[Any],
    *,
    centers: Sequence[float] | None = None,
    snr: float = 5.0,
    max_width: int = 3,
    minimum: float = 5e-4,
    reach: int = 32,
) -> Defects:
    """Correct a defective column where only the mean over many rows shows it.

    How large a defect is may depend on the light: strong behind a ceramic, below the noise of a row behind an anode,
    and yet a ring in the sum of the anode's slices. So rows of about the same light in which a column known from
    elsewhere was not found are averaged, and the mean is judged by the conditions of `find_defects`.

    Parameters
    ----------
    found : Defects
        All rows of the detector.
    statistics, centers, snr, max_width, minimum
        As for `find_defects`.
    reach : int
        Rows that are averaged at most.

    Returns
    -------
    Defects
        With more offsets, never fewer.

    Raises
    ------
    ValueError
        As `find_defects`.
    """
    check_statistics(statistics, centers, max_width)
    scans = [np.asarray(to_host(s)) for s in statistics]
    axes = None if centers is None else [float(c) for c in centers]
    runs = _unseen_runs(found, scans, reach)
    offset = found.offset.copy()
    for first in range(0, len(runs), TOGETHER):
        some = runs[first : first + TOGETHER]
        pooled = [_pooled(scans, found, rows) for _, rows in some]
        means, errors = (np.stack([both[k] for both in pooled], axis=-2) for k in (0, 1))
        step, _ = isolated_offsets(means, errors, axes, snr, max_width, minimum)
        for k, (column, rows) in enumerate(some):
            offset[rows, column] = step[k, column]
    return with_offset(found, offset)


def _pooled(scans: Sequence[npt.NDArray[Any]], found: Defects, rows: npt.NDArray[np.intp]) -> tuple[Floats, Floats]:
    """Return (scan, segment, column) means over rows, corrected so far, and (scan, column) standard errors."""
    dead: Bools = found.dead[rows]
    means = [interpolate_dead(s[:-1, rows].astype(np.float64), dead) - found.offset[rows] for s in scans]
    errors = [np.sqrt((s[-1, rows].astype(np.float64) ** 2).mean(axis=0) / len(rows)) for s in scans]
    return np.stack([m.mean(axis=1) for m in means]), np.stack(errors)


def _unseen_runs(
    found: Defects, scans: Sequence[npt.NDArray[Any]], reach: int
) -> list[tuple[int, npt.NDArray[np.intp]]]:
    """Successive rows of about the same light in which a column that is defective elsewhere was not found."""
    runs = []
    for column in np.flatnonzero((found.offset != 0).sum(axis=0) >= 4):
        light = np.exp(-np.mean([s[:-1, :, column].mean(axis=0, dtype=np.float64) for s in scans], axis=0))
        rows: list[int] = []
        for row in [*np.flatnonzero((found.offset[:, column] == 0) & ~found.dead[:, column]), len(light)]:
            alike = row < len(light) and rows and abs(light[row] / light[rows[0]] - 1) < 0.2
            if rows and not (alike and row <= rows[-1] + 4 and len(rows) < reach):
                if len(rows) >= 4:
                    runs.append((int(column), np.array(rows)))
                rows = []
            rows.append(int(row))
    return runs
