"""How far a run is: its stage, the step, the share of all its work, elapsed and remaining time, and what is compiled.

The work of a step is what `xct check` predicts for it. Steps that reuse what is there are over at once.
"""

from __future__ import annotations

import contextlib
import logging
import math
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from xct_pipeline.cli.terminal import error_console, quiet
from xct_pipeline.inputs import clean

if TYPE_CHECKING:
    from xct_pipeline.engine.execution import ShardResult
    from xct_pipeline.engine.steps import Outcome
    from xct_pipeline.planning.plan import Plan

log = logging.getLogger("xct")
LOG_INTERVAL_S = 60.0
COMPILING = "compiling kernels for this processor, once; later runs find them"


class Course:
    """What a run has done of its plan; the callable that takes note of shards, and `step` of steps.

    Parameters
    ----------
    plan : Plan
    changed : callable
        Called after every change.
    """

    def __init__(self, plan: Plan, changed: Callable[[Course], None]) -> None:
        self._changed = changed
        self.stages = [stage.stage for stage in plan.stages]
        self._stage = {step.name: k for k, stage in enumerate(plan.stages) for step in stage.steps}
        # a step of no predicted cost still takes a moment
        self._cost = {s.name: 0.01 + s.need.cpu_s / s.need.workers(plan.limits) for s in plan.steps}
        self.total = math.fsum(self._cost.values())
        self._open: dict[str, None] = {}
        self._ended: set[str] = set()
        self.name, self.shards, self.compiling = "", (0, 0), ""

    def __call__(self, result: ShardResult, done: int, total: int) -> None:
        """Take note of a finished shard."""
        self.name, self.shards = result.name, (done, total)
        self._changed(self)

    def step(self, name: str, outcome: Outcome | None) -> None:
        """Take note of a step that begins (None) or has ended."""
        if outcome is None:
            if name not in self._open:
                self._open[name] = None
                self.name, self.shards = name, (0, 0)
        else:
            self._open.pop(name, None)
            self._ended.add(name)
            self.shards = (0, 0) if not self._open else self.shards
        self._changed(self)

    def compiles(self, name: str | None) -> None:
        """Take note of a kernel that begins to be compiled, or (None) of its end."""
        self.compiling = name or ""
        self._changed(self)

    @property
    def done(self) -> float:
        """How much of `total` is done."""
        first, count = self.shards
        share = first / count if count else 0.0
        return math.fsum([*(self._cost[n] for n in self._ended), *(share * self._cost[n] for n in self._open)])

    def sentence(self) -> str:
        """Return stage, step and shards in words."""
        doing = f"compiling {self.compiling}" if self.compiling else ""
        if self.name not in self._stage:
            return doing or "starting"
        k = self._stage[self.name]
        if self.shards[1] and not doing:
            doing = f"{self.shards[0]}/{self.shards[1]} {clean(self.name)}"
        return f"{k + 1}/{len(self.stages)} {self.stages[k]}: {doing or clean(self.name)}"


@contextlib.contextmanager
def shown(plan: Plan) -> Iterator[Course]:
    """Show a bar on a terminal, elsewhere log a line a minute; tell once that kernels are compiled, and how long."""
    from xct_pipeline.compiled import watched

    with contextlib.ExitStack() as stack:
        on_terminal = sys.stderr.isatty() and not quiet()
        course = stack.enter_context(_bar(plan)) if on_terminal else Course(plan, _Lines())
        told = False

        def compiles(name: str | None) -> None:
            nonlocal told
            if name is not None and not told:
                told = True
                log.info(COMPILING)
            course.compiles(name)

        watch = stack.enter_context(watched(compiles))
        try:
            yield course
        finally:
            if watch.count:
                log.info("compiled %d kernels in %.0f s", watch.count, watch.seconds)


@contextlib.contextmanager
def _bar(plan: Plan) -> Iterator[Course]:
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column

    step = TextColumn(
        "{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")
    )
    columns = (
        step,
        BarColumn(16),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=error_console(), expand=True) as bar:
        task = bar.add_task("starting", total=None)

        def changed(course: Course) -> None:
            bar.update(task, completed=course.done, total=course.total, description=course.sentence())

        course = Course(plan, changed)
        yield course
        bar.live.transient = not course.name  # where nothing was to be done, nothing of it stays


class _Lines:
    """Logs a line for every pass that is done, and at most one a minute before that."""

    def __init__(self) -> None:
        self._last = time.monotonic() - LOG_INTERVAL_S
        self._told: Any = None

    def __call__(self, course: Course) -> None:
        """Log how far the run is, where there is something new."""
        done, total = course.shards
        now = time.monotonic()
        if not total or (course.name, done) == self._told or (done < total and now - self._last < LOG_INTERVAL_S):
            return
        self._last, self._told = now, (course.name, done)
        log.info("%s: %d of %d shards, %.0f %% of the run", course.name, done, total, 100 * course.done / course.total)
