"""Cupping of a drawn ceramic in a sleeve: its kind and size, and what it says of sound scans."""

from __future__ import annotations

import numpy as np
import pytest
import scipy

from xct_pipeline.config.file import parse_config
from xct_pipeline.variation.dark_level import DarkLevel
from xct_pipeline.variation.grey_scale import GreyScale, Scene, _inside, distorted, edge_gradient, judge, uniform_model
from xct_pipeline.variation.steps import grey_scale as steps
from xct_pipeline.variation.steps.series import Materials

SIZE, ROWS, VOXEL = 80, 24, 25.0
MIDDLE = (SIZE - 1) / 2
CERAMIC, ANODE, WALL = 7.0, 0.6, 0.3
OPTICS = steps.optics_of(SIZE, VOXEL)


def labels_of(anode: float = 12.0):
    """Gas 1, wall 2, anode 3, ceramic 4: a ceramic disc of 27 voxels below, the anode above, a wall around."""
    y, x = np.indices((SIZE, SIZE)) - MIDDLE
    r = np.hypot(y, x)
    labels = np.ones((ROWS, SIZE, SIZE), np.uint8)
    labels[:, (r > 30) & (r < 33)] = 2
    labels[:14, r < 27] = 4
    labels[14:, r < anode] = 3
    return labels


def scene_of(rng, added=None, noise=0.2, blur=0.0, rings=(), pores=0):
    """Reconstruct projections of the labels, distorted by what `added` makes of them; no label tells of pores."""
    labels = labels_of()
    truth = np.array([0, 0, WALL, ANODE, CERAMIC], np.float32)[labels]
    for _ in range(pores):
        place = rng.uniform([3, MIDDLE - 9, MIDDLE - 9], [11, MIDDLE + 9, MIDDLE + 9])
        away = np.linalg.norm((np.indices(truth.shape).T - place).T / rng.uniform(0.8, 1.9, (3, 1, 1, 1)), axis=0)
        truth *= np.clip(away - 0.5, 0, 1)
    paths = OPTICS.project(truth)
    if blur:
        light = scipy.ndimage.gaussian_filter(np.exp(-paths), (0, 0, blur))
        paths = -np.log(light)
    if added is not None:
        paths = paths + added(paths)
    for column, offset in rings:
        paths[:, :, column] += offset
    volume = OPTICS.reconstruct(paths.astype(np.float32))
    grain = scipy.ndimage.gaussian_filter(rng.normal(size=volume.shape), (0, 0.5, 0.5))
    grain -= scipy.ndimage.gaussian_filter(grain, (0, 2, 2))  # of high frequency, as reconstructions have it
    region = np.zeros(volume.shape, bool)
    region[15:, 20:60, 20:60] = True
    volume = volume + np.float32(noise) * (grain / grain.std()).astype(np.float32)
    return Scene(volume.astype(np.float32), labels, 4, 1, region, (MIDDLE, MIDDLE), max(blur, 0.3))


@pytest.mark.parametrize(("kind", "error"), [("scatter", 0.03), ("nonlinearity", 0.015)])
def test_a_distortion_is_found_within_its_error(kind, error):
    """This disc is low for the width of the halo, whose own shape takes most of the cupping away."""
    scene = scene_of(np.random.default_rng(1), lambda paths: 0.05 * distorted(paths)[kind], noise=0.05)
    found = getattr(judge(scene, OPTICS), kind)
    assert found.sigma < error
    assert abs(found.amplitude - 0.05) < 3 * found.sigma
    assert kind == "scatter" or found.amplitude > 4.5 * found.sigma


def test_sound_scans_are_told_nothing_of():
    scores = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        found = judge(scene_of(rng, rings=[(int(rng.integers(12, 68)), 0.01)]), OPTICS)
        scores.append(found.nonlinearity.amplitude / found.nonlinearity.sigma)
        assert steps.warnings_of(["a"], [found], "ceramic") == []
        assert abs(found.air) < 0.05
    assert np.sqrt(np.mean(np.square(scores))) < 1.5


def test_small_pores_near_the_axis_are_not_taken_for_cupping():
    """They make the middle darker; what pores leave once they are left out is within the error, as without them."""
    scores = []
    for seed in range(6):
        found = judge(scene_of(np.random.default_rng(seed), noise=(0.03, 0.2)[seed % 2], pores=7), OPTICS)
        assert steps.warnings_of(["a"], [found], "ceramic") == []
        scores.append(found.nonlinearity.amplitude / found.nonlinearity.sigma)
    assert np.sqrt(np.mean(np.square(scores))) < 1.2
    bent = scene_of(np.random.default_rng(1), lambda paths: -0.05 * distorted(paths)["nonlinearity"], 0.05, pores=7)
    found = judge(bent, OPTICS).nonlinearity
    assert abs(found.amplitude + 0.05) < 3 * found.sigma
    assert found.amplitude < -2.5 * found.sigma


def test_the_blur_of_edges_is_not_taken_for_cupping():
    found = judge(scene_of(np.random.default_rng(3), noise=0.02, blur=1.0), OPTICS)
    assert abs(found.nonlinearity.amplitude) < 2 * found.nonlinearity.sigma


def test_averaging_intensities_lowers_paths_at_edges_alone():
    paths = OPTICS.project(uniform_model(scene_of(np.random.default_rng(0), noise=0.0)))
    lost = edge_gradient(paths, 0.8)
    assert lost.min() < -0.01
    assert lost.max() < 1e-6
    assert abs(lost[6, 0, 35:45]).max() < 1e-3


def test_what_it_means_for_the_mass_is_what_a_change_comes_out_as():
    """A change is reconstructed from distorted projections before and after it."""
    for kind, share in (("scatter", 0.03), ("nonlinearity", 0.02)):
        sums = []
        for strength in (1.0, 0.8):
            labels = labels_of()
            truth = np.array([0, 0, WALL, ANODE * strength, CERAMIC], np.float32)[labels]
            paths = OPTICS.project(truth)
            slices = OPTICS.reconstruct(paths + np.float32(share) * distorted(paths)[kind])
            sums.append(float(slices[labels == 3].sum() - OPTICS.reconstruct(paths)[labels == 3].sum()))
        change = -0.2 * ANODE * float((labels_of() == 3).sum())
        scene = scene_of(np.random.default_rng(0))._replace(region=labels_of() == 3)
        expected = share * getattr(judge(scene, OPTICS), kind).mass
        assert (sums[1] - sums[0]) / change == pytest.approx(expected, rel=0.05, abs=2e-4)


@pytest.mark.parametrize(("change", "told"), [("wide", "beyond the detector"), ("few", "deep enough")])
def test_what_cannot_be_judged_says_why(change, told):
    scene = scene_of(np.random.default_rng(0))
    if change == "wide":
        labels = scene.labels.copy()
        labels[:, :, :8] = 4
        scene = scene._replace(labels=labels, volume=np.where(labels == 4, np.float32(CERAMIC), scene.volume))
    else:
        scene = scene._replace(uniform=2)
    with pytest.raises(ValueError, match=told):
        judge(scene, OPTICS)


@pytest.fixture(scope="module")
def bent():
    return judge(scene_of(np.random.default_rng(1), lambda paths: 0.06 * distorted(paths)["nonlinearity"]), OPTICS)


def test_what_the_store_keeps_is_what_was_found(bent):
    assert steps.grey_scale_from(steps.as_arrays(bent)) == bent
    table = steps.table_of(["a", "b"], [bent, None], ["", "cut off"], [None, DARK], [np.nan, 0.2])
    assert list(table["problem"]) == ["", "cut off"]
    assert table["mass_scatter"][0] == pytest.approx(bent.scatter.amplitude * bent.scatter.mass)
    assert np.isnan(table["scatter"][1])
    assert list(table.loc[1, ["dark", "sigma_dark", "mass_dark_mg"]]) == [0.005, 0.001, 0.2]
    assert np.isnan(table["dark"][0])


def test_a_warning_names_size_and_meaning(bent):
    (text,) = steps.warnings_of(["a", "b"], [bent, None], "ceramic")
    assert text.startswith("a: grey values of ceramic")
    assert f"{bent.scatter.amplitude:.1%} +- {bent.scatter.sigma:.1%}" in text
    assert "(1 of 1 scans)" in text
    assert "sigma_linearity_mg" in text
    brighter = [one._replace(amplitude=-4 * one.sigma) for one in (bent.scatter, bent.nonlinearity)]
    assert steps.warnings_of(["a"], [bent._replace(scatter=brighter[0], nonlinearity=brighter[1])], "ceramic") == []
    small = bent._replace(scatter=bent.scatter._replace(mass=1e-3), nonlinearity=bent.nonlinearity._replace(mass=1e-3))
    assert steps.warnings_of(["a"], [small], "ceramic") == []


DARK = DarkLevel(0.005, 0.001, 0.0, 0.001)


class Series:
    dark = ()

    def __init__(self, *grey: GreyScale | None) -> None:
        self.grey = grey


def test_what_a_dark_level_does_to_the_anode_is_what_its_pattern_is_there():
    """A level of the light is added to counts; the ceramic is the scale."""
    truth = np.array([0, 0, WALL, ANODE, CERAMIC], np.float32)[labels_of()]
    paths = OPTICS.project(truth)
    lifted = -np.log((np.exp(-paths) + 0.002) / 1.002)
    before, after = OPTICS.reconstruct(paths), OPTICS.reconstruct(lifted.astype(np.float32))
    scene = scene_of(np.random.default_rng(0), noise=0.02)
    inner = labels_of() == 4
    inner[:, np.hypot(*(np.indices((SIZE, SIZE)) - MIDDLE)) > 22] = False
    scale = before[inner].mean() / after[inner].mean()
    anode = scene.region & (labels_of() == 3)
    off = float((scale * after - before)[anode].mean())
    assert 0.002 * judge(scene, OPTICS).dark_offset == pytest.approx(off, rel=0.1)


def test_errors_are_what_is_found_beyond_its_own_error(bent):
    sound = bent._replace(
        scatter=bent.scatter._replace(amplitude=0.5 * bent.scatter.sigma),
        nonlinearity=bent.nonlinearity._replace(amplitude=-0.5 * bent.nonlinearity.sigma),
    )
    assert steps.relative_error(Series(sound, sound), (1, 0)) == 0.0
    assert steps.relative_error(Series(), (1, 0)) == 0.0
    both = steps.relative_error(Series(bent, bent), (1, 0))
    each = [np.sqrt(one.amplitude**2 - one.sigma**2) * abs(one.mass) for one in (bent.scatter, bent.nonlinearity)]
    assert both == pytest.approx(max(each))
    assert steps.relative_error(Series(bent, sound), (1, 0)) == pytest.approx(max(each) / np.sqrt(2))
    assert steps.relative_error(Series(bent, None), (1, 0)) == pytest.approx(max(each))
    assert steps.offset_error(Series(bent, bent), (1, 0)) == 0.0
    assert steps.offset_error(Series(bent, sound), (1, 0)) > 0.0


def test_the_uniform_material_is_the_ceramic_or_the_brightest():
    labels = Materials("", 0, {1: "gas", 2: "metal", 3: "ceramic"}, "")
    config = {"output": "s.zarr", "acquisition": {"scans": ["a.nxs"]}, "segmentation": {}}
    assert steps.uniform_label(parse_config(config), labels) == 3
    assert steps.uniform_label(parse_config(config | {"segmentation": {"ceramic": "metal"}}), labels) == 2


def test_gas_is_what_attenuates_next_to_nothing():
    scene = scene_of(np.random.default_rng(0))
    assert steps.gas_label(scene.volume, scene.labels, 1, 4) == 1
    assert steps.gas_label(scene.volume + 2, scene.labels, 1, 4) == 0


@pytest.mark.parametrize("rim", [1.0, 2.5, 5.0])
def test_what_lies_inside_is_what_distances_say(rim: float) -> None:
    mask = scipy.ndimage.gaussian_filter(np.random.default_rng(3).standard_normal((30, 25, 40)), 4) > -0.01
    expected = scipy.ndimage.distance_transform_edt(mask) > rim
    np.testing.assert_array_equal(_inside(mask, rim), expected)
    assert _inside(np.ones((3, 4, 5), bool), rim).all()


def test_a_halo_is_that_of_scipy() -> None:
    paths = np.random.default_rng(4).random((12, 30, 50)).astype(np.float32)
    light = np.exp(-paths)
    halo = scipy.ndimage.gaussian_filter(light, (12.5, 0.0, 12.5), mode="nearest")
    edges = np.concatenate([halo[..., :3], halo[..., -3:]], axis=-1).mean(axis=(0, 2), dtype=np.float64)
    expected = edges[None, :, None].astype(np.float32) - halo / light
    np.testing.assert_allclose(distorted(paths)["scatter"], expected, atol=1e-6)
