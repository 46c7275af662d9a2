"""How far a store is, from what lies in it alone: the plan of its run, markers, cached results, and who holds it.

A run writes ``.xct/plan.json`` when it begins. Whoever asks needs neither the run's process nor its configuration.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from xct_pipeline.engine.blocks import Pass
from xct_pipeline.engine.execution import kept_file
from xct_pipeline.engine.jobs import Job, Jobs, jobs_of
from xct_pipeline.engine.record import read_record
from xct_pipeline.engine.resources import Resources
from xct_pipeline.engine.steps import Stage
from xct_pipeline.store import layout, seal
from xct_pipeline.store.files import StoreError, marker_file, write_atomic
from xct_pipeline.store.holder import Holder, holder_of
from xct_pipeline.store.series import Series
from xct_pipeline.store.store import Store

State = Literal["running", "finished", "incomplete", "stopped", "killed", "submitted"]
PRIOR_S = 5.0  # of work as fast as predicted, beside what has been measured


@dataclass(frozen=True)
class PlannedStep:
    """A step as a run planned it: its tasks, how long they were predicted to take, and whether they make an image."""

    name: str
    stage: str
    tasks: int
    seconds: float
    is_image: bool


@dataclass(frozen=True)
class Part:
    """A scan or a stage: how many of its tasks are done.

    Attributes
    ----------
    name : str
    state : str
        done, running, waiting, failed, or begun where nobody goes on with it.
    done, total : int
        Tasks; of a scan those of its volume.
    problem : str or None
    """

    name: str
    state: str
    done: int
    total: int
    problem: str | None = None


@dataclass(frozen=True)
class Status:
    """How far a store is.

    Attributes
    ----------
    store : str
    state : str
        running; finished; incomplete where scans or steps of a run that has ended failed; stopped where it was told
        to end or ended by an error; killed; submitted while jobs of a cluster have not ended.
    holder : dict
        ``pid`` and ``host`` of the process that holds the store, or held it when it was killed; else empty.
    started : str or None
        When the last run began, UTC.
    expected_end : str or None
        Of a run that goes on, UTC: from what was predicted, and how fast its tasks have been so far.
    share : float or None
        Of the predicted work that is done.
    stages, scans : tuple of Part
    jobs : tuple of Job
        That were submitted to a cluster last, unless all is finished.
    """

    store: str
    state: State
    holder: dict[str, Any] = field(default_factory=dict)
    started: str | None = None
    expected_end: str | None = None
    share: float | None = None
    stages: tuple[Part, ...] = ()
    scans: tuple[Part, ...] = ()
    jobs: tuple[Job, ...] = ()

    def facts(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def write_plan(store: Store, stages: Sequence[Stage], limits: Resources) -> None:
    """Write down what a run is about to do."""
    steps = [
        [step.name, stage.stage, step.need.tasks, step.need.cpu_s / step.need.workers(limits), isinstance(step, Pass)]
        for stage in stages
        for step in stage.steps
    ]
    document = {"started": _text(datetime.now(UTC)), "steps": steps}
    write_atomic(store.path / layout.PLAN, seal.dumps(document, layout.PLAN))


def status_of(store: Store, now: datetime | None = None) -> Status:
    """Say how far a store is.

    Raises
    ------
    StoreError
        There is no store.
    """
    now = now or datetime.now(UTC)
    jobs = jobs_of(store, now)
    if jobs is not None and not store.path.exists():
        return _with_jobs(Status(str(store.path), "stopped"), jobs)
    if not store.path.exists():
        raise StoreError(f"{store.path}: no such folder")
    if not store.exists():
        raise StoreError(f"{store.path} is no store of xct; give the folder that a run writes")
    holder = holder_of(store.path)
    held = holder is not None and holder.held
    record = read_record(store)
    state: State = "running" if held else "killed" if holder else "stopped" if record is None else "finished"
    series = _series(store)
    if state == "finished" and record is not None and not record.complete:
        state = "incomplete"
    started, steps = _plan(store)
    failed = {entry["name"] for entry in record.steps if entry["outcome"] == "failed"} if record and not held else set()
    # a run that has ended says by itself that nothing is left: steps that were not needed keep nothing
    found = {s.name: _Found(s.tasks, 0) if state == "finished" else _found(store, s, started) for s in steps}
    share, end = _forecast(steps, found, started, now)
    found_so_far = Status(
        str(store.path),
        state,
        {} if holder is None else _holder_facts(holder),
        None if started is None else _text(started),
        _text(end) if end is not None and state == "running" else None,
        share,
        tuple(_stages(steps, found, failed, state)),
        tuple(_scans(store, series, steps, found, state)),
    )
    return found_so_far if jobs is None else _with_jobs(found_so_far, jobs)


def _with_jobs(found: Status, jobs: Jobs) -> Status:
    """Add what was submitted: while it goes on, the store is as far as its jobs are."""
    if not jobs.living:
        return found if found.state == "finished" else replace(found, jobs=jobs.jobs)
    end = found.expected_end  # of a run over the series, by the pace of its tasks
    if jobs.expected_end is not None and (end is None or found.holder.get("scan") is not None):
        end = _text(jobs.expected_end)
    return replace(found, state="submitted", started=jobs.submitted, expected_end=end, jobs=jobs.jobs)


@dataclass(frozen=True)
class _Found:
    """Tasks of a step that are done, and those of them since the run began."""

    done: int
    new: int


def _holder_facts(holder: Holder) -> dict[str, Any]:
    about = {"pid": holder.pid, "host": holder.host, "since": _text(holder.since)}
    return about | ({"scan": holder.scan} if holder.scan else {}) | ({"job": holder.job} if holder.job else {})


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def _series(store: Store) -> Series | None:
    try:
        return Series.open(store)
    except StoreError:
        return None


def _plan(store: Store) -> tuple[datetime | None, list[PlannedStep]]:
    """Return when the last run began and its steps; none where that is not kept or damaged."""
    try:
        document = seal.loads((store.path / layout.PLAN).read_bytes(), layout.PLAN)
        steps = [PlannedStep(str(n), str(g), int(t), float(s), bool(i)) for n, g, t, s, i in document["steps"]]
        return datetime.fromisoformat(document["started"]), steps
    except (OSError, ValueError, TypeError, KeyError):
        return None, []


def _found(store: Store, step: PlannedStep, started: datetime | None) -> _Found:
    """Count what the store keeps of a step."""
    if step.is_image:
        files = list(marker_file(store.path, step.name, (0,)).parent.glob("*.json"))
    else:
        files = [kept_file(store, step.name)]
    times = [time for file in files if (time := _written(file)) is not None]
    since = math.inf if started is None else started.timestamp()
    if step.is_image:
        return _Found(min(len(times), step.tasks), min(sum(time >= since for time in times), step.tasks))
    return _Found(step.tasks if times else 0, step.tasks if any(time >= since for time in times) else 0)


def _written(file: Path) -> float | None:
    try:
        return file.stat().st_mtime
    except OSError:
        return None


def _forecast(
    steps: Sequence[PlannedStep], found: dict[str, _Found], started: datetime | None, now: datetime
) -> tuple[float | None, datetime | None]:
    """Return the share of the work that is done, and when all of it will be."""
    total = math.fsum(step.seconds for step in steps)
    if started is None or not total:
        return None, None

    def work(counts: dict[str, int]) -> float:
        return math.fsum(step.seconds * counts[step.name] / max(1, step.tasks) for step in steps)

    done = work({name: entry.done for name, entry in found.items()})
    new = work({name: entry.new for name, entry in found.items()})
    elapsed = max(0.0, (now - started).total_seconds())
    pace = (elapsed + PRIOR_S) / (new + PRIOR_S)
    return min(1.0, done / total), now + timedelta(seconds=max(0.0, total - done) * pace)


def _stages(steps: Sequence[PlannedStep], found: dict[str, _Found], failed: set[str], state: State) -> list[Part]:
    parts, running = [], state == "running"
    for name in dict.fromkeys(step.stage for step in steps):
        own = [step for step in steps if step.stage == name]
        done, total = sum(found[s.name].done for s in own), sum(s.tasks for s in own)
        ended = "failed" if failed & {s.name for s in own} else _state(done, total, running)
        running = running and ended == "done"  # the first that is not done is at work
        parts.append(Part(name, ended, done, total))
    return parts


def _state(done: int, total: int, running: bool) -> str:
    if done >= total:
        return "done"
    if running:
        return "running"
    return "begun" if done else "waiting"


def _scans(
    store: Store, series: Series | None, steps: Sequence[PlannedStep], found: dict[str, _Found], state: State
) -> list[Part]:
    """Return how far the volume of each scan is."""
    if series is None:
        return []
    try:
        problems = series.problems if state in ("finished", "incomplete") else {}
    except StoreError:  # damaged tables
        problems = {}
    parts = []
    for name in series.scans:
        own = [step for step in steps if step.is_image and step.name.startswith(f"{layout.SCANS}/{name}/")]
        done, total = sum(found[s.name].done for s in own), sum(s.tasks for s in own)
        problem = problems.get(name)
        if problem is not None:
            parts.append(Part(name, "failed", done, total, problem))
        elif not own:  # what it takes was not written down
            there = (store.path / layout.SCANS / name).is_dir()
            parts.append(Part(name, "done" if there and state == "finished" else "begun" if there else "waiting", 0, 0))
        else:
            parts.append(Part(name, _state(done, total, state == "running" and done > 0), done, total))
    return parts
