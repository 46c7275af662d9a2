"""What a run asks before anything is written, and what it writes down of its scans."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from xct_pipeline.engine.resources import disk_problem
from xct_pipeline.planning.plan import Plan
from xct_pipeline.planning.scan import ScanPlan
from xct_pipeline.store.files import RefusedError
from xct_pipeline.store.store import Store

log = logging.getLogger("xct")


def refuse(plan: Plan) -> None:
    """Refuse a run that could not end well, before anything is written.

    Raises
    ------
    RefusedError
        One task does not fit in the memory, or the images not on the disk, or the store is another experiment's.
    """
    store = Store(plan.config.store_path)
    log.debug("%d bytes at most", plan.memory_bytes)  # telling it refuses what does not fit in the memory
    store.refuse_foreign(raw_files(plan, store), plan.config.acquisition.excluded_scans)
    refuse_disk(plan, store)


def raw_files(plan: Plan, store: Store) -> dict[str, list[str]]:
    """Return the main raw file of each scan, relative to the store."""
    return {item.name: [os.path.relpath(f, store.path) for f in item.files[:1]] for item in plan.scans}


def refuse_disk(plan: Plan, store: Store) -> None:
    """Refuse a run whose images cannot fit, counting what is there already."""
    there = sum(_size(Path(folder, name)) for folder, _, names in os.walk(store.path) for name in names)
    problem = disk_problem(store.path, max(0, int(0.9 * plan.disk_bytes) - there))
    if problem:
        raise RefusedError(problem)


def _size(file: Path) -> int:
    """Return the bytes of a file, none of one that was renamed meanwhile by another run of a scan."""
    try:
        return file.stat().st_size if file.is_file() else 0
    except OSError:
        return 0


def times_of(items: Sequence[ScanPlan]) -> dict[str, list[float | None]]:
    """Return start and end of each scan in seconds since the first scan's start."""
    starts = [item.taken.start for item in items if item.taken is not None and item.taken.start is not None]
    zero = min(starts) if starts else None
    times: dict[str, list[float | None]] = {}
    for item in items:
        assert item.taken is not None
        stamps = (item.taken.start, item.taken.end)
        times[item.name] = [None if t is None or zero is None else (t - zero).total_seconds() for t in stamps]
    return times


def raw_facts(item: ScanPlan) -> dict[str, object]:
    """Return what the raw scan was, for the record: no paths, which change when an experiment is moved."""
    left_out = ("name", "files", "file_count", "warnings")
    return {key: value for key, value in item.facts().items() if key not in left_out}
