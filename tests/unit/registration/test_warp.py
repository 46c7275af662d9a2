"""Interpolation against closed forms, scipy and its own plain formulation."""

import numpy as np
import pytest
import scipy.ndimage
from scipy.special import erf

from xct_pipeline.registration import transform as tf
from xct_pipeline.registration.warp import (
    mean_variance_factor,
    required_input_box,
    variance_factor,
    warp_block,
    warp_plain,
)

ORDERS = ["linear", "cubic", "quintic"]
SHIFT = (0.5, 0.37, 0.21)


def whole(shape):
    return tuple(slice(0, n) for n in shape)


def warp(image, transform, order="cubic", box=None):
    return warp_block(image, transform, box or whole(image.shape), shape=image.shape, order=order)


def balls(shape, center_shift=(0.0, 0.0, 0.0), edge=1.0, radii=(9.0, 6.0)):
    """Balls with an edge profile erf(d / edge), exact for any shift."""
    z, y, x = np.indices(shape, dtype=np.float64)
    image = np.zeros(shape)
    for radius, middle in zip(radii, ((22.3, 21.1, 20.4), (38.2, 40.7, 41.9)), strict=True):
        c = np.array(middle) + center_shift
        r = np.sqrt((z - c[0]) ** 2 + (y - c[1]) ** 2 + (x - c[2]) ** 2)
        image += 0.5 * (1 - erf((r - radius) / edge))
    return image.astype(np.float32)


@pytest.mark.parametrize("order", ORDERS)
def test_identity_returns_the_voxels(order):
    image = np.random.default_rng(0).normal(size=(20, 21, 22)).astype(np.float32)
    np.testing.assert_allclose(warp(image, tf.identity(), order), image, atol=2e-6 * np.abs(image).max())


@pytest.mark.parametrize(("order", "degree"), [("linear", 1), ("cubic", 3), ("quintic", 5)])
def test_agrees_with_scipy_where_there_is_data(order, degree):
    image = np.random.default_rng(1).normal(size=(30, 31, 32)).astype(np.float32)
    motion = tf.rigid([0.03, -0.05, 0.1], [1.3, -2.2, 0.4], [15, 15, 15])
    theirs = scipy.ndimage.affine_transform(
        image.astype(np.float64), motion[:, :3], motion[:, 3], order=degree, mode="mirror"
    )
    ours = warp(image, motion, order)
    inside = np.isfinite(ours)
    assert 0.5 < inside.mean() < 1.0
    assert np.abs(ours - theirs)[inside].max() < 5e-6 * np.abs(theirs).max()


@pytest.mark.parametrize("order", ORDERS)
def test_fast_path_agrees_with_the_plain_formulation(order):
    image = np.random.default_rng(2).normal(size=(24, 25, 26)).astype(np.float32)
    image[5, 6, 7] = np.nan
    motion = tf.rigid([0.03, -0.05, 0.1], [1.3, -2.2, 0.4], [12, 12, 12])
    fast = warp(image, motion, order)
    plain = warp_plain(image, motion, whole(image.shape), shape=image.shape, order=order)
    np.testing.assert_array_equal(np.isnan(fast), np.isnan(plain))
    np.testing.assert_allclose(fast, plain, atol=2e-6 * np.nanmax(np.abs(plain)), equal_nan=True)  # float32 rounding


@pytest.mark.parametrize(("order", "share"), [("linear", 0.05), ("cubic", 0.007), ("quintic", 0.006)])
def test_residual_of_a_sub_voxel_shift_at_an_edge_one_voxel_wide(order, share):
    image, moved = balls((60, 62, 64)), balls((60, 62, 64), SHIFT)
    residual = warp(moved, tf.translation(SHIFT), order) - image
    assert np.nanstd(residual) < share * image.std()


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("motion", [tf.translation(SHIFT), tf.rigid([0.01, 0.012, -0.008], SHIFT, [30, 30, 30])])
def test_sum_of_an_object_wholly_inside_is_kept(order, motion):
    # a smooth object: a turned grid samples an edge of one voxel at other places, which no kernel can undo
    image = scipy.ndimage.gaussian_filter(balls((60, 62, 64)).astype(np.float64), 1.5).astype(np.float32)
    total, kept = image.sum(dtype=np.float64), np.nansum(warp(image, motion, order), dtype=np.float64)
    turned = not np.array_equal(motion[:, :3], np.eye(3))
    tolerance = {"linear": 1e-4, "cubic": 1e-6, "quintic": 1e-6}[order] if turned else 1e-6
    assert abs(kept / total - 1) < tolerance


@pytest.mark.parametrize("order", ORDERS)
def test_outside_the_data_is_nan_and_counted(order):
    image = np.ones((12, 13, 14), np.float32)
    out = warp(image, tf.translation([3.37, -2.61, 0.0]), order)
    expected = np.zeros(image.shape, bool)
    expected[8:] = True  # 8 + 3.37 > 11
    expected[:, :3] = True  # 2 - 2.61 < 0
    np.testing.assert_array_equal(np.isnan(out), expected)
    np.testing.assert_allclose(out[~expected], 1.0, atol=1e-6)


def test_a_box_that_sees_nothing_is_nan():
    far = tf.translation([100.0, 0.0, 0.0])
    box = whole((4, 5, 6))
    assert required_input_box(box, far, (20, 20, 20)) is None
    out = warp_block(np.zeros((0, 0, 0), np.float32), far, box, shape=(20, 20, 20))
    assert out.shape == (4, 5, 6)
    assert np.isnan(out).all()


@pytest.mark.parametrize(("order", "reach"), [("linear", 2), ("cubic", 4), ("quintic", 6)])
def test_missing_voxels_spread_by_the_taps_only(order, reach):
    image = balls((48, 50, 52), edge=3.0)
    holed = image.copy()
    holed[20:23, 25:27, 30] = np.nan
    motion = tf.translation(SHIFT)
    clean, out = warp(image, motion, order), warp(holed, motion, order)
    lost = np.isnan(out) & ~np.isnan(clean)
    assert lost.sum() == (2 + reach) * (1 + reach) * reach
    both = np.isfinite(out)
    assert np.abs(out - clean)[both].max() < 0.02 * image.max()
    far = both.copy()
    far[10:33, 15:37, 20:41] = False
    np.testing.assert_allclose(out[far], clean[far], atol=1e-5)


@pytest.mark.parametrize(("order", "std"), [("linear", 0.42), ("cubic", 0.73), ("quintic", 0.82)])
def test_variance_factor_of_white_noise(order, std):
    factor = variance_factor(SHIFT, order)
    assert np.sqrt(factor) == pytest.approx(std, abs=0.005)
    noise = np.random.default_rng(3).normal(size=(50, 50, 50)).astype(np.float32)
    inner = warp(noise, tf.translation(SHIFT), order)[8:-8, 8:-8, 8:-8]
    assert inner.var() == pytest.approx(float(factor), rel=0.03)


def test_variance_factor_of_sums_along_z():
    assert np.sqrt(variance_factor((0.0, *SHIFT[1:]))) == pytest.approx(0.84, abs=0.005)
    assert variance_factor((0.0, 0.0, 0.0)) == pytest.approx(1.0, abs=1e-6)


def test_mean_variance_factor_lies_between_the_extremes():
    motion = tf.rigid([0.02, 0.03, 0.01], [0, 0, 0], [40, 40, 40])
    assert variance_factor((0.5, 0.5, 0.5)) < mean_variance_factor(motion, (80, 80, 80)) < 1.0


def test_a_block_that_is_too_small_is_refused():
    image = np.zeros((40, 40, 40), np.float32)
    box = (slice(10, 20), slice(10, 20), slice(10, 20))
    with pytest.raises(ValueError, match="needs"):
        warp_block(image[15:30], tf.translation(SHIFT), box, shape=image.shape, origin=(15, 0, 0))


def test_the_input_is_not_changed():
    image = np.random.default_rng(5).normal(size=(20, 20, 20)).astype(np.float32)
    image[3, 3, 3] = np.nan
    before = image.copy()
    warp(image, tf.translation(SHIFT))
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("degrees", [0.0, 0.4, 8.0, 40.0])  # taps in long, short and hardly any runs of a row
@pytest.mark.parametrize(("order", "degree"), [("linear", 1), ("cubic", 3), ("quintic", 5)])
def test_any_turn_agrees_with_scipy(order, degree, degrees):
    image = np.random.default_rng(4).normal(size=(20, 40, 70)).astype(np.float32)
    motion = tf.rigid(np.radians([degrees, 0.3 * degrees, 0.5 * degrees]), [0.3, -0.6, 0.2], [10, 20, 35])
    theirs = scipy.ndimage.affine_transform(
        image.astype(np.float64), motion[:, :3], motion[:, 3], order=degree, mode="mirror"
    )
    ours = warp(image, motion, order)
    inside = np.isfinite(ours)
    assert inside.mean() > 0.3
    assert np.abs(ours - theirs)[inside].max() < 5e-6 * np.abs(theirs).max()
    part = (slice(3, 17), slice(9, 31), slice(21, 58))
    np.testing.assert_array_equal(warp(image, motion, order, part), ours[part])
