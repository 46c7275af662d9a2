"""What the centre of rotation is off by against its stated error: noise, a wobbling stage, strong rings."""

from __future__ import annotations

import numpy as np
import pytest

from xct_pipeline.reconstruction.center.find import find_center
from xct_pipeline.reconstruction.center.half_turns import half_turns
from xct_pipeline.reconstruction.center.jitter import counts_of_projections, jitter_of
from xct_pipeline.reconstruction.center.pattern import fixed_pattern, unlike_mirrored

WIDTH, ROWS, STEPS = 128, 6, 180
CLOSED, OPEN, TURN = (np.arange(n) * np.pi / STEPS for n in (STEPS + 1, STEPS, 2 * STEPS))


def projected(angles, centers, rows=ROWS, width=WIDTH):
    """A body with a dense insert and a void, (angle, row, column); one centre per projection."""
    u = np.arange(width) - np.broadcast_to(centers, len(angles))[:, None]
    p = np.zeros((len(angles), width))
    for x, y, r, value in ((0, 0, 45, 0.01), (15, 10, 9, 0.012), (-18, 6, 8, -0.01)):
        at = (x * np.cos(angles) + y * np.sin(angles))[:, None]
        # averages over a pixel: sixths of it
        for part in (np.arange(6) - 2.5) / 6:
            p += value / 3 * np.sqrt(np.clip(r * r - (u + part - at) ** 2, 0, None))
    return np.repeat(p[:, None], rows, axis=1)


def draw(seed, angles, jitter=0.0, counts=2e4, rows=ROWS):
    """Line integrals with the noise of projections and six flats, and their centre."""
    rng = np.random.default_rng(seed)
    center = 60 + 8 * rng.uniform()
    p = projected(angles, center + jitter * rng.normal(size=len(angles)), rows)
    flat = rng.poisson(6 * counts, p.shape[1:]) / 6
    return -np.log(np.maximum(rng.poisson(counts * np.exp(-p)), 1) / flat).astype(np.float32), center


def pulls(count, angles, jitter):
    """Errors in units of what is stated."""
    out = []
    for seed in range(count):
        data, center = draw(seed, angles, jitter)
        found = find_center(data, angles)
        out.append((found.center - center) / found.sigma)
    return np.array(out)


@pytest.mark.slow
@pytest.mark.parametrize("jitter", [0.0, 0.3, 1.5])
@pytest.mark.parametrize("angles", [CLOSED, OPEN, TURN], ids=["closed", "open", "turn"])
def test_errors_are_as_large_as_stated(angles, jitter):
    found = pulls(40, angles, jitter)
    inside = np.mean(np.abs(found) < 1.96)
    print(f"{jitter} px: pulls {found.std():.2f}, mean {found.mean():+.2f}, 95 % intervals cover {100 * inside:.1f} %")
    assert 0.8 < np.sqrt(np.mean(found**2)) < 1.2
    assert inside >= 0.9


@pytest.mark.parametrize("jitter", [0.0, 1.5])
def test_a_few_errors_are_as_large_as_stated(jitter):
    found = pulls(6, CLOSED, jitter)
    assert 0.3 < np.sqrt(np.mean(found**2)) < 1.6


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("angles", [CLOSED, TURN], ids=["closed", "turn"])
def test_the_size_of_a_wobble_is_measured(angles, rows):
    for jitter in (0.0, 0.3, 1.5):
        data, _ = draw(1, angles, jitter, rows=rows)
        assert jitter_of(data, half_turns(angles).theta) == pytest.approx(jitter, rel=0.25, abs=0.03)


def test_how_much_a_projection_counts_is_how_far_its_shift_moves_the_centre():
    for angles in (CLOSED, TURN):
        turns = half_turns(angles)
        plain = projected(angles, 63.3).astype(np.float32)
        counts = counts_of_projections(plain, turns, 63.3)
        assert counts.sum() == pytest.approx(1)
        start = find_center(plain, angles).center
        for moved in (0, 1, 90):
            centers = 63.3 + 0.2 * (np.arange(len(angles)) == moved)
            found = find_center(projected(angles, centers).astype(np.float32), angles)
            assert found.center - start == pytest.approx(0.2 * counts[moved], abs=0.01)


@pytest.mark.parametrize("strength", [0.12, 0.4])
@pytest.mark.parametrize("angles", [CLOSED, TURN], ids=["closed", "turn"])
def test_strong_rings_do_not_stop_the_centre(angles, strength):
    for seed in range(4):
        data, center = draw(seed, angles)
        rings = strength * np.random.default_rng(50 + seed).normal(size=data.shape[1:])
        found = find_center((data + rings).astype(np.float32), angles)
        assert abs(found.center - center) < min(2.5 * found.sigma, 2.0)
        assert any("rings" in warning for warning in found.warnings)


def test_a_sound_scan_has_no_pattern_that_counts():
    data, center = draw(3, CLOSED)
    single, common = unlike_mirrored(fixed_pattern(data, 1.5), data, center)
    assert max(single, common) < 0.01
    assert find_center(data, CLOSED).warnings == ()
