"""Air margins and the scale of each projection."""

from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xct_pipeline.correction.air import Margin, air_scale, find_margin


def scan(n_angles=90, n_rows=6, n_columns=256, radius=70.0, orbit=15.0, air=0.71, noise=0.0, seed=0):
    """A disc that orbits the axis, mu 0.01 per pixel, in transmission with a drifting beam."""
    rng = np.random.default_rng(seed)
    angle = np.linspace(0, np.pi, n_angles, endpoint=False)[:, None]
    u = np.arange(n_columns) - (n_columns - 1) / 2 - orbit * np.cos(angle)
    p = 0.02 * np.sqrt(np.clip(radius**2 - u**2, 0, None))
    drift = 1 + 0.05 * np.sin(3 * angle) + 0.01 * rng.normal(size=angle.shape)
    t = air * drift * np.exp(-p)
    t = np.repeat(t[:, None], n_rows, axis=1) * (1 + noise * rng.normal(size=(n_angles, n_rows, n_columns)))
    return t.astype(np.float32), 1 / (air * drift[:, 0])


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_drift_is_recovered_where_air_is_not_one(noise):
    t, scale = scan(noise=noise)
    margin = find_margin(t)
    assert margin is not None
    free = (256 - 1) / 2 - 70 - 15  # columns that the disc never reaches
    assert 20 <= margin.left <= free
    assert 20 <= margin.right <= free
    found = air_scale(t, margin)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, scale, rtol=1e-6 if noise == 0 else 5 * noise / np.sqrt(6 * 40))


def test_dead_columns_and_zingers_do_not_matter():
    t, scale = scan(noise=0.005)
    bad = t.copy()
    bad[:, :, 3] = 0
    bad[:, :, 250] *= 1.3
    bad[::7, 2, 12] = 40
    margin, clean = find_margin(bad), find_margin(t)
    assert margin is not None
    assert clean is not None
    assert margin.left >= 15
    assert margin.right >= 15
    np.testing.assert_allclose(air_scale(bad, margin), scale, rtol=2e-3)


@pytest.mark.parametrize("side", [slice(0, 2), slice(-2, None)])
def test_two_hits_side_by_side_at_the_edge_leave_the_margin(side):
    t, scale = scan(noise=0.002)
    hit = t.copy()
    hit[40, 3, side] = 1.4
    margin = find_margin(hit)
    assert margin == find_margin(t)
    np.testing.assert_allclose(air_scale(hit, margin), scale, rtol=2e-3)


def test_what_enters_in_one_projection_over_two_rows_is_no_hit():
    t, _ = scan(noise=0.002)
    t[40, 2:4, :12] *= 0.7
    margin = find_margin(t)
    assert margin is not None
    assert margin.left == 0
    assert margin.right > 15


@given(rate=st.floats(0, 1e-3), seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_drawn_hits_leave_a_margin_on_both_sides(rate, seed):
    t, _ = scan(noise=0.005, n_rows=12, n_columns=128, radius=40.0, orbit=5.0)
    rng = np.random.default_rng(seed)
    t[rng.random(t.shape) < rate] += rng.uniform(0.2, 1.0)
    margin = find_margin(t)
    assert margin is not None
    assert min(astuple(margin)) >= 8


def test_faint_envelope_is_not_air():
    t, _ = scan()
    u = np.arange(256) - 127.5
    tube = np.exp(-0.04 * ((np.abs(u) < 110) & (np.abs(u) > 95)))
    margin = find_margin(t * tube.astype(np.float32))
    assert margin is not None
    assert margin.left <= 17
    assert margin.right <= 17


@pytest.mark.parametrize(("radius", "orbit"), [(200.0, 0.0), (150.0, 40.0), (100.0, 60.0)])
def test_no_margin_where_the_sample_reaches_the_edge(radius, orbit):
    t, _ = scan(radius=radius, orbit=orbit, air=1.0, noise=0.002)
    assert find_margin(t) is None


def test_one_projection_is_enough_to_take_a_side_out():
    t, _ = scan(noise=0.002)
    t[40, :, :60] *= 0.7  # something passes on the left once
    margin = find_margin(t)
    assert margin is not None
    assert margin.left == 0
    assert margin.right > 20


def test_linear_scale_follows_a_tilting_beam():
    t, _ = scan(air=1.0)
    columns = np.arange(256)
    tilt = np.linspace(-0.05, 0.05, 90)[:, None]
    beam = 1 + tilt * (columns - 127.5) / 127.5
    drift = air_scale(t, Margin(30, 30))
    flat = (t * drift[:, None, None] * beam[:, None]).astype(np.float32)
    ends = air_scale(flat, Margin(30, 30), linear=True)
    assert ends.shape == (90, 2)
    # pixels are divided by their own mean over a beam that tilts by 5 %, which leaves a second-order rest
    np.testing.assert_allclose(1 / ends, beam[:, [0, -1]], rtol=2e-4)


def test_defective_columns_do_not_pull_the_level():
    t, scale = scan(noise=0.005)
    bad = t.copy()
    bad[:, :, 5] *= 1.01  # two of thirty columns, far below the noise of one projection
    bad[:, :, 9] *= 0.99
    shift = np.mean(air_scale(bad, Margin(20, 10)) / air_scale(t, Margin(20, 10))) - 1
    assert abs(shift) < 5e-5
    np.testing.assert_allclose(air_scale(bad, Margin(20, 10)), scale, rtol=5e-3)


def test_faint_wall_hidden_in_the_noise_of_one_projection_is_kept_out():
    t, _ = scan(n_angles=180, n_rows=16, noise=0.005, air=1.0)
    u = np.arange(256) - 127.5
    wall = 0.0003 * np.sqrt(np.clip(112.0**2 - u**2, 0, None))  # 0.2 % within 2 columns of its outer face
    margin = find_margin((t * np.exp(-wall)).astype(np.float32))
    assert margin is not None
    assert max(margin.left, margin.right) <= 17


def test_bad_margins_are_refused():
    t, _ = scan(n_angles=4)
    with pytest.raises(ValueError, match="does not fit"):
        air_scale(t, Margin(0, 0))
    with pytest.raises(ValueError, match="both sides"):
        air_scale(t, Margin(5, 0), linear=True)
    with pytest.raises(ValueError, match="no light"):
        air_scale(0 * t, Margin(5, 5))
    with pytest.raises(ValueError, match="no finite"):
        air_scale(np.full_like(t, np.nan), Margin(5, 5))
    with pytest.raises(ValueError, match="16 columns"):
        find_margin(t[:, :, :8])


def test_air_is_found_in_few_counts():
    """Single pixels of 500 counts are noisier than what is looked for; means over rows are not."""
    rng = np.random.default_rng(0)
    clean = np.ones((150, 24, 96))
    u = np.arange(96) - 48 + 6 * np.cos(np.linspace(0, np.pi, 150))[:, None]
    clean *= np.exp(-0.9 * np.sqrt(np.clip(1 - (u / 28) ** 2, 0, None)))[:, None]
    counts = rng.poisson(350 * clean) / 350
    margin = find_margin(counts)
    assert margin is not None
    assert min(margin.left, margin.right) >= 4
    assert max(margin.left, margin.right) <= 14
