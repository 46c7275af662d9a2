"""What the way from counts to volumes takes, known before it begins: memory, tasks, time and disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from xct_pipeline.acquisition.steps import Frame
from xct_pipeline.config import Config, StripeDefects
from xct_pipeline.correction.defects.find import SEGMENTS
from xct_pipeline.correction.steps.defects import search_bytes, statistics_need
from xct_pipeline.engine.blocks import Pass
from xct_pipeline.engine.execution import passes_need
from xct_pipeline.engine.resources import Forecast, Need
from xct_pipeline.reconstruction.steps.stage import estimate_bytes
from xct_pipeline.scan import Scan

ESTIMATE_SECONDS = 3.0  # CPU-seconds of flats, air and centre for a scan, and per value of a projection more
ESTIMATE_VALUE = 2e-8
COUNTS_RATE = 25e6  # values of the projections that are corrected per CPU-second
GRID_SECONDS = 1.6e-9  # CPU-seconds per voxel, and per voxel and angle
VOXEL_SECONDS = 3e-8


def forecast(config: Config, scans: Sequence[tuple[Scan, Frame]], passes: Sequence[Sequence[Pass]]) -> Forecast:
    """Return what correcting and reconstructing some scans takes; `passes` are those of each scan."""
    needs = [_estimates_need(scans)]
    held = sum(_held_bytes(scan, frame) for scan, frame in scans)
    if isinstance(config.correction.stripe, StripeDefects):
        statistics = [4 * (SEGMENTS + 1) * frame.rows * frame.columns for _, frame in scans]
        for (scan, frame), mine in zip(scans, statistics, strict=True):
            need = statistics_need(config.correction, scan, frame)
            needs.append(replace(need, held_bytes=need.held_bytes + 3 * mine))  # its parts, their sum and the cache
        searching = max(search_bytes(frame, len(scans)) for _, frame in scans)
        needs.append(Need("defects", 1, searching, sum(statistics), alone=True, cpu_s=1e-5 * sum(statistics) / 36))
    over_projections = [steps[0] for steps in passes if len(steps) > 1]
    if over_projections:
        needs.append(passes_need(over_projections, "projections", _correction_seconds(scans)))
    last = [steps[-1] for steps in passes]
    seconds = sum(_volume_seconds(scan, step) for (scan, _), step in zip(scans, last, strict=True))
    needs.append(passes_need(last, "volumes", seconds + _correction_seconds(scans)))
    nbytes = sum(step.image.nbytes() for steps in passes for step in steps)
    held_needs = tuple(replace(need, held_bytes=need.held_bytes + held) for need in needs)
    return Forecast("reconstruction", held_needs, nbytes)


def _estimates_need(scans: Sequence[tuple[Scan, Frame]]) -> Need:
    """Return what flats, air and centre take, one scan after the other."""
    values = sum(float(frame.angles * frame.columns) for _, frame in scans)
    frames = max(
        (s.flats.shape[0] if s.flats else 0, s.darks.shape[0] if s.darks else 0, f.rows * f.columns * f.binning**2)
        for s, f in scans
    )
    averaging = 6 * max(frames[:2]) * frames[2]  # counts of two bytes, and what averaging them takes
    largest = max(averaging, *(estimate_bytes(frame) for _, frame in scans))
    return Need(
        "flats, air and centre",
        len(scans),
        largest,
        alone=True,
        cpu_s=len(scans) * ESTIMATE_SECONDS + 50 * values * ESTIMATE_VALUE,
    )


def _held_bytes(scan: Scan, frame: Frame) -> int:
    """Return the bytes of a scan's flats, darks and defects, which are held until all volumes are done."""
    flats = 2 if scan.flats is not None else 0
    return 4 * (flats + 2) * frame.rows * frame.columns


def _correction_seconds(scans: Sequence[tuple[Scan, Frame]]) -> float:
    return sum(frame.angles * frame.rows * frame.columns / COUNTS_RATE for _, frame in scans)


def _volume_seconds(scan: Scan, step: Pass) -> float:
    rows, size, _ = step.image.shape
    return rows * size * (len(scan.angles) * GRID_SECONDS * 6 + size * VOXEL_SECONDS)
