"""Noise of differences from even and odd projections: what resampling makes of it, and what is told."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import scipy.ndimage

from xct_pipeline.reconstruction.halves import noise_covariance
from xct_pipeline.registration import warp
from xct_pipeline.registration.steps.stage import Motion
from xct_pipeline.variation.noise import Noise
from xct_pipeline.variation.resampled import resampled
from xct_pipeline.variation.steps.halves import Halves, compared, warnings_of

MIDDLE = (6, 4, 4)


def delta(variance: float) -> np.ndarray:
    found = np.zeros((13, 9, 9))
    found[MIDDLE] = variance
    return found


@pytest.mark.parametrize("order", ["linear", "cubic", "quintic"])
def test_weights_are_those_of_the_interpolation(order):
    degree = {"linear": 1, "cubic": 3, "quintic": 5}[order]
    impulse = np.zeros(65)
    impulse[32] = 1
    for fraction in (0.0, 0.2, 0.5, 0.9):
        found = warp.cardinal_weights([fraction], order)[0]
        known = scipy.ndimage.shift(impulse, fraction, order=degree)
        assert found.sum() == pytest.approx(1, abs=1e-3)
        assert np.sort(found[np.abs(found) > 1e-3]) == pytest.approx(np.sort(known[np.abs(known) > 1e-3]), abs=2e-3)


def test_white_noise_is_multiplied_by_the_variance_factor():
    fractions = np.random.default_rng(0).random((20, 3))
    found = resampled(delta(2.0), warp.cardinal_weights(fractions))
    assert found[MIDDLE] == pytest.approx(2 * warp.variance_factor(fractions).mean(), rel=1e-6)
    assert resampled(delta(2.0), warp.cardinal_weights(np.zeros((1, 3)))) == pytest.approx(delta(2.0), abs=1e-5)


def correlated(seed: int, shape=(40, 56, 56)) -> np.ndarray:
    """Noise whose neighbours in a slice are correlated, and rows are not, as those of a reconstruction."""
    white = np.random.default_rng(seed).normal(size=shape)
    smooth = scipy.ndimage.gaussian_filter(white, (0, 0.7, 0.7), mode="wrap")
    return (white - 0.8 * smooth).astype(np.float32)


def moved(turn: float) -> np.ndarray:
    return np.array([[1, 0, 0, 0.3], [0, 1, turn, 0.45], [0, -turn, 1, -0.2]])


@pytest.mark.parametrize("turn", [0.0, 0.05])
def test_the_noise_of_a_difference_is_that_of_volumes_that_are_moved(turn):
    transform, box = moved(turn), tuple(slice(8, n - 8) for n in (40, 56, 56))
    series = SimpleNamespace(
        names=("a", "b"),
        reference=0,
        frame=(40, 56, 56),
        motions=(Motion("a", np.eye(3, 4)), Motion("b", transform, gain=1.2)),
    )
    own = [noise_covariance(2 * correlated(seed), np.zeros((40, 56, 56), np.float32)) for seed in (10, 11)]
    results = {
        k: {"covariance": covariance, "box": np.array([(0, 40), (0, 56), (0, 56)])} for k, covariance in enumerate(own)
    }
    halves = Halves(series, "cubic", 0.5, results)
    expected = halves.covariance((1, 0))
    found = []
    for seed in range(4):
        there = 1.2 * warp.warp_block(correlated(2 * seed), transform, box, shape=(40, 56, 56))
        found.append(noise_covariance(2 * (there - correlated(2 * seed + 1)[box]), np.zeros(there.shape, np.float32)))
    measured = np.mean(found, axis=0)
    assert expected[MIDDLE] == pytest.approx(measured[MIDDLE], rel=0.03)
    assert expected == pytest.approx(measured, abs=0.03 * measured.max())
    assert halves.covariance((1, 1))[MIDDLE] > own[1][MIDDLE]
    assert Halves(series, "cubic", 0.5, {0: results[0]}).covariance((1, 0)) is None


def test_both_measures_are_compared_at_one_place():
    series = SimpleNamespace(
        names=("a", "b", "c"),
        reference=0,
        frame=(40, 56, 56),
        motions=tuple(Motion(name, np.eye(3, 4)) for name in "abc"),
    )
    box = np.array([(0, 40), (0, 56), (0, 56)])
    halves = Halves(series, "cubic", 0.5, {k: {"covariance": delta(2.0), "box": box} for k in (0, 1)})
    level = np.ones((56, 56))
    noise = {(k, 0): Noise(delta(9.0), level, 1.0, 1.0, 5000, quiet=0.6) for k in (1, 2)}
    table = compared(halves, noise)
    (row,) = table.to_dict("records")  # nothing is known of the halves of c
    assert row["scan"] == "b"
    assert row["noise_quiet"] == pytest.approx(3.0)
    assert row["noise_halves"] == pytest.approx(2.0 * 0.6 / 0.5, rel=1e-4)  # sqrt(2 + 2), where noise is 1.2 times that
    assert row["ratio"] == pytest.approx(3 / 2.4, rel=1e-4)
    assert row["ratio_sums"] == pytest.approx(3 / 2.4, rel=1e-4)
    assert compared(None, noise).empty


def test_disagreement_is_told_beyond_a_quarter():
    def table(*ratios):
        return pd.DataFrame({"scan": [f"s{k}" for k in range(len(ratios))], "ratio": ratios})

    assert warnings_of(table(0.81, 1.0, 1.24)) == []
    (larger,) = warnings_of(table(1.0, 1.3, 1.6))
    assert larger.startswith("s2: the noise measured where nothing changes is 1.60 times that of even and odd")
    assert "(2 of 3 scans larger by more than 25%)" in larger
    (smaller,) = warnings_of(table(1.0, 0.5))
    assert "s1: " in smaller
    assert "streaks" in smaller
