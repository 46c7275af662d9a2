"""Paganin's filter."""

import numpy as np
import pytest

from xct_pipeline.correction.phase import delta_beta, filter_transmission, kernel_length, padding, retrieve_phase

SETUP = {"delta_beta": 500.0, "energy_keV": 30.0, "distance_mm": 100.0, "pixel_size_um": 2.0}


def test_length_from_physics():
    wavelength = 12.398419843e-10 / 30  # metre
    area = wavelength * 0.1 * 500 / (4 * np.pi)
    assert kernel_length(500, 30, 100, 2) == pytest.approx(np.sqrt(area) / 2e-6, rel=1e-9)


def test_a_cosine_is_damped_by_the_transfer_function():
    length = 4.0
    n, period = (480, 48)  # a cosine that is even about both edges: in the middle the edge padding cannot matter
    x = np.arange(n)
    wave = np.cos(2 * np.pi * x / period)
    t = (0.5 + 0.1 * wave[None, :] * np.ones((n, 1)))[None].astype(np.float32)
    expected = 0.5 + 0.1 / (1 + (2 * np.pi * length / period) ** 2) * wave
    middle = slice(n // 2 - 100, n // 2 + 100)
    for image in (t, t.transpose(0, 2, 1)):
        got = filter_transmission(image, length)[0]
        line = got[n // 2, middle] if image is t else got[middle, n // 2]
        np.testing.assert_allclose(line, expected[middle], atol=1e-6)


def test_a_uniform_object_is_unchanged():
    p = np.full((2, 33, 47), 0.7, np.float32)
    np.testing.assert_allclose(retrieve_phase(p, **SETUP), 0.7, atol=1e-6)


def test_the_total_is_conserved():
    t = np.full((1, 161, 161), 1.0, np.float32)
    t[0, 75:85, 70:90] = 0.4
    smooth = filter_transmission(t, 3.0)
    assert (1 - smooth.astype(float)).sum() == pytest.approx((1 - t.astype(float)).sum(), rel=1e-5)


def test_single_distance_image_of_a_known_object_is_inverted():
    """Transport of intensity forward, T - (delta z / mu) laplacian T, then the filter gives T back."""
    length, n = 5.0, 256
    y, x = np.mgrid[:n, :n] - (n - 1) / 2
    p = 0.8 * np.exp(-(x**2 + y**2) / (2 * 12.0**2))
    t = np.exp(-p)
    f = np.fft.fftfreq(n)
    forward = 1 + (2 * np.pi * length) ** 2 * (f[:, None] ** 2 + f[None] ** 2)
    image = np.fft.ifft2(np.fft.fft2(t) * forward).real
    energy, pixel = 25.0, 1.0
    area = (length * pixel * 1e-6) ** 2
    ratio = area * 4 * np.pi / (12.398419843e-10 / energy * 0.05)
    got = retrieve_phase(
        -np.log(image)[None].astype(np.float32),
        delta_beta=ratio,
        energy_keV=energy,
        distance_mm=50.0,
        pixel_size_um=pixel,
    )
    np.testing.assert_allclose(got[0], p, atol=2e-5)


def test_padding_keeps_the_other_edge_away():
    """A bright opposite edge must not show: at most 1e-4 of it."""
    length = 6.0
    t = np.zeros((1, 100, 100), np.float32)
    t[..., -1:] = 0
    t[..., 50:] = 1
    left = filter_transmission(t, length)[0, 50, 0]
    truth = np.exp(-50 / length) / 2  # the step's own tail at 50 pixels
    assert abs(left - truth) < 1e-4
    assert padding(length) == int(np.ceil(-length * np.log(2e-4)))


def test_projections_are_independent_and_zero_distance_does_nothing():
    p = np.random.default_rng(0).uniform(0, 1, (3, 20, 30)).astype(np.float32)
    whole = retrieve_phase(p, **SETUP)
    assert np.array_equal(whole[1:2], retrieve_phase(p[1:2], **SETUP))
    np.testing.assert_allclose(retrieve_phase(p, **{**SETUP, "distance_mm": 0.0}), p, atol=1e-6)


def test_delta_beta_from_tables():
    """beta = mu wavelength / (4 pi): NASICON at 50 keV has 7.560 per cm, and delta follows from its electrons."""
    wavelength_cm = 12.398419843e-8 / 50
    beta = 7.560 * wavelength_cm / (4 * np.pi)
    molar, electrons = 530.55, 3 * 11 + 2 * 40 + 2 * 14 + 15 + 12 * 8
    density = 3.27 / molar * 6.02214e23 * electrons  # per cm3
    delta = 2.8179403e-13 * wavelength_cm**2 * density / (2 * np.pi)
    assert delta_beta("Na3Zr2Si2PO12", 3.27, 50.0) == pytest.approx(delta / beta, rel=0.02)


@pytest.mark.parametrize("name", ["delta_beta", "energy_keV", "distance_mm", "pixel_size_um"])
def test_bad_figures_are_named(name):
    with pytest.raises(ValueError, match=name.replace("delta_beta", "delta/beta")):
        retrieve_phase(np.zeros((1, 4, 4), np.float32), **{**SETUP, name: -1.0})


def test_bad_shape_and_formula():
    with pytest.raises(ValueError, match="angle, row, column"):
        filter_transmission(np.zeros((4, 4), np.float32), 1.0)
    with pytest.raises(ValueError, match="Xx"):
        delta_beta("Xx2", 1.0, 30.0)
    with pytest.raises(ValueError, match="positive"):
        delta_beta("Na", -1.0, 30.0)
