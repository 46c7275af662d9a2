"""Frames that were written more than once."""

from __future__ import annotations

import numpy as np
import pytest

from xct_pipeline.acquisition.levels import count_shares
from xct_pipeline.acquisition.repeats import repeated

ANGLES = np.linspace(0, 2 * np.pi, 41)


def counts(noise=True):
    rng = np.random.default_rng(1)
    return (rng.poisson(1000, (41, 3, 20)) if noise else np.full((41, 3, 20), 1000)).astype(np.uint16)


def frames_of(values, known_bad=frozenset()):
    return [k for found in repeated(count_shares(values, None), ANGLES, set(known_bad)) for k in found.frames]


def test_frames_that_fluctuate_do_not_repeat():
    assert frames_of(counts()) == []


@pytest.mark.parametrize("where", [[11, 12, 13], [20, 33]])
def test_a_frame_that_was_written_again_is_found(where):
    values = counts()
    values[where] = values[10]
    assert frames_of(values) == where


def test_a_stuck_camera_is_found():
    values = counts()
    values[8:] = values[7]
    assert frames_of(values)[:1] == [8]


def test_the_same_angle_may_show_the_same():
    values = counts()
    values[40] = values[0]
    assert frames_of(values) == []


def test_nothing_is_said_where_nothing_fluctuates():
    assert frames_of(counts(noise=False)) == []


def test_empty_frames_are_no_repetition():
    values = counts()
    values[[3, 9]] = 0
    assert frames_of(values, {3, 9}) == []


def test_the_sum_over_parts_of_a_frame_knows_equal_frames():
    values = counts()
    values[12] = values[10]
    shares = count_shares(values[:, :1], None) + count_shares(values[:, 1:], None)
    assert [found.frames for found in repeated(shares, ANGLES, set())] == [(12,)]
