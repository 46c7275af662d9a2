"""The benchmark runs and keeps to its accuracy; nothing here asserts a time."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


def python(*arguments, **options):
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=900, **options).stdout


@pytest.mark.slow
@pytest.mark.alone
def test_the_table_is_made_and_the_slices_are_as_exact_as_filtered_back_projection(tmp_path):
    pytest.importorskip("ducc0", reason="the exact reference needs ducc0's non-uniform FFT")
    file = tmp_path / "history.json"
    steps = [part for step in ("reconstruction", "write", "chain", "warp") for part in ("--only", step)]
    printed = python(HERE / "run.py", "--quick", "--json", file, *steps)
    rows = json.loads(file.read_text())["rows"]
    assert "| step | tool |" in printed
    ours = [row for row in rows if row["tool"] == "xct_pipeline"]
    assert {row["step"] for row in ours} >= {"reconstruction", "write zarr", "whole chain", "warp"}
    assert all("problem" not in row for row in ours), ours
    (exact,) = (row["error"] for row in rows if row["tool"] == "exact FBP")
    for row in ours:
        if row["step"] == "reconstruction":
            assert row["error"] <= 1.02 * exact
        if row["step"] == "write zarr":
            assert row["error"] == 0


@pytest.mark.slow
@pytest.mark.alone
def test_a_series_is_registered_labelled_and_mapped_within_its_memory(tmp_path):
    size, limit = 256, 1.3e9
    folder, root = tmp_path / "store.zarr", HERE.parents[1]
    python(HERE / "series_store.py", "write", folder, "--size", size, "--scans", 2, cwd=root)
    found = json.loads(
        python(
            HERE / "series_store.py",
            "run",
            folder,
            "--size",
            size,
            "--scans",
            2,
            "--memory",
            "1.3GB",
            "--workers",
            2,
            cwd=root,
        )
    )
    assert not any(found["problems"])
    for stage in ("motions", "registered", "segmentation", "variation"):
        assert found[stage]["peak"] <= limit, found
    assert max(found["error_voxel"]) < 0.05


def test_the_benchmark_of_a_device_says_why_it_has_not_run():
    from xct_pipeline.device import cuda_problem

    problem = cuda_problem()
    if problem is not None:
        assert python(HERE / "gpu.py").strip() == f"not run: {problem}"
