"""The panels of electrochemistry in a real browser: what is drawn follows the files, parameter by parameter."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import CHROMIUM
from command import shell
from test_report_browser import _open, pixels, steady_pixels

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
F = np.logspace(5, -1, 49)


def write_files(folder: Path, *, series: float = 10, slow: float = 30, current_mA: float = 1, hours: float = 2) -> None:
    """A log, a voltammogram and four spectra whose slow arc grows."""
    folder.mkdir()
    time_s = np.arange(0, hours * 3600 + 1, 60)
    way = np.where(time_s < time_s[-1] / 2, 1, -1)
    charge = np.cumsum(way * current_mA) * 60 / 3600
    log = np.column_stack([time_s, way * current_mA, 3 + 0.1 * way + 0.05 * np.sin(time_s / 900), charge])
    np.savetxt(folder / "log.csv", log, "%.6g", ",", header="time_s,I (mA),U (V),Q (mAh)", comments="")
    w = 2j * np.pi * F
    for k in range(4):
        z = series + 20 / (1 + (w * 1e-4) ** 0.9) + slow * (1 + k / 3) / (1 + (w * 1e-2) ** 0.9)
        rows = np.column_stack([np.full(len(F), 600.0 * k), F, z.real, -z.imag])
        name = "time/s,freq/Hz,Re(Z)/Ohm,-Im(Z)/Ohm"
        np.savetxt(folder / f"eis_{k}.csv", rows, "%.8g", ",", header=name, comments="")


def keep(chart: Any, name: str) -> None:
    """Keep a picture where XCT_SCREENSHOTS names a folder."""
    if os.environ.get("XCT_SCREENSHOTS"):
        chart.screenshot(path=Path(os.environ["XCT_SCREENSHOTS"]) / f"{name.replace(' ', '_')}.png")


def look(browser: Any, folder: Path, **changed: float) -> dict[str, tuple[Any, Any]]:
    """Draw the page and return, for every chart, its numbers as the browser holds them, and its pixels."""
    write_files(folder, **changed)
    files = [folder / "log.csv", *sorted(folder.glob("eis_*.csv"))]
    ended = shell("echem", *files, "-o", folder / "echem.html")
    assert ended.code == 0, ended.err
    found = {}
    for tab, trouble in _open(browser, folder / "echem.html"):
        for chart in tab.query_selector_all(".chart"):
            name = chart.evaluate("e => e.closest('article').dataset.panel")
            numbers = chart.evaluate(
                "d => d._fullData.map(t => [t.x, t.y, t.z].map(v => v === undefined ? null : "
                "Array.from(v, r => r && r.length !== undefined && typeof r !== 'string' ? Array.from(r) : r)))"
            )
            keep(chart, f"{folder.name}_{name}")
            found[name] = (numbers, steady_pixels(tab, chart))
        assert trouble == []
    return found


@pytest.mark.slow
def test_what_is_drawn_follows_the_files(browser: Any, tmp_path: Path) -> None:
    first = look(browser, tmp_path / "first")
    assert set(first) == {"Log", "Impedance", "Relaxation times", "Cycling"}
    assert all(shown.std() > 5 for _, shown in first.values())
    same = {
        "slow": ({"slow": 45}, {"Log", "Cycling"}),
        "current": ({"current_mA": 2}, {"Impedance", "Relaxation times"}),
    }
    for name, (changed, untouched) in same.items():
        again = look(browser, tmp_path / name, **changed)
        for panel, (numbers, shown) in again.items():
            moved = numbers != first[panel][0]
            if panel in untouched:
                assert not moved, (name, panel)
            else:
                assert moved, (name, panel)
                assert shown.shape != first[panel][1].shape or np.abs(shown - first[panel][1]).max() > 30, (name, panel)
    nyquist = first["Impedance"][0]
    assert max(nyquist[0][0]) == pytest.approx(60, rel=0.03)  # series, fast and slow arc at the lowest frequency
    assert max(nyquist[9][0]) == pytest.approx(90, rel=0.03)


def test_the_page_of_a_run_draws_every_panel(browser: Any, small_series: Path) -> None:
    from xct_pipeline.report.echem import CHARTS

    for tab, trouble in _open(browser, small_series / "report.html"):
        assert trouble == []
        for name in CHARTS:
            chart = tab.query_selector(f"section#electrochemistry article[data-panel='{name}'] .chart")
            assert chart is not None, name
            assert pixels(chart).std() > 5, name
            keep(chart, f"run_{name}")
