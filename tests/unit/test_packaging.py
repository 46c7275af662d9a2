"""What is shipped: the wheel has all that the program reads, and the recipes ask for what pyproject.toml asks for."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA = {"dask[array]": "dask-core", "matplotlib": "matplotlib-base", "xxhash": "python-xxhash"}  # other names


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("hatchling", reason="a wheel is built with hatchling: pip install '.[test]'")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as file:
        return file.namelist()


def test_the_wheel_has_every_file_of_the_package(wheel):
    files = [path for path in (ROOT / "xct_pipeline").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert {path.relative_to(ROOT).as_posix() for path in files} <= set(wheel)
    assert "xct_pipeline/py.typed" in wheel


def test_configurations_and_help_pages_travel_with_it(wheel):
    assert {f"xct_pipeline/configs/{path.name}" for path in (ROOT / "configs").glob("*.toml")} <= set(wheel)
    pages = {name.rsplit("/", 1)[-1] for name in wheel if "/share/doc/xct-pipeline/" in name}
    assert {path.name for path in (ROOT / "docs").rglob("*.md")} <= pages | {"cli.md", "python.md"}


def test_the_recipe_asks_for_what_the_project_asks_for():
    recipe = yaml.safe_load((ROOT / "recipe/recipe.yaml").read_text())
    assert recipe["context"]["version"] == PROJECT["version"]
    asked = {}
    for line in PROJECT["dependencies"]:
        name, _, version = line.partition(">=")
        asked[CONDA.get(name, name).lower()] = version
    run = dict(line.split(" >=") for line in recipe["requirements"]["run"] if not line.startswith("python >="))
    assert run == asked
    entry = recipe["build"]["python"]["entry_points"]
    assert entry == [f"{name} = {target}" for name, target in PROJECT["scripts"].items()]


def test_one_version_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"]


def test_python_versions_that_are_claimed_are_those_that_are_tested():
    claimed = [
        c.rsplit(" ", 1)[1] for c in PROJECT["classifiers"] if c.startswith("Programming Language :: Python :: 3.")
    ]
    matrix = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["versions"]["strategy"]["matrix"]
    assert matrix["python"] == claimed
    assert str(claimed).replace("'", '"') in (ROOT / "noxfile.py").read_text()
    assert PROJECT["requires-python"] == f">={claimed[0]}"
