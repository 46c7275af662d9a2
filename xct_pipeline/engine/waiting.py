"""Waiting for the tasks of a dask.distributed cluster, but not for ever: schedulers die, and workers stop.

A worker that dies is noticed by the scheduler, which gives its tasks to others. One that was stopped, or whose machine
hangs, keeps its connections, and so does a scheduler: nothing tells that nothing will come. So whoever waits looks,
whenever nothing has come for a while, whether the scheduler answers and whether it hears of its workers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from xct_pipeline.store.files import RefusedError

log = logging.getLogger("xct")

LOOK_S = 5.0  # without a result, after which is looked
SILENT_S = 300.0  # without a word, after which a worker or a scheduler is given up; compiling may keep one silent
GOES_ON = "the same command goes on where this one ended"


class Watch:
    """Looks after the scheduler and the workers of a client while nothing comes.

    Silence is measured by the clock of this process, so that a machine that was suspended has not been silent.
    """

    def __init__(self, client: Any, cluster: str) -> None:
        self.client, self.cluster = client, cluster
        self._answered = self._peopled = time.monotonic()
        self._heard: dict[str, tuple[float, float]] = {}  # what a worker's last word was, and since when it is that

    def came(self) -> None:
        """Take note that something came."""
        self._answered = self._peopled = time.monotonic()

    def look(self) -> None:
        """Give up workers that are silent.

        Raises
        ------
        RefusedError
            The scheduler is gone or silent, or it has no workers any more.
        """
        now = time.monotonic()
        if self.client.status not in ("running", "connecting"):
            raise self.lost()
        try:
            words = within(LOOK_S, lambda: self.client.run_on_scheduler(_last_words))
        except Exception:  # of many kinds: closed, cancelled, timed out
            if now - self._answered > SILENT_S:
                raise self.lost() from None
            return
        self._answered = now
        self._heard = {a: w if (w := self._heard.get(a)) and w[0] == word else (word, now) for a, word in words.items()}
        silent = [address for address, (_, since) in self._heard.items() if now - since > SILENT_S]
        if silent:
            log.warning("%s: nothing was heard for %.0f s; its tasks go to other workers", silent[0], SILENT_S)
            within(LOOK_S, lambda: self.client.run_on_scheduler(_give_up, addresses=silent))
        elif words:
            self._peopled = now
        elif now - self._peopled > SILENT_S:
            raise RefusedError(f"--cluster {self.cluster}: no worker is left; start some, then {GOES_ON}")

    def lost(self) -> RefusedError:
        """Return the error that the scheduler is gone."""
        return RefusedError(f"--cluster {self.cluster}: the scheduler answers no more; start it again, then {GOES_ON}")


def results(
    watch: Watch, submit: Callable[[tuple[Any, ...]], Any], calls: Iterator[tuple[Any, ...]], at_a_time: int
) -> Iterator[Any]:
    """Submit calls, so many at a time, and yield what they return as it comes.

    Raises
    ------
    RefusedError
        The scheduler or the last worker is gone.
    """
    came: queue.Queue[Any] = queue.Queue()
    running: set[Any] = set()  # a future that nobody holds is cancelled

    def send(some: Iterable[tuple[Any, ...]]) -> None:
        for call in some:
            try:
                future = submit(call)
                future.add_done_callback(came.put)
            except Exception:
                if watch.client.status != "running":
                    raise watch.lost() from None
                raise
            running.add(future)

    send(islice(calls, at_a_time))
    while running:
        try:
            future = came.get(timeout=LOOK_S)
        except queue.Empty:
            watch.look()
            continue
        watch.came()
        yield _taken(future, watch)
        running.discard(future)
        future.release()
        send(islice(calls, 1))


def _taken(future: Any, watch: Watch) -> Any:
    """Return what a task that has ended returned, which may be with a worker that is silent or gone by now."""
    while True:
        if future.cancelled():
            raise watch.lost()
        try:
            return future.result(timeout=LOOK_S)
        except (Exception, asyncio.CancelledError):
            if future.status == "error":  # of the task itself
                raise
            watch.look()
            time.sleep(0.1)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Pass on what dask.distributed logs of lost connections, tracebacks and all, as one line for debugging."""
    names = _loggers()

    def pass_on(record: logging.LogRecord) -> bool:
        log.debug("%s: %s", record.name, " ".join(record.getMessage().split()))
        return False

    for name in names:
        logging.getLogger(name).addFilter(pass_on)
    try:
        yield
    finally:
        for name in names:
            logging.getLogger(name).removeFilter(pass_on)


def dask_setup(_worker: Any) -> None:
    """Keep a worker process of this machine silent: dask.distributed calls this where one begins.

    What a task raises comes back with its result. Of lost connections whoever waits tells what matters; a worker that
    is just sending a sign of life when its scheduler ends would print a traceback into a run that went well.
    """
    for name in _loggers():
        logging.getLogger(name).setLevel(logging.CRITICAL)


def within(seconds: float, call: Callable[[], Any]) -> Any:
    """Return what a call returns, or raise TimeoutError; then it is left to itself."""
    ended: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue()

    def run() -> None:
        try:
            ended.put((call(), None))
        except BaseException as error:
            ended.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        result, error = ended.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError from None
    if error is not None:
        raise error
    return result


def _loggers() -> list[str]:
    """Return the names of all loggers of dask.distributed and what it stands on."""
    return [n for n in logging.root.manager.loggerDict if n.split(".")[0] in ("distributed", "tornado", "asyncio")]


def _last_words(dask_scheduler: Any) -> dict[str, float]:
    """Return when a scheduler last heard of each of its workers."""
    return {address: float(worker.last_seen) for address, worker in dask_scheduler.workers.items()}


async def _give_up(dask_scheduler: Any, addresses: list[str]) -> None:
    """Let a scheduler give the tasks of these workers to others."""
    for address in addresses:
        await dask_scheduler.remove_worker(address, stimulus_id=f"silent-{time.time()}")
