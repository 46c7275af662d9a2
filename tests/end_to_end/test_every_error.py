"""Whatever is wrong together is told together, with its line, and `run` refuses with what `check` says."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from cases import Raw
from command import xct
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xct_pipeline.config.lines import located

# what is written into which table (or as a file), and what must be said of it, with or without the line of it
MISTAKES = {
    "unknown key": ("reconstruction", 'filtre = "hann"', "reconstruction.filtre: unknown key"),
    "unknown table": ("smoothing", "sigma = 1", "smoothing: unknown key"),
    "wrong value": ("acquisition", "binning = -1", "acquisition.binning = -1:"),
    "wrong choice": ("correction.zinger", 'method = "magic"', "correction.zinger.method = 'magic': unknown"),
    "nine centres": ("reconstruction", f"center = {[40.0] * 9}", "reconstruction.center lists 9 columns for"),
    "reference": ("registration", "reference = 7", "registration.reference = 7 but"),
    "missing file": ("scans", "gone.nxs", "gone.nxs: no such file"),
    "missing pattern": ("scans", "none_*.nxs", "none_*.nxs: no file matches"),
    "angles": ("scans", "angles.nxs", "angles.nxs: 2 angles are not numbers"),
    "beam dump": ("scans", "dump.nxs", "dump.nxs: 8 of 121 projections do not belong"),
    "log": ("electrochemistry", 'log = "cycler.csv"', "cycler.csv"),
    "spectra": ("electrochemistry", 'impedance = [{ file = "eis.csv" }]', "eis.csv"),
}


@pytest.fixture(scope="module")
def folder() -> Path:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        Raw.make().write(folder, name="good")
        bad = Raw.make()
        bad.angles = bad.angles.copy()
        bad.angles[[50, 90]] = np.nan
        bad.write(folder, name="angles")
        bad = Raw.make(seed=8)
        bad.projections[60:68] = bad.darks[0]
        bad.write(folder, name="dump")
        (folder / "cycler.csv").write_text("one\n1\n")
        (folder / "eis.csv").write_text("two\n2\n")
        yield folder


def written(mistakes: list[str]) -> str:
    scans, tables = ["good.nxs"], {"acquisition": ["energy_keV = 30.0"]}
    for name in mistakes:
        table, text, _ = MISTAKES[name]
        if table == "scans":
            scans.append(text)
        else:
            tables.setdefault(table, []).append(text)
    tables["acquisition"].append("scans = [" + ", ".join(f'"{scan}"' for scan in scans) + "]")
    body = "".join(f"[{table}]\n" + "\n".join(lines) + "\n" for table, lines in tables.items())
    return f'output = "store.zarr"\n{body}'


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(mistakes=st.lists(st.sampled_from(sorted(MISTAKES)), min_size=2, max_size=6, unique=True))
def test_all_mistakes_at_once(folder: Path, capsys: pytest.CaptureFixture[str], mistakes: list[str]) -> None:
    text = written(mistakes)
    (folder / "run.toml").write_text(text)
    shutil.rmtree(folder / "store.zarr", ignore_errors=True)
    checked = xct(capsys, "check", folder / "run.toml")
    assert checked.code in (1, 3)
    shown = checked.out + checked.err
    unknown = {"nine centres", "reference"} if "missing pattern" in mistakes else set()  # how many scans there are
    for name in sorted(set(mistakes) - unknown):
        assert MISTAKES[name][2] in shown, (name, text, shown)
    ran = xct(capsys, "run", folder / "run.toml")
    if checked.code == 1:
        assert (ran.code, ran.err) == (1, checked.err)
        assert not (folder / "store.zarr").exists()
    else:
        failed = [line for line in checked.out.splitlines() if " failed: " in line]
        assert [line for line in ran.out.splitlines() if " failed: " in line] == failed


def test_the_line_of_a_mistake(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = written(["unknown key", "missing file", "log"])
    (folder / "run.toml").write_text(text)
    shown = xct(capsys, "check", folder / "run.toml").err
    lines = text.splitlines()
    for part, what in (("filtre =", "reconstruction.filtre"), ("gone.nxs", ""), ("log =", "")):
        line = next(k for k, line in enumerate(lines, 1) if part in line)
        assert f"line {line}: {what}" in shown


def test_lines_of_keys_in_every_notation() -> None:
    text = """output = "a"
# reconstruction.filtre = 1
correction.zinger.method = "x"
[acquisition] # here
"binning" = 2
[[acquisition.tiff]]
name = "a"
[[acquisition.tiff]]
name = "b"
angles = { start = 0, stop = 180 }
"""
    told = {
        "correction.zinger.method = 'x': unknown": 3,
        "acquisition.binning = 2: no": 5,
        "acquisition.tiff.1.name: no": 9,
        "acquisition.tiff.1.angles.stop: no": 10,
        "acquisition.tiff.0.angles: missing": 6,
        "acquisition.tiff.1.colour: missing": 8,
        "acquisition.gone: missing": 4,
    }
    assert located([*told, "elsewhere: no"], text) == [
        *(f"line {line}: {problem}" for problem, line in sorted(told.items(), key=lambda pair: pair[1])),
        "elsewhere: no",
    ]


def test_levels_of_frames_are_shown_before_a_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "run.toml").write_text(written([]))
    shown = xct(capsys, "check", folder / "run.toml", "--json").json["scans"][0]
    assert shown["frames"]["looked_at"] == {"projections": 121, "flats": 6, "darks": 4}
    assert shown["frames"]["levels"]["darks"] == pytest.approx(200, abs=5)
    assert 0.5 < shown["frames"]["levels"]["transmission"] < 1
    facts = shown["facts"]
    assert (facts["angle_first_deg"], facts["angle_last_deg"], facts["angle_step_deg"]) == (0, 180, 1.5)
    assert (facts["pixel_size_um"], facts["energy_keV"]) == (10, 30)
