"""A region means the same in every stage: by definition, by boxes, thinned, on every level, and in the report."""

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from xct_pipeline.config import MaskSettings, RegionOfInterest, RegionOfMass
from xct_pipeline.config.file import parse_config
from xct_pipeline.region import RegionMask, check_region, place_region
from xct_pipeline.registration.steps.masks import Mask
from xct_pipeline.registration.steps.volumes import Volume
from xct_pipeline.store.store import Store
from xct_pipeline.whole_body import find_body

FRAME = (9, 14, 15)


def brute(
    region: RegionOfInterest, frame: tuple[int, ...], level: int, painted: np.ndarray | None = None
) -> np.ndarray:
    """The definition, voxel by voxel."""
    scale = 2**level
    mask = np.zeros([n // scale for n in frame], bool)
    for index in np.ndindex(*mask.shape):
        z, y, x = (i * scale + (scale - 1) / 2 for i in index)
        inside = True
        if c := region.cylinder:
            inside &= c.z[0] - 0.5 <= z < c.z[1] - 0.5
            inside &= (y - (frame[1] - 1) / 2) ** 2 + (x - (frame[2] - 1) / 2) ** 2 <= c.radius**2
        if b := region.box:
            inside &= all(s[0] - 0.5 <= v < s[1] - 0.5 for s, v in zip((b.z, b.y, b.x), (z, y, x), strict=True))
        if painted is not None:
            cube = painted[tuple(slice(i * scale, (i + 1) * scale) for i in index)]
            inside &= cube.mean() >= 0.5
        mask[index] = inside
    return mask


def spans(size: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(0, size - 1), st.integers(1, size)).filter(lambda s: s[0] < s[1])


@st.composite
def regions(draw: st.DrawFn) -> RegionOfInterest:
    # whole radii, halves and roots put voxel centres on the circle itself
    radius = draw(st.sampled_from([0.5, 1.0, 2.5, 3.0, 5.0, 6.5, 50**0.5, 7.0]))
    parts: dict[str, object] = {"cylinder": {"z": draw(spans(FRAME[0])), "radius": radius}}
    if draw(st.booleans()):
        parts["box"] = {axis: draw(spans(n)) for axis, n in zip("zyx", FRAME, strict=True)}
        if draw(st.booleans()):
            del parts["cylinder"]
    return RegionOfInterest.model_validate(parts)


@given(regions(), st.integers(0, 2))
@settings(max_examples=60, deadline=None)
def test_a_region_is_what_its_definition_says_in_every_stage(tmp_path_factory, region, level):
    mask = RegionMask(region, FRAME)
    size = [n >> level for n in FRAME]
    whole = tuple(slice(0, n) for n in size)
    expected = brute(region, FRAME, level)
    np.testing.assert_array_equal(mask.box(whole, level), expected)
    thin = tuple(slice(k, n, 2) for k, n in zip((0, 1, 0), size, strict=True))
    np.testing.assert_array_equal(mask.box(thin, level), expected[thin])
    part = tuple(slice(n // 3, n) for n in size)
    np.testing.assert_array_equal(mask.box(part, level), expected[part])
    chosen = MaskSettings.model_validate(region.model_dump(exclude_none=True))
    volume = Volume("a", "scans/a/volume", FRAME, 3, 1.0, "1/cm", "x")
    store = Store(tmp_path_factory.getbasetemp() / "none.zarr")
    matched = Mask(chosen, volume, np.zeros(size, np.float32), level, store)
    np.testing.assert_array_equal(matched[0 : size[0]], expected)
    if level == 0:
        z, y, x = mask.bounds()
        assert not np.delete(expected, np.r_[z], 0).any()
        assert not np.delete(expected, np.r_[y], 1).any()
        assert not np.delete(expected, np.r_[x], 2).any()


@given(st.integers(0, 2**32 - 1), st.integers(0, 2), st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_a_painted_region_is_cut_like_any_other(tmp_path_factory, seed, level, step):
    paint = (np.random.default_rng(seed).random(FRAME) < 0.5).astype(np.uint8)
    file = tmp_path_factory.mktemp("paint") / "mask.tif"
    tifffile.imwrite(file, paint, photometric="minisblack", compression="zlib")
    region = RegionOfInterest.model_validate({"painted": str(file), "cylinder": {"z": [1, 8], "radius": 6.0}})
    check_region("variation.region", region, FRAME)
    part = tuple(slice(0, n >> level, step) for n in FRAME)
    expected = brute(region, FRAME, level, paint)[tuple(slice(None, None, step) for _ in FRAME)]
    np.testing.assert_array_equal(RegionMask(region, FRAME).box(part, level), expected)


def test_a_voxel_on_the_radius_is_inside():
    region = RegionOfInterest.model_validate({"cylinder": {"z": [0, 1], "radius": 3.0}})
    mask = RegionMask(region, (1, 11, 11)).slab(slice(0, 1))
    assert mask[0, 5, 8]
    assert not mask[0, 5, 9]


@pytest.mark.parametrize(
    ("z", "radius", "words"),
    [
        ((5, 5), 10, "empty or outside 0 to 40"),
        ((5, 41), 10, "empty or outside"),
        ((5, 9), 31, "at most 30"),
        ((5, 9), 0.4, "no voxel centre"),
    ],
)
def test_a_cylinder_outside_or_empty_is_refused(z, radius, words):
    frame = (40, 61, 60)
    region = RegionOfInterest.model_validate({"cylinder": {"z": z, "radius": radius}})
    with pytest.raises(ValueError, match=rf"variation\.region: region cylinder: .*{words}"):
        check_region("variation.region", region, frame)
    check_region("x", RegionOfInterest.model_validate({"cylinder": {"z": (0, 40), "radius": 30}}), frame)


def test_a_box_outside_is_refused():
    region = RegionOfInterest.model_validate({"box": {"z": (5, 9), "y": (0, 61), "x": (10, 99)}})
    with pytest.raises(ValueError, match=r"a: region box: x = \[10, 99\]"):
        check_region("a", region, (40, 61, 60))


def test_painted_files_are_named_once_from_the_folder_of_the_configuration(tmp_path):
    table = {
        "output": "s.zarr",
        "acquisition": {"scans": ["a.nxs"]},
        "registration": {"mask": {"painted": "m.tif"}, "fragments": {"one": {"painted": "sub/f.tif"}}},
        "variation": {"region": {"painted": "r.tif"}, "regions": {"in": {"label": "nak"}}},
    }
    config = parse_config(table, folder=tmp_path)
    assert config.registration.mask.painted == str(tmp_path / "m.tif")
    assert config.registration.fragments["one"].painted == str(tmp_path / "sub/f.tif")
    assert config.variation.region.painted == str(tmp_path / "r.tif")
    with pytest.raises(ValueError, match=r"r\.tif: no such file \(variation\.region\.painted\)"):
        check_region("variation.region", config.variation.region, FRAME)


def test_a_label_that_nobody_made_is_named(tmp_path):
    with pytest.raises(ValueError, match="has no labels"):
        place_region(RegionOfInterest(label="nak"), FRAME, Store(tmp_path / "s.zarr"), 0)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2), st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_whole_body_is_the_same_from_any_box(seed, level, upward):
    rng = np.random.default_rng(seed)
    frame = (24, 20, 18)
    labels = np.ones(frame, np.uint8)
    labels[4:9] = 4
    labels[9 : 12 + int(rng.integers(8)), 3:17, 3:15] = 3
    labels[rng.random(frame) < 0.02] = 1
    body = find_body(labels if upward else labels[::-1], [3], 4, frame)
    mask = RegionMask(RegionOfMass(whole="anode"), frame, body=body)
    size = [n >> level for n in frame]
    whole, part = (tuple(slice(n // k, n - n // k) for n in size) for k in (10**6, 4))
    np.testing.assert_array_equal(mask.box(part, level), mask.box(whole, level)[part])
    everything = tuple(slice(0, n) for n in frame)
    weights = mask.weights(everything)
    assert ((weights > 0) == mask.box(everything)).all()
    cut = tuple(slice(int(rng.integers(n // 2)), int(rng.integers(n // 2 + 1, n))) for n in frame)
    np.testing.assert_array_equal(mask.weights(cut), weights[cut])
    around = RegionMask(mask.region, frame, body=body.grown(2), without=body)
    assert not (around.box(everything) & mask.box(everything)).any()
    assert around.weights(everything).max() == 1
    z, y, x = body.bounds()
    assert not np.delete(weights, np.r_[z], 0).any()
    assert not np.delete(weights, np.r_[y], 1).any()
    assert not np.delete(weights, np.r_[x], 2).any()
