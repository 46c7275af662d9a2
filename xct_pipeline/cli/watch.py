"""``xct watch``: maps while the scans come in, each pass a run of those that are whole."""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xct_pipeline.cli.options import (
    DONE,
    PARTIAL,
    WRONG,
    ConfigPath,
    Device,
    Memory,
    Workers,
    load,
    parse_bytes,
    use_device,
)
from xct_pipeline.cli.terminal import print_table, start_logging, tell

if TYPE_CHECKING:
    from xct_pipeline.cli.arriving import Arrivals, Arriving, Signature
    from xct_pipeline.config import Config
    from xct_pipeline.pipeline import RunResult

log = logging.getLogger("xct")
LOOK_S = 2.0  # between two looks at the files
AGAIN_S = 30.0  # after a pass that could not be made


def watch(
    config: ConfigPath = Path("run.toml"),
    scans: Annotated[int | None, typer.Option(min=1, help="End when so many scans are done.")] = None,
    idle: Annotated[float | None, typer.Option(min=0, help="End when nothing has come for so many minutes.")] = None,
    rest: Annotated[float, typer.Option(min=0, help="A scan is whole when unchanged for so many seconds.")] = 30.0,
    ended: Annotated[bool, typer.Option("--ended", help="Take a scan only when it says when it ended.")] = False,
    memory: Memory = None,
    workers: Workers = None,
    device: Device = "cpu",
) -> None:
    """Run the pipeline on scans as they come in, and renew the report after each; end it with Ctrl-C.

    Example: xct watch run.toml --idle 60
    """
    from xct_pipeline.cli.arriving import Arrivals

    start_logging()
    settings = load(config)
    _refuse_place(settings)
    watching = _Watching(
        config, settings, Arrivals(settings, rest, ended), parse_bytes(memory), workers, use_device(device)
    )
    tell(f"watching for the scans of {config}; Ctrl-C ends it, the same command goes on")
    sys.stdout.flush()  # read by others while this goes on
    last, step = time.monotonic(), min(LOOK_S, max(0.1, rest / 4))
    patience = math.inf if idle is None else 60 * idle
    while True:
        if watching.look():
            last = time.monotonic()
        if watching.is_behind():
            if watching.run():
                last = time.monotonic()
        elif (scans is not None and len(watching.finished) >= scans) or time.monotonic() - last >= patience:
            break
        else:
            time.sleep(step)
    code = watching.code()
    if code != DONE:
        raise typer.Exit(code)


def _refuse_place(settings: Config) -> None:
    """Refuse an output that can never be the store of these scans, before anything is waited for."""
    from xct_pipeline.store.ownership import require_place
    from xct_pipeline.store.store import RefusedError, Store

    store = Store(settings.store_path)
    require_place(store.path)
    if store.path.is_dir() and any(store.path.iterdir()) and not store.exists():
        raise RefusedError(f"{store.path} exists and is not a store of xct; choose another output or remove it")


class _WaitingError(ValueError):
    """Nothing can be run yet."""


@dataclass
class _Watching:
    """What has been run of what has come in.

    Attributes
    ----------
    file : Path
        The configuration; it is read once.
    settings : Config
    arrivals : Arrivals
    memory, workers, on_device
        What a pass may take.
    problems : dict
        Why scans of the last pass failed.
    finished : frozenset of str
        Scans that the last pass finished.
    """

    file: Path
    settings: Config
    arrivals: Arrivals
    memory: int | None
    workers: int | None
    on_device: bool
    problems: dict[str, str] = field(default_factory=dict)
    finished: frozenset[str] = frozenset()
    _told: dict[str, tuple[str, str]] = field(default_factory=dict)
    _said: str = ""  # why there was no pass
    _shown: tuple[tuple[str, str, str], ...] = ()
    _config_seen: Signature = ()
    _ran: dict[str, Signature] = field(default_factory=dict)  # the pieces of the last pass, as they were
    _ran_all: bool = False
    _beside: str = ""  # why what was recorded beside the scans was left out of the last pass
    _beside_again: float = math.inf
    _again: tuple[float, dict[str, Signature]] | None = None  # when a pass is tried again, and of what it failed
    _computing: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        from xct_pipeline.cli.arriving import signature

        self._config_seen = signature([self.file])

    def look(self) -> bool:
        """Look at all files, log what is new, and tell whether anything is."""
        from xct_pipeline.cli.arriving import signature

        changed = self.arrivals.look()
        seen = signature([self.file])
        if seen != self._config_seen:
            self._config_seen = seen
            log.warning("%s has changed: it is read when this command is started again", self.file)
        for key, item in self.arrivals.pieces.items():
            news = (item.state, item.problem)
            if news != self._told.get(key):
                self._told[key] = news
                broken = item.state == "broken"
                words = f"broken, tried again when it changes: {item.problem}" if broken else item.state
                log.log(logging.WARNING if broken else logging.INFO, "%s: %s", item.piece.label, words)
        self._told = {key: news for key, news in self._told.items() if key in self.arrivals.pieces}
        if changed:
            self.show()
        return changed

    def is_behind(self) -> bool:
        """Tell whether something has come that was not run as it is, or nothing is waited for any more.

        A scan that is written anew is no reason: what was made of it stays until it is whole again.
        """
        whole = self._whole()
        if self._again is not None:
            return bool(whole) and (whole != self._again[1] or time.monotonic() >= self._again[0])
        new = whole.items() - self._ran.items()
        last = self.arrivals.all_whole and not self._ran_all
        return bool(whole) and (bool(new) or last or time.monotonic() >= self._beside_again)

    def _whole(self) -> dict[str, Signature]:
        return {item.piece.key: item.seen for item in self.arrivals.whole}

    def run(self) -> bool:
        """Run what was run before and the next scan, draw the report, and show what has come of it; tell if it did."""
        from xct_pipeline.store.store import RefusedError, StoreError

        whole = self._whole()
        try:
            batch, more = self._next()
            try:
                self._pass(batch)
            except ValueError:  # a reference, a time or a spectrum's scan that has come as well, or is still to come
                if not more:
                    raise
                self._pass([*batch, *more])
        except (ValueError, OSError, RefusedError, StoreError) as error:
            self._computing = frozenset()
            self._again = time.monotonic() + AGAIN_S, whole
            if str(error) != self._said:
                self._said = str(error)
                waits = isinstance(error, _WaitingError)
                log.warning("%s%s", "" if waits else "not run yet, tried again when more comes: ", error)
            return False
        self._again, self._said = None, ""
        return True

    def _next(self) -> tuple[list[Arriving], list[Arriving]]:
        """Return what is run next, one scan more than before, and what else is whole."""
        from xct_pipeline.cli.arriving import known_scans
        from xct_pipeline.store.store import Store

        known = known_scans(Store(self.settings.store_path))
        whole = self.arrivals.whole
        before = [item for item in whole if item.piece.key in self._ran or set(item.names) & set(known)]
        new = sorted((item for item in whole if item not in before), key=lambda item: item.order)
        return [*before, *new[:1]], new[1:]

    def _pass(self, batch: list[Arriving]) -> None:
        from xct_pipeline import pipeline
        from xct_pipeline.cli import progress
        from xct_pipeline.engine.resources import resources

        settings = self._usable(batch)
        limits = resources(self.workers, self.memory)
        without = settings.model_copy(update={"electrochemistry": None})
        try:
            layout = pipeline.plan(settings, limits)
            beside = pipeline.beside_problems(settings, [(item.name, item.taken) for item in layout.scans])
        except ValueError as error:
            if settings.electrochemistry is None:
                raise
            try:
                layout = pipeline.plan(without, limits)
            except ValueError:
                raise error from None
            beside = str(error).splitlines()
        self._beside_again = time.monotonic() + AGAIN_S if beside else math.inf
        if beside:
            if self._beside == beside[0] and self._ran == {item.piece.key: item.seen for item in batch}:
                return
            if self._beside != beside[0]:
                log.warning("without what was recorded beside the scans, for now: %s", beside[0])
            layout = pipeline.plan(without, limits)
        self._beside = beside[0] if beside else ""
        self._computing = frozenset(name for item in batch for name in item.names) - self.finished
        self.show()
        with progress.shown(layout) as course:
            result = pipeline.run(layout, course, on_device=self.on_device, watch=course.step)
        self._computing = frozenset()
        self._ran = {item.piece.key: item.seen for item in batch}
        self._ran_all = self.arrivals.all_whole and len(batch) == len(self.arrivals.pieces)
        self.problems = {scan.name: str(scan.problem) for scan in result.failed}
        self.finished = frozenset(scan.name for scan in result.scans if scan.problem is None)
        self._report(result)

    def _report(self, result: RunResult) -> None:
        from xct_pipeline.cli.runs import drawn_report

        page = drawn_report(result) or result.store.path / "report.html"
        self.show()
        names = {name for item in self.arrivals.pieces.values() for name in item.names}
        tell(f"{len(self.finished)} of {len(names)} scans are done; report: {page}")
        sys.stdout.flush()
        for reason in result.refused:
            log.warning("no mass was written: %s", reason)

    def _usable(self, batch: list[Arriving]) -> Config:
        """Return the configuration with a batch of what there is: as it is where that is everything."""
        from xct_pipeline.acquisition.steps.pieces import with_pieces
        from xct_pipeline.cli.arriving import in_order, known_scans
        from xct_pipeline.store.store import Store

        store = Store(self.settings.store_path)
        names = [name for item in in_order(batch) for name in item.names]
        known = set(known_scans(store)) - self.settings.acquisition.excluded_scans
        absent = sorted(known - set(names))
        if known and not known & set(names):
            raise _WaitingError(f"{', '.join(absent)} of {store.path} changes or is gone; it is waited for")
        if not absent and len(batch) == len(self.arrivals.pieces):
            return self.settings
        settings = with_pieces(self.settings, [item.piece for item in in_order(batch)], absent)
        beside = settings.electrochemistry
        if beside is None:
            return settings
        there = [e for e in beside.impedance if e.scan is None or e.scan in (*names, *range(len(names)))]
        others = there or beside.log or beside.voltammetry or beside.cycling
        return settings.model_copy(
            update={"electrochemistry": beside.model_copy(update={"impedance": there}) if others else None}
        )

    def _rows(self) -> Iterator[tuple[str, str, str]]:
        """Yield name, time and state of every scan, in order of their times, those without last."""
        gone = set(self.finished)
        for item in sorted(self.arrivals.pieces.values(), key=lambda item: item.order):
            taken = item.taken.isoformat(sep=" ", timespec="seconds") if item.taken else "-"
            for name in item.names:
                gone.discard(name)
                if item.state != "whole":
                    state = ": ".join(filter(None, (item.state, item.problem)))
                elif name in self.problems:
                    state = f"failed: {self.problems[name]}"
                elif name in self._computing:
                    state = "computing"
                else:
                    state = "done" if name in self.finished else "waiting"
                yield name, taken, state
        yield from ((name, "-", "gone; what was made of it stays") for name in sorted(gone))

    def show(self) -> None:
        """Print the scans with their times and states, where that is not what was printed last."""
        from rich.markup import escape
        from rich.table import Table

        rows = tuple(self._rows())
        if rows == self._shown:
            return
        self._shown = rows
        table = Table("scan", "taken", "state")
        for row in rows:
            table.add_row(*map(escape, row))
        print_table(table)
        sys.stdout.flush()

    def code(self) -> int:
        """Return how it ended: all scans done, some, or none."""
        if not self.finished:
            return WRONG
        left = self.problems or self._beside or not self.arrivals.all_whole or self._again or self.is_behind()
        return PARTIAL if left else DONE
