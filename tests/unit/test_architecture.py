"""What the page on the architecture names is there, in the order it says."""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text()


def stops(heading: str) -> list[str]:
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `([\w.]+)` \|", section, flags=re.MULTILINE)


@pytest.mark.parametrize("heading", ["From one raw frame to a voxel", "From a voxel to its row in mass_balance.csv"])
def test_a_way_has_at_most_eight_stops_that_exist(heading: str) -> None:
    found = stops(heading)
    assert 5 <= len(found) <= 8
    for stop in found:
        module, name = f"xct_pipeline.{stop}".rsplit(".", 1)
        assert callable(getattr(importlib.import_module(module), name)), stop


def test_the_layers_of_the_page_are_those_of_the_contract() -> None:
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    layers = [re.split(r" [|:] ", layer) for layer in contract["layers"]]
    told = PAGE.split("\n    cli > ")[1].split("\n\n")[0]
    shown = [part.strip().split(", ") for part in ("cli > " + " ".join(told.split())).split(" > ")]
    assert [sorted(layer) for layer in shown] == [sorted(layer) for layer in layers]


def test_every_module_of_the_top_is_on_the_page() -> None:
    names = {p.stem for p in (ROOT / "xct_pipeline").iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert [name for name in sorted(names - {"__init__"}) if not re.search(rf"\b{name}\b", PAGE)] == []


def test_decisions_are_listed() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = set(re.findall(r"\(([\w-]+\.md)\)", (folder / "README.md").read_text()))
    assert listed == {file.name for file in folder.glob("*.md")} - {"README.md"}
