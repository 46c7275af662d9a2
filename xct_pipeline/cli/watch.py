"""``xct watch``: maps while the scans come in, each pass a run of those that are whole."""

from __future__ import annotations

import logging
import math
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
from xct_pipeline.cli.terminal import console, start_logging, tell

if TYPE_CHECKING:
    from xct_pipeline.cli.arriving import Arrivals

log = logging.getLogger("xct")
LOOK_S = 2.0  # between two looks at the files


def watch(
    config: ConfigPath = Path("run.toml"),
    scans: Annotated[int | None, typer.Option(min=1, help="End when so many scans are done.")] = None,
    idle: Annotated[float | None, typer.Option(min=0, help="End when nothing has come for so many minutes.")] = None,
    rest: Annotated[float, typer.Option(min=0, help="A file is whole when unchanged for so many seconds.")] = 30.0,
    ended: Annotated[bool, typer.Option("--ended", help="Take a file only when it says when its scan ended.")] = False,
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
    arrivals = Arrivals(settings, rest, ended)
    watching = _Watching(settings, arrivals, parse_bytes(memory), workers, use_device(device))
    tell(f"watching {', '.join(settings.acquisition.scans)}; Ctrl-C ends it, the same command goes on")
    sys.stdout.flush()  # read by others while this goes on
    last, step = time.monotonic(), min(LOOK_S, max(0.1, rest / 4))
    patience = math.inf if idle is None else 60 * idle
    while True:
        if arrivals.look():
            watching.tell_news()
            last = time.monotonic()
        if watching.is_behind():
            watching.run()
            last = time.monotonic()
        elif (scans is not None and watching.done >= scans) or time.monotonic() - last >= patience:
            break
        else:
            time.sleep(step)
    code = watching.code()
    if code != DONE:
        raise typer.Exit(code)


@dataclass
class _Watching:
    """What has been run of what has come in.

    Attributes
    ----------
    settings : Config
    arrivals : Arrivals
    problems : dict
        Why scans of the last pass failed.
    """

    settings: Any
    arrivals: Arrivals
    memory: int | None
    workers: int | None
    on_device: bool
    problems: dict[str, str] = field(default_factory=dict)
    finished: frozenset[str] = frozenset()
    _told: dict[Path, tuple[str, str]] = field(default_factory=dict)
    _ran: set[Any] = field(default_factory=set)
    _ran_all: bool = False

    @property
    def done(self) -> int:
        """How many scans are done."""
        return len(self.finished)

    def is_behind(self) -> bool:
        """Tell whether a file has come that was not run as it is, or no other is waited for any more.

        One that is written anew is no reason: what was made of it stays until it is whole again.
        """
        new = set(self.arrivals.signatures()) - self._ran
        return bool(self.arrivals.whole) and (bool(new) or (self._all_whole() and not self._ran_all))

    def _all_whole(self) -> bool:
        return len(self.arrivals.whole) == len(self.arrivals.files)

    def tell_news(self) -> None:
        """Log what has become of files since it was told."""
        for path, file in self.arrivals.files.items():
            news = (file.state, file.problem)
            if news != self._told.get(path):
                self._told[path] = news
                words = f"broken, tried again when it changes: {file.problem}" if file.state == "broken" else file.state
                log.log(logging.WARNING if file.state == "broken" else logging.INFO, "%s: %s", path.name, words)

    def run(self) -> None:
        """Run what can be used by now, draw the report, and show what has come of it."""
        from xct_pipeline import pipeline
        from xct_pipeline.cli import progress
        from xct_pipeline.engine.resources import resources
        from xct_pipeline.report import write_report

        self._ran, self._ran_all = set(self.arrivals.signatures()), self._all_whole()
        try:
            layout = pipeline.plan(self._usable(), resources(self.workers, self.memory))
            with progress.shown(layout) as course:
                result = pipeline.run(layout, course, on_device=self.on_device, watch=course.step)
        except ValueError as error:  # a reference, a time or a spectrum's scan that is still to come
            log.warning("not run yet, more scans are waited for: %s", error)
            return
        self.problems = {scan.name: str(scan.problem) for scan in result.failed}
        self.finished = frozenset(scan.name for scan in result.scans if scan.problem is None)
        page = result.store.path / "report.html"
        if not result.unchanged or not page.exists():
            page = write_report(result.store.path)
        self.show()
        tell(f"{len(self.finished)} of {len(self.arrivals.files)} files' scans are done; report: {page}")
        for reason in result.refused:
            log.warning("no mass was written: %s", reason)

    def _usable(self) -> Any:
        """Return the configuration with what can be used of it: as it is where that is everything."""
        from xct_pipeline.cli.arriving import only
        from xct_pipeline.store.store import Store

        files = self.arrivals.files
        if all(file.state == "whole" for file in files.values()):
            return self.settings
        store = Store(self.settings.store_path)
        known = store.known_scans() if store.path.is_dir() else {}
        waiting = {path for path, file in files.items() if file.state != "whole"}
        changing = [
            name
            for name, raw in known.items()
            if any(Path(os.path.abspath(store.path / file)) in waiting for file in raw)
        ]
        if known and not set(known) - set(changing):
            raise ValueError(f"{', '.join(changing)} of {store.path} changes; it is waited for")
        return only(self.settings, [file.path for file in self.arrivals.whole], changing)

    def _rows(self) -> Iterator[tuple[str, str, str]]:
        """Yield name, time and state of every scan, in order of their times, those without last."""
        files = sorted(self.arrivals.files.values(), key=lambda f: (f.taken is None, f.taken and f.taken.isoformat()))
        for file in files:
            taken = file.taken.isoformat(sep=" ", timespec="seconds") if file.taken else "-"
            for name in file.names or (file.path.stem,):
                if name in self.problems:
                    yield name, taken, f"failed: {self.problems[name]}"
                elif file.state == "whole":
                    yield name, taken, "done" if name in self.finished else "waiting"
                else:
                    yield name, taken, ": ".join(filter(None, (file.state, file.problem)))

    def show(self) -> None:
        """Print the scans with their times and states."""
        from rich.markup import escape
        from rich.table import Table

        table = Table("scan", "taken", "state")
        for row in self._rows():
            table.add_row(*map(escape, row))
        console().print(table)

    def code(self) -> int:
        """Return how it ended: all scans done, some, or none."""
        if not self.finished:
            return WRONG
        waiting = any(file.state != "whole" for file in self.arrivals.files.values())
        return PARTIAL if self.problems or waiting or self.is_behind() else DONE
