"""A sample that moves slowly within a scan: how far it moved, and that one that stood still is left alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, shift

from xct_pipeline.acquisition.steps import Frame
from xct_pipeline.correction.distortion import resample
from xct_pipeline.correction.drift import find_drift
from xct_pipeline.correction.moments import sinusoid_residuals
from xct_pipeline.engine.blocks import regions_of
from xct_pipeline.reconstruction.steps.motion import judged
from xct_pipeline.reconstruction.steps.upright import upright_op

ANGLES = np.linspace(0, np.pi, 121)
TIME = np.linspace(0, 1, 121)
SHAPE = (40, 64)


def projections(path: np.ndarray, noise: float = 0.003) -> np.ndarray:
    """Two balls about an axis, displaced by `path` (angle, 2)."""
    row, column = np.indices(SHAPE)
    views = []
    for angle, (up, aside) in zip(ANGLES, path, strict=True):
        total = np.zeros(SHAPE)
        for z, radius, turn, size in ((15.0, 9.0, 0.4, 6.0), (24.0, 7.0, 2.6, 4.0)):
            far = (row - z - up) ** 2 + (column - 33 - radius * np.cos(angle - turn) - aside) ** 2
            total += 0.2 * np.sqrt(np.maximum(size**2 - far, 0))
        views.append(gaussian_filter(total, 0.7))
    rng = np.random.default_rng(0)
    return np.array(views) + rng.normal(0, noise, (len(path), *SHAPE))


def path(size: float) -> np.ndarray:
    return size * np.stack([1 - np.exp(-3 * TIME), np.sqrt(TIME + 0.05)], axis=1)


@pytest.mark.parametrize("size", [0.5, 3.0])
def test_the_motion_is_found(size):
    true = path(size)
    found = find_drift(projections(true), ANGLES, TIME)
    np.testing.assert_allclose(found.shift[:, 0], true[:, 0] - true[:, 0].mean(), atol=0.02 + 0.01 * size)
    aside, _ = sinusoid_residuals(true[:, 1], ANGLES, np.zeros(121, bool))
    np.testing.assert_allclose(found.shift[:, 1] - found.shift[:, 1].mean(), aside - aside.mean(), atol=0.05)
    assert (found.sigma < 0.02).all()
    motion = judged(found.shift, found.sigma)
    assert motion.shift is not None
    assert "within the scan, slowly: projections were shifted back" in motion.warnings[0]


def test_a_sample_that_stands_still_is_left_alone():
    found = find_drift(projections(path(0.0)), ANGLES, TIME)
    motion = judged(found.shift, found.sigma)
    assert motion.shift is None
    assert motion.method == "moments: none that matters"
    assert motion.warnings == ()
    assert np.abs(found.shift).max() < 0.03


def test_too_little_to_tell():
    with pytest.raises(ValueError, match="takes 28"):
        find_drift(projections(path(0.0))[:20], ANGLES[:20], TIME[:20])
    with pytest.raises(ValueError, match="too little"):
        find_drift(np.zeros((121, *SHAPE)), ANGLES, TIME)


@pytest.mark.parametrize("tilt", [0.0, 1.2])
@pytest.mark.parametrize("step", [1, 7, 40])
def test_projections_are_shifted_back_the_same_whatever_the_block(tilt, step):
    true = path(3.0) - path(3.0).mean(axis=0)
    moved = projections(path(3.0), 0.0).astype(np.float32)
    frame = Frame(121, *SHAPE, 0, 1)
    op = upright_op(frame, tilt, true)
    whole = (slice(0, 121), slice(0, 40), slice(0, 64))
    straight = op.function(moved, whole, whole)
    for first in range(0, 40, step):
        target = (slice(10, 121), slice(first, min(first + step, 40)), slice(0, 64))
        source = regions_of((op,), target)[0]
        assert source[1].start >= first - 6 - (2 if tilt else 0)
        part = op.function(moved[source], source, target)
        assert np.array_equal(part, straight[10:, target[1]])
    if not tilt:
        still = projections(np.tile(path(3.0).mean(axis=0), (121, 1)), 0.0)
        assert np.sqrt(np.mean((straight - still)[:, 5:-5, 5:-5] ** 2)) < 0.01  # balls have steep edges
        one = resample(moved[3:4], *(np.indices(SHAPE) + true[3][:, None, None]), first_row=0, n_rows=40)
        assert np.array_equal(one[0], straight[3])
        splines = shift(moved[3], -true[3], order=3, mode="nearest")
        assert np.sqrt(np.mean((splines - straight[3])[5:-5, 5:-5] ** 2)) < 0.01
