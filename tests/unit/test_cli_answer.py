"""The answer at the end of a run, and how far one is: from tables and plans, without computing anything."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xct_pipeline.cli import answer
from xct_pipeline.cli.answer import duration, grouped, print_answer, with_error
from xct_pipeline.cli.progress import Course
from xct_pipeline.engine.resources import Need, Resources
from xct_pipeline.engine.steps import Estimate, Stage, Steps
from xct_pipeline.variation import budget
from xct_pipeline.variation.steps.told import TERMS

LIMITS = Resources(workers=2, memory=8 * 2**30)


def plan_of(costs: list[list[float]]) -> Any:
    """Return stages of estimates that cost so many CPU-seconds."""
    stages = tuple(
        Stage(
            f"stage{k}", tuple(Estimate(f"s{k}.{j}", 1, Need(f"s{k}.{j}", 1, 0, cpu_s=cpu)) for j, cpu in enumerate(c))
        )
        for k, c in enumerate(costs)
    )
    return SimpleNamespace(stages=stages, limits=LIMITS, steps=tuple(s for stage in stages for s in stage.steps))


@given(st.lists(st.lists(st.floats(0, 1e6), min_size=1, max_size=3), min_size=1, max_size=4))
def test_a_run_goes_from_nothing_to_all_of_it(costs: list[list[float]]) -> None:
    plan = plan_of(costs)
    shares: list[float] = []
    course = Course(plan, lambda course: shares.append(course.done / course.total))
    steps = Steps(plan.steps, course.step)
    for k, step in enumerate(plan.steps):
        bound = steps.bind(step)
        assert course.sentence().startswith(f"{[s.stage for s in plan.stages].index(_stage(plan, step)) + 1}/")
        steps.note(bound, "executed" if k % 2 else "reused")
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert math.isclose(shares[-1], 1)


def _stage(plan: Any, step: Any) -> str:
    return next(stage.stage for stage in plan.stages if step in stage.steps)


def test_shards_and_kernels_are_told() -> None:
    plan = plan_of([[4.0], [4.0]])
    course = Course(plan, lambda course: None)
    assert course.sentence() == "starting"
    course.compiles("slide")
    assert course.sentence() == "compiling slide"
    course.step("s1.0", None)
    assert course.sentence() == "2/2 stage1: compiling slide"
    course.compiles(None)
    course(SimpleNamespace(name="s1.0"), 3, 12)  # type: ignore[arg-type]
    assert course.sentence() == "2/2 stage1: 3/12 s1.0"
    assert math.isclose(course.done, course.total / 8)


@pytest.mark.parametrize(
    ("value", "sigma", "text"),
    [
        (None, None, "-"),
        (1.23456, None, "1.235"),
        (-0.00132498, 0.000170, "-0.00132 +- 0.00017"),
        (32.98758, 0.0138, "32.988 +- 0.014"),
        (1234.5, 250.0, "1234 +- 250"),
        (0.0, 0.0, "0"),
    ],
)
def test_a_value_has_two_digits_of_its_error(value: float | None, sigma: float | None, text: str) -> None:
    assert with_error(value, sigma) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (3720, "1 h 02 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("mass", "text"),
    [
        (-0.02, "error of s2: 5.4 % of its change, from faces 5 %, counting noise 2 %"),
        (0.001, "error of s2: 0.0011 mg, from faces 0.001 mg, counting noise 0.0004 mg"),
    ],
)
def test_what_an_error_comes_from_is_told(mass: float, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    parts = {"sigma_rings_mg": 1e-6, "sigma_noise_mg": 0.0004, "sigma_faces_mg": 0.001, "sigma_closure_mg": math.nan}
    row = {"scan": ["s1", "s2"], "mass_change_mg": mass, "sigma_mg": math.hypot(0.0004, 0.001)}
    table = pd.DataFrame({**row, **parts, "sigma_energy_mg": 0.0})
    found = answer._error({"mass_balance": table}, ["s1", "s2"])
    assert found is not None
    assert found["parts_mg"] == {"faces": 0.001, "counting noise": 0.0004, "rings": 1e-6}
    print_answer(
        {"species": None, "slope": None, "reference": None, "length": None, "scans": [], "warnings": []}
        | {"error": found}
    )
    assert capsys.readouterr().out.strip() == text
    assert answer._error({"mass_balance": table.assign(sigma_mg=math.nan)}, ["s1"]) is None
    assert answer._error({}, ["s1"]) is None


def test_every_part_of_an_error_has_a_name() -> None:
    assert list(TERMS) == [f"sigma_{term}_mg" for term in budget.TERMS]


def test_a_warning_is_told_once_with_its_scans(capsys: pytest.CaptureFixture[str]) -> None:
    found = grouped([(f"s{k}", "few flats") for k in range(5)] + [("s0", "few flats"), ("", "no charge")])
    assert found == [("few flats", ["s0", "s1", "s2", "s3", "s4"]), ("no charge", [])]
    scan = dict.fromkeys(("mass_change_mg", "mass_change_sigma_mg", "faraday_mg", "center_sigma", "shift", "turn_deg"))
    print_answer(
        {
            "species": None,
            "slope": None,
            "length": None,
            "reference": "s0",
            "error": None,
            "scans": [{"name": "[/b]\x1b[31m", "problem": "no\x1b[31m light", "center": 40.5, **scan}],
            "warnings": [{"text": text, "scans": scans} for text, scans in found],
        }
    )
    out = capsys.readouterr().out
    assert "s0, s1 and 3 more scans: few flats" in out
    assert "2 warnings:" in out
    assert "\x1b" not in out
    assert "[/b]" in out


def test_a_warning_that_went_by_on_the_terminal_is_only_counted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer, "said_before", lambda text: text == "few flats")
    told = [{"text": text, "scans": ["s0"]} for text in ("few flats", "no charge")]
    empty = {"species": None, "slope": None, "length": None, "reference": None, "error": None, "scans": []}
    print_answer({**empty, "warnings": told})
    out = capsys.readouterr().out
    assert "1 warning above, kept in run.log" in out
    assert "1 more warning:\n  s0: no charge" in out
    assert "few flats" not in out


ANSWERS = """
import sys
from xct_pipeline.cli.answer import answer_of, print_answer
from xct_pipeline.store.series import Series

print_answer(answer_of(Series.open(sys.argv[1])))
print(sorted({"xarray", "dask.array", "pint", "matplotlib"} & set(sys.modules)))
"""


def test_an_answer_opens_no_arrays_of_dask(small_series: Path) -> None:
    """It needs the shape of a volume, and a third of a second went into loading what it was opened with."""
    ended = subprocess.run(
        [sys.executable, "-c", ANSWERS, small_series], capture_output=True, text=True, timeout=120, check=True
    )
    assert "motion, um" in ended.stdout
    assert ended.stdout.splitlines()[-1] == "[]"
