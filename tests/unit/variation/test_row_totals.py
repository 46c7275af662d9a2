"""Change of mass from the sums of detector rows: exact on sums that are known, honest about their errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xct_pipeline.reconstruction.gridding import GROUP
from xct_pipeline.reconstruction.projector import project
from xct_pipeline.variation.row_totals import error_of_mean, level_error, row_totals

ROWS = 24


def sums(seed: int, angles: int, noise: float, profile: np.ndarray, drift: float = 0.0) -> np.ndarray:
    place = np.linspace(-0.5, 0.5, angles)[:, None]
    return profile + np.random.default_rng(seed).normal(0, noise, (angles, len(profile))) + drift * place


@settings(max_examples=30, deadline=None)
@given(st.floats(-2.5, 2.5), st.integers(4, 40), st.integers(4, 40), st.floats(-3, 3), st.floats(0.5, 2.0))
def test_the_change_of_shifted_rows_is_exact(shift, moving, fixed, change, slope):
    """A profile that is straight along z is followed through any shift, and any change and drift on it are found."""
    z = np.arange(ROWS)
    there = slope * (z - shift) + change
    found = row_totals(  # five rows and more from the ends
        np.tile(there, (moving, 1)), np.tile(slope * z, (fixed, 1)), z + shift, slice(5, 15), paired=moving == fixed
    )
    assert found.total == pytest.approx(10 * change, abs=1e-9)
    assert found.seen == 10
    assert max(found.scatter, found.fixed, abs(found.trend)) < 1e-9
    unseen = (z + shift < -1e-6) | (z + shift > ROWS - 1 + 1e-6)
    np.testing.assert_array_equal(np.isnan(found.rows), unseen)


def test_the_error_is_the_scatter_over_seeds():
    z, totals, errors = np.arange(ROWS, dtype=float), [], []
    for seed in range(200):
        pair = sums(seed, 60, 0.5, z), sums(1000 + seed, 60, 0.5, z)
        found = row_totals(*pair, z, slice(4, 20), paired=True)
        totals.append(found.total)
        errors.append(math.hypot(found.scatter, found.fixed))
    assert np.std(totals) / np.mean(errors) == pytest.approx(1, abs=0.12)
    assert abs(np.mean(totals)) < 3 * np.std(totals) / math.sqrt(200)


def test_what_is_fixed_to_the_detector_is_told_by_its_rows():
    z, pulls = np.arange(64, dtype=float), []
    for seed in range(100):
        pattern = np.random.default_rng(seed).normal(0, 0.3, 64)
        pair = sums(seed, 60, 0.1, z) + pattern, sums(1000 + seed, 60, 0.1, z)
        found = row_totals(*pair, z, slice(0, 64), paired=True)
        pulls.append(found.total / math.hypot(found.scatter, found.fixed))
    assert 0.75 < np.std(pulls) < 1.3


def test_a_drift_within_the_scan_shows_as_a_trend():
    z = np.arange(ROWS, dtype=float)
    found = row_totals(sums(0, 120, 0.1, z, drift=1.0), sums(1, 120, 0.1, z), z, slice(4, 20), paired=True)
    assert found.trend == pytest.approx(16, abs=3 * found.trend_sigma)
    assert found.trend > 4 * found.trend_sigma
    still = row_totals(sums(2, 120, 0.1, z), sums(1, 120, 0.1, z), z, slice(4, 20), paired=True)
    assert abs(still.trend) < 4 * still.trend_sigma
    assert found.scatter > 2 * still.scatter  # what changes slowly does not average out


def test_slow_changes_enlarge_the_error_of_a_mean():
    white = np.random.default_rng(0).normal(size=(400, 50))
    assert np.mean(error_of_mean(white)) == pytest.approx(1 / 20, rel=0.05)
    slow = np.repeat(np.random.default_rng(1).normal(size=(16, 50)), 25, axis=0)
    assert np.mean(error_of_mean(slow)) == pytest.approx(1 / 4, rel=0.1)


def test_the_level_of_air_is_as_good_as_its_pixels():
    rng, errors, found = np.random.default_rng(0), [], []
    for _ in range(200):
        there, here = rng.normal(0, 0.02, (2, 40, 4))
        errors.append(there.mean() - here.mean())
        found.append(level_error(there, here))
    assert np.std(errors) / np.mean(found) == pytest.approx(1, abs=0.12)
    assert level_error(there, there) == 0
    assert level_error(np.empty((40, 0)), np.empty((40, 0))) == 0


def test_sums_of_projections_are_the_sum_of_the_slice_at_every_angle():
    """The condition that all rests on, with the projector of the package."""
    y, x = np.mgrid[:48, :48] - 23.5
    image = np.zeros((48, 48, GROUP), np.float32)
    image[..., :] = np.exp(-((x - 6) ** 2 + (y + 4) ** 2) / 40)[..., None]
    angles = np.linspace(0, math.pi, 31)
    sinograms = project(image, angles, center=24.2, columns=60)
    np.testing.assert_allclose(sinograms.sum(axis=1), image.sum(axis=(0, 1))[None].repeat(31, 0), rtol=2e-3)


def test_too_few_angles_are_refused():
    with pytest.raises(ValueError, match="at least four angles"):
        row_totals(np.ones((3, 8)), np.ones((3, 8)), np.arange(8), slice(0, 8), paired=True)
