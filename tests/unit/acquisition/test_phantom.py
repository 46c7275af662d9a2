"""The projector and the rasteriser against closed forms and against each other."""

from __future__ import annotations

import math

import numpy as np
import pytest

from xct_pipeline.simulation.phantom import (
    Body,
    cylinder,
    disc,
    ellipsoid,
    project,
    rasterize,
    rotation_matrix,
    transform,
)

CM = 1e4  # a pixel of 1 cm, so that line integrals are in pixels times the value
ANGLES = np.radians([0.0, 17.0, 60.0, 90.0, 133.0, 180.0])


def rays(bodies, angles=ANGLES, *, rows=15, columns=31, center=15.0, **options):
    """One central ray per pixel."""
    options = {"supersample": 1, "average": "integral", "pixel_size_um": CM} | options
    return project(bodies, angles, rows=rows, columns=columns, center=center, **options)


def grid(center=15.0, rows=15, columns=31):
    return np.arange(rows)[None, :, None], np.arange(columns)[None, None, :] - center


def test_sphere_is_its_chord():
    centre, radius = (7.3, 2.0, -3.5), 4.2
    z, u = grid(14.6)
    foot = centre[2] * np.cos(ANGLES) + centre[1] * np.sin(ANGLES)
    square = radius**2 - (z - centre[0]) ** 2 - (u - foot[:, None, None]) ** 2
    expected = 0.7 * 2.0 * np.sqrt(np.maximum(square, 0.0))
    found = rays([ellipsoid(centre, (radius,) * 3, 0.7)], center=14.6)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_ellipse_is_its_chord():
    a, b, turn = 9.0, 4.0, 0.4  # semi-axes along x and y before the turn from x to y
    body = cylinder((7.0, 1.0, 2.0), (50.0, b, a), 1.0, rotation=rotation_matrix((turn, 0.0, 0.0)))
    _, u = grid()
    width = a**2 * np.cos(ANGLES - turn) ** 2 + b**2 * np.sin(ANGLES - turn) ** 2
    s = u[0, 0] - (2.0 * np.cos(ANGLES) + 1.0 * np.sin(ANGLES))[:, None]
    expected = 2 * a * b * np.sqrt(np.maximum(width[:, None] - s**2, 0)) / width[:, None]
    np.testing.assert_allclose(rays([body]), np.repeat(expected[:, None], 15, axis=1), atol=1e-12)


def test_cylinder_lying_along_the_ray_and_across_it():
    body = cylinder((7.0, 0.0, 0.0), (6.0, 2.0, 2.0), 1.0, rotation=rotation_matrix((0.0, 0.5 * math.pi, 0.0)))
    across, along = rays([body], [0.0, 0.5 * math.pi])  # its axis is x
    z, u = grid()
    inside = (np.abs(z[0] - 7.0) < 2.0) & (np.abs(u[0]) < 6.0)
    expected = np.where(inside, 2.0 * np.sqrt(np.maximum(4.0 - (z[0] - 7.0) ** 2, 0.0)), 0.0)
    np.testing.assert_allclose(across[:, np.abs(u[0, 0]) != 6], expected[:, np.abs(u[0, 0]) != 6], atol=1e-6)
    round_face = (z[0] - 7.0) ** 2 + u[0] ** 2 < 3.9
    np.testing.assert_allclose(along[round_face], 12.0, atol=1e-9)
    assert np.all(along[(z[0] - 7.0) ** 2 + u[0] ** 2 > 4.1] == 0.0)


def test_tilted_slab_lengthens_the_chord():
    slab = disc(5.0, 9.0, 500.0, 1.0)
    tilt = 0.3
    pivot = np.array([7.0, 0.0, 0.0])
    rotation = rotation_matrix((0.0, 0.0, tilt))  # about x: rays along y meet it at the tilt
    tilted = transform(slab, rotation, pivot - rotation @ pivot)
    np.testing.assert_allclose(rays([tilted], [0.0])[0], 4.0 / math.sin(tilt), rtol=1e-9)


@pytest.mark.parametrize("kind", ["ellipsoid", "cylinder"])
def test_mass_is_the_same_from_every_side(kind):
    axes = rotation_matrix((0.3, 0.5, -0.2)) @ np.diag([4.0, 5.0, 7.0])
    body = Body(kind, np.array([11.2, 1.5, -2.0]), axes, 0.5)
    angles = np.linspace(0.0, np.pi, 7)
    sums = rays([body], angles, rows=24, columns=41, center=19.7, supersample=4).sum(axis=(1, 2))
    np.testing.assert_allclose(sums, 0.5 * body.volume, rtol=5e-3)  # a face in line with the rays is a jump
    volume = rasterize([body], (24, 41, 41))
    assert volume.sum(dtype=float) == pytest.approx(0.5 * body.volume, rel=2e-3)


def test_a_moved_body_is_the_rasterised_body_moved():
    body = ellipsoid((12.0, 2.0, -3.0), (3.0, 5.0, 4.0), 1.0)
    rotation, shift = rotation_matrix((0.2, -0.1, 0.05)), np.array([1.3, -2.1, 0.4])
    moved = rasterize([transform(body, rotation, shift)], (25, 31, 31), subsamples=8)
    weight = moved / moved.sum(dtype=float)
    index = np.indices(moved.shape, dtype=float)
    centroid = (index * weight).sum(axis=(1, 2, 3)) - [0.0, 15.0, 15.0]
    np.testing.assert_allclose(centroid, rotation @ body.centre + shift, atol=2e-3)
    spread = index - (centroid + np.array([0.0, 15.0, 15.0]))[:, None, None, None]
    covariance = np.einsum("izyx,jzyx,zyx->ij", spread, spread, weight)
    expected = rotation @ np.diag(np.array([3.0, 5.0, 4.0]) ** 2 / 5.0) @ rotation.T
    np.testing.assert_allclose(covariance, expected + np.eye(3) / 12.0, atol=0.09)


def test_projections_agree_with_the_rasterised_volume():
    body = ellipsoid((7.0, 3.0, -4.0), (4.0, 5.0, 6.0), 1.0, rotation=rotation_matrix((0.4, 0.2, 0.1)))
    volume = rasterize([body], (15, 31, 31))
    options = {"rows": 15, "columns": 31, "center": 15.0, "pixel_size_um": CM, "average": "integral"}
    found = project([body], [0.0, 0.5 * np.pi], supersample=4, **options)
    # at 0 the ray runs along y and the column is x; at 90 degrees along x and the column is y
    np.testing.assert_allclose(found[0], volume.sum(axis=1), atol=0.12)
    np.testing.assert_allclose(found[1], volume.sum(axis=2), atol=0.12)


def test_opposite_projections_are_mirrored_about_the_center():
    bodies = [ellipsoid((7.0, 3.0, -4.0), (4.0, 5.0, 6.0), 1.0), disc(4.0, 6.0, 3.0, 0.5)]
    first, last = rays(bodies, [0.0, np.pi], center=14.5, columns=30)
    np.testing.assert_allclose(first, last[:, ::-1], atol=1e-12)


def test_center_and_axis_tilt_move_the_columns():
    ball = [ellipsoid((z, 0.0, 0.0), (4.0,) * 3, 1.0) for z in (6.0, 24.0)]
    tilt = 0.05
    p = rays(ball, [0.0, 1.0], rows=31, columns=41, center=18.3, supersample=4, axis_tilt=tilt)
    for frame in p:
        for row in (6, 24):
            near = frame[row - 6 : row + 7].sum(axis=0)
            column = (near * np.arange(41)).sum() / near.sum()
            assert column == pytest.approx(18.3 + (row - 15.0) * math.sin(tilt), abs=0.01)


def test_a_face_inside_a_row_counts_by_its_share():
    p = rays([disc(3.0, 8.25, 40.0, 1.0)], [0.0], supersample=1)
    edge = p[0, :, 15] / p[0, 5, 15]
    np.testing.assert_allclose(edge[2:11], [0, 0.5, 1, 1, 1, 1, 0.75, 0, 0], atol=1e-12)


def test_intensities_are_averaged_before_the_logarithm():
    half = [disc(-100.0, 7.0, 40.0, 0.05)]
    mean, seen = (rays(half, [0.0], average=how)[0, :, 15] for how in ("integral", "intensity"))
    full = mean[3]
    assert seen[7] == pytest.approx(-math.log(0.5 * (1.0 + math.exp(-full))), abs=1e-12)
    assert mean[7] == pytest.approx(0.5 * full, abs=1e-12)
    assert seen[7] < mean[7]


def test_nested_bodies_carry_differences():
    volume = rasterize([disc(-1.0, 20.0, 12.0, 2.0), ellipsoid((7.0, 0.0, 0.0), (3.0,) * 3, -2.0)], (15, 31, 31))
    assert volume[7, 15, 15] == 0.0
    assert volume[7, 15, 20] == 2.0
    assert volume[7, 0, 0] == 0.0


def test_rotation_is_proper_and_turns_x_to_y():
    turn = rotation_matrix((0.3, -0.2, 0.1))
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-14)
    assert np.linalg.det(turn) == pytest.approx(1.0)
    quarter = rotation_matrix((0.5 * math.pi, 0.0, 0.0))
    np.testing.assert_allclose(quarter @ [0.0, 0.0, 1.0], [0.0, 1.0, 0.0], atol=1e-15)
    np.testing.assert_array_equal(rotation_matrix((0, 0, 0)), np.eye(3))


def test_bad_input_is_named():
    body = disc(0.0, 5.0, 3.0, 1.0)
    with pytest.raises(ValueError, match="angles"):
        rays([body], [])
    with pytest.raises(ValueError, match="supersample 0"):
        rays([body], supersample=0)
    with pytest.raises(ValueError, match="semi-axes"):
        ellipsoid((0, 0, 0), (1, -1, 1), 1.0)
    with pytest.raises(ValueError, match="subsamples"):
        rasterize([body], (4, 4, 4), subsamples=0)
    assert not rays([]).any()
