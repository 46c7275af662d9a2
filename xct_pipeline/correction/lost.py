"""Pixels without a value, filled from what is beside them: along the row first, then along the angle."""

from __future__ import annotations

from typing import Any

import numpy as np

from xct_pipeline.compiled import njit
from xct_pipeline.device import to_host


@njit
def fill_lines(out, lost):  # type: ignore[no-untyped-def]
    """Replace rows that were lost as a whole by linear interpolation between projections of the block that have it."""
    n_angles, n_rows = lost.shape
    for r in range(n_rows):
        previous = -1
        for a in range(n_angles + 1):
            known = a < n_angles and not lost[a, r]
            if not (known or (a == n_angles and previous >= 0)):
                continue
            for k in range(previous + 1, a):
                before = out[a if previous < 0 else previous, r]
                after = out[previous if a == n_angles else a, r]
                share = np.float32((k - previous) / (a - previous)) if previous >= 0 and a < n_angles else np.float32(0)
                for c in range(out.shape[2]):
                    out[k, r, c] = before[c] + share * (after[c] - before[c])
            previous = a


@njit
def fill_row(row):  # type: ignore[no-untyped-def]
    """Replace NaN by linear interpolation between good columns (constant beyond them, 0 without any)."""
    previous = -1
    for c in range(row.size):
        if not np.isnan(row[c]):
            for k in range(previous + 1, c):
                start = row[previous] if previous >= 0 else row[c]
                share = np.float32((k - previous) / (c - previous)) if previous >= 0 else np.float32(0)
                row[k] = start + share * (row[c] - start)
            previous = c
    for k in range(previous + 1, row.size):
        row[k] = row[previous] if previous >= 0 else np.float32(0)


def fill_plain(xp: Any, p: Any, good: Any) -> Any:
    """Interpolate pixels without a value along the columns; only rows that have any are touched."""
    rows = xp.flatnonzero(~good.all(axis=2))
    flat = p.reshape(-1, p.shape[2])
    lines, fine = to_host(flat[rows]), to_host(good.reshape(-1, p.shape[2])[rows])
    for line, ok in zip(lines, fine, strict=True):
        line[~ok] = np.nan
        fill_row(line)
    flat[rows] = xp.asarray(lines)
    filled = flat.reshape(p.shape)
    lost = to_host(~good.any(axis=2))
    if lost.any():
        whole = np.ascontiguousarray(to_host(filled))
        fill_lines(whole, lost)
        filled = xp.asarray(whole)
    return filled
