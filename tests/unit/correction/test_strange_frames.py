"""Frames that were shifted, and with them the pattern of the flats, are found though they hide the air."""

from __future__ import annotations

import numpy as np
import pytest
from cases import Raw

from xct_pipeline.correction import air
from xct_pipeline.correction.steps.frames import strange_to_air


def transmission(raw: Raw) -> np.ndarray:
    dark = raw.darks.mean(axis=0)
    return ((raw.projections - dark) / (raw.flats.mean(axis=0) - dark)).astype(np.float32)


@pytest.mark.parametrize("shift", [-30, -15, -4, -2, 4, 6, 10, 15, 30])
@pytest.mark.parametrize("where", [[1, 7, 8, 9, 10, 38, 67], [20, 21, 22], [60]])
def test_shifted_frames_without_which_there_is_air_at_both_edges(where, shift):
    raw = Raw.make()
    raw.projections[where] = np.roll(raw.projections[where], shift, axis=2)
    sample = transmission(raw)
    margin = air.find_margin(sample)
    if margin is not None and min(margin.left, margin.right) > 0:
        return  # shown by their mass and place
    found = strange_to_air(sample, np.radians(raw.angles))
    assert found == where
    without_them = air.find_margin(np.delete(sample, found, axis=0))
    assert min(without_them.left, without_them.right) > 3


@pytest.mark.parametrize("half_length", [40, 47, 52, 60, 70])
def test_a_sound_sample_that_passes_the_edge_for_a_while_is_left_in(half_length):
    """An ellipse, seen in part where it is longest."""
    angles = np.radians(np.linspace(0, 180, 121))
    u = np.arange(96) - 49.3
    half = np.hypot(half_length * np.cos(angles), 12 * np.sin(angles))[:, None]
    path = 2 * half_length * 12 / half**2 * np.sqrt(np.clip(half**2 - u**2, 0, None))
    clean = np.exp(-0.01 * path)[:, None]
    noisy = np.random.default_rng(3).poisson(20000 * np.repeat(clean, 4, axis=1)) / 20000
    sample = noisy.astype(np.float32)
    margin, found = air.find_margin(sample), strange_to_air(sample, angles)
    without_them = air.find_margin(np.delete(sample, found, axis=0)) if found else None
    gained = without_them is not None and (margin is None or min(margin.left, margin.right) == 0)
    assert not gained
