"""Whole bodies of labels: columns between faces, and what stands for the layers at the ceramic."""

from __future__ import annotations

import numpy as np
import pytest

from xct_pipeline.whole_body import CORNERS, MARGIN, NEAR, RINGS, between, enclosing, find_body

GAS, WALL, METAL, CERAMIC = 1, 2, 3, 4
SHAPE = (40, 48, 44)
TOP, HEIGHT, RADIUS = 14, 15, 15  # first plane and planes of the metal


def cell(tilt: float = 0.0, seed: int = 1) -> np.ndarray:
    """Return labels of a ceramic disc with metal of another kind on either side, in a wall, with errors of 1 %."""
    z, y, x = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    r = np.hypot(y - 23.5, x - 21.5)
    height = z - tilt * (x - 21.5)
    labels = np.full(SHAPE, GAS)
    labels[r > 20] = WALL
    labels[(r < RADIUS) & (height >= TOP) & (height < TOP + HEIGHT)] = METAL
    labels[(r < RADIUS + 2) & (height >= 6) & (height < TOP)] = CERAMIC
    labels[(r < RADIUS) & (height < 6)] = METAL  # thinner than the anode: the other electrode
    labels[(np.hypot(y - 25, x - 20) < 3) & (z > TOP + 3) & (z < TOP + 8)] = GAS  # a void
    rng = np.random.default_rng(seed)
    wrong = rng.random(SHAPE) < 0.01
    labels[wrong] = rng.integers(1, 5, wrong.sum())
    return labels.astype(np.uint8)


def weights(body):
    return body.weights(*(np.arange(n, dtype=float) for n in SHAPE))


def test_columns_are_filled_from_the_layers_at_the_ceramic_to_beyond_the_other_faces():
    found = weights(find_body(cell(), [METAL], CERAMIC, SHAPE))
    middle = found[:, 25, 20]  # through the void
    assert middle.tolist() == [0] * (TOP + NEAR) + [2] * NEAR + [1] * (HEIGHT - 2 * NEAR + MARGIN) + [0] * (
        SHAPE[0] - TOP - HEIGHT - MARGIN
    )
    across = found.any(axis=0)
    y, x = np.nonzero(across)
    assert np.hypot(y - 23.5, x - 21.5).max() < RADIUS + MARGIN + 1.5
    inner = np.hypot(*np.ogrid[-23.5:24.5, -21.5:22.5]) < RADIUS + MARGIN - 1
    assert across[inner].all()


def test_each_column_counts_as_many_layers_as_it_has_from_the_ceramic_on():
    found = weights(find_body(cell(), [METAL], CERAMIC, SHAPE)).astype(int)
    inside = np.hypot(*np.ogrid[-23.5:24.5, -21.5:22.5]) < RADIUS - 2
    assert (found.sum(axis=0)[inside] == HEIGHT + MARGIN).all()


@pytest.mark.parametrize("tilt", [0.1, -0.15])
def test_the_near_end_follows_a_tilted_face(tilt):
    body = find_body(cell(tilt), [METAL], CERAMIC, SHAPE)
    y, x = np.nonzero(np.hypot(*np.ogrid[-23.5:24.5, -21.5:22.5]) < RADIUS - 3)
    face = TOP + tilt * (x - 21.5)
    assert np.abs(body.first[y, x] - NEAR - face).max() <= 1.5
    assert np.abs(np.mean(body.first[y, x] - NEAR - face) - 0.5) < 0.3


def test_the_ceramic_may_be_above():
    upright, turned = (find_body(labels, [METAL], CERAMIC, SHAPE) for labels in (cell(), cell()[::-1]))
    np.testing.assert_array_equal(weights(turned), weights(upright)[::-1])
    assert upright.upward
    assert not turned.upward


def test_without_a_ceramic_all_faces_are_alike():
    labels = cell()
    labels[labels == CERAMIC] = GAS
    labels[:6] = GAS
    body = find_body(labels, [METAL], CERAMIC, SHAPE)
    assert body.near == 0
    assert weights(body).max() == 1
    assert weights(body)[:, 25, 20].sum() >= HEIGHT + 2 * MARGIN


def test_the_layers_at_the_face_join_the_body():
    body = find_body(cell(), [METAL], CERAMIC, SHAPE)
    both = weights(body).astype(int) + weights(body.faces[0].zone)
    assert both[:, 25, 20].tolist()[TOP - NEAR : TOP + 2 * NEAR] == [1] * 2 * NEAR + [2] * NEAR
    layers = body.faces[0].zone.layers(*(np.arange(n, dtype=float) for n in SHAPE))
    assert layers[TOP - NEAR : TOP + NEAR, 25, 20].tolist() == list(range(2 * NEAR))


@pytest.mark.parametrize("upward", [True, False])
def test_both_faces_of_the_ceramic_are_found_with_the_layers_about_them(upward):
    labels = cell()
    labels = np.concatenate([labels[:1].repeat(6, 0), labels[:9], labels[9:10].repeat(6, 0), labels[9:]])
    low, high, planes = 12, TOP + 12, len(labels)  # of the ceramic, thicker than that of `cell`
    labels = labels if upward else labels[::-1]
    body = find_body(labels, [METAL], CERAMIC, labels.shape)
    beside, opposite = body.faces
    heights = (high, low) if upward else (planes - high, planes - low)
    for face, height in zip(body.faces, heights, strict=True):
        off = np.abs(face.heights - (height - 0.5))
        assert np.nanmax(off) <= 1
        assert np.nanmean(off) < 0.02
        y, x = np.nonzero(np.isfinite(face.heights))
        assert RADIUS - 2 < np.hypot(y - 23.5, x - 21.5).max() < RADIUS + 1
    assert (beside.dense_below, opposite.dense_below) == (upward, not upward)
    axes = [np.arange(n, dtype=float) for n in labels.shape]
    zones = [face.zone.weights(*axes) for face in body.faces]
    near, far = (np.flatnonzero(zone[:, 25, 20]) for zone in zones)
    near, far = (near, far) if upward else (planes - 1 - near[::-1], planes - 1 - far[::-1])
    assert near.tolist() == list(range(high - NEAR, high + NEAR))
    assert far.tolist() == list(range(low - 2 * NEAR, low + NEAR))
    layers = opposite.zone.layers(*axes)[:, 25, 20]
    assert layers[low - 2 * NEAR if upward else planes - 1 - low + 2 * NEAR] == 0  # counted from beyond the ceramic
    assert all(zone[:, 23, round(21.5 - RADIUS - 3)].any() for zone in zones)  # the ceramic is wider than the metal


def test_a_face_that_is_out_of_view_is_not_taken_for_one():
    labels = cell()[4:]
    assert len(find_body(labels, [METAL], CERAMIC, labels.shape).faces) == 1
    assert not find_body(np.where(cell() == CERAMIC, GAS, cell()), [METAL], CERAMIC, SHAPE).faces


def test_what_is_grown_holds_the_body_and_does_not_reach_the_ceramic():
    body = find_body(cell(), [METAL], CERAMIC, SHAPE)
    wide, inside = weights(body.grown(4)) > 0, weights(body) > 0
    assert not (inside & ~wide).any()
    column = (wide & ~inside)[:, 25, 20]
    assert np.flatnonzero(column).tolist() == list(range(TOP + HEIGHT + MARGIN, TOP + HEIGHT + MARGIN + 4))


@pytest.mark.parametrize("turned", [False, True])
def test_a_larger_part_that_does_not_lie_on_the_ceramic_is_not_the_body(turned):
    labels, alone = cell(), cell()
    labels[labels == WALL] = METAL  # a housing of the same grey value, larger than the anode
    labels, alone = (one[::-1] if turned else one for one in (labels, alone))
    assert (labels == METAL).sum() > 2.5 * (alone == METAL).sum()
    found, expected = (weights(find_body(one, [METAL], CERAMIC, SHAPE)) for one in (labels, alone))
    np.testing.assert_array_equal(found, expected)


def test_a_thin_body_that_touches_a_high_housing_keeps_its_columns():
    labels = np.concatenate([cell(), cell()[-1:].repeat(60, 0)])
    z, y, x = np.indices(labels.shape)
    r = np.hypot(y - 23.5, x - 21.5)
    labels[(r > 20) | ((r > RADIUS - 1) & (abs(y - 23.5) < 3) & (z >= TOP + 2) & (z < TOP + 5))] = METAL
    body = find_body(labels, [METAL], CERAMIC, labels.shape)
    inner = np.hypot(*np.ogrid[-23.5:24.5, -21.5:22.5]) < RADIUS - 3
    assert (body.stop[inner] - body.first[inner] >= HEIGHT - NEAR).all()
    assert (body.first[inner] == TOP + NEAR).all()


def test_a_coarser_level_gives_nearly_the_same_body():
    labels = cell()
    fine, coarse = (
        find_body(labels, [METAL], CERAMIC, SHAPE),
        find_body(labels[::2, ::2, ::2], [METAL], CERAMIC, SHAPE, 1),
    )
    assert coarse.near == 2 * NEAR
    common = (weights(fine) > 0) & (weights(coarse) > 0)
    assert common.sum() > 0.6 * (weights(fine) > 0).sum()
    assert coarse.first[12, 10] - coarse.near == pytest.approx(TOP, abs=1)


def test_a_label_that_no_voxel_carries_is_an_error():
    with pytest.raises(ValueError, match="no voxel of the reference scan"):
        find_body(np.ones(SHAPE, np.uint8), [METAL], CERAMIC, SHAPE)


@pytest.mark.parametrize("turn", [0.0, 0.5])
def test_the_ellipse_about_a_face_holds_its_corners_and_is_the_face_where_there_are_none(turn):
    y, x = (i - 40.0 for i in np.indices((81, 81)))
    a, b = np.cos(turn) * y + np.sin(turn) * x, np.cos(turn) * x - np.sin(turn) * y
    oval = (a / 14) ** 2 + (b / 20) ** 2 <= 1
    assert np.count_nonzero(enclosing(oval)) < (1 + CORNERS) * np.count_nonzero(oval)
    plate = (np.abs(a - 2) < 14.5) & (np.abs(b) < 20.5)
    found = enclosing(plate)
    assert (found & plate).sum() == plate.sum()
    wanted = ((a - 2) / 14.5) ** 2 + (b / 20.5) ** 2 <= 2
    assert np.count_nonzero(found ^ wanted) < 0.06 * np.count_nonzero(wanted)
    wide = enclosing(np.hypot(np.abs(y) - 20, x) < 15)
    assert not wide[0, 0]  # beyond what a turn sees


def plate(thick, upward):
    """Return labels of a box of metal on a ceramic with corners, `thick` voxels high."""
    labels = np.zeros((28 + thick, 60, 60), np.uint8)
    labels[10 : 10 + thick, 12:48, 15:45] = 4
    labels[10 + thick : 22 + thick, 15:30, 20:40] = 3
    return labels if upward else labels[::-1]


@pytest.mark.parametrize("upward", [True, False])
def test_a_face_knows_what_lies_beside_it(upward):
    labels = plate(12, upward)
    beside, opposite = find_body(labels, [3], 4, labels.shape).faces
    known = np.isfinite(beside.heights)
    assert (beside.beside[known] == np.where(labels[25 if upward else 14] == 3, 3, 0)[known]).all()
    assert (opposite.beside[known] == 0).all()
    for face in (beside, opposite):
        z, y, x = (np.arange(n, dtype=float) for n in labels.shape)
        outer, inner = (zone.weights(z, y, x) > 0 for zone in (face.around, face.zone))
        assert (outer & inner).sum() == inner.sum() < outer.sum()


@pytest.mark.parametrize(("thick", "rings"), [(12, 1), (16, RINGS), (40, RINGS)])
@pytest.mark.parametrize("upward", [True, False])
def test_all_that_is_seen_of_a_face_reaches_as_far_as_it_rings(upward, thick, rings):
    labels = plate(thick, upward)
    body = find_body(labels, [3], 4, labels.shape)
    z, y, x = (np.arange(n, dtype=float) for n in labels.shape)
    above, below = ([0, rings], [rings, 0])[:: 1 if upward else -1]  # of what is between the ceramic's faces
    for face, (more, less), (at_y, at_x) in [
        (body.faces[0], below, (20, 30)),
        (body.faces[0], (rings, rings), (40, 20)),
        (body.faces[1], above, (20, 30)),
        (body.faces[1], above, (40, 20)),
    ]:
        outer, inner = (
            np.flatnonzero(zone.weights(z, y, x)[:, at_y, at_x]).tolist() for zone in (face.around, face.zone)
        )
        assert outer == list(range(inner[0] - more, inner[-1] + less + 1))
    joined = body.weights(z, y, x).astype(int) + body.faces[0].around.weights(z, y, x)
    assert joined[:, 20, 30].max() == 2  # its own layers follow without a gap, those beside the face twice
    assert (np.diff(np.flatnonzero(joined[:, 20, 30])) == 1).all()


@pytest.mark.parametrize("upward", [True, False])
def test_between_the_layers_about_both_faces_lies_the_core_of_the_ceramic(upward):
    labels = plate(16, upward)
    faces = find_body(labels, [3], 4, labels.shape).faces
    z, y, x = (np.arange(n, dtype=float) for n in labels.shape)
    zones = [face.around.weights(z, y, x) > 0 for face in faces]
    core = between(*(face.around for face in faces)).weights(z, y, x) > 0
    assert not (core & (zones[0] | zones[1])).any()
    planes = np.flatnonzero(core.any(axis=(1, 2)))
    assert planes.tolist() == list(range(15, 21) if upward else range(23, 29))
    solid = labels == 4
    assert (solid & ~core & ~zones[0] & ~zones[1]).sum() == 0  # all of the ceramic is in one of the three


@pytest.mark.parametrize("upward", [True, False])
@pytest.mark.parametrize(("slope", "flat"), [(0.0, True), (0.04, True), (0.25, False)])
def test_the_core_ends_at_planes_unless_the_ceramic_is_inclined_by_too_much(slope, flat, upward):
    height = np.rint(slope * (np.indices((60, 60))[1] - 30)).astype(int)
    labels = plate(16, True)
    labels = np.concatenate([labels[:1].repeat(8, 0), labels, labels[-1:].repeat(8, 0)])
    z = np.arange(len(labels))[:, None, None]
    labels = np.take_along_axis(labels, np.clip(z - height, 0, len(labels) - 1), axis=0)
    labels = labels if upward else labels[::-1]
    faces = find_body(labels, [3], 4, labels.shape).faces
    core = between(*(face.around for face in faces)).weights(*(np.arange(n, dtype=float) for n in labels.shape)) > 0
    columns = core.any(axis=0)
    assert columns[14:46, 17:43].all()
    ends = np.ptp(core.argmax(axis=0)[columns]), np.ptp(core.sum(axis=0)[columns])
    assert (ends == (0, 0)) == flat
    assert (labels[core] == 4).all() or columns.sum() > (labels == 4).any(axis=0).sum()
    if not flat:
        assert ends[0] > 3
