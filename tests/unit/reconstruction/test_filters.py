"""The ramp, the windows and the weights of angles against their definitions."""

import numpy as np
import pytest

from xct_pipeline.reconstruction.filters import FILTERS, angular_weights, missing_range, ramp, window


def test_ramp_is_the_transform_of_the_spatial_ramp():
    spatial = np.fft.ifft(ramp(64)).real
    expected = np.zeros(64)
    expected[0] = 0.25
    n = np.arange(1, 33, 2)
    expected[n] = expected[-n] = -1 / (np.pi * n) ** 2
    np.testing.assert_allclose(spatial, expected, atol=1e-15)


def test_ramp_is_the_modulus_of_the_frequency_but_not_zero_at_zero():
    values = ramp(4096)
    np.testing.assert_allclose(values, np.abs(np.fft.fftfreq(4096)), atol=1.1 / (np.pi**2 * 2048))
    assert 0 < values[0] < 1e-4


@pytest.mark.parametrize("length", [0, 1, 7])
def test_ramp_refuses_odd_lengths(length):
    with pytest.raises(ValueError, match="even number"):
        ramp(length)


@pytest.mark.parametrize(
    ("name", "at_half", "at_nyquist"),
    [
        ("ram-lak", 1.0, 1.0),
        ("shepp-logan", np.sinc(0.25), 2 / np.pi),
        ("cosine", np.sqrt(0.5), 0.0),
        ("hann", 0.5, 0.0),
        ("hamming", 0.54, 0.08),
        ("butterworth", 1 / np.sqrt(1 + 0.5**4), np.sqrt(0.5)),
    ],
)
def test_windows_at_half_and_full_nyquist(name, at_half, at_nyquist):
    values = window(64, name, order=2.0)
    assert values[0] == 1.0
    np.testing.assert_allclose([values[16], values[32]], [at_half, at_nyquist], atol=1e-12)
    np.testing.assert_array_equal(values[1:32], values[:32:-1])


@pytest.mark.parametrize("name", FILTERS)
def test_cutoff_scales_the_frequency(name):
    half = window(128, name, cutoff=0.5)
    np.testing.assert_allclose(half[:33], window(64, name)[:33], atol=1e-12)
    if name != "butterworth":
        assert not half[33:64].any()


def test_bad_windows():
    with pytest.raises(ValueError, match="one of ram-lak"):
        window(8, "hanning")
    with pytest.raises(ValueError, match="cutoff"):
        window(8, cutoff=1.5)
    with pytest.raises(ValueError, match="order"):
        window(8, "butterworth", order=0)


def test_even_angles_weigh_the_same():
    np.testing.assert_allclose(angular_weights(np.arange(180) * np.pi / 180), np.pi / 180)


def test_both_ends_of_the_half_turn_share_one_weight():
    weights = angular_weights(np.linspace(0, np.pi, 181))
    np.testing.assert_allclose(weights[1:-1], np.pi / 180)
    np.testing.assert_allclose(weights[[0, -1]], np.pi / 360)


def test_full_turn_and_beyond():
    np.testing.assert_allclose(angular_weights(np.arange(360) * np.pi / 180), np.pi / 360)
    np.testing.assert_allclose(angular_weights(np.arange(540) * np.pi / 180), np.pi / 540)
    full = angular_weights(np.arange(360) * np.pi / 180, period=2 * np.pi)
    np.testing.assert_allclose(full, np.pi / 180)


def test_duplicates_share():
    angles = np.append(np.arange(90) * np.pi / 90, [0.0, 0.0])
    weights = angular_weights(angles)
    np.testing.assert_allclose(weights[[0, 90, 91]], np.pi / 270)
    assert weights.sum() == pytest.approx(np.pi)


def test_uneven_angles_integrate_a_smooth_function():
    rng = np.random.default_rng(0)
    angles = (np.arange(400) + rng.uniform(size=400)) * np.pi / 400
    assert angular_weights(angles) @ np.cos(angles) ** 2 == pytest.approx(np.pi / 2, rel=2e-3)


def test_a_missing_wedge_is_shared_by_all_projections():
    angles = np.radians(np.arange(0, 140.0))
    weights = angular_weights(angles)
    assert weights.sum() == pytest.approx(np.pi)
    np.testing.assert_allclose(weights[1:-1], np.radians(180 / 149))
    np.testing.assert_allclose(weights[[0, -1]], np.radians(5.5 * 180 / 149))
    assert np.degrees(missing_range(angles)) == pytest.approx(40)


def test_a_narrow_hole_is_given_to_its_neighbours():
    angles = np.radians(np.delete(np.arange(0, 180.0), np.arange(80, 89)))
    weights = angular_weights(angles)
    np.testing.assert_allclose(weights[79:81], np.radians(5.5))
    np.testing.assert_allclose(weights[:79], np.radians(1))
    assert np.degrees(missing_range(angles)) == pytest.approx(9)
    assert missing_range(np.radians(np.arange(180.0))) == 0


def test_near_duplicates_do_not_make_a_hole():
    jittered = np.arange(720) * np.pi / 360 + np.random.default_rng(1).uniform(-1e-4, 1e-4, 720)
    assert angular_weights(jittered).sum() == pytest.approx(np.pi, rel=1e-4)


@pytest.mark.parametrize(
    ("angles", "message"),
    [([0.0, 1.0], "at least three"), ([0.0, np.nan, 1.0], "1 angles are not finite"), ([1.0] * 5, "equal")],
)
def test_bad_angles(angles, message):
    with pytest.raises(ValueError, match=message):
        angular_weights(np.array(angles))
