"""Invariances of the Fourier core that hold for any data."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xct_pipeline.reconstruction import fourier
from xct_pipeline.reconstruction.filters import angular_weights

seeds = st.integers(0, 2**32 - 1)


def random_scan(seed, n_rows=3, n=32, n_angles=24):
    rng = np.random.default_rng(seed)
    data = rng.standard_normal((n_angles, n_rows, n), dtype=np.float32)
    return data, rng.uniform(-7, 7, n_angles), rng.uniform(10, 22)


@settings(max_examples=15, deadline=None)
@given(seeds, st.floats(-3, 3), st.floats(-3, 3))
def test_linear(seed, p, q):
    data, angles, center = random_scan(seed)
    other, _, _ = random_scan(seed + 1)
    # with zero padding: the extension of a wide sample is fitted to the data, so not linear
    a, b, both = (
        fourier.reconstruct(d, angles, center=center, pad="zero") for d in (data, other, p * data + q * other)
    )
    scale = np.abs(a).max() + np.abs(b).max()
    np.testing.assert_allclose(both, p * a + q * b, atol=2e-5 * scale * (1 + abs(p) + abs(q)))


@settings(max_examples=15, deadline=None)
@given(seeds, st.floats(1e-3, 1e3))
def test_scales_with_the_data_whatever_the_padding(seed, factor):
    data, angles, center = random_scan(seed)
    a, b = (fourier.reconstruct(d, angles, center=center) for d in (data, np.float32(factor) * data))
    np.testing.assert_allclose(b / factor, a, atol=5e-5 * np.abs(a).max())


@settings(max_examples=15, deadline=None)
@given(seeds)
def test_the_order_of_projections_does_not_matter(seed):
    data, angles, center = random_scan(seed)
    order = np.random.default_rng(seed).permutation(angles.size)
    a = fourier.reconstruct(data, angles, center=center)
    b = fourier.reconstruct(data[order], angles[order], center=center)
    np.testing.assert_allclose(b, a, atol=5e-5 * np.abs(a).max())


@settings(max_examples=10, deadline=None)
@given(seeds, st.integers(17, 40))
def test_rows_come_out_alike_whichever_call_holds_their_group(seed, n_rows):
    data, angles, center = random_scan(seed, n_rows=n_rows)
    whole = fourier.reconstruct(data, angles, center=center)
    for first in range(0, n_rows, 16):
        part = fourier.reconstruct(data[:, first : first + 16].copy(), angles, center=center)
        np.testing.assert_array_equal(part, whole[first : first + 16])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-20, 20), min_size=3, max_size=60, unique=True), seeds)
def test_weights_are_shares_of_half_a_turn(angles, seed):
    angles = np.array(angles)
    apart = np.abs(np.sin(angles - angles[0])).max()  # modulo half a turn
    if apart < 1e-2:
        return
    weights = angular_weights(angles)
    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(np.pi)
    order = np.random.default_rng(seed).permutation(angles.size)
    np.testing.assert_allclose(angular_weights(angles[order]), weights[order], rtol=1e-9, atol=1e-12)
