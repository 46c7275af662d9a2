"""`xct init` shows the columns of a log and how it is read; what it writes can be run."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from command import shell

from xct_pipeline import parse_config
from xct_pipeline.cli.log_template import with_log
from xct_pipeline.cli.template import write_template
from xct_pipeline.simulation.beamline import SimulationSettings
from xct_pipeline.simulation.simulate import simulate

ROWS = [(f"2026-05-01 1{k // 6}:{k % 6}0:00", k / 60, 1, 3.1) for k in range(30)]


def log_text(names: str = "Date,Capacity (mAh),Current (mA),Voltage (V)") -> str:
    return "\n".join([names, *(",".join(map(str, row)) for row in ROWS)]) + "\n"


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cell")
    simulate(folder, settings=SimulationSettings(scans=2, columns=64, rows=32, angles=31), seed=1)
    for file in folder.glob("*.csv"):
        file.unlink()
    return folder


def text_of(cell: Path, log: Path | None = None) -> str:
    return with_log(write_template(sorted(cell.glob("scan_*.nxs")), cell), cell, log)


def test_a_log_that_is_named_is_filled_in(cell: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text(log_text())
    text = text_of(cell, log)
    settings = parse_config(tomllib.loads(text), cell).electrochemistry
    assert settings is not None
    assert (settings.absolute_time, settings.charge) == ("Date", "Capacity (mAh)")
    assert (settings.current, settings.voltage) == ("Current (mA)", "Voltage (V)")
    for shown in ("found by name, in mAh", "30 rows from 2026-05-01 10:00:00 to 2026-05-01 14:50:00, without a zone"):
        assert shown in text, shown
    assert "charge 1.74 C at the end" in text
    assert "# time_zone = " in text
    assert text.count("[electrochemistry]") == 1


def test_a_log_beside_the_scans_is_shown_as_a_comment(cell: Path) -> None:
    assert text_of(cell) == write_template(sorted(cell.glob("scan_*.nxs")), cell)
    (cell / "log.csv").write_text(log_text())
    (cell / "notes.txt").write_text("a,b\n1,2\n")
    text = text_of(cell)
    assert parse_config(tomllib.loads(text), cell).electrochemistry is None
    assert '# absolute_time = "Date"' in text
    assert '# log = "log.csv"' in text
    (cell / "log.csv").write_text(log_text().replace("2026-05-01", "03/05/2026"))
    text = text_of(cell)
    parse_config(tomllib.loads(text), cell)
    assert "read in two ways" in text or "30 rows from" in text
    (cell / "log.csv").unlink()
    (cell / "notes.txt").unlink()


def test_a_named_log_that_cannot_be_read_ends_the_command(cell: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("a,b\n1,2\n")
    ended = shell("init", *sorted(cell.glob("scan_*.nxs")), "--log", log, "-o", tmp_path / "run.toml")
    assert ended.code == 1
    assert "set time to the column that holds the time" in ended.err
    assert not (tmp_path / "run.toml").exists()
    log.write_text(log_text())
    ended = shell("init", *sorted(cell.glob("scan_*.nxs")), "--log", log, "-o", tmp_path / "run.toml")
    assert ended.code == 0, ended.err
    assert 'charge = "Capacity (mAh)"' in (tmp_path / "run.toml").read_text()
