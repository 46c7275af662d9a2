"""What averaging intensities takes at a face, against projections of discs with closed-form line integrals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy
from hypothesis import given
from hypothesis import strategies as st

from xct_pipeline.reconstruction import fourier
from xct_pipeline.reconstruction.filters import angular_weights
from xct_pipeline.simulation.phantom import disc, project, rotation_matrix, transform
from xct_pipeline.variation import edge_gradient
from xct_pipeline.variation.edge_gradient import (
    Plane,
    fit_plane,
    missing,
    reach_of,
    rows_about,
    shares_of_angles,
    slopes_of_face,
)
from xct_pipeline.variation.steps.edge_gradient import heights_of, step_of
from xct_pipeline.whole_body import find_body

ROWS, COLUMNS, CENTER, PIXEL_UM = 40, 80, 41.3, 20.0
CERAMIC, METAL, RADIUS, HEIGHT = 7.2, 0.5, 30.0, 20.0
DISPLACED = 1 / (math.pi * RADIUS**2 * (CERAMIC - METAL) * PIXEL_UM * 1e-4)  # from line integrals to voxels of the face
ANGLES = np.linspace(0, math.pi, 16, endpoint=False)


def discs(height: float, tilt: tuple[float, float], top: float = METAL):
    """Return a ceramic disc below metal, turned about axes across the beam, and the plane between them."""
    turn = rotation_matrix((0.0, *np.radians(tilt)))
    pivot = np.array([height, 0.0, 0.0])
    bodies = [disc(height - 100, height, RADIUS, CERAMIC), disc(height, height + 100, RADIUS, top)]
    moved = Plane(HEIGHT, 0.0, 0.0, 0.0, 0.0).moved(np.column_stack([turn, np.zeros(3)]), 0.0, 0.0)
    plane = Plane(height, 0.0, 0.0, moved.slope_y, moved.slope_x)
    return [transform(body, turn, pivot - turn @ pivot) for body in bodies], plane


def seen(bodies, psf: float, average: str):
    found = project(
        bodies,
        ANGLES,
        rows=ROWS,
        columns=COLUMNS,
        center=CENTER,
        pixel_size_um=PIXEL_UM,
        supersample=4,
        average=average,
    )
    if average == "integral":
        return scipy.ndimage.gaussian_filter(found, (0, psf, psf), mode="nearest")
    return -np.log(scipy.ndimage.gaussian_filter(np.exp(-found), (0, psf, psf), mode="nearest"))


def at_face(lost, height: float) -> float:
    """Return what is lost at the face alone: at the rims of both discs something is, in every row."""
    rows = lost.sum(axis=2).mean(axis=0)
    below, above = rows[:8].mean(), rows[-8:].mean()
    part = slice(10, 31)
    return float(rows[part].sum() - below * (height - 9.5) - above * (30.5 - height))


def given_back(p, plane: Plane, step: float, reach: float = 3.0):
    """Return what is missing about a face by the estimate, line integrals times pixels."""
    u = np.arange(COLUMNS) - CENTER
    first, stop = rows_about(plane, ANGLES, u, reach)
    found = missing(p[:, first:stop], first, plane.across(ANGLES, u), True, reach)
    ramp = plane.along(ANGLES) * found["ramp"] / (step * PIXEL_UM * 1e-4)
    return found["missing"].mean() - ramp.mean(), ramp.mean(), found["other"].mean() - ramp.mean()


@pytest.mark.parametrize("psf", [0.0, 0.4, 0.7])
@pytest.mark.parametrize("height", [20.0, 20.31, 20.5])
def test_what_is_missing_follows_from_the_intensities_whatever_the_blur_and_the_place_of_the_rows(psf, height):
    bodies, plane = discs(height, (0.0, 0.0))
    linear, measured = (seen(bodies, psf, kind) for kind in ("integral", "intensity"))
    found, ramp, other = given_back(measured, plane, CERAMIC - METAL)
    assert abs(found - at_face(linear - measured, height)) * DISPLACED < 0.002
    assert other == pytest.approx(found, abs=1e-3 / DISPLACED)
    assert ramp == 0


@pytest.mark.parametrize("tilt", [(0.3, 0.0), (-0.5, 0.4), (0.0, 0.8)])
def test_of_a_tilted_face_less_is_missing(tilt):
    flat = given_back(seen(discs(HEIGHT, (0.0, 0.0))[0], 0.5, "intensity"), discs(HEIGHT, (0.0, 0.0))[1], 6.7)[0]
    bodies, plane = discs(HEIGHT + 0.2, tilt)
    linear, measured = (seen(bodies, 0.5, kind) for kind in ("integral", "intensity"))
    found, ramp, _ = given_back(measured, plane, CERAMIC - METAL)
    assert abs(found - at_face(linear - measured, plane.height)) * DISPLACED < 0.004
    assert ramp > 0
    assert found < flat


def test_what_leaves_at_the_face_is_no_part_of_it():
    before, after = (seen(discs(HEIGHT, (0.0, 0.0), top)[0], 0.5, "intensity") for top in (METAL, 0.7 * METAL))
    plane = discs(HEIGHT, (0.0, 0.0))[1]
    more = given_back(after, plane, CERAMIC - METAL)[0] / given_back(before, plane, CERAMIC - METAL)[0]
    assert more == pytest.approx(((CERAMIC - 0.7 * METAL) / (CERAMIC - METAL)) ** 2, rel=0.02)


@given(st.integers(0, 1000), st.floats(0.0, 0.004))
def test_where_there_is_no_face_nothing_is_missing(seed, noise):
    p = 0.5 + noise * np.random.default_rng(seed).normal(size=(4, 24, 6))
    found = missing(p, 0, np.full((4, 6), 12.0), True, 3.0)
    assert (found["missing"] == 0).all()
    assert (found["ramp"] == 0).all()


@given(st.integers(0, 1000), st.floats(-0.05, 0.05), st.floats(-0.05, 0.05), st.floats(-3, 3))
def test_a_plane_is_found_through_noise_and_open_pores_and_follows_a_motion(seed, slope_y, slope_x, shift):
    rng = np.random.default_rng(seed)
    y, x = np.meshgrid(np.arange(48) - 23.5, np.arange(48) - 23.5, indexing="ij")
    heights = 20 + shift + slope_y * y + slope_x * x + rng.normal(0, 0.1, y.shape)
    heights[np.hypot(y - 2, x + 1) > 20] = np.nan
    heights[20:24, 20:24] -= 3  # a pore that is open
    plane, rough = fit_plane(heights, 23.5)
    at = 20 + shift + slope_y * plane.y + slope_x * plane.x
    assert plane.height == pytest.approx(at, abs=0.02)
    assert (plane.slope_y, plane.slope_x) == pytest.approx((slope_y, slope_x), abs=1.5e-3)
    assert rough < 0.06
    turn = rotation_matrix((0.2, *rng.uniform(-0.02, 0.02, 2)))
    motion = np.column_stack([turn, rng.uniform(-2, 2, 3)])
    moved = plane.moved(motion, 23.5, 24.5)
    for place in rng.uniform(-10, 10, (5, 2)):
        z = plane.height + plane.slope_y * (place[0] - plane.y) + plane.slope_x * (place[1] - plane.x)
        there = motion @ [z, *(place + 23.5), 1.0]
        own = there[1:] - 24.5 - (moved.y, moved.x)
        assert there[0] == pytest.approx(moved.height + moved.slope_y * own[0] + moved.slope_x * own[1])


@given(st.integers(0, 1000), st.floats(-0.5, 0.5), st.floats(-3e-4, 3e-4))
def test_what_lies_beside_a_face_and_the_dome_of_averaging_do_not_tilt_it(seed, offset, dome):
    rng = np.random.default_rng(seed)
    y, x = (i - 23.5 for i in np.indices((48, 48)))
    at, size = rng.uniform(-8, 8, 2), rng.uniform(4, 12, 2)
    beside = np.where((np.abs(y - at[0]) < size[0]) & (np.abs(x - at[1]) < size[1]), 3, 1)
    beside[:, 30] = 2  # too few to be a material
    heights = 20 + 0.01 * y - 0.02 * x + dome * ((y - 3) ** 2 + x**2) + rng.normal(0, 0.05, y.shape)
    heights += np.where(beside == 3, offset, 0) + np.where(beside == 2, 1.0, 0)
    heights[np.maximum(np.abs(y + 2), np.abs(x - 1)) > 18] = np.nan
    plane, _ = fit_plane(heights, 23.5, beside)
    slope_y = 0.01 + 2 * dome * (plane.y - 3)
    assert (plane.slope_y, plane.slope_x) == pytest.approx((slope_y, -0.02 + 2 * dome * plane.x), abs=1e-3)


def test_a_face_that_is_no_plane_is_rough():
    y, x = np.meshgrid(np.arange(48) - 23.5, np.arange(48) - 23.5, indexing="ij")
    assert fit_plane(20 + 0.4 * np.cos(x / 4) + 0 * y, 23.5)[1] == pytest.approx(0.4 / math.sqrt(2), rel=0.15)


def test_a_plane_needs_three_heights():
    with pytest.raises(ValueError, match="three heights"):
        fit_plane(np.full((4, 4), np.nan), 1.5)


def test_angles_are_worked_on_in_parts_without_a_trace():
    p = seen(discs(HEIGHT, (0.2, 0.1))[0], 0.5, "intensity")
    plane, u = discs(HEIGHT, (0.2, 0.1))[1], np.arange(COLUMNS) - CENTER
    height = plane.across(ANGLES, u)
    whole = missing(np.tile(p, (5, 1, 1)), 0, np.tile(height, (5, 1)), True, reach_of(0.5, 0.2))
    single = missing(p, 0, height, True, reach_of(0.5, 0.2))
    assert len(p) * 5 > 2 * edge_gradient.ANGLES
    for name, values in single.items():
        np.testing.assert_array_equal(whole[name], np.tile(values, 5))


@pytest.mark.parametrize(("upward", "level"), [(True, 0), (False, 0), (True, 1)])
@pytest.mark.parametrize("metal", [0.0, 0.5, 1.0])
def test_the_heights_of_a_face_are_told_between_planes_by_what_its_layers_hold(upward, level, metal):
    labels, shape = np.ones((40, 48, 48), np.uint8), (40, 48, 48)
    z, y, x = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    disc_, height = np.hypot(y - 23.5, x - 23.5) < 20, 19.8 + 0.011 * (y - 23.5) - 0.006 * (x - 23.5)
    share = np.clip(height - z + 0.5, 0, 1)  # of each voxel below the face
    labels[disc_] = np.where(share > 0.5, 4, 3)[disc_]
    labels[(labels == 3) & (x > 25)] = 2
    labels[35:][disc_[35:]] = labels[:5][disc_[:5]] = 1
    light = np.where(x > 25, metal, 0.5)  # another material beside a part of the face
    attenuation = np.where(disc_, 7.2 * share + light * (1 - share), 0.0)
    if not upward:
        labels, attenuation = labels[::-1], attenuation[::-1]
    small = labels[:: 1 << level, :: 1 << level, :: 1 << level]
    face = find_body(small, [2, 3], 4, shape, level).faces[0]
    wanted = face.zone.weights(*(np.arange(n, dtype=float) for n in shape)) > 0
    motions = np.gradient(attenuation, axis=0)
    sums = {
        "count": wanted.sum(axis=0),
        "fixed": (attenuation * wanted).sum(axis=0),
        "motions": (motions * wanted).sum(axis=0)[None],
    }
    heights = heights_of(face, sums)
    known = np.isfinite(heights)
    assert step_of(sums, known) == pytest.approx(6.7, abs=0.5 * abs(metal - 0.5) + 0.01)
    beside = face.beside.repeat(1 << level, axis=0).repeat(1 << level, axis=1)
    plane, rough = fit_plane(heights, 23.5, beside)
    sign = 1 if upward else -1
    assert (plane.slope_y, plane.slope_x) == pytest.approx((sign * 0.011, sign * -0.006), abs=6e-4)
    assert plane.height == pytest.approx(19.8 if upward else 39 - 19.8, abs=0.3 * 2**level)
    assert rough < 0.01
    assert face.dense_below == upward


@pytest.mark.parametrize("tilt", [0.0, 0.6])
@pytest.mark.parametrize("half", [(20.0, 31.0), (28.0, 28.0)])
@pytest.mark.parametrize("order", ["even", "golden", "both ends"])
def test_what_differs_with_the_angle_counts_in_a_sum_over_an_ellipse_as_it_is_wide(half, tilt, order):
    """What no body could show, light of one angle only, in a sum over an ellipse off the axis."""
    k = np.arange(90)
    angles = {"even": k * math.pi / 90, "golden": k * 2.39996 % math.pi, "both ends": k * math.pi / 89}[order]
    y, x = (i - 49.5 for i in np.indices((100, 100)))
    a, b = (y - 3) * math.cos(tilt) + (x + 2) * math.sin(tilt), (x + 2) * math.cos(tilt) - (y - 3) * math.sin(tilt)
    columns = (a / half[0]) ** 2 + (b / half[1]) ** 2 <= 1
    axis = 3 * np.sin(angles) - 2 * np.cos(angles)  # where the ellipse's middle is seen
    u = np.arange(100)[None] - 49.5 - axis[:, None]
    taken = (1 + np.cos(angles - 0.4) ** 4 + (k % 7 == 0))[:, None] * np.clip(1 - (u / 14) ** 2, 0, None)
    slices = fourier.reconstruct(taken[:, None].astype(np.float32), angles, center=49.5, pad="zero")
    found, sums = float(slices[0][columns].sum()), taken.sum(axis=1)
    weights = angular_weights(angles)
    told = float((sums * shares_of_angles(columns, angles, weights)).mean())
    assert told == pytest.approx(found, rel=0.004)
    turn = [[math.cos(0.3), -math.sin(0.3)], [math.sin(0.3), math.cos(0.3)]]
    turned = shares_of_angles(columns, angles - 0.3, weights, turn)
    np.testing.assert_allclose(turned, shares_of_angles(columns, angles, weights), rtol=1e-9)
    if half[0] != half[1]:
        assert abs(float(sums.mean()) - found) > 0.01 * found


def test_a_sum_needs_columns():
    with pytest.raises(ValueError, match="columns"):
        shares_of_angles(np.zeros((4, 4), bool), ANGLES, ANGLES)


@pytest.mark.parametrize("tilt", [(0.0, 0.0), (0.3, 0.0), (-0.5, 0.4), (0.0, 0.8)])
@pytest.mark.parametrize("height", [20.0, 20.31])
def test_the_slopes_of_a_face_are_told_whatever_averaging_makes_of_it(tilt, height):
    bodies, plane = discs(height, tilt)
    p, u = seen(bodies, 0.5, "intensity"), np.arange(COLUMNS) - CENTER
    guess = plane._replace(slope_y=plane.slope_y + 1e-3, slope_x=plane.slope_x - 1e-3)  # as a volume tells it
    reach = reach_of(0.5, 2 * RADIUS * math.hypot(plane.slope_y, plane.slope_x))
    first, stop = rows_about(guess, ANGLES, u, reach)
    found = missing(p[:, first:stop], first, guess.across(ANGLES, u), True, reach)
    slopes, sigma = slopes_of_face(found["missing_slope"], found["other_slope"], ANGLES, np.eye(2))
    off = np.subtract(slopes, (plane.slope_y, plane.slope_x))
    assert np.abs(off).max() < 1.2e-4 + 0.03 * math.hypot(plane.slope_y, plane.slope_x)
    assert sigma < 2e-4
    below = missing(p[:, first:stop][:, ::-1], -stop + 1, -guess.across(ANGLES, u), False, reach)
    np.testing.assert_allclose(below["missing_slope"], -found["missing_slope"], atol=1e-9)


@given(st.floats(-0.05, 0.05), st.floats(-0.05, 0.05), st.floats(0.0, 3.1), st.integers(0, 1000))
def test_a_face_of_any_shape_rises_as_its_area_is_spread(slope_y, slope_x, turn, seed):
    rng = np.random.default_rng(seed)
    y, x = (i - 15.5 for i in np.indices((32, 32)))
    a, b = y * math.cos(turn) + x * math.sin(turn), x * math.cos(turn) - y * math.sin(turn)
    area = np.argwhere((np.abs(a - 1) < 5) & (np.abs(b) < 11)) - 15.5
    angles = np.sort(rng.uniform(0, math.pi, 40))
    u = np.outer(np.sin(angles), area[:, 0]) + np.outer(np.cos(angles), area[:, 1])
    heights = area @ [slope_y, slope_x]
    rises = np.array([np.polyfit(row, heights, 1)[0] for row in u])
    slopes, sigma = slopes_of_face(rises, rises, angles, np.cov(area.T))
    assert slopes == pytest.approx((slope_y, slope_x), abs=1e-9)
    assert sigma < 1e-9


def test_the_error_of_slopes_is_how_they_scatter():
    angles, rng = np.linspace(0, math.pi, 400, endpoint=False), np.random.default_rng(8)
    rises = 0.01 * np.sin(angles) - 0.02 * np.cos(angles) + rng.normal(0, 1e-3, (200, 400))
    found = [slopes_of_face(row, row, angles, np.eye(2)) for row in rises]
    scatter = np.std([slopes for slopes, _ in found], axis=0).mean()
    assert np.sqrt(np.mean([sigma**2 for _, sigma in found])) == pytest.approx(scatter, rel=0.2)
    other = rises[0] + 0.003 * np.sin(angles)  # with other sides
    sigma = slopes_of_face(rises[0], other, angles, np.eye(2))[1]
    assert sigma == pytest.approx(math.hypot(found[0][1], 0.003 / math.sqrt(2)), rel=1e-6)
