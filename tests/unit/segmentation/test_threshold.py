from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.ndimage
from skimage.filters import apply_hysteresis_threshold, threshold_multiotsu, threshold_otsu

from xct_pipeline.segmentation import threshold
from xct_pipeline.segmentation.threshold import (
    apply_hysteresis,
    apply_thresholds,
    check_thresholds,
    class_means,
    combine_histograms,
    combine_hysteresis,
    histogram,
    hysteresis_partial,
    multi_otsu,
    span_of,
    without_clipped,
)


@pytest.fixture(scope="module")
def volume() -> np.ndarray:
    """Four materials with noise, a corner without data."""
    rng = np.random.default_rng(1)
    smooth = scipy.ndimage.gaussian_filter(rng.standard_normal((40, 48, 56)), 4)
    values = np.digitize(smooth / smooth.std(), [-0.7, 0.2, 1.0]) * 1.5 + 0.2 * rng.standard_normal(smooth.shape)
    values[:5, :6, :7] = np.nan
    return values.astype(np.float32)


def blocks(volume: np.ndarray, size: int) -> list[tuple[slice, ...]]:
    cuts = [[slice(a, min(a + size, n)) for a in range(0, n, size)] for n in volume.shape]
    return [(z, y, x) for z in cuts[0] for y in cuts[1] for x in cuts[2]]


def global_histogram(volume: np.ndarray, size: int, bins: int = 256) -> tuple[np.ndarray, float, float]:
    found = combine_histograms([histogram(volume[r], bins=[2 * bins]) for r in blocks(volume, size)], [2 * bins])
    return found["counts"], *span_of(found)


def test_counts_are_those_of_numpy_for_any_block_size(volume: np.ndarray) -> None:
    known = volume[np.isfinite(volume)]
    for size in (7, 32, 64):
        counts, low, high = global_histogram(volume, size)
        width = (high - low) / len(counts)
        assert 256 < len(counts) <= 512
        assert low <= known.min() < low + width
        assert high - width <= known.max() < high
        expected, _ = np.histogram(known.astype(np.float64), len(counts), (low, high))
        np.testing.assert_array_equal(counts, expected)


def test_pairs_of_any_range_add_up_in_any_order(volume: np.ndarray) -> None:
    """Blocks of zeros, of one value, of tiny values and without data, taken in one by one."""
    rng = np.random.default_rng(3)
    second = (volume**3).astype(np.float32)
    second[8:16] = 0
    second[16:20] = -3e-30
    second[20:24] = 7.5
    second[24:32, :, ::5] = np.nan
    most = [32, 100]
    whole = histogram(volume, second, bins=most)
    assert whole["counts"].sum() == (np.isfinite(volume) & np.isfinite(second)).sum()
    regions = blocks(volume, 4)
    rng.shuffle(regions)
    sum_ = histogram(np.full((2, 2), np.nan, np.float32), np.zeros((2, 2), np.float32), bins=most)
    for r in regions:
        sum_ = combine_histograms([sum_, histogram(volume[r], second[r], bins=most)], most)
    assert set(sum_) == set(whole)
    for key, value in whole.items():
        np.testing.assert_array_equal(sum_[key], value)
    rows, columns = (2.0 ** -whole["power"])[:, None] * [volume.ravel(), second.ravel()]
    known = np.isfinite(rows) & np.isfinite(columns)
    expected = np.zeros(whole["counts"].shape, int)
    places = [np.floor(a[known]).astype(int) - start for a, start in zip((rows, columns), whole["first"], strict=True)]
    np.add.at(expected, tuple(places), 1)
    np.testing.assert_array_equal(whole["counts"], expected)


def test_plain_formulations_agree_with_the_fast_ones(volume: np.ndarray) -> None:
    for values in ([volume], [np.abs(volume), volume]):
        found = histogram(*values, bins=[512, 256][: len(values)])
        flat, counts = [part.ravel() for part in values], found["counts"]
        plain = threshold._count_plainly(flat, 2.0 ** -found["power"], found["first"], np.array(counts.shape))
        np.testing.assert_array_equal(plain, counts)  # exact
    limits = np.array([0.7, 2.2, float(volume[20, 20, 20])])
    np.testing.assert_array_equal(
        threshold._compare_plainly(volume, np.sort(limits)), apply_thresholds(volume, np.sort(limits))
    )


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_otsu_is_that_of_scikit_image(volume: np.ndarray, classes: int) -> None:
    counts, edges = np.histogram(volume[np.isfinite(volume)].astype(np.float64), 200)
    low, high = edges[0], edges[-1]
    reference = threshold_multiotsu(hist=(counts, 0.5 * (edges[1:] + edges[:-1])), classes=classes)
    found = multi_otsu(counts, low=low, high=high, classes=classes)
    # scikit-image names the last bin of the lower class by its centre, here it is the boundary after it; it sums in
    # float32, which decides nearly equal neighbours otherwise
    assert np.all(np.abs(found - reference - (edges[1] - edges[0]) / 2) < 1.001 * (edges[1] - edges[0]))
    if classes == 2:
        assert abs(found[0] - threshold_otsu(hist=(counts, 0.5 * (edges[1:] + edges[:-1])))) <= edges[1] - edges[0]


def test_otsu_is_the_best_of_all_divisions() -> None:
    counts = np.random.default_rng(2).integers(1, 50, 14)
    position = np.arange(14) + 0.5

    def within(*cuts: int) -> float:
        edges = [0, *cuts, 14]
        parts = [slice(a, b) for a, b in itertools.pairwise(edges)]
        means = [np.average(position[p], weights=counts[p]) for p in parts]
        return sum(float((counts[p] * (position[p] - m) ** 2).sum()) for p, m in zip(parts, means, strict=True))

    best = min(itertools.combinations(range(1, 14), 3), key=lambda cuts: within(*cuts))
    np.testing.assert_allclose(multi_otsu(counts, low=0, high=14, classes=4), best)


def test_materials_are_recovered(volume: np.ndarray) -> None:
    counts, low, high = global_histogram(volume, 64, bins=1024)
    found = multi_otsu(counts, low=low, high=high, classes=4)
    assert np.abs(found - [0.75, 2.25, 3.75]).max() < 0.1


def test_means_of_classes() -> None:
    means = class_means([2, 2, 0, 0, 1, 3], [2.0, 4.0], low=0.0, high=6.0)
    np.testing.assert_allclose(means, [1.0, np.nan, 5.25])


def test_a_boundary_lies_in_the_middle_of_a_gap() -> None:
    counts = np.zeros(100, int)
    counts[[10, 50]] = 5
    assert multi_otsu(counts, low=0, high=100, classes=2) == pytest.approx([30.5])


def test_labels_count_the_thresholds_reached() -> None:
    block = np.array([[-1.0, 0.0, 0.1, 0.5, 1.0, np.nan, np.inf]], np.float32)
    np.testing.assert_array_equal(apply_thresholds(block, [0.1, 1.0]), [[0, 0, 1, 1, 2, 0, 2]])
    # 0.1 in float32 is above 0.1 in float64, its predecessor is below
    below = np.nextafter(np.float32(0.1), np.float32(0))
    assert apply_thresholds(np.array([[below]]), [0.1]) == 0
    assert block.dtype == np.float32
    assert apply_thresholds(block, [0.1]).dtype == np.uint8


@pytest.mark.parametrize("bright", [True, False])
@pytest.mark.parametrize("size", [16, 32, 64])
def test_hysteresis_is_that_of_the_whole_volume(volume: np.ndarray, size: int, bright: bool) -> None:
    sign = 1.0 if bright else -1.0
    data = np.nan_to_num(volume) * np.float32(sign)
    weak, strong = 2.9 * sign, 5.0 * sign
    regions = blocks(data, size)
    parts = [hysteresis_partial(data[r], r, data.shape, weak=weak, strong=strong, connectivity=6) for r in regions]
    merged = combine_hysteresis(parts, connectivity=6)
    found = np.zeros(data.shape, bool)
    for r in regions:
        found[r] = apply_hysteresis(data[r], r, merged, weak=weak, strong=strong, connectivity=6)
    expected = apply_hysteresis_threshold(data * sign, 2.9, 5.0)
    assert 0 < expected.sum() < (data * sign > 2.9).sum()
    np.testing.assert_array_equal(found, expected)


def test_clipped_integers_have_no_value() -> None:
    image = np.array([0, 1, 254, 255], np.uint8)
    np.testing.assert_array_equal(without_clipped(image), np.array([np.nan, 1, 254, np.nan], np.float32))
    same = np.array([0.0, 255.0], np.float32)
    assert without_clipped(same) is same


def test_what_cannot_be_segmented_is_named() -> None:
    with pytest.raises(ValueError, match="no finite value"):
        span_of(histogram(np.full((2, 2, 2), np.nan, np.float32), bins=[64]))
    with pytest.raises(ValueError, match="uniform or empty"):
        span_of(histogram(np.ones((2, 2, 2), np.float32), bins=[64]))
    with pytest.raises(ValueError, match="2 different values, too few for 3 classes"):
        multi_otsu([5, 0, 3], low=0, high=1, classes=3)
    with pytest.raises(ValueError, match="1 classes"):
        multi_otsu([5, 0, 3], low=0, high=1, classes=1)
    for wrong in ([], [1.0, 1.0], [2.0, 1.0], [np.nan], list(range(300))):
        with pytest.raises(ValueError, match="thresholds"):
            check_thresholds(wrong)
