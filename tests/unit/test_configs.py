"""Every configuration that is shipped can be read, and says what its comments promise."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import xct

from xct_pipeline.config import Config
from xct_pipeline.config.file import load_config

FOLDER = Path(__file__).resolve().parents[2] / "configs"
NAMES = sorted(file.name for file in FOLDER.glob("*.toml"))


def test_one_for_each_kind_of_experiment():
    assert set(NAMES) >= {
        "operando_nak.toml",
        "beamline_batch.toml",
        "tiff_stack.toml",
        "half_acquisition.toml",
        "phase_contrast.toml",
    }


@pytest.mark.parametrize("name", NAMES)
def test_is_valid(name):
    config = load_config(FOLDER / name)
    assert isinstance(config, Config)
    assert config.store_path.parent == FOLDER


@pytest.mark.parametrize("name", NAMES)
def test_begins_with_what_it_is_for_and_comments_its_choices(name):
    lines = (FOLDER / name).read_text().splitlines()
    assert lines[0].startswith("# ")
    keys = [line for line in lines if " = " in line and not line.startswith("#")]
    assert sum("#" in line for line in keys) >= len(keys) // 3


def test_the_operando_one_goes_through_to_mass():
    config = load_config(FOLDER / "operando_nak.toml")
    assert config.registration is not None
    assert config.variation is not None
    assert config.variation.closure == "na_only"
    assert config.electrochemistry is not None


def test_each_is_printed_by_its_name(capsys):
    listed = xct(capsys, "example")
    assert listed.code == 0
    for name in NAMES:
        printed = xct(capsys, "example", name.removesuffix(".toml"))
        assert printed.code == 0
        assert printed.out == (FOLDER / name).read_text()
        assert name.removesuffix(".toml") in listed.out
    refused = xct(capsys, "example", "no_such")
    assert refused.code == 1
    assert "operando_nak" in refused.err
