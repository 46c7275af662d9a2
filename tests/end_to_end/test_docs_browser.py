"""The first page of the docs' site in a real browser: words, contents, picture; no errors, no network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import CHROMIUM
from test_report_browser import _open, steady_pixels

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")]
INDEX = (Path(__file__).resolve().parents[2] / "docs" / "index.md").read_text()
CAPTIONS = re.findall(r"^:caption: (.+)$", INDEX, re.MULTILINE)
PAGES = [
    page
    for block in re.findall(r"```{toctree}\n:caption: .*?```", INDEX, re.DOTALL)
    for page in re.findall(r"^[a-z][\w/]+$", block, re.MULTILINE)
]


@pytest.fixture(scope="module", params=[400, 800, 1400])
def page(request: pytest.FixtureRequest, browser: Any, site: Path) -> Iterator[tuple[Any, list[str], int]]:
    for tab, trouble in _open(browser, site / "index.html", request.param):
        yield tab, trouble, request.param


def test_no_errors_no_network_and_nothing_beyond_the_edge(page: tuple[Any, list[str], int]) -> None:
    tab, trouble, width = page
    assert trouble == []
    assert tab.evaluate("document.scrollingElement.scrollWidth") <= width
    beyond = "[...document.querySelectorAll('article *')].filter((e) => e.getBoundingClientRect().right > innerWidth)"
    assert tab.evaluate(f"{beyond}.map((e) => e.outerHTML.slice(0, 80))") == []


def test_words_and_contents_are_those_of_the_source(page: tuple[Any, list[str], int]) -> None:
    tab, _, width = page
    assert "".join(tab.locator("h1").all_inner_texts()).strip("# ") == "xct_pipeline"
    assert INDEX.split("\n\n")[1] in tab.locator("article").inner_text()
    assert tab.locator(".sidebar-tree .caption").all_text_contents() == CAPTIONS
    links = tab.locator(".sidebar-tree a")
    targets = [link.get_attribute("href") for link in links.all()]
    assert len(PAGES) > 25
    assert [target for page in PAGES if (target := f"{page}.html") not in targets] == []
    first = links.first
    if width < 1000:  # the contents come in from the left
        assert first.bounding_box()["x"] < 0
        tab.locator(".mobile-header label[for='__navigation']").click()
        tab.wait_for_function("document.querySelector('.sidebar-tree a').getBoundingClientRect().left >= 0")
        tab.locator(".sidebar-overlay, label.overlay").first.click(position={"x": width - 20, "y": 400})
    else:
        assert first.bounding_box()["x"] >= 0


def test_links_of_the_page_lead_to_pages(page: tuple[Any, list[str], int], site: Path) -> None:
    tab, _, _ = page
    targets = tab.evaluate("[...document.querySelectorAll('article a')].map((a) => a.getAttribute('href'))")
    inside = [target.split("#")[0] for target in targets if "://" not in target and not target.startswith("#")]
    assert len(inside) > 8
    assert [target for target in inside if not (site / target).is_file()] == []


def test_the_picture_shows_the_cell_and_its_losses(page: tuple[Any, list[str], int]) -> None:
    """Blue losses in a share of the picture, a few red gains, grey reference and panels on white."""
    tab, _, width = page
    picture = tab.locator("article img").first
    natural = picture.evaluate("(e) => [e.complete, e.naturalWidth, e.naturalHeight]")
    assert natural[0]
    assert min(natural[1:]) > 500
    shown = picture.bounding_box()
    assert 0.85 * min(width, 760) < shown["width"] <= width
    assert shown["width"] / shown["height"] == pytest.approx(natural[1] / natural[2], rel=0.02)
    red, green, blue = np.moveaxis(steady_pixels(tab, picture), 2, 0)
    assert 0.02 < np.mean(blue - red > 40) < 0.15
    assert 0.002 < np.mean(red - blue > 40) < 0.05
    grey = (np.abs(red - green) < 6) & (np.abs(green - blue) < 6)
    assert 0.05 < np.mean(grey & (red > 120) & (red < 210)) < 0.3
    assert 0.4 < np.mean((red > 250) & (green > 250) & (blue > 250)) < 0.8
