"""The pipeline, read first: what a run does, in order, from the configuration to the store.

`plan` opens the scans and says what would be computed, with its memory and disk; `run` computes it, scan by scan
where estimates are needed and all together where shards can be shared out; a run that was killed is continued by
running it again. In `plan`, `scan` lays out one scan's passes, `estimates` finds what they need, and `preview` computes
one slice with the same functions.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from xct_pipeline.acquisition.checks import frame_counts
from xct_pipeline.config import Config, Registration
from xct_pipeline.electrochemistry.steps import stage as electrochemistry
from xct_pipeline.engine.blocks import Pass
from xct_pipeline.engine.execution import PassResult, Progress, measure, run_passes, silent
from xct_pipeline.engine.record import Ended, finished, forget_ended, record_file, write_ended, write_record
from xct_pipeline.engine.run_log import RunLog
from xct_pipeline.engine.scheduling import cluster_of, share_one_heap
from xct_pipeline.engine.status import write_plan
from xct_pipeline.engine.steps import Outcome, Steps, Watch
from xct_pipeline.planning.beginning import raw_facts, raw_files, refuse, refuse_disk, times_of
from xct_pipeline.planning.estimates import Prepared, prepare
from xct_pipeline.planning.finished import finished_centers, run_key
from xct_pipeline.planning.halves import Halves, measure_halves
from xct_pipeline.planning.one_scan import (
    digests_of,
    leave_out_unfinished,
    part_of,
    scan_key,
    scan_named,
    shares_estimates,
)
from xct_pipeline.planning.plan import STAGES, Plan, last_stage, plan
from xct_pipeline.planning.tables import write_scans
from xct_pipeline.reconstruction.center.find import CenterEstimate
from xct_pipeline.reconstruction.steps import stage as reconstruction
from xct_pipeline.reconstruction.steps.row_sums import Rays
from xct_pipeline.reconstruction.steps.table import write_frames
from xct_pipeline.registration.steps import stage as registration
from xct_pipeline.scan import AnyScan, ScanError
from xct_pipeline.segmentation.steps import stage as segmentation
from xct_pipeline.store import derived
from xct_pipeline.store.collection import listing_problem, write_collection
from xct_pipeline.store.files import StoreError
from xct_pipeline.store.series import Series
from xct_pipeline.store.store import Store
from xct_pipeline.variation.steps import stage as variation
from xct_pipeline.variation.steps import told

log = logging.getLogger("xct")

__all__ = [
    "STAGES",
    "Plan",
    "RunResult",
    "ScanResult",
    "last_stage",
    "plan",
    "refuse",
    "refuse_disk",
    "run",
    "run_scan",
]


@dataclass(frozen=True)
class ScanResult:
    """How one scan ended."""

    name: str
    center: CenterEstimate | None = None
    passes: tuple[PassResult, ...] = ()
    warnings: tuple[str, ...] = ()
    problem: str | None = None
    row_sums: str | None = None  # hash under which the store keeps the sums of its sinograms' rows
    halves: Halves | None = None  # what its even and odd projections tell, where that was asked for
    rays: Rays | None = None  # its sinograms, where they are looked at again


@dataclass(frozen=True)
class RunResult:
    """How a run ended: scans, images, and what became of each step; `unchanged` where nothing was to be done."""

    store: Store
    scans: tuple[ScanResult, ...]
    passes: tuple[PassResult, ...] = ()
    refused: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    unchanged: bool = False
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)

    @property
    def failed(self) -> tuple[ScanResult, ...]:
        """The scans that could not be finished."""
        return tuple(scan for scan in self.scans if scan.problem is not None)


def run(
    plan: Plan,
    progress: Progress | None = None,
    on_device: bool = False,
    note: Callable[[str], None] = log.info,
    watch: Watch | None = None,
    only_reconstructed: bool = False,
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
    watch : callable, optional
        Told of every step that begins and ends.
    only_reconstructed : bool
        A scan whose volume is not finished has failed; it is not computed.

    Returns
    -------
    RunResult
        Scans that failed carry their problem; the others are finished.

    Raises
    ------
    RefusedError
        Memory, disk, or a store that is not this experiment's or is in use.
    """
    share_one_heap()  # before any thread has a heap of its own
    plan = replace(plan, limits=replace(plan.limits, on_device=on_device))
    refuse(plan)
    if plan.config.electrochemistry is not None:  # before anything is written
        electrochemistry.check(plan.config, [s.name for s in plan.scans], [s.taken for s in plan.scans])
    config, store = plan.config, Store(plan.config.store_path)
    scans = raw_files(plan, store)
    with store.lock(), RunLog(store.path, config, plan.limits, len(plan.scans)) as record, cluster_of(plan.limits):
        key = run_key(plan)
        try:
            there = unchanged_run(plan, store, key)
        except StoreError as error:  # damaged: this run mends it
            log.warning("%s", error)
            there = None
        if there is not None:
            record.note("nothing was to be done")
            return there
        record_file(store).unlink(missing_ok=True)  # until this run has ended, too
        store.claim(scans, config.acquisition.excluded_scans)
        store.update(
            {
                "config": config.model_dump(mode="json"),
                "order": [item.name for item in plan.scans],
                "times_s": times_of(plan.good),
                "facts": {item.name: raw_facts(item) for item in plan.good},
            }
        )
        write_plan(store, plan.stages, plan.limits)
        beside = _beside_the_scans(plan, store)
        steps = Steps(plan.steps, watch)
        volumes = _volumes(plan, store, progress, note, steps, only_reconstructed)
        result = RunResult(store, volumes, warnings=beside)
        result = _over_time(plan, result, progress or silent, note, steps)
        record.failed = len(result.failed)
        if config.variation is not None and _maps_mass(plan) and not result.refused and record.failed < len(scans):
            record.result = told.found(store, config.variation.species)
        store.update(
            {
                "warnings": [[scan.name, text] for scan in result.scans for text in scan.warnings]
                + [["", text] for text in result.warnings]
            }
        )
        write_collection(store.path)
        write_record(store, key, steps, not result.failed, result.refused)
        if not result.failed:
            forget_ended(store)
        return replace(result, outcomes=dict(steps.outcomes))


def run_scan(
    plan: Plan,
    name: str,
    progress: Progress | None = None,
    on_device: bool = False,
    note: Callable[[str], None] = log.info,
    watch: Watch | None = None,
) -> ScanResult:
    """Bring one scan of a plan to its volume, beside others who do so with other scans of the store.

    Nothing is written but what is the scan's own: tables and metadata of the series are left to `run`, which finds the
    volumes and takes them as they are.

    Parameters
    ----------
    plan : Plan
        Of the whole series.
    name : str
        Of the scan.
    progress, on_device, note, watch
        As `run` takes them.

    Returns
    -------
    ScanResult
        With its problem where it has no volume.

    Raises
    ------
    RefusedError
        Memory, disk, a store that is not this experiment's, or one that a run holds, or the scan.
    ValueError
        There is no such scan.
    """
    share_one_heap()  # before any thread has a heap of its own
    plan = replace(plan, limits=replace(plan.limits, on_device=on_device))
    item, store = scan_named(plan, name), Store(plan.config.store_path)
    if item.taken is None:
        return ScanResult(name, problem=item.problem)
    part = part_of(plan, item)
    refuse(part)
    with store.lock(name):
        store.join(raw_files(plan, store), plan.config.acquisition.excluded_scans)
        steps = Steps(part.steps, watch)
        among = plan.scans if shares_estimates(plan) else (item,)
        prepared = prepare(plan.config, among, plan.limits, store, note, steps, first=name)
        own = [entry for entry in prepared if entry.item.name == name]
        (result,) = _reconstruct(part, own, store, progress, steps)
        images = digests_of(steps, [step.name for step in item.passes])
        write_ended(store, name, Ended(scan_key(plan, item), result.problem, images))
        return result


def beside_problems(config: Config, scans: Sequence[tuple[str, AnyScan | None]] | None = None) -> list[str]:
    """Return what is wrong with what was recorded beside the scans, each file by itself.

    Parameters
    ----------
    config : Config
    scans : sequence of (name, Scan or None), optional
        None where they could not be opened: files are read all the same.
    """
    if config.electrochemistry is None:
        return []
    try:
        if scans is None:
            electrochemistry.read_all(config)
        else:
            electrochemistry.check(config, [name for name, _ in scans], [scan for _, scan in scans])
    except ValueError as error:
        return str(error).splitlines()
    return []


def unchanged_run(plan: Plan, store: Store, key: str) -> RunResult | None:
    """Return what the last run did where nothing is left to be done, else None."""
    found = finished(store, key, plan.steps)
    if found is None or listing_problem(store.path) or derived.missing(store):
        return None
    record, images = found
    told = Series.open(store).warnings
    scans = []
    for item, center in zip(plan.scans, finished_centers(plan.config, plan.scans, store, record), strict=True):
        passes = tuple(images[step.name] for step in item.passes)
        warnings = tuple(text for name, text in told if name == item.name)
        scans.append(ScanResult(item.name, center, passes, warnings))
    own = {step.name for item in plan.scans for step in item.passes}
    others = tuple(image for name, image in images.items() if name not in own)
    general = tuple(text for name, text in told if not name)
    return RunResult(store, tuple(scans), others, tuple(record.refused), general, unchanged=True)


def _beside_the_scans(plan: Plan, store: Store) -> tuple[str, ...]:
    """Write what was recorded beside the scans: log, spectra, voltammetry, cycles; return warnings."""
    if plan.config.electrochemistry is None:
        return ()
    told = electrochemistry.run(plan.config, [s.name for s in plan.scans], [s.taken for s in plan.scans], store)
    for warning in told:
        log.warning("%s", warning)
    return told


def _over_time(
    plan: Plan, result: RunResult, progress: Progress, note: Callable[[str], None], steps: Steps
) -> RunResult:
    """Run the stages that see all scans together: registration, segmentation, variation."""
    last = last_stage(plan.config, plan.until)
    if last < STAGES.index("registration") or all(scan.problem for scan in result.scans):
        return result
    note(_stage(plan, "registration"))
    seconds = variation.series_times([item.taken for item in plan.scans])
    times = tuple(float(t) if np.isfinite(t) else None for t in seconds)
    registered, result = _register(plan, result, times, progress, steps)
    failed = tuple(k for k, motion in enumerate(registered.motions) if motion.problem)
    names = tuple(scan.name for scan in result.scans)
    if plan.config.segmentation is not None and last >= STAGES.index("segmentation"):
        note(_stage(plan, "segmentation"))
        facts = segmentation.Facts(names, failed, registered.reference, registered.volume, times)
        labelled = segmentation.run(plan.config, facts, result.store, plan.limits, progress, steps)
        result = _with(result, labelled.passes, labelled.warnings)
    if last < STAGES.index("variation"):
        return result
    note(_stage(plan, "variation"))
    raw = tuple(item.taken for item in plan.scans)
    sums = tuple(scan.row_sums for scan in result.scans)
    rays = tuple(scan.rays for scan in result.scans) if _reads_projections(plan) else ()
    halves = tuple(None if scan.halves is None else scan.halves.digest for scan in result.scans)
    motions = registered.motions
    series = variation.RegisteredSeries(
        names, failed, registered.reference, registered.volume, motions, raw, sums, rays, halves
    )
    found = variation.run(plan.config, series, result.store, plan.limits, progress, steps)
    return replace(_with(result, found.passes, found.warnings), refused=found.refused)


def _stage(plan: Plan, name: str) -> str:
    """Return which of the stages of a run begins."""
    stages = [stage.stage for stage in plan.stages]
    return f"stage {stages.index(name) + 1} of {len(stages)}: {name}" if name in stages else name


def _with(result: RunResult, passes: Sequence[PassResult], warnings: Sequence[str]) -> RunResult:
    """Add what a stage did, and tell its warnings."""
    for warning in warnings:
        log.warning("%s", warning)
    return replace(result, passes=(*result.passes, *passes), warnings=(*result.warnings, *warnings))


def _register(
    plan: Plan, result: RunResult, times: Sequence[float | None], progress: Progress, steps: Steps
) -> tuple[registration.RegistrationResult, RunResult]:
    """Match every scan to the reference; one that cannot be matched carries its problem."""
    settings = plan.config.registration or Registration()
    names, problems = [scan.name for scan in result.scans], [scan.problem for scan in result.scans]
    share, times = plan.config.store.noise_share, list(times)
    registered = registration.run(settings, names, problems, times, result.store, plan.limits, progress, steps, share)
    scans = []
    for scan, motion in zip(result.scans, registered.motions, strict=True):
        if motion.problem and not scan.problem:
            log.error("%s", motion.problem)
        problem = scan.problem or motion.problem
        scans.append(replace(scan, problem=problem, warnings=(*scan.warnings, *motion.warnings)))
    return registered, replace(result, scans=tuple(scans), passes=registered.passes)


def _volumes(
    plan: Plan,
    store: Store,
    progress: Progress | None,
    note: Callable[[str], None],
    steps: Steps,
    only_reconstructed: bool = False,
) -> tuple[ScanResult, ...]:
    """Bring every scan to its volume; what is held for it (flats, defects) is let go of at the end."""
    note(_stage(plan, "reconstruction"))
    prepared = prepare(plan.config, plan.scans, plan.limits, store, note, steps)
    raw = {item.name: item.scan for item in plan.scans}
    write_frames(
        store, [(e.item.name, frame_counts(raw[e.item.name]), e.fields.findings) for e in prepared if e.fields]
    )
    if only_reconstructed:
        leave_out_unfinished(plan, prepared, store)
    results = _reconstruct(plan, prepared, store, progress, steps)
    ended = [(entry, scan.passes, scan.problem, scan.halves) for entry, scan in zip(prepared, results, strict=True)]
    write_scans(plan.config, store, ended)
    return results


def _reconstruct(
    plan: Plan, prepared: Sequence[Prepared], store: Store, progress: Progress | None, steps: Steps
) -> tuple[ScanResult, ...]:
    """Run the passes of all scans: those over projections first, then those to volumes."""
    passes: dict[str, tuple[Pass, ...]] = {}
    for entry in prepared:
        if entry.problem is None:
            try:
                passes[entry.item.name] = entry.passes(plan.config, plan.limits, store)
            except (ScanError, ValueError) as error:
                entry.problem = str(error)
    done: dict[str, list[PassResult]] = {name: [] for name in passes}
    over_projections = {name: steps[0] for name, steps in passes.items() if len(steps) > 1}
    for wave in (over_projections, {name: steps[-1] for name, steps in passes.items()}):
        left = {name: step for name, step in wave.items() if not any(result.problem for result in done[name])}
        found = run_passes(store, list(left.values()), plan.limits, progress or silent, steps)
        for name, result in zip(left, found, strict=True):
            done[name].append(result)
    sums = {} if not _maps_mass(plan) else _row_sums(plan, prepared, passes, done, store, steps)
    halves: dict[str, Halves] = {}
    if plan.config.reconstruction.halves:
        whole = {name: found[-1] for name, found in passes.items() if not any(r.problem for r in done[name])}
        halves = measure_halves(plan.config, prepared, whole, store, plan.limits, steps)
    results = []
    for entry in prepared:
        steps_done = tuple(done.get(entry.item.name, ()))
        problem = entry.problem or next((r.problem for r in steps_done if r.problem), None)
        if problem:
            log.error("%s: %s", entry.item.name, problem)
        beyond = steps_done[-1].counts.get("truncated_rows", 0) if steps_done else 0
        if beyond:
            rows = entry.item.passes[-1].image.shape[0]
            entry.warnings.append(reconstruction.truncation_warning(beyond, rows))
            log.warning("%s: %s", entry.item.name, entry.warnings[-1])
        digest = sums.get(entry.item.name)
        rays = None
        if _reads_projections(plan) and entry.item.name in sums:
            rays = entry.rays(plan.config, passes[entry.item.name][-1])
        told, split = tuple(entry.warnings), halves.get(entry.item.name)
        results.append(ScanResult(entry.item.name, entry.center, steps_done, told, problem, digest, split, rays))
    return tuple(results)


def _maps_mass(plan: Plan) -> bool:
    return last_stage(plan.config, plan.until) == STAGES.index("variation")


def _reads_projections(plan: Plan) -> bool:
    return _maps_mass(plan) and variation.reads_projections(plan.config)


def _row_sums(
    plan: Plan,
    prepared: Sequence[Prepared],
    passes: Mapping[str, Sequence[Pass]],
    done: Mapping[str, Sequence[PassResult]],
    store: Store,
    steps: Steps,
) -> dict[str, str]:
    """Sum the sinograms of all scans with a volume over their columns; return the hash of each result."""
    digests = {}
    for entry in prepared:
        name = entry.item.name
        bad = entry.problem or name not in passes or any(result.problem for result in done[name])
        if bad or entry.item.scan is None:  # a volume of another program has no sinograms
            continue
        step = entry.row_sums(plan.config, passes[name][-1])
        measure(store, step, plan.limits, steps)
        (digests[name],) = step.digests()
    return digests
