"""How far the jobs are that were submitted for a store: by what lies in it, its leases, and SLURM where it answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from xct_pipeline.engine import slurm
from xct_pipeline.engine.record import ended_file, read_ended, read_record, record_file
from xct_pipeline.store.files import StoreError
from xct_pipeline.store.holder import holder_of, leases_of
from xct_pipeline.store.series import Series
from xct_pipeline.store.store import Store

State = Literal["waiting", "running", "done", "failed", "unknown"]
SERIES = "the series"


@dataclass(frozen=True)
class Job:
    """A job that was submitted.

    Attributes
    ----------
    job : str
        Its id, ``12_3`` of an element.
    what : str
        The scan, or `SERIES`.
    state : str
        waiting, running, done, failed; unknown where SLURM is not here to be asked and nothing tells.
    problem : str or None
    """

    job: str
    what: str
    state: State
    problem: str | None = None


@dataclass(frozen=True)
class Jobs:
    """What was submitted last for a store, how far that is, and when it will have ended (None where nobody knows)."""

    submitted: str
    jobs: tuple[Job, ...]
    expected_end: datetime | None

    @property
    def living(self) -> bool:
        """Tell whether any is known not to have ended."""
        return any(job.state in ("waiting", "running") for job in self.jobs)


def jobs_of(store: Store, now: datetime) -> Jobs | None:
    """Return how far the jobs are that were submitted last for a store, None where none were."""
    folder = slurm.folder_of(store.path)
    found = slurm.read_submission(folder)
    if found is None:
        return None
    try:
        states = slurm.states_of(found.jobs)
    except slurm.SlurmError:  # away for the moment: told by what lies in the store
        states = None
    look = _Look(store, folder, states)
    jobs = [look.scan(found.element(scan), scan) for scan in found.scans]
    jobs.append(look.series(found.series))
    return Jobs(found.submitted, tuple(jobs), _end(found, jobs, now))


def _end(found: slurm.Submission, jobs: list[Job], now: datetime) -> datetime | None:
    """Return when all will have ended, as many elements at a time as now; None where nothing runs."""
    *scans, series = jobs
    running = sum(job.state == "running" for job in scans)
    left = running + sum(job.state == "waiting" for job in scans)
    if series.state == "running":
        return now + timedelta(seconds=found.series_s)
    if not running:
        return None
    return now + timedelta(seconds=math.ceil(left / running) * found.scan_s + found.series_s)


class _Look:
    """What is known of the jobs of a store at a time."""

    def __init__(self, store: Store, folder: Path, states: Mapping[str, str] | None) -> None:
        self.store, self.folder, self.states = store, folder, states
        self.submitted = _time(folder / "submission.json")
        holder = holder_of(store.path)
        self.whole = holder is not None and holder.held and holder.scan is None
        self.held = {lease.scan for lease in leases_of(store.path) if lease.held}
        self.record = read_record(store) if self._is_new(record_file(store)) else None
        self.problems = _problems(store) if self.record is not None else {}

    def scan(self, job: str, scan: str) -> Job:
        """Return how far the element of a scan is."""
        return self._judged(job, scan, scan in self.held, lambda: self._scan_ended(scan))

    def series(self, job: str) -> Job:
        """Return how far the stages over the series are."""

        def ended() -> tuple[State, str | None] | None:
            if self.record is None:
                return None
            failed = len(self.problems)
            return "done", None if self.record.complete else f"{failed} scans failed" if failed else "not complete"

        return self._judged(job, SERIES, self.whole, ended)

    def _scan_ended(self, scan: str) -> tuple[State, str | None] | None:
        ended = read_ended(self.store, scan) if self._is_new(ended_file(self.store, scan)) else None
        if ended is not None:
            return "done" if ended.problem is None else "failed", ended.problem
        if self.record is not None:  # of a run over the series since then
            problem = self.problems.get(scan)
            return "done" if problem is None else "failed", problem
        return None

    def _judged(self, job: str, what: str, held: bool, ended: Callable[[], tuple[State, str | None] | None]) -> Job:
        state = None if self.states is None else self.states.get(job)
        if state in slurm.LIVING or held:
            return Job(job, what, "running" if held or state in ("RUNNING", "COMPLETING") else "waiting")
        found = ended()
        if found is not None:
            return Job(job, what, *found)
        if self.states is None:
            return Job(job, what, "unknown", "SLURM is not here to be asked")
        how = "it ended" if state is None else f"SLURM says {state.replace('_', ' ').lower()}"
        return Job(job, what, "failed", f"{how}; see {self.folder / f'{job}.log'}")

    def _is_new(self, file: Path) -> bool:
        """Tell whether a file was written after the submission, by the clock of their file system."""
        return _time(file) >= self.submitted > 0


def _time(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0


def _problems(store: Store) -> Mapping[str, str]:
    try:
        return Series.open(store).problems
    except StoreError:  # damaged: xct verify says more
        return {}
