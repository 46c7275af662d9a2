"""Defects of the detector, found in the column statistics of all scans together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from xct_pipeline.acquisition.stage import Frame, RawSource, scan_identity
from xct_pipeline.blocks import Array, BlockOp, Reduction, Region, size_of
from xct_pipeline.config import Correction, StripeDefects
from xct_pipeline.correction import defects
from xct_pipeline.correction.stage import DEFECTS_VERSION, normalise_op, zinger_op
from xct_pipeline.correction.stage_fields import GROUP, Fields, nominal_fields
from xct_pipeline.execution import measure, measure_need
from xct_pipeline.resources import Need, Resources
from xct_pipeline.scan import Scan, ScanError
from xct_pipeline.store import Store

STATISTICS_SCRATCH = 1.5  # memory of a band beyond what is read of it, as a multiple of that
STATISTICS_RATE = 60e6  # values per CPU-second
SEARCH_COPIES = 12  # of a band's statistics


def add_defects(settings: Correction, scans: Sequence[tuple[Fields, Array]], centers: Sequence[float]) -> list[Fields]:
    """Find what belongs to the detector, from the column statistics of all scans of one detector together.

    Scans whose working frames differ in rows or columns are taken as other detectors. `centers` are columns of the
    working frames.
    """
    assert isinstance(settings.stripe, StripeDefects)
    shapes = [columns.shape[1:] for _, columns in scans]
    result: dict[int, Fields] = {}
    for shape in dict.fromkeys(shapes):
        members = [k for k, other in enumerate(shapes) if other == shape]
        together = [scans[k][1] for k in members]
        axes = [centers[k] for k in members]
        found = defects.find_defects(
            together, centers=axes, snr=settings.stripe.snr, max_width=settings.stripe.max_width
        )
        found = defects.along_rows(found, together, centers=axes)
        for k in members:
            result[k] = replace(scans[k][0], offset=found.offset, dead=found.dead)
    return [result[k] for k in range(len(scans))]


def column_statistics(
    settings: Correction, scan: Scan, frame: Frame, fields: Fields, store: Store | None, limits: Resources
) -> Array:
    """Measure what `add_defects` needs of one scan; cached in the store.

    Raises
    ------
    ScanError
        The scan has too few projections for its columns to be judged.
    """
    if frame.angles < 3 * defects.SEGMENTS:
        raise ScanError(
            f"{scan.name}: {frame.angles} projections are too few to tell defects from the sample"
            f" ({3 * defects.SEGMENTS} are needed); choose another correction.stripe.method"
        )
    source, regions = _bands(settings, scan, frame, fields)
    inputs = {
        **scan_identity(scan), "frame": asdict(frame), "ops": [op.identity() for op in source.ops],
    }  # fmt: skip
    reduction = Reduction(f"{scan.name}/columns", DEFECTS_VERSION, _statistics_chunk, _statistics_combine)
    return measure(store, reduction, source, regions, inputs, limits, STATISTICS_SCRATCH)["statistics"]


def _bands(settings: Correction, scan: Scan, frame: Frame, fields: Fields) -> tuple[_Corrected, list[Region]]:
    """Return the source of line integrals, and the bands of rows that are read of it."""
    ops = [op for op in (zinger_op(settings, frame), normalise_op(settings, scan, frame, fields)) if op is not None]
    regions: list[Region] = [
        (slice(0, frame.angles), slice(first, min(frame.rows, first + GROUP)), slice(0, frame.columns))
        for first in range(0, frame.rows, GROUP)
    ]
    return _Corrected(RawSource(scan.projections, frame), tuple(ops)), regions


def statistics_need(settings: Correction, scan: Scan, frame: Frame) -> Need:
    """Return what `column_statistics` takes."""
    source, regions = _bands(settings, scan, frame, nominal_fields(frame))
    values = float(frame.angles * frame.rows * frame.columns)
    return measure_need("columns", source, regions, STATISTICS_SCRATCH, cpu_s=values / STATISTICS_RATE)


def search_bytes(frame: Frame, scans: int) -> int:
    """Return the memory that the search for defects in some scans takes beside the statistics."""
    row = 8.0 * (defects.SEGMENTS + 1) * frame.columns * scans
    band = min(max(defects.BAND_BYTES, row), row * frame.rows)
    return int(SEARCH_COPIES * band + 40.0 * frame.rows * frame.columns)


def _statistics_chunk(block: Array, region: Region) -> dict[str, Array]:
    del region
    return {"statistics": np.asarray(defects.column_statistics(block))}


def _statistics_combine(parts: list[dict[str, Array]]) -> dict[str, Array]:
    return {"statistics": np.concatenate([part["statistics"] for part in parts], axis=1)}


@dataclass(frozen=True)
class _Corrected:
    """A source behind operations."""

    raw: RawSource
    ops: tuple[BlockOp, ...]

    def read(self, region: Region) -> Array:
        regions = [region]
        for op in reversed(self.ops):
            regions.insert(0, op.needs(regions[0]))
        block: Any = self.raw.read(regions[0])
        for op, before, after in zip(self.ops, regions[:-1], regions[1:], strict=True):
            result = op.function(block, before, after)
            block = result[0] if isinstance(result, tuple) else result
        return np.asarray(block)

    def nbytes(self, region: Region) -> int:
        return self.raw.nbytes(region) + 4 * size_of(region)
