"""A run on a SLURM cluster of three nodes, of which one dies; one job is cancelled, one has too little memory."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import time
from pathlib import Path

import psutil
import pytest
from command import Ended, shell
from slurm import Slurm, cluster, missing
from test_scans_apart import state
from test_watch import kept

from xct_pipeline.store.holder import leases_of

LONGEST_S = 400.0


class Peaks(dict[str, int]):
    """The most memory in bytes that a process of a scan, or of the series, has taken so far."""

    def look(self, config: Path) -> None:
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or []
            if str(config) in words and "run" in words:
                with contextlib.suppress(OSError):
                    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())
                    kind = "scan" if "--scan" in words else "series"
                    self[kind] = max(self.get(kind, 0), 1024 * int(found[1]) if found else 0)


def wait(happened, what: str, config: Path, peaks: Peaks) -> None:
    limit = time.monotonic() + LONGEST_S
    while not happened():
        assert time.monotonic() < limit, what
        peaks.look(config)
        time.sleep(0.2)


def asked(printed: str) -> dict[str, int]:
    """Return the memory in bytes that a submission asks for."""
    commands = [shlex.split(line) for line in printed.splitlines() if line.startswith("sbatch")]
    found = [next(w for w in words if w.startswith("--mem=")) for words in commands]
    return {kind: 2**20 * int(word[6:-1]) for kind, word in zip(("scan", "series"), found, strict=True)}


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    problem = missing()
    if problem:
        pytest.skip(problem)
    with cluster(tmp_path_factory.mktemp("slurm") / "c") as found:
        yield found


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_submitted_again_ends_as_a_run(slurm: Slurm, tmp_path: Path) -> None:
    folder, plain = tmp_path / "cell", tmp_path / "plain"
    made = shell("simulate", folder, "--width", 64, "--rows", 32, "--scans", 6, "--angles", 61)
    assert made.code == 0, made.err
    shutil.copytree(folder, plain, copy_function=os.link)
    assert shell("run", plain / "run.toml", "--workers", 1, timeout=600).code == 0
    config, store, peaks = folder / "run.toml", folder / "store.zarr", Peaks()

    def xct(*command: object) -> Ended:
        return shell(*command, env=slurm.env)

    def ended(job: str) -> bool:
        return slurm.states(job).get(job, ("COMPLETED", ""))[0] not in ("PENDING", "RUNNING", "COMPLETING")

    def stopped() -> bool:
        """Stop the runs of two scans midway, so that what is done to them comes in time."""
        leases = [lease for lease in leases_of(store) if lease.held and lease.scan in ("scan_01", "scan_02")]
        for lease in leases:
            os.kill(lease.pid, signal.SIGSTOP)
        return len(leases) == 2

    printed = xct("submit", config, "--workers", 1, "--dry-run")
    first = xct("submit", config, "--workers", 1, "--sbatch", "--hold --no-requeue")
    assert first.code == 0, first.err
    array, series = re.findall(r"^job (\d+):", first.out, flags=re.MULTILINE)
    slurm.ask("scontrol", "update", f"jobid={array}_4", "MinMemoryNode=150")
    for job in (array, series):
        slurm.ask("scontrol", "release", job)
    wait(stopped, "nothing began", config, peaks)
    again = xct("submit", config)
    assert (again.code, f"{array}_1, {array}_2" in again.err) == (2, True), again.err
    told = shell("status", store, "--json", env=slurm.env).json
    assert told["state"] == "submitted"
    assert "running" in {job["state"] for job in told["jobs"]}
    node = slurm.states(array)[f"{array}_2"][1]
    slurm.kill_node(node)
    slurm.ask("scancel", f"{array}_1")
    wait(lambda: ended(series), "the series has not ended", config, peaks)
    told = shell("status", store, "--json", env=slurm.env).json
    failed = {job["what"]: job["problem"] for job in told["jobs"] if job["state"] == "failed"}
    assert set(failed) == {"scan_01", "scan_02", "scan_04"}
    assert told["state"] == "incomplete"
    assert not peaks["scan"] > asked(printed.out)["scan"]
    slurm.start_node(node)
    second = xct("submit", config, "--workers", 1)
    assert second.code == 0, second.err
    array, series = re.findall(r"^job (\d+):", second.out, flags=re.MULTILINE)
    assert "3 scans" in second.out
    wait(lambda: ended(series), "the series has not ended again", config, peaks)
    told = shell("status", store, "--json", env=slurm.env).json
    assert (told["state"], told["jobs"]) == ("finished", []), told
    assert kept(store) == kept(plain / "store.zarr")
    assert state(store) == state(plain / "store.zarr")
    need = asked(printed.out)
    assert {kind: (peak, need[kind]) for kind, peak in peaks.items() if peak > need[kind]} == {}
    assert set(peaks) == {"scan", "series"}
    assert "nothing is to be done" in xct("submit", config).out
    print({kind: f"{peak / need[kind]:.2f} of what was asked for" for kind, peak in peaks.items()})
