"""The commands and snippets of the docs' tutorials run as they are written, one page after its own beginning."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from command import executable

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = sorted((DOCS / "tutorials").glob("*.md"))
NAMES = [page.stem for page in PAGES]
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def script(page: Path) -> str:
    """Return all blocks of a page as one shell script that ends with the first failure."""
    parts = ["set -euo pipefail"]
    for kind, text in BLOCK.findall(page.read_text()):
        parts.append(text if kind == "sh" else f"python - <<'PYTHON'\n{text}PYTHON\n")
    return "\n".join(parts)


def test_every_block_that_looks_like_a_command_is_one_that_runs() -> None:
    for page in PAGES:
        kinds = set(re.findall(r"^```(\S+)$", page.read_text(), re.MULTILINE))
        assert kinds <= {"sh", "python"}, page.name
        assert BLOCK.search(page.read_text()), page.name


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_runs_as_written(page: Path, tmp_path: Path) -> None:
    beside = [str(Path(executable()[0]).parent), str(Path(sys.executable).parent)]
    done = subprocess.run(
        ["bash", "-c", script(page)],
        cwd=tmp_path,
        env={**os.environ, "PATH": os.pathsep.join([*beside, os.environ["PATH"]])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    if page.stem == "battery_cell":
        assert (tmp_path / "cell/figure.png").stat().st_size > 10_000
        assert "standard errors" in done.stdout
