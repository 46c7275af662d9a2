"""What must not change the centre, or must change it in a known way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from xct_pipeline.reconstruction.center.find import find_center

STEPS, WIDTH, ROWS = 60, 96, 3


def discs(angles, center, seed):
    """Smooth-edged discs (Gaussian bodies have exact projections)."""
    rng = np.random.default_rng(seed)
    column = np.arange(WIDTH) - center
    out = np.zeros((len(angles), ROWS, WIDTH))
    for row in range(ROWS):
        for _ in range(6):
            r, t, s = rng.uniform(0, 22), rng.uniform(0, 2 * np.pi), rng.uniform(2, 4)
            at = r * np.cos(angles - t)
            out[:, row] += rng.uniform(0.3, 1) * np.exp(-0.5 * ((column - at[:, None]) / s) ** 2)
    return out.astype(np.float32)


half = st.sampled_from([np.arange(STEPS + 1), np.arange(STEPS), np.arange(2 * STEPS)])


@settings(max_examples=12, deadline=None)
@given(half, st.floats(42, 53), st.integers(0, 1000), st.floats(-7, 7), st.booleans())
def test_start_direction_and_wrap_of_the_angles_do_not_matter(index, center, seed, start, descending):
    angles = index * np.pi / STEPS
    data = discs(angles, center, seed)
    plain = find_center(data, angles)
    sign = -1 if descending else 1
    # the same projections under other angles are another sample about the same axis
    other = find_center(data, np.mod(sign * angles + start, 2 * np.pi))
    assert plain.center == pytest.approx(center, abs=max(0.02, 4 * plain.sigma))
    assert other.center == pytest.approx(center, abs=max(0.02, 4 * other.sigma))


@settings(max_examples=12, deadline=None)
@given(half, st.floats(42, 53), st.integers(0, 1000), st.floats(0.3, 3), st.floats(-1, 1))
@example(np.arange(STEPS + 1), 42.0, 324, 1.0, -0.5)
def test_mirror_order_scale_and_offset(index, center, seed, scale, offset):
    angles = index * np.pi / STEPS
    data = discs(angles, center, seed)
    plain = find_center(data, angles)
    order = np.random.default_rng(seed).permutation(len(angles))
    shuffled = find_center(data[order], angles[order])
    assert shuffled.center == pytest.approx(plain.center, abs=1e-4)
    mirrored = find_center(data[:, :, ::-1], -angles)
    assert mirrored.center == pytest.approx(WIDTH - 1 - center, abs=max(0.02, 4 * mirrored.sigma))
    scaled = find_center((data * np.float32(scale) + np.float32(offset)), angles)
    # air far from zero changes what counts as strong rings; where that is in doubt, the error says so
    assert scaled.center == pytest.approx(plain.center, abs=max(0.01, 3 * max(plain.sigma, scaled.sigma)))
