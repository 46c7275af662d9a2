"""A look at the frames of a scan before anything is computed: their levels, and what a run would say of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from xct_pipeline.acquisition import levels
from xct_pipeline.acquisition.checks import frame_counts
from xct_pipeline.acquisition.levels import Finding
from xct_pipeline.acquisition.selection import without
from xct_pipeline.acquisition.steps import Frame, RawSource
from xct_pipeline.config import Correction
from xct_pipeline.correction.steps.fields import Fields, integrals_of, measure_fields, sound
from xct_pipeline.correction.steps.frames import refuse_counts
from xct_pipeline.correction.steps.references import measure_references
from xct_pipeline.engine.blocks import Array
from xct_pipeline.scan import Scan

WHOLE_BYTES = 64e6  # of a scan: up to here every frame is judged as a run does it, beyond it some are
SOME = {"projections": 8, "flats": 6, "darks": 3}


@dataclass(frozen=True)
class Look:
    """What a look at a scan's frames tells.

    Attributes
    ----------
    looked_at, there : dict
        Frames of each kind that were judged, and that there are.
    levels : dict
        Medians of flats and darks in counts; least, median and largest mean transmission of a few projections.
    findings : tuple of Finding
        Frames that deviate.
    warnings : tuple of str
    """

    looked_at: dict[str, int]
    there: dict[str, int]
    levels: dict[str, float] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    warnings: tuple[str, ...] = ()


def look_at(settings: Correction, scan: Scan, frame: Frame, most_left_out: float) -> Look:
    """Judge the frames of a scan by the functions of a run: all of a small scan, some of a large one.

    Parameters
    ----------
    settings : Correction
    scan : Scan
    frame : Frame
    most_left_out : float
        Share of the projections that may be left out.

    Raises
    ------
    ScanError
        What a run would refuse the scan for, as far as the frames that are read tell.
    """
    there = frame_counts(scan)
    values = sum(there.values()) * scan.shape[1] * scan.shape[2]
    if values * scan.projections.dtype.itemsize <= WHOLE_BYTES:
        fields = measure_fields(settings, scan, frame, None, most_left_out=most_left_out)
        kept, smaller = sound(scan, frame, fields)
        return Look(there, there, _levels(kept, smaller, fields), fields.findings, fields.warnings)
    part, index = _some_of(scan)
    smaller = replace(frame, angles=len(part.angles))
    fields, notes = _of_references(settings, part, smaller)
    counts = _read(part, smaller, range(smaller.angles))
    shares = levels.count_shares(counts, fields.saturation)
    found, _ = levels.share_findings("projections", shares, counts[0].size)
    refuse_counts(part, np.exp(-_integrals(fields, counts, range(smaller.angles))), fields.flats is None)
    named = [replace(f, frames=tuple(index[f.kind][k] for k in f.frames)) for f in (*fields.findings, *found)]
    told = (*map(str, named), *notes)
    return Look(frame_counts(part), there, _levels(part, smaller, fields), tuple(named), told)


def _of_references(settings: Correction, part: Scan, frame: Frame) -> tuple[Fields, list[str]]:
    found = measure_references(part, frame, settings.flatfield.method)
    fields = Fields(
        None if found.flats is None else found.flats.mean(axis=0, keepdims=True),
        None,
        found.dark,
        saturation=found.saturation,
        findings=tuple(found.findings),
    )
    return fields, found.notes


def _some_of(scan: Scan) -> tuple[Scan, dict[str, list[int]]]:
    """Return a scan of some frames of each kind, spread evenly, and their numbers."""
    index = {kind: _spread(count, SOME[kind]) for kind, count in frame_counts(scan).items()}
    left_out = {kind: np.setdiff1d(np.arange(getattr(scan, kind).shape[0]), kept) for kind, kept in index.items()}
    return without(scan, **left_out), index


def _spread(count: int, most: int) -> list[int]:
    return [int(k) for k in np.unique(np.linspace(0, count - 1, min(count, most)).round())]


def _read(scan: Scan, frame: Frame, which: Sequence[int]) -> Array:
    source = RawSource(scan.projections, frame)
    whole = (slice(0, frame.rows), slice(0, frame.columns))
    return np.concatenate([source.read((slice(k, k + 1), *whole)) for k in which])


def _integrals(fields: Fields, counts: Array, which: Sequence[int]) -> Array:
    rows = slice(None)
    parts = [integrals_of(fields, counts[i : i + 1], slice(k, k + 1), rows) for i, k in enumerate(which)]
    return np.concatenate(parts)


def _levels(scan: Scan, frame: Frame, fields: Fields) -> dict[str, float]:
    """Return the levels of flats and darks in counts, and the transmission of a few projections."""
    which = _spread(frame.angles, SOME["projections"])
    mean = np.exp(-_integrals(fields, _read(scan, frame, which), which)).mean(axis=(1, 2), dtype=np.float64)
    found = {"transmission_least": mean.min(), "transmission": np.median(mean), "transmission_most": mean.max()}
    for kind, counts in (("flats", fields.flats), ("darks", fields.dark)):
        if counts is not None:
            found[kind] = np.nanmedian(counts)
    return {name: float(f"{value:.5g}") for name, value in found.items()}
