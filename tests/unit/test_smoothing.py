from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage

from xct_pipeline.smoothing import gaussian_reach, gaussian_taps, gradient_block, smooth_block


@pytest.fixture(scope="module")
def block() -> np.ndarray:
    return (5 + np.random.default_rng(0).standard_normal((21, 33, 47))).astype(np.float32)


@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.0, 2.3, 7.0])
def test_smoothing_is_that_of_scipy(block: np.ndarray, sigma: float) -> None:
    expected = scipy.ndimage.gaussian_filter(block.astype(float), sigma, mode="nearest")
    np.testing.assert_allclose(smooth_block(block, sigma), expected, atol=2e-6 * block.max())


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.3])
def test_gradient_is_that_of_scipy(block: np.ndarray, sigma: float) -> None:
    expected = scipy.ndimage.gaussian_gradient_magnitude(block.astype(float), sigma, mode="nearest")
    np.testing.assert_allclose(gradient_block(block, sigma), expected, atol=2e-6 * block.max())


def test_a_block_with_its_halo_gives_the_same_bytes(block: np.ndarray) -> None:
    reach = gaussian_reach(1.0)
    core = (slice(6, 13), slice(8, 20), slice(9, 26))
    outer = tuple(slice(part.start - reach, part.stop + reach) for part in core)
    inner = tuple(slice(reach, -reach) for _ in core)
    for function in (smooth_block, gradient_block):
        np.testing.assert_array_equal(function(block[outer], 1.0)[inner], function(block, 1.0)[core])


def test_a_part_of_a_block_is_that_of_the_whole(block: np.ndarray) -> None:
    for core in ((slice(6, 13), slice(8, 20), slice(9, 26)), (slice(0, 2), slice(20, 33), slice(46, 47))):
        for function in (smooth_block, gradient_block):
            np.testing.assert_array_equal(function(block, 1.0, core), function(block, 1.0)[core])


@pytest.mark.parametrize("sigma", [0.5, 1.0, 1.2, 2.3])
def test_weights_are_added_from_the_middle_outwards_to_the_last_bit(block: np.ndarray, sigma: float) -> None:
    expected = block
    bell, reach = gaussian_taps(sigma)[0], gaussian_reach(sigma)
    for axis, n in enumerate(block.shape):
        wide = np.pad(expected, [(reach * (axis == a),) * 2 for a in range(3)], mode="edge")
        rows = [wide.take(range(k, k + n), axis=axis) for k in range(2 * reach + 1)]
        expected = bell[0] * rows[reach]
        for k in range(1, reach + 1):
            expected = expected + bell[k] * (rows[reach - k] + rows[reach + k])
    np.testing.assert_array_equal(smooth_block(block, sigma), expected)


def test_weights_add_up_and_a_single_plane_is_filtered() -> None:
    bell, slope = gaussian_taps(1.5)
    assert bell[0] + 2 * bell[1:].sum() == pytest.approx(1, abs=1e-6)
    assert 2 * (slope * np.arange(len(slope))).sum() == pytest.approx(1, rel=2e-3)  # of a ramp of one per voxel
    np.testing.assert_allclose(smooth_block(np.full((1, 1, 5), 3.0), 2.0), 3.0, rtol=1e-6)
