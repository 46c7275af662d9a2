"""Part of the sample in all flats is told from what the edges of the frame show."""

from __future__ import annotations

import numpy as np
from cases import Raw
from hypothesis import given
from hypothesis import strategies as st

from xct_pipeline.correction.steps.frames import shadow_in_flats


def seen(raw: Raw) -> np.ndarray:
    dark = raw.darks.mean(axis=0)
    return ((raw.projections - dark) / (raw.flats.mean(axis=0) - dark)).astype(np.float32)


@given(st.integers(6, 20), st.floats(0.3, 0.8), st.booleans(), st.floats(0.93, 1.03))
def test_a_shadow_at_an_edge_is_told(width: int, through: float, left: bool, beam: float) -> None:
    raw = Raw.make(np.linspace(0, 180, 31))
    shade = np.ones(raw.flats.shape[-1])
    shade[:width] = through
    dark = raw.darks.mean(axis=0)
    raw.flats = dark + (raw.flats - dark) * (shade if left else shade[::-1])
    (told,) = shadow_in_flats(beam * seen(raw))
    assert "part of the sample was in the flats" in told


@given(st.floats(0.5, 2.0))
def test_another_beam_alone_is_no_shadow(beam: float) -> None:
    assert shadow_in_flats(beam * seen(Raw.make(np.linspace(0, 180, 31)))) == []
