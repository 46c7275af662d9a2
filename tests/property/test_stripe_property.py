"""Invariances of the stripe kernels, the running median and the pixel repairs."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from xct_pipeline.correction.running_median import running_median
from xct_pipeline.correction.stripes import columns as stripe_columns
from xct_pipeline.correction.stripes import vo as stripe_vo
from xct_pipeline.correction.stripes.titarenko import remove_stripe_titarenko
from xct_pipeline.correction.stripes.wavelet import remove_stripe_fourier_wavelet
from xct_pipeline.correction.zinger import remove_zingers

values = st.floats(-100, 100, width=32)
sinograms = arrays(np.float32, st.tuples(st.integers(2, 12), st.integers(3, 20)), elements=values)
relaxed = settings(max_examples=40, deadline=None)


@relaxed
@given(sinograms, st.integers(0, 3), st.sampled_from([0, 1]))
def test_running_median_is_scipys(sinogram: np.ndarray[Any, Any], half: int, axis: int) -> None:
    size = min(2 * half + 1, 2 * (sinogram.shape[axis] // 2) + 1)
    window = (size, 1) if axis == 0 else (1, size)
    assert np.array_equal(running_median(sinogram, size, axis=axis), scipy.ndimage.median_filter(sinogram, window))


@relaxed
@given(sinograms)
def test_sorting_and_back_is_the_identity_and_equals_the_plain_form(sinogram: np.ndarray[Any, Any]) -> None:
    ordered, order = stripe_columns.sort_columns(sinogram)
    plain, plain_order = stripe_columns._sort_columns_plain(sinogram, np)
    assert np.array_equal(ordered, plain)
    assert np.array_equal((order & np.uint64(0xFFFFFFFF)).astype(np.int64), plain_order)
    assert np.array_equal(stripe_columns.unsort_columns(ordered, order), sinogram)
    assert np.array_equal(stripe_columns._unsort_columns_plain(plain, plain_order, np), sinogram)


@relaxed
@given(sinograms, st.integers(1, 15))
def test_activity_equals_its_plain_form(sinogram: np.ndarray[Any, Any], size: int) -> None:
    size = min(size, 2 * sinogram.shape[0])
    fast, plain = stripe_columns._activity(sinogram, size), stripe_columns._activity_plain(sinogram, size, np)
    np.testing.assert_allclose(fast[0], plain[0], rtol=1e-6, atol=1e-9 * (1 + plain[1].max()))
    np.testing.assert_allclose(fast[1], plain[1], rtol=1e-6)


@relaxed
@given(sinograms, st.permutations(range(12)))
def test_sorting_does_not_care_about_the_order_of_distinct_angles(
    sinogram: np.ndarray[Any, Any], shuffle: list[int]
) -> None:
    rng = np.random.default_rng(0)
    distinct = sinogram + rng.permutation(sinogram.size).reshape(sinogram.shape).astype(np.float32) * 1e-2
    order = [angle for angle in shuffle if angle < sinogram.shape[0]]
    if any(np.unique(column).size < column.size for column in distinct.T):
        return
    straight = stripe_vo.remove_stripe_sorting(distinct[:, None], size=5)
    shuffled = stripe_vo.remove_stripe_sorting(distinct[order][:, None], size=5)
    assert np.array_equal(shuffled, straight[order])


@relaxed
@given(sinograms)
def test_the_detector_has_no_left_and_right(sinogram: np.ndarray[Any, Any]) -> None:
    block = sinogram[:, None]
    mirrored = stripe_vo.remove_stripe_sorting(block[..., ::-1], size=5)[..., ::-1]
    assert np.array_equal(mirrored, stripe_vo.remove_stripe_sorting(block, size=5))
    scale = 1 + np.abs(sinogram).max()
    titarenko = remove_stripe_titarenko(block[..., ::-1])[..., ::-1]
    np.testing.assert_allclose(titarenko, remove_stripe_titarenko(block), atol=1e-4 * scale)


@relaxed
@given(sinograms, st.floats(-10, 10))
def test_a_constant_added_to_everything_passes_through(sinogram: np.ndarray[Any, Any], level: float) -> None:
    block, scale = sinogram[:, None], 100 + abs(level)
    for method in (
        lambda b: stripe_vo.remove_stripe_fitting(b),
        lambda b: stripe_vo.remove_stripe_filtering(b, size=1),
        lambda b: remove_stripe_fourier_wavelet(b, level=1),
    ):
        shifted = method(block + np.float32(level))
        np.testing.assert_allclose(shifted, method(block) + np.float32(level), atol=3e-5 * scale)


@relaxed
@given(sinograms)
def test_wavelet_filter_is_linear(sinogram: np.ndarray[Any, Any]) -> None:
    block = sinogram[:, None]
    twice = remove_stripe_fourier_wavelet(2 * block, level=2)
    np.testing.assert_allclose(twice, 2 * remove_stripe_fourier_wavelet(block, level=2), atol=1e-3)


@relaxed
@given(arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6)), elements=values))
def test_zinger_removal_changes_what_it_counts(block: np.ndarray[Any, Any]) -> None:
    corrected, counts = remove_zingers(block, threshold=0.1, sign="both")
    assert np.array_equal((corrected != block).sum(axis=(0, 2)), counts)
    assert remove_zingers(block, threshold=1e30)[1].sum() == 0 or (corrected != block).any()
