"""A dark level that differs between two scans, from their line integrals."""

from __future__ import annotations

import numpy as np
import pytest

from xct_pipeline.variation.dark_level import DarkLevel, dark_level
from xct_pipeline.variation.steps import dark_level as steps
from xct_pipeline.variation.steps import grey_scale

ROWS, ANGLES, COLUMNS, LIGHT = 12, 90, 64, 2e4
THETA = np.linspace(0, np.pi, ANGLES, endpoint=False)
INNER = slice(2, ROWS - 2)


def paths_of() -> np.ndarray:
    """Line integrals (row, angle, column) of an oval ceramic with a hole, in a wall, that ends in the last rows."""
    u = np.arange(COLUMNS) - (COLUMNS - 1) / 2

    def oval(y: float, x: float, far: float = 0.0, value: float = 1.0) -> np.ndarray:
        cosine, sine = np.cos(THETA)[:, None], np.sin(THETA)[:, None]
        reach = (x * cosine) ** 2 + (y * sine) ** 2
        inside = np.maximum(reach - (u - far * cosine) ** 2, 0.0)
        return np.asarray(2 * value * x * y * np.sqrt(inside) / reach)

    plane = oval(22.0, 24.0, value=0.02) - oval(4.0, 4.0, 9.0, 0.01) + oval(28.0, 28.0, value=0.001)
    rows = np.ones(ROWS)
    rows[-1] = 0.5
    return rows[:, None, None] * plane


def measured(rng: np.random.Generator, level: float, *, energy: float = 0.0, rings: float = 0.0, shift: float = 0.0):
    """Differences of line integrals: of a dark level, another energy, an offset of each pixel, a motion, and noise."""
    paths = paths_of()
    there = paths * (1 + energy) + shift * np.gradient(paths, axis=2)
    there = -np.log((np.exp(-there) + level) / (1 + level))
    noise = np.sqrt(2 / (LIGHT * np.exp(-paths))) * rng.normal(size=paths.shape)
    return there - paths + noise + rings * rng.normal(size=(ROWS, 1, COLUMNS))


@pytest.mark.parametrize("level", [0.0, 0.003, 0.005, -0.01])
def test_a_level_is_found_within_its_error(level):
    found = [
        dark_level(measured(np.random.default_rng(seed), level, rings=2e-3), paths_of(), THETA, INNER)
        for seed in range(6)
    ]
    assert all(abs(one.level - level) < 3 * one.sigma for one in found)
    assert all(one.sigma < 0.0014 for one in found)
    assert np.mean([one.level for one in found]) == pytest.approx(level, abs=0.0005)


def test_errors_are_the_scatter_over_draws_of_noise_rings_and_energy():
    pulls = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        made = measured(rng, 0.003, rings=2e-3, energy=1e-3 * rng.normal(), shift=0.02 * rng.normal())
        one = dark_level(made, paths_of(), THETA, INNER)
        pulls.append((one.level - 0.003) / one.sigma)
    assert 0.6 < np.sqrt(np.mean(np.square(pulls))) < 1.2


def test_a_motion_is_no_dark_level():
    one = dark_level(measured(np.random.default_rng(1), 0.0, shift=0.2), paths_of(), THETA, INNER)
    assert abs(one.level) < 3 * one.sigma


def test_what_is_too_thin_is_not_judged():
    with pytest.raises(ValueError, match="too few rays pass a dense material"):
        dark_level(measured(np.random.default_rng(0), 0.0), 0.1 * paths_of(), THETA, INNER)


def test_planes_that_do_not_change_lie_off_faces_and_off_the_region():
    uniform = np.zeros((20, 4, 4), bool)
    uniform[2:14] = True
    chosen = np.flatnonzero(steps.unchanging_planes(uniform, range(24, 36), 2))
    assert list(chosen) == [4, 5, 6, 7, 8]  # region from 12 on, three off it and two more off what is left
    assert not steps.unchanging_planes(uniform, range(0, 40), 2).any()


def test_a_level_beyond_three_errors_is_told_with_its_size_and_what_it_does():
    small, large = DarkLevel(0.001, 0.0005, 0, 1e-3), DarkLevel(0.005, 0.001, 0, 1e-3)
    names, none = ("a", "b", "c"), float("nan")
    assert steps.warnings_of(names, [steps.NOTHING, small, None], [0.0, 0.1, none]) == []
    (text,) = steps.warnings_of(names, [steps.NOTHING, small, large], [0.0, 1.0, 0.25])
    assert text.startswith("c: the dark level is +0.50% +- 0.10% of the light off")
    assert "(1 of 2 scans)" in text
    assert "+0.25 mg" in text
    (text,) = steps.warnings_of(names, [steps.NOTHING, None, large], [0.0, none, none])
    assert " mg" not in text


class Grey:
    dark_offset = 2.0
    scatter = nonlinearity = grey_scale.Distortion(0.0, 1.0, 0.0, 0.0)


class Series:
    grey = (Grey(), Grey(), Grey())
    dark = (steps.NOTHING, DarkLevel(0.005, 0.001, 0, 0), DarkLevel(0.0005, 0.001, 0, 0))


def test_a_level_beyond_its_error_is_an_error_of_the_offset():
    assert grey_scale.offset_error(Series(), (1, 0)) == pytest.approx(2.0 * np.sqrt(0.005**2 - 0.001**2))
    assert grey_scale.offset_error(Series(), (2, 0)) == 0.0
    assert grey_scale.offset_error(Series(), (2, 1)) > 0.0
