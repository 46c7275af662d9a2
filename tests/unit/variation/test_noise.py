"""The errors claimed are held against the scatter that is there, on white and on reconstructed noise."""

import numpy as np
import pytest
import scipy.ndimage as ndi

from xct_pipeline.variation import attenuation, lags, mass, noise, windows
from xct_pipeline.variation.resampled import interpolation_factor


def reconstructed_noise(seed, slices, n, dense=0.0, angles=180):
    """Filtered back-projection of noise, 0.05 /cm; `dense` makes the middle of the detector noisier."""
    rng = np.random.default_rng(seed)
    u = np.arange(n) - (n - 1) / 2
    sinogram = rng.standard_normal((angles, n, slices), np.float32)
    chord = np.sqrt(np.maximum(1 - (u / (0.47 * n)) ** 2, 0))
    sinogram *= np.exp(dense * chord / 2, dtype=np.float32)[:, None]
    ramp = np.abs(np.fft.rfftfreq(2 * n))[:, None]
    q = np.fft.irfft(np.fft.rfft(sinogram, 2 * n, axis=1) * ramp, 2 * n, axis=1)[:, :n].astype(np.float32)
    disc = np.hypot(u[:, None], u) < 0.47 * n
    y, x = (u[i] for i in np.nonzero(disc))
    out = np.zeros((len(x), slices), np.float32)
    for line, theta in zip(q, np.pi * np.arange(angles) / angles, strict=True):
        at = x * np.cos(theta) + y * np.sin(theta) + (n - 1) / 2
        i = at.astype(int)
        w = (at - i).astype(np.float32)[:, None]
        out += line[i] * (1 - w) + line[i + 1] * w
    volume = np.zeros((slices, n, n), np.float32)
    volume[:, disc] = out.T * (0.05 / out.std())
    return volume, disc


def null_pair(kind, n=256, slices=32):
    if kind == "white":
        a, b = np.random.default_rng(5).standard_normal((2, slices, n, n), np.float32) * np.float32(0.05)
        disc = np.hypot(*(np.indices((n, n)) - (n - 1) / 2)) < 0.47 * n
    else:
        dense = 2.0 if kind == "dense" else 0.0
        a, disc = reconstructed_noise(6, slices, n, dense)
        b, _ = reconstructed_noise(7, slices, n, dense)
    return a, ndi.shift(b, (0.5, 0.5, 0.5), order=3, mode="reflect"), ndi.binary_erosion(disc, iterations=4)


def independent_pixels(z):
    lags = range(-4, 5)
    rho = [(z * np.roll(z, (i, j), (0, 1))).sum() / (z**2).sum() for i in lags for j in lags]
    return np.count_nonzero(z) / np.sum(np.square(rho))


@pytest.mark.parametrize("kind", ["white", "reconstructed", "dense"])
def test_null_pair_is_significant_as_often_as_chance(kind):
    a, b, disc = null_pair(kind)
    difference = b - a
    half = len(a) // 2
    quiet, anode = (np.zeros(a.shape, bool) for _ in range(2))
    quiet[3 : half - 1], anode[half + 1 : -3] = disc, disc
    # The noise is measured in one half of the slices and claimed for the other.
    sums = noise.lag_sums(difference, quiet, lag=(6, 3, 3), mean=float(difference[quiet].mean()))
    areal = mass.areal_sums(difference, anode, (0, 0, 0))
    variance = noise.column_variance(noise.autocovariance(sums), areal.count)
    level = 1.0
    if kind == "dense":
        size = (len(a), 16, 16)
        there = noise.noise_level(noise.level_sums(a, anode, (0, 0, 0), size))[0]
        level = noise.spread(there, size[1:], disc.shape)
        level /= noise.pooled_level(noise.level_sums(a, quiet, (0, 0, 0), size))
    z = np.where(disc, areal.total / np.sqrt(np.where(disc, variance, 1)) / level, 0)
    assert independent_pixels(z) > 20_000
    assert np.mean(np.abs(z[disc]) > 1.96) == pytest.approx(0.05, abs=0.007)


def test_white_noise_over_a_hundred_slices():
    rng = np.random.default_rng(8)
    k = attenuation.mass_attenuation("Na", 50)
    a, b = rng.standard_normal((2, 100, 48, 48), np.float32) * np.float32(0.05)
    d = b - a
    covariance = noise.autocovariance(noise.lag_sums(d, np.ones(d.shape, bool), lag=(3, 3, 3), mean=float(d.mean())))
    sigma = np.sqrt(noise.column_variance(covariance, np.array([0, 100])))
    sigma = sigma * 1 / k * 2e-4 * 1e3
    assert sigma[0] == 0
    assert sigma[1] == pytest.approx(0.5044, rel=0.03)


def correlated(shape, seed, sigma=1.2):
    return ndi.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), sigma, mode="wrap")


def test_autocovariance_of_filtered_noise():
    d = correlated((60, 60, 60), 9)
    sums = noise.lag_sums(d.astype(np.float32), np.ones(d.shape, bool), lag=(4, 4, 4), mean=d.mean())
    covariance = noise.autocovariance(sums)
    impulse = np.zeros((31, 31, 31))
    impulse[15, 15, 15] = 1
    kernel = ndi.gaussian_filter(impulse, 1.2 * np.sqrt(2))[11:20, 11:20, 11:20]
    np.testing.assert_allclose(covariance, kernel, atol=0.03 * kernel.max())


def test_autocovariance_does_not_depend_on_the_blocks():
    d = correlated((30, 26, 28), 10).astype(np.float32)
    mask = np.random.default_rng(11).random(d.shape) > 0.2
    lag = (2, 3, 1)
    whole = noise.lag_sums(d, mask, lag=lag, mean=0.01)
    parts = None
    for z in (0, 15):
        low, high = max(z - lag[0], 0), min(z + 15 + lag[0], 30)
        part = noise.lag_sums(d[low:high], mask[low:high], lag=lag, mean=0.01, core=(slice(z - low, z - low + 15),))
        parts = part if parts is None else parts + part
    np.testing.assert_array_equal(parts.pairs, whole.pairs)
    np.testing.assert_allclose(parts.products, whole.products, rtol=1e-9, atol=1e-12)


def test_mean_removal_is_put_right():
    # The removed mean takes a tenth of the variance of such small regions; the correction returns most of it.
    found, naive = [], []
    for seed in range(60):
        d = correlated((24, 24, 24), seed, 1.5)[:12, :12, :12]
        sums = noise.lag_sums(d.astype(np.float32), np.ones(d.shape, bool), lag=(5, 5, 5), mean=d.mean())
        found.append(noise.autocovariance(sums)[5, 5, 5])
        naive.append(d.var())
    impulse = np.zeros(31)
    impulse[15] = 1
    truth = (ndi.gaussian_filter1d(impulse, 1.5) ** 2).sum() ** 3
    assert np.mean(naive) < 0.93 * truth
    assert np.mean(found) == pytest.approx(truth, rel=0.04)


def test_too_few_voxels():
    with pytest.raises(ValueError, match="at least 1000"):
        noise.autocovariance(noise.lag_sums(np.ones((5, 5, 5)), np.ones((5, 5, 5), bool), lag=(1, 1, 1)))


@pytest.mark.parametrize("kind", ["white", "smooth", "reconstructed"])
def test_variance_of_sums_over_bins(kind):
    shape = (24, 128, 128)
    if kind == "white":
        d = np.random.default_rng(12).standard_normal(shape)
    elif kind == "smooth":
        d = correlated(shape, 12)
    else:
        d = reconstructed_noise(12, 24, 182)[0][:, 27:155, 27:155]
    d = d.astype(np.float32)
    mask = np.ones(shape, bool)
    covariance = noise.autocovariance(noise.lag_sums(d, mask, lag=(4, 6, 6), mean=float(d.mean())))
    for size in ((1, 1, 1), (24, 1, 1), (2, 4, 4), (4, 8, 8)):
        sums = mass.bin_sums(d, mask, (0, 0, 0), size)
        predicted = noise.sum_variance(covariance, noise.box_overlap(size, (4, 6, 6)))
        ratio, _, number = windows.window_check(covariance, lags.window_sums(d, mask, size), size)
        assert number > 100
        assert ratio == pytest.approx(float(sums.total.std() / np.sqrt(predicted)), rel=1e-2)
        # The ramp filter leaves little noise in large bins: there the estimate stays above the truth.
        assert (0.75 if kind == "reconstructed" else 0.9) < ratio < 1.1


def test_rings_show_in_larger_windows():
    rng = np.random.default_rng(13)
    d = rng.standard_normal((32, 64, 64)) + 0.3 * rng.standard_normal((1, 64, 64))
    mask = np.ones(d.shape, bool)
    covariance = noise.autocovariance(noise.lag_sums(d, mask, lag=(2, 2, 2), mean=d.mean()))
    size = (32, 1, 1)
    ratio, error, _ = windows.window_check(covariance, lags.window_sums(d, mask, size), size)
    assert ratio - 2 * error > 1.3


def test_where_rings_leave_no_noise_nothing_is_compared():
    rng = np.random.default_rng(13)
    d = rng.standard_normal((16, 32, 32))
    mask = np.ones(d.shape, bool)
    covariance = noise.autocovariance(noise.lag_sums(d, mask, lag=(2, 2, 2), mean=d.mean()))
    covariance -= 1.1 * covariance.max()  # what was taken out for rings was more than all there was
    ratio, error, number = windows.window_check(covariance, lags.window_sums(d, mask, (4, 4, 4)), (4, 4, 4), 900.0)
    assert np.isnan([ratio, error]).all()
    assert number == 256


def test_pair_counts():
    y, x = np.indices((21, 21)) - 10
    disc = np.hypot(y, x) < 8.3
    cylinder = np.repeat(disc[None], 9, axis=0)
    np.testing.assert_array_equal(noise.prism_overlap(9, disc, (3, 2, 4)), noise.overlap(cylinder, (3, 2, 4)))
    np.testing.assert_array_equal(
        noise.box_overlap((3, 5, 4), (4, 2, 2)), noise.overlap(np.ones((3, 5, 4), bool), (4, 2, 2))
    )


def test_level_of_the_noise_follows_the_radius_and_ignores_material():
    rng = np.random.default_rng(14)
    sigma = np.linspace(0.5, 1.5, 96)
    d = rng.standard_normal((16, 64, 96)) * sigma
    d[:, :, 40:] += 50
    sums = noise.level_sums(d.astype(np.float32), np.ones(d.shape, bool), (0, 0, 0), (16, 16, 16))
    level = noise.noise_level(sums)[0]
    np.testing.assert_allclose(level.mean(axis=0), sigma.reshape(6, 16).mean(axis=1), rtol=0.05)
    np.testing.assert_allclose(noise.spread(level, (16, 16), (64, 96))[:, 8:-8].mean(axis=0), sigma[8:-8], rtol=0.06)


def test_level_of_a_block_with_a_halo_equals_the_whole():
    d = np.random.default_rng(15).standard_normal((20, 20, 20)).astype(np.float32)
    mask = np.ones(d.shape, bool)
    whole = noise.level_sums(d, mask, (0, 0, 0), (20, 5, 5))
    near = noise.level_sums(d[:11], mask[:11], (0, 0, 0), (20, 5, 5))
    far = noise.level_sums(d[10:], mask[10:], (10, 0, 0), (20, 5, 5))
    parts = mass.merge(near, far)
    np.testing.assert_array_equal(parts.count, whole.count)
    np.testing.assert_allclose(parts.total, whole.total, rtol=1e-12)


def test_bins_without_a_level_take_the_nearest():
    level = np.array([[1.0, np.nan], [1.0, 3.0]])
    assert np.isfinite(noise.spread(level, (4, 4), (8, 8))).all()
    with pytest.raises(ValueError, match="in no bin"):
        noise.spread(np.full((2, 2), np.nan), (4, 4), (8, 8))


@pytest.mark.parametrize(("order", "factor"), [(1, 0.42), (3, 0.73), (5, 0.82)])
def test_interpolation_factor(order, factor):
    assert interpolation_factor((0.5, 0.37, 0.21), order) == pytest.approx(factor, abs=0.006)


def test_interpolation_factor_of_sums_along_z():
    found = interpolation_factor((0.5, 0.37, 0.21), 3, along=(True, False, False))
    assert found == pytest.approx(0.84, abs=0.006)


def test_what_errors_depend_on_has_no_digits_that_threads_of_blas_change():
    from xct_pipeline.variation.rings import Rings

    rng = np.random.default_rng(2)
    covariance, level, variance = rng.normal(size=(5, 5, 5)), rng.uniform(1, 2, (8, 8)), (0.25, 0.0123)
    near = 1 + 3e-16
    place = (1.0, 0.0, -3.7, 0.0, 1.0, -4.1)
    one = noise.Noise(covariance, level, 1.31, 1.17, 900, rings=(Rings(variance, place, True),))
    rings = Rings(tuple(v * near for v in variance), place, True)
    other = noise.Noise(covariance * near, level * near, 1.31 * near, 1.17, 900, rings=(rings,))
    np.testing.assert_equal(one.identity(), other.identity())
    louder = noise.Noise(covariance * (1 + 1e-5), level, 1.31, 1.17, 900, rings=(rings,))
    with pytest.raises(AssertionError):
        np.testing.assert_equal(one.identity(), louder.identity())
