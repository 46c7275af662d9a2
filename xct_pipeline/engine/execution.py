"""Running passes and reductions: shards as tasks of dask's threads or of a cluster, resumable after a kill."""

from __future__ import annotations

import io
import itertools
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from xct_pipeline import device
from xct_pipeline.boxes import Region, inside
from xct_pipeline.engine.blocks import Array, Nothing, Pass, Reduction, Source
from xct_pipeline.engine.pyramid import halved
from xct_pipeline.engine.resources import Need, Resources
from xct_pipeline.engine.rounding import rounded
from xct_pipeline.engine.scheduling import run_tasks
from xct_pipeline.engine.steps import Estimate, Outcome, Steps
from xct_pipeline.names import check_path
from xct_pipeline.store import provenance
from xct_pipeline.store.arrays import write_level
from xct_pipeline.store.files import (
    RefusedError,
    StoreError,
    marker_file,
    out_of_memory,
    read_attributes,
    unwritable,
    write_atomic,
)
from xct_pipeline.store.image import Image
from xct_pipeline.store.marker import Marker, Written, read_marker, read_note, write_marker, write_note
from xct_pipeline.store.records import estimate_bytes, packed, read_estimate
from xct_pipeline.store.store import Store

log = logging.getLogger("xct")

LONGEST_FILE = 200  # bytes of an estimate's name: file systems take 255, and an atomic write adds some
MOST_TASKS = 4096  # of one reduction


@dataclass(frozen=True)
class ShardResult:
    """What a task tells: small, so that it costs nothing to send."""

    name: str
    shard: tuple[int, ...]
    seconds: float
    counts: dict[str, int]
    problem: str | None = None
    fatal: bool = False


def run_shard(root: str, step: Pass, shard: tuple[int, ...], digest: str) -> ShardResult:
    """Compute and write one shard of all levels, then its marker. Any failure is reported, not raised."""
    started = time.perf_counter()
    try:
        counts, block = _compute_shard(step, shard)
        files = write_block(Path(root), step.image, shard, block)
        seconds = time.perf_counter() - started
        write_marker(Path(root), step.name, shard, Marker(digest, counts, round(seconds, 4), files))
    except OSError as error:
        return ShardResult(step.name, shard, 0.0, {}, _sentence(error), unwritable(error))
    except Exception as error:  # a poisonous block must not take the other scans with it
        log.debug("shard %s of %s", shard, step.name, exc_info=True)
        return ShardResult(step.name, shard, 0.0, {}, _sentence(error), out_of_memory(error))
    return ShardResult(step.name, shard, seconds, counts)


def _sentence(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, (ValueError, OSError, StoreError)) else f"{type(error).__name__}: {text}"


def _compute_shard(step: Pass, shard: tuple[int, ...]) -> tuple[dict[str, int], Array]:
    image = step.image
    region = step.region(shard)
    counts: Counter[str] = Counter()
    shape = tuple(part.stop - part.start for part in region)
    block: Array | None = None
    for granule, values, found in step.results(step.granules(region)):
        counts.update(found)
        if image.noise_share is not None:
            values, size = rounded(values, image.noise_share)
            counts[f"steps of {size:g} {image.unit}"] += 1
        if values.shape == shape and values.dtype == image.dtype:  # the one granule there is
            block = values
            continue
        block = np.empty(shape, dtype=image.dtype) if block is None else block
        block[inside(region, granule)] = values
    assert block is not None
    return dict(counts), block


def write_block(root: Path, image: Image, shard: Sequence[int], block: Array) -> tuple[Written, ...]:
    """Write one shard of every level of an image that is prepared, and return what was written.

    Its marker must be gone, and is the caller's to write.
    """
    files = []
    for level in range(image.levels):
        if level:
            block = halved(block, image.spatial, labels=image.labels)
        start = [k * size for k, size in zip(shard, image.shard_shape(level), strict=True)]
        stop = [a + n for a, n in zip(start, block.shape, strict=True)]
        if any(a >= n or b > n for a, b, n in zip(start, stop, image.level_shape(level), strict=True)):
            block = block[tuple(slice(0, max(0, n - a)) for a, n in zip(start, image.level_shape(level), strict=True))]
        if 0 in block.shape:
            break
        files.append(write_level(root, image, level, shard, block))
    return tuple(files)


@dataclass(frozen=True)
class PassResult:
    """How a pass ended.

    Attributes
    ----------
    name : str
        The image's path.
    computed, reused : int
        Shards.
    seconds : float
        Summed over tasks.
    counts : dict
        Pixels clipped, replaced ... over all shards, those of earlier runs included.
    changed : tuple of str
        Why shards of an earlier run were not reused.
    problem : str or None
        The first failure, with how many there were.
    """

    name: str
    computed: int
    reused: int
    seconds: float
    counts: dict[str, int]
    changed: tuple[str, ...] = ()
    problem: str | None = None


class Progress(Protocol):
    """Is told of every finished shard."""

    def __call__(self, result: ShardResult, done: int, total: int) -> None:
        """Take note of one shard."""
        ...


def silent(result: ShardResult, done: int, total: int) -> None:
    """Show nothing."""
    del result, done, total


def run_passes(
    store: Store, passes: Sequence[Pass], limits: Resources, progress: Progress = silent, steps: Steps | None = None
) -> list[PassResult]:
    """Run passes that do not depend on each other, reusing every shard whose marker still holds.

    Parameters
    ----------
    steps : Steps, optional
        Of the run: what was planned is executed with the data that `passes` hold, and noted.

    Raises
    ------
    RefusedError
        One task needs more memory than the limit, or the disk is full or cannot be written.
    """
    passes = passes if steps is None else [steps.bind(step) for step in passes]
    tasks: list[tuple[Pass, tuple[int, ...], str]] = []
    reused: dict[str, list[Marker]] = {}
    changed: dict[str, tuple[str, ...]] = {}
    for step in passes:
        todo, kept, why = _pending(store, step)
        reused[step.name], changed[step.name] = kept, why
        tasks += [(step, shard, digest) for shard, digest in todo]
        for line in why:
            log.info("%s: recomputed because %s", step.name, line)
    results: dict[str, list[ShardResult]] = {step.name: [] for step in passes}
    for done, result in enumerate(_execute(store, tasks, passes_need(passes), limits), start=1):
        results[result.name].append(result)
        progress(result, done, len(tasks))
        if result.fatal:
            raise RefusedError(f"{store.path}: {result.problem}; the same command goes on where this one ended")
    found = [_summary(step.name, results[step.name], reused[step.name], changed[step.name]) for step in passes]
    if steps is not None:
        for step, ended in zip(passes, found, strict=True):
            steps.note(step, "failed" if ended.problem else "executed" if ended.computed else "reused")
    return found


def _summary(name: str, results: list[ShardResult], kept: list[Marker], why: tuple[str, ...]) -> PassResult:
    counts: Counter[str] = Counter()
    for entry in itertools.chain((r.counts for r in results), (m.counts for m in kept)):
        counts.update(entry)
    failed = [r for r in results if r.problem]
    problem = f"{failed[0].problem} ({len(failed)} of {len(results)} shards failed)" if failed else None
    seconds = sum(r.seconds for r in results) + sum(m.seconds for m in kept)
    return PassResult(name, len(results) - len(failed), len(kept), seconds, dict(counts), why, problem)


def plane_counts(store: Store, step: Pass, name: str) -> list[int]:
    """Return what the finished shards of each plane along the first axis counted under a name."""
    counts = [0] * step.image.grid[0]
    for shard in step.shards():
        marker = read_marker(store.path, step.name, shard)
        if marker is not None and marker.fingerprint == step.digest(shard):
            counts[shard[0]] += marker.counts.get(name, 0)
    return counts


def _pending(store: Store, step: Pass) -> tuple[list[tuple[tuple[int, ...], str]], list[Marker], tuple[str, ...]]:
    """Return the shards still to do, the markers of those that are done, and why old ones are void."""
    store.prepare(step.image)
    identity = {**step.identity(), "planes": provenance.plain(step.planes)}
    try:
        old = read_note(store.path, step.name)
    except (OSError, ValueError, TypeError, KeyError):
        old = identity
    had_markers = old != identity and any(marker_file(store.path, step.name, (0,)).parent.glob("*.json"))
    why = tuple(provenance.differences(old, identity)) if had_markers else ()
    digests = [step.digest((plane,)) for plane in range(step.image.grid[0] if step.planes else 1)]
    todo, kept = [], []
    for shard in step.shards():
        digest = digests[shard[0] if step.planes else 0]
        marker = store.holds(step.image, shard, digest)
        if marker is not None:
            kept.append(store.renewed(step.image, shard, marker))
        else:
            store.void(step.image, shard)
            todo.append((shard, digest))
    write_note(store.path, step.name, identity)
    return todo, kept, why


def is_complete(store: Store, step: Pass) -> bool:
    """Tell whether every shard of a pass is there as it would be made now."""
    if not (store.path / step.image.path).is_dir():
        return False
    return all(store.holds(step.image, shard, step.digest(shard)) is not None for shard in step.shards())


def finished_pass(store: Store, step: Pass, digests: Sequence[str]) -> PassResult | None:
    """Return the result of a pass all of whose shards are there with these digests, one or one for each plane."""
    made = read_attributes(store.path / step.image.path).get("xct", {}).get("identity")
    if made != provenance.plain(step.image.identity()) or len(digests) not in (1, step.image.grid[0]):
        return None
    kept = []
    for shard in step.shards():
        digest = digests[shard[0] if len(digests) > 1 else 0]
        marker = store.holds(step.image, shard, digest)
        if marker is None:
            return None
        kept.append(marker)
    return _summary(step.name, [], kept, ())


def image_identity(store: Store, path: str) -> str:
    """Return a hash that changes whenever an image that a pass made would be made anew.

    Raises
    ------
    StoreError
        No pass has made it.
    """
    try:
        return provenance.fingerprint(read_note(store.path, path))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StoreError(f"{store.path / path}: not made yet; run the stage before") from error


def passes_need(passes: Sequence[Pass]) -> Need:
    """Return what passes take that run together: their tasks, and the memory of the largest."""
    needs = [step.need for step in passes]
    if not needs:
        return Need("", 0, 0)
    largest = max(needs, key=lambda need: need.task_bytes)
    return replace(largest, tasks=sum(need.tasks for need in needs), beside=0, alone=any(need.alone for need in needs))


def _execute(
    store: Store, tasks: list[tuple[Pass, tuple[int, ...], str]], need: Need, limits: Resources
) -> Iterator[ShardResult]:
    """Yield the results of all tasks as they finish."""
    if not tasks:
        return
    root = str(store.path.resolve())
    calls = [(root, step, shard, digest) for step, shard, digest in tasks]
    yield from run_tasks(run_shard, calls, need, limits, store.state.resolve() / "parcels")


def _run_chunks(
    first: int, reduction: Reduction, source: Source, regions: Sequence[Region], on_device: bool
) -> list[tuple[int, dict[str, Array]]]:
    """Reduce some regions, one after the other; the number of each goes with its partial result."""
    if on_device:
        with device.Uploads() as uploads:
            blocks = uploads.one_ahead(source.read, regions)
            return [
                (first + k, reduction.chunk(block, region))
                for k, (region, block) in enumerate(zip(regions, blocks, strict=True))
            ]
    return [(first + k, reduction.chunk(source.read(region), region)) for k, region in enumerate(regions)]


def measure(
    store: Store | None, reduction: Reduction, limits: Resources, steps: Steps | None = None
) -> dict[str, Array]:
    """Run a reduction over the regions of its source, or return its result where the store keeps it.

    Parameters
    ----------
    store : Store or None
        Where the result is kept; None computes it without a trace.
    steps : Steps, optional
        Of the run: what was planned is executed with the data that `reduction` holds, and noted.

    Raises
    ------
    RefusedError
        One region needs more memory than the limit.
    """
    step = reduction if steps is None else steps.bind(reduction)
    return estimated(store, step, partial(reduced, store, step, limits), steps)


def reduced(store: Store | None, reduction: Reduction, limits: Resources) -> dict[str, Array]:
    """Return the result of a reduction, computed whatever the store keeps; it only lends room for large arguments."""
    on_device = limits.on_device and reduction.for_device
    need = replace(reduction.need, alone=on_device)  # one task at a time
    source, regions, step = reduction.source, reduction.regions, reduction.together
    lean = replace(reduction, source=Nothing(), regions=(), parameters={}, inputs={})  # what a task is told of it
    calls = [(k, lean, source, tuple(regions[k : k + step]), on_device) for k in range(0, len(regions), step)]
    partials: dict[int, dict[str, Array]] = {}
    folder = None if store is None else store.state.resolve() / "parcels"
    result, done = None, 0
    for k, partial_ in itertools.chain.from_iterable(run_tasks(_run_chunks, calls, need, limits, folder)):
        partials[k] = partial_
        while reduction.fold and done in partials:
            following = partials.pop(done)
            result = reduction.combine([following] if result is None else [result, following])
            done += 1
    return reduction.combine([partials[k] for k in range(len(regions))]) if result is None else result


def estimated(
    store: Store | None,
    step: Reduction | Estimate,
    compute: Callable[[], Mapping[str, Array]],
    steps: Steps | None = None,
) -> dict[str, Array]:
    """Return the result of a step that the store keeps under its name and content hash, else compute and keep it."""
    step = step if steps is None else steps.bind(step)
    key = step.identity()
    found = load_estimate(store, step.name, key)
    outcome: Outcome = "reused"
    if found is None:
        found, outcome = dict(compute()), "executed"
        save_estimate(store, step.name, key, found)
    if steps is not None:
        steps.note(step, outcome)
    return found


def kept_file(store: Store, name: str) -> Path:
    """Return where the result of a step is kept; a name made of long ones is shortened to what a file's may be."""
    *folders, last = check_path(name).split("/")
    if len(last.encode()) > LONGEST_FILE:
        last = f"{last[:40]}_{provenance.fingerprint(last)[:16]}"
    return store.state.joinpath("estimates", *folders, f"{last}.npz")


def load_estimate(store: Store | None, name: str, key: Mapping[str, Any]) -> dict[str, Array] | None:
    """Return a cached estimate whose key is the same, else None."""
    return None if store is None else load_kept(store, name, provenance.fingerprint(key))


def load_kept(store: Store, name: str, digest: str) -> dict[str, Array] | None:
    """Return what the store keeps under the name and content hash of a step, else None."""
    file = kept_file(store, name)
    try:
        with np.load(io.BytesIO(read_estimate(file)), allow_pickle=False) as data:
            if str(data["__key__"]) != digest:
                return None
            return {entry: data[entry] for entry in data.files if entry != "__key__"}
    except (OSError, ValueError, KeyError, EOFError):
        return None
    except Exception as error:  # zipfile.BadZipFile and relatives: a torn cache is no cache
        log.debug("%s: unreadable estimate (%s)", file, error)
        return None


def save_estimate(store: Store | None, name: str, key: Mapping[str, Any], result: Mapping[str, Array]) -> None:
    """Cache an estimate in the store, unless that is there to be read only (a preview of somebody else's store)."""
    if store is None or not os.access(store.state, os.W_OK):
        return
    file = kept_file(store, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(file, estimate_bytes(packed({"__key__": np.array(provenance.fingerprint(key)), **result})))
