from __future__ import annotations

import numpy as np
import pytest

from xct_pipeline.correction.zinger import _replace_plain, interpolate_pixels, remove_zingers


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("plane", ["projection", "sinogram"])
@pytest.mark.parametrize("sign", ["positive", "negative", "both"])
@pytest.mark.parametrize("shape", [(5, 6, 7), (3, 1, 40), (1, 4, 2), (1, 1, 1)])
def test_fast_path_equals_the_plain_formulation(dtype: type, plane: str, sign: str, shape: tuple[int, ...]) -> None:
    block = (np.random.default_rng(0).random(shape) * 250).astype(dtype)
    corrected, counts = remove_zingers(block, threshold=0.1, plane=plane, sign=sign)  # type: ignore[arg-type]
    expected, replaced = _replace_plain(block, 0.1, 3, plane, sign)  # type: ignore[arg-type]
    assert corrected.dtype == dtype
    assert np.array_equal(corrected, expected)  # exactly
    assert np.array_equal(counts, replaced.sum(axis=(0, 2)))


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("plane", ["projection", "sinogram"])
@pytest.mark.parametrize("rows", [slice(1, 5), slice(0, 2), slice(None, -2)])
def test_some_rows_are_those_of_the_whole_block(size: int, plane: str, rows: slice) -> None:
    block = np.random.default_rng(2).integers(0, 250, (6, 7, 8)).astype(np.uint16)
    whole, counts = remove_zingers(block, threshold=0.1, size=size, plane=plane)  # type: ignore[arg-type]
    some, found = remove_zingers(block, threshold=0.1, size=size, plane=plane, rows=rows)  # type: ignore[arg-type]
    assert np.array_equal(some, whole[:, rows])
    assert found.tolist() == counts[rows].tolist()


def test_planted_zingers_go_and_everything_else_stays() -> None:
    rng = np.random.default_rng(1)
    clean = rng.poisson(10_000, (20, 12, 50)).astype(np.uint16)
    block = clean.copy()
    places = [(3, 4, 10), (7, 0, 0), (19, 11, 49), (12, 6, 25)]
    for place in places:
        block[place] = 60_000
    corrected, counts = remove_zingers(block, threshold=0.2)
    changed = np.argwhere(corrected != block)
    assert sorted(map(tuple, changed)) == sorted(places)
    assert counts.sum() == 4
    assert counts[[4, 0, 11, 6]].tolist() == [1, 1, 1, 1]
    assert np.abs(corrected.astype(float) - clean).max() < 600  # within the counting noise of the neighbours


def test_negative_outliers_only_on_request() -> None:
    block = np.full((2, 5, 5), 100.0, np.float32)
    block[0, 2, 2] = 1.0
    assert remove_zingers(block)[1].sum() == 0
    corrected, counts = remove_zingers(block, sign="negative")
    assert counts.tolist() == [0, 0, 1, 0, 0]
    assert (corrected == 100).all()


def test_sinogram_plane_finds_what_a_line_of_dead_columns_hides() -> None:
    block = np.full((9, 1, 9), 10.0, np.float32)
    block[4, 0, 4] = 50.0
    corrected, counts = remove_zingers(block, plane="sinogram")
    assert counts.tolist() == [1]
    assert (corrected == 10).all()


def test_larger_neighbourhoods_take_clusters() -> None:
    block = np.full((1, 12, 12), 10.0, np.float32)
    block[0, 5:8, 5:7] = 90.0
    assert (remove_zingers(block, size=3)[0] == 90).any()
    corrected, counts = remove_zingers(block, size=5)
    assert (corrected == 10).all()
    assert counts.sum() == 6


def test_rows_are_the_same_in_any_block_with_a_halo() -> None:
    block = np.random.default_rng(3).random((6, 20, 30), dtype=np.float32)
    whole, counts = remove_zingers(block, threshold=0.3)
    part, part_counts = remove_zingers(block[:, 4:12], threshold=0.3)
    assert np.array_equal(part[:, 1:-1], whole[:, 5:11])
    assert np.array_equal(part_counts[1:-1], counts[5:11])


def test_input_is_left_alone_and_nan_survives() -> None:
    block = np.full((1, 5, 5), 2.0, np.float32)
    block[0, 0, 0] = np.nan
    block[0, 3, 3] = 99.0
    copy = block.copy()
    corrected, counts = remove_zingers(block)
    assert np.array_equal(block, copy, equal_nan=True)
    assert np.isnan(corrected[0, 0, 0])
    assert corrected[0, 3, 3] == 2.0
    assert counts.sum() == 1


def test_refuses_nonsense() -> None:
    block = np.zeros((2, 3, 4), np.float32)
    with pytest.raises(ValueError, match="axes"):
        remove_zingers(block[0])
    with pytest.raises(ValueError, match="threshold"):
        remove_zingers(block, threshold=float("nan"))
    with pytest.raises(ValueError, match="odd"):
        remove_zingers(block, size=4)
    with pytest.raises(ValueError, match="does not fit"):
        interpolate_pixels(block, np.zeros((4, 3), bool))


def test_interpolation_is_exact_on_a_plane() -> None:
    row, column = np.mgrid[0:8, 0:9]
    block = np.stack([3.0 + 2 * row - 0.5 * column, 1.0 * row * column]).astype(np.float32)
    mask = np.zeros((8, 9), bool)
    mask[2, 3:6] = mask[5, 5] = True
    mask[7, :] = False
    corrected, count = interpolate_pixels(np.where(mask, np.nan, block), mask)
    assert count == 4
    assert np.allclose(corrected, block, atol=1e-6)


def test_edge_pixels_take_their_nearest_neighbour_and_whole_rows_their_rows() -> None:
    block = np.arange(20, dtype=np.uint16).reshape(1, 4, 5) * 10
    mask = np.zeros((4, 5), bool)
    mask[0, 0] = mask[3, 3] = mask[3, 4] = True
    mask[1, :] = True
    corrected, count = interpolate_pixels(block, mask)
    assert corrected.dtype == np.uint16
    assert count == 8
    assert corrected[0, 0, 0] == 10
    assert corrected[0, 3, 3:].tolist() == [170, 170]
    assert corrected[0, 1].tolist() == [55, 60, 70, 80, 90]  # between rows 0 (first pixel filled) and 2


def test_nothing_to_interpolate_from() -> None:
    block = np.ones((2, 3, 3), np.float32)
    corrected, count = interpolate_pixels(block, np.ones((3, 3), bool))
    assert count == 0
    assert np.array_equal(corrected, block)
    assert interpolate_pixels(block, np.zeros((3, 3), bool))[1] == 0
