"""What missing angles leave uncertain."""

from __future__ import annotations

import numpy as np
import pytest

from xct_pipeline.acquisition.holes import holes, same_holes, scale_error
from xct_pipeline.reconstruction.fourier import reconstruct

HALF = np.radians(np.linspace(0, 180, 181))


def without(first, width, angles=HALF):
    degrees = np.degrees(angles)
    return angles[(degrees < first) | (degrees > first + width)]


@pytest.mark.parametrize(
    "angles",
    [
        HALF,
        np.radians(np.arange(0, 720, 2.0)),
        np.radians(np.arange(149) * 111.246117975 % 180),
        np.radians(np.concatenate([np.linspace(0, 45, 31), np.full(40, 45.0), np.linspace(46.5, 180, 90)])),
    ],
    ids=["half a turn", "two turns", "golden section", "stood still"],
)
def test_no_hole_is_no_error(angles):
    assert scale_error(angles) == 0


def test_holes_are_found_where_they_are():
    ((first, width),) = holes(without(80, 20))
    assert np.degrees(first) == pytest.approx(79)
    assert np.degrees(width) == pytest.approx(21)
    assert [round(np.degrees(w)) for _, w in holes(without(20, 8, without(80, 20)))] == [9, 21]
    ((_, width),) = holes(HALF[:150])  # at the end of the range
    assert np.degrees(width) == pytest.approx(30)


def test_a_wide_hole_counts_more_than_one_that_is_filled():
    assert 0.001 < scale_error(without(80, 8.5)) < 0.005
    assert 0.02 < scale_error(without(80, 20)) < 0.05
    assert scale_error(without(20, 20, without(80, 20))) > scale_error(without(80, 20))


def test_scans_that_miss_the_same():
    assert same_holes(without(80, 20), without(80, 20) + np.pi)
    assert same_holes(HALF, HALF)
    assert not same_holes(without(80, 20), without(40, 20))
    assert not same_holes(without(80, 20), HALF)


def projections(rng, angles, width=96):
    """A disc with a dozen ellipses."""
    center = (width - 1) / 2
    out = np.zeros((len(angles), 1, width), np.float32)
    u = np.arange(width)[None] - center
    things = [(0.0, 0.0, 35.0, 35.0, 0.0, 1.0)]
    for _ in range(12):
        r, t, a = rng.uniform(0, 24), rng.uniform(0, 2 * np.pi), rng.uniform(3, 9)
        things.append(
            (r * np.cos(t), r * np.sin(t), a, a * rng.uniform(0.2, 1), rng.uniform(0, np.pi), rng.uniform(-0.8, 1))
        )
    for x, y, a, b, turn, mu in things:
        s = u - (x * np.cos(angles) + y * np.sin(angles))[:, None]
        q = ((a * np.cos(angles - turn)) ** 2 + (b * np.sin(angles - turn)) ** 2)[:, None]
        out[:, 0] += 2 * mu * a * b / q * np.sqrt(np.clip(q - s**2, 0, None))
    return out


@pytest.mark.parametrize("width", [8.5, 20, 40])
def test_the_error_is_as_large_as_stated(width):
    y, x = np.mgrid[:96, :96] - 47.5
    off = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        data = projections(rng, HALF)
        kept = np.isin(HALF, without(rng.uniform(0, 170 - width), width))
        change = reconstruct(data[kept], HALF[kept], center=47.5)[0] - reconstruct(data, HALF, center=47.5)[0]
        for _ in range(20):
            r, t = rng.uniform(0, 28), rng.uniform(0, 2 * np.pi)
            off.append(change[np.hypot(x - r * np.cos(t), y - r * np.sin(t)) < 6].mean())
    assert 0.5 < np.std(off) / scale_error(without(60, width)) < 1.5


@pytest.mark.parametrize("span", [0.5, 5.0, 40.0, 100.0])
def test_angles_that_cover_little_leave_the_scale_uncertain(span):
    missing = 1 - span / 180
    assert scale_error(np.radians(np.linspace(0, span, 121))) == pytest.approx(0.32 * missing, rel=0.05)
