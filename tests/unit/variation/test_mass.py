import numpy as np
import pytest

from xct_pipeline.variation import mass

FRAME = (40, 61, 60)


def test_a_region_without_voxels_is_named():
    with pytest.raises(ValueError, match="region nak holds no voxel"):
        mass.check_not_empty(0, "nak")


def test_swapping_the_scans_flips_the_sign_exactly():
    a, b = np.random.default_rng(1).standard_normal((2, 8, 9, 10)).astype(np.float32)
    there, back = mass.change(a, b), mass.change(b, a)
    np.testing.assert_array_equal(there, -back)
    mask = a > 0
    np.testing.assert_array_equal(
        mass.areal_sums(there, mask, (0, 0, 0)).total, -mass.areal_sums(back, mask, (0, 0, 0)).total
    )
    np.testing.assert_array_equal(mass.region_sums(there, mask).total, -mass.region_sums(back, mask).total)


def test_ten_micrometres_of_sodium_as_map_and_total():
    density = np.full((5, 6, 7), -0.968, np.float32)
    mask = np.ones(density.shape, bool)
    mask[:, 0] = False
    sums = mass.areal_sums(density, mask, (0, 0, 0))
    areal = mass.areal_map(sums, 2.0)
    assert np.isnan(areal[0]).all()
    np.testing.assert_allclose(areal[1:], -0.9680, rtol=1e-6)
    total = mass.mass_mg(mass.region_sums(density, mask), 2.0)[0]
    assert total == pytest.approx(-0.9680 * mass.area_cm2(sums, 2.0), rel=1e-6)


def test_bins_cut_by_the_frame():
    values = np.random.default_rng(2).random((7, 8, 9)).astype(np.float32)
    sums = mass.bin_sums(values, np.ones(values.shape, bool), (0, 0, 0), (3, 4, 5))
    assert sums.total.shape == (3, 2, 2)
    assert sums.total[2, 1, 1] == pytest.approx(values[6:, 4:, 5:].sum(), rel=1e-6)
    assert sums.count[2, 1, 1] == 1 * 4 * 4
    assert sums.count.sum() == values.size


@pytest.mark.parametrize("upward", [True, False])
def test_depth_from_a_flat_surface(upward):
    ceramic = np.zeros((10, 4, 4), bool)
    ceramic[:3] = True
    if not upward:
        ceramic = ceramic[::-1]
    whole = mass.surface_heights(ceramic, (0, 0, 0), upward=upward)
    halves = mass.merge_surface(
        mass.surface_heights(ceramic[:2], (0, 0, 0), upward=upward),
        mass.surface_heights(ceramic[2:], (2, 0, 0), upward=upward),
        upward=upward,
    )
    np.testing.assert_array_equal(whole.total, halves.total)
    depth = mass.depth_index(whole.total, (0, 0, 0), ceramic.shape, upward=upward)
    column = depth[:, 1, 1] if upward else depth[::-1, 1, 1]
    np.testing.assert_array_equal(column, np.arange(10) - 3)


def test_depth_follows_a_tilted_surface():
    y = np.arange(60)
    surface = np.repeat((5 + y * np.tan(np.radians(20)))[:, None], 8, axis=1)
    depth = mass.depth_index(surface, (0, 0, 0), (60, 60, 8))
    z = np.indices((60, 60))[0]
    normal = (z - surface[None, :, 0] - 1) * np.cos(np.radians(20))
    np.testing.assert_array_equal(depth[:, 5:-5, 4], np.floor(normal + 1e-9)[:, 5:-5].astype(int))


def test_column_without_ceramic_has_no_depth():
    surface = np.full((4, 4), 2.0)
    surface[1, 1] = np.nan
    depth = mass.depth_index(surface, (0, 0, 0), (6, 4, 4))
    assert (depth[:, 1, 1] < -1000).all()
    np.testing.assert_array_equal(np.bincount(depth[depth >= 0], minlength=6)[:6], [15, 15, 15, 0, 0, 0])


def test_radial_profile():
    index = mass.radial_index((2, 31, 31), (0, 0, 0), (2, 31, 31), width=2.0)
    assert index.shape == (2, 31, 31)
    assert index[0, 15, 15] == 0
    assert index[0, 15, 20] == 2
    assert np.bincount(index.ravel())[:7].sum() == 2 * (np.hypot(*(np.indices((31, 31)) - 15)) < 14).sum()
