"""Volumes about an axis that leans along the beam, against those of the same sample about one that is upright."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from xct_pipeline.config import Fourier
from xct_pipeline.engine.blocks import apply_ops
from xct_pipeline.reconstruction import fourier, leaning
from xct_pipeline.reconstruction.steps.stage import Geometry, reconstruct_op
from xct_pipeline.scan import Axis
from xct_pipeline.simulation.phantom import disc, ellipsoid, project

ROWS, COLUMNS, CENTER = 56, 80, 41.3
WHOLE, HALF = np.arange(180) * np.pi / 90, np.linspace(0, np.pi, 121)
Y, X = np.indices((COLUMNS, COLUMNS)) - (COLUMNS - 1) / 2
INSIDE = np.hypot(Y, X) < 36


def grains():
    rng = np.random.default_rng(3)
    found = []
    for z in np.linspace(4, ROWS - 5, 40):
        distance, angle = 28 * np.sqrt(rng.uniform()), rng.uniform(0, 2 * np.pi)
        place = (z, distance * np.sin(angle), distance * np.cos(angle))
        found.append(ellipsoid(place, tuple(rng.uniform(1.5, 4, 3)), rng.uniform(5, 20)))
    return [disc(-200, 200, 33, 2.0), *found]


@cache
def seen(angles, lean):
    p = project(
        grains(),
        list(angles),
        rows=ROWS,
        columns=COLUMNS,
        center=CENTER,
        pixel_size_um=10.0,
        supersample=3,
        average="integral",
        axis_lean=np.radians(lean),
    )
    return gaussian_filter(p, (0, 1.0, 1.0)).astype(np.float32)


def views(angles, lean=0.0):
    return seen(tuple(angles), lean).copy()


def along_rays(angles, lean, block=slice(0, ROWS), rows=slice(0, ROWS)):
    given_ = views(angles, lean)[:, block]
    return leaning.reconstruct(given_, angles, Axis(CENTER, lean=lean), COLUMNS, None, {}, block.start, rows)


def off(volume, truth, margin=8):
    left = (volume - truth)[margin:-margin, INSIDE]
    return float(np.sqrt(np.mean(left**2)) / truth[margin:-margin, INSIDE].std())


@pytest.mark.parametrize(
    ("angles", "lean", "share", "most"),
    [(WHOLE, 1.0, 0.6, 0.006), (WHOLE, -3.0, 0.3, 0.025), (HALF, 1.0, 0.55, 0.04), (HALF, -2.0, 0.55, 0.07)],
)
def test_the_volume_is_that_of_an_upright_axis(angles, lean, share, most):
    truth = fourier.reconstruct(views(angles), angles, center=CENTER)
    plain = fourier.reconstruct(views(angles, lean), angles, center=CENTER)
    found = along_rays(angles, lean)
    assert off(found, truth) < share * off(plain, truth)
    assert off(found, truth) < most
    assert found[8:-8, INSIDE].mean() == pytest.approx(truth[8:-8, INSIDE].mean(), rel=1e-3)


def test_grains_far_from_the_axis_are_as_sharp_as_those_near_it():
    far = (np.hypot(Y, X) > 20) & INSIDE
    truth = fourier.reconstruct(views(WHOLE), WHOLE, center=CENTER)
    found, plain = along_rays(WHOLE, 2.0), fourier.reconstruct(views(WHOLE, 2.0), WHOLE, center=CENTER)

    def steep(volume, where):
        return np.sqrt(np.mean(np.diff(volume[8:-8], axis=0)[:, where] ** 2))

    assert steep(found, far) == pytest.approx(steep(truth, far), rel=0.02)
    assert steep(found, INSIDE & ~far) == pytest.approx(steep(truth, INSIDE & ~far), rel=0.02)
    assert steep(plain, far) < 0.95 * steep(truth, far)


@settings(max_examples=12, deadline=None)
@given(st.data())
def test_what_is_computed_at_a_time_changes_no_bit(data):
    lean = data.draw(st.sampled_from([0.4, -1.5]))
    start = data.draw(st.integers(0, ROWS - 1))
    stop = data.draw(st.integers(start + 1, min(ROWS, start + 20)))
    geometry = Geometry(HALF, ROWS, COLUMNS, Axis(CENTER, lean=lean), 10.0, COLUMNS)
    op = reconstruct_op(Fourier(), geometry, 0)
    target = (slice(start, stop), slice(0, COLUMNS), slice(0, COLUMNS))
    source = op.needs(target)
    block, counts = apply_ops([op], views(HALF, lean)[source], [source, target])
    assert counts["truncated_rows"] == 0
    np.testing.assert_array_equal(block, whole(lean)[start:stop])


@cache
def whole(lean):
    options = {"filter": "ram-lak", "cutoff": 1.0, "order": 8.0, "pad": "edge", "kernel_width": 4}
    options["fft"] = fourier.resolve_fft("auto")
    return leaning.reconstruct(
        views(HALF, lean), HALF, Axis(CENTER, lean=lean), COLUMNS, 10.0, options, 0, slice(0, ROWS)
    )


def test_sectors_become_narrower_the_more_the_edge_of_a_slice_moves():
    assert leaning.sectors_of(80, 0.3) == leaning.FEWEST
    counts = [leaning.sectors_of(size, lean) for size, lean in ((512, 0.3), (2048, 0.3), (2048, 1.0))]
    assert counts == sorted(counts)
    for size, lean in ((512, 0.3), (2048, 0.3), (2048, 1.0)):
        half = np.pi / 2 / leaning.sectors_of(size, lean)
        assert size / 2 * np.sin(np.radians(lean)) * (1 / np.cos(half) - 1) / 2 <= leaning.LEFT
