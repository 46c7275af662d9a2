"""The page and the schema of all keys follow from the models, and say something about each of them."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from command import xct

from xct_pipeline.config import reference

ROOT = Path(__file__).resolve().parents[2]


def properties(node: Any, where: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every key of a schema with its path."""
    if isinstance(node, Mapping):
        for name, value in node.get("properties", {}).items():
            yield f"{where}.{name}", value
        for name, value in node.items():
            yield from properties(value, f"{where}.{name}")


def test_every_key_says_what_it_means() -> None:
    found = dict(properties(reference.schema()))
    assert len(found) > 150
    assert [key for key, value in found.items() if len(value.get("description", "")) < 6] == []


def test_the_page_is_the_one_that_the_models_make() -> None:
    page = ROOT / "docs" / "configuration.md"
    assert page.read_text() == reference.markdown(), "make it anew: xct schema --markdown > docs/configuration.md"


def test_the_page_holds_each_table_once() -> None:
    headings = [line for line in reference.markdown().splitlines() if line.startswith("## ")]
    assert len(set(headings)) == len(headings)
    assert '## `[correction.stripe]` with `method = "defects"`' in headings
    assert "## `[registration.start.NAME]`" in headings


@pytest.mark.parametrize("file", sorted((ROOT / "configs").glob("*.toml")), ids=lambda file: file.stem)
def test_keys_of_the_shipped_configurations_stand_on_the_page(file: Path) -> None:
    page = reference.markdown()

    def keys(table: Mapping[str, Any]) -> Iterator[str]:
        for key, value in table.items():
            if isinstance(value, Mapping) and key in ("regions", "start", "fragments", "measured", "units"):
                continue  # names of the user's own
            yield key
            for inner in value if isinstance(value, list) else [value]:
                if isinstance(inner, Mapping):
                    yield from keys(inner)

    assert [key for key in keys(tomllib.loads(file.read_text())) if f"| `{key}` |" not in page] == []


def test_the_command_prints_both(capsys: pytest.CaptureFixture[str]) -> None:
    found = xct(capsys, "schema").json
    assert found["properties"]["acquisition"]
    assert "folder" not in found["properties"]
    assert xct(capsys, "schema", "--markdown").out == reference.markdown()
