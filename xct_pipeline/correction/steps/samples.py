"""Corrected rows and projections of a scan, few enough to hold: what the centre of rotation is found from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from xct_pipeline.acquisition.steps import Frame, RawSource
from xct_pipeline.config import Correction
from xct_pipeline.correction.distortion import resample
from xct_pipeline.correction.steps.fields import Fields, angle_blocks, integrals_of, whole_frames
from xct_pipeline.correction.steps.stage import on_counts
from xct_pipeline.engine.blocks import Array, BlockOp, apply_ops, regions_of
from xct_pipeline.scan import Scan


def integrals_of_rows(
    settings: Correction, scan: Scan, frame: Frame, fields: Fields, rows: Sequence[int], after: Sequence[BlockOp] = ()
) -> Array:
    """Return sinograms (angle, row, column) of single rows, zingers removed, before stripe removal.

    Operations on line integrals may come `after`.
    """
    ops = (*on_counts(settings, scan, frame, fields), *after)
    angles, columns = slice(0, frame.angles), slice(0, frame.columns)
    needed = [regions_of(ops, (angles, slice(row, row + 1), columns)) for row in rows]
    bands = _counts_of_bands(scan, frame, [regions[0][1] for regions in needed])
    sinograms = [apply_ops(ops, counts, regions)[0] for counts, regions in zip(bands, needed, strict=True)]
    return np.concatenate(sinograms, axis=1)


def _counts_of_bands(scan: Scan, frame: Frame, bands: Sequence[slice]) -> Iterator[Array]:
    """Yield the counts of some bands of rows, all projections; whole compressed frames are decoded once."""
    source, columns = RawSource(scan.projections, frame), slice(0, frame.columns)
    if not whole_frames(scan, frame):
        for band in bands:
            yield source.read((slice(0, frame.angles), band, columns))
        return
    parts: list[list[Array]] = [[] for _ in bands]
    for block in angle_blocks(frame):
        counts = source.read((block, slice(0, frame.rows), columns))
        for part, band in zip(parts, bands, strict=True):
            part.append(counts[:, band].copy())
    yield from (np.concatenate(part) for part in parts)


def integrals_of_angles(scan: Scan, frame: Frame, fields: Fields, count: int) -> Array:
    """Return whole projections (angle, row, column) at a few angles, as line integrals."""
    source, rows = RawSource(scan.projections, frame), slice(0, frame.rows)
    parts = []
    for k in np.unique(np.linspace(0, frame.angles - 1, count).astype(int)).tolist():
        counts = source.read((slice(k, k + 1), rows, slice(0, frame.columns)))
        parts.append(integrals_of(fields, counts, slice(k, k + 1), rows))
    return np.concatenate(parts)


def binned_integrals(scan: Scan, frame: Frame, fields: Fields, chosen: Sequence[int], factor: int) -> Array:
    """Return whole projections (angle, row, column) at chosen angles as line integrals, means of `factor`^2 pixels.

    A sample that moved stands still in them, where its motion is known.
    """
    source, whole = RawSource(scan.projections, frame), slice(0, frame.columns)
    rows, columns = frame.rows // factor, frame.columns // factor
    out = np.empty((len(chosen), rows, columns), np.float32)
    for n, k in enumerate(chosen):
        counts = source.read((slice(k, k + 1), slice(0, frame.rows), whole))
        p = integrals_of(fields, counts, slice(k, k + 1), slice(0, frame.rows))
        p = (p if fields.shift is None else _standing(p, fields.shift[k]))[0]
        split = p[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor)
        out[n] = split.mean(axis=(1, 3), dtype=np.float64)
    return out


def _standing(p: Array, shift: Array) -> Array:
    row, column = np.indices(p.shape[1:], dtype=np.float64)
    return np.asarray(resample(p, row + shift[0], column + shift[1], first_row=0, n_rows=p.shape[1]))
