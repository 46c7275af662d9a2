"""Values rounded to a share of their noise: the error that is stated, for any noise, and what must not change."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xct_pipeline.engine.rounding import SHARE, rounded, step_of, voxel_noise

SHAPE = (16, 48, 48)


def scene(noise: float, seed: int = 0) -> np.ndarray:
    """A bright cylinder with a gradient along z, and white noise."""
    z, y, x = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]].astype(np.float32)
    still = 3.0 * ((y - 24) ** 2 + (x - 24) ** 2 < 200) + 0.05 * z
    return (still + np.random.default_rng(seed).normal(0, noise, SHAPE)).astype(np.float32)


@settings(max_examples=30, deadline=None)
@given(exponent=st.floats(-9, 6), seed=st.integers(0, 100))
def test_the_step_is_at_most_a_quarter_of_the_noise_and_at_least_a_twelfth(exponent: float, seed: int) -> None:
    noise = 10.0**exponent
    block = np.random.default_rng(seed).normal(0, noise, SHAPE).astype(np.float32)
    result, step = rounded(block)
    assert noise / 12 < step <= 1.1 * SHARE * noise
    assert np.log2(step) % 1 == 0
    assert np.abs(result - block).max() <= step / 2
    assert np.array_equal(result / np.float32(step), np.rint(result / np.float32(step)))
    assert result.std() == pytest.approx(block.std(), rel=0.004)  # what is stated, and its own scatter


def test_structure_is_not_taken_for_noise() -> None:
    assert voxel_noise(scene(0.05)) == pytest.approx(0.05, rel=0.1)


def test_sums_keep_their_value() -> None:
    block = scene(0.05)
    result, step = rounded(block)
    error = (result.astype(np.float64) - block).sum()
    assert abs(error) < 5 * step / np.sqrt(12) * np.sqrt(block.size)


def test_the_noise_that_is_shared_by_neighbours_makes_the_step_smaller_only() -> None:
    block = scene(0.05)
    smooth = (block[1:] + block[:-1]) / 2
    assert voxel_noise(smooth) <= 0.05 / np.sqrt(2) * 1.05


@pytest.mark.parametrize(
    "block",
    [
        np.zeros(SHAPE, np.float32),
        np.full(SHAPE, 1.7, np.float32),
        np.full(SHAPE, np.nan, np.float32),
        scene(0.0),
        np.ones((1, 2, 2), np.float32),
    ],
    ids=["zeros", "constant", "nan", "no noise", "two rows"],
)
def test_what_has_no_noise_stays_to_the_last_bit(block: np.ndarray) -> None:
    result, step = rounded(block)
    assert step < 1e-6
    assert np.allclose(result, block, rtol=0, atol=1e-6, equal_nan=True)


def test_what_is_no_number_stays() -> None:
    block = scene(0.05)
    block[3, 4, 5:9] = np.nan, np.inf, -np.inf, 0.0
    result, step = rounded(block[None])
    assert step
    assert np.array_equal(result[0, 3, 4, 5:9], block[3, 4, 5:9], equal_nan=True)


def test_one_slice_is_judged_along_its_rows() -> None:
    block = scene(0.05)[:1]
    assert 0 < rounded(block)[1] <= SHARE * 0.05


def test_no_step_is_made_of_no_noise() -> None:
    assert step_of(0.0) == 0
    assert step_of(4.0) == 1.0
