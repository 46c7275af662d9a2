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
from xct_pipeline.acquisition.formats import FORMATS
from xct_pipeline.cli.app import app
from xct_pipeline.store.tables import TABLES

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])
SITE = [*(ROOT / "docs" / "tutorials").glob("*.md"), *(ROOT / "docs" / "decisions").glob("*.md")]
MADE = "/generated/"  # pages that are made when the site is built
SECTIONS = {
    "acquisition": configuration.Acquisition,
    "correction": configuration.Correction,
    "reconstruction": configuration.Reconstruction,
    "registration": configuration.Registration,
    "segmentation": configuration.Segmentation,
    "variation": configuration.Variation,
    "electrochemistry": configuration.Electrochemistry,
}


@pytest.mark.parametrize("page", [*PAGES, *SITE], ids=[page.name for page in [*PAGES, *SITE]])
def test_links_lead_somewhere(page):
    links = [link for link in re.findall(r"\]\(([^)#]+)", page.read_text()) if MADE not in f"/{link}"]
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not missing


def test_every_page_stands_in_the_contents_of_the_site():
    index = (ROOT / "docs" / "index.md").read_text()
    pages = [*(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "tutorials").glob("*.md")]
    names = {str(page.relative_to(ROOT / "docs").with_suffix("")) for page in pages} - {"index"}
    assert names <= set(index.split("\n"))


def test_the_reference_pages_hold_every_command_name_table_and_format(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(ROOT / "docs")
    import made

    made.write(tmp_path)
    pages = {file.stem: file.read_text() for file in tmp_path.glob("*.md")}
    assert set(re.findall(r"^generated/([a-z]\w*)$", (ROOT / "docs/index.md").read_text(), re.MULTILINE)) <= set(pages)
    for command in app.registered_commands:
        assert f"## `xct {command.name or command.callback.__name__}`" in pages["cli"]
    assert pages["cli"].count("Usage: xct") == len(app.registered_commands) + 1
    assert [name for name in xct.__all__ if f".{name}\n" not in pages["python"]] == []
    for name, table in TABLES.items():
        assert f"## `{name}`" in pages["tables"]
        assert [column.name for column in table.columns if f"| `{column.name}` |" not in pages["tables"]] == []
    assert [form.name for form in FORMATS if f"| {form.name} |" not in pages["files"]] == []
    assert ".. autofunction:: xct_pipeline.reconstruction.fourier." in pages["kernels_reconstruction"]


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
