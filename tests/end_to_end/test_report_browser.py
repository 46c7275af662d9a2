"""The report in a real browser: no errors, no network, panels drawn, sliders that move."""

from __future__ import annotations

import io
import itertools
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pypdf
import pytest
from chromium import CHROMIUM
from report_store import write_store

from xct_pipeline.report import write_report

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")


@pytest.fixture(scope="module")
def opened(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, list[str]]]:
    store = write_store(tmp_path_factory.mktemp("report") / "sample.zarr")
    yield from _open(browser, write_report(store.path))


def _open(browser: Any, file: Path, width: int = 1400) -> Iterator[tuple[Any, list[str]]]:
    context = browser.new_context(viewport={"width": width, "height": 900}, offline=True)
    tab, trouble = context.new_page(), []
    tab.on("console", lambda message: trouble.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: trouble.append(str(error)))
    tab.on("request", lambda r: trouble.append(r.url) if not r.url.startswith(("file:", "data:", "blob:")) else None)
    tab.goto(file.as_uri())
    tab.wait_for_function("[...document.querySelectorAll('.chart')].every((d) => d.querySelector('.main-svg'))")
    yield tab, trouble
    context.close()


def pixels(element: Any) -> np.ndarray:
    from PIL import Image

    element.scroll_into_view_if_needed()
    return np.asarray(Image.open(io.BytesIO(element.screenshot())).convert("RGB"), dtype=float)


def pixels_once(tab: Any, element: Any, holds: Callable[[np.ndarray], bool]) -> np.ndarray:
    """What an element shows once that holds, or after ten seconds: a busy machine draws late."""
    for _ in range(100):
        shown = pixels(element)
        if holds(shown):
            break
        tab.wait_for_timeout(100)
    return shown


def steady_pixels(tab: Any, element: Any) -> np.ndarray:
    """What an element shows once it does not change any more."""
    last = pixels(element)
    for _ in range(50):
        tab.wait_for_timeout(200)
        shown = pixels(element)
        if np.array_equal(shown, last):
            break
        last = shown
    return shown


def test_no_errors_and_no_network(opened: tuple[Any, list[str]]) -> None:
    _, trouble = opened
    assert trouble == []


def test_every_panel_is_drawn(opened: tuple[Any, list[str]]) -> None:
    tab, _ = opened
    drawn = tab.query_selector_all(".picture, .chart, .frame")
    assert len(drawn) > 14
    for element in drawn:
        box = element.bounding_box()
        assert box["width"] > 200, box
        assert box["height"] > 100, box
        shown = pixels_once(tab, element, lambda image: bool(image.std() > 8))
        assert shown.std() > 8, element.evaluate("e => e.closest('article').dataset.panel")


def test_pictures_are_decoded(opened: tuple[Any, list[str]]) -> None:
    tab, _ = opened
    sizes = tab.evaluate("[...document.querySelectorAll('.picture, .slice')].map((i) => i.naturalWidth)")
    assert min(sizes) > 20


UNDER = """
[...document.querySelectorAll('.chart')].flatMap((chart) => {
  const bars = chart.querySelector('.modebar').getBoundingClientRect();
  const titles = [...chart.querySelectorAll('.infolayer .annotation-text')];
  return titles.filter((title) => {
    const box = title.getBoundingClientRect();
    return box.right > bars.left && box.left < bars.right && box.bottom > bars.top && box.top < bars.bottom;
  }).map((title) => title.textContent);
})
"""


def test_no_title_lies_under_the_buttons(opened: tuple[Any, list[str]]) -> None:
    tab, _ = opened
    assert tab.evaluate("document.querySelectorAll('.chart .annotation-text').length") > 8
    assert tab.evaluate(UNDER) == []


def test_nothing_is_wider_than_the_page(opened: tuple[Any, list[str]]) -> None:
    tab, _ = opened
    assert tab.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_the_slider_moves_through_z(opened: tuple[Any, list[str]]) -> None:
    tab, _ = opened
    plane = tab.query_selector(".frame.plane")
    states = []
    for k in (2, 16, 30):
        tab.evaluate(
            "k => { const r = document.querySelector('.viewer input[type=range]'); r.value = k;"
            " r.dispatchEvent(new Event('input')); }",
            k,
        )
        cut = tab.evaluate("parseFloat(document.querySelector('.cut').style.bottom)")
        last = states[-1][0] if states else np.zeros(1)
        shown = pixels_once(tab, plane, lambda image, last=last: bool(np.abs(image - last).mean() > 3))
        states.append((shown, tab.inner_text(".viewer output"), cut))
    assert [text for _, text, _ in states] == ["plane 2, 50 µm", "plane 16, 330 µm", "plane 30, 610 µm"]
    assert states[0][2] < states[1][2] < states[2][2]
    assert all(np.abs(a[0] - b[0]).mean() > 3 for a, b in itertools.pairwise(states))


def test_labels_can_be_laid_over(opened: tuple[Any, list[str]]) -> None:
    tab, _ = opened
    plane = tab.query_selector(".frame.plane")
    before = pixels(plane)
    tab.check(".viewer .labels")
    coloured = np.ptp(before, axis=-1).mean() + 20  # grey becomes colour
    after = pixels_once(tab, plane, lambda image: bool(np.ptp(image, axis=-1).mean() > coloured))
    tab.uncheck(".viewer .labels")
    assert np.ptp(after, axis=-1).mean() > coloured


@pytest.mark.parametrize("panel", ["Change, error and significance", "The same in 3-D"])
def test_a_scan_can_be_chosen(opened: tuple[Any, list[str]], panel: str) -> None:
    tab, _ = opened
    chart = tab.query_selector(f"article[data-panel='{panel}'] .chart")
    chart.scroll_into_view_if_needed()
    last = steady_pixels(tab, chart)
    steps = "d => d.layout.sliders[0].steps.length"
    assert chart.evaluate(steps) == 3
    chart.evaluate("d => Plotly.restyle(d, ...d.layout.sliders[0].steps[0].args)")
    shown = pixels_once(tab, chart, lambda image: bool(np.abs(image - last).mean() > 0.3))
    assert np.abs(shown - last).mean() > 0.3


def test_contents_stay_in_view(opened: tuple[Any, list[str]]) -> None:
    tab, _ = opened
    tab.click("nav a[href='#balance']")
    tab.wait_for_function("Math.abs(document.querySelector('#balance').getBoundingClientRect().top) < 60")
    assert tab.evaluate("document.querySelector('nav').getBoundingClientRect().top") == 0


def test_side_by_side_axes_keep_their_width_on_a_phone(browser: Any, opened: tuple[Any, list[str]]) -> None:
    file = Path(opened[0].evaluate("decodeURIComponent(location.pathname)"))
    for tab, trouble in _open(browser, file, width=400):
        assert trouble == []
        assert tab.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        widths = tab.evaluate(
            "[...document.querySelectorAll('.chart.wide .main-svg, .picture')].map(e => e.clientWidth)"
        )
        assert len(widths) >= 8
        assert min(widths) >= 700
        assert tab.evaluate("[...document.querySelectorAll('.chart:not(.wide)')].every(e => e.clientWidth < 400)")


def test_a_narrow_window_and_a_short_report(browser: Any, tmp_path: Path) -> None:
    store = write_store(tmp_path / "volumes.zarr", tables=False, maps=False, registered=False)
    for tab, trouble in _open(browser, write_report(store.path), width=420):
        assert trouble == []
        assert tab.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        assert pixels(tab.query_selector(".frame.plane")).std() > 8


def test_sections_fold_and_open_for_links(opened: tuple[Any, list[str]]) -> None:
    tab, trouble = opened
    part = tab.locator("#balance details.part")
    part.locator("summary").first.click()
    assert part.get_attribute("open") is None
    tab.evaluate("location.hash = ''")
    tab.locator("nav a[href='#balance']").click()
    tab.wait_for_function("document.querySelector('#balance details.part').open")
    assert trouble == []


def test_charts_and_tables_can_be_saved(opened: tuple[Any, list[str]]) -> None:
    tab, _ = opened
    panel = tab.locator("article[data-panel='Measured mass against charge']")
    with tab.expect_download() as chosen:
        panel.locator(".save button", has_text="CSV").first.click()
    lines = Path(chosen.value.path()).read_text().splitlines()
    assert lines[0] == "trace,x,y,z,error_y"
    assert sum(line.startswith("measured,") for line in lines) >= 3
    with tab.expect_download() as chosen:
        panel.locator(".save button", has_text="SVG").first.click()
    assert "<svg" in Path(chosen.value.path()).read_text()
    panel = tab.locator("article[data-panel='Maps beside the voltage profile']")
    with tab.expect_download() as chosen:
        panel.locator(".save button", has_text="PNG").first.click()
    assert Path(chosen.value.path()).read_bytes().startswith(b"\x89PNG")


def test_maps_and_sections_can_be_saved(opened: tuple[Any, list[str]]) -> None:
    tab, trouble = opened
    panel = tab.locator("article[data-panel='Between consecutive scans']")
    with tab.expect_download() as chosen:
        panel.locator(".save button", has_text="CSV").click()
    head, *lines = Path(chosen.value.path()).read_text().splitlines()
    assert head == "map,x [\N{MICRO SIGN}m],y [\N{MICRO SIGN}m],change [mg/cm2]"
    assert {line.split(",")[0] for line in lines} == {"scan_01 - scan_00", "scan_02 - scan_01"}
    assert min(float(line.split(",")[3]) for line in lines) < 0
    panel = tab.locator("article[data-panel='Virtual cross-sections']")
    with tab.expect_download() as chosen:
        panel.locator(".save button", has_text="x\N{EN DASH}z PNG").click()
    assert Path(chosen.value.path()).read_bytes().startswith(b"\x89PNG")
    assert trouble == []


def test_paper_has_a_page_for_every_section_and_cuts_no_panel(opened: tuple[Any, list[str]]) -> None:
    tab, trouble = opened
    tab.emulate_media(media="print")
    tab.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    tall = tab.evaluate("Math.max(...[...document.querySelectorAll('article .pan')].map((p) => p.offsetHeight))")
    assert tall < 700  # pixels of a page of A4 on its side between margins
    whole = tab.evaluate(
        "[...document.querySelectorAll('article')].filter((a) => !a.querySelector('table') && a.querySelector('.pan'))"
        ".map((a) => [a.dataset.panel, a.offsetHeight])"
    )
    assert [panel for panel in whole if panel[1] > 640] == []  # words and figure on one page, below a section's title
    pages = pypdf.PdfReader(io.BytesIO(tab.pdf(prefer_css_page_size=True))).pages
    assert len(pages) >= tab.locator("main > section").count()
    assert tab.locator(".viewer .grey").is_visible()  # what black and white are, and colours of labels, on paper too
    exact = "e => getComputedStyle(e).printColorAdjust || getComputedStyle(e).webkitPrintColorAdjust"
    assert {tab.locator(name).first.evaluate(exact) for name in (".grey i", ".legend i", ".frame")} == {"exact"}
    assert not tab.locator(".viewer input[type=range]").is_visible()
    pictures = tab.evaluate("[...document.querySelectorAll('.picture')].map((p) => p.closest('article').dataset.panel)")
    assert pictures
    words = [unicodedata.normalize("NFKC", page.extract_text()) for page in pages]  # letters of a ligature apart
    for title in pictures:  # words and their picture on one page
        assert any(page.images for page, text in zip(pages, words, strict=True) if title in text), title
    tab.evaluate("window.dispatchEvent(new Event('afterprint'))")
    tab.emulate_media(media="screen")
    assert tab.evaluate("[...document.querySelectorAll('.chart')].every((d) => d.style.height === d.dataset.tall)")
    assert trouble == []


@pytest.mark.parametrize("width", [400, 800, 1400, 2000])
def test_no_width_cuts_the_page(browser: Any, opened: tuple[Any, list[str]], width: int) -> None:
    for tab, trouble in _open(browser, Path(opened[0].url.removeprefix("file://").partition("#")[0]), width):
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert trouble == []
