"""Flats that age: how many components are real, what air shows of bands, and what neither may be misled by."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from xct_pipeline.correction import dynamic, flatfield
from xct_pipeline.correction.air import Margin
from xct_pipeline.correction.eigen_flats import eigen_flats
from xct_pipeline.correction.flatfield import Modes, line_integrals
from xct_pipeline.correction.steps.dynamic import Dynamic, air_left, ratio_to_mean, stale_note

ROWS, COLUMNS, COUNTS = 96, 120, 40000.0


def pattern(rng, across=0.0):
    """Bands along the rows, r.m.s. 1; `across` mixes in structure that changes along the columns."""
    bands = gaussian_filter1d(rng.normal(size=(ROWS, 1)), 2.0, axis=0) * np.ones(COLUMNS)
    other = gaussian_filter1d(gaussian_filter1d(rng.normal(size=(ROWS, COLUMNS)), 2.0, axis=0), 6.0, axis=1)
    mixed = (1 - across) * bands / bands.std() + across * other / other.std()
    return (mixed - mixed.mean()) / mixed.std()


def noisy(light, rng):
    return rng.poisson(COUNTS * light).astype(np.uint16)


@pytest.mark.parametrize("count", [0, 1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_as_many_components_as_there_are(count, seed):
    rng = np.random.default_rng(seed)
    true = [pattern(rng, across=0.7) for _ in range(count)]
    amounts = rng.normal(0, 0.01, (30, count))
    level = rng.uniform(0.9, 1.1, (30, 1, 1))
    light = level * (1 + np.einsum("nk,krc->nrc", amounts, np.array(true).reshape(count, ROWS, COLUMNS)))
    flats = noisy(light, rng) + np.uint16(100)
    found = eigen_flats(flats, flats.mean(axis=0, dtype=np.float64).astype(np.float32) - 100, np.float32(100))
    assert len(found.images) == len(found.sizes) == len(found.noise) == count
    if count:
        basis = np.linalg.qr(found.images.reshape(count, -1).T.astype(float))[0]
        for one in true:
            assert np.linalg.norm(basis.T @ one.ravel()) / np.linalg.norm(one) > 0.99
        np.testing.assert_allclose(np.mean(found.images**2, axis=(1, 2)), 1, rtol=1e-3)


def test_components_can_be_asked_for():
    rng = np.random.default_rng(0)
    flats = noisy(np.ones((12, ROWS, COLUMNS)), rng)
    assert len(eigen_flats(flats, flats.mean(axis=0), most=3, least=3).images) == 3


def test_what_bands_hold_is_left_to_bands():
    rng = np.random.default_rng(1)
    sides = slice(0, 12), slice(COLUMNS - 12, COLUMNS)
    for across, beyond in ((0.0, False), (1.0, True)):
        one = pattern(rng, across)
        flats = noisy(1 + rng.normal(0, 0.01, (30, 1, 1)) * one, rng)
        assert eigen_flats(flats, flats.mean(axis=0)).beyond_bands(*sides).tolist() == [beyond]


def edges(change, rng, left=12, right=9):
    """Return what air shows (angle, row, group) of a beam that changes, and which groups there are."""
    groups = dynamic.edge_groups(left, right, COLUMNS)
    counts = noisy(1 + change, rng)
    flat = np.full((ROWS, COLUMNS), COUNTS, np.float32)
    return dynamic.edge_ratios(counts, np.zeros_like(flat), flat, groups), groups


def halves(changes, groups):
    return dynamic.blocks_of(dynamic.halves_of(changes, groups[:, 1] > groups[:, 0]))


@pytest.mark.parametrize("seed", range(4))
def test_noise_is_no_band_and_is_not_told(seed):
    rng = np.random.default_rng(seed)
    ratios, groups = edges(np.zeros((60, ROWS, COLUMNS)), rng)
    both = halves(dynamic.edge_changes(ratios), groups)
    assert len(dynamic.find_bands(both).ends) == 0
    left, sigma = dynamic.unexplained(both)
    assert left < 3 * sigma
    assert stale_note((left, sigma), False, mass=True) == []


def test_bands_are_found_and_their_size_is_told():
    rng = np.random.default_rng(2)
    bands = np.stack([pattern(rng), pattern(rng)])
    amounts = np.stack([0.012 + 0.004 * np.linspace(-1, 1, 80), 0.006 * np.sin(np.arange(80) / 9)], axis=1)
    ratios, groups = edges(np.einsum("ak,krc->arc", amounts, bands), rng)
    changes = dynamic.edge_changes(ratios)
    both = halves(changes, groups)
    left, sigma = dynamic.unexplained(both)
    assert abs(left - np.sqrt(np.mean(amounts**2, axis=0).sum())) < 5e-4
    assert stale_note((left, sigma), False, mass=True)[0].startswith("air at the edges is uneven by 1.3 +- 0.00")
    assert 'method = "dynamic"' in stale_note((left, sigma), False, mass=True)[0]
    assert "nearer" in stale_note((left, sigma), True, mass=True)[0]
    found = dynamic.find_bands(both)
    assert len(found.ends) == 2
    assert found.across > 0.95
    modes = found.ends[..., np.repeat([0, 1], dynamic.GROUPS)]
    weights, error = dynamic.weights_of(changes, modes, np.ones(8, bool))
    rest = (
        dynamic.ends_of(found.ends, weights, (0.0, 1.0), (0, 1))
        - np.einsum("ak,kr->ar", amounts, bands[..., 0])[..., None]
    )
    assert rest.std() < 4 * error.max()
    assert dynamic.unexplained(halves(changes - np.tensordot(weights, modes, 1).astype(np.float32), groups))[0] < 1e-3


def test_edges_that_differ_are_not_joined():
    rng = np.random.default_rng(3)
    change = 0.02 * np.concatenate([pattern(rng)[:, :60], pattern(rng)[:, 60:]], axis=1) * np.ones((40, 1, 1))
    ratios, groups = edges(change, rng)
    found = dynamic.find_bands(halves(dynamic.edge_changes(ratios), groups))
    assert len(found.ends) == 0
    assert found.across < dynamic.ACROSS


def test_hits_and_dead_pixels_do_not_count():
    rng = np.random.default_rng(4)
    ratios, groups = edges(0.01 * pattern(rng) * np.ones((40, 1, 1)), rng)
    spoilt = ratios.copy()
    spoilt[11, 40, 2] += 0.5
    spoilt[:, 30, 5] = np.nan
    spoilt[:, 50, 6] = 1.3
    sound, changes = dynamic.edge_changes(ratios), dynamic.edge_changes(spoilt)
    assert np.abs(changes - sound).max() < 0.012
    assert abs(dynamic.unexplained(halves(changes, groups))[0] - dynamic.unexplained(halves(sound, groups))[0]) < 1e-4


def test_one_edge_alone_gives_weights_but_no_bands():
    rng = np.random.default_rng(5)
    one = pattern(rng)
    ratios, groups = edges(0.01 * one * np.ones((20, 1, 1)), rng, right=0)
    changes, used = dynamic.edge_changes(ratios), groups[:, 1] > groups[:, 0]
    mode = dynamic.mode_changes(one[None].astype(np.float32), groups, ROWS)
    weights, error = dynamic.weights_of(changes, mode, used)
    np.testing.assert_allclose(weights, 0.01, atol=5 * error[0])
    assert np.isnan(dynamic.find_bands(halves(changes, groups)).across)


def test_the_flat_of_a_projection_is_that_of_its_modes():
    rng = np.random.default_rng(6)
    counts, dark = rng.integers(50, 300, (7, 5, 33)).astype(np.uint16), rng.uniform(0, 10, (5, 33)).astype(np.float32)
    flat, air = rng.uniform(200, 300, (5, 33)).astype(np.float32), rng.uniform(0.9, 1.1, (7, 2))
    modes = Modes(rng.normal(0, 1, (2, 5, 33)), rng.normal(0, 0.02, (7, 2)), rng.normal(0, 0.02, (7, 5, 2)))
    found, _ = line_integrals(counts, dark, flat, air=air, modes=modes)
    across = np.linspace(0, 1, 33)
    change = 1 + np.einsum("ak,krc->arc", modes.amounts, modes.images)
    change += modes.bands[..., :1] + (modes.bands[..., 1:] - modes.bands[..., :1]) * across
    scale = air[:, None, :1] + (air[:, None, 1:] - air[:, None, :1]) * across
    np.testing.assert_allclose(found, -np.log((counts - dark) / (flat - dark) / change * scale), atol=2e-5)
    w = flatfield.FlatWeights(np.zeros(7, int), np.zeros(7))
    plain, tally = flatfield._plain(
        np,
        counts,
        *flatfield._references(counts, dark, flat, w),
        flatfield._air_ends(air, 7),
        np.nan,
        1e-5,
        *flatfield._modes(modes, counts),
    )
    np.testing.assert_allclose(found, plain, atol=2e-6)
    assert tally.pixels == counts.size
    nothing = Modes(np.zeros((0, 5, 33)), np.zeros((7, 0)), np.zeros((7, 5, 2)))
    same, _ = line_integrals(counts, dark, flat, air=air, modes=nothing)
    assert np.array_equal(same, line_integrals(counts, dark, flat, air=air)[0])


def test_modes_that_do_not_fit_are_refused():
    counts = np.ones((7, 5, 33), np.uint16)
    with pytest.raises(ValueError, match="do not fit projections"):
        line_integrals(
            counts, None, counts[0] * 2, modes=Modes(np.zeros((2, 5, 33)), np.zeros((7, 1)), np.zeros((7, 5, 2)))
        )


def test_parts_of_the_columns_see_the_same_light():
    rng = np.random.default_rng(7)
    known = Dynamic(rng.normal(size=(1, 6, 40)), rng.normal(size=(2, 6, 2)), rng.normal(0, 0.01, (9, 3)), (3.0, 35.5))
    found = {"flat_images": known.images, "flat_bands": known.bands, "flat_amounts": known.amounts}
    whole = ratio_to_mean({**found, "flat_bands_at": np.array(known.at)}, [1, 4])
    assert whole.shape == (9, 2, 40)
    part = known.modes(slice(2, 5), [1, 4], slice(30, 40))
    across = np.linspace(0, 1, 10)
    light = 1 + part.bands[..., :1] + (part.bands[..., 1:] - part.bands[..., :1]) * across
    light += np.tensordot(part.amounts, part.images, 1)
    np.testing.assert_allclose(1 / whole[2:5, :, 30:], light, rtol=1e-6)


def test_air_that_is_left_uneven():
    rng = np.random.default_rng(8)
    sample = noisy(1 + 0.01 * pattern(rng) * np.ones((50, 1, 1)), rng) / COUNTS
    outer = np.concatenate([sample[:, :, :12], sample[:, :, -9:]], axis=2)
    left, sigma = air_left(outer, Margin(12, 9))
    assert abs(left - 0.01) < 3e-4
    assert sigma < 1e-4
