"""The steps that are told before a run are those that it executes; on a finished store it executes none."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command import SERIAL, shell, write_config, xct

from xct_pipeline.store.store import Store

TABLES = {
    "registration": "mask = { min_attenuation = 4.0 }\n[registration.local]\n[registration.fragments.top]\n"
    "box = { z = [4, 30], y = [20, 60], x = [20, 60] }",
    "segmentation": 'method = "watershed"\nclasses = 3\nnames = ["gas", "metal", "ceramic"]\n'
    "[segmentation.interface]\noffsets = [2.0]\n"
    '[segmentation.objects]\nmaterials = ["gas", "metal"]\n'
    '[segmentation.thickness]\nmaterials = ["metal"]\nlargest = 8.0',
    "variation": 'closure = "na_only"\nregion = { label = "metal" }\n'
    "[variation.regions.inner]\ncylinder = { z = [26, 36], radius = 20.0 }",
}
ALWAYS = {"defects", "variation/tables"}  # cheap, and kept nowhere: executed by every run that has anything to do

TWICE = """
import json, sys, time
from unittest import mock
import numba.core.dispatcher
from xct_pipeline import cli

def run():
    started = time.process_time()
    with mock.patch.object(sys, "argv", ["xct", "run", *sys.argv[1:]]):
        try:
            cli.main(last=False)
        except SystemExit as stop:
            assert not stop.code
    return time.process_time() - started

def refuse(*arguments):
    raise AssertionError("a kernel was compiled")

run()  # imports everything
with mock.patch.object(numba.core.dispatcher.Dispatcher, "compile", refuse):
    print(run(), file=sys.stderr)
"""

BATCH = """
import sys
from pathlib import Path
from xct_pipeline import load_config
from xct_pipeline.engine.resources import Resources
from xct_pipeline.pipeline import plan, run

result = run(plan(load_config(Path(sys.argv[1])), Resources(2, 8 * 10**9)))
assert not result.failed and not result.refused and not result.unchanged
loaded = {name.split(".")[0] for name in sys.modules}
print(*sorted(loaded & {"plotly", "matplotlib", "sklearn", "napari", "IPython", "zarr"}))
"""


FINISHED = """
import sys
from xct_pipeline.cli import main
try:
    main(last=False)
except SystemExit as stop:
    assert not stop.code
heavy = {"numba", "sklearn", "skimage", "plotly", "matplotlib", "scipy.ndimage", "scipy.signal", "scipy.stats", "zarr"}
print(*sorted((heavy | {"dask.array", "xarray", "distributed"}) & set(sys.modules)))
"""


@pytest.fixture(scope="module")
def mapped(series, tmp_path_factory) -> tuple[Path, dict, str]:
    """A series run to its end as a program would, what was told of it before, and what it imported."""
    folder = tmp_path_factory.mktemp("mapped")
    for file in series.glob("*.nxs"):
        os.link(file, folder / file.name)
    config = write_config(folder, TABLES)
    told = shell("check", config, "--workers", 2, "--memory", "8GB", "--json")
    assert told.code == 0, told.err
    assert not (folder / "store.zarr").exists()
    ended = python(BATCH, config)
    shell("report", folder / "store.zarr")
    return folder, told.json, ended.stdout


def python(code: str, *args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-c", code, *map(str, args)]
    ended = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **SERIAL}, timeout=300)
    assert ended.returncode == 0, ended.stderr
    return ended


@pytest.fixture
def no_report(monkeypatch):
    """Leave the report as it is, which takes longer to draw than the rest of such a run."""
    monkeypatch.setattr("xct_pipeline.report.write_report", lambda path: Path(path) / "report.html")


def record_of(folder: Path) -> dict:
    return json.loads((folder / "store.zarr" / ".xct" / "steps.json").read_text())


def copy_of(folder: Path, target: Path) -> Path:
    shutil.copytree(folder, target, copy_function=lambda a, b: (os.link if a.endswith(".nxs") else shutil.copy2)(a, b))
    return target


def files_of(folder: Path) -> dict[str, tuple[int, int]]:
    left = ("run.log", "lock")
    files = [file for file in folder.rglob("*") if file.is_file() and file.name not in left]
    return {str(file.relative_to(folder)): (file.stat().st_size, file.stat().st_mtime_ns) for file in files}


def test_the_run_executes_what_was_told_in_that_order(mapped):
    folder, told, _ = mapped
    expected = [step["name"] for stage in told["stages"] for step in stage["steps"]]
    record = record_of(folder)
    assert [step["name"] for step in record["steps"]] == expected
    assert len(set(expected)) == len(expected) > 40
    outcomes = {step["name"]: step["outcome"] for step in record["steps"]}
    assert {name for name, outcome in outcomes.items() if outcome != "executed"} <= {
        "variation/noise/ceramic_mean",
        "variation/noise/ceramic",
    }
    kept = {str(f.relative_to(folder / "store.zarr/.xct/estimates"))[:-4] for f in folder.rglob("estimates/**/*.npz")}
    assert kept <= set(expected)  # under the name of its step
    images = {name for name in expected if (folder / "store.zarr" / name / "zarr.json").exists()}
    assert {"variation/areal", "variation/areal_sigma_consecutive", "registered/labels/objects_metal"} <= images
    assert all((folder / "store.zarr/.xct/markers" / name).is_dir() for name in images)


def test_a_batch_run_imports_no_library_that_it_does_not_need(mapped):
    assert mapped[2].split() == []


def test_a_run_with_nothing_to_do_imports_nothing_that_computes(mapped):
    ended = python(FINISHED, "run", mapped[0] / "run.toml", "--workers", 2, "--memory", "8GB")
    assert ended.stdout.splitlines()[0].startswith("nothing was to be done")
    assert ended.stdout.splitlines()[-1] == ""


def test_a_finished_store_takes_two_seconds_and_stays_as_it_is(mapped):
    folder = mapped[0]
    before = files_of(folder)
    ended = python(TWICE, folder / "run.toml", "--workers", 2, "--memory", "8GB")
    assert ended.stdout.splitlines() == [f"nothing was to be done: {folder / 'store.zarr'} is finished"] * 2
    assert float(ended.stderr.split()[-1]) < 2
    assert files_of(folder) == before


def test_a_finished_store_tells_what_the_run_told(capsys, mapped):
    folder = mapped[0]
    again = xct(capsys, "run", folder / "run.toml", "--json").json
    assert again["unchanged"]
    assert [scan["center"]["center"] for scan in again["scans"]] == pytest.approx(
        Store(folder / "store.zarr").read_table("reconstruction")["center"].tolist()
    )
    assert all(image["computed"] == 0 < image["reused"] for s in again["scans"] for image in s["images"].values())


@pytest.mark.parametrize("lost", ["tables/mass_balance.csv", "variation/areal/0/c/1/0/0", "registered/0/c/0/0/0/0"])
@pytest.mark.usefixtures("no_report")
def test_what_is_missing_is_made_again_and_nothing_else(capsys, mapped, tmp_path, lost):
    folder = copy_of(mapped[0], tmp_path / "copy")
    file = folder / "store.zarr" / lost
    before = file.read_bytes()
    file.unlink()
    ended = xct(capsys, "run", folder / "run.toml", "--json")
    assert not ended.json["unchanged"]
    assert file.read_bytes() == before
    executed = {step["name"] for step in record_of(folder)["steps"] if step["outcome"] == "executed"}
    assert executed - ALWAYS <= {lost.split("/0/c/")[0]}
    assert xct(capsys, "run", folder / "run.toml", "--json").json["unchanged"]


def test_a_missing_report_is_drawn_without_any_step(capsys, mapped, tmp_path):
    folder = copy_of(mapped[0], tmp_path / "copy")
    (folder / "store.zarr" / "report.html").unlink()
    ended = xct(capsys, "run", folder / "run.toml")
    assert "nothing was to be done" in ended.out
    assert (folder / "store.zarr" / "report.html").exists()


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize("section", ["segmentation", "output"])
def test_another_setting_is_no_finished_store(capsys, mapped, tmp_path, section):
    folder = copy_of(mapped[0], tmp_path / "copy")
    text = (folder / "run.toml").read_text()
    if section == "output":
        os.rename(folder / "store.zarr", folder / "other.zarr")
        (folder / "run.toml").write_text(text.replace("store.zarr", "other.zarr"))
        changed: set[str] = set()
    else:
        (folder / "run.toml").write_text(text.replace("largest = 8.0", "largest = 7.0"))
        changed = {"segmentation/thickness"}
    ended = xct(capsys, "run", folder / "run.toml", "--json")
    assert not ended.json["unchanged"]
    store = folder / ("other.zarr" if section == "output" else "store.zarr")
    steps = json.loads((store / ".xct" / "steps.json").read_text())["steps"]
    assert {step["name"] for step in steps if step["outcome"] == "executed"} - ALWAYS == changed
