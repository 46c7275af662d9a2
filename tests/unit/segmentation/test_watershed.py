from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import scipy.ndimage
from skimage.segmentation import watershed as meyer

from xct_pipeline.segmentation import markers
from xct_pipeline.segmentation.denoise import denoise
from xct_pipeline.segmentation.interface import (
    combine_heights,
    contact_partial,
    contact_rows,
    height_partial,
    local_planes,
)
from xct_pipeline.segmentation.markers import class_markers, marker_edge
from xct_pipeline.segmentation.threshold import apply_thresholds, class_means, flat_rows, histogram, multi_otsu, span_of
from xct_pipeline.segmentation.watershed import (
    _gradient_plainly,
    gradient_halo,
    gradient_magnitude,
    watershed,
    watershed_classes,
    watershed_halo,
)


@pytest.fixture(scope="module")
def volume() -> np.ndarray:
    """Two materials, blurred."""
    smooth = scipy.ndimage.gaussian_filter(np.random.default_rng(5).standard_normal((40, 44, 48)), 3)
    return scipy.ndimage.gaussian_filter((smooth > 0).astype(np.float32) * 4, 1)


@pytest.fixture(scope="module")
def flood(volume: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rough = volume + 0.05 * np.random.default_rng(6).standard_normal(volume.shape).astype(np.float32)
    gradient = gradient_magnitude(rough)
    return gradient, class_markers(rough, gradient, [2.0], edge=0.4)


def test_blurred_faces_go_to_their_side(volume: np.ndarray, flood: tuple[np.ndarray, np.ndarray]) -> None:
    gradient, markers = flood
    labels = watershed(gradient, markers)
    assert (markers == 0).mean() > 0.1
    assert (labels > 0).all()
    assert (labels == (volume >= 2) + 1).mean() > 0.97
    np.testing.assert_array_equal(labels[markers > 0], markers[markers > 0])


@pytest.mark.parametrize("connectivity", [6, 26])
def test_it_is_the_watershed_of_meyer(flood: tuple[np.ndarray, np.ndarray], connectivity: int) -> None:
    gradient, markers = flood
    steps = scipy.ndimage.generate_binary_structure(3, {6: 1, 26: 3}[connectivity])
    reference = meyer(gradient, markers.astype(np.int32), connectivity=steps)
    # Meyer's queue breaks the ties at watershed lines by age, which no block can know
    assert (watershed(gradient, markers, reach=32, connectivity=connectivity) == reference).mean() > 0.997


def test_two_basins_are_divided_at_their_pass() -> None:
    x = np.arange(60)
    height = np.minimum(abs(x - 12), abs(x - 40) * 0.9).astype(np.float32)[None, None]
    markers = np.zeros(height.shape, np.uint8)
    markers[..., 12], markers[..., 40] = 1, 2
    ridge = int(height[0, 0, 12:41].argmax()) + 12
    labels = watershed(height, markers, reach=60)[0, 0]
    assert (labels[:ridge] == 1).all()
    assert (labels[ridge + 1 :] == 2).all()
    short = watershed(height, markers, reach=4)[0, 0]
    np.testing.assert_array_equal(np.flatnonzero(short == 1), np.arange(8, 17))
    np.testing.assert_array_equal(np.flatnonzero(short == 2), np.arange(36, 45))


@pytest.mark.parametrize("reach", [2, 6])
def test_a_block_with_its_halo_gives_the_same_labels(
    volume: np.ndarray, flood: tuple[np.ndarray, np.ndarray], reach: int
) -> None:
    gradient, markers = flood
    whole = watershed(gradient, markers, reach=reach)
    blocks, slopes = np.zeros_like(whole), np.zeros_like(gradient)
    exact = gradient_magnitude(volume)
    for z in range(0, 40, 16):
        for x in range(0, 48, 16):
            for out, halo in ((blocks, reach), (slopes, gradient_halo())):
                a, b = max(0, z - halo), max(0, x - halo)
                outer = (slice(a, z + 16 + halo), slice(None), slice(b, x + 16 + halo))
                core = (slice(z - a, min(40, z + 16) - a), slice(0, 44), slice(x - b, x - b + 16))
                part = (
                    watershed(gradient[outer], markers[outer], reach=reach)
                    if out is blocks
                    else gradient_magnitude(volume[outer])
                )
                out[z : z + 16, :, x : x + 16] = part[core]
                again = (
                    watershed(gradient[outer], markers[outer], reach=reach, core=core)[core]
                    if out is blocks
                    else gradient_magnitude(volume[outer], core=core)
                )
                np.testing.assert_array_equal(again, part[core])
    np.testing.assert_array_equal(blocks, whole)
    np.testing.assert_array_equal(slopes, exact)


MEANS = [0.0, 0.516, 7.56]


def blurred_cell(tilt: float) -> tuple[np.ndarray, np.ndarray]:
    """Ceramic under a tilted face, half of it under NaK and half under gas, blurred, with noise; and its labels."""
    z, y, x = np.indices((48, 56, 56)).astype(float)
    face = 24.3 + np.tan(np.radians(tilt)) * (x - 27.5)
    truth = np.where(z <= face, 2, np.where(y < 28, 1, 0))
    values = scipy.ndimage.gaussian_filter(np.array([0.0, 0.516, 7.56])[truth], 0.8)
    return (values + 0.05 * np.random.default_rng(1).standard_normal(values.shape)).astype(np.float32), truth


@pytest.mark.parametrize("options", [{}, {"means": MEANS, "blur": 0.8}], ids=["crest", "halfway"])
@pytest.mark.parametrize("tilt", [0.0, 20.0])
def test_no_false_layer_at_a_blurred_face(tilt: float, options: dict[str, Any]) -> None:
    volume, truth = blurred_cell(tilt)
    found = histogram(volume, bins=[512])
    low, high = span_of(found)
    counts = found["counts"]
    limits = [0.258, 4.0]
    edge = marker_edge(class_means(counts, limits, low=low, high=high))
    assert 0.2 < edge < 0.35
    labels = watershed_classes(volume, limits, edge=edge, **options)
    inner = (slice(4, 44), slice(34, 52), slice(4, 52))  # ceramic and gas only
    assert (apply_thresholds(volume, limits)[inner] == 1).sum() > 18 * 48
    assert (labels[inner] == 1).sum() < 0.02 * 18 * 48
    assert (labels == truth).mean() > 0.995

    whole = (slice(0, 48), slice(0, 56), slice(0, 56))
    planes = local_planes(
        combine_heights([height_partial(labels, whole, whole, ceramic=2, attenuation=volume, level=4.0)], labels.shape)
    )
    rows = contact_rows(
        contact_partial(labels, whole, planes), {0: "gas", 1: "nak", 2: "ceramic"}, ceramic=2, voxel_size_um=1.0
    )
    found = [row["contact_fraction"] for row in rows if row["material"] == "nak"]
    np.testing.assert_allclose(found, 0.5, atol=0.01)


def test_thresholds_away_from_faces_divide_light_materials() -> None:
    volume, _ = blurred_cell(20.0)
    gradient = gradient_magnitude(volume)
    found = histogram(gradient, volume, bins=(256, 512))
    low, high = span_of(found)
    pairs, plain = found["counts"], histogram(volume, bins=[512])["counts"]
    np.testing.assert_array_equal(pairs.sum(axis=0), plain)
    slopes = histogram(gradient, bins=[256])
    np.testing.assert_array_equal(pairs.sum(axis=1), slopes["counts"])
    flattest, steepest = span_of(slopes)
    edge = multi_otsu(slopes["counts"], low=flattest, high=steepest)[0]
    away = pairs[flat_rows(pairs)].sum(axis=0)
    np.testing.assert_array_equal(away, np.histogram(volume[gradient < edge], len(plain), (low, high))[0])

    def divide(counts: np.ndarray) -> np.ndarray:
        return multi_otsu(counts, low=low, high=high, classes=3)

    assert divide(plain)[0] > 1  # gas and NaK in one class, the blurred face in another
    np.testing.assert_allclose(divide(away), [0.258, 4.04], atol=0.05)


def test_classes_with_a_halo_do_not_depend_on_blocks() -> None:
    volume, _ = blurred_cell(20.0)
    volume[:3, :10] = np.nan
    options = {"edge": 0.25, "reach": 4, "means": MEANS, "blur": 0.8}
    whole = watershed_classes(volume, [0.258, 4.0], **options)
    assert not whole[:3, :10].any()
    halo = watershed_halo(reach=4)
    found = np.zeros_like(whole)
    for z in range(0, 48, 16):
        a = max(0, z - halo)
        part = watershed_classes(volume[a : z + 16 + halo], [0.258, 4.0], **options)
        found[z : z + 16] = part[z - a : z - a + 16]
    np.testing.assert_array_equal(found, whole)
    core = (slice(20, 31), slice(0, 30), slice(24, 40))
    np.testing.assert_array_equal(watershed_classes(volume, [0.258, 4.0], core=core, **options), whole[core])


def test_walls_and_missing_data_are_not_flooded() -> None:
    field = np.zeros((1, 1, 9), np.float32)
    markers = np.zeros(field.shape, np.uint8)
    markers[..., 0] = 3
    field[..., 6] = np.nan
    np.testing.assert_array_equal(watershed(field, markers)[0, 0], [3] * 6 + [0] * 3)
    mask = np.arange(9)[None, None] < 3
    np.testing.assert_array_equal(watershed(field, markers, mask=mask)[0, 0], [3] * 3 + [0] * 6)


def test_gradient_of_a_ramp_and_markers_of_missing_data() -> None:
    ramp = np.broadcast_to(0.5 * np.arange(30, dtype=np.float32), (30, 30, 30)).copy()
    gradient = gradient_magnitude(ramp)
    np.testing.assert_allclose(gradient[..., 8:-8], 0.5, rtol=1e-4)
    ramp[3, 3, 3] = np.nan
    markers = class_markers(ramp, gradient_magnitude(ramp), [4.9], edge=1.0)
    assert markers[3, 3, 3] == 0
    assert set(np.unique(markers)) == {0, 1, 2}


def test_misuse_is_named() -> None:
    field = np.zeros((3, 3, 3), np.float32)
    with pytest.raises(ValueError, match="do not belong together"):
        watershed(field, np.zeros((2, 3, 3), np.uint8))
    with pytest.raises(ValueError, match="connectivity 4"):
        watershed(field, np.zeros((3, 3, 3), np.uint8), connectivity=4)
    with pytest.raises(ValueError, match="1 classes with values"):
        marker_edge([np.nan, 2.0])
    with pytest.raises(ValueError, match="leaves no markers"):
        class_markers(field, field, [1.0], edge=0.0)


def test_small_pores_are_not_flooded_by_what_surrounds_them() -> None:
    z, y, x = np.indices((40, 40, 40))
    solid = np.where(y < 6, 0.0, 7.0).astype(np.float32)
    expected = (y < 6).astype(int)
    for k, radius in enumerate((1.8, 2.5, 3.5)):
        pore = (z - 20) ** 2 + (y - 20) ** 2 + (x - 8 - 12 * k) ** 2 <= radius**2
        solid[pore] = 0.0
        expected[pore] = k + 2
    blurred = scipy.ndimage.gaussian_filter(solid, 1.0) + np.random.default_rng(0).normal(0, 0.02, solid.shape)
    found = watershed_classes(blurred.astype(np.float32), [0.2, 3.5], edge=0.16)
    parts, count = scipy.ndimage.label(found < 2)
    assert count == 4
    for k in range(1, 5):
        true = (expected == k).sum()
        assert np.bincount(parts[expected == k])[1:].max() > 0.35 * true  # blur shrinks small pores
    assert not (found[:, :4] > 0).any()
    assert ((found == 1) & (expected == 1)).sum() == 0  # no false layer at the face


def ceramic_with_pores(radii: tuple[float, ...], inside: float = 0.0, noise: float = 0.05) -> tuple[Any, list[Any]]:
    """Ceramic with one pore after another along x, each off the lattice, as a denoised image; and where each lies."""
    edge, fine = 26, 4
    shape = (edge, edge, edge * len(radii))
    rng = np.random.default_rng(4)
    share, parts = np.zeros(shape), []
    for k, radius in enumerate(radii):
        part = slice(edge * k, edge * (k + 1))
        grid = (np.arange(edge * fine) + 0.5) / fine - 0.5
        z, y, x = (grid - m for m in edge / 2 + rng.uniform(-0.5, 0.5, 3))
        ball = z[:, None, None] ** 2 + y[:, None] ** 2 + x**2 <= radius**2
        share[..., part] = ball.reshape(edge, fine, edge, fine, edge, fine).mean((1, 3, 5))
        parts.append(part)
    image = scipy.ndimage.gaussian_filter(7.56 + (inside - 7.56) * share, 0.7) + rng.normal(0, noise, shape)
    return denoise(image.astype(np.float32), "gaussian", sigma=1.0), parts


@pytest.mark.parametrize("noise", [0.05, 0.4])
def test_pores_in_ceramic_are_gas_and_keep_their_size(noise: float) -> None:
    radii = (2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0)
    block, parts = ceramic_with_pores(radii, noise=noise)
    found = watershed_classes(block, [0.258, 4.04], edge=0.258, means=MEANS, blur=float(np.hypot(0.7, 1.0)))
    for radius, part in zip(radii, parts, strict=True):
        counts = np.bincount(found[..., part].ravel(), minlength=3)
        expected = 4 / 3 * np.pi * radius**3
        assert counts[1] <= 0.05 * expected, radius
        assert 0.4 < counts[0] / expected < 1.1, radius
        if radius >= 3.5:
            assert counts[0] == pytest.approx(expected, rel=0.15)


def test_metal_in_ceramic_stays_metal_where_it_is_resolved() -> None:
    block, parts = ceramic_with_pores((4.5, 6.0), inside=0.516)
    found = watershed_classes(block, [0.258, 4.04], edge=0.258, means=MEANS, blur=float(np.hypot(0.7, 1.0)))
    for part in parts:
        counts = np.bincount(found[..., part].ravel(), minlength=3)
        assert counts[0] == 0
        assert counts[1] > 300


def test_metal_in_the_pits_of_a_rough_face_stays_metal() -> None:
    """Blur of the ceramic is taken off where a pit might be a pore, and must not turn metal in it into gas."""
    rng = np.random.default_rng(0)
    height = scipy.ndimage.gaussian_filter(rng.standard_normal((60, 60)), 3, mode="wrap")
    z = (np.arange(40 * 4) + 0.5) / 4 - 0.5
    share = (z[:, None, None] <= 18 + 4 * height / height.std()).reshape(40, 4, 60, 60).mean(1)
    image = scipy.ndimage.gaussian_filter(0.516 + 7.044 * share, 0.7) + rng.normal(0, 0.2, share.shape)
    block = denoise(image.astype(np.float32), "gaussian", sigma=1.0)
    found = watershed_classes(block, [0.258, 4.04], edge=0.258, means=MEANS, blur=float(np.hypot(0.7, 1.0)))
    assert (found[:34] == 0).sum() < 0.01 * height.size
    assert (found[:34] == 2).sum() == pytest.approx(share.sum(), abs=0.02 * height.size)


def markers_plainly(
    block: np.ndarray, gradient: np.ndarray, thresholds: list[float], *, edge: float, blur: float
) -> np.ndarray:
    """Do what `class_markers` does in single steps of numpy."""
    finite = np.isfinite(block)
    bend = np.zeros(block.shape, np.float32)
    padded = np.pad(block, 1, mode="edge")
    for axis in range(3):
        for start in (0, 2):
            part = [slice(1, -1)] * 3
            part[axis] = slice(start, start + block.shape[axis])
            bend += padded[tuple(part)]
    bend = np.float32(0.5 * markers.OVERSHOOT * blur**2) * (bend - np.float32(6) * block)
    sharp = np.where(np.abs(bend) >= np.float32(markers.LEAST_BEND * edge), block - bend, block)
    least = scipy.ndimage.minimum_filter(np.where(finite, block, -np.inf), size=3, mode="nearest")
    most = scipy.ndimage.maximum_filter(np.where(finite, block, np.inf), size=3, mode="nearest")
    extreme = (least < most) & ((block == least) | (block == most))
    certain = finite & ((gradient < edge) | extreme)
    return np.where(certain, apply_thresholds(sharp, thresholds) + np.uint8(1), np.uint8(0))


def test_compiled_markers_and_gradient_equal_the_plain_ones() -> None:
    block, _ = ceramic_with_pores((2.0, 4.0), noise=0.3)
    block[3:5, :6, 7] = np.nan
    gradient = gradient_magnitude(block)
    for blur in (0.0, 1.22):
        plain = markers_plainly(block, gradient, [0.258, 4.04], edge=0.258, blur=blur)
        np.testing.assert_array_equal(class_markers(block, gradient, [0.258, 4.04], edge=0.258, blur=blur), plain)
    whole = ceramic_with_pores((3.0,))[0]
    for sigma in (0.5, 1.0, 2.3):
        np.testing.assert_allclose(gradient_magnitude(whole, sigma=sigma), _gradient_plainly(whole, sigma), atol=2e-5)


def flood_plainly(field: np.ndarray, markers: np.ndarray, reach: int) -> np.ndarray:
    """Lower the passes of all voxels at once, `reach` times, in the order that `watershed` documents."""
    big = np.float32(np.inf)
    label = np.pad(markers.astype(int), 1)
    height = np.pad(field, 1, constant_values=big)
    free = np.pad(markers == 0, 1)
    level = np.where(label > 0, height, big)
    before, length = np.full(height.shape, big, np.float32), np.zeros(height.shape, int)
    for _ in range(reach):
        state = [level.copy(), before.copy(), length.copy(), label.copy()]
        for axis, way in itertools.product(range(3), (1, -1)):
            down, far, other = (np.roll(a, way, axis) for a in (level, length + 1, label))
            offer = [np.maximum(down, height), down, far, other]
            better, same = np.zeros(free.shape, bool), np.ones(free.shape, bool)
            for mine, theirs in zip(state, offer, strict=True):
                better |= same & (theirs < mine)
                same &= theirs == mine
            take = free & (other > 0) & (better | (state[3] == 0))
            state = [np.where(take, theirs, mine) for mine, theirs in zip(state, offer, strict=True)]
        level, before, length, label = state
    return label[1:-1, 1:-1, 1:-1]


@pytest.mark.parametrize("reach", [1, 4, 12])
def test_the_flood_is_that_of_its_definition(flood: tuple[np.ndarray, np.ndarray], reach: int) -> None:
    gradient, markers = (part[:20, :24, :28] for part in flood)
    for field in (gradient, gradient - np.float32(1.5), np.round(gradient)):  # negative ones and ties too
        np.testing.assert_array_equal(watershed(field, markers, reach=reach), flood_plainly(field, markers, reach))


@pytest.mark.parametrize("noise", [0.05, 0.3])
def test_a_void_near_the_ceramic_does_not_flow_down_to_it(noise: float) -> None:
    """The ceramic's blurred tail makes all of a thin layer of metal steep; it must not be flooded with the void."""
    z, y, x = np.indices((48, 44, 44))
    truth = np.where(z < 20, 2, 1)
    truth[(z - 28.5) ** 2 + (y - 22) ** 2 + (x - 21) ** 2 <= 36] = 0  # three voxels above the ceramic
    values = scipy.ndimage.gaussian_filter(np.array(MEANS)[truth], 0.7) + np.random.default_rng(0).normal(
        0, noise, truth.shape
    )
    block = denoise(values.astype(np.float32), "gaussian", sigma=1.0)
    found = watershed_classes(block, [0.258, 4.04], edge=0.258, means=MEANS, blur=float(np.hypot(0.7, 1.0)))
    assert (found[:21, 8:36, 8:36] == 0).sum() <= (0 if noise < 0.1 else 5)  # 12 and 16 where only the flood decides
    assert (found == 0).sum() == pytest.approx((truth == 0).sum(), rel=0.2)
