from __future__ import annotations

import numpy as np
import pytest

from xct_pipeline.segmentation.properties import (
    combine_properties,
    property_partial,
    property_table,
    summary,
    with_distance,
)
from xct_pipeline.segmentation.surface import area_partial, combine_areas

WHOLE = (slice(0, 40), slice(0, 40), slice(0, 60))


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    """A ball of radius 12, a box that touches the border, one voxel."""
    z, y, x = np.indices((40, 40, 60))
    labels = np.zeros(z.shape, np.int32)
    labels[(z - 20) ** 2 + (y - 19) ** 2 + (x - 21.5) ** 2 <= 144] = 7
    labels[2:6, 10:20, 50:60] = 2
    labels[38, 38, 3] = 1000
    return labels


def by_blocks(labels: np.ndarray, values: np.ndarray, size: int) -> dict[str, np.ndarray]:
    regions = [
        (slice(z, min(z + size, 40)), slice(y, min(y + size, 40)), slice(x, min(x + size, 60)))
        for z in range(0, 40, size)
        for y in range(0, 40, size)
        for x in range(0, 60, size)
    ]
    return combine_properties([property_partial(labels[r], r, values[r]) for r in regions])


@pytest.mark.parametrize("size", [9, 32, 64])
def test_objects_of_known_size_and_place(labels: np.ndarray, size: int) -> None:
    values = np.where(labels == 2, 0.5, labels).astype(np.float32)
    values[2, 10, 50] = np.nan
    area = combine_areas([area_partial(labels, WHOLE)])
    table = property_table(by_blocks(labels, values, size), voxel_size_um=2.0, frame=labels.shape, area=area)
    np.testing.assert_array_equal(table["label"], [2, 7, 1000])
    np.testing.assert_array_equal(table["voxels"], [400, (labels == 7).sum(), 1])
    np.testing.assert_allclose(table["volume_um3"], table["voxels"] * 8.0)
    np.testing.assert_allclose(table["mean_attenuation_per_cm"], [0.5, 7, 1000], rtol=1e-12)
    np.testing.assert_allclose([table[f"centroid_{a}_um"][1] for a in "zyx"], [40, 38, 43], atol=1e-12)
    np.testing.assert_allclose([table[f"centroid_{a}_um"][0] for a in "zyx"], [7, 29, 109], atol=1e-12)
    assert [int(table[f"bbox_{a}_{e}_voxel"][0]) for a in "zyx" for e in ("from", "to")] == [2, 6, 10, 20, 50, 60]
    np.testing.assert_array_equal(table["touches_border"], [True, False, False])
    assert table["equivalent_diameter_um"][1] == pytest.approx(48, rel=0.01)
    assert table["surface_area_um2"][1] == pytest.approx(4 * np.pi * 24**2, rel=0.015)
    assert table["sphericity"][1] == pytest.approx(1, abs=0.02)
    assert np.isnan(table["sphericity"][[0, 2]]).all()  # cut by the border; too small for a surface


def test_no_objects_make_an_empty_table() -> None:
    empty = np.zeros((4, 4, 4), np.int32)
    merged = combine_properties([property_partial(empty, (slice(0, 4),) * 3)])
    table = property_table(merged, voxel_size_um=1.0, frame=empty.shape, area=combine_areas([]))
    assert all(len(column) == 0 for column in table.values())
    assert "sphericity" in table
    assert len(combine_properties([])["label"]) == 0


def test_one_row_about_all_objects(labels: np.ndarray) -> None:
    values = np.ones(labels.shape, np.float32)
    table = property_table(by_blocks(labels, values, 64), voxel_size_um=2.0, frame=labels.shape)
    distances = {"label": np.array([2, 5, 1000]), "distance": np.array([3.0, 1.0, np.inf])}
    table = with_distance(table, distances, voxel_size_um=2.0)
    np.testing.assert_array_equal(table["distance_to_interface_um"], [6.0, np.nan, np.nan])
    row = summary(table)
    assert row["count"] == 3
    assert row["volume_um3"] == 8.0 * (labels > 0).sum()
    assert row["volume_max_um3"] == 8.0 * (labels == 7).sum()
    assert row["distance_mean_um"] == 6.0
    assert row["touching"] == 0
    assert summary(table, smallest_voxels=2)["count"] == 2
    touching = {"label": np.array([2, 7]), "distance": np.array([0.4, 0.0])}
    assert summary(with_distance(table, touching, voxel_size_um=2.0))["touching"] == 2
    nothing = summary(table, smallest_voxels=10**9)
    assert nothing["count"] == nothing["volume_um3"] == 0
    assert np.isnan(nothing["distance_mean_um"])
    empty = with_distance(table, {"label": np.zeros(0, int), "distance": np.zeros(0)}, voxel_size_um=2.0)
    assert np.isnan(empty["distance_to_interface_um"]).all()


def test_misuse_is_named(labels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="do not belong together"):
        property_partial(labels, WHOLE, np.zeros((3, 3, 3), np.float32))
    with pytest.raises(ValueError, match="voxel size"):
        property_table(combine_properties([]), voxel_size_um=0.0, frame=(4, 4, 4))
