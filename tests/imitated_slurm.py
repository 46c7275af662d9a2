"""Stand-ins for the commands of SLURM, which write down what they are told and answer what a test puts there."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

SBATCH = """#!{python}
import json, pathlib, sys
here = pathlib.Path({folder!r})
if (here / "refuse").exists() and (here / "refuse").read_text() in " ".join(sys.argv):
    sys.exit("sbatch: error: invalid partition specified: none\\nsbatch: error: Batch job submission failed: Invalid")
calls = json.loads((here / "calls.json").read_text())
script = pathlib.Path(sys.argv[-1])
calls.append([sys.argv[1:], script.read_text()])
(here / "calls.json").write_text(json.dumps(calls))
print(100 + len(calls))
"""
SQUEUE = """#!{python}
import pathlib, sys
here = pathlib.Path({folder!r})
states = (here / "states").read_text()
if not states:
    sys.exit("slurm_load_jobs error: Invalid job id specified")
print(states)
"""
SCANCEL = """#!{python}
import pathlib, sys
(pathlib.Path({folder!r}) / "cancelled").write_text(sys.argv[1])
"""


@dataclass(frozen=True)
class Imitated:
    """The stand-ins, in a folder that comes first on PATH."""

    folder: Path

    @property
    def calls(self) -> list[tuple[list[str], str]]:
        """Arguments and script of every submission."""
        return [(arguments, script) for arguments, script in json.loads((self.folder / "calls.json").read_text())]

    def answer(self, **states: str) -> None:
        """Let squeue know these jobs, job_101_0="RUNNING"."""
        lines = (f"{job.removeprefix('job_')}|{state}" for job, state in states.items())
        (self.folder / "states").write_text("\n".join(lines))

    def refuse(self, word: str) -> None:
        """Let sbatch refuse whatever has a word among its arguments."""
        (self.folder / "refuse").write_text(word)


def imitate(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Imitated:
    """Put the stand-ins on PATH."""
    folder.mkdir()
    for name, text in (("sbatch", SBATCH), ("squeue", SQUEUE), ("scancel", SCANCEL)):
        file = folder / name
        file.write_text(text.format(python=sys.executable, folder=str(folder)))
        file.chmod(0o755)
    (folder / "calls.json").write_text("[]")
    (folder / "states").write_text("")
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return Imitated(folder)
