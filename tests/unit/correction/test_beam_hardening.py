"""Linearisation of line integrals."""

import numpy as np
import pytest

from xct_pipeline.correction.beam_hardening import linearise, spectrum_coefficients


def test_identity_is_the_default():
    p = np.linspace(-1, 12, 50, dtype=np.float32)
    assert linearise(p) is p
    assert linearise(p, (1.0, 0.0)) is p


def test_polynomial_and_its_straight_continuation():
    p = np.array([[-0.5, 0.0, 1.0, 2.0, 4.0, 6.0]], np.float32)
    c = (0.9, 0.2, 0.01)
    got = linearise(p, c, up_to=4.0)
    poly = lambda x: c[0] * x + c[1] * x**2 + c[2] * x**3  # noqa: E731
    slope = c[0] + 2 * c[1] * 4 + 3 * c[2] * 16
    np.testing.assert_allclose(got, [[-0.45, 0, poly(1), poly(2), poly(4), poly(4) + 2 * slope]], rtol=1e-6)
    assert got.dtype == np.float32


def test_two_energies_are_straightened():
    """A closed form: two lines of equal weight; the fit must give path x mu of the reference."""
    import xraydb

    energy = np.array([30.0, 60.0])
    mu = xraydb.material_mu("Al", 1000 * energy, 2.7)
    c = spectrum_coefficients(energy, [1, 1], "Al", 2.7, 60.0, degree=6, up_to=5.0)
    path = np.linspace(0.05, 5 / mu[1] * 0.8, 40)
    p = -np.log(0.5 * np.exp(-mu[0] * path) + 0.5 * np.exp(-mu[1] * path))
    np.testing.assert_allclose(linearise(p.astype(np.float32), c, up_to=5.0), mu[1] * path, rtol=1e-2)
    single = spectrum_coefficients([60.0], [2.0], "Al", 2.7, 60.0, degree=2)
    np.testing.assert_allclose(single, [1, 0], atol=1e-9)


def test_bad_input():
    with pytest.raises(ValueError, match="falls near"):
        linearise(np.zeros(3, np.float32), (1.0, -0.2))
    with pytest.raises(ValueError, match="finite coefficients"):
        linearise(np.zeros(3, np.float32), ())
    with pytest.raises(ValueError, match="spectrum"):
        spectrum_coefficients([30, 40], [1], "Al", 2.7, 30.0)
