"""CPU time, wall time and memory of a call.

CPU-seconds are those of all threads of this process (``time.process_time``) and of its children that have ended
(``resource.getrusage``). Memory is the largest resident size during the call beyond that at its start; Linux resets
that mark on request (``/proc/self/clear_refs``).
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from xct_pipeline.engine.scheduling import release_memory


class Cost(NamedTuple):
    """What one call took: the least time of its repeats, and the most memory."""

    cpu_s: float
    wall_s: float
    peak_MB: float


def _cpu() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _status(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return float(line.split()[1]) / 1024
    return float("nan")


def measure(call: Callable[[], Any], repeats: int = 3) -> tuple[Cost, Any]:
    """Return the least CPU and wall time and the most memory of `repeats` calls, and the last result."""
    costs = []
    result = None
    for _ in range(repeats):
        result = None
        release_memory()  # what a warm call freed would hide what this one takes
        try:
            Path("/proc/self/clear_refs").write_text("5")
            before = _status("VmRSS")
        except OSError:  # not Linux, or a sandbox
            before = float("nan")
        cpu, wall = _cpu(), time.perf_counter()
        result = call()
        costs.append((_cpu() - cpu, time.perf_counter() - wall, _status("VmHWM") - before if before == before else 0.0))
    cpu_s, wall_s, peak = zip(*costs, strict=True)
    return Cost(min(cpu_s), min(wall_s), max(peak)), result
