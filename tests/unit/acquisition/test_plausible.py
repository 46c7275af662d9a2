"""Angles whose unit is hardly what is stated, and orders of angles that are as good as any."""

from __future__ import annotations

import numpy as np
import pytest
from cases import Raw
from hypothesis import given, settings
from hypothesis import strategies as st

from xct_pipeline.acquisition.bounds import plausible, sweeps
from xct_pipeline.acquisition.nxtomo import read_nxtomo


def told(tmp_path, degrees) -> list[str]:
    raw = Raw.make(degrees)
    raw.write(tmp_path)
    return plausible(read_nxtomo(tmp_path / "scan.nxs"))


@pytest.mark.parametrize(
    ("span", "unit"), [(1000 * np.pi, "milliradian"), (2000 * np.pi, "milliradian"), (0.5, "turns"), (1.0, "turns")]
)
def test_a_rarer_unit_is_named(tmp_path, span, unit):
    assert any(f"in {unit}" in text for text in told(tmp_path, np.linspace(0, span, 121)))


@pytest.mark.parametrize("span", [160, 180, 200, 359, 540])
def test_a_usual_span_is_not(tmp_path, span):
    assert not any("is their unit right" in text for text in told(tmp_path, np.linspace(0, span, 121)))


@settings(deadline=None, max_examples=60)
@given(count=st.integers(60, 900), passes=st.integers(2, 12), way=st.sampled_from([-1, 1]), start=st.floats(-40, 40))
def test_interlaced_passes_are_one_rotation_and_repeated_ones_are_not(count, passes, way, start):
    passes = min(passes, count // 24)
    even = np.radians(start + way * np.linspace(0, 170, count))
    assert sweeps(np.concatenate([even[k::passes] for k in range(passes)])) == []
    assert len(sweeps(np.concatenate([even] * passes))) >= passes
