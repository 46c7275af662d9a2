"""Where a watershed has anything to decide: no voxel that is steep is missed, and little else is looked at."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.ndimage

from xct_pipeline.segmentation.undecided import _bounds, undecided_boxes
from xct_pipeline.segmentation.watershed import gradient_magnitude, watershed_classes, watershed_halo

EDGE = 0.4


def _sample(seed: int, gaps: bool) -> np.ndarray:
    """Return blurred bodies with noise in (60, 90, 110) voxels, without data beyond a slanted plane."""
    rng = np.random.default_rng(seed)
    z, y, x = np.indices((60, 90, 110))
    volume = np.where((z - 30) ** 2 + (y - 30) ** 2 + (x - 30) ** 2 < 12**2, 5.0, 0.1)
    volume[:, 70:, 60:] = 1.0  # a face that is not steep
    volume = scipy.ndimage.gaussian_filter(volume, 1.3) + 0.02 * rng.standard_normal(volume.shape)
    volume[20:23, 10, 100] = 3.0
    if gaps:
        volume[z + 0.2 * y - 0.1 * x > 55] = np.nan
    return volume.astype(np.float32)


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("sigma", [0.8, 1.0, 2.5])
def test_no_steep_voxel_is_missed(sigma: float, gaps: bool) -> None:
    block = _sample(1, gaps)
    core = (slice(3, 60), slice(0, 77), slice(11, 110))
    inside = np.zeros(block.shape, bool)
    boxes = undecided_boxes(block, core, sigma=sigma, edge=EDGE / sigma, filled=8, margin=0)
    for box in boxes:
        assert not inside[box].any()
        inside[box] = True
    steep = gradient_magnitude(block, sigma=sigma) >= EDGE / sigma
    assert steep[core].any()
    assert not (steep[core] & ~inside[core]).any()
    outside = inside.copy()
    outside[core] = False
    assert not outside.any()
    if sigma <= 1:
        assert inside[core].mean() < 0.7


def test_nothing_to_decide_in_one_material_or_without_data() -> None:
    block = (1 + 0.02 * np.random.default_rng(0).standard_normal((40, 50, 60))).astype(np.float32)
    core = tuple(slice(0, n) for n in block.shape)
    options = {"sigma": 1.0, "edge": EDGE, "filled": 8, "margin": 15}
    assert undecided_boxes(block, core, **options) == []
    assert undecided_boxes(np.full_like(block, np.nan), core, **options) == []


@pytest.mark.parametrize("seed", [2, 3])
def test_labels_are_those_of_looking_everywhere(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    block = _sample(seed, gaps=seed == 3)
    halo = watershed_halo()
    core = (slice(halo - 20, 50), slice(0, 90), slice(5, 100))
    options = {"edge": EDGE, "means": (0.1, 1.0, 5.0), "blur": math.hypot(1.0, 0.8), "core": core}
    found = watershed_classes(block, [0.5, 3.0], **options)
    monkeypatch.setattr("xct_pipeline.segmentation.watershed.undecided_boxes", lambda block, core, **_: [core])
    whole = watershed_classes(block, [0.5, 3.0], **options)
    np.testing.assert_array_equal(found, whole)
    assert set(np.unique(whole)) == {0, 1, 2}


@pytest.mark.parametrize("shape", [(16, 24, 40), (13, 9, 21), (1, 17, 8), (9, 1, 1)])
def test_bounds_of_tiles_are_those_of_their_voxels(shape: tuple[int, int, int]) -> None:
    block = np.random.default_rng(3).standard_normal(shape).astype(np.float32)
    block[np.random.default_rng(4).random(shape) < 0.01] = np.nan
    steps = [np.abs(np.diff(block, axis=axis, append=block.take([-1], axis=axis))) for axis in range(3)]
    low, high, along, gaps = _bounds(block)
    for tile in np.ndindex(low.shape):
        part = tuple(slice(8 * k, 8 * k + 8) for k in tile)
        known = block[part][np.isfinite(block[part])]
        assert low[tile] == known.min(initial=np.inf)
        assert high[tile] == known.max(initial=-np.inf)
        assert gaps[tile] == np.isnan(block[part]).any()
        for axis, step in enumerate(steps):
            assert along[axis][tile] == np.fmax.reduce(step[part], axis=None, initial=0)
