"""What corrections leave enters the errors of a pair, and covers what it does to a sum over a region."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from numpy.polynomial import chebyshev

from xct_pipeline.config import Variation
from xct_pipeline.reconstruction.fourier import reconstruct
from xct_pipeline.reconstruction.projector import project_slices
from xct_pipeline.registration.steps.volumes import Motion
from xct_pipeline.scan import Scan
from xct_pipeline.store.store import Store
from xct_pipeline.variation.anode import Anode
from xct_pipeline.variation.closures import CLOSURES
from xct_pipeline.variation.steps.physics import Physics, errors_of
from xct_pipeline.variation.steps.residues import LEVEL, Residue, residues_of

SIZE, ROWS, ANGLES = 48, 20, 90
THETA = np.linspace(0, np.pi, ANGLES, endpoint=False)
MIDDLE = (SIZE - 1) / 2
NAMES = ("a", "b", "c")


class NoFrames:
    """Projections that are never read."""

    shape = (ANGLES, ROWS, SIZE)


def series_of(residues: tuple[Residue, ...] = ()) -> SimpleNamespace:
    scans = tuple(Scan(name, NoFrames(), THETA) for name in NAMES)
    motions = tuple(Motion(name, np.eye(3, 4), offset_sigma=1e-3) for name in NAMES)
    volume = SimpleNamespace(voxel_um=20.0)
    frame = (ROWS, SIZE, SIZE)
    return SimpleNamespace(
        names=NAMES, scans=scans, motions=motions, frame=frame, volume=volume, grey=(), dark=(), residues=residues
    )


def test_residues_are_those_of_the_table(tmp_path):
    store = Store(tmp_path / "s.zarr")
    store.claim({name: [name] for name in NAMES})
    assert residues_of(series_of(), store) == ()
    nan = float("nan")
    table = pd.DataFrame({"scan": NAMES[:2], "motion_rows_sigma": [0.03, nan], "motion_columns_sigma": [0.04, nan]})
    store.write_table("reconstruction", table.assign(flat_change_sigma=[nan, 2e-3]))
    found = residues_of(series_of(), store)
    assert found[0] == (pytest.approx(0.05), 0.0)
    assert found[1] == (0.0, pytest.approx(LEVEL * 2e-3 / np.sqrt(ANGLES) / (SIZE * 20e-4)))
    assert found[2] == (0.0, 0.0)


def test_residues_of_both_scans_are_in_the_errors_of_the_pair():
    settings, physics = Variation(closure="na_only"), Physics(CLOSURES["na_only"], Anode(0.4), 30.0, 1.0)
    plain = errors_of(settings, physics, series_of(), (1, 0))
    more = errors_of(settings, physics, series_of((Residue(0.03, 2e-3), Residue(0.04, 1e-3), Residue(0, 0))), (1, 0))
    assert more.shift_voxel == pytest.approx(np.hypot(plain.shift_voxel, 0.05))
    assert more.offset == pytest.approx(np.sqrt(plain.offset**2 + 5e-6))
    assert more.gain == plain.gain


def test_a_level_of_all_line_integrals_is_spread_over_the_slice():
    flat = np.ones((ANGLES, 1, SIZE), np.float32)
    found = np.asarray(reconstruct(flat, THETA, center=MIDDLE, pixel_size_um=20.0))[0]
    y, x = np.indices(found.shape) - MIDDLE
    inner = found[np.hypot(y, x) < 0.3 * SIZE] * SIZE * 20e-4
    assert inner == pytest.approx(LEVEL, rel=0.1)


def test_weights_of_flats_that_are_off_in_each_projection_move_a_region_by_what_is_said():
    rng, sums = np.random.default_rng(0), []
    y, x = np.indices((SIZE, SIZE)) - MIDDLE
    inner = np.hypot(y, x) < 0.3 * SIZE
    for _ in range(200):
        off = 2e-3 * rng.normal(size=(ANGLES, 1, 1)) * np.ones((1, 1, SIZE))
        slices = reconstruct(off.astype(np.float32), THETA, center=MIDDLE, pixel_size_um=20.0)
        sums.append(float(np.asarray(slices)[0][inner].mean()))
    expected = LEVEL * 2e-3 / np.sqrt(ANGLES) / (SIZE * 20e-4)
    assert np.std(sums) == pytest.approx(expected, rel=0.15)


def test_errors_of_a_motion_move_a_region_by_no_more_than_is_said():
    """A region that ends within a ramp along z, seen with smooth errors of the rows in each projection."""
    rng, sums = np.random.default_rng(1), []
    y, x = np.indices((SIZE, SIZE)) - MIDDLE
    inner = np.hypot(y, x + 4) < 8
    ramp = np.clip((np.arange(ROWS) - 6) / 8, 0, 1)
    paths = project_slices(
        (ramp[:, None, None] * (np.hypot(y, x) < 18)).astype(np.float32), THETA, center=MIDDLE, columns=SIZE
    )
    slope = np.gradient(paths, axis=0)[10:11]
    for _ in range(200):
        time = np.linspace(-1, 1, ANGLES)
        path = chebyshev.chebval(time, rng.normal(size=8))
        path *= 0.05 / np.sqrt(np.mean(path**2))
        moved = (slope * path[None, :, None]).astype(np.float32)
        sums.append(float(np.asarray(reconstruct(np.moveaxis(moved, 0, 1), THETA, center=MIDDLE))[0][inner].mean()))
    said = 0.05 * np.gradient(ramp)[10]
    assert 0.2 * said < np.std(sums) < 1.0 * said
