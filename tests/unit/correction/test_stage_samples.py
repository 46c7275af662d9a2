"""Rows that the centre is found from: the bits of a run, whatever its operations reach for."""

from __future__ import annotations

import numpy as np
import pytest

from xct_pipeline.acquisition.steps import Frame, RawSource
from xct_pipeline.config import Correction
from xct_pipeline.correction.steps.fields import nominal_fields
from xct_pipeline.correction.steps.samples import integrals_of_rows
from xct_pipeline.correction.steps.stage import on_counts
from xct_pipeline.engine.blocks import apply_ops, regions_of
from xct_pipeline.scan import ArrayFrames, Scan


@pytest.mark.parametrize(
    "zinger",
    [{"method": "none"}, {"method": "median", "plane": "projection"}, {"method": "median", "plane": "sinogram"}],
)
def test_single_rows_have_the_values_of_all_rows_together(zinger):
    random = np.random.default_rng(0)
    counts = random.poisson(1000, (12, 20, 32)).astype(np.uint16)
    counts[random.random(counts.shape) < 0.2] *= 3
    scan = Scan("a", ArrayFrames(counts), np.linspace(0, 3, 12))
    frame = Frame(12, 20, 32, 0, 1)
    fields = nominal_fields(frame)
    settings = Correction.model_validate({"zinger": zinger})
    ops = on_counts(settings, scan, frame, fields)
    whole = (slice(0, 12), slice(0, 20), slice(0, 32))
    together, _ = apply_ops(ops, RawSource(scan.projections, frame).read(whole), regions_of(ops, whole))
    rows = [0, 1, 9, 19]
    assert np.array_equal(integrals_of_rows(settings, scan, frame, fields, rows), together[:, rows], equal_nan=True)
