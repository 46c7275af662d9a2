"""What the tests of this folder share: one small simulated series without its truth, and a browser."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import CHROMIUM, FLAGS
from command import shell, write_config

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A running Chromium; tests that want it skip by themselves where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of the docs: the one that XCT_SITE names, else built here where Sphinx is installed."""
    if os.environ.get("XCT_SITE"):
        return Path(os.environ["XCT_SITE"])
    missing = [name for name in ("sphinx", "furo", "myst_parser") if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"XCT_SITE names no site, and it cannot be built: no {', '.join(missing)}")
    from filelock import FileLock

    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / "site"
    with FileLock(shared / "site.lock"):
        if not (folder / "index.html").exists():
            command = [sys.executable, "-m", "sphinx", "-q", "-b", "html", str(DOCS), str(folder)]
            ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=400)
            assert ended.returncode == 0, ended.stderr
    return folder


@pytest.fixture(scope="session")
def series(tmp_path_factory) -> Path:
    """Two raw scans and a configuration; the truth is deleted, so that nothing can read it."""
    folder = tmp_path_factory.mktemp("series")
    ended = shell("simulate", folder / "cell", "--width", 96, "--rows", 48, "--scans", 2, "--angles", 61, cwd=folder)
    assert ended.code == 0, ended.err
    shutil.rmtree(folder / "cell" / "truth")
    return folder / "cell"


@pytest.fixture(scope="session")
def finished(series, tmp_path_factory) -> Path:
    """A folder with the configuration of the README, run to its end once; not to be changed."""
    folder = tmp_path_factory.mktemp("finished")
    link_scans(series, folder)
    ended = shell("run", write_config(folder))
    assert ended.code == 0, ended.err
    return folder


@pytest.fixture
def work(series, tmp_path) -> Path:
    """A folder of its own with the raw scans and a configuration."""
    link_scans(series, tmp_path)
    write_config(tmp_path)
    return tmp_path


@pytest.fixture
def done(finished, tmp_path) -> Path:
    """A copy of the finished folder, its raw scans linked: nothing is left to compute."""
    shutil.copytree(finished, tmp_path / "done", copy_function=_link_or_copy)
    return tmp_path / "done"


def link_scans(series: Path, folder: Path) -> None:
    """Hard-link the raw scans: their size and time stay what they are."""
    for file in series.glob("*.nxs"):
        os.link(file, folder / file.name)


def _link_or_copy(source: str, target: str) -> None:
    if source.endswith(".nxs"):
        os.link(source, target)
    else:
        shutil.copy2(source, target)
