"""Radial distortion."""

import numpy as np
import pytest

from xct_pipeline.correction import distortion
from xct_pipeline.correction.distortion import correct_distortion, row_reach, source_positions

K, CENTER = (1.0, 2e-4, 1e-6), (60.3, 71.8)


def pattern(y, x):
    return np.cos(y / 9) * np.sin(x / 7 + 0.4) + 2


def recorded(shape=(120, 150)):
    """What the lens records: the pattern where the inverse of the model (found by iteration) says."""
    y, x = (np.mgrid[: shape[0], : shape[1]].astype(float).T - CENTER).T
    r = np.hypot(y, x)
    undistorted = r.copy()
    for _ in range(60):
        undistorted = r / (K[0] + K[1] * undistorted + K[2] * undistorted**2)
    factor = np.divide(undistorted, r, out=np.ones_like(r), where=r > 0)
    return pattern(CENTER[0] + y * factor, CENTER[1] + x * factor)


@pytest.mark.parametrize(("order", "tolerance"), [(3, 1.5e-3), (1, 6e-3)])
def test_a_distorted_pattern_is_straightened(order, tolerance):
    image = recorded()
    got = correct_distortion(image[None].astype(np.float32), K, CENTER, order=order)[0]
    y, x = np.mgrid[:120, :150]
    sy, sx = source_positions(np.arange(120), 150, K, CENTER)
    inside = (sy > 2) & (sy < 117) & (sx > 2) & (sx < 147)
    assert np.abs(image - pattern(y, x))[inside].max() > 0.1
    assert np.abs(got - pattern(y, x))[inside].max() < tolerance


def test_no_distortion_changes_nothing():
    image = np.random.default_rng(0).uniform(size=(2, 20, 30)).astype(np.float32)
    for order in (1, 3):
        assert np.array_equal(correct_distortion(image, (1.0,), (9.2, 14.7), order=order), image)


def test_magnification_moves_the_edge_by_the_model():
    sy, sx = source_positions([10], 5, (1.1, 0.01), (0.0, 0.0))
    r = np.hypot(10, 4)
    assert sy[0, 4] == pytest.approx(10 * (1.1 + 0.01 * r))
    assert sx[0, 4] == pytest.approx(4 * (1.1 + 0.01 * r))


@pytest.mark.parametrize("order", [1, 3])
def test_a_block_with_halo_gives_the_same_bits(order):
    image = np.random.default_rng(1).uniform(size=(2, 120, 150)).astype(np.float32)
    whole = correct_distortion(image, K, CENTER, order=order)
    halo = row_reach(120, 150, K, CENTER)
    first, last = 50, 64
    a, b = max(first - halo, 0), min(last + halo, 120)
    part = correct_distortion(image[:, a:b], K, CENTER, first_row=a, order=order)
    np.testing.assert_allclose(part[:, first - a : last - a], whole[:, first:last], rtol=1e-6)
    assert halo < 12


@pytest.mark.parametrize("order", [1, 3])
def test_fast_path_equals_plain_formulation(order):
    image = np.random.default_rng(2).uniform(size=(3, 40, 50)).astype(np.float32)
    y, x = source_positions(np.arange(40), 50, K, (20.0, 25.0))
    rows, wy = distortion._taps(np.clip(y, 0, 39), 40, order)
    columns, wx = distortion._taps(np.clip(x, 0, 49), 50, order)
    plain = distortion._plain(image, rows, columns, wy, wx)
    np.testing.assert_allclose(correct_distortion(image, K, (20.0, 25.0), order=order), plain, rtol=2e-6, atol=1e-6)


def test_bad_input():
    image = np.zeros((1, 4, 5), np.float32)
    with pytest.raises(ValueError, match="order"):
        correct_distortion(image, K, CENTER, order=2)
    with pytest.raises(ValueError, match="coefficients"):
        correct_distortion(image, (), CENTER)
