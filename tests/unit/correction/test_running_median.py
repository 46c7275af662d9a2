from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.ndimage

from xct_pipeline.correction.running_median import GROUP, running_median


def sorted_windows(values: np.ndarray[Any, Any], size: int) -> np.ndarray[Any, Any]:
    """The definition: extend the first axis by reflection, sort every window, take the middle."""
    padded = np.pad(values, ((size // 2, size - 1 - size // 2), (0, 0)), mode="symmetric")
    return np.sort(np.lib.stride_tricks.sliding_window_view(padded, size, axis=0), axis=-1)[..., size // 2]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 21, 61])
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (7, GROUP), (40, GROUP + 1), (90, 2 * GROUP - 1)])
def test_equals_scipy_to_the_last_bit(shape: tuple[int, int], size: int) -> None:
    values = np.random.default_rng(size).normal(size=shape).astype(np.float32)
    values[values > 1] = 1.0  # equal values must not matter
    result = running_median(values, size, axis=0)
    assert np.array_equal(result, sorted_windows(values, size))
    assert np.array_equal(running_median(values.T, size, axis=1), result.T)
    if size <= 2 * shape[0]:  # scipy 1.17 reads beyond the end of the axis for longer windows
        assert np.array_equal(result, scipy.ndimage.median_filter(values, (size, 1), mode="reflect"))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float64])
def test_keeps_the_dtype_and_its_values(dtype: type) -> None:
    values = np.random.default_rng(1).integers(0, 250, (30, 5)).astype(dtype) * (1 if dtype != np.int32 else 100_003)
    result = running_median(values, 7)
    assert result.dtype == dtype
    assert np.array_equal(result, scipy.ndimage.median_filter(values, (1, 7)))


def test_works_along_any_axis_of_a_block_and_leaves_it_alone() -> None:
    block = np.random.default_rng(2).random((4, 5, 6), dtype=np.float32)
    copy = block.copy()
    for axis, window in ((0, (5, 1, 1)), (1, (1, 5, 1)), (2, (1, 1, 5)), (-2, (1, 5, 1))):
        assert np.array_equal(running_median(block, 5, axis=axis), scipy.ndimage.median_filter(block, window))
    assert np.array_equal(block, copy)


def test_window_longer_than_the_axis_reflects_again_and_again() -> None:
    values = np.array([3.0, 1.0, 2.0], np.float32)
    assert np.array_equal(running_median(values, 15), sorted_windows(values[:, None], 15)[:, 0])


def test_a_step_stays_and_a_spike_goes() -> None:
    step = np.repeat([0.0, 1.0], 20).astype(np.float32)
    spiked = step.copy()
    spiked[7] = 9.0
    assert np.array_equal(running_median(spiked, 5), step)


def test_empty_and_infinite_values() -> None:
    assert running_median(np.empty((0, 3), np.float32), 3).shape == (0, 3)
    assert running_median(np.array([0, np.inf, 0, -np.inf, 0], np.float32), 3).tolist() == [0, 0, 0, 0, 0]


def test_refuses_nonsense() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        running_median(np.zeros(3), 0)
    with pytest.raises(ValueError, match="axis"):
        running_median(np.float32(1), 3)
