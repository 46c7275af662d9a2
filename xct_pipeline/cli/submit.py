"""``xct submit``: a run on a SLURM cluster, a job array with an element for each scan and a job for the series."""

from __future__ import annotations

import contextlib
import math
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xct_pipeline.cli.options import ConfigPath, Memory, Workers, plan_of
from xct_pipeline.cli.terminal import start_logging, tell
from xct_pipeline.inputs import first_of

if TYPE_CHECKING:
    from xct_pipeline.planning.jobs import Job
    from xct_pipeline.planning.plan import Plan

UNLIMITED = "4000PB"  # of memory, where no node's is given
LEAST_MIN = 10


def submit(
    config: ConfigPath = Path("run.toml"),
    partition: Annotated[str | None, typer.Option(help="Partition of the cluster (default: SLURM's).")] = None,
    account: Annotated[str | None, typer.Option(help="Account that the time is taken from.")] = None,
    until: Annotated[
        str | None, typer.Option(help="Last stage: reconstruction, registration, segmentation or variation.")
    ] = None,
    memory: Memory = None,
    workers: Workers = None,
    memory_margin: Annotated[
        float, typer.Option(min=1, help="Memory that is asked for, over what is predicted.")
    ] = 1.25,
    time_margin: Annotated[float, typer.Option(min=1, help="Time that is asked for, over what is predicted.")] = 3.0,
    sbatch: Annotated[str, typer.Option(help="Anything further for sbatch, e.g. '--qos=long --constraint=fat'.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be submitted; write nothing.")] = False,
) -> None:
    """Submit a run to SLURM: each scan a job, then the series; a second time, only what is not finished.

    Example: xct submit run.toml --partition short --workers 16
    """
    from xct_pipeline import pipeline
    from xct_pipeline.engine import slurm
    from xct_pipeline.planning.finished import run_key
    from xct_pipeline.planning.one_scan import unfinished
    from xct_pipeline.store.store import Store

    start_logging()
    if not dry_run:
        slurm.require_sbatch()
    extra = _words(sbatch)
    plan = plan_of(config, memory or UNLIMITED, workers, None, None, until)
    store, key = Store(plan.config.store_path), run_key(plan)
    pipeline.refuse(plan)
    folder = slurm.folder_of(store.path)
    _refuse_living(store.path, folder)
    if pipeline.unchanged_run(plan, store, key) is not None:
        tell(f"nothing is to be done: {store.path} is finished")
        return
    site = [f"--partition={partition}"] * (partition is not None) + [f"--account={account}"] * (account is not None)
    order = _Order(config.absolute(), folder, [*site, *extra], memory_margin, time_margin, until)
    left = [item.name for item in unfinished(plan, store, key)]
    scans, series = order.scans(plan, left), order.series(plan)
    if dry_run:
        if scans is not None:
            _print(scans, [])
        _print(series, [] if scans is None else ["--dependency=afterany:JOB_OF_THE_SCANS"])
        return
    _send(scans, series, left, folder)


@dataclass(frozen=True)
class _Task:
    """A job to be submitted: its script, where that lies, and what ``sbatch`` is told."""

    file: Path
    script: str
    arguments: list[str]
    job: Job


@dataclass(frozen=True)
class _Order:
    """What all jobs of a submission share."""

    config: Path
    folder: Path
    more: list[str]
    memory_margin: float
    time_margin: float
    until: str | None

    def scans(self, plan: Plan, names: Sequence[str]) -> _Task | None:
        """Return the job array of some scans, None where there are none."""
        from xct_pipeline.planning.jobs import scan_jobs

        if not names:
            return None
        job = scan_jobs(plan, [item for item in plan.scans if item.name in names])
        script = script_of_scans(names, self._run(job))
        array = [f"--array=0-{len(names) - 1}"]
        return self._task("scans.sh", "%A_%a.log", "an element for each scan", script, array, job)

    def series(self, plan: Plan) -> _Task:
        """Return the job of the stages over the series."""
        from xct_pipeline.planning.jobs import series_job

        job = series_job(plan)
        script = f"exec {shlex.join([*self._run(job), '--reconstructed'])}\n"
        return self._task("series.sh", "%j.log", "the stages over the series and the report", script, [], job)

    def _run(self, job: Job) -> list[str]:
        until = [] if self.until is None else ["--until", self.until]
        limits = ["--workers", str(job.cores), "--memory", f"{job.memory}B"]
        return [*_command(), "run", str(self.config), *limits, *until]

    def _task(self, name: str, log: str, what: str, script: str, array: list[str], job: Job) -> _Task:
        minutes = max(LEAST_MIN, math.ceil(self.time_margin * job.seconds / 60))
        arguments = [
            "--parsable",
            f"--job-name=xct-{self.folder.name.removesuffix('.slurm')}",
            *array,
            f"--cpus-per-task={job.cores}",
            f"--mem={math.ceil(self.memory_margin * job.memory / 2**20)}M",
            f"--time={minutes // 60}:{minutes % 60:02d}:00",
            f"--output={str(self.folder).replace('%', '%%')}/{log}",
            "--open-mode=append",
            *self.more,
        ]
        return _Task(self.folder / name, f"#!/bin/bash\n# written by xct submit: {what}\n{script}", arguments, job)


def script_of_scans(names: Sequence[str], command: Sequence[str]) -> str:
    """Return a script that runs a command with ``--scan`` and the name that is the element's of an array."""
    quoted = "".join(f"  {shlex.quote(name)}\n" for name in names)
    return f'scans=(\n{quoted})\nexec {shlex.join(command)} --scan "${{scans[$SLURM_ARRAY_TASK_ID]}}"\n'


def _print(task: _Task, after: list[str]) -> None:
    tell(shlex.join(["sbatch", *task.arguments, *after, str(task.file)]))
    tell(f"\n{task.script}")


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ValueError(f"--sbatch {text}: {error}") from None


def _command() -> list[str]:
    """Return the command of this installation."""
    beside = Path(sys.executable).with_name("xct")
    found = str(beside) if beside.exists() else shutil.which("xct")
    return [found] if found else [sys.executable, "-c", "from xct_pipeline.cli import main; main()"]


def _refuse_living(store: Path, folder: Path) -> None:
    """Refuse while jobs of an earlier submission have not ended, or somebody computes the store.

    Raises
    ------
    ValueError
        It names them.
    """
    from xct_pipeline.engine import slurm
    from xct_pipeline.store.files import RefusedError
    from xct_pipeline.store.holder import holder_of

    before = slurm.read_submission(folder)
    states = None if before is None else slurm.states_of(before.jobs)
    jobs = slurm.living(states or {})
    if jobs:
        told = ", ".join(first_of(jobs))
        raise RefusedError(f"{store} is submitted, and these jobs have not ended: {told}; see xct status")
    holder = holder_of(store)
    if holder is not None and holder.held:
        raise RefusedError(f"{store} is in use by {holder}; wait for it or stop it")


def _send(scans: _Task | None, series: _Task, names: list[str], folder: Path) -> None:
    """Submit both, or none of them."""
    from xct_pipeline.engine import slurm

    store = folder.with_name(folder.name.removesuffix(".slurm"))
    with _written(folder, [task for task in (scans, series) if task is not None]):
        _refuse_living(store, folder)  # nobody else submits from now on
        array = None if scans is None else slurm.submitted([*scans.arguments, str(scans.file)])
        after = [] if array is None else [f"--dependency=afterany:{array}"]
        try:
            last = slurm.submitted([*series.arguments, *after, str(series.file)])
        except BaseException:
            if array is not None:
                slurm.cancelled(array)
            raise
        scan_s = 0.0 if scans is None else scans.job.seconds
        slurm.write_submission(folder, slurm.Submission(slurm.now(), names, array, last, scan_s, series.job.seconds))
    if scans is not None:
        tell(f"job {array}: {len(names)} scans, {_takes(scans)} each")
    tell(f"job {last}: the series{f' after job {array}' if array else ''}, {_takes(series)}")
    tell(f"logs: {folder}; next: xct status {store}")


def _takes(task: _Task) -> str:
    found = dict(
        word.removeprefix("--").split("=", 1) for word in task.arguments if word.startswith(("--mem", "--time"))
    )
    return f"{task.job.cores} cores, {found['mem']}, at most {found['time']}"


@contextlib.contextmanager
def _written(folder: Path, tasks: Sequence[_Task]) -> Iterator[None]:
    """Have the scripts in their folder; where their jobs are refused, it is as it was."""
    import filelock

    from xct_pipeline.store.files import RefusedError, write_atomic

    made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    before = {task.file: task.file.read_bytes() for task in tasks if task.file.is_file()}
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(folder / "lock", timeout=0):
            for task in tasks:
                write_atomic(task.file, task.script.encode())
            try:
                yield
            except BaseException:
                for task in tasks:
                    if task.file in before:
                        write_atomic(task.file, before[task.file])
                    else:
                        task.file.unlink()
                raise
    except filelock.Timeout:
        raise RefusedError(f"{folder} is in use by another xct submit; wait for it") from None
    except BaseException:
        if made:
            shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # somebody else has put something there
            for parent in made[1:]:
                parent.rmdir()
        raise
