"""Rows that are picked from whole compressed frames are the rows that are read alone."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from xct_pipeline.acquisition.steps import working_frame
from xct_pipeline.config import Acquisition, Correction, ZingerMedian
from xct_pipeline.correction import zinger
from xct_pipeline.correction.air import Margin
from xct_pipeline.correction.steps import defects as stage_defects
from xct_pipeline.correction.steps import fields as stage_fields
from xct_pipeline.correction.steps import samples as stage_samples
from xct_pipeline.correction.steps import stage
from xct_pipeline.engine.resources import Resources
from xct_pipeline.scan import ArrayFrames, Scan


@dataclass(frozen=True)
class WholeFrames(ArrayFrames):
    """Frames that are decoded whole."""

    @property
    def chunk_rows(self) -> int:
        return self.data.shape[1]


def make_scan(kind: type[ArrayFrames]) -> Scan:
    rng = np.random.default_rng(5)
    counts = rng.poisson(900, (40, 48, 64)).astype(np.uint16)
    flats, darks = rng.poisson(1000, (6, 48, 64)).astype(np.uint16), rng.poisson(20, (3, 48, 64)).astype(np.uint16)
    return Scan(
        "s",
        kind(counts),
        np.linspace(0, np.pi, 40),
        ArrayFrames(flats),
        ArrayFrames(darks),
        np.repeat([0.0, 40.0], 3),
        np.zeros(3),
    )


def test_rows_of_whole_frames_are_those_read_alone(monkeypatch):
    for module in (stage_fields, stage_samples):
        monkeypatch.setattr(module, "angle_blocks", lambda frame: [slice(0, 7), slice(7, 30), slice(30, frame.angles)])
    settings = Correction(zinger=ZingerMedian(method="median"))
    found = []
    for kind in (ArrayFrames, WholeFrames):
        scan = make_scan(kind)
        frame = working_frame(scan, Acquisition(scans=["s"]))
        assert stage_fields.whole_frames(scan, frame) == (kind is WholeFrames)
        fields = replace(stage_fields.measure_fields(settings, scan, frame, None), air=np.linspace(0.9, 1.1, 40))
        sinograms = stage_samples.integrals_of_rows(settings, scan, frame, fields, [0, 5, 20, 47])
        margins = stage_fields._transmission(scan, frame, fields, [3, 30], Margin(6, 4))
        found.append((sinograms, margins))
    assert found[0][0].shape == (40, 4, 64)
    assert found[0][1].shape == (40, 2, 10)
    for alone, picked in zip(*found, strict=True):
        np.testing.assert_array_equal(alone, picked)


def test_statistics_of_columns_read_whole_frames_once():
    reads = []

    @dataclass(frozen=True)
    class Counted(WholeFrames):
        def read(self, frames=slice(None), rows=slice(None), columns=slice(None)):
            reads.append((frames, rows))
            return super().read(frames, rows, columns)

    settings = Correction(zinger=ZingerMedian(method="median"))
    found = []
    for kind in (ArrayFrames, Counted):
        scan = make_scan(kind)
        frame = working_frame(scan, Acquisition(scans=["s"]))
        fields = stage_fields.measure_fields(settings, scan, frame, None)
        reads.clear()
        found.append(stage_defects.column_statistics(settings, scan, frame, fields, None, Resources(2, 10**10)))
        need = stage_defects.columns_step(settings, scan, frame).need
        assert need.tasks == (3 if kind is ArrayFrames else 8)
    assert found[0].shape == (9, 48, 64)
    np.testing.assert_array_equal(*found)
    assert sorted(k for frames, _ in reads for k in range(frames.start, frames.stop)) == list(range(40))


@pytest.mark.parametrize("plane", ["projection", "sinogram"])
def test_zingers_do_not_depend_on_which_projections_are_corrected_together(plane):
    rng = np.random.default_rng(5)
    counts = rng.poisson(1000.0, (40, 12, 16)).astype(np.uint16)
    counts[[15, 16, 31], [3, 3, 7], [4, 9, 5]] *= 20  # beside the seams of groups of sixteen
    scan = make_scan(ArrayFrames)
    frame = replace(working_frame(scan, Acquisition(scans=["s"])), angles=40, rows=12, columns=16)
    op = stage.zinger_op(Correction(zinger=ZingerMedian(method="median", plane=plane)), frame)
    parts, found = [], 0
    for first in range(0, 40, 16):
        target = (slice(first, min(first + 16, 40)), slice(0, 12), slice(0, 16))
        source = op.needs(target)
        part, told = op.function(counts[source], source, target)
        parts.append(part)
        found += told["zingers"]
    whole, replaced = zinger.remove_zingers(counts, plane=plane)
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert found == replaced.sum() > 2
