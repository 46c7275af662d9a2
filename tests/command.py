"""The command line as tests call it: in a process of its own, or (faster) in this one."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from xct_pipeline import cli

SERIAL = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def executable() -> list[str]:
    """Return the installed command, or the module where it is not installed."""
    beside = Path(sys.executable).with_name("xct")
    found = str(beside) if beside.exists() else shutil.which("xct")
    return [found] if found else [sys.executable, "-c", "from xct_pipeline.cli import main; main()"]


def heeded() -> None:
    """Let signals end what is started, though they may be ignored here, as under nohup or behind an ampersand."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def start(
    *args: object, cwd: Path | None = None, env: Mapping[str, str] | None = None, command: Sequence[str] | None = None
) -> subprocess.Popen[str]:
    """Start a command, or another in its place, in a process of its own."""
    return subprocess.Popen(
        [*(command or executable()), *map(str, args)],
        cwd=cwd,
        env={**os.environ, **SERIAL, **(env or {})},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        preexec_fn=heeded,
    )


def read_terminal(leader: int, until: bytes = b"") -> bytes:
    """Read what is shown on a terminal until its other end is closed, or until something is shown."""
    shown = b""
    while not until or until not in re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", shown):
        try:
            part = os.read(leader, 4096)
        except OSError:  # the other end was closed
            return shown
        if not part:
            return shown
        shown += part
    return shown


def shell(*args: object, cwd: Path | None = None, env: Mapping[str, str] | None = None, timeout: float = 300) -> Ended:
    """Run a command in a process of its own; no traceback whatever happens."""
    process = start(*args, cwd=cwd, env=env)
    out, err = process.communicate(timeout=timeout)
    return _checked(Ended(process.returncode, out, err))


def xct(capsys: Any, *args: object) -> Ended:
    """Run a command in this process; no traceback whatever happens."""
    log = logging.getLogger("xct")
    before = list(log.handlers)
    capsys.readouterr()
    with mock.patch.object(sys, "argv", ["xct", *map(str, args)]):
        try:
            cli.main(last=False)
        except SystemExit as stop:
            code = int(stop.code or 0)
    for handler in [h for h in log.handlers if h not in before]:
        log.removeHandler(handler)
    out, err = capsys.readouterr()
    return _checked(Ended(code, out, err))


def _checked(ended: Ended) -> Ended:
    text = ended.out + ended.err
    assert "Traceback" not in text, text
    assert "an error in xct itself" not in text, text
    return ended


def shards(store: Path, under: str = "scans") -> dict[str, bytes]:
    """Return the bytes of every shard below a folder of a store."""
    files = sorted(f for f in (store / under).rglob("*") if f.is_file() and "c" in f.relative_to(store).parts)
    return {str(f.relative_to(store)): f.read_bytes() for f in files}


def write_config(
    folder: Path,
    tables: Mapping[str, str] | None = None,
    *,
    scans: str = '["scan_*.nxs"]',
    output: str = "store.zarr",
    name: str = "run.toml",
) -> Path:
    """Write the usual configuration with some tables replaced, ``{"correction.stripe": 'method = "none"'}``.

    What is given for ``acquisition`` is added to the scans.
    """
    text = {
        "correction.zinger": 'method = "median"',
        "correction.stripe": 'method = "defects"',
        "reconstruction": 'center = "auto"',
        **(tables or {}),
    }
    text["acquisition"] = f"scans = {scans}\n{text.get('acquisition', '')}"
    file = folder / name
    file.write_text(f'output = "{output}"\n' + "".join(f"[{table}]\n{lines}\n" for table, lines in text.items()))
    return file
