"""What README and docs say about names, keys and files is true."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

import xct_pipeline as xct
from xct_pipeline import config as configuration
from xct_pipeline.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])
SECTIONS = {
    "acquisition": configuration.Acquisition,
    "correction": configuration.Correction,
    "reconstruction": configuration.Reconstruction,
    "registration": configuration.Registration,
    "segmentation": configuration.Segmentation,
    "variation": configuration.Variation,
    "electrochemistry": configuration.Electrochemistry,
}


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)", page.read_text())
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not missing


def test_readme_names_the_public_interface():
    listed = README.split("Public names: ")[1].split(". Kernels")[0]
    assert sorted(re.findall(r"`(\w+)`", listed)) == sorted(xct.__all__)


def test_readme_shows_commands_that_exist():
    known = {command.name or command.callback.__name__ for command in app.registered_commands}
    shown = set(re.findall(r"^xct (\w+)", README, re.MULTILINE))
    assert len(shown) > 5
    assert shown <= known


def test_readme_has_a_complete_configuration():
    for block in re.findall(r"```toml\n(.*?)```", README, re.DOTALL):
        assert xct.parse_config(tomllib.loads(block)).output == "store.zarr"


def models(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        inner = [m for field in annotation.model_fields.values() for m in models(field.annotation)]
        return [annotation, *inner]
    return [model for part in get_args(annotation) for model in models(part)]


@pytest.mark.parametrize("name", SECTIONS)
def test_every_key_is_described_on_the_page_of_its_stage(name):
    text = (ROOT / "docs" / f"{name}.md").read_text()
    if name == "correction":
        text += (ROOT / "docs" / "stripes.md").read_text()
    code = " ".join(re.findall(r"`([^`]+)`", text))
    words = set(re.findall(r"\w+", code))
    keys = {key for model in models(SECTIONS[name]) for key in model.model_fields}
    assert keys <= words, f"docs/{name}.md does not mention {', '.join(sorted(keys - words))}"
