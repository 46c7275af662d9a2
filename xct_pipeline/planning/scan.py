"""What is planned of one scan: its working frame and its passes, from counts to a volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from xct_pipeline.acquisition.checks import scan_facts
from xct_pipeline.acquisition.steps import Frame, OpenedScan, RawSource, row_range, scan_identity, working_frame
from xct_pipeline.acquisition.steps.volumes import volume_pass
from xct_pipeline.acquisition.volumes.given import GivenVolume
from xct_pipeline.config import Config, DynamicFlat, StripeDefects
from xct_pipeline.correction.steps import stage as correction
from xct_pipeline.correction.steps.defects import columns_step, defects_step
from xct_pipeline.correction.steps.dynamic import IMAGES
from xct_pipeline.correction.steps.fields import Fields, fields_step, nominal_fields
from xct_pipeline.engine.blocks import Pass, Reduction, Source, side_by_side
from xct_pipeline.engine.resources import Resources
from xct_pipeline.engine.rounding import at_precision
from xct_pipeline.engine.steps import Estimate, Step, of_each
from xct_pipeline.reconstruction.center.find import LEAST_ANGLES, LEAST_COLUMNS
from xct_pipeline.reconstruction.steps import stage as reconstruction
from xct_pipeline.reconstruction.steps.halves import Square, halves_step, planned_square, square_step
from xct_pipeline.reconstruction.steps.motion import motion_step
from xct_pipeline.reconstruction.steps.row_sums import Rays, rays_of, row_sums_step
from xct_pipeline.reconstruction.steps.upright import given_lean, given_tilt, tilt_step, upright_op
from xct_pipeline.scan import AnyScan, Axis, Scan, ScanError
from xct_pipeline.store import provenance
from xct_pipeline.store.store import Store


@dataclass(frozen=True)
class ScanPlan:
    """One scan of a plan: what is known of it before anything is computed.

    Attributes
    ----------
    name : str
    files : tuple of Path
    scan : Scan or None
        None where it starts as a volume or cannot be used; then `problem` says why.
    frame : Frame or None
        The working frame.
    passes : tuple of Pass
        With nominal estimates: good for shapes, tasks, memory and disk, not for running.
    axis : Axis or None
        That the configuration gives, in columns of the detector.
    volume : GivenVolume or None
        What a scan without projections starts from.
    """

    name: str
    files: tuple[Path, ...]
    scan: Scan | None
    frame: Frame | None
    passes: tuple[Pass, ...]
    problem: str | None = None
    warnings: tuple[str, ...] = ()
    axis: Axis | None = None
    volume: GivenVolume | None = None

    @property
    def taken(self) -> AnyScan | None:
        """What is known of the scan, whatever it starts from; None where it cannot be used."""
        return self.scan if self.scan is not None else self.volume

    def facts(self) -> dict[str, Any]:
        """Return plain facts of a scan that can be used, for people and for JSON."""
        if self.volume is not None:
            return self.volume.facts()
        assert self.scan is not None
        return scan_facts(self.scan)


def plan_scan(config: Config, item: OpenedScan, index: int, limits: Resources) -> ScanPlan:
    """Lay out what would be computed of one scan; a scan that cannot be used carries its problem."""
    if item.volume is not None:
        return _plan_volume(config, item, item.volume)
    if item.scan is None:
        return ScanPlan(item.name, item.files, None, None, (), item.problem)
    given = given_axis(config, index)
    try:
        outside = "" if given is None else _center_problem(item.name, given.column, item.scan)
        try:
            frame = working_frame(item.scan, config.acquisition)
        except ScanError as error:
            raise ScanError("; ".join(filter(None, [str(error), outside]))) from None
        if outside:
            raise ScanError(outside)
        if given is None:
            _require_searchable(item.name, frame)
        nominal = nominal_axis(config, given, frame)
        fields = nominal_fields(frame)
        passes = scan_passes(config, item.scan, frame, fields, nominal, limits, Store(config.store_path))
    except ScanError as error:
        return ScanPlan(item.name, item.files, None, None, (), str(error))
    warnings = item.scan.warnings
    return ScanPlan(item.name, item.files, item.scan, frame, passes, None, warnings, given)


def _plan_volume(config: Config, item: OpenedScan, volume: GivenVolume) -> ScanPlan:
    """Lay out what brings a volume into the store."""
    try:
        passes = (at_precision(volume_pass(volume, config.acquisition), config.store.noise_share),)
    except ScanError as error:
        return ScanPlan(item.name, item.files, None, None, (), str(error))
    return ScanPlan(item.name, item.files, None, None, passes, None, volume.warnings, volume=volume)


def given_axis(config: Config, index: int) -> Axis | None:
    """Return the axis that the configuration gives for a scan, in columns of the detector."""
    center = config.reconstruction.center
    if isinstance(center, tuple):
        return Axis(float(center[index])) if index < len(center) else None  # a list too short is an error of its own
    return Axis(float(center)) if isinstance(center, float) else None


def working_axis(axis: Axis, frame: Frame) -> Axis:
    """Return an axis, given in columns of the detector, in columns of the working frame."""
    return replace(axis, column=frame.to_working(axis.column))


def nominal_axis(config: Config, axis: Axis | None, frame: Frame) -> Axis:
    """Return the axis that a scan is planned with, in columns of the working frame: a given one, else the middle."""
    known = Axis((frame.columns - 1) / 2) if axis is None else working_axis(axis, frame)
    return replace(known, tilt=given_tilt(config.reconstruction), lean=given_lean(config.reconstruction))


def _center_problem(name: str, center: float, scan: Scan) -> str:
    """Say that a centre lies outside the detector; empty where it does not."""
    columns = scan.shape[2]
    if 0 <= center <= columns - 1:
        return ""
    return f"{name}: reconstruction.center = {center:g} lies outside the detector (columns 0 to {columns - 1})"


def _require_searchable(name: str, frame: Frame) -> None:
    """Refuse a scan whose centre cannot be searched for."""
    if frame.angles < LEAST_ANGLES or frame.columns < LEAST_COLUMNS:
        raise ScanError(
            f"{name}: {frame.angles} projections of {frame.columns} columns: finding a centre takes at least "
            f"{LEAST_ANGLES} and {LEAST_COLUMNS}; give it by center under [reconstruction]"
        )


def scan_passes(
    config: Config, scan: Scan, frame: Frame, fields: Fields, axis: Axis, limits: Resources, store: Store
) -> tuple[Pass, ...]:
    """Return the passes of one scan: over projections where one is needed, then to the volume.

    Parameters
    ----------
    axis : Axis
        In columns of the working frame.
    """
    raw = RawSource(scan.projections, frame)
    inputs = {**scan_identity(scan), "frame": vars(frame)}
    rows = row_range(frame, config.acquisition)
    passes: list[Pass] = []
    source: Source = raw
    first, before_s = correction.to_integrals(config.correction, scan, frame, fields), correction.correction_s(frame)
    if correction.whole_projections(config.correction, scan, frame, rows):
        passes.append(correction.projection_pass(scan.name, raw, first, frame, inputs, limits.on_device))
        source, first = correction.stored_projections(store, scan.name, frame), ()
        inputs = {**inputs, "projections": provenance.fingerprint(passes[0].identity())}
    upright = upright_op(frame, axis.tilt, fields.shift)
    ops = (*first, *correction.on_sinograms(config.correction, scan, frame, fields))
    ops = ops if upright is None else (*ops, upright)
    geometry = geometry_of_scan(config, scan, frame, axis)
    passes.append(
        at_precision(
            reconstruction.volume_pass(
                scan.name, source, ops, config.reconstruction, geometry, rows, inputs, limits, before_s
            ),
            config.store.noise_share,
        )
    )
    return tuple(passes)


def sums_of_rows(
    config: Config, scan: Scan, frame: Frame, margin: tuple[int, int] | None, axis: Axis, step: Pass
) -> Reduction:
    """Return the step that sums a scan's sinograms over their columns, from the pass to its volume.

    Parameters
    ----------
    margin : (left, right) or None
        Columns of air at the detector's edges.
    axis : Axis
        In columns of the working frame.
    """
    geometry = geometry_of_scan(config, scan, frame, axis)
    return row_sums_step(scan.name, step, geometry, margin, correction.correction_s(frame))


def geometry_of_scan(config: Config, scan: Scan, frame: Frame, axis: Axis) -> reconstruction.Geometry:
    """Return the geometry of a scan; `axis` is in columns of the working frame."""
    return reconstruction.geometry_of(config.reconstruction, scan, frame, axis, pixel_um(config, scan))


def halves_of_scan(
    config: Config, scan: Scan, frame: Frame, axis: Axis, step: Pass, square: Square | None = None
) -> Reduction:
    """Return the step that compares even and odd projections, from the pass to the volume, as large as it may get.

    Parameters
    ----------
    square : (y, x), optional
        Of a slice, where it is known.
    """
    geometry = geometry_of_scan(config, scan, frame, axis)
    square, before_s = square or planned_square(geometry), correction.correction_s(frame)
    return halves_step(scan.name, step, config.reconstruction, geometry, square, before_s)


def rays_of_scan(config: Config, item: ScanPlan, axis: Axis | None = None, step: Pass | None = None) -> Rays | None:
    """Return the sinograms of a scan; those that are planned, unless its axis and the pass to its volume are known."""
    if item.scan is None or item.frame is None:
        return None
    nominal = nominal_axis(config, item.axis, item.frame)
    return rays_of(step or item.passes[-1], geometry_of_scan(config, item.scan, item.frame, axis or nominal))


def held_bytes(config: Config, scans: Sequence[ScanPlan]) -> int:
    """Return the memory of the flats, darks and defects of all scans, at the most."""
    flats = 1 + IMAGES if isinstance(config.correction.flatfield, DynamicFlat) else 2
    known = [(item.scan, item.frame) for item in scans if item.scan is not None and item.frame is not None]
    return sum(4 * ((flats if scan.flats is not None else 0) + 2) * frame.rows * frame.columns for scan, frame in known)


def reconstruction_steps(config: Config, scans: Sequence[ScanPlan], sums: bool = False) -> tuple[Step, ...]:
    """Return the steps from the counts of some scans to their volumes, and to `sums` of their rows, as executed."""
    known = _with_frames(scans)
    over_projections = [item.passes[0] for item, _, _ in known if len(item.passes) > 1]
    volumes = [item.passes[-1] for item in scans if item.taken is not None]
    steps = [*side_by_side(over_projections), *side_by_side(volumes)]
    more: list[Step] = []
    for item, scan, frame in known if sums else []:
        axis = nominal_axis(config, item.axis, frame)
        more.append(sums_of_rows(config, scan, frame, None, axis, item.passes[-1]))
    for item, scan, frame in known if config.reconstruction.halves else []:
        axis = nominal_axis(config, item.axis, frame)
        more += [square_step(scan, frame), halves_of_scan(config, scan, frame, axis, item.passes[-1])]
    held = held_bytes(config, scans)
    return (*estimating_steps(config, scans), *(with_held(step, held) for step in (*steps, *more)))


def estimating_steps(config: Config, scans: Sequence[ScanPlan]) -> tuple[Step, ...]:
    """Return the steps that find what the passes of some scans need."""
    steps: list[Step] = []
    known, judged = _with_frames(scans), isinstance(config.correction.stripe, StripeDefects)
    for item, scan, frame in known:
        own = [fields_step(config.correction, scan, frame)]
        own += [motion_step(scan, frame)] if config.correction.motion == "moments" else []
        own += [tilt_step(scan, frame)] if config.reconstruction.tilt == "auto" else []
        own += [] if item.axis is not None else [reconstruction.center_step(scan, frame)]
        steps += of_each(own, len(known))
    steps += [columns_step(config.correction, scan, frame) for _, scan, frame in known if judged]
    if judged and known:
        steps.append(defects_step([frame for _, _, frame in known]))
    held = held_bytes(config, scans)
    return tuple(with_held(step, held) for step in steps)


def _with_frames(scans: Sequence[ScanPlan]) -> list[tuple[ScanPlan, Scan, Frame]]:
    """Return the scans that start as projections and can be used."""
    return [(item, item.scan, item.frame) for item in scans if item.scan is not None and item.frame is not None]


def with_held(step: Step, held_bytes: int) -> Step:
    """Return a step while which more memory is held: the flats, darks and defects of all scans."""
    match step:
        case Pass() | Reduction():
            return replace(step, held_bytes=step.held_bytes + held_bytes)
        case Estimate():
            return replace(step, cost=replace(step.cost, held_bytes=step.cost.held_bytes + held_bytes))
        case _:
            raise TypeError(f"{step.name} is no step that holds memory")


def pixel_um(config: Config, scan: Scan) -> float | None:
    """Return the edge of a working pixel in micrometre."""
    size = config.acquisition.pixel_size_um or scan.pixel_size_um
    return None if size is None else size * config.acquisition.binning
