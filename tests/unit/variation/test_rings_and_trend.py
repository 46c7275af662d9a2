"""A slow trend beside rings: its size, and whether its error says how far off it is."""

from __future__ import annotations

import numpy as np
import pytest

from xct_pipeline.variation.rings_and_trend import fit_trend

POINTS = 40


def parts():
    """A bowl and a constant, and columns that leave a peak and half of it as a bowl inside."""
    r = np.arange(POINTS) + 0.5
    terms = np.stack([(r / POINTS) ** 2, np.ones(POINTS)], axis=1)
    rings = 30.0 * (np.eye(POINTS) - 0.5 * np.tril(np.ones((POINTS, POINTS)), -1).T / (1 + r))
    return terms, rings


def drawn(rng, bowl, bad):
    """A profile with rings of all columns, some of them a hundred times stronger."""
    terms, rings = parts()
    strength = 2e-4 * rng.normal(size=POINTS)
    strength[rng.permutation(POINTS)[:bad]] += 0.02 * rng.choice([-1.0, 1.0], bad)
    noise = 1e-3 / (np.arange(POINTS) + 0.5)
    return terms @ [bowl, 7.0] + rings @ strength + 0.3 * np.sqrt(noise) * rng.normal(size=POINTS), terms, rings, noise


@pytest.mark.parametrize("bad", [0, 3])
def test_the_error_says_how_far_off_the_trend_is(bad):
    pulls, plain = [], []
    for seed in range(40):
        profile, *rest = drawn(np.random.default_rng(seed), 0.05, bad)
        found = fit_trend(profile, *rest)
        pulls.append((found.coefficients[0] - 0.05) / np.sqrt(found.covariance[0, 0]))
        plain.append((np.linalg.lstsq(rest[0], profile, rcond=None)[0][0] - 0.05) / np.sqrt(found.covariance[0, 0]))
    assert 0.7 < np.std(pulls) < 1.5
    assert abs(np.mean(pulls)) < 0.6
    if bad:
        assert np.std(plain) > 3 * np.std(pulls)  # what fitting without rings would have made of it


def test_the_weights_make_the_coefficients():
    profile, *rest = drawn(np.random.default_rng(0), 0.05, 2)
    found = fit_trend(profile, *rest)
    np.testing.assert_allclose(found.weights @ profile, found.coefficients)
    np.testing.assert_allclose(found.weights @ rest[0], np.eye(2), atol=1e-9)
    assert found.ring < 1e-3


def test_too_few_points_are_refused():
    with pytest.raises(ValueError, match="3 points"):
        fit_trend(np.ones(3), np.ones((3, 2)), np.ones((3, 3)), np.ones(3))
