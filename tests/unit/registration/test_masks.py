import numpy as np
import pytest
import scipy.ndimage

from xct_pipeline.registration.masks import attenuation_mask, dilated, extreme_points, unchanged_mask


def test_attenuation_mask_holds_the_material_with_its_edges():
    volume = np.zeros((30, 30, 30), np.float32)
    volume[10:20, 10:20, 10:20] = 6.0
    volume[0, 0, 0] = np.nan
    mask = attenuation_mask(volume, minimum=4.0, smooth=0.0, grow=2)
    expected = np.zeros(mask.shape, bool)
    expected[8:22, 8:22, 8:22] = True
    np.testing.assert_array_equal(mask, expected)
    noisy = volume + np.random.default_rng(0).normal(0, 2.0, volume.shape).astype(np.float32)
    assert not attenuation_mask(noisy, minimum=4.0, grow=0)[:6, :6].any()  # smoothed: no specks of noise


@pytest.mark.parametrize("shape", [(1, 5, 9), (7, 6, 5), (2, 3, 30)])
def test_dilation_is_a_maximum_filter(shape):
    mask = np.random.default_rng(0).random(shape) > 0.95
    for reach in range(8):
        expected = scipy.ndimage.maximum_filter(mask.astype(np.uint8), size=2 * reach + 1) > 0
        np.testing.assert_array_equal(dilated(mask, reach), expected)


def test_unchanged_mask_finds_a_change_below_the_noise():
    rng = np.random.default_rng(1)
    residual = rng.normal(0, 1.0, (40, 40, 40)).astype(np.float32)
    residual[:, :, 30:] += 1.2  # the noise of one voxel is 1
    residual[0, 0, 0] = np.nan
    kept = unchanged_mask(residual)
    assert kept[:, :, :27].mean() > 0.99
    assert kept[:, :, 33:].mean() < 0.02
    assert not kept[0, 0, 0]
    assert not unchanged_mask(np.full((5, 5, 5), np.nan, np.float32)).any()


def test_a_displaced_edge_is_no_change():
    residual, gradient = np.zeros((2, 30, 30, 30), np.float32)
    gradient[:, :, 15], residual[:, :, 15] = 0.4, 0.1
    assert unchanged_mask(residual, gradient).all()
    assert not unchanged_mask(residual).all()


def test_extreme_points_hold_the_farthest_voxel():
    rng = np.random.default_rng(2)
    mask = rng.random((12, 13, 14)) < 0.05
    ends = extreme_points(mask)
    for _ in range(5):
        a = rng.normal(size=(3, 3))
        every = np.linalg.norm(np.argwhere(mask) @ a.T, axis=1).max()
        assert np.linalg.norm(ends @ a.T, axis=1).max() == pytest.approx(every)
    assert extreme_points(np.zeros((3, 3, 3), bool)).shape == (0, 3)
