"""The peak memory of every stage stays under what ``xct check`` printed, and is not far below it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from command import SERIAL, executable, shell, xct

MEASURE = (
    "import resource, subprocess, sys; code = subprocess.run(sys.argv[1:], stdout=2).returncode; "
    "print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)"
)


SIZES = [(96, 48, 61), (256, 128, 481), *([(640, 160, 721)] if "XCT_SOAK" in os.environ else [])]
STAGES = ("reconstruction", "registration", "segmentation", "variation")


@pytest.mark.slow
@pytest.mark.parametrize(("width", "rows", "angles"), SIZES)
def test_peak_memory_of_every_stage(tmp_path, width, rows, angles):
    cell = tmp_path / "cell"
    size = ("--width", width, "--rows", rows, "--angles", angles, "--scans", 2)
    assert shell("simulate", cell, *size).code == 0
    text = (cell / "run.toml").read_text()
    if "[segmentation]" not in text:
        (cell / "run.toml").write_text(f'{text}\n[segmentation]\nmethod = "watershed"\nclasses = 3\n')
    limits = ("--workers", "2", "--memory", "8GB")
    plan = shell("check", cell / "run.toml", *limits, "--json").json
    predicted = {stage["stage"]: stage["memory_predicted"] for stage in plan["stages"]}
    assert list(predicted) == list(STAGES)
    assert plan["memory_predicted"] == max(predicted.values())
    peaks = {stage: peak_of("run", cell / "run.toml", *limits, "--until", stage) for stage in STAGES}
    for stage, peak in peaks.items():
        print(f"{width} x {rows} x {angles}, {stage}: {peak / 1e6:.0f} MB of {predicted[stage] / 1e6:.0f} MB predicted")
    wrong = {s: (peaks[s], predicted[s]) for s in STAGES if not 0.5 * predicted[s] <= peaks[s] <= predicted[s]}
    assert not wrong


def peak_of(*args: object) -> int:
    """Run a command to its end in a process of its own; return the largest resident memory it had."""
    ended = subprocess.run(
        [sys.executable, "-c", MEASURE, *executable(), *map(str, args)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **SERIAL},
    )
    code, peak = map(int, ended.stdout.split())
    assert code == 0, ended.stderr
    return peak


def test_every_stage_is_forecast_and_refused_before_anything_is_computed(capsys, work):
    with (work / "run.toml").open("a") as file:
        file.write("[registration]\nmask = { min_attenuation = 4.0 }\n[segmentation]\nclasses = 3\n[variation]\n")
    plan = xct(capsys, "check", work / "run.toml", "--workers", 1, "--memory", "8GB", "--json").json
    assert [stage["stage"] for stage in plan["stages"]] == list(STAGES)
    *computed, derived = plan["stages"]
    assert derived["steps"] == []  # without a region there are only images that are formulas
    for stage in computed:
        assert stage["memory_predicted"] == max(step["memory_predicted"] for step in stage["steps"])
        assert stage["tasks"] == sum(step["tasks"] for step in stage["steps"]) > 0
        assert stage["disk_bytes"] > 0
        assert stage["seconds"] > 0
    least = plan["memory_predicted"]  # of one task at a time
    assert xct(capsys, "check", work / "run.toml", "--memory", f"{least}B").code == 0
    ended = xct(capsys, "run", work / "run.toml", "--memory", f"{least - 1}B")
    assert ended.code == 2
    assert "for one task but the limit is" in ended.err
    assert not (work / "store.zarr").exists()
