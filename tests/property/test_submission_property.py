"""Submissions: whatever lies in their file, and whatever a scan, a margin and a number of cores may be."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import asdict
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xct_pipeline.cli.submit import script_of_scans
from xct_pipeline.engine.resources import Need, Resources
from xct_pipeline.engine.slurm import Submission, read_submission, write_submission
from xct_pipeline.names import fitting_name
from xct_pipeline.planning.jobs import START_S, job_of

SOUND = asdict(Submission("2026-01-01T00:00:00+00:00", ["a", "b"], "12", "13", 60.0, 90.0))
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
ANYTHING = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
quick = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


@quick
@given(key=st.sampled_from([*SOUND, "more"]), value=ANYTHING)
def test_a_damaged_submission_is_none(tmp_path: Path, key: str, value: object) -> None:
    (tmp_path / "submission.json").write_text(json.dumps({**SOUND, key: value}))
    found = read_submission(tmp_path)
    if found is not None:  # as sound as the one that was changed
        assert all(re.fullmatch("[0-9]+", job) for job in found.jobs)
        assert [found.element(scan) for scan in found.scans]
        write_submission(tmp_path, found)
        assert read_submission(tmp_path) == found


@settings(deadline=None, max_examples=25)
@given(texts=st.lists(st.text(max_size=30), min_size=1, max_size=4))
def test_an_element_takes_its_scan_whatever_it_is_called(texts: list[str]) -> None:
    names = [fitting_name(text) for text in texts]
    script = script_of_scans(names, ["printf", "%s\n"])
    for k in (0, len(names) - 1):
        ended = subprocess.run(
            ["bash", "-c", script], capture_output=True, env={**os.environ, "SLURM_ARRAY_TASK_ID": str(k)}
        )
        assert ended.stdout.decode() == f"--scan\n{names[k]}\n"


NEEDS = st.builds(
    Need,
    st.just("step"),
    tasks=st.integers(0, 400),
    task_bytes=st.integers(0, 2**36),
    held_bytes=st.integers(0, 2**34),
    alone=st.booleans(),
    cpu_s=st.floats(0, 1e6),
    beside=st.integers(0, 50),
)


@quick
@given(needs=st.lists(NEEDS, max_size=6), cores=st.integers(1, 128))
def test_a_job_has_room_for_what_its_run_plans_within_its_limits(needs: list[Need], cores: int) -> None:
    job = job_of(needs, Resources(cores, 4 * 10**18))
    limits = Resources(job.cores, job.memory)
    assert job.cores <= cores
    for need in needs:
        assert need.peak_bytes(limits) <= job.memory  # and it is not refused
        assert need.workers(limits) == need.workers(Resources(cores, 4 * 10**18))
    assert job.seconds >= START_S
