from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage

from xct_pipeline.segmentation.label import (
    RANKS,
    keep_objects,
    label_block,
    label_boxes,
    label_partial,
    label_range,
    merge_labels,
    relabel_block,
)
from xct_pipeline.store.labels import find_label


def grid(shape: tuple[int, ...], size: int) -> list[tuple[slice, ...]]:
    cuts = [[slice(a, min(a + size, n)) for a in range(0, n, size)] for n in shape]
    return [(z, y, x) for z in cuts[0] for y in cuts[1] for x in cuts[2]]


def label_by_blocks(mask: np.ndarray, size: int, connectivity: int, reverse: bool = False) -> np.ndarray:
    regions = grid(mask.shape, size)
    parts = [label_partial(mask[r], r, mask.shape, connectivity=connectivity) for r in regions]
    merged = merge_labels(parts[::-1] if reverse else parts, connectivity=connectivity)
    labels = np.zeros(mask.shape, np.int32)
    for r in regions:
        labels[r] = relabel_block(mask[r], r, merged, connectivity=connectivity)
    return labels


def whole(mask: np.ndarray, connectivity: int) -> np.ndarray:
    """scipy's labels numbered by their first voxel in C order."""
    labels, count = scipy.ndimage.label(mask, scipy.ndimage.generate_binary_structure(3, RANKS[connectivity]))
    names, first = np.unique(labels, return_index=True)
    number = np.zeros(count + 1, int)
    order = names[np.argsort(first)]
    number[order[order > 0]] = np.arange(1, count + 1)
    return number[labels]


@pytest.fixture(scope="module")
def sponge() -> np.ndarray:
    rng = np.random.default_rng(0)
    return scipy.ndimage.gaussian_filter(rng.standard_normal((70, 80, 75)), 1.3) > 0.16


@pytest.mark.parametrize("connectivity", [6, 18, 26])
@pytest.mark.parametrize("size", [32, 64, 80])
def test_blocks_give_the_labels_of_the_whole_volume(sponge: np.ndarray, size: int, connectivity: int) -> None:
    expected = whole(sponge, connectivity)
    assert expected.max() > 50
    np.testing.assert_array_equal(label_by_blocks(sponge, size, connectivity), expected)


def test_the_order_of_blocks_does_not_matter(sponge: np.ndarray) -> None:
    np.testing.assert_array_equal(label_by_blocks(sponge, 32, 18, reverse=True), whole(sponge, 18))


@pytest.mark.parametrize(
    ("other", "joined"), [((1, 2, 2), {6, 18, 26}), ((1, 1, 2), {18, 26}), ((1, 1, 1), {26}), ((0, 2, 2), set())]
)
def test_faces_edges_and_corners_of_blocks(other: tuple[int, int, int], joined: set[int]) -> None:
    mask = np.zeros((4, 4, 4), bool)
    mask[2, 2, 2] = mask[other] = True
    for connectivity in (6, 18, 26):
        assert label_by_blocks(mask, 2, connectivity).max() == (1 if connectivity in joined else 2)


def test_a_coil_through_many_blocks_is_one_object() -> None:
    mask = np.zeros((9, 9, 9), bool)
    mask[::2] = True
    mask[1::4, 0, 0] = mask[3::4, -1, -1] = True
    assert label_by_blocks(mask, 3, 6).max() == 1
    mask[1::4, 0, 0] = False
    assert label_by_blocks(mask, 3, 6).max() == 3


def test_kept_objects_are_numbered_anew() -> None:
    mask = np.zeros((4, 4, 8), bool)
    mask[0, 0, ::2] = True
    regions = grid(mask.shape, 4)
    merged = merge_labels([label_partial(mask[r], r, mask.shape) for r in regions])
    kept = keep_objects(merged, np.array([True, False, False, True]))
    row = np.concatenate([relabel_block(mask[r], r, kept)[0, 0] for r in regions])
    np.testing.assert_array_equal(row, [1, 0, 0, 0, 0, 0, 2, 0])
    np.testing.assert_array_equal(kept["first"], [0, 6])


def test_an_empty_volume_has_no_objects() -> None:
    mask = np.zeros((4, 4, 4), bool)
    assert label_by_blocks(mask, 2, 26).max() == 0
    assert label_block(mask)[1] == 0


def test_a_label_is_found_by_name_or_number() -> None:
    names = {1: "gas", 3: "nak"}
    assert find_label(names, "nak") == find_label(names, 3) == 3
    for wrong in ("sodium", 2):
        with pytest.raises(ValueError, match=r"the labels are gas \(1\), nak \(3\)"):
            find_label(names, wrong)
    with pytest.raises(ValueError, match="the labels are none"):
        find_label({}, "nak")


def test_misuse_is_named() -> None:
    mask = np.ones((4, 4, 4), bool)
    regions = grid(mask.shape, 2)
    parts = [label_partial(mask[r], r, mask.shape) for r in regions]
    with pytest.raises(ValueError, match="connectivity 8"):
        label_block(mask, connectivity=8)
    with pytest.raises(ValueError, match="leave out the halo"):
        label_partial(mask, regions[0], mask.shape)
    with pytest.raises(ValueError, match="not a grid"):
        merge_labels(parts[:-1])
    with pytest.raises(ValueError, match="no region"):
        merge_labels([])
    merged = merge_labels(parts)
    with pytest.raises(ValueError, match="none of those that were labelled"):
        relabel_block(mask, (slice(0, 4),) * 3, merged)
    with pytest.raises(ValueError, match="holds 0 objects instead of 1"):
        relabel_block(~mask[:2, :2, :2], regions[0], merged)


@pytest.mark.parametrize(("dtype", "more"), [(np.uint8, 0), (np.int32, 0), (np.int32, 5000)])
def test_boxes_of_labels_are_those_of_scipy(dtype: type, more: int) -> None:
    labels = np.zeros((9, 10, 11), dtype)
    labels[2:5, 3, 4:9], labels[8, 9, 10], labels[0, :, 0] = 7 + more, 9 + more, 12 + more
    least, low, high = label_boxes(labels)
    boxes = scipy.ndimage.find_objects(labels)
    assert least == (7 + more if more else 1)
    assert label_range(labels) == (least, 12 + more)
    assert len(low) == 13 + more - least
    for k, box in enumerate(boxes[least - 1 :]):
        expected = [(0, 0)] * 3 if box is None else [(part.start, part.stop) for part in box]
        assert list(zip(low[k].tolist(), high[k].tolist(), strict=True)) == expected
    assert label_range(np.zeros((3, 4, 5), dtype)) == (1, 0)
    assert len(label_boxes(np.zeros((3, 4, 5), dtype))[1]) == 0


@pytest.mark.parametrize("connectivity", [6, 18, 26])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.8, 1.0])
def test_a_block_is_labelled_and_numbered_as_by_scipy(connectivity: int, share: float) -> None:
    structure = scipy.ndimage.generate_binary_structure(3, RANKS[connectivity])
    rng = np.random.default_rng(3)
    for shape in ((13, 11, 17), (1, 9, 12), (9, 12, 1), (1, 1, 1), (20, 1, 30)):
        mask = rng.random(shape) < share
        expected, count = scipy.ndimage.label(mask, structure)
        labels, found = label_block(mask, connectivity=connectivity)
        np.testing.assert_array_equal(labels, expected)
        assert found == count
