"""What runs on a CUDA device, run where there is none: on an imitation of CuPy that is stricter than CuPy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import xct_pipeline

ROOT = Path(__file__).resolve().parents[2]
GPU = ROOT / "tests" / "gpu"
SOURCES = sorted(Path(xct_pipeline.__file__).parent.rglob("*.cu"))

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ to compile raw kernels with")


def run_on_imitation(*selection: str) -> None:
    """Run tests of tests/gpu with the imitation in CuPy's place; raw kernels are compiled as C++."""
    path = os.pathsep.join([str(GPU / "imitation"), str(GPU)])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *selection],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert "skipped" not in done.stdout.splitlines()[-1], done.stdout[-1000:]


@pytest.mark.slow
@needs_compiler
def test_kernels_and_runs_give_on_a_device_what_they_give_on_the_host() -> None:
    run_on_imitation(str(GPU))


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc to compile CUDA sources with")
@pytest.mark.parametrize("source", SOURCES, ids=lambda file: file.name)
def test_cuda_sources_compile(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "kernel.ptx"
    done = subprocess.run(
        ["nvcc", "-ptx", "-arch=compute_75", "-Werror", "all-warnings", str(source), "-o", str(target)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert ".entry gather" in target.read_text()


def test_there_are_cuda_sources() -> None:
    assert [file.name for file in SOURCES] == ["gridding.cu"]
