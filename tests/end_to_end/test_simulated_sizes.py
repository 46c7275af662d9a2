"""The simulator's own configuration works at every size that the command takes."""

from __future__ import annotations

import os

import pytest
from command import shell
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st


@pytest.mark.slow
@pytest.mark.timeout(3600)
@settings(max_examples=3 if "XCT_SOAK" in os.environ else 1, deadline=None, suppress_health_check=list(HealthCheck))
@given(width=st.integers(64, 200), rows=st.integers(32, 128), scans=st.integers(2, 3), angles=st.none())
@example(width=96, rows=48, scans=2, angles=None)
@example(width=64, rows=32, scans=2, angles=24)
def test_every_size_runs(
    tmp_path_factory: pytest.TempPathFactory, width: int, rows: int, scans: int, angles: int | None
) -> None:
    folder = tmp_path_factory.mktemp("cell") / "cell"
    options = ("--width", width, "--rows", rows, "--scans", scans, *(("--angles", angles) if angles else ()))
    made = shell("simulate", folder, *options)
    assert made.code == 0, made.err
    ended = shell("run", folder / "run.toml", "--json", timeout=900)
    assert ended.code == 0, ended.err
    answer = ended.json["answer"]
    assert [scan["problem"] for scan in answer["scans"]] == [None] * scans
    assert answer["scans"][-1]["mass_change_mg"] < 0


@pytest.mark.parametrize(("option", "value"), [("--width", 63), ("--rows", 31), ("--angles", 23), ("--scans", 0)])
def test_smaller_ones_are_refused_with_the_bound(tmp_path, option: str, value: int) -> None:
    ended = shell("simulate", tmp_path / "cell", option, value)
    assert ended.code != 0
    assert str(value + 1) in ended.err
    assert not (tmp_path / "cell").exists()
