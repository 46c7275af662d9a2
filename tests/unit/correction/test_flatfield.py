"""Flats, darks and the logarithm."""

import numpy as np
import pytest

from xct_pipeline.correction import flatfield
from xct_pipeline.correction.flatfield import PixelCounts, average_frames, flat_weights, group_flats, line_integrals


def test_average_frames():
    frames = np.array([[[1, 2]], [[3, 2]], [[65000, 2]]], np.uint16)
    assert average_frames(frames).dtype == np.float32
    np.testing.assert_allclose(average_frames(frames), [[(65004) / 3, 2]])
    np.testing.assert_allclose(average_frames(frames, "median"), [[3, 2]])
    with pytest.raises(ValueError, match="at least one"):
        average_frames(frames[:0])
    with pytest.raises(ValueError, match="'mean' or 'median'"):
        average_frames(frames, "mode")


def test_flats_are_grouped_by_time():
    groups = group_flats([0, 0, 50, 100, 100, 100])
    assert [g for g, _ in groups] == [0, 50, 100]
    assert [len(i) for _, i in groups] == [2, 1, 3]
    with pytest.raises(ValueError, match="finite"):
        group_flats([0, np.nan])


def test_weights_are_linear_in_time_and_constant_outside():
    w = flat_weights([2, 6], 8)
    flat = np.array([10.0, 30.0])
    value = (1 - w.weight) * flat[w.index] + w.weight * flat[w.index + 1]
    np.testing.assert_allclose(value, [10, 10, 12.5, 17.5, 22.5, 27.5, 30, 30])
    alone = flat_weights([0], 5)
    assert not alone.index.any()
    assert not alone.weight.any()
    assert flat_weights([0, 4, 8], 8).index.tolist() == [0] * 4 + [1] * 4
    with pytest.raises(ValueError, match="increase"):
        flat_weights([3, 3], 8)


def test_a_known_absorber_comes_back():
    """Exact line integrals through drifting flats and darks, to float32 rounding."""
    rng = np.random.default_rng(1)
    p = rng.uniform(0, 5, (12, 3, 65)).astype(np.float32)
    dark = rng.uniform(90, 110, (3, 65)).astype(np.float32)
    flats = rng.uniform(2e4, 6e4, (3, 3, 65)).astype(np.float32)
    w = flat_weights([0, 5, 12], 12)
    share = w.weight[:, None, None]
    flat = (1 - share) * flats[w.index] + share * flats[w.index + 1]
    air = rng.uniform(0.7, 1.2, 12)
    counts = dark + (flat - dark) * np.exp(-p.astype(np.float64)) / air[:, None, None]
    got, tally = line_integrals(counts, dark, flats, w, air=air)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, p, atol=3e-5)  # dark/light = 100/130 at p = 5 magnifies the rounding
    assert tally == PixelCounts(got.size)
    tilted = np.stack((air, air * 1.1), axis=1)
    got2, _ = line_integrals(counts, dark, flats, w, air=tilted)
    np.testing.assert_allclose(got2[..., 0], p[..., 0], atol=3e-5)
    np.testing.assert_allclose(got2[..., -1], p[..., -1] - np.log(1.1), atol=3e-5)


def test_the_logarithm_is_accurate():
    rng = np.random.default_rng(2)
    t = np.exp(rng.uniform(np.log(2e-5), 3, (1, 50, 2000))).astype(np.float32)
    near = (1 + rng.uniform(1e-6, 1e-3, (1, 50, 2000))).astype(np.float32)
    for x in (t, near):
        truth = -np.log(x.astype(np.float64))
        got, _ = line_integrals(x, None, "none")
        np.testing.assert_allclose(got, truth, rtol=1.2e-7)  # one rounding of float32
    assert line_integrals(np.ones((1, 1, 5), np.float32), None, "none")[0].tolist() == [[[0.0] * 5]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.uint32, np.float32, np.float64])
def test_fast_path_equals_plain_formulation(dtype):
    rng = np.random.default_rng(3)
    counts = rng.integers(0, 255, (9, 4, 37)).astype(dtype)
    dark = rng.uniform(0, 20, (4, 37)).astype(np.float32)
    flats = rng.uniform(200, 255, (2, 4, 37)).astype(np.float32)
    flats[:, 1, 5] = 0
    w, air = flat_weights([0, 9], 9), rng.uniform(0.9, 1.1, 9)
    fast, tally = line_integrals(counts, dark, flats, w, air=air, saturation=250)
    references = flatfield._references(counts, dark, flats, w)
    ends = flatfield._air_ends(air, 9)
    none = flatfield._modes(None, counts)
    plain, tally2 = flatfield._plain(np, counts, *references, ends, 250, flatfield.FLOOR, *none)
    assert tally == tally2
    unread = ((counts == 0) & (dark > flatfield.OFFSET)).sum()  # zero under an offset: the pixel was not read
    assert tally.nonfinite == 9 + unread
    assert tally.clipped > 0
    assert tally.zero > 0
    assert tally.saturated > 0
    np.testing.assert_allclose(fast, plain, rtol=2e-6, atol=2e-6)


def test_pixels_without_a_value():
    flat = np.full((2, 6), 100, np.float32)
    flat[0, 2] = 0
    flat[1] = np.nan
    counts = np.full((1, 2, 6), 50.0)
    counts[0, 0, 0] = np.inf
    counts[0, 0, 1] = 100
    p, tally = line_integrals(counts, None, flat, saturation=1000)
    assert np.isfinite(p).all()
    assert tally.nonfinite == 8
    assert tally.saturated == 1
    np.testing.assert_allclose(p[0, 0], [0, 0, np.log(2) / 2] + [np.log(2)] * 3, rtol=1e-6)
    assert not p[0, 1].any()


def test_clipping_is_at_the_floor_and_counted():
    counts = np.array([[[0.0, -5.0, 1e-7, 1.0]]])
    p, tally = line_integrals(counts, None, "none")
    np.testing.assert_allclose(p[0, 0], [-np.log(1e-5)] * 3 + [0], rtol=1e-6)
    assert tally == PixelCounts(pixels=4, clipped=3, zero=1)
    p, _ = line_integrals(counts, None, "none", floor=1e-3)
    np.testing.assert_allclose(p[0, 0, 0], -np.log(1e-3), rtol=1e-6)
    assert PixelCounts(1, 2, 3, 4, 5) + PixelCounts(1, 1, 1, 1, 1) == PixelCounts(2, 3, 4, 5, 6)


def test_without_dark_and_input_untouched():
    counts = np.full((2, 1, 4), 25, np.uint16)
    before = counts.copy()
    p, _ = line_integrals(counts, None, np.full((1, 4), 100.0))
    np.testing.assert_allclose(p, np.log(4), rtol=1e-6)
    assert np.array_equal(counts, before)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"flats": "auto"}, "'none'"),
        ({"flats": np.ones((2, 3, 4))}, "need weights"),
        ({"flats": np.ones((3, 5))}, "row, column"),
        ({"air": np.zeros(2)}, "positive"),
        ({"floor": 0.0}, "floor"),
        ({"weights": flat_weights([0], 3)}, "do not fit"),
    ],
)
def test_bad_input(keywords, message):
    arguments = {"flats": np.ones((3, 4)), **keywords}
    with pytest.raises(ValueError, match=message):
        line_integrals(np.ones((2, 3, 4)), None, arguments.pop("flats"), **arguments)
