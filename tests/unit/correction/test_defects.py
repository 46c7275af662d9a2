"""Defects of the detector on cells that are concentric with the rotation axis, in exact line integrals."""

import numpy as np
import pytest

from xct_pipeline.correction.defects import find as defects
from xct_pipeline.correction.defects.find import (
    SEGMENTS,
    column_statistics,
    correct_defects,
    find_defects,
    interpolate_dead,
)
from xct_pipeline.correction.defects.rows import along_rows

WALLS = ((0.46, 0.43, 1.0), (0.43, 0.36, 0.3), (0.36, 0.345, 20.0), (0.345, 0.22, 0.5), (0.22, 0.12, 1.5))


def disc(n, center, radius):
    """Bin-averaged chord lengths of a disc, exact."""
    edge = np.clip(np.arange(n + 1) - 0.5 - center, -radius, radius)
    return np.diff(edge * np.sqrt(np.maximum(radius**2 - edge**2, 0)) + radius**2 * np.arcsin(edge / radius))


def cell(n, center, scale=1.0):
    """Line integrals of hollow cylinders, one 20 times brighter than the housing; largest p about 3."""
    return sum(
        mu / n * (disc(n, center, outer * scale * n) - disc(n, center, inner * scale * n)) for outer, inner, mu in WALLS
    )


def projections(profile, n_angles, counts=None, seed=0):
    """Equal projections (angle, row, column) of profiles (row, column), with Poisson-like noise if asked."""
    p = np.repeat(np.atleast_2d(profile)[None], n_angles, axis=0)
    if counts:
        p = p + np.exp(p / 2) / np.sqrt(counts) * np.random.default_rng(seed).normal(size=p.shape)
    return p.astype(np.float32)


def radial(profile, center, radii):
    """Inverse Abel transform of a symmetric profile by exact discrete FBP: what a ring correction does to a slice."""
    n = profile.size
    size = 4 * n
    k = np.arange(size)
    k = np.minimum(k, size - k)
    ramp = np.where(k % 2 == 1, -1 / (np.pi**2 * np.maximum(k, 1) ** 2.0), 0.0)
    ramp[0] = 0.25
    q = np.fft.irfft(np.fft.rfft(profile, size) * np.fft.rfft(ramp), size)[:n]
    theta = (np.arange(4000) + 0.5) * np.pi / 4000
    return np.array([np.pi * np.interp(center + r * np.cos(theta), np.arange(n), q, 0, 0).mean() for r in radii])


def materials(profile, n, center):
    """Mean of each wall, half a wall thickness (at most 2 pixels) away from its faces."""
    means = []
    for outer, inner, _ in WALLS:
        margin = min(2.0, (outer - inner) * n / 4)
        radii = np.linspace(inner * n + margin, outer * n - margin, 60)
        means.append(np.average(radial(profile, center, radii), weights=radii))
    return np.array(means)


@pytest.mark.parametrize("n", [160, 256, 512, 1024])
@pytest.mark.parametrize("off_middle", [0.0, 0.27, -4.5])
def test_noise_free_concentric_cell_is_left_alone(n, off_middle):
    """The requirement is 0.2 % of any material; the correction is exactly zero."""
    center = (n - 1) / 2 + off_middle
    shells = np.stack([cell(n, center, s) for s in np.linspace(0.8, 1.0, 40)])  # walls at any phase
    found = find_defects([column_statistics(projections(shells, 24))], centers=[center])
    assert found.n_offset == 0
    assert found.n_dead == 0
    assert found.n_clean_rows == 40
    before, after = materials(shells[-1], n, center), materials(shells[-1] - found.offset[-1], n, center)
    np.testing.assert_allclose(after, before, rtol=2e-3)
    np.testing.assert_allclose(before * n, [w[2] for w in WALLS], rtol=0.25)  # the reconstruction sees the cell


@pytest.mark.parametrize("n", [160, 1024])
def test_noisy_concentric_cell_keeps_its_materials(n):
    """Whatever noise makes it find, no material changes by 0.2 %."""
    center = (n - 1) / 2 + 0.13
    clean = cell(n, center)
    p = projections(np.repeat(clean[None], 24, axis=0), 180, counts=1e4)
    found = find_defects([column_statistics(p)], centers=[center])
    assert np.count_nonzero(found.offset) + found.n_dead < 0.002 * found.offset.size
    truth = materials(clean, n, center)
    change = np.abs(materials(found.offset.mean(axis=0), n, center))
    print("\nlargest change of a material, %:", np.round(100 * (change / truth).max(), 4))
    assert (change < 2e-3 * truth).all()


def smooth_places(n, center):
    """Columns at least 9 from any face and from the axis, and the same for their mirror images."""
    faces = [center + s * w * n for pair in WALLS for w in pair[:2] for s in (-1, 1)] + [center]
    distance = np.abs(np.arange(n)[:, None] - np.array(faces)[None]).min(axis=1)
    return [int(c) for c in np.flatnonzero(distance > 9) if 8 < c < n - 12]


@pytest.mark.parametrize("counts", [None, 2e4])
@pytest.mark.parametrize("n", [256, 1024])
@pytest.mark.parametrize("size", [0.005, -0.02, 0.1])
@pytest.mark.parametrize("width", [1, 2, 3])
def test_injected_columns_are_removed(n, size, width, counts):
    center = (n - 1) / 2 + 0.4
    clean = cell(n, center)
    columns = smooth_places(n, center)
    places = columns[:: max(len(columns) // 12, 1)][:12]
    n_angles = 48 if counts is None else 720
    bad = np.repeat(clean[None], len(places), axis=0)
    for row, column in enumerate(places):
        bad[row, column : column + width] += size * np.array([1, 0.8, 1.1])[:width]
    p = projections(bad, n_angles, counts)
    found = find_defects([column_statistics(p)], centers=[center])
    left = bad - clean - found.offset
    noise = 0 if counts is None else np.exp(clean / 2) / np.sqrt(counts * n_angles)
    hit = np.array([found.offset[r, c : c + width].all() for r, c in enumerate(places)])
    significant = np.array([abs(size) * np.sqrt(width) > 10 * np.max(noise * np.ones(n)[c]) for c in places])
    if significant.any():
        assert hit[significant].mean() >= 0.7
        error = np.abs(np.array([left[r, c : c + width].mean() for r, c in enumerate(places)]))
        limit = 0.05 * abs(size) + 5 * np.array([np.max((noise * np.ones(n))[c : c + width]) for c in places])
        assert (error[hit] < np.maximum(limit[hit], 1e-3)).all()


@pytest.mark.parametrize("counts", [None, 1e5])
@pytest.mark.parametrize("apart", range(2, 9))
@pytest.mark.parametrize("sizes", [(-0.01, -0.01), (-0.01, 0.012), (0.02, 0.008)])
def test_neighbouring_columns_are_both_removed(sizes, apart, counts):
    """Each lies in the other's flank up to 5 columns away."""
    n = 512
    center = (n - 1) / 2 + 0.4
    clean = cell(n, center)
    free = smooth_places(n, center)
    places = [c for c in free if set(range(c, c + apart + 1)) <= set(free)][::11]
    bad = np.repeat(clean[None], len(places), axis=0)
    for row, column in enumerate(places):
        bad[row, [column, column + apart]] += sizes
    n_angles = 48 if counts is None else 240
    found = find_defects([column_statistics(projections(bad, n_angles, counts))], centers=[center])
    at = np.array([[c, c + apart] for c in places])
    given = np.take_along_axis(found.offset, at, axis=1)
    noise = np.zeros_like(clean) if counts is None else np.exp(clean / 2) / np.sqrt(counts * n_angles)
    visible = (np.abs(sizes) > 10 * noise[at]).all(axis=1)
    assert visible.sum() >= 6
    assert (given[visible] != 0).mean() >= 0.9
    error = np.abs(given - sizes) - 6 * noise[at]
    assert error[given != 0].max() < 1e-3
    others = found.offset.copy()
    np.put_along_axis(others, at, 0, axis=1)
    assert (np.abs(others) < 5e-4 + 6 * noise).all()


def test_pairs_of_foils_are_recognised_by_their_mirror_image():
    """Two foils in each other's flanks are a pair on either side of the axis."""
    n, center = 300, 149.7
    foils = np.stack(
        [
            shell(n, center, 120 + shift, thickness) + brightness * shell(n, center, 120 + shift - apart, thickness)
            for thickness in (0.5, 1.0, 1.6, 2.5)
            for shift in np.linspace(0, 1, 8)
            for apart in range(3, 8)
            for brightness in (0.6, 1.0)
        ]
    )
    found = find_defects([column_statistics(projections(foils, 24))], centers=[center])
    assert found.n_offset + found.n_dead == 0
    assert found.n_symmetric > 0


def shell(n, center, outer, thickness):
    return 0.05 * (disc(n, center, outer) - disc(n, center, outer - thickness))


def test_a_plateau_wider_than_the_widest_gap_is_not_a_pair():
    """Its two edges are no defects: what is between must continue the outer flanks."""
    bad = np.tile(np.linspace(0.2, 0.3, 200), (5, 1))
    for row in range(5):
        bad[row, 60 : 64 + row] += 0.02
    found = find_defects([column_statistics(projections(bad, 48))])
    assert found.n_offset == 0


def rows_with_a_wall(n, center, rows):
    """A smooth cylinder; beside column 200 a wall in the middle rows, and no wall elsewhere."""
    profile = np.repeat((0.003 * disc(n, center, 0.47 * n))[None], len(rows), axis=0)
    profile[rows] += 0.001 * disc(n, center, 200.5 - center)
    return profile


def test_a_column_is_corrected_where_a_wall_hides_it():
    n, center, column = 256, 127.8, 201
    walled = (np.arange(40) >= 14) & (np.arange(40) < 24)
    clean = rows_with_a_wall(n, center, walled)
    bad = clean.copy()
    bad[:, column] -= 0.01
    statistics = [column_statistics(projections(bad, 200, counts=1e5))]
    found = find_defects(statistics, centers=[center])
    assert (found.offset[~walled, column] != 0).all()
    assert (found.offset[walled, column] == 0).sum() >= 5
    carried = along_rows(found, statistics)
    np.testing.assert_allclose(carried.offset[:, column], -0.01, atol=1.5e-3)
    assert np.array_equal(carried.offset[found.offset != 0], found.offset[found.offset != 0])
    assert carried.n_offset == np.count_nonzero(carried.offset)
    assert carried.n_clean_rows == 0


@pytest.mark.parametrize("there", [True, False])
def test_a_column_beside_a_wall_that_few_rows_hold_is_judged_by_the_mirror_image(there):
    """Rows 30 to 53 see the steep side of a wall where all other rows see air: no row of like light tells of it."""
    n, centers, column = 160, [80.97, 81.3], 31
    walled = (np.arange(96) >= 30) & (np.arange(96) < 54)
    statistics = []
    for seed, center in enumerate(centers):
        clean = 0.01 + walled[:, None] * 0.008 * (disc(n, center, 53.4) - disc(n, center, 47.0))
        bad = clean.copy()
        bad[~walled | there, column] -= 0.012
        statistics.append(column_statistics(projections(bad, 180, counts=5e4, seed=seed)))
    found = find_defects(statistics, centers=centers)
    assert (found.offset[~walled, column] != 0).all()
    assert not found.offset[walled, column].any()
    assert not along_rows(found, statistics).offset[walled].any()
    carried = along_rows(found, statistics, centers=centers).offset
    np.testing.assert_allclose(carried[walled, column], -0.012 * there, atol=1e-3)
    assert not np.delete(carried[walled], column, axis=1).any()


def test_a_wall_of_the_sample_is_not_extended():
    """What few rows take for a defect, or what has another sign or other light, is not carried to the rest."""
    statistics = [np.zeros((SEGMENTS + 1, 60, 80), np.float32)]
    statistics[0][:-1, 30:] = 1.0  # rows that see little light
    offset = np.zeros((60, 80), np.float32)
    offset[0:30:6, 10] = 0.01  # 5 of 30 rows
    offset[0:30:2, 20] = 0.01 * (-1) ** np.arange(15)
    offset[0:30:2, 30] = 0.01
    offset[0:3, 40] = 0.01
    found = defects.Defects(offset, np.zeros((60, 80), bool), np.count_nonzero(offset), 0, 0, 30)
    carried = along_rows(found, statistics).offset
    for column in (10, 20, 40):
        assert np.array_equal(carried[:, column], offset[:, column])
    np.testing.assert_allclose(carried[:30, 30], 0.01)
    assert not carried[30:].any()


def test_carrying_along_rows_finds_nothing_in_a_cell_of_walls():
    n, center = 256, 127.63
    shells = np.stack([cell(n, center, s) for s in np.linspace(0.9, 0.95, 40)])
    statistics = [column_statistics(projections(shells, 120, counts=1e4))]
    found = find_defects(statistics, centers=[center])
    assert along_rows(found, statistics).n_offset == found.n_offset


def faint_defect(size, seed=0):
    """Two scans of a cell whose upper rows see much light: a column's defect is strong below, `size` above."""
    n, center, column = 256, 127.63, 166
    rows = np.repeat(cell(n, center, 0.9)[None] * 0.1, 48, axis=0)
    rows[:16] *= 8
    rows[:16, column] += 0.02
    rows[16:, column] += size
    scans = [column_statistics(projections(rows, 200, counts=2e4, seed=seed + k)) for k in range(2)]
    return scans, [center, center], column


def test_a_defect_below_the_noise_of_a_row_is_found_in_the_mean_of_many():
    scans, centers, column = faint_defect(0.0015)
    found = find_defects(scans, centers=centers)
    unseen = found.offset[:, column] == 0
    assert unseen[16:].sum() > 20
    pooled = along_rows(found, scans, centers=centers)
    np.testing.assert_allclose(pooled.offset[16:, column][unseen[16:]], 0.0015, atol=4e-4)
    assert np.array_equal(pooled.offset[~unseen, column], found.offset[~unseen, column])
    others = np.arange(256) != column
    assert np.array_equal(pooled.offset[:, others], found.offset[:, others])
    assert pooled.n_offset == np.count_nonzero(pooled.offset)


def test_pooling_rows_finds_nothing_where_nothing_is():
    for seed in range(4):
        scans, centers, column = faint_defect(0.0, seed=10 * seed)
        found = find_defects(scans, centers=centers)
        assert (found.offset[:16, column] != 0).all()
        pooled = along_rows(found, scans, centers=centers)
        assert pooled.n_offset == found.n_offset


def test_dead_columns_and_pixels_are_interpolated():
    n, center = 512, 255.8
    clean = cell(n, center)
    p = projections(np.repeat(clean[None], 8, axis=0), 360, counts=1e4, seed=3)
    rng = np.random.default_rng(4)
    a, b, c, d = smooth_places(n, center)[5::45][:4]
    p[:, :, a] = 11.5  # no light
    p[:, :, b : b + 2] = 1.0  # stuck
    p[:, 3, c] += rng.normal(0, 0.5, 360)  # one fluctuating pixel
    p[:, 5, d] = p[0, 5, d]  # one pixel that does not respond
    found = find_defects([column_statistics(p)], centers=[center])
    assert found.dead[:, a].all()
    assert found.dead[:, b : b + 2].all()
    assert found.dead[3, c]
    assert found.dead[5, d]
    assert found.n_dead <= 8 * 3 + 2 + 4
    fixed = correct_defects(p, found.offset, found.dead)
    noise = np.exp(clean / 2) / 100
    residual = np.abs(fixed.mean(axis=0) - clean) / (noise / np.sqrt(360))
    assert residual[:, a].max() < 6
    assert residual[:, b].max() < 6
    assert residual[3, c] < 6


def test_scans_of_one_detector_share_their_defects():
    """What only one scan shows, or what moves with the sample, is no defect; pooling finds the faint ones."""
    n = 400
    centers = [199.2, 199.4, 199.1]
    shared, single = 65, 296
    statistics = []
    for i, center in enumerate(centers):
        profile = np.repeat(cell(n, center, 0.85)[None], 4, axis=0)
        profile[:, shared] += 0.004
        if i == 1:
            profile[:, single] += 0.02
        profile[:, 375 + 4 * i] += 0.03  # moves
        statistics.append(column_statistics(projections(profile, 400, counts=1e5, seed=i)))
    found = find_defects(statistics, centers=centers)
    np.testing.assert_allclose(found.offset[:, shared], 0.004, atol=5e-4)
    assert not found.offset[:, single].any()
    assert not found.offset[:, [375, 379, 383]].any()
    alone = find_defects(statistics[1:2], centers=centers[1:2])
    assert alone.offset[:, single].all()


def test_an_off_axis_grain_is_not_a_defect():
    """It turns around at one column, but is there in a small part of the rotation only."""
    n, n_angles = 256, 360
    theta = np.linspace(0, np.pi, n_angles, endpoint=False)
    grains = [(90.0, 0.3, 2.0), (60.0, 1.7, 1.5), (100.0, 2.6, 3.0)]
    base = disc(n, 127.5, 115.0) * 0.005
    p = np.stack([base + 0.3 * sum(disc(n, 127.5 + r * np.cos(t - f), s) for r, f, s in grains) for t in theta])
    noise = np.random.default_rng(0).normal(0, 0.01, (n_angles, 1, n))
    p = (p[:, None] + noise).astype(np.float32)
    found = find_defects([column_statistics(p)], centers=[127.5])
    assert found.n_offset == 0
    assert found.n_dead == 0


def test_thin_foils_are_recognised_by_their_mirror_image():
    """Foils of every thickness and phase: without the axis some pass for defects, with it none."""
    n, center = 300, 149.7
    foils = np.stack(
        [
            0.05 * (disc(n, center, 120 + shift) - disc(n, center, 120 + shift - thickness))
            for thickness in np.linspace(0.5, 3, 20)
            for shift in np.linspace(0, 1, 10)
        ]
    )
    statistics = column_statistics(projections(foils, 24))
    blind, found = find_defects([statistics]), find_defects([statistics], centers=[center])
    assert blind.n_offset + blind.n_dead > 0
    assert found.n_offset + found.n_dead == 0
    assert found.n_symmetric > 0


def test_statistics_of_white_noise():
    p = np.random.default_rng(0).normal(1.0, 0.1, (800, 3, 200)).astype(np.float32)
    statistics = column_statistics(p)
    assert statistics.shape == (SEGMENTS + 1, 3, 200)
    assert statistics.dtype == np.float32
    np.testing.assert_allclose(statistics[:-1].mean(axis=0), p.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(statistics[-1].mean(), 0.1 / np.sqrt(800), rtol=0.02)
    rows = np.concatenate([column_statistics(p[:, r : r + 1]) for r in range(3)], axis=1)
    assert np.array_equal(rows, statistics)


def test_rows_do_not_influence_each_other():
    n = 256
    bad = np.repeat(cell(n, 127.6)[None], 6, axis=0)
    bad[2, 20], bad[4, 200:202] = bad[2, 20] + 0.05, bad[4, 200:202] - 0.03
    statistics = column_statistics(projections(bad, 200, counts=1e4))
    whole = find_defects([statistics], centers=[127.6])
    for row in range(6):
        one = find_defects([statistics[:, row : row + 1]], centers=[127.6])
        assert np.array_equal(one.offset[0], whole.offset[row])
        assert np.array_equal(one.dead[0], whole.dead[row])


def test_interpolation_between_good_columns():
    p = np.arange(12, dtype=np.float32).reshape(1, 2, 6) ** 2
    dead = np.array([[1, 0, 1, 1, 0, 1], [1, 1, 1, 1, 1, 1]], bool)
    fixed = interpolate_dead(p, dead)
    np.testing.assert_allclose(fixed[0, 0], [1, 1, 6, 11, 16, 16])
    assert np.array_equal(fixed[0, 1], p[0, 1])
    assert p[0, 0, 0] == 0
    assert correct_defects(p, np.ones((2, 6)), dead)[0, 0, 1] == 0


def test_bad_input():
    p = np.zeros((24, 2, 40), np.float32)
    statistics = column_statistics(p)
    for call, message in [
        (lambda: column_statistics(p[:20]), "24 angles"),
        (lambda: find_defects([]), "one or more"),
        (lambda: find_defects([statistics[:, :, :9]]), "enough columns"),
        (lambda: find_defects([statistics], centers=[1.0, 2.0]), "centers"),
        (lambda: find_defects([statistics], max_width=0), "max_width"),
        (lambda: correct_defects(p, np.zeros((2, 39)), np.zeros((2, 39), bool)), "row, column"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
    assert defects.PASSES > 1


def test_rows_do_not_depend_on_how_many_are_searched_at_a_time(monkeypatch):
    center = 159.5
    shells = np.stack([cell(320, center, s) for s in np.linspace(0.8, 1.0, 24)])
    shells[3:20, 47] += 0.05
    shells[7, 210:212] -= 0.03
    statistics = [column_statistics(projections(shells, 48, 1e4, seed)) for seed in (1, 2)]
    whole = find_defects(statistics, centers=[center] * 2)
    assert whole.n_offset > 5
    monkeypatch.setattr(defects, "BAND_BYTES", 1)
    single = find_defects(statistics, centers=[center] * 2)
    for field in ("offset", "dead", "n_symmetric", "n_clean_rows"):
        np.testing.assert_array_equal(getattr(single, field), getattr(whole, field))
