"""What is submitted to SLURM, by stand-ins for its commands: scripts, limits, refusals, and going on."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from command import xct
from imitated_slurm import Imitated, imitate
from test_watch import kept, tiny

from xct_pipeline.store.store import Store


@pytest.fixture
def slurm(tmp_path, monkeypatch) -> Imitated:
    return imitate(tmp_path / "commands", monkeypatch)


def option(arguments: list[str], name: str) -> str | None:
    return next((word.split("=", 1)[1] for word in arguments if word.startswith(f"--{name}=")), None)


def words(script: str, scan: str = "") -> list[str]:
    """Return the arguments of the command in a script."""
    return shlex.split(script.splitlines()[-1].replace("${scans[$SLURM_ARRAY_TASK_ID]}", scan))[2:]


def run_script(script: str, **variables: str) -> int:
    """Run a script as SLURM does."""
    return subprocess.run(["bash", "-c", script], env={**os.environ, **variables}, capture_output=True).returncode


@pytest.mark.slow
def test_submitted_jobs_make_what_a_run_makes(capsys, tmp_path, slurm):
    config, store = tiny(tmp_path, 0, 1), tmp_path / "store.zarr"
    ended = xct(capsys, "submit", config, "--partition", "short", "--account", "a1", "--sbatch", "--qos=x --nice=5")
    assert ended.code == 0, ended.err
    assert "job 101: 2 scans" in ended.out
    (scans, first), (series, second) = slurm.calls
    assert not store.exists()
    for arguments in (scans, series):
        assert {"--parsable", "--partition=short", "--account=a1", "--qos=x", "--nice=5"} <= set(arguments)
        assert option(arguments, "output").startswith(f"{tmp_path}/store.zarr.slurm/%")
    assert (option(scans, "array"), option(series, "array")) == ("0-1", None)
    assert (option(scans, "dependency"), option(series, "dependency")) == (None, "afterany:101")
    assert {f.name for f in (tmp_path / "store.zarr.slurm").iterdir()} == {
        *("scans.sh", "series.sh", "submission.json", "lock")
    }
    assert run_script(first, SLURM_ARRAY_TASK_ID="0", SLURM_JOB_ID="103") == 0
    assert xct(capsys, *words(first, "s1")).code == 0
    assert not (store / "tables").exists()
    assert xct(capsys, *words(second)).code == 0
    submitted = kept(store)
    again = xct(capsys, "submit", config)
    assert (again.code, again.out) == (0, f"nothing is to be done: {store} is finished\n")
    assert len(slurm.calls) == 2
    store.rename(tmp_path / "submitted.zarr")
    assert xct(capsys, "run", config).code == 0
    assert kept(store) == submitted


def test_limits_are_those_of_the_forecast_with_a_margin(capsys, tmp_path, slurm):
    config = tiny(tmp_path, 0, 1)
    steps = xct(capsys, "check", config, "--workers", 2, "--json").json["stages"][0]["steps"]
    memory = max(step["memory_predicted"] for step in steps)
    assert xct(capsys, "submit", config, "--workers", 2, "--memory-margin", 1.5, "--time-margin", 10).code == 0
    (arguments, script), _ = slurm.calls
    limit = int(re.search(r"--memory (\d+)B", script)[1])
    assert limit <= memory  # of all scans together
    assert int(option(arguments, "mem").removesuffix("M")) * 2**20 >= 1.5 * limit
    assert option(arguments, "time") == "0:21:00"  # ten times the start of a process, and next to nothing
    assert int(option(arguments, "cpus-per-task")) <= 2


def test_what_is_finished_is_not_submitted_again(capsys, tmp_path, slurm):
    config = tiny(tmp_path, 0, 1, 2)
    assert xct(capsys, "run", config, "--scan", "s1").code == 0
    assert xct(capsys, "submit", config).code == 0
    assert slurm.calls[0][1].count("  s") == 2
    assert "s1" not in slurm.calls[0][1]
    for name in ("s0", "s2"):
        assert xct(capsys, "run", config, "--scan", name).code == 0
    ended = xct(capsys, "submit", config)  # the series alone, after nothing
    assert ended.code == 0
    assert [option(arguments, "dependency") for arguments, _ in slurm.calls] == [None, "afterany:101", None]
    assert "--reconstructed" in slurm.calls[2][1]


def test_dry_run_shows_both_and_writes_nothing(capsys, tmp_path, monkeypatch):
    config = tiny(tmp_path, 0)
    monkeypatch.setenv("PATH", str(tmp_path))
    ended = xct(capsys, "submit", config, "--dry-run", "--partition", "p q")
    assert ended.code == 0, ended.err
    commands = [shlex.split(line) for line in ended.out.splitlines() if line.startswith("sbatch")]
    assert ["--partition=p q" in command for command in commands] == [True, True]
    assert commands[1][-2] == "--dependency=afterany:JOB_OF_THE_SCANS"
    assert "--scan" in ended.out
    assert not list(tmp_path.glob("store.zarr*"))


def test_refusals_are_one_line_and_leave_nothing(capsys, tmp_path, slurm, monkeypatch):
    config = tiny(tmp_path, 0, 1)

    def refused(code: int, *command: object) -> str:
        ended = xct(capsys, "submit", config, *command)
        assert (ended.code, len(ended.err.splitlines()), ended.out) == (code, 1, ""), ended.err
        assert not (tmp_path / "store.zarr").exists()
        return ended.err

    slurm.refuse("--array")
    told = refused(1, "--partition", "none")
    assert told == "xct: sbatch: invalid partition specified: none; Batch job submission failed: Invalid\n"
    slurm.refuse("series.sh")  # after the array was taken
    assert "xct: sbatch: invalid partition" in refused(1)
    assert (slurm.folder / "cancelled").read_text() == "101"
    assert "--sbatch 'x: No closing quotation" in refused(1, "--sbatch", "'x")
    assert not (tmp_path / "store.zarr.slurm").exists()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "there is no sbatch here; submit from a login node" in refused(1)


def test_a_second_submission_waits_for_the_first(capsys, tmp_path, slurm):
    config = tiny(tmp_path, 0, 1)
    assert xct(capsys, "submit", config).code == 0
    slurm.answer(job_101_0="RUNNING", job_101_1="FAILED", job_102="PENDING")
    ended = xct(capsys, "submit", config)
    assert (ended.code, len(ended.err.splitlines())) == (2, 1)
    assert "these jobs have not ended: 101_0, 102;" in ended.err
    slurm.answer()
    with Store(tmp_path / "store.zarr").lock("s0"):
        ended = xct(capsys, "submit", config)
    assert (ended.code, "is in use by process" in ended.err) == (2, True)
    slurm.answer(job_101_0="CANCELLED", job_101_1="OUT_OF_MEMORY")
    assert xct(capsys, "submit", config).code == 0
    assert len(slurm.calls) == 4
    file = tmp_path / "store.zarr.slurm" / "submission.json"
    for ruined in (b"{", b"[]", json.dumps({**json.loads(file.read_text()), "series": "1; x"}).encode()):
        file.write_bytes(ruined)
        assert xct(capsys, "submit", config).code == 0


def jobs(capsys, store: Path) -> tuple[str, dict[str, str]]:
    """Return the state of a store and those of its jobs."""
    ended = xct(capsys, "status", store, "--json")
    assert ended.code == 0, ended.err
    return ended.json["state"], {job["what"]: job["state"] for job in ended.json["jobs"]}


def test_status_tells_the_jobs(capsys, tmp_path, slurm, monkeypatch):
    config, store = tiny(tmp_path, 0, 1, 2), tmp_path / "store.zarr"
    assert xct(capsys, "submit", config).code == 0
    slurm.answer(job_101_0="PENDING", job_101_1="PENDING", job_101_2="PENDING", job_102="PENDING")
    waiting = dict.fromkeys(("s0", "s1", "s2", "the series"), "waiting")
    assert jobs(capsys, store) == ("submitted", waiting)
    assert not store.exists()
    with Store(store).lock("s1"):
        slurm.answer(job_101_0="RUNNING", job_101_2="CANCELLED", job_102="PENDING")
        assert jobs(capsys, store) == ("submitted", {**waiting, "s0": "running", "s1": "running", "s2": "failed"})
        ended = xct(capsys, "status", store)
        assert f"{store} is submitted to SLURM: 2 running, 1 waiting, 1 failed" in ended.out
        assert "expected end" in ended.out
        assert f"failed: SLURM says cancelled; see {store}.slurm/101_2.log" in ended.out.replace("\n", "")
    for name in ("s0", "s1"):
        assert xct(capsys, "run", config, "--scan", name).code == 0
    slurm.answer(job_102="RUNNING")
    assert jobs(capsys, store) == ("submitted", {"s0": "done", "s1": "done", "s2": "failed", "the series": "running"})
    assert xct(capsys, "run", config, "--reconstructed").code == 3
    slurm.answer()
    told = {"s0": "done", "s1": "done", "s2": "failed", "the series": "done"}
    assert jobs(capsys, store) == ("incomplete", told)
    assert xct(capsys, "submit", config).code == 0
    monkeypatch.setenv("PATH", str(tmp_path))  # elsewhere, without SLURM
    assert jobs(capsys, store) == ("incomplete", {"s2": "unknown", "the series": "unknown"})
    assert xct(capsys, "run", config).code == 0
    assert jobs(capsys, store) == ("finished", {})
