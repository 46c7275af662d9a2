"""A change of what is in view is told where it is one, and not where a slab turns through its edge."""

import numpy as np
import pytest
from cases import Raw

from xct_pipeline.correction.steps.frames import judge_whole
from xct_pipeline.scan import ArrayFrames, Scan


def told(values, degrees):
    scan = Scan("scan", ArrayFrames(values), np.radians(degrees))
    return judge_whole(scan, values, None, []).notes


def slab(degrees, width=96, half=(30.0, 1.5), peak=3.0, noise=0.005):
    """A slab of which the longest path transmits exp(-peak), by ray lengths through a box."""
    u = np.arange(width) - (width - 1) / 2
    values = []
    for angle in np.radians(degrees):
        c, s = np.cos(angle), np.sin(angle)
        low, high = np.full(width, -1e3), np.full(width, 1e3)
        for along, across, extent in ((-s, c, half[0]), (c, s, half[1])):
            if abs(along) < 1e-9:
                inside = np.abs(u * across) <= extent
                low, high = np.where(inside, low, 0), np.where(inside, high, 0)
            else:
                a, b = (-extent - u * across) / along, (extent - u * across) / along
                low, high = np.maximum(low, np.minimum(a, b)), np.minimum(high, np.maximum(a, b))
        values.append(np.exp(-peak * np.clip(high - low, 0, None) / (2 * half[0])))
    rng = np.random.default_rng(3)
    return np.repeat(np.array(values)[:, None], 8, 1) * rng.normal(1, noise, (len(degrees), 8, width))


@pytest.mark.parametrize("count", [61, 121, 361])
@pytest.mark.parametrize("columns", [slice(0, 96), slice(24, 72)])
def test_a_slab_seen_edge_on_is_no_change(count, columns):
    degrees = np.linspace(0.3, 180.3, count)
    notes = told(slab(degrees)[:, :, columns], degrees)
    assert not [text for text in notes if "changes at once" in text]


@pytest.mark.parametrize("where", [[52, 100], [8], range(30, 36), range(90, 98)])
@pytest.mark.parametrize("shift", [-13, 8, 25])
def test_shifted_frames_are_told_without_air(where, shift):
    raw = Raw.make()
    raw.projections[list(where)] = np.roll(raw.projections[list(where)], shift, axis=2)
    values = (raw.projections - 200) / (raw.flats.mean(axis=0) - 200)
    (note,) = [text for text in told(values, raw.angles) if "what is in view" in text]
    assert f"{where[0]}" in note
