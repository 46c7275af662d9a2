"""Pages can be read by everybody: names, landmarks, order of headings, contrast of the colours that were chosen."""

from __future__ import annotations

import itertools
import re
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command import shell
from report_store import write_store

from xct_pipeline.report import write_report
from xct_pipeline.report.drawing import GREY, INK

ENOUGH = 4.5
"""Contrast that WCAG 2.1 asks of text (success criterion 1.4.3)."""


class Page(HTMLParser):
    """Tags of a page with their attributes, and the names that fields have by the label around them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.labelled: list[dict[str, str]] = []
        self._inside = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.tags.append((tag, found))
        self._inside += tag == "label"
        if tag == "input" and self._inside:
            self.labelled.append(found)

    def handle_endtag(self, tag: str) -> None:
        self._inside -= tag == "label"

    def all(self, *names: str) -> list[dict[str, str]]:
        return [found for tag, found in self.tags if tag in names]


@pytest.fixture(scope="module", params=["report", "electrochemistry"])
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Page:
    folder = tmp_path_factory.mktemp("page")
    if request.param == "report":
        file = write_report(write_store(folder / "sample.zarr").path)
    else:
        time_s = np.arange(0.0, 7200.0, 60.0)
        log = pd.DataFrame({"time_s": time_s, "U (V)": 3 + time_s / 1e5, "I (mA)": 1.0})
        log.to_csv(folder / "log.csv", index=False)
        file = folder / "echem.html"
        assert shell("echem", folder / "log.csv", "-o", file).code == 0
    return Page(Path(file).read_text(encoding="utf-8"))


def test_pictures_fields_and_boxes_have_names(page: Page) -> None:
    assert all("alt" in found for found in page.all("img"))
    assert all(found["alt"] for found in page.all("img") if found.get("class") != "overlay")
    for found in page.all("input"):
        assert found in page.labelled or found.get("aria-label"), found
    scrolling = [f for f in page.all("div", "pre") if f.get("class") in ("pan", "scroll") or "tabindex" in f]
    assert len(scrolling) >= 1
    assert all(f.get("tabindex") == "0" and f.get("role") == "group" and f.get("aria-label") for f in scrolling)
    assert all("tabindex" in found for found in page.all("pre"))
    assert all(found.get("scope") == "col" for found in page.all("th"))


def test_landmarks_and_headings_stand_in_order(page: Page) -> None:
    assert page.all("html") == [{"lang": "en"}]
    assert [len(page.all(name)) for name in ("main", "nav", "header", "h1", "title")] == [1, 1, 1, 1, 1]
    assert page.all("nav")[0]["aria-label"]
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    names = [found["id"] for _, found in page.tags if "id" in found]
    assert len(names) == len(set(names))
    assert {found["href"][1:] for found in page.all("a") if found.get("href", "").startswith("#")} <= set(names)


def luminance(colour: str) -> float:
    parts = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.03928, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_colours_of_text_are_told_from_what_lies_behind() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    style = (resources.files("xct_pipeline.report") / "style.css").read_text(encoding="utf-8")
    named = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", style))
    for text in ("ink", "soft", "accent"):
        for behind in ("paper", "wash"):
            assert contrast(named[text], named[behind]) >= ENOUGH, (text, behind)
    badge = re.search(r"nav b { color: #fff; background: (#[0-9a-f]{6})", style)
    assert badge is not None
    assert contrast("#ffffff", badge[1]) >= ENOUGH
    assert all(contrast(colour, "#ffffff") >= ENOUGH for colour in (GREY, INK))
