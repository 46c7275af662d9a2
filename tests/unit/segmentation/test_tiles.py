"""Tiles put together to boxes, and surfaces looked at only beside them."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage

from xct_pipeline.segmentation import surface
from xct_pipeline.segmentation.tiles import TILE, boxes_of, labels_of_tiles, with_neighbours


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


def test_labels_of_tiles_and_of_those_around_them() -> None:
    labels = np.random.default_rng(4).integers(1, 3, (26, 18, 60)).astype(np.int32)
    labels[:, :, 16:32] = np.random.default_rng(5).integers(1, 6, (26, 18, 16))
    labels[:10, 8:, 40:] = 7
    found = labels_of_tiles(labels)
    near = with_neighbours(found)
    assert found.shape == near.shape == (3, 4, 3, 8)
    for index in np.ndindex(found.shape[1:]):
        for told, margin in ((found, 0), (near, 1)):
            box = tuple(slice(max(TILE * (k - margin), 0), TILE * (k + 1 + margin)) for k in index)
            values = np.unique(labels[box])
            assert told[(slice(None), *index)].tolist() == [values[0], values[min(1, len(values) - 1)], values[-1]]


@pytest.mark.parametrize("seed", [2, 3])
def test_areas_are_those_of_looking_everywhere(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = _labels(seed)
    core = (slice(7, 70), slice(0, 83), slice(7, 250))
    assert labels.size > surface.SMALL
    looked: list[int] = []
    plain = surface.surface_areas
    monkeypatch.setattr(surface, "surface_areas", lambda field, *more: looked.append(field.size) or plain(field, *more))
    found, beside = surface.area_partial(labels, core), sum(looked)
    looked.clear()
    monkeypatch.setattr(surface, "SMALL", labels.size)
    whole = surface.area_partial(labels, core)
    assert beside < 0.8 * sum(looked)
    np.testing.assert_array_equal(found["label"], whole["label"])
    np.testing.assert_allclose(found["area"], whole["area"], rtol=1e-9)


def test_the_surface_between_two_labels_is_that_of_both(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rough labels: many cells leave a choice, and may be cut in another way as seen from the other side."""
    noise = scipy.ndimage.gaussian_filter(np.random.default_rng(6).standard_normal((80, 90, 110)), 1)
    labels = (noise > 0.002).astype(np.uint8) + 1
    labels[:, :30, 80:] = 3
    core = (slice(7, 70), slice(0, 83), slice(7, 100))
    monkeypatch.setattr(surface, "SMALL", 0)
    found = surface.area_partial(labels, core)
    monkeypatch.setattr(surface, "SMALL", labels.size)
    whole = surface.area_partial(labels, core)
    assert whole["area"][0] != pytest.approx(whole["area"][1], rel=1e-6)
    np.testing.assert_allclose(found["area"], whole["area"], rtol=1e-8)
