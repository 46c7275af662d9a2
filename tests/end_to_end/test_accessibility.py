"""axe-core finds nothing serious on the pages that are written: the report, that of electrochemistry, the docs' first.

axe-core is not part of the repository: it is taken from the file that XCT_AXE names, from npm's global packages, or
fetched by npm for the length of the test; where none of that is to be had, the tests skip.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from chromium import CHROMIUM
from report_store import write_store
from test_echem_browser import write_files
from test_report_browser import _open

from xct_pipeline.report import write_report

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")]
INSIDE = Path("axe-core") / "axe.min.js"


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if os.environ.get("XCT_AXE"):
        return Path(os.environ["XCT_AXE"])
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("there is no npm, and XCT_AXE names no axe.min.js")
    found = subprocess.run([npm, "root", "-g"], capture_output=True, text=True, check=False).stdout.strip()
    if found and (Path(found) / INSIDE).exists():
        return Path(found) / INSIDE
    folder = tmp_path_factory.mktemp("npm")
    command = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder), "axe-core"]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    except subprocess.TimeoutExpired:
        pytest.skip("npm did not fetch axe-core within two minutes")
    if ended.returncode or not (folder / "node_modules" / INSIDE).exists():
        pytest.skip(f"npm cannot fetch axe-core: {(ended.stderr.strip() or 'no reason given').splitlines()[-1]}")
    return folder / "node_modules" / INSIDE


def serious(browser: Any, axe: Path, file: Path, width: int) -> list[str]:
    """Return the serious and critical findings on a page."""
    found: list[str] = []
    for tab, _ in _open(browser, file, width):
        tab.add_script_tag(path=str(axe))
        for finding in tab.evaluate("axe.run(document, {resultTypes: ['violations']}).then((r) => r.violations)"):
            if finding["impact"] in ("serious", "critical"):
                found += [f"{finding['id']}: {node['html'][:120]}" for node in finding["nodes"]]
    return found


@pytest.mark.parametrize("width", [400, 1400])
def test_the_report(browser: Any, axe: Path, tmp_path: Path, width: int) -> None:
    file = write_report(write_store(tmp_path / "sample.zarr").path)
    assert serious(browser, axe, file, width) == []


def test_the_report_of_a_run(browser: Any, axe: Path, small_series: Path) -> None:
    assert serious(browser, axe, small_series / "report.html", 1400) == []


def test_the_page_of_electrochemistry(browser: Any, axe: Path, tmp_path: Path) -> None:
    from command import shell

    write_files(tmp_path / "cell")
    files = [tmp_path / "cell" / "log.csv", *sorted((tmp_path / "cell").glob("eis_*.csv"))]
    assert shell("echem", *files, "-o", tmp_path / "echem.html").code == 0
    assert serious(browser, axe, tmp_path / "echem.html", 400) == []


@pytest.mark.parametrize("width", [400, 1400])
def test_the_first_page_of_the_docs(browser: Any, axe: Path, site: Path, width: int) -> None:
    assert serious(browser, axe, site / "index.html", width) == []
