"""Sound projections raise no finding, whatever their contrast; strange ones do."""

from __future__ import annotations

import numpy as np
import pytest
from cases import CENTER, WIDTH, transmission

from xct_pipeline.acquisition import levels
from xct_pipeline.correction.moments import consistency


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


def test_strange_projections_are_found():
    angles = np.radians(np.linspace(0, 180, 181))
    rng = np.random.default_rng(0)
    t = rng.poisson(20000 * np.repeat(transmission(angles)[:, None], 4, axis=1)) / 20000
    t[50] = np.roll(t[50], 4, axis=1)
    t[90] = 1.0
    told = consistency(t, angles, 8, 8)
    assert told is not None
    assert told.outliers.tolist() == [50, 90]
