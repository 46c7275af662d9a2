"""Which raw files of a configuration can be used by now: whole, at rest and fit to be opened.

A file that still grows is left until its size and time have not changed for a while. One that rests and cannot be
opened (cut short, locked by its writer, no scan at all) is told and opened again when it changes. Neither hinders the
others.
"""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from xct_pipeline.acquisition.steps import OpenedScan, UnopenedError, open_scans
from xct_pipeline.config import Config
from xct_pipeline.config.file import ConfigError
from xct_pipeline.scan import ScanError

State = Literal["arriving", "broken", "whole"]
Signature = tuple[int, int, int]


@dataclass
class Arriving:
    """A raw file: since when it is as it is, and what came of opening it.

    Attributes
    ----------
    path : Path
    seen : tuple of int
        Size, time of modification in ns and number of the file.
    since : float
        When it was first seen so, in seconds of a monotonic clock.
    state : {"arriving", "broken", "whole"}
    problem : str
        Why it cannot be used yet.
    names : tuple of str
        Its scans.
    taken : datetime or None
        When the first of them began.
    """

    path: Path
    seen: Signature
    since: float
    state: State = "arriving"
    problem: str = ""
    names: tuple[str, ...] = ()
    taken: datetime | None = None


class Arrivals:
    """The raw files of a configuration, in its order, as they come in.

    Parameters
    ----------
    config : Config
    rest_s : float
        How long a file must not have changed.
    needs_end : bool
        Take a file only when it says when its scans ended.

    Raises
    ------
    ConfigError
        Scans are not named as files alone.
    """

    def __init__(self, config: Config, rest_s: float, needs_end: bool = False) -> None:
        refuse_tables(config)
        self._config, self._rest_s, self._needs_end = config, rest_s, needs_end
        self.files: dict[Path, Arriving] = {}

    def look(self) -> bool:
        """Look at all files; tell whether anything has changed."""
        now, changed = time.monotonic(), False
        found: dict[Path, Arriving] = {}
        for path in _matching(self._config):
            try:
                status = path.stat()
            except OSError:  # removed meanwhile
                continue
            seen = (status.st_size, status.st_mtime_ns, status.st_ino)
            file = self.files.get(path)
            if file is None or file.seen != seen:
                file, changed = Arriving(path, seen, now, names=file.names if file else ()), True
            if file.state == "arriving" and now - file.since >= self._rest_s:
                self._open(file)
                changed = changed or file.state != "arriving"
            found[path] = file
        changed = changed or list(found) != list(self.files)
        self.files = found
        return changed

    @property
    def whole(self) -> list[Arriving]:
        """The files that can be used."""
        return [file for file in self.files.values() if file.state == "whole"]

    def signatures(self) -> tuple[tuple[Path, Signature], ...]:
        """Return what the files that can be used are by now."""
        return tuple((file.path, file.seen) for file in self.whole)

    def _open(self, file: Arriving) -> None:
        opened, problem = _opened(self._config, file.path)
        ended = all(item.scan is None or item.scan.end is not None for item in opened)
        if problem is None and self._needs_end and not ended:
            file.problem = "it does not say yet when it ended"
            return
        file.state, file.problem = ("whole", "") if problem is None else ("broken", problem)
        if problem is None:
            file.names = tuple(item.name for item in opened)
            starts = [item.scan.start for item in opened if item.scan is not None and item.scan.start is not None]
            file.taken = starts[0] if starts else None


def refuse_tables(config: Config) -> None:
    """Refuse scans that are no single files, as nothing tells when a folder of images is whole."""
    acquisition = config.acquisition
    tables = {
        "tiff": acquisition.tiff,
        "volume": acquisition.volume,
        "hdf5": [table for table in acquisition.hdf5 if not table.describes_scans],
    }
    named = [f"[[acquisition.{name}]]" for name, given in tables.items() if given]
    if named:
        raise ConfigError("xct watch", [f"takes the files of acquisition.scans; {', '.join(named)}: use xct run"])


def only(config: Config, files: Sequence[Path], exclude: Sequence[str] = ()) -> Config:
    """Return a configuration of these raw files alone, without the scans of some names."""
    acquisition = config.acquisition
    left_out = (
        [*acquisition.exclude, *exclude]
        if isinstance(acquisition.exclude, list)
        else {**acquisition.exclude, **dict.fromkeys(exclude, "scan")}
    )
    update = {"scans": [glob.escape(str(path)) for path in files], "exclude": left_out}
    return config.model_copy(update={"acquisition": acquisition.model_copy(update=update)})


def _opened(config: Config, path: Path) -> tuple[list[OpenedScan], str | None]:
    """Open the scans of one file; the second is why they cannot be used."""
    try:
        opened = open_scans(only(config, [path]))
    except UnopenedError as error:
        return list(error.opened), str(error).splitlines()[0]
    except (ScanError, OSError) as error:
        return [], str(error)
    return opened, next((item.problem for item in opened if item.problem), None)


def _matching(config: Config) -> list[Path]:
    """Return the files that the configuration's patterns match by now, in its order, without scans it leaves out."""
    found: dict[Path, None] = {}
    for pattern in config.acquisition.scans:
        try:
            files = config.expand(pattern)
        except ScanError:  # none yet
            continue
        found.update(dict.fromkeys(Path(os.path.abspath(file)) for file in files))
    return [path for path in found if path.stem not in config.acquisition.excluded_scans]
