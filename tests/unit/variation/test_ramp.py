"""Noise of sums over sets larger than the lags of an autocovariance: what filtered back-projection leaves of it."""

import numpy as np
import pytest
from test_noise import reconstructed_noise

from xct_pipeline.variation import lags, noise, ramp, windows
from xct_pipeline.variation.rings import Rings

LAG = (2, 4, 4)
WINDOW = (2, 16, 16)
SLICES, SIDE = 240, 96


def discs(shape, radius):
    y, x = np.indices(shape[1:]) - (np.array(shape[1:]) - 1)[:, None, None] / 2
    return np.hypot(y, x) <= radius


def measured(volume, use):
    """Return the noise of a volume, as the stage measures it."""
    mask = np.broadcast_to(use, volume.shape)
    mean = float(volume[mask].mean(dtype=float))
    values = np.where(mask, volume - np.float32(mean), np.float32(0))
    covariance = noise.autocovariance(noise.lag_sums(volume, mask, lag=LAG, mean=mean))
    floor = windows.floor_of(covariance, lags.window_sums(values, np.ascontiguousarray(mask), WINDOW), WINDOW)
    return noise.Noise(covariance, np.ones(volume.shape[1:]), 1.0, 1.0, floor=floor)


@pytest.fixture(scope="module")
def kinds():
    ramped, _ = reconstructed_noise(3, SLICES, SIDE)
    white = np.random.default_rng(4).standard_normal(ramped.shape, np.float32) * np.float32(0.05)
    inner = discs(ramped.shape, 0.45 * SIDE)
    return {
        "reconstructed": (ramped, measured(ramped, inner)),
        "white": (white, measured(white, inner)),
        "both": (ramped + 0.4 * white, measured(ramped + 0.4 * white, inner)),
    }


@pytest.mark.parametrize(("kind", "floor"), [("reconstructed", 0.0), ("white", 1.0), ("both", 0.27)])
def test_windows_tell_what_has_no_tail(kinds, kind, floor):
    # of back-projection by linear interpolation, whose noise rises less than in proportion, a seventh stays
    assert kinds[kind][1].floor == pytest.approx(floor, abs=0.16 if kind == "reconstructed" else 0.06)


@pytest.mark.parametrize("kind", ["reconstructed", "white", "both"])
@pytest.mark.parametrize("radius", [2.5, 6.0, 15.0, 35.0])
def test_noise_of_a_disc(kinds, kind, radius):
    volume, found = kinds[kind]
    inside = discs(volume.shape, radius)
    sums = volume[:, inside].sum(axis=1, dtype=float)
    predicted = np.sqrt(found.set_variance(noise.prism_overlap(1, inside, LAG), inside))
    assert (0.85 if kind == "white" else 0.7) < float(sums.std()) / predicted < 1.15


@pytest.mark.parametrize("size", [(1, 2, 2), (2, 8, 8), (2, 24, 24)])
def test_noise_of_a_bin(kinds, size):
    volume, found = kinds["reconstructed"]
    edge = (SIDE - size[1] * 2) // 2
    cut = volume[:, edge : SIDE - edge, edge : SIDE - edge].astype(float)
    z, y, x = (n // s for n, s in zip(cut.shape, size, strict=True))
    sums = cut[: z * size[0]].reshape(z, size[0], y, size[1], x, size[2]).sum(axis=(1, 3, 5))
    assert float(sums.std() / np.sqrt(found.box_variance(size))) == pytest.approx(1.0, abs=0.12)


def test_a_sponge_keeps_the_noise_of_its_outline(kinds):
    volume, found = kinds["reconstructed"]
    sponge = discs(volume.shape, 35.0) & (np.random.default_rng(5).random(volume.shape[1:]) < 0.5)
    sums = volume[:, sponge].sum(axis=1, dtype=float)
    pairs = noise.overlap(sponge[None], (0, *LAG[1:]))
    pairs = np.pad(pairs, ((LAG[0], LAG[0]), (0, 0), (0, 0)))
    predicted = np.sqrt(found.set_variance(pairs, discs(volume.shape, 35.0)))
    assert 0.75 < float(sums.std()) / predicted < 1.1


def test_nothing_is_taken_away_where_windows_tell_nothing():
    one = ramp.of_box((64, 64), (4, 4))
    assert one.tapered < 0.2
    assert one.above(1.0) == ramp.ALL
    assert np.isnan(windows.floor_of(np.ones((3, 3, 3)), np.array([9.0, 0.0, 1.0]), (1, 2, 2)))


def test_windows_are_counted_by_their_distance_from_an_axis():
    mask = np.ones((4, 8, 12), bool)
    mask[0, 0, 0] = False
    place = np.array([[0, 1, 0, -1.5], [0, 0, 1, -1.5]])
    assert windows.window_radii(mask, (2, 4, 4), place, 9).tolist() == [1, 0, 0, 0, 4, 2, 0, 0, 4]


def test_rings_where_no_window_is_whole():
    one = Rings((1.0,), (1, 0, 0, 0, 1, 0), half=False)
    assert one.mean_of_boxes((16, 16), np.zeros(40)) == 0.0
    assert one.mean_of_boxes((16, 16), np.eye(40)[20]) > 0.0
