"""A signal ends a run within seconds at whatever moment it comes; the same command then finishes it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from command import heeded, shell, start

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
STOPPED = "xct: stopped; the same command goes on where this one ended"


def heard(process: subprocess.Popen[str]) -> bool:
    """Tell whether a process has asked for SIGTERM, which Python does not do by itself."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = next((line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")), "0")
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def wait_for(process: subprocess.Popen[str], happened: Callable[[], bool]) -> None:
    """Wait until something is seen of a process, however slow the machine is."""
    until = time.monotonic() + 120
    while not happened():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.005)


MOMENTS: dict[str, Callable[[subprocess.Popen[str], Path], bool]] = {
    "importing": lambda process, store: heard(process),
    "planning": lambda process, store: store.exists(),
    "compiling": lambda process, store: any(store.rglob("volume/zarr.json")),
    "computing": lambda process, store: any((store / ".xct" / "markers").rglob("0_0_0.json")),
}


@pytest.fixture
def long_run(work) -> Path:
    """A configuration of twenty scans, of which no machine is through before a signal comes."""
    for k in range(2, 20):
        os.link(work / "scan_00.nxs", work / f"scan_{k:02d}.nxs")
    return work / "run.toml"


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("importing", signal.SIGINT),
        ("importing", signal.SIGHUP),
        ("planning", signal.SIGTERM),
        ("compiling", signal.SIGHUP),
        ("computing", signal.SIGINT),
        pytest.param("computing", signal.SIGTERM, marks=pytest.mark.slow),
    ],
)
def test_a_signal_ends_a_run(long_run, moment, number):
    process = start("run", long_run)
    wait_for(process, lambda: MOMENTS[moment](process, long_run.with_name("store.zarr")))
    process.send_signal(number)
    sent = time.monotonic()
    out, err = process.communicate(timeout=30)
    assert time.monotonic() - sent < 5
    if "finished: " in out:  # all was done, and the interpreter was leaving
        assert process.returncode in (0, -number, CODES[number]), out + err
        return
    assert process.returncode == CODES[number], out + err
    assert "Traceback" not in out + err
    assert err.splitlines()[-1] == STOPPED


ENDINGS = {
    "threads": "t = threading.Thread(target=time.sleep, args=({s},)); t.start()",
    "exit functions": "import atexit; atexit.register(time.sleep, {s})",
    "modules": "class Slow:\n        def __del__(self, sleep=time.sleep): sleep({s})\n    sys.modules['slow'] = Slow()",
}


def told(folder: Path, body: str, word: str) -> subprocess.Popen[str]:
    """Start a command that consists of some lines, and wait until it says a word."""
    code = (
        "import sys, time, threading, types\n"
        f"def execute():\n    {body}\n"
        "sys.modules['xct_pipeline.cli.app'] = types.SimpleNamespace(execute=execute)\n"
        "from xct_pipeline.cli import main\nmain()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        preexec_fn=heeded,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == f"{word}\n"
    time.sleep(0.3)
    return process


def ending(folder: Path, body: str, seconds: float) -> subprocess.Popen[str]:
    """Start a command that has told how it ended, and whose interpreter then takes its time to go."""
    return told(folder, f"{body.format(s=seconds)}\n    print('done', flush=True)\n    return 3", "done")


@pytest.mark.parametrize(("what", "number"), zip(ENDINGS, CODES, strict=True))
def test_a_signal_after_the_end_changes_nothing(tmp_path, what, number):
    """While the interpreter waits for threads, calls exit functions or drops its modules."""
    process = ending(tmp_path, ENDINGS[what], 1.5)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (3, "")


@pytest.mark.parametrize("what", ["threads", "exit functions"])
def test_a_signal_bounds_how_long_the_end_takes(tmp_path, what):
    process = ending(tmp_path, ENDINGS[what], 60)
    process.send_signal(signal.SIGTERM)
    sent = time.monotonic()
    _, err = process.communicate(timeout=30)
    assert time.monotonic() - sent < 5
    assert (process.returncode, err) == (3, "")


def test_a_second_run_goes_on(work):
    process = start("run", work / "run.toml")
    wait_for(process, lambda: (work / "store.zarr").exists())
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert shell("run", work / "run.toml").code == 0


CALLS = {
    "a call that holds on": "time.sleep = lambda s: None\nwhile True:\n    try: time.sleep(0); sum(range(1000))\n"
    "    except KeyboardInterrupt: pass",
    "a lost exception": "class Lost:\n    def __del__(self):\n        t = time.time()\n"
    "        while time.time() < t + 60: pass\nx = Lost()\ndel x\ntime.sleep(60)",
    "a thread that computes": "t = threading.Thread(target=time.sleep, args=(60,))\nt.start()\nt.join()",
}


@pytest.mark.parametrize("call", CALLS)
def test_what_holds_on_is_ended_by_force(tmp_path, call):
    """A library that swallows the exception, a destructor that loses it, a thread that is waited for."""
    body = CALLS[call].replace("\n", "\n    ")
    process = told(tmp_path, f"print('ready', flush=True)\n    {body}\n    return 0", "ready")
    process.send_signal(signal.SIGINT)
    sent = time.monotonic()
    _, err = process.communicate(timeout=30)
    assert time.monotonic() - sent < 5
    assert (process.returncode, "Traceback" in err, "goes on where" in err) == (130, False, True), err


def test_ignored_signals_stay_ignored(work):
    """As with nohup."""
    arguments = [sys.executable, "-c", "from xct_pipeline.cli import main; main()", "info", str(work / "scan_00.nxs")]
    ignore = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)  # noqa: E731
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, preexec_fn=ignore)
    wait_for(process, lambda: heard(process))
    process.send_signal(signal.SIGHUP)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "projections" in out
