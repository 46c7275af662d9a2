"""Light that no longer fits the flats: its size and reach from air, and what it does to sums over a region."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy

from xct_pipeline.variation.rings import Rings
from xct_pipeline.variation.uneven_light import uneven_light

ROWS, COLUMNS, RADIUS, HEIGHT = 96, 104, 19.5, 23
MIDDLE = (COLUMNS - 1) / 2
CHANGE = 0.015


def disc() -> np.ndarray:
    y, x = np.ogrid[:COLUMNS, :COLUMNS]
    return (np.hypot(y - MIDDLE, x - MIDDLE) < RADIUS).astype(float)


def weights_of_columns(of: np.ndarray) -> np.ndarray:
    """Return what an error of each column of one row adds to the sum over a set, by the ramp in the plain way."""
    length = 1024
    y, x = np.nonzero(of)
    projection = np.zeros(length)
    for theta in (np.arange(180) + 0.5) * np.pi / 180:
        at = (x - MIDDLE) * math.cos(theta) + (y - MIDDLE) * math.sin(theta) + length // 2
        low = np.floor(at).astype(int)
        np.add.at(projection, low, 1 - (at - low))
        np.add.at(projection, low + 1, at - low)
    ramp = np.abs(np.fft.fftfreq(length))
    filtered = np.fft.ifft(np.fft.fft(projection * np.pi / 180) * ramp).real
    first = length // 2 - COLUMNS // 2
    return filtered[first : first + COLUMNS]


def about(variance: tuple[float, ...], lengths: tuple[tuple[float, float], ...], half: bool = True) -> Rings:
    return Rings(variance, (1, 0, -MIDDLE, 0, 1, -MIDDLE), half, lengths)


def pattern(rng: np.random.Generator, rows: float, columns: float) -> np.ndarray:
    found = scipy.ndimage.gaussian_filter(rng.normal(size=(ROWS, COLUMNS)), (rows, columns), mode="wrap")
    return CHANGE * found / found.std()


def edges(values: np.ndarray, left: int, right: int) -> tuple[np.ndarray, np.ndarray]:
    air = values[:, :left], values[:, COLUMNS - right :]
    level = np.concatenate(air, axis=1).mean()
    return air[0] - level, air[1] - level


@pytest.mark.parametrize("length", [1.5, 6.0, 25.0])
def test_sums_over_sets_are_off_as_correlated_columns_make_them(length):
    weights = weights_of_columns(disc())
    apart = np.subtract.outer(np.arange(COLUMNS), np.arange(COLUMNS))
    expected = weights @ np.exp(-0.5 * (apart / length) ** 2) @ weights
    found = about((1.0,), ((length, 1.0),)).of_sets(disc())[0]
    assert found == pytest.approx(expected, rel=0.1)
    assert about((1.0,), ((length, 0.5), (500.0, 1.0))).of_sets(disc())[0] == pytest.approx(found / 2, rel=0.01)


def test_boxes_are_small_sets():
    rings = about((1.0,), ((4.0, 1.0),), half=False)
    one = np.zeros((COLUMNS, COLUMNS))
    one[60:68, 40:48] = 1
    assert rings.of_boxes((8, 8), np.array([63.5]), np.array([43.5]))[0] == pytest.approx(
        rings.of_sets(one)[0], rel=0.1
    )


@pytest.mark.parametrize(
    ("rows", "columns", "air"),
    [(3, 15, (4, 8)), (3, 15, (15, 9)), (2, 2.5, (12, 12)), (2, 6, (8, 8)), (4, 10, (0, 12))],
)
def test_what_air_tells_of_a_pattern_covers_the_sum_over_a_region(rows, columns, air):
    weights, pulls, sigmas = weights_of_columns(disc()), [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        values = pattern(rng, rows, columns)
        left, right = edges(values + 0.0007 * rng.normal(size=values.shape), *air)
        seen = uneven_light(left, right)
        assert seen is not None
        rings = about(seen.variance, seen.lengths)
        sigmas.append(math.sqrt(float(rings.of_heights(HEIGHT)) * rings.of_sets(disc())[0]))
        lost = weights @ (values - values.mean())[50 : 50 + HEIGHT].sum(axis=0)
        pulls.append(lost / sigmas[-1])
    width = float(np.sqrt(np.mean(np.square(pulls))))
    print(rows, columns, air, round(width, 2), np.abs(pulls).max().round(2))
    assert 0.6 < width < 1.7
    assert np.max(sigmas) < 5 * np.min(sigmas)


@pytest.mark.parametrize("kind", ["noise of pixels", "interpolated", "bands", "columns"])
def test_what_makes_no_wide_rings_is_not_taken_for_them(kind):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        values = {
            "noise of pixels": lambda r: 0.003 * r.normal(size=(ROWS, COLUMNS)),
            "interpolated": lambda r: scipy.ndimage.uniform_filter(0.01 * r.normal(size=(ROWS, COLUMNS)), 2),
            "bands": lambda r: pattern(r, 1.5, 1e4),
            "columns": lambda r: np.broadcast_to(0.003 * r.normal(size=COLUMNS), (ROWS, COLUMNS)),
        }[kind](rng)
        seen = uneven_light(*edges(values + 0.0007 * rng.normal(size=values.shape), 12, 9))
        assert seen is None, (kind, seed)


def test_too_little_air_tells_nothing():
    values = pattern(np.random.default_rng(1), 3, 15)
    assert uneven_light(*edges(values, 3, 3)) is None
    assert uneven_light(*edges(values[:20], 12, 12)) is None
    assert uneven_light(np.zeros((ROWS, 0)), np.zeros((ROWS, 0))) is None
