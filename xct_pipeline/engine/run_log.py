"""What a run writes down of itself while it goes, for people: ``run.log``."""

from __future__ import annotations

import contextlib
import logging
import shlex
import socket
import sys
import time
from pathlib import Path

from dask.utils import format_bytes

from xct_pipeline.config import Config
from xct_pipeline.engine.resources import Resources
from xct_pipeline.inputs import PlainFormatter
from xct_pipeline.store import provenance

log = logging.getLogger("xct")


class _LogFile(logging.FileHandler):
    """A log file; where it can be written no more, that is said once and the run goes on without it."""

    lost = False

    def emit(self, record: logging.LogRecord) -> None:
        """Append a record."""
        if not self.lost:
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Say what is wrong with the file, once."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self.lost:
            self.lost = True
            log.warning("%s: %s; the run goes on without its log", self.baseFilename, error.strerror)

    def close(self) -> None:
        """Let go of the file, though what is left to be written may not fit on the disk."""
        with contextlib.suppress(OSError):
            super().close()


class RunLog:
    """Append what is logged to the store's ``run.log``, between what was run where and how it ended."""

    def __init__(self, store: Path, config: Config, limits: Resources, scans: int) -> None:
        self.handler = _LogFile(store / "run.log", encoding="utf-8", delay=True)
        self.handler.setFormatter(PlainFormatter("%(asctime)s %(levelname)s %(message)s"))
        self.config, self.limits, self.scans = config, limits, scans
        self.started, self.failed, self.result = time.monotonic(), 0, ""

    def __enter__(self) -> RunLog:
        log.setLevel(min(log.level or logging.INFO, logging.INFO))
        log.addHandler(self.handler)
        limits, digest = self.limits, provenance.fingerprint(self.config.model_dump(mode="json"))[:16]
        self.note(f"xct-pipeline {provenance.versions().get('xct-pipeline', '')}: {shlex.join(sys.argv)}")
        self.note(
            f"host {socket.gethostname()}, {limits.workers} workers{f', {limits.cluster}' if limits.cluster else ''}, "
            f"memory {format_bytes(limits.memory)}, configuration {digest}"
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        scans, seconds = self.scans, time.monotonic() - self.started
        done = f"finished, {self.failed} of {scans} scans failed," if self.failed else "finished"
        result = f": {self.result}" if self.result and kind is None else ""
        self.note(f"{done if kind is None else f'ended by {kind.__name__}: {error}'} after {seconds:.1f} s{result}")
        log.removeHandler(self.handler)
        self.handler.close()

    def note(self, text: str) -> None:
        """Write a line into the file alone."""
        self.handler.handle(logging.makeLogRecord({"msg": text, "levelname": "INFO", "levelno": logging.INFO}))
