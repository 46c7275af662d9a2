"""Tiles put together to boxes, and surfaces looked at only beside them."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage

from xct_pipeline.segmentation import surface
from xct_pipeline.segmentation.tiles import TILE, boxes_of, label_ranges, mixed_tiles


def _labels(seed: int, shape: tuple[int, int, int] = (70, 90, 256)) -> np.ndarray:
    """Return blurred noise in three classes, most of it inside one large body of the second."""
    noise = scipy.ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 4)
    labels = np.digitize(noise, [-0.01, 0.015]).astype(np.int32) + 1
    labels[:, :, :180] = 2
    return labels


def test_boxes_hold_all_tiles_once_and_stay_in_the_part() -> None:
    busy = np.random.default_rng(1).random((8, 9, 10)) < 0.05
    part = (slice(5, 60), slice(0, 70), slice(8, 77))
    seen = np.zeros([n * TILE for n in busy.shape], int)
    boxes = boxes_of(busy, part, margin=0)
    for box in boxes:
        seen[box] += 1
    assert len(boxes) > 1
    assert seen.max() == 1
    wanted = busy.repeat(TILE, 0).repeat(TILE, 1).repeat(TILE, 2)
    assert seen[part][wanted[part]].all()
    seen[part] = 0
    assert not seen.any()
    assert seen.size > sum(np.prod([p.stop - p.start for p in box]) for box in boxes)
    assert boxes_of(np.zeros_like(busy), part, margin=0) == []
    assert boxes_of(np.ones_like(busy), part, margin=8) == [part]


def test_tiles_are_mixed_within_a_tile_of_both_sides() -> None:
    labels = np.ones((40, 40, 83), np.int32)
    labels[:, :, 40:] = 3
    labels[:, :, 80:] = 5
    ranges = label_ranges(labels)
    assert ranges[0][0, 0].tolist() == [1] * 5 + [3] * 5 + [5]
    found = {k: mixed_tiles(*ranges, k)[2, 2].tolist() for k in (1, 2, 3, 5)}
    assert found[1] == [False] * 4 + [True] * 2 + [False] * 5
    assert found[3] == [False] * 4 + [True] * 2 + [False] * 3 + [True] * 2
    assert not any(found[2])
    assert found[5] == [False] * 9 + [True] * 2


@pytest.mark.parametrize("seed", [2, 3])
def test_areas_are_those_of_looking_everywhere(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = _labels(seed)
    core = (slice(7, 70), slice(0, 83), slice(7, 250))
    assert labels.size > surface.SMALL
    looked: list[int] = []
    plain = surface.surface_area
    monkeypatch.setattr(surface, "surface_area", lambda field, level: looked.append(field.size) or plain(field, level))
    found, beside = surface.area_partial(labels, core), sum(looked)
    looked.clear()
    monkeypatch.setattr(surface, "SMALL", labels.size)
    whole = surface.area_partial(labels, core)
    assert beside < 0.8 * sum(looked)
    np.testing.assert_array_equal(found["label"], whole["label"])
    np.testing.assert_allclose(found["area"], whole["area"], rtol=1e-13)
