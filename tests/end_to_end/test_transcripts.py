"""What commands say on a terminal of 80 and of 140 columns, word for word where nothing measured is in it.

Set XCT_WRITE_TRANSCRIPTS=1 to write the texts anew, and read them before they are kept.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import shutil
import struct
import subprocess
import termios
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from command import executable, heeded, read_terminal

TEXTS = Path(__file__).parent / "transcripts"
MISTAKES = """\
output = 3
speed = "fast"
[acquisition]
scans = "scan_*.nxs"
energy = "30 kg"
[correction.stripe]
method = "wavelets"
[correction.zinger]
threshold = -1
[reconstruction]
center = "middle"
filter = "hamming2"
[registration]
method = "rigid2"
[variation]
species = "Na"
region = { cylinder = { z = [24, 40], radius = -30.0 } }
"""


def typed(folder: Path, columns: int, *arguments: str, until: str = "") -> tuple[int, str]:
    """Type a command in a terminal of so many columns; return its exit code and what was shown, without colours.

    With `until`, Ctrl-C is pressed as soon as that is shown.
    """
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    env = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [*executable(), *arguments],
        cwd=folder,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env={**env, "TERM": "xterm"},
        preexec_fn=at_terminal,
    )
    os.close(follower)
    shown = read_terminal(leader, until.encode())
    if until:
        os.write(leader, b"\x03")
        shown += read_terminal(leader)
    os.close(leader)
    shown = re.sub(rb"[^\n]*\n(\x1b\[\?25h|\r)*\x1b\[1A\x1b\[2K", b"", shown)  # a line that was taken back
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode()).replace("\r\n", "\n")
    text = re.sub(r"(?m)^.*\r", "", text)  # what the bar has drawn over
    assert "\x1b" not in text
    return process.wait(timeout=120), text


def at_terminal() -> None:
    """Let a process be what the keys of its terminal reach."""
    heeded()
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def steady(text: str) -> str:
    """Return what a run says without what depends on the machine and on what was measured, such as rows that wrap."""
    lines = text.splitlines()
    kept = [line for line in lines if not re.match(r"INFO +compil|WARNING|  +\S|│|.* left\b", line)]
    return without_figures("\n".join(line.rstrip() for line in kept) + "\n")


def without_figures(text: str) -> str:
    """Return a text in which numbers, versions, and the widths that follow from them are the same everywhere."""
    text = re.sub(r"(?<![\w.])-?\d[\d.e+:]*(?![\w.])", "#", text)
    text = re.sub(r"(?m)^(error of .*, from ).*", r"\1#", text)  # parts of about one size may come in another order
    text = re.sub(r"(# h )?# min # s|# h # min", "# s", text)  # a busy machine takes minutes for what takes seconds
    return re.sub(r"[━─]+", "─", re.sub(r"[ \t]+", " ", text))


def compare(name: str, columns: int, text: str) -> None:
    file = TEXTS / f"{name}_{columns}.txt"
    if os.environ.get("XCT_WRITE_TRANSCRIPTS"):
        TEXTS.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


def mistakes(folder: Path) -> tuple[str, ...]:
    (folder / "wrong.toml").write_text(MISTAKES)
    return ("check", "wrong.toml")


def frames(folder: Path) -> tuple[str, ...]:
    (folder / "tomo").mkdir()
    for kind, count, level in (("proj", 12, 600), ("flat", 3, 1000), ("dark", 2, 100)):
        for k in range(count):
            tifffile.imwrite(folder / "tomo" / f"{kind}_{k:04d}.tif", np.full((8, 16), level + k, np.uint16))
    return ("init", "tomo", "-o", "new.toml")


@pytest.mark.slow
@pytest.mark.parametrize("columns", [80, 140])
@pytest.mark.parametrize(("command", "code"), [(mistakes, 1), (frames, 1)], ids=["check", "init"])
def test_what_is_wrong_and_what_was_found(
    command: Callable[[Path], tuple[str, ...]], code: int, columns: int, tmp_path: Path
) -> None:
    ended, text = typed(tmp_path, columns, *command(tmp_path))
    assert ended == code, text
    compare(command.__name__, columns, text)


@pytest.mark.slow
@pytest.mark.parametrize("columns", [80, 140])
@pytest.mark.parametrize("command", ["info store.zarr", "run run.toml", "status store.zarr", "cite store.zarr"])
def test_what_is_said_of_a_finished_store(command: str, columns: int, small_series_copy: Path) -> None:
    ended, text = typed(small_series_copy.parent, columns, *command.split())
    assert ended == 0, text
    if command.startswith("run"):
        (text,) = (line.replace(str(small_series_copy), "STORE") for line in text.splitlines() if line.strip())
    if command.startswith("info"):
        assert max(len(line) for line in text.splitlines() if line[:1] in "┏┃│└") <= columns
        assert "\u2026" not in text  # nothing is cut
        assert text.splitlines()[-1].startswith("report: ")
        text = re.sub(r"(?ms)^\d+ warnings?:\n.*(?=^report: )", "", text)  # those depend on what was measured
    compare(command.split()[0], columns, without_figures(text))


@pytest.mark.slow
@pytest.mark.parametrize("columns", [80, 140])
def test_a_run_that_is_interrupted_and_resumed(columns: int, series: Path, tmp_path: Path) -> None:
    """Ctrl-C ends it with one line and exit code 130, and the second one tells what was reused."""
    for file in (*series.glob("*.nxs"), series / "run.toml", *series.glob("*.csv")):
        shutil.copy(file, tmp_path)
    ended, text = typed(tmp_path, columns, "run", "run.toml", until="2/4 registration: ")
    assert ended == 130, text
    lines = steady(text.replace(str(tmp_path), "FOLDER")).splitlines(keepends=True)
    pressed = lines.index("INFO stage # of # registration\n") + 1  # how far it comes after that differs
    compare("interrupted", columns, "".join([*lines[:pressed], lines[-1]]))
    ended, text = typed(tmp_path, columns, "run", "run.toml")
    assert ended == 0, text
    assert re.search(r"reused \d+ shards? and \d+ estimates?", text)
    compare("resumed", columns, steady(text.replace(str(tmp_path), "FOLDER")))


@pytest.mark.slow
def test_the_demo_and_the_demo_again(tmp_path: Path) -> None:
    store, told = tmp_path / "cell" / "store.zarr", []
    for columns in (80, 140):
        ended, text = typed(tmp_path, columns, "demo", "cell")
        assert ended == 0, text
        compare("demo", columns, steady(text.replace(str(tmp_path), "FOLDER")))
        told.append((text, (store / "run.log").read_text().splitlines()[-1]))
    (first, last), (again, _) = told
    for quantity in ("centre, pixel", "motion of the middle", "change of Na, mg", "slope of the Faraday balance"):
        assert quantity in again  # where no cell of the table is wrapped
    assert "recovered against true" in first
    assert re.search(r"finished after .* s: scan_02 -0\.\d+ \+- 0\.\d+ mg of Na, slope of the Faraday balance \d", last)
    for table in ("reconstruction", "registration", "labels", "interface", "voids", "mass_balance", "faraday"):
        assert (store / "tables" / f"{table}.csv").exists(), table
    page = (store / "report.html").read_text(encoding="utf-8")
    missing = re.findall(r"left out: the store has no table (\w+)", page)
    assert missing == ["voltammetry", "cycling", "shell_correlation"]  # only stripped, and halves were not asked for
    assert page.count("left out:") == len(missing)
    assert len(page) < 15e6
    assert "going on" in again
