"""Sound scans are told nothing of: a simulated cell, and flat cells seen edge on at low and usual doses."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from cases import Raw

from xct_pipeline import pipeline
from xct_pipeline.config.file import load_config
from xct_pipeline.engine.resources import Resources
from xct_pipeline.simulation.simulate import SimulationSettings, simulate

DARK = 50.0


def told_of(config: Path) -> list[str]:
    """Run a configuration to its volumes; return every warning and problem, of the scans and of the series."""
    plan = pipeline.plan(load_config(config), Resources(1, 2_000_000_000))
    result = pipeline.run(plan)
    of_scans = [text for scan in result.scans for text in (*scan.warnings, *([scan.problem] if scan.problem else []))]
    return [*of_scans, *result.warnings]


def cell(folder: Path, photons: float, seed: int) -> list[str]:
    """Scan a simulated cell twice, with the beam, detector and motion as they are by default."""
    settings = SimulationSettings(scans=2, rows=24, columns=96, angles=151, photons=photons, supersample=1)
    simulate(folder, settings=settings, seed=seed)
    (folder / "cell.toml").write_text('output = "store.zarr"\n[acquisition]\nscans = ["scan_*.nxs"]\n')
    return told_of(folder / "cell.toml")


def flat_cell(folder: Path, light: float, seed: int, thickness: float = 6.0) -> list[str]:
    """Scan a plate, 60 by 6 pixels, whose middle transmits about 0.7 seen flat and 0.035 edge on."""
    rng = np.random.default_rng(seed)
    raw = Raw.make(light=light, dark=DARK, seed=seed, rows=12)
    angles = np.radians(raw.angles)
    u = np.arange(raw.projections.shape[2]) - raw.center
    half = np.array([30.0, thickness / 2])
    direction = np.stack([np.cos(angles), np.sin(angles)])
    across = np.stack([-np.sin(angles), np.cos(angles)])
    sub = u[:, None] + (np.arange(8) - 3.5) / 8
    # the chord of a ray: where it lies between both pairs of faces
    bounds = []
    for axis in (0, 1):
        slope = np.where(np.abs(across[axis]) < 1e-9, 1e-9, across[axis])[:, None, None]
        at = sub[None] * direction[axis][:, None, None]
        bounds.append(np.sort(np.stack([(-half[axis] - at) / slope, (half[axis] - at) / slope]), axis=0))
    chord = np.minimum(bounds[0][1], bounds[1][1]) - np.maximum(bounds[0][0], bounds[1][0])
    mu = -np.log(1 / 20) / (60.0 - thickness)  # 1/pixel
    t = np.exp(-mu * np.clip(chord, 0, None)).mean(axis=2)
    assert t.min(axis=1).max() / t.min() > 18
    gain = light * (1 + 0.05 * np.sin(np.arange(len(u)) / 9))
    raw.projections = rng.poisson(DARK + gain * np.repeat(t[:, None], raw.projections.shape[1], 1)).astype(float)
    lines = raw.write(folder)
    (folder / "flat.toml").write_text(f'output = "store.zarr"\n[acquisition]\n{lines}')
    return told_of(folder / "flat.toml")


def test_a_simulated_cell_is_told_nothing_of(tmp_path):
    assert cell(tmp_path, 50000.0, seed=1) == []


@pytest.mark.parametrize("light", [500.0, 2000.0, 20000.0])
def test_a_flat_cell_seen_edge_on_is_told_nothing_of(tmp_path, light):
    assert flat_cell(tmp_path, light, seed=3) == []


@pytest.mark.parametrize("seed", [4, 5])
def test_a_flat_cell_in_little_light_is_told_nothing_of(tmp_path, seed):
    """The second centre is several times noisier than the first here."""
    assert flat_cell(tmp_path, 500.0, seed) == []


@pytest.mark.parametrize("light", [500.0, 50000.0])
def test_an_edge_of_two_voxels_is_told_nothing_of(tmp_path, light):
    """The noise of the flats is a pattern as strong as rings, the second centre is off, and few pixels are deep."""
    assert flat_cell(tmp_path, light, seed=9, thickness=2.0) == []


@pytest.mark.parametrize("seed", [9, 10])
def test_a_cell_in_little_light_is_told_nothing_of(tmp_path, seed):
    """A defect beside the edge, whose columns are alike, is no end of the noise; nor is a second centre far off."""
    assert cell(tmp_path, 500.0, seed) == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("light", [500.0, 2000.0, 10000.0, 50000.0])
@pytest.mark.parametrize("scene", ["cell", "flat cell", "flat cell with a thin edge"])
def test_sound_scans_are_told_nothing_of(tmp_path, scene, light):
    for seed in range(20 if "XCT_SOAK" in os.environ else 6):
        folder = tmp_path / str(seed)
        folder.mkdir()
        match scene:
            case "cell":
                told = cell(folder, light, seed)
            case _:
                told = flat_cell(folder, light, seed, 2.0 if "thin" in scene else 6.0)
        assert told == [], seed
