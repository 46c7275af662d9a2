"""What a run may take: cores, memory and disk, within affinity and cgroup limits."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from dask.utils import format_bytes

from xct_pipeline.store.files import RefusedError

BASE_BYTES = 540 * 2**20  # interpreter, libraries, compiling kernels and writing the report, without any data


@dataclass(frozen=True)
class Resources:
    """What a run may take.

    Attributes
    ----------
    workers : int
        Tasks at a time.
    memory : int
        Bytes for the whole run.
    cluster : str or None
        ``local:N`` or ``tcp://...``; None for threads of this process.
    on_device : bool
        Compute on a CUDA device what can be computed there.
    """

    workers: int
    memory: int
    cluster: str | None = None
    on_device: bool = False


@dataclass(frozen=True)
class Need:
    """What one step of a run takes, known before it begins.

    Attributes
    ----------
    name : str
    tasks : int
        They do not depend on each other.
    task_bytes : int
        Memory of one.
    held_bytes : int
        Memory beside the tasks, in the process that shares them out.
    alone : bool
        It runs in the process that shares out the tasks of others: one at a time, but for those `beside`.
    cpu_s : float
        CPU-seconds of all tasks together, roughly.
    beside : int
        Tasks of other steps that run at the same time.
    disk_bytes : int
        Of the image that is written, uncompressed.
    """

    name: str
    tasks: int
    task_bytes: int
    held_bytes: int = 0
    alone: bool = False
    cpu_s: float = 0.0
    beside: int = 0
    disk_bytes: int = 0

    def workers(self, limits: Resources) -> int:
        """Return how many tasks run at a time within the limits.

        Raises
        ------
        RefusedError
            Not even one fits in the memory.
        """
        tasks = max(self.tasks + self.beside, 1)
        wanted = min(limits.workers, 1 + self.beside if self.alone else tasks)
        if elsewhere(limits) and not self.alone:
            return tasks  # the memory is that of other machines
        room = limits.memory - base_bytes(limits) - self.held_bytes
        if room < self.task_bytes:
            least = base_bytes(limits) + self.held_bytes + self.task_bytes
            raise RefusedError(
                f"{self.name} needs {format_bytes(least)} for one task"
                f" but the limit is {format_bytes(limits.memory)}; raise --memory, crop columns or bin"
            )
        return wanted if not self.task_bytes else int(min(wanted, room // self.task_bytes))

    def peak_bytes(self, limits: Resources) -> int:
        """Return the memory that the step takes on this machine, libraries included."""
        here = 0 if elsewhere(limits) and not self.alone else self.workers(limits) * self.task_bytes
        return base_bytes(limits) + self.held_bytes + here


def available_cores() -> int:
    """Return the cores that this process may use: affinity and cgroup quota respected."""
    from dask.system import CPU_COUNT

    return int(CPU_COUNT)


def available_memory() -> int:
    """Return the bytes that this process may take: what is free, within the cgroup's limit."""
    import psutil

    free = int(psutil.virtual_memory().available)
    for limit_file, used_file in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        try:
            limit = int(Path(limit_file).read_text())
            used = int(Path(used_file).read_text())
        except (OSError, ValueError):
            continue
        free = min(free, max(limit - used, 0))
    return free


def resources(workers: int | None = None, memory: int | None = None, cluster: str | None = None) -> Resources:
    """Return the limits of a run, the machine's own where none are given (80 % of the free memory)."""
    if workers is not None and workers < 1:
        raise ValueError(f"workers = {workers}: at least one is needed")
    processes = local_processes(cluster)
    return Resources(workers or processes or available_cores(), memory or int(0.8 * available_memory()), cluster)


def local_processes(cluster: str | None) -> int | None:
    """Return N of ``local:N``, None where the tasks run elsewhere.

    Raises
    ------
    ValueError
        Neither ``local:N`` nor the address of a scheduler.
    """
    if cluster is None:
        return None
    match = re.fullmatch(r"local:([1-9]\d*)", cluster)
    if match is None and not re.fullmatch(r"[a-z]+://.+", cluster):
        raise ValueError(f"--cluster {cluster}: write local:N (N worker processes) or tcp://HOST:PORT of a scheduler")
    return int(match[1]) if match else None


def elsewhere(limits: Resources) -> bool:
    """Tell whether the tasks run on other machines."""
    return limits.cluster is not None and local_processes(limits.cluster) is None


def base_bytes(limits: Resources) -> int:
    """Return the memory of this process and of its worker processes before they have any data."""
    return BASE_BYTES * (1 + (local_processes(limits.cluster) or 0))


def share_of(limits: Resources, count: int) -> Resources:
    """Return what each of some that run at a time may take, libraries counted in each."""
    libraries = base_bytes(limits)
    memory = libraries + (limits.memory - libraries) // count
    return replace(limits, workers=-(-limits.workers // count), memory=memory)


def disk_problem(path: Path, need: int) -> str | None:
    """Say that a file system has less free space than is needed, or None."""
    folder = path
    while not folder.exists():
        folder = folder.parent
    if not os.access(folder, os.W_OK):
        return f"{folder} cannot be written"
    free = shutil.disk_usage(folder).free
    if need > free:
        return f"{path} needs {format_bytes(need)} but {folder} has {format_bytes(free)} free"
    return None
