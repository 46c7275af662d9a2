"""Rings from columns that are off at all angles alike: what they add to sums, and how they are measured."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from xct_pipeline.config import Registration
from xct_pipeline.reconstruction.fourier import reconstruct
from xct_pipeline.registration import transform as tf
from xct_pipeline.registration import warp
from xct_pipeline.registration.steps.stage import Motion
from xct_pipeline.variation import lags, ring_terms
from xct_pipeline.variation import noise as noises
from xct_pipeline.variation.ring_arcs import ColumnErrors, Frame, arc_products, column_errors, kept_share, leak
from xct_pipeline.variation.ring_terms import ring_autocovariance
from xct_pipeline.variation.rings import Rings, radial_covariance
from xct_pipeline.variation.steps.rings import (
    apart,
    axes_of,
    distance,
    frames_of,
    frames_of_pair,
    half_turn,
    ring_rows,
    rings_of,
)

SIDE = 64
MIDDLE = (SIDE - 1) / 2
START = 0.4  # radian, of the first angle
Y, X = np.indices((SIDE, SIDE)).astype(float)
RADIUS = np.hypot(Y - MIDDLE, X - MIDDLE)


def slices(errors: np.ndarray, half: bool, angles: int = 181) -> np.ndarray:
    """Reconstruct rows (row, column) of a detector that is off by the same at all angles."""
    theta = START + np.linspace(0, np.pi if half else 2 * np.pi, angles if half else 2 * angles, endpoint=False)
    sinograms = np.repeat(errors[None].astype(np.float32), len(theta), axis=0)
    return reconstruct(sinograms, theta, center=MIDDLE, pad="zero")


def frame(half: bool) -> Frame:
    c, s = (np.cos(START), np.sin(START)) if half else (1.0, 0.0)
    turned = [[1, 0, 0, 0], [0, c, -s, (s - c) * MIDDLE], [0, s, c, -(s + c) * MIDDLE]]
    return Frame(tuple(np.ravel(turned).tolist()), half)


def rings(half: bool, *variance: float) -> Rings:
    return Rings(variance or (1.0,), tuple(frame(half).matrix[1:, 1:].ravel().tolist()), half)


@pytest.fixture(scope="module", params=[True, False], ids=["half a turn", "a whole turn"])
def made(request):
    errors = np.random.default_rng(3).normal(size=(1600, SIDE))
    return request.param, slices(errors, request.param)


SETS = {
    "disc": RADIUS < 20,
    "disc beside the axis": np.hypot(Y - 20, X - 42) < 8,
    "half a disc": (RADIUS < 18) & (Y > MIDDLE),
    "box about the axis": (abs(Y - MIDDLE) < 9) & (abs(X - MIDDLE - 4) < 6),
    "ring": (RADIUS > 10) & (RADIUS < 14),
}


@pytest.mark.parametrize("name", SETS)
def test_sums_over_sets_scatter_as_told(made, name):
    half, volume = made
    found = rings(half).of_sets(SETS[name].astype(float))[0]
    assert volume[:, SETS[name]].sum(axis=1).std() == pytest.approx(np.sqrt(found), rel=0.06)


def test_shells_scatter_as_told_from_the_axis_outwards(made):
    half, volume = made
    shells = RADIUS.astype(int)
    found = rings(half).of_sets(np.ones((SIDE, SIDE)), np.where(shells < 30, shells, -1), 45)
    assert (found[30:] == 0).all()
    for shell in (0, 1, 2, 3, 5, 8, 13, 20, 29):
        assert volume[:, shells == shell].sum(axis=1).std() == pytest.approx(np.sqrt(found[shell]), rel=0.07)


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_boxes_scatter_as_told_at_all_distances(made, size):
    half, volume = made
    number = SIDE // size
    variance = volume.reshape(-1, number, size, number, size).sum(axis=(2, 4)).var(axis=0)
    places = np.arange(number) * size + (size - 1) / 2
    y, x = np.meshgrid(places, places, indexing="ij")
    found, away = rings(half).of_boxes((size, size), y, x), np.hypot(y - MIDDLE, x - MIDDLE)
    for first, last in ((0, 4), (4, 8), (8, 16), (16, 28)):
        part = (away >= first) & (away < last)
        if part.any():
            assert np.sqrt(variance[part].mean()) == pytest.approx(np.sqrt(found[part].mean()), rel=0.1)


def test_a_column_weighs_less_the_farther_from_the_axis_it_is():
    found = rings(True).of_boxes((1, 1), np.array([MIDDLE + 12, MIDDLE + 24]), np.full(2, MIDDLE))
    assert found[0] / found[1] == pytest.approx(2, rel=0.1)
    all_round = rings(False).of_boxes((1, 1), np.array([MIDDLE + 24]), np.array([MIDDLE]))
    assert found[1] / all_round[0] == pytest.approx(2, rel=0.12)  # two columns share a ring, with half the weight


def test_rows_add_up_by_how_alike_they_are():
    one = rings(True, 2.0, 0.5, -0.1)
    n = np.array([0, 1, 2, 5])
    rows = np.abs(np.subtract.outer(range(5), range(5)))
    whole = np.select([rows == 0, rows == 1, rows == 2], [2.0, 0.5, -0.1]).sum()
    np.testing.assert_allclose(one.of_heights(n), [0, 2, 5, whole])
    assert one.column_error() == pytest.approx(np.sqrt(2))


def test_the_covariance_along_the_radius_is_that_of_voxels(made):
    half, volume = made
    apart, covariance = radial_covariance(half, binned=False)
    row = round(MIDDLE + 20)
    column = volume[:, :, round(MIDDLE)] if not half else volume[:, round(MIDDLE) :, round(MIDDLE)]
    at = row if not half else row - round(MIDDLE)
    for step in (0, 1, 2):
        found = (column[:, at] * column[:, at + step]).mean()
        told = np.interp(step, apart, covariance) / (row - MIDDLE + step / 2)
        assert found == pytest.approx(told, abs=0.12 * covariance[0] / 20)


# ------------------------------------------------------------------------------------------------- measured


def quiet(rows: int) -> np.ndarray:
    return np.ascontiguousarray(
        np.broadcast_to((RADIUS > 14) & (RADIUS < 30) & (abs(Y - MIDDLE) < 24), (rows, SIDE, SIDE))
    )


def voxel_noise(seed: int, rows: int, half: bool) -> np.ndarray:
    """Noise of a reconstruction, independent from angle to angle."""
    angles = 181 if half else 362
    theta = START + np.linspace(0, np.pi if half else 2 * np.pi, angles, endpoint=False)
    values = np.random.default_rng(seed).normal(size=(angles, rows, SIDE)).astype(np.float32)
    return reconstruct(values, theta, center=MIDDLE, pad="zero")


def measured(volume: np.ndarray, where: Frame, origin=(0, 0, 0), other=None, first=0):
    mask = quiet(len(volume))
    mask[:, :, :first] = False
    values = np.where(mask, volume - volume[mask].mean(), 0).astype(np.float32)
    return arc_products(values, mask, origin, where, 2 * SIDE, other)


@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize("noise", [0.0, 2.0])
def test_columns_errors_are_found_beside_noise(half, noise):
    ratios = []
    for seed in range(4):
        errors = 0.3 * np.random.default_rng(seed).normal(size=(96, SIDE))
        products = measured(slices(errors, half) + noise * voxel_noise(seed, 96, half), frame(half))
        found = column_errors(products.sums, half)
        assert found.found
        assert (abs(found.variance[1:]) < 4.5 * found.sigma[1:]).all()  # rows are independent
        ratios.append((found.variance[0] - 0.09) / found.sigma[0])
        assert found.variance[0] == pytest.approx(0.09, rel=0.2)
    assert abs(np.mean(ratios)) < 2.5


def test_noise_alone_shows_no_rings():
    scores = []
    for seed in range(6):
        found = column_errors(measured(voxel_noise(seed, 96, True), frame(True)).sums, True)
        scores.append(found.variance[0] / found.sigma[0])
        assert not found.found
    assert abs(np.mean(scores)) < 1.5


def test_rows_that_are_alike_are_told():
    errors = np.random.default_rng(5).normal(size=(97, SIDE))
    found = column_errors(measured(slices((errors[1:] + errors[:-1]) / 2, True), frame(True)).sums, True)
    np.testing.assert_allclose(found.variance, [0.5, 0.25, 0, 0], atol=0.08)


def test_a_box_is_measured_where_it_lies():
    errors = 0.3 * np.random.default_rng(7).normal(size=(48, SIDE))
    volume, where = slices(errors, True), frame(True)
    whole = measured(volume, where)
    moved = replace(where, transform=tuple(tf.compose(where.matrix, tf.translation((-8, -100, -30))).ravel().tolist()))
    away = measured(volume, moved, (8, 100, 30))
    np.testing.assert_allclose(away.sums, whole.sums, rtol=1e-6)
    np.testing.assert_allclose(away.counts, whole.counts)
    assert whole.counts.sum() == quiet(48).sum()


def test_the_autocovariance_of_rings_is_that_measured():
    volume = slices(np.random.default_rng(8).normal(size=(600, SIDE)), True)
    mask = quiet(600)
    measured_here = noises.autocovariance(noises.lag_sums(volume, mask, lag=(1, 3, 3)))
    counts = measured(volume[:48], frame(True)).counts
    told = ring_autocovariance([rings(True)], [counts], (1, 3, 3))
    np.testing.assert_allclose(told, measured_here, atol=0.1 * measured_here.max())
    windows = lags.window_sums(np.where(mask, volume, 0), mask, (1, 8, 8))
    square = windows[2] / windows[0]
    assert rings(True).mean_of_boxes((8, 8), counts) == pytest.approx(square, rel=0.3)


@pytest.mark.parametrize("first", [0, 40])
@pytest.mark.parametrize(("y", "x"), [(0, 0.7), (0, 1.5), (1.4, -0.6), (0, 4.0), (0.1, 0)])
def test_rings_about_another_axis_leak_as_told(y, x, first):
    errors = np.random.default_rng(9).normal(size=(192, SIDE))
    moved = tf.translation((0, y, x))
    box = tuple(slice(0, n) for n in (192, SIDE, SIDE))
    volume = np.nan_to_num(warp.warp_block(slices(errors, True), moved, box, shape=(192, SIDE, SIDE)))
    there = replace(frame(True), transform=tuple(tf.compose(frame(True).matrix, moved).ravel().tolist()))
    own = column_errors(measured(volume, there, first=first).sums, True)
    products = measured(volume, frame(True), other=(-y, -x), first=first)
    other = column_errors(products.sums, True)
    kept = kept_share(warp.cardinal_weights(np.array([[y, x]])), True)
    assert own.variance[0] / kept == pytest.approx(1, abs=0.25)  # in the mean over all azimuths
    assert other.variance[0] / own.variance[0] == pytest.approx(leak(products.seen), abs=0.2)


def test_resampling_takes_most_half_way_between_voxels():
    kept = [kept_share(warp.cardinal_weights(np.array([[x, x]])), True) for x in (0.0, 0.25, 0.5)]
    assert kept[0] == pytest.approx(1)
    assert 1 > kept[1] > kept[2] > 0.5


@pytest.mark.parametrize("share", [0.0, 0.4, 0.9])
def test_rings_about_two_axes_are_told_apart_where_they_can_be(share):
    true = np.array([3.0, 1.0])
    seen = [ColumnErrors(true[k : k + 1] + share * true[1 - k], np.array([0.1])) for k in (0, 1)]
    found = apart(seen, share)
    assert [one.variance[0] for one in found] == pytest.approx([2, 2] if share > 0.7 else true)
    inverse = np.linalg.inv([[1, share], [share, 1]])
    assert found[0].sigma[0] == pytest.approx(0.1 * np.hypot(*inverse[0]) if share < 0.7 else 0.1 / np.sqrt(2) / 1.9)


# ------------------------------------------------------------------------------------------------- sums of a region


def difference(*parts: Rings) -> noises.Noise:
    return noises.Noise(np.zeros((1, 1, 1)), np.ones((SIDE, SIDE)), 1.0, 1.0, 5000, rings=parts)


def test_every_sum_has_its_share_of_rings(made):
    half, volume = made
    high = 8
    rows = volume.reshape(-1, high, SIDE, SIDE).sum(axis=1)
    inside = RADIUS < 22
    count, found = inside * high, difference(rings(half))
    assert ring_terms.region_rings(found, count) == pytest.approx(rows[:, inside].sum(axis=1).std(), rel=0.15)
    shells = RADIUS.astype(int)
    counts = np.bincount(shells.ravel(), weights=count.ravel(), minlength=45)[:45].astype(int)
    radial = ring_terms.radial_rings(found, count, shells, counts)
    for shell in (0, 1, 4, 15):
        assert radial[shell] == pytest.approx(rows[:, shells == shell].sum(axis=1).std(), rel=0.15)
    assert (radial[25:] == 0).all()
    layer = ring_terms.layer_rings(found, count, np.array([inside.sum(), inside.sum() // 2]))
    assert layer[0] == pytest.approx(volume[:, inside].sum(axis=1).std(), rel=0.1)
    assert layer[1] == pytest.approx(layer[0] / np.sqrt(2), rel=0.01)
    bins = ring_terms.bin_rings(found, (high, 8, 8), np.full((1, 8, 8), high * 64))
    sums = rows.reshape(-1, 8, 8, 8, 8).sum(axis=(2, 4)).std(axis=0)[1:7, 1:7]  # the corners lie beyond the detector
    assert np.sqrt((sums**2).mean()) == pytest.approx(np.sqrt((bins[0, 1:7, 1:7] ** 2).mean()), rel=0.1)
    columns = ring_terms.column_rings(found, count)
    assert (columns[~inside] == 0).all()
    assert np.sqrt((rows.std(axis=0)[inside] ** 2).mean()) == pytest.approx(
        np.sqrt((columns[inside] ** 2).mean()), rel=0.05
    )
    squares = np.sqrt(ring_terms.square_variance(found, inside, high, 8))
    assert squares[0] == pytest.approx(np.sqrt((columns[inside] ** 2).mean()), rel=0.01)
    parts = np.zeros((2, 4, 4))
    parts[0, 1:3, 1:3] = high * 256
    sets = ring_terms.set_rings(found, parts, 16)
    box = (abs(Y - MIDDLE) < 16) & (abs(X - MIDDLE) < 16)
    assert sets[0] == pytest.approx(rows[:, box].sum(axis=1).std(), rel=0.15)
    assert sets[1] == 0


def test_rings_about_two_axes_add_up():
    one, two = rings(True), rings(True, 3.0)
    count = (RADIUS < 10) * 4
    found = [ring_terms.region_rings(difference(*parts), count) for parts in ((one,), (two,), (one, two), ())]
    assert found[2] == pytest.approx(np.hypot(found[0], found[1]))
    assert found[3] == 0
    assert difference(two).voxel_variance(RADIUS < 10) == pytest.approx(
        3 * one.of_boxes((1, 1), *np.nonzero(RADIUS < 10)).mean()
    )


# ------------------------------------------------------------------------------------------------- of a series


def series(axis, *shifts):
    motions = tuple(Motion(f"s{k}", tf.translation(shift)) for k, shift in enumerate(shifts))
    names = tuple(motion.name for motion in motions)
    return SimpleNamespace(
        names=names,
        reference=0,
        volume=SimpleNamespace(axis=axis),
        motions=motions,
        scans=(None,) * len(names),
        frame=(8, SIDE, SIDE),
    )


STAY, NEAR, AWAY = (0, 0, 0), (0, 0.2, 0.3), (1, 1.2, -2.0)


def test_rings_lie_about_the_axis_of_each_scan_in_the_registered_frame():
    frames = frames_of(series((MIDDLE, MIDDLE), STAY, NEAR, AWAY), Registration())
    assert distance(frames[2], frames[0], 4.0) == pytest.approx(np.hypot(1.2, 2.0))
    (shared,) = frames_of_pair(frames, (1, 0), 4.0)
    assert shared == replace(frames[0], kept=(frames[1].kept + 1) / 2)
    assert frames[1].kept < frames[0].kept == 1
    both = axes_of(frames_of_pair(frames, (2, 0), 4.0), 4.0)
    assert [frame for frame, _ in both] == [frames[2], frames[0]]
    np.testing.assert_allclose([place for _, place in both], [(1.2, -2.0), (-1.2, 2.0)])  # it was moved the other way
    given = frames_of(series(None, STAY, NEAR), Registration(axis=(20.0, 30.0)))
    assert given[0].transform[7::4] == (-20.0, -30.0)


def test_where_no_axis_is_known_no_rings_are_looked_for_and_the_table_says_so():
    frames = frames_of(series(None, STAY, NEAR), Registration())
    assert frames == (None, None)
    assert frames_of_pair(frames, (1, 0), 4.0) == frames_of_pair((), (1, 0), 4.0) == ()
    (row,) = ring_rows(("a", "b"), 0, frames, {(1, 0): ()}, 10.0)
    assert row["rings"] == "axis not known: registration.axis"
    assert np.isnan(row["column_error"])


@pytest.mark.parametrize(
    ("last", "known"), [(np.pi, True), (np.pi - 0.02, True), (2 * np.pi, False), (np.radians(140), False)]
)
def test_half_a_turn_is_told_from_other_ranges(last, known):
    assert half_turn(0.3 + np.linspace(0, last, 181)) == (pytest.approx(0.3) if known else None)


def test_the_table_says_how_far_columns_are_off_and_whether_that_is_more_than_chance():
    errors = 0.3 * np.random.default_rng(0).normal(size=(96, SIDE))
    axes = ((frame(True), None),)
    found = {}
    for scan, volume in ((1, slices(errors, True)), (2, voxel_noise(1, 96, True))):
        found[scan, 0] = rings_of(axes, measured(volume, frame(True)).sums[None], np.zeros((1, 8, 2)), 40.0)
    rows = ring_rows(("a", "b", "c"), 0, (frame(True),) * 3, found, 10.0)
    assert [row["scan"] for row in rows] == ["b", "c"]
    assert rows[0]["column_error"] == pytest.approx(0.3 * 1e-3, rel=0.1)  # 1/cm times a voxel of 10 um
    assert 0 < rows[0]["column_error_sigma"] < 0.1 * rows[0]["column_error"]
    assert [row["rings"] for row in rows] == ["in the errors, about one axis", "not beyond 3 standard errors"]
    few = ring_rows(("a", "b"), 0, (frame(True),) * 2, {(1, 0): ()}, 10.0)
    assert few[0]["rings"] == "too little that is quiet"


@pytest.mark.parametrize("sign", [-1, 1])
def test_the_share_that_is_kept_has_no_digits_that_threads_of_blas_change(sign):
    weights = warp.cardinal_weights(np.array([[0.31, 0.77], [0.12, 0.4]]))
    assert kept_share(weights, True) == kept_share(weights * (1 + sign * 4e-16), True)
