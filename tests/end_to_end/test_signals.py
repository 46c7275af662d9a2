"""A signal ends a run within seconds at whatever moment it comes; the same command then finishes it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from command import shell, start

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


@pytest.mark.parametrize("delay", [0.3, 0.8, 1.5, 3.0])  # libraries are imported, kernels compiled, shards computed
@pytest.mark.parametrize("number", CODES, ids=[number.name for number in CODES])
def test_a_signal_ends_a_run(work, number, delay):
    process = start("run", work / "run.toml")
    time.sleep(delay)
    if process.poll() is not None:
        out, err = process.communicate()
        assert process.returncode == 0, out + err
        pytest.skip(f"the run had ended after {delay} s")
    process.send_signal(number)
    sent = time.monotonic()
    out, err = process.communicate(timeout=30)
    assert time.monotonic() - sent < 5
    if "finished: " in out:  # all was done, and the interpreter was leaving
        assert process.returncode in (0, -number, CODES[number]), out + err
        return
    assert process.returncode == CODES[number], out + err
    assert "Traceback" not in out + err
    assert err.splitlines()[-1] == "xct: stopped; the same command goes on where this one ended"


def test_a_second_run_goes_on(work):
    process = start("run", work / "run.toml")
    time.sleep(2)
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
    code = (
        "import sys, time, threading, types\n"
        f"def execute():\n    print('ready', flush=True)\n    {body}\n    return 0\n"
        "sys.modules['xct_pipeline.cli.app'] = types.SimpleNamespace(execute=execute)\n"
        "from xct_pipeline.cli import main\nmain()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.2)
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
    time.sleep(0.3)
    os.kill(process.pid, signal.SIGHUP)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "projections" in out
