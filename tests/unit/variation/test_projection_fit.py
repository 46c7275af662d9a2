"""Least squares of bins on projections: exact where nothing is in the way, honest where noise and the beam are."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xct_pipeline.reconstruction import fourier
from xct_pipeline.reconstruction.projector import project_slices
from xct_pipeline.variation.projection_fit import bins_of, fit_bins
from xct_pipeline.variation.steps.projections import bin_edge, check_rays

SIZE, COUNT, COUNTS = 64, 121, 1e4
CENTER = (SIZE - 1) / 2
ANGLES = np.arange(COUNT) * math.pi / COUNT
Y, X = np.mgrid[:SIZE, :SIZE] - CENTER
ANODE = (abs(Y) < 5) & (abs(X) < 20)
CERAMIC = (Y >= 5) & (Y < 16) & (abs(X) < 20)
PROJECTOR = partial(project_slices, center=CENTER, columns=SIZE)
LOSS = np.where(ANODE, -0.002 * (0.3 + 0.7 * np.exp(-((X - 6) ** 2) / 60)), 0)  # per pixel, uneven
CELL = 0.003 * ANODE + 0.08 * CERAMIC  # a thin anode beside a slab that lets 4 % through


def sinogram(image: np.ndarray) -> np.ndarray:
    return PROJECTOR(image[None].astype(np.float32), ANGLES)[0].astype(np.float64)


BEFORE, AFTER = sinogram(CELL), sinogram(CELL + LOSS)
BINS = bins_of(ANODE, bin_edge(ANODE.sum()))
SIZES = BINS.sum(axis=(1, 2), dtype=float)


def measured(generator: np.random.Generator, integrals: np.ndarray) -> np.ndarray:
    return -np.log(np.maximum(generator.poisson(COUNTS * np.exp(-integrals)), 1) / COUNTS)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.integers(5, 30), st.tuples(*[st.floats(-0.1, 0.1)] * 4))
def test_even_bins_and_a_drifting_beam_are_told_apart(seed, edge, beam):
    generator = np.random.default_rng(seed)
    bins = bins_of(np.hypot(X + 2, Y - 1) < 15, edge)
    values = generator.normal(0, 0.01, len(bins))
    level, drift, slope, both = beam
    u, time = np.linspace(-1, 1, SIZE), np.linspace(-1, 1, COUNT)[:, None]
    data = sinogram(np.tensordot(values, bins, 1)) + level + drift * time + slope * u + both * time * u
    found = fit_bins(data, BEFORE, bins, ANGLES, PROJECTOR)
    np.testing.assert_allclose(found.values, values, atol=1e-5)
    assert found.spread < 1e-5


@settings(max_examples=30, deadline=None)
@given(st.floats(0.5, 30), st.floats(-20, 20), st.floats(0.05, 1), st.integers(1, 40))
def test_bins_add_up_to_the_region(radius, shift, share, edge):
    cover = (np.hypot(X - shift, Y) < radius) * share
    bins = bins_of(cover, edge)
    np.testing.assert_allclose(bins.sum(axis=0), cover, atol=1e-6)
    assert (bins > 0).sum(axis=0).max(initial=0) <= 1
    assert (len(bins) > 0) == bool(cover.any())


def totals(seeds: range, column: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Totals by least squares, their errors, and sums over the reconstruction, relative to the truth."""
    found = []
    for seed in seeds:
        generator = np.random.default_rng(seed)
        difference = measured(generator, AFTER) - measured(generator, BEFORE)
        difference += generator.normal(0, column, SIZE)
        total, sigma = fit_bins(difference, BEFORE, BINS, ANGLES, PROJECTOR).total(SIZES)
        volume = fourier.reconstruct(difference[:, None].astype(np.float32), ANGLES, center=CENTER)[0]
        found.append((total, sigma, float(np.where(ANODE, volume, 0).sum())))
    return tuple(np.array(found).T / abs(LOSS.sum()))


def test_a_few_draws_lie_within_their_errors():
    fitted, sigma, _ = totals(range(12))
    pulls = (fitted + 1) / sigma
    assert 0.5 < np.sqrt(np.mean(pulls**2)) < 1.6


@pytest.mark.slow
@pytest.mark.parametrize("column", [0.0, 0.003])
def test_a_hundred_draws_beside_a_ceramic_slab(column):
    """Half the scatter of the sum over the reconstruction, an error that is true, and no bias."""
    fitted, sigma, volume = totals(range(100), column)
    pulls = (fitted + 1) / sigma
    assert 0.85 < pulls.std() < 1.15
    assert abs(fitted.mean() + 1) < 0.003 + 3 * fitted.std() / 10
    assert fitted.std() < (0.67 if column == 0 else 0.8) * volume.std()


def test_offsets_of_columns_are_found_and_carried():
    generator = np.random.default_rng(3)
    noise = measured(generator, AFTER) - measured(generator, BEFORE)
    still = fit_bins(noise, BEFORE, BINS, ANGLES, PROJECTOR)
    ringed = fit_bins(noise + generator.normal(0, 0.01, SIZE), BEFORE, BINS, ANGLES, PROJECTOR)
    assert ringed.column == pytest.approx(0.01, rel=0.3)
    assert still.column < 0.002
    assert ringed.total(SIZES)[1] > 2 * still.total(SIZES)[1]


def test_correlated_noise_enlarges_the_error():
    generator = np.random.default_rng(3)
    white = generator.normal(0, 0.01, (COUNT, SIZE + 2))
    smooth = (white[:, :-2] + white[:, 1:-1] + white[:, 2:]) / math.sqrt(3)
    plain = fit_bins(white[:, 1:-1], 0 * BEFORE, BINS, ANGLES, PROJECTOR).total(SIZES)[1]
    blurred = fit_bins(smooth, 0 * BEFORE, BINS, ANGLES, PROJECTOR).total(SIZES)[1]
    assert blurred / plain == pytest.approx(math.sqrt(3), rel=0.15)


def test_nothing_to_fit_is_refused():
    with pytest.raises(ValueError, match="0 bins cannot be fitted"):
        fit_bins(BEFORE, BEFORE, BINS[:0], ANGLES, PROJECTOR)


def test_scans_of_other_angles_are_refused_in_words():
    check_rays(["a", "b", "c"], [ANGLES, ANGLES + 1e-6, None], 0)
    with pytest.raises(ValueError, match=r'estimator = "projections": b has other angles than a \(61 and 121'):
        check_rays(["a", "b"], [ANGLES, ANGLES[:61]], 0)
