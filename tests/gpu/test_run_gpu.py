"""A run with its blocks on a CUDA device against the same run on the host."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from xct_pipeline import device, pipeline
from xct_pipeline.config import Config
from xct_pipeline.engine.blocks import Pass
from xct_pipeline.engine.resources import Resources
from xct_pipeline.simulation.simulate import SimulationSettings, simulate
from xct_pipeline.store.series import open_table, open_volume

cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(device.cuda_problem() is not None, reason=str(device.cuda_problem()))]

PHASE = {"method": "paganin", "delta_beta": 100.0, "distance_mm": 30.0}
STRIPES: list[dict[str, Any]] = [
    {"method": "all"},
    {"method": "fourier_wavelet"},
    {"method": "titarenko"},
    {"method": "defects"},
]


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Two small scans of a cell."""
    return simulate(tmp_path_factory.mktemp("cell"), settings=SimulationSettings(scans=2, rows=40, angles=121))


def volumes(
    scans: Any, folder: Any, on_device: bool, until: str, halves: bool = False, **correction: Any
) -> list[np.ndarray[Any, Any]]:
    """Run to the volumes, or to the registered ones."""
    config = Config.model_validate(
        {
            "output": str(folder / f"{on_device}.zarr"),
            "acquisition": {"scans": [str(file) for file in scans.scans], "pixel_size_um": 10.0, "energy_keV": 30.0},
            "correction": correction,
            "reconstruction": {"center": 79.3, "halves": halves},
            "registration": {},
            "store": {"precision": "float32"},
        }
    )
    result = pipeline.run(pipeline.plan(config, Resources(2, 4 * 2**30), until), on_device=on_device)
    assert not result.failed
    if until == "registration":
        return [np.asarray(open_volume(config.store_path))]
    return [np.asarray(open_volume(config.store_path, scan.name)) for scan in result.scans]


@pytest.mark.parametrize("stripe", STRIPES, ids=lambda s: s["method"])
def test_volumes_agree_with_the_host(scans: Any, tmp_path: Any, stripe: dict[str, Any]) -> None:
    options = {"stripe": stripe, "phase": PHASE if stripe["method"] == "all" else {"method": "none"}}
    host, there = (volumes(scans, tmp_path, where, "reconstruction", **options) for where in (False, True))
    for a, b in zip(host, there, strict=True):
        assert np.sqrt(np.mean((a - b) ** 2)) < 1e-4 * np.abs(a).max()
        # behind the phase's transform, values that are equal but for rounding may change places when they are sorted
        assert np.abs(a - b).max() < (2e-3 if options["phase"] == PHASE else 1e-4) * np.abs(a).max()


def test_halves_agree_with_the_host(scans: Any, tmp_path: Any) -> None:
    found = []
    for where in (False, True):
        volumes(scans, tmp_path, where, "reconstruction", halves=True)
        found.append(open_table(tmp_path / f"{where}.zarr", "reconstruction"))
    for column in ("noise_halves", "resolution_seventh_voxel"):
        assert found[1][column].to_numpy() == pytest.approx(found[0][column].to_numpy(), rel=1e-3)
    assert (found[1]["halves"] == found[0]["halves"]).all()


def test_registered_volumes_agree_with_the_host(scans: Any, tmp_path: Any) -> None:
    (a,), (b,) = (volumes(scans, tmp_path, where, "registration") for where in (False, True))
    assert (np.isnan(a) != np.isnan(b)).mean() < 1e-4
    assert np.nanmax(np.abs(a - b)) < 2e-3 * np.nanmax(np.abs(a))
    assert np.sqrt(np.nanmean((a - b) ** 2)) < 1e-4 * np.nanmax(np.abs(a))


def test_one_task_at_a_time_and_the_next_block_is_read_meanwhile(
    scans: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers, workers = set(), set()
    copy, compute = device.Uploads._copy, Pass.compute

    def seen_copy(self: Any, read: Any, item: Any) -> Any:
        readers.add(threading.get_ident())
        return copy(self, read, item)

    def seen_compute(self: Any, target: Any, block: Any = None) -> Any:
        workers.add(threading.get_ident())
        return compute(self, target, block)

    monkeypatch.setattr(device.Uploads, "_copy", seen_copy)
    monkeypatch.setattr(Pass, "compute", seen_compute)
    volumes(scans, tmp_path, True, "reconstruction")
    assert readers
    assert len(workers) == 1
    assert not readers & workers
