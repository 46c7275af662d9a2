"""Which scans of a configuration can be used by now: whole, at rest and fit to be opened.

What still grows is left until sizes and times of its files have not changed for a while. What rests and cannot be
opened (cut short, locked by its writer, not to be read, no scan at all) is told and tried again, at once when it
changes and now and then without that. Neither hinders the others. No clock but that of this process is relied on.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from xct_pipeline.acquisition.steps import OpenedScan, UnopenedError, open_scans
from xct_pipeline.acquisition.steps.pieces import Piece, pieces_of, with_pieces
from xct_pipeline.config import Config
from xct_pipeline.inputs import first_of
from xct_pipeline.names import key_of
from xct_pipeline.scan import ScanError
from xct_pipeline.store.store import Store

State = Literal["arriving", "broken", "whole"]
Signature = tuple[tuple[str, int, int, int], ...]
AGAIN_S = 30.0  # after which what could not be opened is tried again though it has not changed


@dataclass
class Arriving:
    """A piece of the configuration: since when its files are as they are, and what came of opening it.

    Attributes
    ----------
    piece : Piece
    seen : tuple
        Name, size, time of modification in ns and number of each of its files.
    since : float
        When they were first seen so, or tried last; seconds of a monotonic clock.
    linked : tuple of Path
        Files that hold its frames beside those that the configuration names.
    state : {"arriving", "broken", "whole"}
    problem : str
        Why it cannot be used yet.
    raw : dict
        Its scans by name, each with its main file.
    taken : datetime or None
        When the first of them began.
    """

    piece: Piece
    seen: Signature
    since: float
    linked: tuple[Path, ...] = ()
    state: State = "arriving"
    problem: str = ""
    raw: dict[str, Path] | None = None
    taken: datetime | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Its scans, by what people call it where they are not known yet."""
        return tuple(self.raw or (Path(self.piece.label).stem,))

    @property
    def order(self) -> tuple[bool, float]:
        """What sorts by time, those without one last; a time without a zone is taken as UTC."""
        if self.taken is None:
            return True, 0.0
        return False, (self.taken if self.taken.tzinfo else self.taken.replace(tzinfo=UTC)).timestamp()


class Arrivals:
    """The pieces of a configuration, in its order, as they come in.

    Parameters
    ----------
    config : Config
    rest_s : float
        How long files must not have changed.
    needs_end : bool
        Take a scan only when it says when it ended.
    """

    def __init__(self, config: Config, rest_s: float, needs_end: bool = False) -> None:
        self._config, self._rest_s, self._needs_end = config, rest_s, needs_end
        self.pieces: dict[str, Arriving] = {}

    def look(self) -> bool:
        """Look at all files; tell whether anything has changed."""
        now = time.monotonic()
        before = {key: (item.seen, item.state, item.problem) for key, item in self.pieces.items()}
        found: dict[str, Arriving] = {}
        for piece in pieces_of(self._config):
            old = self.pieces.get(piece.key)
            seen = signature([*piece.files, *(old.linked if old else ())])
            if not seen:  # removed meanwhile
                continue
            item = replace(old, piece=piece) if old else Arriving(piece, seen, now)
            if item.seen != seen:
                item = replace(item, seen=seen, since=now, state="arriving", problem="")
            found[piece.key] = item
        self.pieces = found
        for item in found.values():
            wait = self._rest_s if item.state == "arriving" and not item.problem else max(self._rest_s, AGAIN_S)
            if item.state != "whole" and now - item.since >= wait:
                self._open(item, now)
        return before != {key: (item.seen, item.state, item.problem) for key, item in found.items()}

    @property
    def whole(self) -> list[Arriving]:
        """The pieces that can be used."""
        return [item for item in self.pieces.values() if item.state == "whole"]

    @property
    def all_whole(self) -> bool:
        """Tell whether nothing is waited for."""
        return all(item.state == "whole" for item in self.pieces.values())

    def _open(self, item: Arriving, now: float) -> None:
        opened, problem = _opened(self._config, item.piece)
        files = {file for one in opened if one.scan is not None for file in one.scan.files}
        more = tuple(sorted(files - set(item.piece.files) - set(item.linked)))
        if more:  # which must be at rest, too
            item.linked = (*item.linked, *more)
            item.seen, item.since = signature([*item.piece.files, *item.linked]), now
            if self._rest_s > 0:
                return
        item.since = now
        ended = all((one.scan or one.volume) is None or _end_of(one) is not None for one in opened)
        if problem is None and self._needs_end and not ended:
            item.problem = "it does not say yet when it ended"
            return
        if problem is None:
            item.raw = {one.name: one.files[0] for one in opened}
            item.taken = next((start for one in opened if (start := _start_of(one)) is not None), None)
            problem = self._twice(item) or self._known_elsewhere(item)
        item.state, item.problem = ("whole", "") if problem is None else ("broken", problem)

    def _twice(self, item: Arriving) -> str | None:
        """Say which other piece has a scan of the same name, None where none has."""
        others = {key_of(name): other for other in self.whole if other is not item for name in other.names}
        for name in item.names:
            other = others.get(key_of(name))
            if other is not None:
                where = " and ".join(str(each.piece.files[0]) for each in (other, item))
                return f"two scans are called {name}: {where}; rename one, or leave it out of the pattern"
        return None

    def _known_elsewhere(self, item: Arriving) -> str | None:
        """Say which scan the store has taken from another file, None where there is none."""
        store = Store(self._config.store_path)
        for name, files in known_scans(store).items():
            file = (item.raw or {}).get(name)
            if file is not None and files != [os.path.relpath(file, store.path)]:
                forget = f"xct forget {store.path} {shlex.quote(name)}"
                return f"{store.path} took {name} from {', '.join(files)}: bring that back, or {forget}"
        return None


def known_scans(store: Store) -> dict[str, list[str]]:
    """Return every scan that a store has taken in, none where there is no store yet."""
    return store.known_scans() if store.path.is_dir() else {}


def in_order(items: Iterable[Arriving]) -> list[Arriving]:
    """Return pieces as a run takes them: in the configuration's order, those of one pattern by their times."""
    groups: dict[int, list[Arriving]] = {}
    for item in items:
        groups.setdefault(item.piece.group, []).append(item)
    for group in groups.values():
        if all(item.taken is not None for item in group):
            group.sort(key=lambda item: item.order)
    return [item for _, group in sorted(groups.items()) for item in group]


def _start_of(one: OpenedScan) -> datetime | None:
    taken = one.scan or one.volume
    return None if taken is None else taken.start


def _end_of(one: OpenedScan) -> datetime | None:
    taken = one.scan or one.volume
    return None if taken is None else taken.end


def signature(files: Iterable[Path]) -> Signature:
    """Return what changes where one of these files does: name, size, time of modification and number of each."""
    return tuple(_seen(files))


def _seen(files: Iterable[Path]) -> Iterator[tuple[str, int, int, int]]:
    for file in files:
        try:
            status = file.stat()
        except OSError:  # gone, or a link to nothing
            continue
        yield str(file), status.st_size, status.st_mtime_ns, status.st_ino


def _opened(config: Config, piece: Piece) -> tuple[list[OpenedScan], str | None]:
    """Open the scans of one piece; the second is why they cannot be used."""
    try:
        opened = open_scans(with_pieces(config, [piece]))
    except UnopenedError as error:
        return list(error.opened), first_of(str(error).splitlines())[0]
    except (ScanError, OSError) as error:
        return [], str(error)
    problems = [item.problem for item in opened if item.problem]
    usable = any(item.scan is not None or item.volume is not None for item in opened)
    return opened, problems[0] if problems and not usable else None
