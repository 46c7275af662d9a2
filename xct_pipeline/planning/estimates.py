"""What must be known of each scan before its passes: flats, air, centre of rotation, defects of the detector."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from xct_pipeline.acquisition.steps import Frame
from xct_pipeline.config import Config
from xct_pipeline.config.correction import DynamicFlat, StripeDefects
from xct_pipeline.correction.steps.defects import add_defects, column_statistics, defects_step
from xct_pipeline.correction.steps.dynamic import stale_note
from xct_pipeline.correction.steps.fields import Fields, measure_fields, sound
from xct_pipeline.correction.steps.frames import DOUBT
from xct_pipeline.engine.blocks import Array, Pass, Reduction
from xct_pipeline.engine.resources import Resources
from xct_pipeline.engine.scheduling import call_each
from xct_pipeline.engine.steps import Steps, needs_of
from xct_pipeline.planning.scan import (
    ScanPlan,
    estimating_steps,
    pixel_um,
    rays_of_scan,
    scan_passes,
    sums_of_rows,
    working_axis,
)
from xct_pipeline.reconstruction.center.find import CenterEstimate
from xct_pipeline.reconstruction.steps import stage as reconstruction
from xct_pipeline.reconstruction.steps.motion import Motion, find_motion
from xct_pipeline.reconstruction.steps.row_sums import Rays
from xct_pipeline.reconstruction.steps.upright import AxisTilt, find_tilt
from xct_pipeline.scan import Axis, Scan, ScanError
from xct_pipeline.store.files import unwritable
from xct_pipeline.store.store import Store

log = logging.getLogger("xct")


@dataclass
class Prepared:
    """A scan with everything estimated that its passes need."""

    item: ScanPlan
    fields: Fields | None = None
    columns: Array | None = None
    center: CenterEstimate | None = None
    tilt: AxisTilt | None = None
    motion: Motion | None = None
    warnings: list[str] = field(default_factory=list)
    problem: str | None = None

    def passes(self, config: Config, limits: Resources, store: Store) -> tuple[Pass, ...]:
        """Return the passes that run, with what was estimated."""
        if self.item.volume is not None:
            return self.item.passes
        scan, frame, axis = self.known()
        assert self.fields is not None
        return scan_passes(config, scan, frame, self.fields, axis, limits, store)

    def row_sums(self, config: Config, step: Pass) -> Reduction:
        """Return the step that sums the sinograms that the pass to the volume, with what was estimated, is made of."""
        scan, frame, axis = self.known()
        assert self.fields is not None
        return sums_of_rows(config, scan, frame, self.fields.margin, axis, step)

    def rays(self, config: Config, step: Pass) -> Rays | None:
        """Return the sinograms that the pass to the volume, with what was estimated, is made of."""
        return rays_of_scan(config, self.item, self.known()[2], step)

    def known(self) -> tuple[Scan, Frame, Axis]:
        """Return a scan that starts as projections, its working frame, and its axis in columns of that."""
        scan, frame = self.item.scan, self.item.frame
        assert scan is not None
        assert frame is not None
        assert self.center is not None
        tilt, lean = (0.0, 0.0) if self.tilt is None else (self.tilt.corrected_deg, self.tilt.lean_corrected_deg)
        return scan, frame, replace(working_axis(self.center.axis, frame), tilt=tilt, lean=lean)


def prepare(
    config: Config,
    scans: Sequence[ScanPlan],
    limits: Resources,
    store: Store | None,
    note: Callable[[str], None],
    steps: Steps | None = None,
    first: str | None = None,
) -> list[Prepared]:
    """Estimate flats, air, detector defects and centres; what fails is noted at its scan, the rest in `steps`.

    With the name of a scan in `first`, that one is the first to be estimated and those before it are the last: where
    several machines need the estimates of all scans, each finds most of them kept by the others.
    """
    prepared = [Prepared(item, warnings=list(item.warnings), problem=item.problem) for item in scans]
    begin = next((k for k, item in enumerate(scans) if item.name == first), 0)
    ordered = (*prepared[begin:], *prepared[:begin])
    estimated = [entry for entry in ordered if entry.item.scan is not None and entry.item.frame is not None]
    needs = needs_of([step for step in estimating_steps(config, scans) if step.need.beside], steps)

    def estimate(entry: Prepared, _: Resources) -> Prepared:
        with _noted(entry):
            _estimate(entry, config, store, steps)
        return entry

    for entry in call_each(estimate, estimated, needs, limits):
        note(f"{entry.item.name}: flats, air and centre")
    if isinstance(config.correction.stripe, StripeDefects):
        for entry in estimated:
            if entry.problem is None:
                with _noted(entry):
                    _sum_columns(entry, config, limits, store, steps)
    good = [entry for entry in prepared if entry.problem is None and entry.item.scan is not None]
    if config.reconstruction.center == "common" and good:
        common = reconstruction.common_center([e.center for e in good if e.center is not None])
        for entry in good:
            entry.center = common
    if isinstance(config.correction.stripe, StripeDefects) and good:
        note("detector defects, from all scans together")
        _find_defects(good, config)
        if steps is not None:
            frames = [entry.item.frame for entry in good if entry.item.frame is not None]
            steps.note(steps.bind(defects_step(frames)), "executed")
    for entry in prepared:
        for warning in entry.warnings:
            log.warning("%s: %s", entry.item.name, warning)
    return prepared


@contextlib.contextmanager
def _noted(entry: Prepared) -> Iterator[None]:
    """Take note of what fails at its scan; a store that cannot be written is no scan's problem."""
    try:
        yield
    except (ScanError, ValueError, OSError) as error:
        if isinstance(error, OSError) and unwritable(error):
            raise
        entry.problem = str(error)


def _estimate(entry: Prepared, config: Config, store: Store | None, steps: Steps | None) -> None:
    """Measure what a scan tells by itself."""
    scan, frame = entry.item.scan, entry.item.frame
    assert scan is not None
    assert frame is not None
    most = config.acquisition.most_left_out
    entry.fields = measure_fields(config.correction, scan, frame, store, steps, most)
    entry.warnings += entry.fields.warnings  # before anything else can fail: they may say why
    is_dynamic = isinstance(config.correction.flatfield, DynamicFlat)
    entry.warnings += stale_note(entry.fields.flat_left, is_dynamic, mass=config.variation is not None)
    scan, frame = sound(scan, frame, entry.fields)
    entry.item = replace(entry.item, scan=scan, frame=frame)
    entry.motion = find_motion(config.correction.motion, scan, frame, entry.fields, store, steps)
    entry.fields = replace(entry.fields, shift=entry.motion.shift)
    entry.warnings += entry.motion.warnings
    entry.tilt = find_tilt(config.reconstruction, scan, frame, entry.fields, store, steps)
    entry.warnings += entry.tilt.warnings
    if entry.item.axis is not None:
        entry.center = reconstruction.given_center(entry.item.axis)
    else:
        entry.center = _found_center(entry, entry.fields, config, store, steps)
    entry.warnings += entry.center.warnings
    if pixel_um(config, scan) is None:
        entry.warnings.append("no pixel size known: reconstructed in 1/pixel; give acquisition.pixel_size_um")


def _sum_columns(entry: Prepared, config: Config, limits: Resources, store: Store | None, steps: Steps | None) -> None:
    """Measure the statistics of a scan's columns, its rows shared out to all workers."""
    scan, frame, fields = entry.item.scan, entry.item.frame, entry.fields
    assert scan is not None
    assert frame is not None
    assert fields is not None
    entry.columns = column_statistics(config.correction, scan, frame, fields, store, limits, steps)


def _found_center(
    entry: Prepared, fields: Fields, config: Config, store: Store | None, steps: Steps | None
) -> CenterEstimate:
    """Find the centre; where that fails on counts that are doubted, the doubt comes first."""
    scan, frame = entry.item.scan, entry.item.frame
    assert scan is not None
    assert frame is not None
    try:
        return reconstruction.estimate_center(config, scan, frame, fields, store, steps, entry.tilt)
    except ScanError as error:
        doubts = [text for text in fields.warnings if DOUBT in text]
        raise ScanError("; ".join([*doubts, str(error)])) from None


def _find_defects(good: Sequence[Prepared], config: Config) -> None:
    """Give every scan what the column statistics of all scans of its detector tell together."""
    centers = [working_axis(e.center.axis, e.item.frame).column for e in good if e.item.frame and e.center]
    known = [(e.fields, e.columns) for e in good if e.fields is not None and e.columns is not None]
    for entry, fields in zip(good, add_defects(config.correction, known, centers), strict=True):
        entry.fields = fields
