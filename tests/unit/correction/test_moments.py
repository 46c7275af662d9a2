"""Sound projections raise no finding, whatever their contrast; strange ones do."""

from __future__ import annotations

import numpy as np
import pytest
from cases import CENTER, WIDTH, transmission

from xct_pipeline.acquisition import levels
from xct_pipeline.correction.moments import consistency, lowest_transmission


def slab(angles: np.ndarray, half_width: float = 34.0, half_height: float = 3.3, mu: float = 0.042) -> np.ndarray:
    """Return the transmission (angle, 1, column) of a thin slab, which changes twentyfold with the angle."""
    total = np.zeros((len(angles), WIDTH))
    c, s = np.cos(angles)[:, None], np.sin(angles)[:, None]
    for shift in (np.arange(9) - 4) / 9:
        u = (np.arange(WIDTH) + shift - CENTER)[None]
        across = np.sort([(u * c - half_width) / s, (u * c + half_width) / s], axis=0)
        along = np.sort([(-u * s - half_height) / c, (-u * s + half_height) / c], axis=0)
        chord = np.minimum(across[1], along[1]) - np.maximum(across[0], along[0])
        total += np.exp(-mu * np.clip(chord, 0, None)) / 9
    return total[:, None]


@pytest.mark.parametrize("light", [500, 5000, 50000])
@pytest.mark.parametrize("kind", ["discs", "slab"])
def test_sound_projections_raise_nothing(kind, light):
    for seed in range(4):
        rng = np.random.default_rng(seed)
        angles = np.radians(np.linspace(0.21, 180.17, 181))
        t = slab(angles) if kind == "slab" else transmission(angles)[:, None]
        if kind == "slab":
            assert t.min(axis=2).max() > 12 * t.min()
        counts = rng.poisson(light * np.repeat(t, 4, axis=1)) / light
        counts = counts.astype(np.float32)
        told = consistency(counts, angles, 8, 8)
        assert told is None or not len(told.outliers)
        assert told is None or not len(told.jumps)
        assert not levels.judge_light(counts.mean(axis=(1, 2)), set())


def test_a_faint_sample_in_little_light_raises_nothing():
    """Its mass is mostly noise, by which a centre of mass must not be divided."""
    angles = np.radians(np.linspace(0, 180, 181, endpoint=False))
    faint = transmission(angles)[:, None] ** 0.02
    for seed in range(20):
        counts = np.random.default_rng(seed).poisson(100 * np.repeat(faint, 8, axis=1)) / 100
        told = consistency(counts, angles, 8, 8)
        assert told is not None
        assert not len(told.outliers), seed


def test_strange_projections_are_found():
    angles = np.radians(np.linspace(0, 180, 181))
    rng = np.random.default_rng(0)
    t = rng.poisson(20000 * np.repeat(transmission(angles)[:, None], 4, axis=1)) / 20000
    t[50] = np.roll(t[50], 4, axis=1)
    t[90] = 1.0
    told = consistency(t, angles, 8, 8)
    assert told is not None
    assert told.outliers.tolist() == [50, 90]


@pytest.mark.parametrize(("width", "first", "second"), [(19, 1, 20), (12, 2, 27), (30, 20, 110)])
def test_blocks_that_changed_places_are_found(width, first, second):
    """Also where the centre of mass is about the same in both."""
    angles = np.radians(np.linspace(0, 180, 181))
    rng = np.random.default_rng(0)
    t = rng.poisson(20000 * np.repeat(transmission(angles)[:, None], 4, axis=1)) / 20000
    there = t.copy()
    t[first : first + width], t[second : second + width] = (
        there[second : second + width],
        there[first : first + width],
    )
    told = consistency(t, angles, 4, 8)
    assert told is not None
    assert len(told.jumps) or len(told.outliers)


def test_a_thick_slab_seen_edge_on_belongs():
    """A pixel that its edge covers by half loses a part of one side only."""
    angles = np.radians(np.linspace(0, 180, 121))
    t = slab(angles + 1e-4, half_width=30.0, half_height=6.0, mu=0.0624)
    rng = np.random.default_rng(0)
    told = consistency(rng.poisson(50000 * np.repeat(t, 12, axis=1)) / 50000, angles, 8, 8)
    assert told is not None
    assert not len(told.outliers)


@pytest.mark.parametrize("columns", [90, 96, 105, 128, 1155])
def test_the_darkest_column_is_met_at_any_width(columns):
    """One in three pixels is the same third of the columns where their number divides by three."""
    for dark in range(0, columns, 7):
        t = np.ones((2, 16, columns))
        t[1, :, dark] = 0.05
        assert lowest_transmission(t) == pytest.approx([1.0, 0.05])


@pytest.mark.parametrize("light", [500, 2000])
def test_noise_is_no_wobble(light):
    angles = np.radians(np.linspace(0, 180, 151))
    found = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        t = rng.poisson(light * np.repeat(transmission(angles)[:, None] ** 0.2, 8, axis=1)) / light
        told = consistency(t, angles, 8, 8)
        assert told is not None
        found.append(told.jitter)
    assert max(found) < 0.3


def test_a_wobble_is_measured():
    angles = np.radians(np.linspace(0, 180, 181))
    rng = np.random.default_rng(3)
    shifts = rng.normal(0, 1.5, len(angles))
    t = np.stack([transmission(angles[k : k + 1], center=CENTER + d)[0] for k, d in enumerate(shifts)])
    told = consistency(rng.poisson(20000 * np.repeat(t[:, None], 4, axis=1)) / 20000, angles, 4, 4)
    assert told is not None
    assert told.jitter == pytest.approx(1.5, rel=0.25)
