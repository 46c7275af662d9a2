"""SLURM as its own commands show it: a submission is written down beside the store, asked about, and told.

What was submitted stands in ``<store>.slurm/submission.json``, with scripts and logs. SLURM is asked by ``sbatch``,
``squeue`` and ``scancel`` alone, as any user may; accounting (``sacct``) is not needed.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from xct_pipeline.inputs import read_bytes
from xct_pipeline.names import check_name
from xct_pipeline.store.files import write_atomic

PATIENCE_S = 60.0  # that a command of SLURM may take
LONGEST_S = 1e9  # that a job may be predicted to take
LIVING = {"PENDING", "RUNNING", "SUSPENDED", "CONFIGURING", "COMPLETING", "REQUEUED", "REQUEUE_HOLD", "RESIZING"}
LIVING |= {"SIGNALING", "STAGE_OUT", "STOPPED", "SPECIAL_EXIT", "REQUEUE_FED", "RESV_DEL_HOLD"}


class SlurmError(ValueError):
    """A command of SLURM that is not there, or refused what was asked of it."""


@dataclass(frozen=True)
class Submission:
    """What was submitted for a store.

    Attributes
    ----------
    submitted : str
        When, UTC.
    scans : list of str
        The elements of the job array, in their order.
    array : str or None
        Job id of the array; None where no scan was left.
    series : str
        Job id of the stages over the series.
    scan_s, series_s : float
        How long one element and the series are predicted to take.
    """

    submitted: str
    scans: list[str]
    array: str | None
    series: str
    scan_s: float
    series_s: float

    @property
    def jobs(self) -> list[str]:
        """Its job ids."""
        return [job for job in (self.array, self.series) if job is not None]

    def element(self, scan: str) -> str:
        """Return the job id of a scan's element."""
        return f"{self.array}_{self.scans.index(scan)}"


def folder_of(store: Path) -> Path:
    """Return the folder of scripts, logs and the submission of a store: beside it."""
    return store.with_name(f"{store.name}.slurm")


def write_submission(folder: Path, submission: Submission) -> None:
    """Write down what was submitted."""
    write_atomic(folder / "submission.json", json.dumps(asdict(submission), indent=1).encode())


def read_submission(folder: Path) -> Submission | None:
    """Return what was submitted last, None where nothing was or it cannot be read."""
    try:
        found = Submission(**json.loads(read_bytes(folder / "submission.json")))
        sound = datetime.fromisoformat(found.submitted).tzinfo is not None and _are_jobs(found)
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    return found if sound else None


def _are_jobs(found: Submission) -> bool:
    named = isinstance(found.scans, list) and all(check_name(scan) == scan for scan in found.scans)
    known = bool(found.scans) == (found.array is not None)
    durations = all(isinstance(s, (int, float)) and 0 <= s < LONGEST_S for s in (found.scan_s, found.series_s))
    return named and known and durations and all(re.fullmatch("[0-9]{1,18}", job) for job in found.jobs)


def require_sbatch() -> None:
    """Refuse a machine from which nothing can be submitted.

    Raises
    ------
    SlurmError
        There is no ``sbatch``.
    """
    if shutil.which("sbatch") is None:
        raise SlurmError("there is no sbatch here; submit from a login node of a SLURM cluster, or use xct run")


def submitted(arguments: Sequence[str]) -> str:
    """Submit a job and return its id.

    Raises
    ------
    SlurmError
        It was refused; the message is that of ``sbatch``.
    """
    answer = _asked(["sbatch", *arguments])
    job = answer.strip().split(";")[0]  # the name of the cluster may follow
    if not job.isdecimal():
        raise SlurmError(f"sbatch answered {answer.strip()[:200]!r} rather than with the number of a job")
    return job


def cancelled(job: str) -> None:
    """Take a job back.

    Raises
    ------
    SlurmError
        That was refused.
    """
    _asked(["scancel", job])


def states_of(jobs: Sequence[str]) -> dict[str, str] | None:
    """Return the state of each job and element (``12_3``) that SLURM still knows, in its words.

    Returns
    -------
    dict or None
        None where there is no ``squeue``.

    Raises
    ------
    SlurmError
        It does not answer.
    """
    if shutil.which("squeue") is None:
        return None
    try:
        answer = _asked(["squeue", "-h", "-r", "-t", "all", "-o", "%i|%T", f"--jobs={','.join(jobs)}"])
    except SlurmError as error:
        if "Invalid job id" in str(error):  # none of them is known any more
            return {}
        raise
    found = (line.strip().split("|") for line in answer.splitlines())
    return {pair[0]: pair[1] for pair in found if len(pair) == 2}


def living(states: dict[str, str]) -> list[str]:
    """Return the jobs that have not ended, in the order of their numbers."""
    found = [job for job, state in states.items() if state in LIVING]
    return sorted(found, key=lambda job: [int(number) for number in re.findall(r"\d+", job)])


def now() -> str:
    """Return the time, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _asked(command: Sequence[str]) -> str:
    """Return what a command of SLURM answers."""
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        raise SlurmError(f"{command[0]} does not answer within {PATIENCE_S:.0f} s; is SLURM up?") from None
    except OSError as error:
        raise SlurmError(f"{command[0]} cannot be run: {error.strerror}") from None
    if ended.returncode != 0:
        told = [re.sub(rf"^{command[0]}: (error: )?", "", line.strip()) for line in ended.stderr.splitlines()]
        raise SlurmError(f"{command[0]}: {'; '.join(filter(None, told)) or f'ended with {ended.returncode}'}")
    return ended.stdout
