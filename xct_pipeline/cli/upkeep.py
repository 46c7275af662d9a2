"""Commands that look after a store: whether it is whole, and scans that are to be forgotten."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xct_pipeline.cli.kinds import require_store
from xct_pipeline.cli.options import WRONG, JsonFlag, print_json
from xct_pipeline.cli.terminal import print_table, tell

if TYPE_CHECKING:
    from xct_pipeline.engine.status import Status
    from xct_pipeline.store.store import Store


def verify(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="A store.")],
    deep: Annotated[
        bool, typer.Option("--deep", help="Decode every chunk, and compare raw files by their full content.")
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Remove what is wrong, so that xct run computes exactly that.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Check that a store is what its runs wrote: metadata, grids, digests, markers, tables, leftovers.

    Example: xct verify store.zarr --repair
    """
    from xct_pipeline.store import verify as checks

    there = _store_at(store)
    with there.lock() if repair else there.still():
        verdict = checks.verify(there, deep)
        left = checks.repair(there, verdict.problems) if repair else verdict.problems
    if as_json:
        print_json(
            {
                "problems": [{"place": p.place, "what": p.what} for p in verdict.problems],
                "repaired": repair and not left,
                "unfinished": verdict.unfinished,
                "images": verdict.images,
                "shards": verdict.shards,
            }
        )
    else:
        for line in (*verdict.problems, *verdict.unfinished):
            tell(line)
        tell(_sentence(len(verdict.problems), len(left), verdict.images, verdict.shards, repair))
    if left:
        raise typer.Exit(WRONG)


def _store_at(path: Path) -> Store:
    """Return a store.

    Raises
    ------
    ValueError, StoreError
        Something else is there, or nothing.
    """
    from xct_pipeline.store.files import StoreError
    from xct_pipeline.store.store import Store

    require_store(path)
    store = Store(path)
    if not store.exists():
        raise StoreError(f"{path} is no store of xct")
    return store


def _sentence(problems: int, left: int, images: int, shards: int, repair: bool) -> str:
    looked = f"{images} images, {shards} shards"
    if not problems:
        return f"{looked}: all as written"
    if not repair:
        return f"{looked}: {problems} problems; --repair removes what is wrong, then xct run computes it anew"
    return f"{looked}: {problems - left} of {problems} problems removed; xct run computes what is missing"


def status(store: Annotated[str, typer.Argument(metavar="STORE", help="A store.")], as_json: JsonFlag = False) -> None:
    """Tell how far a store is: scans and stages that are done, who computes it, when it is expected to end.

    Example: xct status store.zarr
    """
    from xct_pipeline.engine.status import status_of
    from xct_pipeline.store.files import StoreError
    from xct_pipeline.store.remote import is_remote
    from xct_pipeline.store.store import Store

    if is_remote(store):
        raise StoreError(
            f"{store}: how far a store is can be told where it lies on a disk only; xct info tells the rest"
        )
    require_store(Path(store))
    found = status_of(Store(store))
    if as_json:
        print_json(found.facts())
    else:
        _print_status(found)


WORDS = {
    "running": "is computed by process {pid} on {host}",
    "finished": "is finished",
    "incomplete": "is finished but for what failed; xct run tries that again",
    "stopped": "was stopped; xct run goes on",
    "submitted": "is submitted to SLURM: {jobs}",
    "killed": "was left by process {pid} on {host}, which was killed; xct run goes on",
}


def _print_status(found: Status) -> None:
    from rich.markup import escape
    from rich.table import Table

    counts = Counter(job.state for job in found.jobs)
    jobs = ", ".join(f"{counts[state]} {state}" for state in ("done", "running", "waiting", "failed") if counts[state])
    tell(f"{found.store} {WORDS[found.state].format(**found.holder, jobs=jobs)}")
    if found.started is not None:
        begun = f"{'submitted' if found.state == 'submitted' else 'the last run began'} {_local(found.started)}"
        share = "" if found.share is None or found.state == "finished" else f"; {100 * found.share:.0f} % is done"
        end = "" if found.expected_end is None else f"; expected end {_local(found.expected_end)}"
        tell(f"{begun}{share}{end}")
    for kind, parts in (("stage", found.stages), ("scan", found.scans)):
        if not parts:
            continue
        table = Table(kind, "state", "tasks")
        for part in parts:
            words = part.state if part.problem is None else f"{part.state}: {part.problem}"
            table.add_row(escape(part.name), escape(words), f"{part.done}/{part.total}" if part.total else "")
        print_table(table)

    if found.jobs:
        table = Table("job", "of", "state")
        for job in found.jobs:
            words = job.state if job.problem is None else f"{job.state}: {job.problem}"
            table.add_row(escape(job.job), escape(job.what), escape(words))
        print_table(table)


def _local(moment: str) -> str:
    return datetime.fromisoformat(moment).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def forget(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="A store.")],
    scan: Annotated[str, typer.Argument(metavar="SCAN", help="Its name.")],
) -> None:
    """Let a store forget a scan: its volume is deleted, and the next run does not ask for it.

    Example: xct forget store.zarr scan_03
    """
    there = _store_at(store)
    with there.lock():
        there.forget(scan)
    tell(f"{store} has forgotten {scan}; the next xct run brings the series up to date")
