import numpy as np
import pytest
import scipy.ndimage

from xct_pipeline.registration.calibration import RegionMean, calibrate, dense_threshold, gas_mask, region_means

GAIN, OFFSET = 1.06, -0.08


@pytest.fixture(scope="module")
def cell():
    """Gas, alloy and ceramic blocks, blurred and noisy, with the labels they were made from."""
    rng = np.random.default_rng(0)
    labels = np.zeros((64, 64, 64), np.uint8)
    labels[10:54, 10:54, 8:30] = 1
    labels[10:54, 10:54, 30:56] = 2
    truth = scipy.ndimage.gaussian_filter(np.array([0.0, 0.45, 7.4])[labels], 0.8)
    volumes = []
    for gain, offset in ((1.0, 0.0), (GAIN, OFFSET)):
        noise = scipy.ndimage.gaussian_filter(rng.normal(size=labels.shape), 0.8) * 1.5
        volumes.append(((truth + noise - offset) / gain).astype(np.float32))
    return labels, volumes[0], volumes[1]


def test_gain_and_offset_with_a_third_material_as_check(cell):
    labels, reference, moving = cell
    names = {"gas": 0, "alloy": 1, "ceramic": 2}
    means = {n: region_means((reference, moving), labels == k, erode=(3,)) for n, k in names.items()}
    r, m = ({n: each[k] for n, each in means.items()} for k in (0, 1))
    found = calibrate(r, m, ["gas", "ceramic"])
    assert found.gain == pytest.approx(GAIN, abs=4 * found.gain_sigma)
    assert found.offset == pytest.approx(OFFSET, abs=4 * found.offset_sigma)
    assert found.gain_sigma < 0.005
    residual, sigma = found.checks["alloy"]
    assert list(found.checks) == ["alloy"]
    assert abs(residual) < 4 * sigma < 0.1


def test_error_of_a_mean_allows_for_correlated_noise():
    rng = np.random.default_rng(1)
    ratio = []
    mask = np.ones((32, 32, 32), bool)
    for _ in range(30):
        noise = scipy.ndimage.gaussian_filter(rng.normal(size=mask.shape), 1.5)
        found = region_means([noise.astype(np.float32)], mask, erode=(2,), cell=8)[0]
        ratio.append(found.mean / found.sigma)
    assert 0.7 < np.std(ratio) < 1.6


def test_robust_mean_leaves_specks_and_edges_out():
    volume = np.full((20, 20, 20), 2.0, np.float32)
    volume += np.random.default_rng(2).normal(0, 0.01, volume.shape).astype(np.float32)
    mask = np.zeros(volume.shape, bool)
    mask[2:18, 2:18, 2:18] = True
    volume[~mask] = 50.0
    volume[8, 8, 8:10], volume[5, 5, 5] = 90.0, np.nan
    assert region_means([volume], mask, erode=(1,))[0].mean == pytest.approx(2.0, abs=0.002)


def test_gas_is_found(cell):
    labels, reference, _ = cell
    mask = gas_mask(reference, smooth=2.0)
    assert mask.sum() > 0.2 * (labels == 0).sum()
    assert (labels[mask] == 0).mean() > 0.99
    holed = reference.copy()
    holed[:5] = np.nan
    assert not gas_mask(holed, smooth=2.0)[:5].any()


def test_one_material_gives_an_offset():
    found = calibrate({"gas": RegionMean(0.0, 0.01, 100)}, {"gas": RegionMean(0.2, 0.01, 100)}, ["gas"])
    assert (found.gain, found.offset) == (1.0, pytest.approx(-0.2))
    assert found.offset_sigma == pytest.approx(0.01 * np.sqrt(2))


def test_errors():
    near = {"a": RegionMean(1.0, 0.01, 100), "b": RegionMean(1.02, 0.01, 100)}
    with pytest.raises(ValueError, match="too little for a gain"):
        calibrate(near, near, ["a", "b"])
    with pytest.raises(ValueError, match="'c'"):
        calibrate(near, near, ["a", "c"])
    with pytest.raises(ValueError, match="0 voxels once 2"):
        region_means([np.ones((8, 8, 8), np.float32)], np.zeros((8, 8, 8), bool))
    with pytest.raises(ValueError, match="one grey value"):
        gas_mask(np.ones((16, 16, 16), np.float32))
    with pytest.raises(ValueError, match="no finite voxel"):
        gas_mask(np.full((16, 16, 16), np.nan, np.float32))


def layered(light: float, dense: float) -> np.ndarray:
    """Gas around a light metal on a dense block, with noise as large as the light one."""
    volume = np.zeros((40, 40, 40), np.float32)
    volume[6:20, 5:35, 5:35] = dense
    volume[20:34, 5:35, 5:35] = light
    return volume + np.random.default_rng(3).normal(0, 0.5, volume.shape).astype(np.float32)


def test_the_threshold_of_a_dense_material_lies_half_way_to_what_is_light():
    assert dense_threshold(layered(0.5, 7.5)) == pytest.approx(4.0, abs=0.4)
    holed = layered(0.5, 7.5)
    holed[:3] = np.nan
    assert dense_threshold(holed) == pytest.approx(4.0, abs=0.4)


@pytest.mark.parametrize(
    "volume",
    [layered(0.5, 0.9), layered(5.0, 7.5), np.ones((8, 8, 8), np.float32), np.full((8, 8, 8), np.nan, np.float32)],
)
def test_no_dense_material_is_made_up(volume):
    with pytest.raises(ValueError, match=r"stands out|no finite voxel"):
        dense_threshold(volume)


def test_what_is_uneven_in_both_scans_alike_is_no_error_of_their_scales():
    rng = np.random.default_rng(6)
    dense = np.zeros((48, 48, 48), bool)
    dense[24:] = True
    uneven = 7.4 * (1 + 0.02 * np.linspace(-1, 1, 48)) * dense + 0.01 * np.linspace(-1, 1, 48)[:, None]
    pulls, apart = [], []
    for _ in range(40):
        scans = [(uneven + rng.normal(0, 0.2, uneven.shape)).astype(np.float32) for _ in range(2)]
        means = {name: region_means(scans, mask) for name, mask in (("gas", ~dense), ("dense", dense))}
        reference, moving = ({name: each[k] for name, each in means.items()} for k in (0, 1))
        found = calibrate(reference, moving, ["gas", "dense"])
        pulls.append(((found.gain - 1) / found.gain_sigma, found.offset / found.offset_sigma))
        apart.append(reference["dense"].sigma / 7.4 / found.gain_sigma)
    assert np.all(np.abs(np.std(pulls, axis=0) - 1) < 0.35)
    assert min(apart) > 5  # what the scatter of one scan's cells would say


def test_edges_that_resampling_blurs_in_one_scan_do_not_move_the_scale():
    dense = np.zeros((48, 48, 48), bool)
    dense[8:40, 8:40, 8:40] = True
    sharp = scipy.ndimage.gaussian_filter(7.4 * dense, 0.9)
    blurred = scipy.ndimage.gaussian_filter(sharp, 0.5)
    noise = np.random.default_rng(7).normal(0, 0.05, dense.shape)
    scans = [(volume + noise).astype(np.float32) for volume in (sharp, blurred)]
    near, far = (region_means(scans, dense, erode=erode) for erode in ((2,), (2, 3, 4)))
    assert near[1].mean / near[0].mean < 1 - 4e-4
    assert far[1].mean / far[0].mean == pytest.approx(1.0, abs=3e-5)
    between = region_means(scans, dense, erode=(2, 3))
    found = [calibrate({"a": one[0]}, {"a": one[1]}, ["a"]) for one in (between, far)]
    assert all(0.8 * abs(one.offset) < one.offset_sigma for one in found)
    assert found[0].offset_sigma > 10 * found[1].offset_sigma
    assert far[0].voxels == 24**3


def test_rings_that_change_their_sign_from_voxel_to_voxel_are_halved_out():
    dense = np.zeros((48, 48, 48), bool)
    dense[8:40, 8:40, 8:40] = True
    depth = scipy.ndimage.distance_transform_cdt(dense, "chessboard")
    noise = np.random.default_rng(9).normal(0, 0.01, dense.shape)
    ringing = 0.05 * (-1.0) ** depth * 0.8**depth
    one, other = region_means([(7.4 * dense + k * ringing + noise).astype(np.float32) for k in (0, 1)], dense)
    off, wider = other.mean - one.mean, other.wider - one.wider
    assert abs(off) < 0.25 * min(abs(wider), abs(2 * off - wider))  # of either depth
    assert calibrate({"a": one}, {"a": other}, ["a"]).offset_sigma > abs(off)


def test_a_thin_region_keeps_most_of_itself():
    thin = np.zeros((40, 40, 40), bool)
    thin[10:17] = True
    assert region_means([np.zeros(thin.shape, np.float32)], thin)[0].voxels == 3 * 40 * 40


def test_rows_that_are_off_as_a_whole_are_in_the_error():
    rng = np.random.default_rng(8)
    pulls = []
    for _ in range(60):
        rows = np.repeat(rng.normal(0, 0.02, (12, 1, 1)), 4, axis=0)
        scans = [(rng.normal(0, 0.1, (48, 48, 48)) + k * rows).astype(np.float32) for k in (0, 1)]
        one, other = region_means(scans, np.ones((48, 48, 48), bool))
        found = calibrate({"gas": one}, {"gas": other}, ["gas"])
        pulls.append(found.offset / found.offset_sigma)
    assert 0.75 < np.std(pulls) < 1.35
