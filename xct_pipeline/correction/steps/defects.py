"""Defects of the detector, found in the column statistics of all scans together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from xct_pipeline.acquisition.steps import Frame, RawSource, scan_identity
from xct_pipeline.boxes import Region, size_of
from xct_pipeline.config import Correction, NoMethod, StripeDefects
from xct_pipeline.correction.defects import find as defects
from xct_pipeline.correction.defects.rows import along_rows
from xct_pipeline.correction.steps.fields import GROUP, Fields, nominal_fields, whole_frames
from xct_pipeline.correction.steps.stage import DEFECTS_VERSION, on_counts
from xct_pipeline.engine.blocks import Array, BlockOp, Reduction, apply_ops, regions_of
from xct_pipeline.engine.execution import measure
from xct_pipeline.engine.resources import Need, Resources
from xct_pipeline.engine.steps import Estimate, Steps
from xct_pipeline.scan import Scan, ScanError
from xct_pipeline.store.store import Store

STATISTICS_SCRATCH = 1.5  # memory of a band beyond what is read of it, as a multiple of that
STATISTICS_RATE = 60e6  # values per CPU-second
SEARCH_S = 3e-7  # CPU-seconds per byte of the statistics
SEARCH_COPIES = 12  # of a band's statistics
ALONG_ROWS = 120.0  # bytes for each pixel, whatever the number of scans


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
        axes, snr = [centers[k] for k in members], settings.stripe.snr
        found = defects.find_defects(together, centers=axes, snr=snr, max_width=settings.stripe.max_width)
        found = along_rows(found, together, centers=axes, snr=snr)
        for k in members:
            result[k] = replace(scans[k][0], offset=found.offset, dead=found.dead)
    return [result[k] for k in range(len(scans))]


def columns_step(settings: Correction, scan: Scan, frame: Frame) -> Reduction:
    """Return the step that measures what `add_defects` needs of a scan."""
    return _columns(settings, scan, frame, on_counts(settings, scan, frame, nominal_fields(frame)), {})


def defects_step(frames: Sequence[Frame]) -> Estimate:
    """Return the step that finds defects in the statistics of all scans, which are held meanwhile."""
    statistics = sum(statistics_bytes(frame) for frame in frames)
    searching = max(search_bytes(frame, len(frames)) for frame in frames)
    return Estimate("defects", DEFECTS_VERSION, Need("", 1, searching, statistics, True, SEARCH_S * statistics))


def statistics_bytes(frame: Frame) -> int:
    """Return the size of the column statistics of a scan."""
    return 4 * (defects.SEGMENTS + 1) * frame.rows * frame.columns


def column_statistics(
    settings: Correction,
    scan: Scan,
    frame: Frame,
    fields: Fields,
    store: Store | None,
    limits: Resources,
    steps: Steps | None = None,
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
    ops = on_counts(settings, scan, frame, fields)
    inputs = {**scan_identity(scan), "frame": asdict(frame), "ops": [op.identity() for op in ops]}
    return measure(store, _columns(settings, scan, frame, ops, inputs), limits, steps)["statistics"]


def _columns(
    settings: Correction, scan: Scan, frame: Frame, ops: tuple[BlockOp, ...], inputs: Mapping[str, Any]
) -> Reduction:
    order = defects.order_in_angle(scan.angles)
    source, regions, partial_bytes = _parts(settings, scan, frame, ops, order is None)
    bands = isinstance(source, _Corrected)
    if order is not None:
        inputs = {**inputs, "order": "angle"}
    return Reduction(
        f"{scan.name}/columns",
        DEFECTS_VERSION,
        partial(_band_chunk, order=order) if bands else _segment_chunk,
        _bands_combine if bands else partial(_segments_combine, angles=frame.angles),
        source=source,
        regions=regions,
        inputs=inputs,
        scratch=STATISTICS_SCRATCH + (order is not None) if bands else 0.0,  # parts of the rotation count their own
        partial_bytes=partial_bytes,
        cpu_s=float(frame.angles * frame.rows * frame.columns) / STATISTICS_RATE,
        held_bytes=3 * statistics_bytes(frame),  # its parts, their sum and the cache
    )


def _parts(
    settings: Correction, scan: Scan, frame: Frame, ops: tuple[BlockOp, ...], in_order: bool
) -> tuple[_Corrected | _Streamed, list[Region], int]:
    """Return what the statistics are measured on, part by part, and the bytes of one partial result.

    Bands of rows with all their projections; where that would decode whole compressed frames once for every band,
    parts of the rotation, whose frames are read once (not so of projections that were taken in another order).
    """
    corrected = _Corrected(RawSource(scan.projections, frame), ops)
    rows, columns = slice(0, frame.rows), slice(0, frame.columns)
    zinger = settings.zinger
    by_projection = isinstance(zinger, NoMethod) or zinger.plane == "projection"
    regions: list[Region]
    if whole_frames(scan, frame) and by_projection and in_order and frame.rows > GROUP:
        regions = [(slice(a, b), rows, columns) for a, b in pairwise(defects.segment_bounds(frame.angles))]
        return _Streamed(corrected), regions, 16 * frame.rows * frame.columns
    regions = [
        (slice(0, frame.angles), slice(first, min(frame.rows, first + GROUP)), columns)
        for first in range(0, frame.rows, GROUP)
    ]
    return corrected, regions, 0


def search_bytes(frame: Frame, scans: int) -> int:
    """Return the memory that the search for defects in some scans takes beside the statistics."""
    row = 8.0 * (defects.SEGMENTS + 1) * frame.columns * scans
    band = min(max(defects.BAND_BYTES, row), row * frame.rows)
    pixels = frame.rows * frame.columns
    return int(max(SEARCH_COPIES * band + 40.0 * pixels, ALONG_ROWS * pixels))


def _band_chunk(block: Array, region: Region, *, order: Array | None) -> dict[str, Array]:
    del region
    return {"statistics": np.asarray(defects.column_statistics(block if order is None else block[order]))}


def _bands_combine(parts: list[dict[str, Array]]) -> dict[str, Array]:
    return {"statistics": np.concatenate([part["statistics"] for part in parts], axis=1)}


def _segment_chunk(sums: Array, region: Region) -> dict[str, Array]:
    del region
    return {"sums": sums}


def _segments_combine(parts: list[dict[str, Array]], *, angles: int) -> dict[str, Array]:
    means, rough = np.stack([part["sums"] for part in parts], axis=1)
    return {"statistics": np.asarray(defects.joined_statistics(means, rough, angles))}


@dataclass(frozen=True)
class _Corrected:
    """A source behind operations."""

    raw: RawSource
    ops: tuple[BlockOp, ...]

    def read(self, region: Region) -> Array:
        regions = regions_of(self.ops, region)
        block, _ = apply_ops(self.ops, self.raw.read(regions[0]), regions)
        return np.asarray(block)

    def nbytes(self, region: Region) -> int:
        return self.raw.nbytes(region) + 4 * size_of(region)


@dataclass(frozen=True)
class _Streamed:
    """The sums of a part of the rotation, whose frames are read and corrected a few at a time."""

    corrected: _Corrected

    def read(self, region: Region) -> Array:
        count = region[0].stop - region[0].start
        return defects.segment_sums((self.corrected.read((part, *region[1:])) for part in self._blocks(region)), count)

    def nbytes(self, region: Region) -> int:
        block = (self._blocks(region)[0], *region[1:])
        frame = size_of(region[1:])
        return int(self.corrected.nbytes(block) * (1 + STATISTICS_SCRATCH) + 24 * frame)

    def _blocks(self, region: Region) -> list[slice]:
        first, stop = region[0].start, region[0].stop
        return [slice(a, min(a + GROUP, stop)) for a in range(first, stop, GROUP)]
