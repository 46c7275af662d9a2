"""The pipeline, read first: what a run does, in order, from the configuration to the store.

`plan` opens the scans and says what would be computed, with its memory and disk; `run` computes it, scan by scan
where estimates are needed and all together where shards can be shared out; a run that was killed is continued by
running it again. `preview` computes one slice with the same functions.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from xct_pipeline import provenance
from xct_pipeline.acquisition.stage import (
    Frame,
    OpenedScan,
    RawSource,
    open_scans,
    row_range,
    scan_identity,
    working_frame,
)
from xct_pipeline.blocks import Array, Pass, Source
from xct_pipeline.config import Config, NoMethod, Registration
from xct_pipeline.correction import stage as correction
from xct_pipeline.execution import PassResult, Progress, is_complete, run_passes, silent
from xct_pipeline.reconstruction import stage as reconstruction
from xct_pipeline.reconstruction.center import CenterEstimate
from xct_pipeline.registration import stage as registration
from xct_pipeline.resources import Resources, disk_problem, fitting_workers, resources
from xct_pipeline.scan import Scan, ScanError
from xct_pipeline.segmentation import stage as segmentation
from xct_pipeline.store import RefusedError, Store
from xct_pipeline.variation import stage as variation

log = logging.getLogger("xct")

STAGES = ("reconstruction", "registration", "segmentation", "variation")


@dataclass(frozen=True)
class ScanPlan:
    """One scan of a plan: what is known of it before anything is computed.

    Attributes
    ----------
    name : str
    files : tuple of Path
    scan : Scan or None
        None where it cannot be used; then `problem` says why.
    frame : Frame or None
        The working frame.
    passes : tuple of Pass
        With nominal estimates: good for shapes, tasks, memory and disk, not for running.
    """

    name: str
    files: tuple[Path, ...]
    scan: Scan | None
    frame: Frame | None
    passes: tuple[Pass, ...]
    problem: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What a run would do."""

    config: Config
    limits: Resources
    until: str | None
    scans: tuple[ScanPlan, ...]

    @property
    def good(self) -> tuple[ScanPlan, ...]:
        """The scans that can be used."""
        return tuple(item for item in self.scans if item.scan is not None)

    @property
    def task_bytes(self) -> int:
        """Memory of the largest task."""
        return max((step.memory() for item in self.good for step in item.passes), default=0)

    @property
    def workers(self) -> int:
        """Tasks at a time."""
        tasks = sum(len(step.shards()) for item in self.good for step in item.passes)
        return fitting_workers(self.task_bytes, tasks, self.limits, "the run")

    @property
    def disk_bytes(self) -> int:
        """Size of all images, uncompressed."""
        sizes = (np.prod(s.image.level_shape(k)) * np.dtype(s.image.dtype).itemsize
                 for item in self.good for s in item.passes for k in range(s.image.levels))  # fmt: skip
        return int(sum(sizes))


@dataclass(frozen=True)
class ScanResult:
    """How one scan ended."""

    name: str
    center: CenterEstimate | None = None
    passes: tuple[PassResult, ...] = ()
    warnings: tuple[str, ...] = ()
    problem: str | None = None


@dataclass(frozen=True)
class RunResult:
    """How a run ended."""

    store: Store
    scans: tuple[ScanResult, ...]
    passes: tuple[PassResult, ...] = ()
    refused: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[ScanResult, ...]:
        """The scans that could not be finished."""
        return tuple(scan for scan in self.scans if scan.problem is not None)


# ------------------------------------------------------------------------------------------------ planning


def plan(config: Config, limits: Resources | None = None, until: str | None = None) -> Plan:
    """Open the scans of a configuration and lay out what a run would compute.

    Parameters
    ----------
    config : Config
    limits : Resources, optional
        The machine's own by default.
    until : str, optional
        Last stage; the last one configured by default.

    Returns
    -------
    Plan
        Nothing has been written.

    Raises
    ------
    ScanError
        No scan can be used at all.
    ValueError
        Unknown stage, or a list of centres of the wrong length.
    """
    if until is not None and until not in STAGES:
        raise ValueError(f"--until {until}: stages are {', '.join(STAGES)}")
    limits = limits or resources()
    opened = open_scans(config)
    center = config.reconstruction.center
    if isinstance(center, tuple) and len(center) != len(opened):
        raise ScanError(f"reconstruction.center lists {len(center)} columns for {len(opened)} scans; give one per scan")
    scans = tuple(_plan_scan(config, item, k, limits) for k, item in enumerate(opened))
    if not any(item.scan is not None for item in scans):
        problems = "\n".join(f"  {item.problem}" for item in scans)
        raise ScanError(scans[0].problem or "" if len(scans) == 1 else f"no scan can be used:\n{problems}")
    segmentation.check(config)
    if config.registration is not None:
        registration.reference_index(config.registration, [item.name for item in scans])
    if config.variation is not None and last_stage(config, until) == STAGES.index("variation"):
        shape = next(item.passes[-1].image.shape for item in scans if item.scan is not None)
        variation.check(config, [item.scan for item in scans], shape)  # type: ignore[arg-type]
    return Plan(config, limits, until, scans)


def _plan_scan(config: Config, item: OpenedScan, index: int, limits: Resources) -> ScanPlan:
    if item.scan is None:
        return ScanPlan(item.name, item.files, None, None, (), item.problem)
    try:
        frame = working_frame(item.scan, config.acquisition)
        given = given_center(config, index)
        if given is not None:
            check_center(item.name, given, item.scan)
        nominal = frame.to_working(given) if given is not None else (frame.columns - 1) / 2
        fields = correction.nominal_fields(frame)
        passes = scan_passes(config, item.scan, frame, fields, nominal, limits, Store(config.store_path))
    except ScanError as error:
        return ScanPlan(item.name, item.files, None, None, (), str(error))
    return ScanPlan(item.name, item.files, item.scan, frame, passes, None, item.scan.warnings)


def given_center(config: Config, index: int) -> float | None:
    """Return the centre that the configuration gives for a scan, a detector column."""
    center = config.reconstruction.center
    if isinstance(center, tuple):
        return float(center[index])
    return float(center) if isinstance(center, float) else None


def check_center(name: str, center: float, scan: Scan) -> None:
    """Refuse a centre outside the detector."""
    columns = scan.shape[2]
    if not 0 <= center <= columns - 1:
        raise ScanError(
            f"{name}: reconstruction.center = {center:g} lies outside the detector (columns 0 to {columns - 1})"
        )


def scan_passes(
    config: Config, scan: Scan, frame: Frame, fields: correction.Fields, center: float, limits: Resources,
    store: Store, on_device: bool = False,
) -> tuple[Pass, ...]:  # fmt: skip
    """Return the passes of one scan: over projections where one is needed, then to the volume.

    Parameters
    ----------
    center : float
        Column of the axis in the working frame.
    """
    raw = RawSource(scan.projections, frame)
    inputs = {**scan_identity(scan), "frame": vars(frame)}
    rows = row_range(frame, config.acquisition)
    passes: list[Pass] = []
    source: Source = raw
    first = correction.to_integrals(config.correction, scan, frame, fields)
    if correction.whole_projections(config.correction, scan, frame, rows):
        passes.append(correction.projection_pass(scan.name, raw, first, frame, inputs))
        source, first = correction.stored_projections(store, scan.name, frame), ()
        inputs = {**inputs, "projections": provenance.fingerprint(passes[0].identity())}
    ops = (*first, *correction.on_sinograms(config.correction, scan, frame, fields))
    geometry = reconstruction.geometry_of(config.reconstruction, scan, frame, center, pixel_um(config, scan))
    passes.append(
        reconstruction.volume_pass(
            scan.name, source, ops, config.reconstruction, geometry, rows, inputs, limits, store, on_device
        )
    )
    return tuple(passes)


def pixel_um(config: Config, scan: Scan) -> float | None:
    """Return the edge of a working pixel in micrometre."""
    size = config.acquisition.pixel_size_um or scan.pixel_size_um
    return None if size is None else size * config.acquisition.binning


# ------------------------------------------------------------------------------------------------- running


def run(
    plan: Plan, progress: Progress | None = None, on_device: bool = False, note: Callable[[str], None] = log.info
) -> RunResult:
    """Execute a plan, or what an earlier run left of it.

    Parameters
    ----------
    plan : Plan
    progress : callable, optional
        Told of every finished shard.
    on_device : bool
        Compute blocks on a CUDA device.
    note : callable
        Told in words what happens.

    Returns
    -------
    RunResult
        Scans that failed carry their problem; the others are finished.

    Raises
    ------
    RefusedError
        Memory, disk, or a store that is not this experiment's or is in use.
    """
    config, store = plan.config, Store(plan.config.store_path)
    scans = {item.name: [_relative(f, store) for f in item.files[:1]] for item in plan.scans}
    store.refuse_foreign(scans)
    refuse_disk(plan, store)
    assert plan.workers  # refuses what does not fit in the memory, before anything is written
    with store.lock(), _run_log(store):
        store.claim(scans)
        store.update({"config": config.model_dump(mode="json"), "times_s": _times(plan.good)})
        prepared = _prepare(plan, store, note)
        results = _reconstruct(plan, prepared, store, progress, on_device)
        write_reconstruction_table(store, plan, prepared, results)
        result = _over_time(plan, RunResult(store, results), progress or silent, note)
        store.update({"warnings": [[scan.name, text] for scan in result.scans for text in scan.warnings]
                      + [["", text] for text in result.warnings]})  # fmt: skip
        return result


def last_stage(config: Config, until: str | None) -> int:
    """Return the position in STAGES of the last stage that is asked for and configured."""
    configured = 0
    if config.registration is not None:
        configured = STAGES.index("registration")
    if config.segmentation is not None:
        configured = STAGES.index("segmentation")
    if config.variation is not None:
        configured = STAGES.index("variation")
    return configured if until is None else min(STAGES.index(until), configured)


def _over_time(plan: Plan, result: RunResult, progress: Progress, note: Callable[[str], None]) -> RunResult:
    """Run the stages that see all scans together: registration, segmentation, variation."""
    config, store, limits = plan.config, result.store, plan.limits
    last = last_stage(config, plan.until)
    if last < STAGES.index("registration") or all(scan.problem for scan in result.scans):
        return result
    note("registration")
    names = [scan.name for scan in result.scans]
    raw = [item.scan for item in plan.scans]
    times = [float(t) if np.isfinite(t) else None for t in variation.series_times(raw)]
    registered = registration.run(
        config.registration or Registration(), names, [scan.problem for scan in result.scans], times, store, limits,
        progress,
    )  # fmt: skip
    scans = tuple(
        replace(scan, problem=scan.problem or motion.problem, warnings=(*scan.warnings, *motion.warnings))
        for scan, motion in zip(result.scans, registered.motions, strict=True)
    )
    for scan, motion in zip(result.scans, registered.motions, strict=True):
        if motion.problem and not scan.problem:
            log.error("%s", motion.problem)
    result = replace(result, scans=scans, passes=registered.passes)
    failed = tuple(k for k, motion in enumerate(registered.motions) if motion.problem)
    if config.segmentation is not None and last >= STAGES.index("segmentation"):
        note("segmentation")
        facts = segmentation.Facts(tuple(names), failed, registered.reference, registered.volume, tuple(times))
        labelled = segmentation.run(config, facts, store, limits, progress)
        for warning in labelled.warnings:
            log.warning("%s", warning)
        result = replace(
            result,
            passes=(*result.passes, *labelled.passes),
            warnings=(*result.warnings, *labelled.warnings),
        )
    if last < STAGES.index("variation"):
        return result
    note("variation of mass")
    series = variation.Series(
        tuple(names), failed, registered.reference, registered.volume, registered.motions, tuple(raw)
    )
    found = variation.run(config, series, store, limits, progress)
    for warning in found.warnings:
        log.warning("%s", warning)
    return replace(
        result,
        passes=(*result.passes, *found.passes),
        refused=found.refused,
        warnings=(*result.warnings, *found.warnings),
    )


@dataclass
class Prepared:
    """A scan with everything estimated that its passes need."""

    item: ScanPlan
    fields: correction.Fields | None = None
    columns: Array | None = None
    center: CenterEstimate | None = None
    warnings: list[str] = field(default_factory=list)
    problem: str | None = None


def _prepare(plan: Plan, store: Store | None, note: Callable[[str], None]) -> list[Prepared]:
    """Estimate flats, air, detector defects and centres; what fails is noted at its scan."""
    config = plan.config
    prepared = [Prepared(item, warnings=list(item.warnings), problem=item.problem) for item in plan.scans]
    defects = config.correction.stripe.method == "defects"
    for k, entry in enumerate(prepared):
        scan, frame = entry.item.scan, entry.item.frame
        if scan is None or frame is None:
            continue
        try:
            note(f"{scan.name}: flats, air and centre")
            entry.fields = correction.measure_fields(config.correction, scan, frame, store)
            entry.center = _center(config, k, scan, frame, entry.fields, store)
            entry.warnings += [*entry.fields.warnings, *entry.center.warnings]
            if defects:
                entry.columns = correction.column_statistics(
                    config.correction, scan, frame, entry.fields, store, plan.limits
                )
            if pixel_um(config, scan) is None:
                entry.warnings.append("no pixel size known: reconstructed in 1/pixel; give acquisition.pixel_size_um")
        except (ScanError, ValueError, OSError) as error:
            entry.problem = str(error)
    good = [entry for entry in prepared if entry.problem is None]
    if config.reconstruction.center == "common" and good:
        common = reconstruction.common_center([e.center for e in good if e.center is not None])
        for entry in good:
            entry.center = common
    if defects and good:
        note("detector defects, from all scans together")
        centers = [e.item.frame.to_working(e.center.center) for e in good if e.item.frame and e.center]
        known = [(e.fields, e.columns) for e in good if e.fields is not None and e.columns is not None]
        found = correction.add_defects(config.correction, known, centers)
        for entry, fields in zip(good, found, strict=True):
            entry.fields = fields
    for entry in prepared:
        for warning in entry.warnings:
            log.warning("%s: %s", entry.item.name, warning)
    return prepared


def _center(
    config: Config, index: int, scan: Scan, frame: Frame, fields: correction.Fields, store: Store | None
) -> CenterEstimate:
    given = given_center(config, index)
    if given is not None:
        return reconstruction.given_center(given)
    return reconstruction.estimate_center(config, scan, frame, fields, store)


def _reconstruct(
    plan: Plan, prepared: Sequence[Prepared], store: Store, progress: Progress | None, on_device: bool
) -> tuple[ScanResult, ...]:
    """Run the passes of all scans: those over projections first, then those to volumes."""
    passes: dict[str, tuple[Pass, ...]] = {}
    for entry in prepared:
        if entry.problem is None:
            try:
                passes[entry.item.name] = _passes_of(plan, entry, store, on_device)
            except (ScanError, ValueError) as error:
                entry.problem = str(error)
    done: dict[str, list[PassResult]] = {name: [] for name in passes}
    over_projections = {name: steps[0] for name, steps in passes.items() if len(steps) > 1}
    for wave in (over_projections, {name: steps[-1] for name, steps in passes.items()}):
        left = {name: step for name, step in wave.items() if not any(result.problem for result in done[name])}
        found = run_passes(store, list(left.values()), plan.limits, progress or silent)
        for name, result in zip(left, found, strict=True):
            done[name].append(result)
    results = []
    for entry in prepared:
        steps_done = tuple(done.get(entry.item.name, ()))
        problem = entry.problem or next((r.problem for r in steps_done if r.problem), None)
        if problem:
            log.error("%s: %s", entry.item.name, problem)
        results.append(ScanResult(entry.item.name, entry.center, steps_done, tuple(entry.warnings), problem))
    return tuple(results)


def _passes_of(plan: Plan, entry: Prepared, store: Store, on_device: bool) -> tuple[Pass, ...]:
    scan, frame, fields, center = entry.item.scan, entry.item.frame, entry.fields, entry.center
    assert scan is not None
    assert frame is not None
    assert fields is not None
    assert center is not None
    column = frame.to_working(center.center)
    return scan_passes(plan.config, scan, frame, fields, column, plan.limits, store, on_device)


def refuse_disk(plan: Plan, store: Store) -> None:
    """Refuse a run whose images cannot fit, counting what is there already."""
    there = sum(f.stat().st_size for f in store.path.rglob("*") if f.is_file()) if store.path.is_dir() else 0
    problem = disk_problem(store.path, max(0, int(0.9 * plan.disk_bytes) - there))
    if problem:
        raise RefusedError(problem)


def _relative(file: Path, store: Store) -> str:
    return os.path.relpath(file, store.path)


def _times(items: Sequence[ScanPlan]) -> dict[str, list[float | None]]:
    """Return start and end of each scan in seconds since the first scan's start."""
    starts = [item.scan.start for item in items if item.scan is not None and item.scan.start is not None]
    zero = min(starts) if starts else None
    times: dict[str, list[float | None]] = {}
    for item in items:
        assert item.scan is not None
        stamps = (item.scan.start, item.scan.end)
        times[item.name] = [None if t is None or zero is None else (t - zero).total_seconds() for t in stamps]
    return times


class _run_log:
    """Append what is logged to the store's ``run.log``."""

    def __init__(self, store: Store) -> None:
        self.handler = logging.FileHandler(store.path / "run.log", encoding="utf-8", delay=True)
        self.handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))

    def __enter__(self) -> None:
        log.setLevel(min(log.level or logging.INFO, logging.INFO))
        log.addHandler(self.handler)

    def __exit__(self, *error: object) -> None:
        log.removeHandler(self.handler)
        self.handler.close()


# --------------------------------------------------------------------------------------------------- table

TABLE_UNITS = {
    "center": "detector column", "center_sigma": "pixel", "center_agreement": "pixel", "tilt": "degree",
    "voxel_size": "micrometre", "seconds": "s", "clipped": "pixels", "saturated": "pixels", "zero": "pixels",
    "nonfinite": "pixels", "zingers": "pixels", "defective": "pixels", "margin_left": "columns",
    "margin_right": "columns",
}  # fmt: skip


def write_reconstruction_table(
    store: Store, plan: Plan, prepared: Sequence[Prepared], results: Sequence[ScanResult]
) -> pd.DataFrame:
    """Write ``tables/reconstruction.csv``: one row per scan, in the order of the configuration."""
    rows = []
    for entry, result in zip(prepared, results, strict=True):
        center, fields, scan = result.center, entry.fields, entry.item.scan
        counts: dict[str, int] = {}
        for passed in result.passes:
            counts = {**counts, **{k: counts.get(k, 0) + v for k, v in passed.counts.items()}}
        pixel = pixel_um(plan.config, scan) if scan is not None else None
        margin = fields.margin if fields is not None else None
        rows.append(
            {
                "scan": result.name,
                "center": center.center if center else None,
                "center_sigma": center.sigma if center else None,
                "center_agreement": center.agreement if center else None,
                "center_method": center.method if center else None,
                "tilt": center.tilt_deg if center else None,
                "unit": reconstruction.unit_of(pixel) if scan is not None else None,
                "voxel_size": pixel,
                "margin_left": margin[0] if margin else None,
                "margin_right": margin[1] if margin else None,
                **{key: counts.get(key, 0) for key in correction.COUNTS},
                "seconds": round(sum(passed.seconds for passed in result.passes), 2),
                "problem": result.problem,
            }
        )
    table = pd.DataFrame(rows)
    store.write_table("reconstruction", table, TABLE_UNITS)
    return table


# ------------------------------------------------------------------------------------------------- preview


def preview(
    config: Config, z: int, scans: Sequence[str] | None = None, limits: Resources | None = None
) -> dict[str, Array]:
    """Reconstruct one slice of each scan with the code of a run, to the last bit.

    Parameters
    ----------
    config : Config
    z : int
        Row of the (binned) detector.
    scans : sequence of str, optional
        Names; all by default.

    Returns
    -------
    dict
        Name of the scan to a slice (y, x), 1/cm (1/pixel where no pixel size is known).

    Raises
    ------
    ScanError
        The row is outside the detector, a scan that was named cannot be used, or none can be.
    """
    layout = plan(_single_row(config, z), limits, STAGES[0])
    chosen = _chosen(layout, scans)
    together = config.correction.stripe.method == "defects" or config.reconstruction.center == "common"
    prepared = _prepare(layout if together else replace(layout, scans=chosen), _cache(config), log.debug)
    slices = {}
    for entry in prepared:
        if entry.item.name not in {item.name for item in chosen}:
            continue
        if entry.problem is not None:
            _skip(entry.item.name, entry.problem, scans)
            continue
        *before, last = _passes_of(layout, entry, Store(config.store_path), False)
        slices[entry.item.name] = _one_slice(Store(config.store_path), before, last)
    if not slices:
        raise ScanError("no scan can be used")
    return slices


def slices_at_centers(config: Config, z: int, centers: Mapping[str, Sequence[float]]) -> dict[str, list[Array]]:
    """Reconstruct one slice of some scans with several centres each, stripes left in, to choose by eye.

    Parameters
    ----------
    config : Config
    z : int
        Row of the (binned) detector.
    centers : mapping
        Name of a scan to detector columns.

    Returns
    -------
    dict
        Name to slices (y, x), one for each centre.
    """
    single = _single_row(config, z)
    single = single.model_copy(
        update={
            "correction": config.correction.model_copy(update={"stripe": NoMethod()}),
            "reconstruction": config.reconstruction.model_copy(update={"center": next(iter(centers.values()))[0]}),
        }
    )
    layout = plan(single, until=STAGES[0])
    found = {}
    for entry in _prepare(replace(layout, scans=_chosen(layout, list(centers))), _cache(config), log.debug):
        if entry.problem is not None:
            raise ScanError(entry.problem)
        tried = [replace(entry, center=reconstruction.given_center(c)) for c in centers[entry.item.name]]
        passes = [_passes_of(layout, other, Store(config.store_path), False) for other in tried]
        found[entry.item.name] = [_one_slice(Store(config.store_path), before, last) for *before, last in passes]
    return found


def _single_row(config: Config, z: int) -> Config:
    rows = (z * config.acquisition.binning, (z + 1) * config.acquisition.binning)
    return config.model_copy(update={"acquisition": config.acquisition.model_copy(update={"rows": rows})})


def _skip(name: str, problem: str, asked: Sequence[str] | None) -> None:
    """Report a scan that cannot be used; that is an error where it was asked for by name."""
    if asked is not None:
        raise ScanError(problem)
    log.error("%s: skipped: %s", name, problem)


def _one_slice(store: Store, before: Sequence[Pass], last: Pass) -> Array:
    """Compute a pass of one plane in memory, its projections too where they are not stored."""
    region = tuple(slice(0, n) for n in last.image.shape)
    if before and not is_complete(store, before[0]):
        last = replace(last, source=correction.ComputedProjections(before[0]))
    values, _ = last.compute(region)
    return np.asarray(values[0])


def find_centers(config: Config, scans: Sequence[str] | None = None) -> dict[str, CenterEstimate]:
    """Find the centre of rotation of each scan, without reconstructing.

    Parameters
    ----------
    config : Config
    scans : sequence of str, optional
        Names; all by default.

    Returns
    -------
    dict
        Name to CenterEstimate, in detector columns.

    Raises
    ------
    ScanError
        A scan that was named cannot be used or its centre cannot be found, or that of none can be.
    """
    layout = plan(config, until=STAGES[0])
    store = _cache(config)
    found = {}
    for item in _chosen(layout, scans):
        if item.scan is None or item.frame is None:
            _skip(item.name, item.problem or "cannot be used", scans)
            continue
        try:
            fields = correction.measure_fields(config.correction, item.scan, item.frame, store)
            found[item.name] = reconstruction.estimate_center(config, item.scan, item.frame, fields, store)
        except ValueError as error:
            _skip(item.name, str(error), scans)
    if not found:
        raise ScanError("the centre of no scan can be found")
    return found


def _chosen(layout: Plan, scans: Sequence[str] | None) -> tuple[ScanPlan, ...]:
    chosen = tuple(item for item in layout.scans if scans is None or item.name in scans)
    if not chosen or (scans is not None and len(chosen) < len(set(scans))):
        names = ", ".join(item.name for item in layout.scans)
        unknown = ", ".join(sorted(set(scans or ()) - {item.name for item in chosen}))
        raise ScanError(f"no scan is called {unknown}; there are {names}")
    return chosen


def _cache(config: Config) -> Store | None:
    """Return the store for its cached estimates, where a run has begun it."""
    store = Store(config.store_path)
    return store if store.state.is_dir() else None
