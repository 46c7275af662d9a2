"""Sums over pairs of voxels equal their formulation with Fourier transforms, and loops over voxels."""

import numpy as np
import pytest

from xct_pipeline.variation import lags, mass, noise


@pytest.mark.parametrize("shape", [(9, 13, 150), (3, 5, 7), (1, 1, 64), (2, 9, 3)])
@pytest.mark.parametrize("lag", [(6, 4, 4), (1, 0, 3)])
def test_products_and_counts_equal_a_correlation(shape, lag):
    rng = np.random.default_rng(3)
    mask = rng.random(shape) > 0.3
    mask[:, 1:3] = False  # empty rows
    values = np.where(mask, rng.normal(0, 1, shape), 0.0)
    want = noise._lag_sums_by_transform(values, mask, mask, lag)
    np.testing.assert_allclose(lags.products(values, mask, lag), want.products, atol=1e-9)
    np.testing.assert_array_equal(lags.pair_counts(mask, mask, lag), want.pairs)


def test_a_pair_belongs_to_the_voxel_that_comes_first():
    mask = np.ones((4, 3, 5), bool)
    first = np.zeros_like(mask)
    first[1] = True
    pairs = lags.pair_counts(mask, first, (2, 1, 1))
    np.testing.assert_array_equal(pairs, pairs[::-1, ::-1, ::-1])
    assert pairs[2, 1, 1] == 15  # voxels with themselves
    assert pairs[4, 1, 1] == 15  # two planes on; two planes back there is none that comes first
    assert pairs[2, 2, 2] == 8  # within the plane, one row and one column on


@pytest.mark.parametrize("size", [(4, 1, 1), (2, 3, 8), (9, 13, 50)])
def test_window_sums_equal_sums_over_bins(size):
    rng = np.random.default_rng(4)
    mask = rng.random((9, 13, 50)) > 0.02
    values = np.where(mask, rng.normal(0, 1, mask.shape), 0.0).astype(np.float32)
    found = lags.window_sums(values, mask, size)
    sums = mass.bin_sums(values.astype(np.float64), mask, (0, 0, 0), size)
    whole = sums.total[sums.count == np.prod(size)]
    np.testing.assert_allclose(found, [whole.size, whole.sum(), (whole**2).sum()], rtol=1e-12, atol=1e-12)


def test_the_mean_is_taken_off_afterwards():
    rng = np.random.default_rng(5)
    d = rng.normal(0.03, 0.1, (24, 40, 90)).astype(np.float32)
    mask = rng.random(d.shape) > 0.1
    mean = float(d[mask].mean(dtype=np.float64))
    about, lag = mean - 1e-4, (3, 3, 3)
    rough = noise.lag_sums(d, mask, lag=lag, mean=about)
    total = float((d[mask].astype(np.float64) - about).sum())
    found = noise.autocovariance(noise.about_mean(rough, total))
    want = noise.autocovariance(noise.lag_sums(d, mask, lag=lag, mean=mean))
    np.testing.assert_allclose(found, want, atol=2e-5 * want[3, 3, 3])
