"""What normalisation must not depend on."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from xct_pipeline.correction.flatfield import PixelCounts, flat_weights, line_integrals
from xct_pipeline.correction.steps.dynamic import Dynamic


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 5))
def test_blocks_give_the_same_bits_and_counts_add(seed, angles, rows):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 300, (20, 10, 33)).astype(np.uint16)
    dark = rng.uniform(0, 10, (10, 33)).astype(np.float32)
    flats = rng.uniform(0, 300, (3, 10, 33)).astype(np.float32)
    w, air = flat_weights([0, 8, 20], 20), rng.uniform(0.5, 2, 20)
    whole, total = line_integrals(counts, dark, flats, w, air=air, saturation=299)
    parts, tally = np.empty_like(whole), PixelCounts()
    for a in range(0, 20, angles):
        for r in range(0, 10, rows):
            s, t = slice(a, a + angles), slice(r, r + rows)
            parts[s, t], n = line_integrals(counts[s, t], dark[t], flats[:, t], w[s], air=air[s], saturation=299)
            tally = tally + n
    assert np.array_equal(whole, parts)
    assert tally == total


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 5), st.integers(0, 3), st.integers(0, 4))
def test_blocks_of_dynamic_flats_give_the_same_bits(seed, angles, rows, images, bands):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 300, (20, 10, 33)).astype(np.uint16)
    flat, air = rng.uniform(100, 300, (10, 33)).astype(np.float32), rng.uniform(0.5, 2, 20)
    known = Dynamic(
        rng.normal(0, 1, (images, 10, 33)).astype(np.float32),
        rng.normal(0, 1, (bands, 10, 2)),
        rng.normal(0, 0.03, (20, images + bands)),
        (2.5, 29.0),
    )
    whole, _ = line_integrals(counts, None, flat, air=air, modes=known.modes(slice(0, 20), slice(0, 10)))
    parts = np.empty_like(whole)
    for a in range(0, 20, angles):
        for r in range(0, 10, rows):
            s, t = slice(a, min(a + angles, 20)), slice(r, min(r + rows, 10))
            parts[s, t], _ = line_integrals(counts[s, t], None, flat[t], air=air[s], modes=known.modes(s, t))
    assert np.array_equal(whole, parts)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 10))
def test_a_gain_cancels(seed, gain):
    rng = np.random.default_rng(seed)
    counts, dark = rng.uniform(20, 200, (4, 2, 16)), rng.uniform(0, 10, (2, 16))
    flat = rng.uniform(200, 300, (2, 16))
    one, _ = line_integrals(counts, dark, flat)
    other, _ = line_integrals(gain * counts, gain * dark, gain * flat)
    np.testing.assert_allclose(one, other, atol=2e-6)
