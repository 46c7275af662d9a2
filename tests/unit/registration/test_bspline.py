import numpy as np
import pytest
import scipy.ndimage

from xct_pipeline.registration import bspline


def _indices(shape, reach):
    return [bspline.mirror(np.arange(-reach, n + reach), n) for n in shape]


def test_mirror_repeats_no_border_sample():
    np.testing.assert_array_equal(bspline.mirror(np.arange(-3, 6), 3), [1, 2, 1, 0, 1, 2, 1, 0, 1])
    np.testing.assert_array_equal(bspline.mirror(np.arange(-2, 2), 1), 0)


@pytest.mark.parametrize("order", ["linear", "cubic", "quintic"])
def test_weights_add_up_and_reproduce_a_line(order):
    fraction = np.linspace(0, 0.999, 57)
    w = bspline.weights(fraction, order)
    taps = np.arange(1 - w.shape[-1] // 2, w.shape[-1] // 2 + 1)
    np.testing.assert_allclose(w.sum(-1), 1.0, atol=1e-14)
    np.testing.assert_allclose(w @ taps, fraction, atol=1e-14)


@pytest.mark.parametrize(("order", "degree"), [("cubic", 3), ("quintic", 5)])
def test_cut_off_inverse_filter_agrees_with_the_recursive_one(order, degree):
    image = np.random.default_rng(0).normal(size=(40, 41, 42)).astype(np.float32)
    taps = bspline.prefilter_taps(order)
    ours = bspline.filter_separable(image, taps, _indices(image.shape, len(taps) - 1))
    theirs = scipy.ndimage.spline_filter(image.astype(np.float64), degree, mode="mirror")
    assert np.abs(ours - theirs).max() < 4e-6 * np.abs(theirs).max()


def test_fast_filter_equals_its_definition_to_the_last_bit():
    image = np.random.default_rng(1).normal(size=(20, 21, 33)).astype(np.float32)
    for taps in (bspline.prefilter_taps("cubic"), bspline.gaussian_taps(0.7), bspline.knot_taps(0.7)):
        indices = _indices(image.shape, len(taps) - 1)
        fast = bspline.filter_separable(image, taps, indices)
        np.testing.assert_array_equal(fast, bspline.filter_plain(image, taps, indices))


def test_gaussian_keeps_a_constant_and_spreads_by_sigma():
    taps = bspline.gaussian_taps(1.5)
    k = np.arange(len(taps))
    assert taps[0] + 2 * taps[1:].sum() == pytest.approx(1.0)
    assert 2 * (taps * k**2).sum() == pytest.approx(1.5**2, rel=0.05)  # cut at 3 sigma


def test_unknown_order():
    with pytest.raises(ValueError, match='"nearest"'):
        bspline.support_of("nearest")
