from __future__ import annotations

import numpy as np
import pytest

from xct_pipeline.segmentation.interface import (
    combine_contacts,
    combine_distances,
    combine_heights,
    contact_partial,
    contact_rows,
    distance_partial,
    height_partial,
    local_planes,
)

GAS, CERAMIC, NAK, CARBON = 1, 2, 3, 4
NAMES = {GAS: "gas", CERAMIC: "nasicon", NAK: "nak", CARBON: "carbon"}
OFFSETS = (1.0, 2.0, 3.0)


def cell(shape: tuple[int, int, int], tilt: float, offset: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """A ceramic below a plane tilted along x; above it NaK for y below the middle, gas beyond. Labels, attenuation."""
    z, y, x = np.indices(shape).astype(float)
    surface = shape[0] / 2 + offset + np.tan(np.radians(tilt)) * (x - (shape[2] - 1) / 2)
    above = z - surface
    labels = np.where(above <= 0, CERAMIC, np.where(y < shape[1] / 2, NAK, GAS)).astype(np.uint8)
    share = np.clip(0.5 - above * np.cos(np.radians(tilt)), 0, 1)
    attenuation = 7.0 * share + (1 - share) * np.where(y < shape[1] / 2, 0.5, 0.0)
    return labels, attenuation.astype(np.float32)


def grid(shape: tuple[int, ...], size: int) -> list[tuple[slice, ...]]:
    cuts = [[slice(a, min(a + size, n)) for a in range(0, n, size)] for n in shape]
    return [(z, y, x) for z in cuts[0] for y in cuts[1] for x in cuts[2]]


def heights(labels: np.ndarray, size: int, attenuation: np.ndarray | None = None, **kw: object) -> np.ndarray:
    parts = []
    depth = kw.get("depth", 3)
    for region in grid(labels.shape, size):
        low, high = max(0, region[0].start - depth), min(labels.shape[0], region[0].stop + depth)
        outer = (slice(low, high), region[1], region[2])
        ny, nx = (r.stop - r.start for r in region[1:])
        core = (slice(region[0].start - low, region[0].stop - low), slice(0, ny), slice(0, nx))
        values = None if attenuation is None else attenuation[outer]
        parts.append(height_partial(labels[outer], region, core, ceramic=CERAMIC, attenuation=values, **kw))
    return combine_heights(parts, labels.shape, direction=kw.get("direction", 1))


def contact(labels: np.ndarray, planes: np.ndarray, size: int = 64, direction: int = 1) -> list[dict]:
    parts = [contact_partial(labels[r], r, planes, direction=direction) for r in grid(labels.shape, size)]
    return contact_rows(combine_contacts(parts), NAMES, ceramic=CERAMIC, voxel_size_um=2.0)


def fraction(rows: list[dict], name: str) -> list[float]:
    return [row["contact_fraction"] for row in rows if row["material"] == name]


@pytest.mark.parametrize(("tilt", "tolerance"), [(0, 0.005), (20, 0.01), (-20, 0.01)])
@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("use_attenuation", [True, False])
def test_half_covered_interface(tilt: float, tolerance: float, direction: int, use_attenuation: bool) -> None:
    labels, attenuation = cell((64, 64, 64), tilt)
    labels, attenuation = labels[::direction], attenuation[::direction]
    kw = {"attenuation": attenuation, "level": 3.5} if use_attenuation else {}
    planes = local_planes(heights(labels, 64, direction=direction, **kw))
    rows = contact(labels, planes, direction=direction)
    assert len(rows) == 9
    np.testing.assert_allclose(fraction(rows, "nak"), 0.5, atol=tolerance)
    np.testing.assert_allclose(fraction(rows, "gas"), 0.5, atol=tolerance)
    assert fraction(rows, "carbon") == [0, 0, 0]
    area = sum(row["area_um2"] for row in rows if row["offset_voxel"] == 1)
    columns = sum(row["columns"] for row in rows if row["offset_voxel"] == 1)
    assert area / columns == pytest.approx(4 / np.cos(np.radians(tilt)), rel=0.005)
    assert all(row["ceramic_fraction"] < 0.01 for row in rows)


@pytest.mark.parametrize("along_x", [True, False])
def test_half_covered_interface_divided_across_the_tilt(along_x: bool) -> None:
    labels, _ = cell((80, 128, 128), 20.0)
    if along_x:  # the material changes on the plane through the interface's middle that contains its normal
        z, _, x = np.indices(labels.shape)
        t = np.tan(np.radians(20))
        ahead = (x - 63.5) + t * (z - 40.3) > 0
        labels = np.where(labels == CERAMIC, CERAMIC, np.where(ahead, GAS, NAK)).astype(np.uint8)
    rows = contact(labels, local_planes(heights(labels, 128)))
    np.testing.assert_allclose(fraction(rows, "nak"), 0.5, atol=0.01)


@pytest.mark.parametrize("size", [20, 32])
def test_blocks_give_what_the_whole_volume_gives(size: int) -> None:
    labels, attenuation = cell((48, 50, 52), 15)
    labels[30:34, 20:30, 20:30] = CARBON
    whole = heights(labels, 64, attenuation=attenuation, level=3.5)
    found = heights(labels, size, attenuation=attenuation, level=3.5)
    np.testing.assert_allclose(found, whole, rtol=1e-14)  # a height is an index in the block plus its origin
    planes = local_planes(whole)
    for a, b in zip(contact(labels, planes, size), contact(labels, planes), strict=True):
        assert a.keys() == b.keys()
        assert a["columns"] == b["columns"]
        assert a["area_um2"] == pytest.approx(b["area_um2"], rel=1e-12)


def test_height_is_exact_between_voxels() -> None:
    for offset in (0.0, 0.2, 0.45, 0.7):
        labels, attenuation = cell((40, 24, 24), 20, offset)
        level = 3.75  # half-way between the ceramic and the NaK that covers the first columns
        columns = np.arange(24)
        truth = 20 + offset + np.tan(np.radians(20)) * (columns - 11.5)
        height = heights(labels, 64, attenuation=attenuation, level=level)[:12]
        planes = local_planes(heights(labels, 64, attenuation=attenuation, level=level))
        assert np.abs(height - truth).max() < 0.1  # a face this oblique spreads over more than the two voxels
        np.testing.assert_allclose(planes[2], np.tan(np.radians(20)), atol=0.02)
        np.testing.assert_allclose(planes[1], 0, atol=0.02)


def test_planes_are_exact_up_to_rim_and_frame() -> None:
    y, x = np.indices((40, 50)).astype(float)
    height = 12 + 0.3 * x - 0.1 * y
    height[(y - 20) ** 2 + (x - 30) ** 2 > 17**2] = np.nan
    height[15:18, 25:29] = np.nan
    planes = local_planes(height)
    known = np.isfinite(height)
    assert np.isnan(planes[:, ~known]).all()
    np.testing.assert_allclose(planes[0][known], height[known], atol=1e-9)
    np.testing.assert_allclose(planes[1][known], -0.1, atol=1e-9)
    np.testing.assert_allclose(planes[2][known], 0.3, atol=1e-9)


def test_specks_are_no_surface_and_steep_walls_are_left_out() -> None:
    labels, _ = cell((40, 40, 40), 0)
    plain = heights(labels, 64)
    speck = labels.copy()
    speck[30:32, 10, 10] = CERAMIC
    np.testing.assert_array_equal(heights(speck, 64), plain)
    assert heights(speck, 64, depth=2)[10, 10] == 31.5
    hole = labels.copy()
    hole[2:21, 15:25, 15:25] = NAK
    rows = contact(hole, local_planes(heights(hole, 64)))
    assert sum(row["columns"] for row in rows[:3]) < 1600
    assert sum(row["area_um2"] for row in rows[:3]) < 2 * 1600 * 4


def test_distance_of_voids_from_the_interface() -> None:
    labels, _ = cell((48, 40, 40), 20)
    z, y, x = np.indices(labels.shape)
    normal = np.array([np.cos(np.radians(20)), 0, -np.sin(np.radians(20))])
    away = (z - 24.3) * normal[0] + (x - 19.5) * normal[2]
    objects = np.zeros(labels.shape, np.int32)
    for name, gap in ((1, 0.0), (5, 4.0), (9, 8.0)):
        objects[(away > gap) & (away < gap + 3) & (abs(y - 4 * name) <= 1) & (abs(x - 19) < 6)] = name
    planes = local_planes(heights(labels, 64))
    parts = [distance_partial(objects[r], r, planes) for r in grid(labels.shape, 16)]
    found = combine_distances(parts)
    np.testing.assert_array_equal(found["label"], [1, 5, 9])
    np.testing.assert_allclose(found["distance"], [0, 4, 8], atol=0.6)
    assert found["distance"][0] < 0.2
    box = grid(labels.shape, 64)[0]
    shallow = distance_partial(objects, box, planes, deepest=1.0)
    np.testing.assert_array_equal(shallow["label"], [1, 5, 9])
    other = distance_partial(objects, box, planes, direction=-1, deepest=1.0)  # all lies behind, but the nearest
    assert other["label"].tolist() == [1]
    nowhere = combine_distances([distance_partial(objects, box, np.full((3, 40, 40), np.nan))])
    assert np.isinf(nowhere["distance"]).all()


def test_changing_the_material_changes_the_table() -> None:
    labels, _ = cell((32, 40, 40), 0)
    planes = local_planes(heights(labels, 64))
    before = contact(labels, planes)
    labels[17:19, :10] = CARBON
    after = contact(labels, planes)
    assert fraction(before, "carbon")[0] == 0
    np.testing.assert_allclose(fraction(after, "carbon"), [0.25, 0.25, 0], atol=1e-12)
    np.testing.assert_allclose(fraction(after, "nak"), [0.25, 0.25, 0.5], atol=1e-12)


def test_misuse_is_named() -> None:
    labels, attenuation = cell((32, 16, 16), 0)
    with pytest.raises(ValueError, match="no interface to measure"):
        heights(np.zeros_like(labels), 64)
    with pytest.raises(ValueError, match="no interface to measure"):
        local_planes(np.full((4, 4), np.nan))
    with pytest.raises(ValueError, match="needs both"):
        heights(labels, 64, attenuation=attenuation)
    with pytest.raises(ValueError, match="do not belong together"):
        height_partial(
            labels,
            (slice(0, 32), slice(0, 16), slice(0, 16)),
            (slice(0, 32), slice(0, 16), slice(0, 16)),
            ceramic=CERAMIC,
            attenuation=attenuation[:4],
            level=1.0,
        )
    with pytest.raises(ValueError, match="positive standard deviation"):
        local_planes(heights(labels, 64), smooth=0)
    with pytest.raises(ValueError, match="positive distances"):
        contact_partial(labels, grid(labels.shape, 64)[0], local_planes(heights(labels, 64)), offsets=[0.0, 1.0])
    merged = combine_contacts([contact_partial(labels, grid(labels.shape, 64)[0], local_planes(heights(labels, 64)))])
    with pytest.raises(ValueError, match="label 9 has no name"):
        contact_rows(merged, NAMES, ceramic=9, voxel_size_um=1.0)
    below = contact_partial(labels, grid(labels.shape, 64)[0], local_planes(heights(labels, 64)), direction=-1)
    with pytest.raises(ValueError, match="check the direction"):
        contact_rows(below, NAMES, ceramic=CERAMIC, voxel_size_um=1.0)
