"""The recipes of CONTRIBUTING.md, run as they stand there: one new file each, nothing else changed."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Literal

import numpy as np
import pytest

from xct_pipeline.acquisition import formats, open_scan
from xct_pipeline.config import Config, ReconstructionBase, Variation
from xct_pipeline.reconstruction import methods
from xct_pipeline.reconstruction.steps import stage as reconstruction
from xct_pipeline.scan import Axis
from xct_pipeline.variation import closures
from xct_pipeline.variation.steps import physics

ROOT = Path(__file__).parents[2]
CODE = dict(
    re.findall(r"```python\n# (\S+\.py)\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.DOTALL)
)


@pytest.fixture
def add(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """Put a recipe's file into the folder of its table, as far as imports can tell."""
    before = set(sys.modules)

    def put(package: ModuleType) -> str:
        folder = package.__name__.replace(".", "/")
        (path,) = (path for path in CODE if Path(path).parent.as_posix() == folder)
        (tmp_path / Path(path).name).write_text(CODE[path], encoding="utf-8")
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
        importlib.invalidate_caches()
        return Path(path).stem

    yield put
    for name in set(sys.modules) - before:
        if name.split(".")[-1] in {Path(path).stem for path in CODE}:
            del sys.modules[name]


def test_there_are_three_recipes() -> None:
    assert [Path(path).parent.name for path in CODE] == ["closures", "methods", "formats"]


def test_a_closure_is_one_file(add, monkeypatch: pytest.MonkeyPatch) -> None:
    assert add(closures) == "half_host"
    table = closures._found()
    assert set(table) == {*closures.CLOSURES, "half_host"}
    monkeypatch.setattr(physics, "CLOSURES", table)
    settings = Variation(energy_keV=50.0, anode={"w_host": 0.5})
    settings = settings.model_copy(update={"closure": "half_host", "alternatives": ["na_only"]})
    found = physics.physics_of(settings, ())
    k = found.anode.k_species + found.anode.k_host
    np.testing.assert_allclose(found.density([np.array([k, -k])], None), [1, -1])
    assert found.slopes(None).species == (1 / k,)
    bare = settings.model_copy(update={"anode": settings.anode.model_copy(update={"w_host": None})})
    with pytest.raises(ValueError, match=r"half_host needs variation\.anode\.w_host"):
        physics.physics_of(bare, ())


def test_a_method_is_one_file_and_its_model(add, monkeypatch: pytest.MonkeyPatch) -> None:
    assert add(methods) == "unfiltered"
    table = methods._found()
    assert set(table) == {*methods.METHODS, "unfiltered"}
    monkeypatch.setattr(reconstruction, "METHODS", table)

    class Unfiltered(ReconstructionBase):
        method: Literal["unfiltered"] = "unfiltered"
        scale: float = 2.0

    angles = np.linspace(0, np.pi, 60, endpoint=False)
    geometry = reconstruction.Geometry(angles, 8, 33, Axis(16.0), None, 33)
    op = reconstruction.reconstruct_op(Unfiltered(), geometry, 0)
    region = (slice(2, 4), slice(0, 33), slice(0, 33))
    assert op.name == "reconstruction.unfiltered"
    assert op.needs(region)[1] == slice(2, 4)
    point = np.zeros((60, 2, 33), np.float32)
    point[:, :, 16] = 1
    volume, _ = op.function(point, op.needs(region), region)
    assert np.unravel_index(volume[0].argmax(), volume[0].shape) == (16, 16)
    assert volume[0].max() == pytest.approx(2.0)


def test_a_format_is_one_file(add, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert add(formats) == "numpy_archive"
    table = formats._found()
    assert len(table) == len(formats.FORMATS) + 1
    monkeypatch.setattr(formats, "FORMATS", table)
    file = tmp_path / "scan_00.npz"
    counts = {"projections": 6, "flats": 3, "darks": 1}
    stacks = {name: np.full((n, 4, 5), 100 * n, np.uint16) for name, n in counts.items()}
    np.savez(file, angles=np.linspace(0, np.pi, 6), **stacks)
    scan = open_scan(file, flats=[file], pixel_size_um=2.0)
    assert scan.name == "scan_00"
    assert scan.shape == (6, 4, 5)
    assert scan.flats.shape == (3, 4, 5)
    config = Config.model_validate({"output": "s.zarr", "acquisition": {"scans": [str(file)]}})
    from xct_pipeline.acquisition.steps import open_scans

    (opened,) = open_scans(config)
    assert opened.problem is None
