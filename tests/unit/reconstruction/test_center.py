"""Centre of rotation against closed-form sinograms of ellipses (bin-averaged, fractional centres)."""

from __future__ import annotations

import time

import numpy as np
import pytest

from xct_pipeline.reconstruction.center.find import center_from_overlap, choose_rows, find_center, row_content
from xct_pipeline.reconstruction.center.half_turns import half_turns
from xct_pipeline.reconstruction.center.metric import center_from_metric
from xct_pipeline.reconstruction.center.pair import center_from_pair
from xct_pipeline.reconstruction.center.rows import column_values, outlying_columns

WIDTH, STEPS = 192, 180


def area(s, t):
    t = np.clip(t, -s, s)
    return 0.5 * (t * np.sqrt(np.maximum(s * s - t * t, 0)) + s * s * np.arcsin(t / s))


def ellipses_sinogram(bodies, angles, width, center):
    """Exact bin averages of the projections of ellipses (x, y, a, b, phi, value)."""
    edges = np.arange(width + 1) - 0.5 - center
    out = np.zeros((len(angles), width))
    for x, y, a, b, phi, value in bodies:
        s = np.hypot(a * np.cos(angles - phi), b * np.sin(angles - phi))[:, None]
        t = edges - (x * np.cos(angles) + y * np.sin(angles))[:, None]
        out += np.diff(2 * value * a * b / s**2 * area(s, t), axis=1)
    return out


def blobs(rng, radius):
    bodies = [(0.03 * radius, -0.02 * radius, 0.9 * radius, 0.8 * radius, rng.uniform(0, 3), 1 / radius)]
    for _ in range(12):
        r, t = 0.7 * radius * np.sqrt(rng.uniform()), rng.uniform(0, 2 * np.pi)
        a, b = radius * rng.uniform(0.03, 0.2, 2)
        bodies.append((r * np.cos(t), r * np.sin(t), a, b, rng.uniform(0, 3), rng.uniform(-0.6, 1) / radius))
    return bodies


def cell(rng, radius, off_axis=1.3):
    """An operando cell: walls (almost) concentric with the axis and four small features."""
    t = rng.uniform(0, 2 * np.pi)
    x, y = off_axis * np.cos(t), off_axis * np.sin(t)
    bodies = [
        (x, y, radius, radius, 0, 1 / radius),
        (x, y, 0.9 * radius, 0.9 * radius, 0, -0.7 / radius),
        (0.8 * x, 0.8 * y, 0.6 * radius, 0.6 * radius, 0, 0.8 / radius),
    ]
    for _ in range(4):
        r, t = 0.5 * radius * np.sqrt(rng.uniform()), rng.uniform(0, 2 * np.pi)
        a = radius * rng.uniform(0.03, 0.06)
        bodies.append((r * np.cos(t), r * np.sin(t), a, a, 0, rng.uniform(-0.3, 0.3) / radius))
    return bodies


def simulate(
    angles, center, *, sample=blobs, seed=0, rows=8, width=WIDTH, radius=0.43, counts=2e4, tilt=0.0, **options
):
    """Sinograms (angle, row, column) with the noise of projections and flats."""
    rng = np.random.default_rng(seed)
    out = []
    for r in range(rows):
        at = center + tilt * (r - (rows - 1) / 2)
        p = ellipses_sinogram(sample(rng, radius * width, **options), angles, width, at)
        if counts:
            flat = rng.poisson(20 * counts, width) / 20
            p = -np.log(np.maximum(rng.poisson(counts * np.exp(-p)), 1) / flat)
        out.append(p)
    return np.stack(out, axis=1).astype(np.float32)


def angle_set(kind):
    step = np.pi / STEPS
    closed, jitter = np.linspace(0, np.pi, STEPS + 1), np.random.default_rng(9).normal(0, 0.1 * step, STEPS + 1)
    return {
        "closed": closed,
        "open": closed[:-1],
        "descending": closed[::-1] - 1,
        "wrapped": np.mod(closed + 5, 2 * np.pi),
        "jittered": closed + jitter,
        "jittered open": (closed + jitter)[:-1],
        "golden": np.mod(np.arange(STEPS) * np.pi * 0.6180339887, np.pi),
        "199 degrees": np.arange(int(1.105 * STEPS)) * step,
        "whole turn": np.arange(2 * STEPS) * step,
        "whole turn closed": np.linspace(0, 2 * np.pi, 2 * STEPS + 1),
        "beyond a turn": np.arange(int(2.3 * STEPS)) * step,
    }[kind]


KINDS = [
    "closed",
    "open",
    "descending",
    "wrapped",
    "jittered",
    "jittered open",
    "golden",
    "199 degrees",
    "whole turn",
    "whole turn closed",
    "beyond a turn",
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sample", [blobs, cell])
def test_every_set_of_angles_gives_the_centre_within_three_hundredths(kind, sample):
    angles = angle_set(kind)
    found = find_center(simulate(angles, 93.37, sample=sample, seed=len(kind)), angles)
    assert abs(found.center - 93.37) < 0.03
    assert abs(found.center - 93.37) < 4 * found.sigma
    assert found.sigma < 0.03
    assert abs(found.metric_center - 93.37) < 0.2
    assert found.method == "registration"
    assert found.warnings == ()


@pytest.mark.parametrize("kind", ["closed", "open", "whole turn"])
@pytest.mark.parametrize("center", [90.0, 95.5, 101.23])
def test_without_noise_the_error_is_a_few_thousandths(kind, center):
    angles = angle_set(kind)
    found = find_center(simulate(angles, center, counts=0, rows=3), angles)
    assert abs(found.center - center) < 0.003
    assert found.sigma < 0.01


@pytest.mark.parametrize("kind", ["closed", "open", "whole turn"])
@pytest.mark.parametrize("case", ["far off axis", "exactly concentric", "wider than the detector"])
def test_hard_samples(kind, case):
    angles = angle_set(kind)
    options = {
        "far off axis": {"sample": lambda rng, r: [(0.25 * WIDTH + rng.normal(), 9, 8, 5, 1.0, 0.03)]},
        "exactly concentric": {"sample": cell, "off_axis": 0.0},
        "wider than the detector": {"sample": blobs, "radius": 0.65, "counts": 0},
    }[case]
    found = find_center(simulate(angles, 97.71, **options), angles)
    assert abs(found.center - 97.71) < 0.03


def test_air_level_and_beam_drift_do_not_move_the_centre():
    angles = angle_set("closed")
    clean = simulate(angles, 94.4)
    rng = np.random.default_rng(2)
    level = np.cumsum(rng.normal(0, 0.02, len(angles)))[:, None, None]
    slope = 0.03 * np.linspace(-1, 1, len(angles))[:, None, None] * np.linspace(-1, 1, WIDTH)
    a, b = (find_center(x.astype(np.float32), angles) for x in (clean, clean + level + slope))
    assert abs(a.center - b.center) < 0.01
    assert abs(b.center - 94.4) < 0.03


@pytest.mark.parametrize("sample", [blobs, cell])
def test_defective_columns_are_left_out(sample):
    angles = angle_set("closed")
    data = simulate(angles, 94.4, sample=sample)
    for column, offset in ((20, 0.2), (50, -0.15), (51, -0.1), (110, 0.3), (160, 0.1)):
        data[:, :, column] += offset
    data[:, :, 77] = 0
    data[:, :, 140] = np.nan
    data[7, 2, 30] = np.inf
    found = find_center(data, angles)
    assert abs(found.center - 94.4) < 0.03
    marked = outlying_columns(column_values(data[:, 0]), 94.4)
    assert marked[[20, 50, 77, 110, 140, 160]].all()
    assert marked.mean() < 0.2


def test_walls_concentric_with_the_axis_are_no_defects():
    angles = angle_set("closed")
    thin = simulate(
        angles,
        95.0,
        counts=0,
        rows=1,
        sample=lambda rng, r: [(0, 0, 70, 70, 0, 0.05), (0, 0, 69, 69, 0, -0.05), (20, 9, 8, 8, 0, 0.01)],
    )
    assert outlying_columns(column_values(thin[:, 0]))[24:28].any()  # alone, a wall one pixel thick looks like a stripe
    assert not outlying_columns(column_values(thin[:, 0]), 95.0).any()


@pytest.mark.parametrize(("center", "side"), [(38.3, "left"), (151.8, "right")])
def test_half_acquisition_finds_side_and_overlap(center, side):
    angles = angle_set("whole turn")
    radius = 0.95 * max(center, WIDTH - 1 - center) / WIDTH
    data = simulate(angles, center, radius=radius)
    rough, rough_side, overlap, match = center_from_overlap(data, angles)
    assert abs(rough - center) < 0.3
    assert rough_side == side
    assert overlap == pytest.approx(2 * min(center, WIDTH - 1 - center) + 1, abs=0.6)
    assert match > 0.5
    found = find_center(data, angles)
    assert abs(found.center - center) < 0.03
    assert (found.method, found.side, found.second_method) == ("overlap", side, "overlap")
    assert found.agreement < 0.3


def test_tilt_is_found_with_its_error_and_reported():
    angles = angle_set("closed")
    rows = 10 * np.arange(8)
    found = find_center(simulate(angles, 94.4, tilt=0.1, sample=cell), angles, rows)
    truth = np.degrees(np.arctan(0.01))
    assert found.tilted
    assert abs(found.tilt_deg - truth) < 4 * found.tilt_sigma
    assert found.tilt_sigma < 0.3 * truth
    assert abs(found.center - (94.4 + 0.01 * (found.row - 35))) < 0.03
    assert any("tilted" in w for w in found.warnings)
    straight = find_center(simulate(angles, 94.4, sample=cell), angles, rows)
    assert not straight.tilted
    assert abs(straight.tilt_deg) < 4 * straight.tilt_sigma


@pytest.mark.parametrize(("kind", "rows"), [("open", 8), ("closed", 3), ("whole turn", 4)])
def test_sigma_matches_the_scatter_of_errors(kind, rows):
    pulls = []
    step = np.pi / 80
    angles = np.arange(81 if kind == "closed" else 160 if kind == "whole turn" else 80) * step
    for seed in range(16):
        center = 47.5 + 0.31 * seed
        data = simulate(angles, center, seed=seed, rows=rows, width=100, counts=3e3, sample=cell)
        found = find_center(data, angles)
        pulls.append((found.center - center) / found.sigma)
    assert 0.3 < np.sqrt(np.mean(np.square(pulls))) < 1.5
    assert np.max(np.abs(pulls)) < 4


def test_pairs_alone_give_the_centre_anywhere_on_the_detector():
    angles = np.array([0.3, 0.3 + np.pi])
    for center in (70.2, 95.5, 130.9):
        data = simulate(angles, center, radius=0.3)
        found = center_from_pair(data[0] + 0.3, data[1])
        assert abs(found.center - center) < 0.03
    with pytest.raises(ValueError, match="differ in shape"):
        center_from_pair(data[0], data[1, :3])


def test_metric_alone_and_scans_far_from_half_a_turn():
    angles = angle_set("open")
    center, curve = center_from_metric(simulate(angles, 98.6, rows=4), angles)
    assert abs(center - 98.6) < 0.2
    assert abs(curve[0, np.argmin(curve[1])] - 98.6) < 0.3
    short = angles[: int(165 / 180 * STEPS)]
    found = find_center(simulate(short, 98.6, sample=cell), short)
    assert found.method == "metric"
    assert abs(found.center - 98.6) < 1
    assert found.sigma >= 0.5
    assert "half a turn" in found.warnings[0]


def test_a_disagreement_is_a_warning_and_no_average():
    angles = angle_set("closed")
    data = simulate(angles, 94.4)
    middle = data.copy()
    middle[1:-1] = np.roll(middle[1:-1], 1, axis=2)  # all but the pair moved: the two methods must differ
    found = find_center(middle, angles, disagreement=0.05)
    if found.agreement > max(0.05, 3 * found.sigma):
        assert any("that is used" in w for w in found.warnings)
    assert found.agreement == abs(found.center - found.metric_center)


def test_a_tilt_that_is_known_is_not_told_from_a_few_rows():
    angles = angle_set("closed")
    data = simulate(angles, 94.4, tilt=0.1)
    asked = find_center(data, angles)
    assert asked.tilted
    assert any("the rotation axis is tilted" in text for text in asked.warnings)
    known = find_center(data, angles, known_tilt=(5.7, 0.01))
    assert known.warnings == ()
    assert (known.tilt_deg, known.tilt_sigma) == (5.7, 0.01)
    assert known.center == asked.center


def test_rows_are_chosen_for_content():
    angles = angle_set("open")[::20]
    data = np.random.default_rng(1).normal(0, 0.02, (len(angles), 40, WIDTH)).astype(np.float32)
    data[:, 12:34] += simulate(angles, 95.5, rows=22, counts=0)
    data[:, 3, 60] += 3.0  # a hot pixel is no structure
    content = row_content(data)
    rows = choose_rows(content, 6)
    assert len(rows) == 6
    assert rows.min() >= 12
    assert rows.max() < 34
    assert np.ptp(rows) > 12
    assert (np.diff(rows) > 0).all()
    assert list(choose_rows(np.array([0.0, 2.0, 0.0]), 5)) == [1]
    with pytest.raises(ValueError, match="no detector row"):
        choose_rows(np.zeros(9), 3)


def test_half_turns_are_told_apart():
    assert half_turns(angle_set("closed")).kind == "closed"
    assert half_turns(angle_set("descending")).kind == "closed"
    assert half_turns(angle_set("open")).kind == "open"
    assert half_turns(angle_set("whole turn")).kind == "full"
    assert half_turns(angle_set("199 degrees")).starts[1] == pytest.approx(np.radians(18), abs=0.02)
    assert half_turns(np.radians(np.arange(0, 160, 1.0))).kind == "short"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d, a: (d[:, 0], a), "angle, row, column"),
        (lambda d, a: (d, a[:-1]), "angles do not fit"),
        (lambda d, a: (d, np.where(a > 1, np.nan, a)), "not finite"),
        (lambda d, a: (d[:2], a[:2]), "at least 3 angles"),
        (lambda d, a: (np.zeros_like(d), a), "centre of rotation was not found"),
        (lambda d, a: (np.random.default_rng(0).normal(size=d.shape), a), "centre of rotation was not found"),
        (lambda d, a: (np.full_like(d, np.nan), a), "usable columns"),
    ],
)
def test_bad_input_is_one_clear_sentence(change, message):
    angles = angle_set("closed")
    data, angles = change(simulate(angles, 94.4, rows=2), angles)
    with pytest.raises(ValueError, match=message):
        find_center(data, angles)


def test_a_centre_outside_the_search_is_an_error():
    angles = angle_set("closed")
    data = simulate(angles, 94.4, rows=2)
    with pytest.raises(ValueError, match="outside the columns 100 to 120"):
        find_center(data, angles, search=(100, 120))
    with pytest.raises(ValueError, match="3 detector rows do not fit 2"):
        find_center(data, angles, [1, 2, 3])


def test_equal_input_gives_equal_bits_and_is_not_changed():
    angles = angle_set("open")
    data = simulate(angles, 94.4, rows=2)
    kept = data.copy()
    a, b = find_center(data, angles), find_center(data, angles)
    assert (a.center, a.sigma, a.metric_center) == (b.center, b.sigma, b.metric_center)
    assert np.array_equal(data, kept)


@pytest.mark.slow
@pytest.mark.alone
def test_a_full_scan():
    angles = np.linspace(0, np.pi, 1801)
    data = simulate(angles, 1031.37, width=2048, rows=8, sample=cell, counts=1e4)
    start = time.process_time()
    found = find_center(data, angles)
    spent = time.process_time() - start
    print(f"centre at 1801 x 8 x 2048: {spent:.2f} CPU-s, error {found.center - 1031.37:+.4f} pixels")
    assert abs(found.center - 1031.37) < 0.03


@pytest.mark.parametrize(("center", "noise", "error"), [(220.4, 0.0, 0.01), (30.4, 0.0, 0.01), (220.4, 0.005, 0.1)])
def test_half_acquisition_of_a_sample_that_is_smooth_about_the_axis(center, noise, error):
    """A disc without any edge in the overlap: registration has nothing to match and is pixels off."""
    angles = np.linspace(0, 2 * np.pi, 361)
    shift = 18 * np.cos(angles) - 12 * np.sin(angles)
    edge = np.clip(np.arange(257) - 0.5 - center - shift[:, None], -90, 90)
    sinogram = 8e-3 * np.diff(edge * np.sqrt(8100 - edge**2) + 8100 * np.arcsin(edge / 90), axis=1)
    rng = np.random.default_rng(3)
    rows = (sinogram[:, None] + noise * rng.normal(size=(361, 4, 256))).astype(np.float32)
    found = find_center(rows, angles)
    assert abs(found.center - center) < max(error, 4 * found.sigma)
    assert found.sigma < 0.1
    assert (found.method, found.side) == ("overlap", "right" if center > 128 else "left")
    assert any("that is used" in w for w in found.warnings)
