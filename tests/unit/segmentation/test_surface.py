from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage

from xct_pipeline.segmentation import surface
from xct_pipeline.segmentation.surface import (
    area_halo,
    area_partial,
    combine_areas,
    local_thickness,
    thickness_halo,
    thickness_partial,
)


def ball(shape: tuple[int, ...], centre: tuple[float, ...], radius: float) -> np.ndarray:
    z, y, x = np.indices(shape)
    return (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 <= radius**2


def widen(region: tuple[slice, ...], halo: int, shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(max(0, r.start - halo), min(n, r.stop + halo)) for r, n in zip(region, shape, strict=True))


def grid(shape: tuple[int, ...], size: int) -> list[tuple[slice, ...]]:
    cuts = [[slice(a, min(a + size, n)) for a in range(0, n, size)] for n in shape]
    return [(z, y, x) for z in cuts[0] for y in cuts[1] for x in cuts[2]]


def areas_by_blocks(labels: np.ndarray, size: int) -> dict[str, np.ndarray]:
    parts = []
    for region in grid(labels.shape, size):
        outer = widen(region, area_halo(), labels.shape)
        core = tuple(slice(r.start - o.start, r.stop - o.start) for r, o in zip(region, outer, strict=True))
        parts.append(area_partial(labels[outer], core))
    return combine_areas(parts)


def test_area_of_balls_for_any_block_size() -> None:
    labels = np.zeros((64, 64, 90), np.uint8)
    labels[ball(labels.shape, (31.3, 32.1, 30.7), 25)] = 3
    labels[ball(labels.shape, (30, 32, 70), 12)] = 1
    whole = areas_by_blocks(labels, 90)
    np.testing.assert_array_equal(whole["label"], [1, 3])
    truth = 4 * np.pi * np.array([12.0, 25.0]) ** 2
    assert whole["area"][1] == pytest.approx(truth[1], rel=0.01)
    assert whole["area"][0] == pytest.approx(truth[0], rel=0.015)
    for size in (32, 64):
        found = areas_by_blocks(labels, size)
        np.testing.assert_array_equal(found["label"], whole["label"])
        np.testing.assert_allclose(found["area"], whole["area"], rtol=1e-6)


@pytest.mark.parametrize(("radius", "low", "high"), [(3, -0.17, -0.11), (4.5, -0.08, -0.05), (10, -0.015, 0.0)])
def test_area_of_small_balls(radius: float, low: float, high: float) -> None:
    """Smoothing alone would take 27, 12 and 2 %."""
    rng = np.random.default_rng(0)
    n = int(2 * radius) + 16
    balls = [ball((n, n, n), tuple((n - 1) / 2 + rng.uniform(-0.5, 0.5, 3)), radius) for _ in range(4)]
    areas = [areas_by_blocks(mask.astype(np.uint8), n)["area"][0] for mask in balls]
    assert low < np.mean(areas) / (4 * np.pi * radius**2) - 1 < high


@pytest.mark.parametrize("tilt", [5.0, 20.0, 40.0])
def test_area_of_a_tilted_plane(tilt: float) -> None:
    z, y, x = np.indices((60, 60, 60))
    slope = np.tan(np.radians(tilt)) * np.array([0.5, 0.3])
    labels = (z < 30.3 + slope[0] * (x - 30) + slope[1] * (y - 30)).astype(np.uint8)
    inner = (slice(0, 60), slice(10, 50), slice(10, 50))
    area = area_partial(labels, inner)["area"][0]
    assert area == pytest.approx(40 * 40 * np.sqrt(1 + (slope**2).sum()), rel=0.015)


def test_a_plane_has_its_area_and_the_border_none() -> None:
    labels = np.zeros((12, 20, 30), np.uint8)
    labels[:5] = 1
    # cells lie between voxel centres, so a plane of n voxels spans n - 1 of them
    assert areas_by_blocks(labels, 9)["area"] == pytest.approx([19 * 29], rel=1e-6)
    assert len(areas_by_blocks(np.ones_like(labels), 9)["label"]) == 0
    assert len(areas_by_blocks(np.zeros_like(labels), 9)["label"]) == 0


@pytest.mark.parametrize("reach", [1, 3, 30])
def test_short_distances_are_exact(reach: int) -> None:
    inside = np.random.default_rng(1).random((17, 18, 19)) < 0.97
    expected = np.rint(scipy.ndimage.distance_transform_edt(inside) ** 2).astype(int)
    found = surface._squared_distance(inside, reach)
    near = expected <= reach**2
    assert near.any()
    np.testing.assert_array_equal(found[near], expected[near])
    assert (found[~near] > reach**2).all()


@pytest.mark.parametrize("n", [4, 5, 9])
def test_thickness_of_a_plate_is_within_half_a_voxel(n: int) -> None:
    mask = np.zeros((24, 30, 30), bool)
    mask[6 : 6 + n] = True
    thickness = local_thickness(mask, largest=20)
    assert np.abs(thickness[mask] - n).max() <= 0.5
    assert not thickness[~mask].any()


def test_thickness_of_a_ball_is_its_diameter_nearly_everywhere() -> None:
    mask = ball((30, 30, 30), (15, 15, 15), 10)
    thickness = local_thickness(mask, largest=30)
    assert np.median(thickness[mask]) == pytest.approx(20, abs=1)
    assert thickness.max() == pytest.approx(20, abs=1)


def test_thickness_with_its_halo_does_not_depend_on_blocks() -> None:
    rng = np.random.default_rng(3)
    mask = np.zeros((40, 40, 40), bool)
    for _ in range(14):
        mask |= ball(mask.shape, tuple(rng.uniform(0, 40, 3)), rng.uniform(2, 8))
    whole = local_thickness(mask, largest=8)
    assert whole.max() == 8
    pieces = np.zeros_like(whole)
    for region in grid(mask.shape, 16):
        outer = widen(region, thickness_halo(8), mask.shape)
        core = tuple(slice(r.start - o.start, r.stop - o.start) for r, o in zip(region, outer, strict=True))
        pieces[region] = local_thickness(mask[outer], largest=8)[core]
    np.testing.assert_array_equal(pieces, whole)
    counts = thickness_partial(whole, mask.astype(np.uint8), largest=8, bins=8, names=[1, 2])["counts"]
    assert counts.sum(axis=1).tolist() == [mask.sum(), 0]


def test_thickness_without_a_scale_is_refused() -> None:
    with pytest.raises(ValueError, match="must be positive"):
        local_thickness(np.ones((3, 3, 3), bool), largest=0)
    assert not local_thickness(np.zeros((3, 3, 3), bool), largest=4).any()
    assert (local_thickness(np.ones((3, 3, 3), bool), largest=4) == 4).all()
