from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
from skimage.measure import marching_cubes, mesh_surface_area

from xct_pipeline.segmentation import isosurface
from xct_pipeline.segmentation.isosurface import surface_area


def meshed(field: np.ndarray, level: float) -> float:
    corners, triangles = marching_cubes(field, level)[:2]
    return float(mesh_surface_area(corners.astype(np.float64), triangles))


@pytest.mark.parametrize("level", [0.0, 0.1])
@pytest.mark.parametrize("sigma", [0.0, 0.5, 2.0])
def test_area_is_that_of_the_mesh_of_skimage(sigma: float, level: float) -> None:
    noise = np.random.default_rng(0).standard_normal((20, 30, 25))
    field = scipy.ndimage.gaussian_filter(noise, sigma).astype(np.float32)  # rough ones are full of cells with a choice
    assert surface_area(field, level) == pytest.approx(meshed(field, level), rel=1e-6)


@pytest.mark.parametrize("few", [0, 1, 500])
def test_cells_with_a_choice_count_once_however_many_are_listed_at_first(few: int, monkeypatch) -> None:
    field = np.random.default_rng(0).standard_normal((20, 30, 25)).astype(np.float32)
    whole = surface_area(field, 0.1)
    monkeypatch.setattr(isosurface, "FEW", few)
    assert surface_area(field, 0.1) == whole


def test_every_cell_is_cut_as_skimage_cuts_it() -> None:
    for cell in np.random.default_rng(1).standard_normal((600, 2, 2, 2)).astype(np.float32):
        if cell.min() < 0 < cell.max():
            assert surface_area(cell, 0.0) == pytest.approx(meshed(cell, 0.0), abs=1e-6)


def test_values_on_the_level_itself() -> None:
    field = np.random.default_rng(2).integers(0, 4, (12, 13, 14)).astype(np.float32)
    for level in (0.5, 1.0):
        assert surface_area(field, level) == pytest.approx(meshed(field, level), rel=1e-5)


def test_a_plane_and_nothing() -> None:
    z = np.arange(9, dtype=np.float32)[:, None, None]
    assert surface_area(np.broadcast_to(z, (9, 5, 7)), 3.25) == pytest.approx(4 * 6)
    assert surface_area(np.zeros((4, 4, 4), np.float32), 0.5) == 0
    assert surface_area(np.zeros((1, 4, 4), np.float32), 0.5) == 0
