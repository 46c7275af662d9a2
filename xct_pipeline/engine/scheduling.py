"""Tasks that do not depend on each other: shared out to threads of this process or to a cluster, within the memory.

A task is a call of a function with a tuple of arguments; it writes its own result or returns a small one. How many
run at a time follows from what one of them needs and what there is.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import logging
import queue
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

from dask.utils import format_bytes

from xct_pipeline.engine import parcels, waiting
from xct_pipeline.engine.resources import BASE_BYTES, Need, Resources, local_processes, share_of
from xct_pipeline.store.files import RefusedError
from xct_pipeline.threads import begin_thread, one_thread_each

log = logging.getLogger("xct")
T = TypeVar("T")
R = TypeVar("R")

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
ARENA_MAX, MMAP_MAX, MMAP_THRESHOLD, TRIM_THRESHOLD = -8, -4, -3, -1  # of glibc's mallopt
KEEP = {MMAP_MAX: 0, TRIM_THRESHOLD: -1}  # what is freed, for what is allocated next
KEPT_SHARE = 0.8  # of the forecast, above which freed memory is given back: what a heap's holes take fits in the rest
CLOSE_S = 20.0  # that closing a cluster may take
_open: ContextVar[Any] = ContextVar("client of the run", default=None)


def run_tasks(
    function: Callable[..., Any],
    calls: Sequence[tuple[Any, ...]],
    need: Need,
    limits: Resources,
    folder: Path | None = None,
) -> Iterator[Any]:
    """Call a function for each tuple of arguments, as many at a time as fit; yield results as they finish.

    Parameters
    ----------
    folder : Path, optional
        Where large arguments and results are put for the processes of a cluster, rather than into every task.

    Raises
    ------
    RefusedError
        Not one task fits in the memory, or there is no cluster to be had.
    """
    workers = min(need.workers(limits), max(len(calls), 1))
    if limits.cluster is None:
        yield from run_threads(function, calls, workers, need.peak_bytes(limits))
    else:
        yield from run_cluster(function, calls, need, limits, folder)


def run_threads(
    function: Callable[..., Any], calls: Iterable[tuple[Any, ...]], workers: int, memory: int
) -> Iterator[Any]:
    """Call a function for each tuple of arguments on dask's threaded scheduler; yield results as they finish.

    Threads of BLAS and OpenMP are set to one while it runs: the tasks are the parallelism. What a task frees is kept
    for the next one as long as the process stays well within `memory`, its forecast.
    """
    import psutil
    from dask.base import compute
    from dask.delayed import delayed
    from dask.threaded import get  # asked for the scheduler by its name, dask would load all of dask.distributed

    share_one_heap()
    process = psutil.Process()
    finished: queue.Queue[Any] = queue.Queue()
    stopped, ended = threading.Event(), threading.Event()

    def work(call: tuple[Any, ...]) -> None:
        if not stopped.is_set():
            finished.put(function(*call))
            if process.memory_info().rss > KEPT_SHARE * memory:
                release_memory()

    def schedule() -> None:
        try:
            with one_thread_each(), kept_memory():
                compute(*tasks, scheduler=get, num_workers=workers)
        except BaseException as error:
            finished.put(error)
        finally:
            ended.set()

    # without arguments: dask looks into every field of theirs, all regions of a reduction among them, for each task;
    # of tasks that depend on nothing it begins with the last name
    calls = list(calls)
    names = [f"{k:09d}" for k in range(len(calls), 0, -1)]
    tasks = [
        delayed(functools.partial(work, call), pure=False)(dask_key_name=n)
        for n, call in zip(names, calls, strict=True)
    ]
    begin_thread(schedule)
    try:
        for _ in tasks:
            result = finished.get()
            if isinstance(result, BaseException):
                raise result
            yield result
    finally:
        stopped.set()  # the consumer left early: tasks not yet begun do nothing
        ended.wait()


def call_each(
    function: Callable[[T, Resources], R], items: Sequence[T], needs: Iterable[Need], limits: Resources
) -> Iterator[R]:
    """Call a function for each of some items in threads of this process; yield the results in the order of the items.

    Parameters
    ----------
    function : callable
        Takes an item, and what it may take itself: its share of the workers and of the memory.
    needs : iterable of Need
        What a call takes, one after the other: so many run at a time as there is memory for the largest.

    Raises
    ------
    RefusedError
        Not one fits in the memory.
    """
    needs = list(needs)
    workers = min([len(items), *(need.workers(limits) for need in needs)]) if needs else 1
    if workers < 2:
        yield from (function(item, limits) for item in items)
        return
    share = share_of(limits, workers)

    def numbered(k: int) -> tuple[int, R]:
        return k, function(items[k], share)

    memory = max(need.peak_bytes(limits) for need in needs)
    results, following = dict[int, R](), 0
    for k, result in run_threads(numbered, [(k,) for k in range(len(items))], workers, memory):
        results[k] = result
        while following in results:
            yield results.pop(following)
            following += 1


def share_one_heap() -> None:
    """Let all threads allocate from one heap, where the C library is glibc.

    It gives every thread a heap of its own, and keeps up to 64 MB at the top of each that `release_memory` cannot give
    back: threads of zarr's decoders and of dask together would hold several hundred megabytes that nothing uses.
    """
    _set_malloc({ARENA_MAX: 1})


@contextlib.contextmanager
def kept_memory() -> Iterator[None]:
    """Keep all freed memory for what is allocated next, and give it back at the end, where the C library is glibc.

    It takes large arrays from the system and gives them back one by one. The system clears every page anew, which took
    a third of the CPU-seconds of a reconstruction, and threads wait for each other meanwhile.
    """
    _set_malloc(KEEP)
    try:
        yield
    finally:
        # what it comes to by itself once large arrays have been freed
        _set_malloc({MMAP_MAX: 65536, MMAP_THRESHOLD: 32 << 20, TRIM_THRESHOLD: 64 << 20})
        release_memory()


def release_memory() -> None:
    """Give freed memory back to the system, where the C library is glibc.

    Without this, a run's resident memory is that of its largest tasks, long after they ended.
    """
    library = _c_library()
    if library is not None:
        library.malloc_trim(0)


def _set_malloc(options: Mapping[int, int]) -> None:
    library = _c_library()
    if library is not None:
        for name, value in options.items():
            library.mallopt(name, value)


@functools.cache
def _c_library() -> Any:
    """Return the C library if it is glibc, else None."""
    try:
        library = ctypes.CDLL(None)
        return library if library.malloc_trim and library.mallopt else None
    except (OSError, AttributeError, TypeError):
        return None


# ------------------------------------------------------------------------------------------------- cluster


@contextlib.contextmanager
def cluster_of(limits: Resources) -> Iterator[None]:
    """Keep one cluster for all the tasks of a run; it is begun when a step first needs it."""
    if limits.cluster is None:
        yield
        return
    with contextlib.ExitStack() as stack:
        token = _open.set(functools.cache(lambda: stack.enter_context(_client(limits))))
        try:
            yield
        finally:
            _open.reset(token)


@contextlib.contextmanager
def _client(limits: Resources) -> Iterator[Any]:
    """Start worker processes here or connect to a scheduler.

    Raises
    ------
    RefusedError
        The scheduler does not answer.
    """
    from distributed import Client, LocalCluster

    processes, local = local_processes(limits.cluster), None
    if processes is not None:
        local = LocalCluster(
            n_workers=processes,
            threads_per_worker=-(-limits.workers // processes),
            dashboard_address=None,
            memory_limit=0,
            env=ONE_THREAD,
            preload=waiting.__name__,
        )
    try:
        client = Client(local or limits.cluster, timeout=30)
    except (OSError, TimeoutError, ValueError) as error:
        raise RefusedError(f"--cluster {limits.cluster}: no scheduler answers there ({error})") from None
    with waiting.quiet():
        try:
            yield client
        finally:
            for end in (client, local):  # neither waits for a scheduler or a worker that is silent
                with contextlib.suppress(Exception):
                    waiting.within(CLOSE_S, getattr(end, "close", lambda: None))


def run_cluster(
    function: Callable[..., Any],
    calls: Sequence[tuple[Any, ...]],
    need: Need,
    limits: Resources,
    folder: Path | None = None,
) -> Iterator[Any]:
    """Call a function for each tuple of arguments on a dask.distributed cluster; yield results as they finish.

    Of the worker processes of this machine as many work at a time as fit in the memory; those of other machines must
    have the memory that a task needs, where they have a limit.

    Raises
    ------
    RefusedError
        There is no cluster to be had, or its workers are too small.
    """
    from distributed import KilledWorker

    with contextlib.ExitStack() as stack:
        shared = _open.get()
        client = stack.enter_context(_client(limits)) if shared is None else shared()
        local = local_processes(limits.cluster) is not None
        watch = waiting.Watch(client, str(limits.cluster))
        if not local:
            _refuse_small_workers(client, need, limits, watch)
        if folder is not None:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        tasks = iter(calls if folder is None else parcels.wrap(calls, folder))
        keep = _kept_each(need, limits)

        def submit(call: tuple[Any, ...]) -> Any:
            return client.submit(_work, folder, keep, function, *call, pure=False, retries=3)

        at_a_time = min(need.workers(limits), len(calls)) if local else len(calls)
        try:
            for result in waiting.results(watch, submit, tasks, at_a_time):
                yield parcels.take(result)
        except KilledWorker:
            raise RefusedError(
                f"--cluster {limits.cluster}: a task ended several worker processes, most likely for want of memory; "
                "the same command goes on where this one ended"
            ) from None
        if keep:
            client.run(release_memory)


def _kept_each(need: Need, limits: Resources) -> int:
    """Return up to how many bytes each worker process of this machine keeps what its tasks free; 0 on others."""
    processes = local_processes(limits.cluster)
    if processes is None:
        return 0
    tasks = -(-need.workers(limits) // processes)
    return int(KEPT_SHARE * (BASE_BYTES + tasks * need.task_bytes))


def _work(folder: Path | None, keep: int, function: Callable[..., Any], *arguments: Any) -> Any:
    """Run one task in a worker process."""
    import psutil

    share_one_heap()
    if keep:
        _set_malloc(KEEP)
    with one_thread_each():
        result = parcels.call(function, *arguments)
    result = result if folder is None else parcels.put(result, folder)
    if psutil.Process().memory_info().rss > keep:
        release_memory()
    return result


def _sizes(dask_scheduler: Any) -> dict[str, tuple[int, int]]:
    """Return threads and memory limit (0 for none) of every worker of a scheduler."""
    return {address: (w.nthreads, w.memory_limit or 0) for address, w in dask_scheduler.workers.items()}


def _refuse_small_workers(client: Any, need: Need, limits: Resources, watch: waiting.Watch) -> None:
    """Refuse workers whose memory limit is less than their threads' tasks take."""
    try:
        sizes = waiting.within(waiting.SILENT_S, lambda: client.run_on_scheduler(_sizes))
    except Exception:  # of many kinds: closed, cancelled, timed out
        raise watch.lost() from None
    for address, (count, limit) in sizes.items():
        wanted = BASE_BYTES + count * need.task_bytes
        if 0 < limit < wanted:
            raise RefusedError(
                f"--cluster {limits.cluster}: {need.name} needs {format_bytes(wanted)} for the {count} threads of "
                f"{address}, whose limit is {format_bytes(limit)}; start workers with fewer threads or more memory"
            )
