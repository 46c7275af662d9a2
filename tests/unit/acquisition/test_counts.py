"""Counts of projections and flats against each other: what is told, and what sound scans are not told."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xct_pipeline.acquisition.counts import clipped, coarse_step, count_notes, exposure_note, rows_without_light

RNG = np.random.default_rng(3)
FLATS = RNG.poisson(20000, (3, 40, 60)).astype(np.uint16)
PROJECTIONS = RNG.poisson(np.linspace(3000, 20000, 60), (3, 40, 60)).astype(np.uint16)


@given(step=st.integers(2, 64), light=st.sampled_from([500, 5000, 60000]))
def test_sound_counts_are_told_nothing_of_whatever_step_a_camera_writes(step: int, light: int) -> None:
    """Noise of some steps: as of a converter of fewer bits than its container."""
    rng = np.random.default_rng(step)
    flats, projections = (rng.poisson(light * share, (3, 30, 40)) * step for share in (1.0, 0.4))
    assert count_notes(projections, flats) == []


@given(step=st.sampled_from([256, 300, 1024]), dtype=st.sampled_from([np.uint16, np.float32]))
def test_lost_digits_are_told(step: int, dtype: type) -> None:
    rounded = [(np.round(part / step) * step).astype(dtype) for part in (PROJECTIONS, FLATS)]
    (note,) = count_notes(*rounded)
    assert f"steps of {step}" in note


def test_numbers_that_are_not_whole_have_no_step() -> None:
    assert coarse_step(PROJECTIONS + 0.5, FLATS + 0.25) == (1.0, 0.0)
    assert coarse_step(np.full((2, 3, 3), np.nan), np.ones((2, 3, 3))) == (1.0, 0.0)


@given(limit=st.integers(8000, 18000))
def test_clipped_projections_are_told_with_the_count_and_their_share(limit: int) -> None:
    spoilt = np.minimum(PROJECTIONS, limit)
    top, share = clipped(spoilt)
    assert (top, share) == (limit, pytest.approx((spoilt == limit).mean()))
    (note,) = count_notes(spoilt, FLATS)
    assert note.startswith(f"projections end at {limit} counts")
    assert count_notes(spoilt, np.minimum(FLATS, limit)) == []  # then the flats tell it themselves


def test_frames_of_one_value_are_no_measurement() -> None:
    assert count_notes(np.full((2, 8, 9), 500), np.full((2, 8, 9), 1000)) == []


@pytest.mark.parametrize(("rows", "words"), [([5], "row 5 of"), ([0, 1, 2], "rows 0 to 2 of")])
def test_rows_without_light_are_named(rows: list[int], words: str) -> None:
    light = FLATS.mean(axis=0) - 100
    assert rows_without_light(light) == []
    light[rows] = RNG.normal(0, 5, (len(rows), light.shape[1]))
    (note,) = rows_without_light(light)
    assert note.startswith(words)


def test_rows_without_a_value_are_not_rows_without_light() -> None:
    light = FLATS.mean(axis=0)
    light[:3] = np.nan
    assert rows_without_light(light) == []


@pytest.mark.parametrize(("air", "words"), [(1.0, ""), (1.3, ""), (0.8, ""), (0.5, "2 times"), (4.0, "0.25 times")])
def test_air_of_another_exposure_is_told(air: float, words: str) -> None:
    notes = exposure_note(np.full((7, 2), air))
    assert [words in note for note in notes] == ([True] if words else [])
