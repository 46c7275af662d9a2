"""Sinograms on few pixels."""

from __future__ import annotations

import numpy as np
import pytest

from xct_pipeline.reconstruction.coarse_rays import coarse, factor_of, nbytes, nothing


@pytest.mark.parametrize(("columns", "factor"), [(64, 1), (100, 1), (101, 2), (160, 2), (2048, 16), (5000, 16)])
def test_columns_are_joined_by_powers_of_two(columns, factor):
    assert factor_of(columns) == factor


def test_means_and_middles_are_those_of_the_pixels_that_are_joined():
    rng = np.random.default_rng(0)
    theta = rng.permutation(np.linspace(0, np.pi, 400, endpoint=False))
    place = np.arange(16)[None, :, None] + 100 * np.arange(120)[None, None, :] + 0 * theta[:, None, None]
    block = ((place + 1e4 * theta[:, None, None]) / 1e4).astype(np.float32)
    found = coarse(block, theta, 16, 3)
    assert found.coarse.shape == (8, 96, 60)
    np.testing.assert_allclose(found.coarse_rows, 16 - 3 + 0.5 + 2 * np.arange(8))
    assert (np.diff(found.coarse_angles) > 0).all()
    rows, columns = 0.5 + 2 * np.arange(8), 0.5 + 2 * np.arange(60)
    expected = (rows[:, None, None] + 100 * columns) / 1e4 + found.coarse_angles[None, :, None]
    np.testing.assert_allclose(found.coarse, expected, rtol=6e-4)
    assert found.coarse.nbytes <= nbytes(400, 120)


def test_blocks_are_counted_from_the_first_row_of_the_detector():
    theta = np.linspace(0, np.pi, 90)
    whole = np.random.default_rng(1).normal(1, 0.1, (90, 48, 400)).astype(np.float32)
    together = [coarse(whole[:, k : k + 16], theta, k, 0) for k in (0, 16, 32)]
    part = coarse(whole[:, 6:16], theta, 6, 6)
    np.testing.assert_array_equal(part.coarse, together[0].coarse[2:])
    np.testing.assert_allclose(part.coarse_rows + 6, together[0].coarse_rows[2:])
    assert coarse(whole[:, 1:3], theta, 1, 0).coarse.shape[0] == 0
    assert nothing(together[0]).coarse.shape == (0, 90, 100)
