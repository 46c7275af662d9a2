"""What `xct init` writes is a configuration that can be run, commented sections included."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from xct_pipeline import parse_config
from xct_pipeline.cli.template import write_template
from xct_pipeline.simulation.beamline import SimulationSettings
from xct_pipeline.simulation.simulate import simulate


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cell")
    simulate(folder, settings=SimulationSettings(scans=2, columns=64, rows=32, angles=31), seed=1)
    return folder


def test_a_series_gets_the_later_stages(cell: Path) -> None:
    text = write_template(sorted(cell.glob("scan_*.nxs")), cell)
    config = parse_config(tomllib.loads(text), cell)
    assert config.registration is not None
    assert config.segmentation is not None
    assert config.variation is None  # what left, from where, under which assumption: no file knows
    for fact in ("31 projections of 32 x 64, 40 flats, 10 darks, 180 degrees", "+1.17 h", "distance_mm = 100", "50 "):
        assert fact in text, fact


def test_commented_sections_are_valid_as_they_stand(cell: Path) -> None:
    text = write_template(sorted(cell.glob("scan_*.nxs")), cell)
    before, later = text.split("# [variation]")
    config = parse_config(tomllib.loads(before + re.sub(r"(?m)^# ", "", "# [variation]" + later)), cell)
    assert config.variation is not None
    assert config.variation.closure == "na_only"
    assert config.electrochemistry is not None
    assert config.electrochemistry.voltage == "voltage_V"
    phase = re.search(r"(?m)(^# \[correction\.phase\].*\n(?:# .*\n)+)", text)
    assert phase is not None
    method = parse_config(tomllib.loads(text.replace(phase[1], re.sub(r"(?m)^# ", "", phase[1]))), cell)
    assert method.correction.phase.method == "paganin"


def test_one_scan_gets_what_a_reconstruction_needs(cell: Path) -> None:
    text = write_template([cell / "scan_00.nxs"], cell)
    config = parse_config(tomllib.loads(text), cell)
    assert config.registration is None
    assert config.segmentation is None
    assert "need a series" in text
