"""The peak memory of a run stays under what ``xct check`` printed, and is not far below it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from command import SERIAL, executable, shell

MEASURE = (
    "import resource, subprocess, sys; code = subprocess.run(sys.argv[1:], stdout=2).returncode; "
    "print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)"
)


@pytest.mark.slow
@pytest.mark.parametrize(("width", "rows", "angles"), [(96, 48, 61), (256, 128, 481), (640, 160, 721)])
def test_peak_memory(tmp_path, width, rows, angles):
    cell = tmp_path / "cell"
    size = ("--width", width, "--rows", rows, "--angles", angles, "--scans", 1)
    assert shell("simulate", cell, *size).code == 0
    plan = shell("check", cell / "run.toml", "--workers", 2, "--json")
    predicted = json.loads(plan.out)["memory_predicted"]
    command = [*executable(), "run", str(cell / "run.toml"), "--workers", "2", "--until", "reconstruction"]
    ended = subprocess.run(
        [sys.executable, "-c", MEASURE, *command], capture_output=True, text=True, check=True,
        env={**os.environ, **SERIAL},
    )  # fmt: skip
    code, peak = map(int, ended.stdout.split())
    print(f"{width} x {rows} x {angles}: {peak / 1e6:.0f} MB of {predicted / 1e6:.0f} MB predicted")
    assert code == 0
    assert 0.5 * predicted <= peak <= predicted
