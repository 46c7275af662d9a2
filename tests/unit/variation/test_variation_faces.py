"""The compiled sweeps for faces and masks equal SciPy's filters."""

import numpy as np
import pytest
import scipy.ndimage as ndi

from xct_pipeline.variation import faces


def block(shape=(17, 21, 83)):
    rng = np.random.default_rng(0)
    z, y, x = np.ogrid[: shape[0], : shape[1], : shape[2]]
    return (rng.normal(0, 0.2, shape) + 4 * (z + 0.3 * y > 12) + 2 * (np.hypot(y - 9, x - 40) < 7)).astype(np.float32)


def test_smoothing():
    want = ndi.gaussian_filter(block(), 1.0, mode="nearest", truncate=3.0)
    np.testing.assert_allclose(faces.smoothed(block()), want, atol=1e-6 * np.abs(want).max())


def test_faces_are_where_the_gradient_is_steep():
    smooth = faces.smoothed(block())
    square = sum(ndi.correlate1d(smooth, [-0.5, 0, 0.5], axis=axis, mode="nearest") ** 2 for axis in range(3))
    np.testing.assert_array_equal(faces.find_faces(smooth, 0.8), square > np.float32(0.8**2))
    assert 0.02 < faces.find_faces(smooth, 0.8).mean() < 0.5


@pytest.mark.parametrize("width", [1, 2, 3, 5])
def test_grown_by_a_ball(width):
    mask = np.random.default_rng(1).random((11, 17, 70)) > 0.997
    reach = np.arange(-width, width + 1)
    ball = reach[:, None, None] ** 2 + reach[:, None] ** 2 + reach**2 <= width**2 + 0.5
    np.testing.assert_array_equal(faces.grow(mask, faces.ball(width)), ndi.binary_dilation(mask, ball))


def test_grown_by_steps_along_the_axes():
    mask = np.random.default_rng(2).random((11, 17, 70)) > 0.997
    np.testing.assert_array_equal(faces.grow(mask, faces.diamond(2)), ndi.binary_dilation(mask, iterations=2))


@pytest.mark.parametrize("threshold", [0.1, 2.0, 4.1])
def test_median_above(threshold):
    want = ndi.median_filter(block(), size=3, mode="nearest") > np.float32(threshold)
    assert want.any()
    assert not want.all()
    np.testing.assert_array_equal(faces.median_above(block(), threshold), want)
