from functools import cache

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from xct_pipeline.acquisition.steps import Frame
from xct_pipeline.config import Fourier, Iterative
from xct_pipeline.engine.blocks import apply_ops, regions_of
from xct_pipeline.reconstruction import fourier
from xct_pipeline.reconstruction.steps.upright import judged, upright_op
from xct_pipeline.reconstruction.tilt import TiltError, TiltEstimate, chosen_angles, estimate_tilt, opposite_views
from xct_pipeline.simulation.phantom import disc, ellipsoid, project

ROWS, COLUMNS, CENTER = 64, 80, 41.3
HALF, WHOLE = np.linspace(0, np.pi, 121), np.arange(180) * np.pi / 90
PHOTONS = 4e4


def sample(seed: int = 0):
    """A holder with grains, from the lowest row to the highest, that is not symmetric."""
    rng = np.random.default_rng(seed)
    grains = []
    for z in np.linspace(2, ROWS - 3, 40):
        distance, angle = 26 * np.sqrt(rng.uniform()), rng.uniform(0, 2 * np.pi)
        place = (z, distance * np.sin(angle), distance * np.cos(angle))
        grains.append(ellipsoid(place, tuple(rng.uniform(1.5, 4, 3)), rng.uniform(5, 20)))
    return [disc(-200, 200, 32, 2.0), ellipsoid((30, 4, -6), (9, 14, 20), 4.0), *grains]


def views(angles, tilt=0.0, lean=0.0, seed=0, noise=False):
    return seen(tuple(angles), tilt, lean, seed, noise).copy()


@cache
def seen(angles, tilt, lean, seed, noise):
    p = project(
        sample(seed),
        list(angles),
        rows=ROWS,
        columns=COLUMNS,
        center=CENTER,
        pixel_size_um=10.0,
        supersample=3,
        axis_tilt=np.radians(tilt),
        axis_lean=np.radians(lean),
    )
    p = gaussian_filter(p, (0, 0.6, 0.6))  # the point spread of a detector
    if noise:
        counts = np.random.default_rng(1000 + seed).poisson(PHOTONS * np.exp(-p))
        p = -np.log(np.maximum(counts, 1) / PHOTONS)
    return p.astype(np.float32)


@pytest.mark.parametrize(
    ("angles", "tilt", "lean", "within"),
    [
        (HALF, 0.0, 0.0, 0.02),
        (HALF, 0.1, -0.3, 0.02),
        (HALF, 1.0, 0.1, 0.02),
        (HALF[:-1], -0.3, 0.2, 0.04),
        (WHOLE, -0.3, 1.0, 0.02),
    ],
)
def test_both_angles_are_found(angles, tilt, lean, within):
    found = estimate_tilt(views(angles, tilt, lean), angles)
    assert found.tilt_deg == pytest.approx(tilt, abs=within)
    assert found.lean_deg == pytest.approx(lean, abs=max(0.02, 0.03 * abs(lean)))
    assert found.center == pytest.approx(CENTER, abs=0.03)
    assert abs(found.lift) < 0.02


def test_the_sample_that_moved_up_is_told_apart_from_a_tilt():
    p = views(HALF, 0.3)
    p[-1, 1:] = 0.5 * (p[-1, 1:] + p[-1, :-1])
    found = estimate_tilt(p, HALF)
    assert found.lift == pytest.approx(0.5, abs=0.05)
    assert found.tilt_deg == pytest.approx(0.3, abs=0.03)


def test_order_and_direction_of_the_angles_do_not_matter():
    p, shuffled = views(HALF, 0.4), np.random.default_rng(0).permutation(len(HALF))
    found = estimate_tilt(p[shuffled], HALF[shuffled] + 2 * np.pi)
    assert found.tilt_deg == pytest.approx(0.4, abs=0.02)


@pytest.mark.slow
def test_errors_are_as_large_as_they_are_said_to_be():
    pulls = []
    for seed in range(40):
        found = estimate_tilt(views(HALF, 0.3, 0.2, seed, noise=True), HALF)
        pulls.append(
            [
                (found.tilt_deg - 0.3) / found.tilt_sigma,
                (found.lean_deg - 0.2) / found.lean_sigma,
                found.lift / found.lift_sigma,
            ]
        )
    wide = np.sqrt(np.mean(np.square(pulls), axis=0))
    assert np.all((wide > 0.75) & (wide < 1.25)), wide


def test_views_that_do_not_tell_are_refused():
    with pytest.raises(TiltError, match="half a turn"):
        opposite_views(np.linspace(0, 2.5, 60))
    with pytest.raises(TiltError):
        estimate_tilt(np.zeros((len(HALF), ROWS, COLUMNS), np.float32), HALF)
    with pytest.raises(TiltError, match="too few"):
        estimate_tilt(views(HALF)[:, :, 30:50], HALF)
    with pytest.raises(TiltError, match="rows"):
        estimate_tilt(views(HALF)[:, 20:32], HALF)


@pytest.mark.parametrize("angles", [HALF, WHOLE, WHOLE[::-1]])
def test_chosen_projections_keep_their_partners(angles):
    chosen = chosen_angles(angles, 20)
    assert len(chosen) <= 22
    assert opposite_views(angles[chosen])


def test_a_tilt_is_corrected_beyond_its_error_and_where_it_moves_the_axis():
    def of(tilt, sigma, lean=0.0):
        return judged(TiltEstimate(tilt, sigma, lean, 0.01, 0.0, 0.01, 40.0, 1), 64, 80, Fourier())

    assert of(0.5, 0.01).corrected_deg == 0.5
    assert "turned upright" in of(0.5, 0.01).warnings[0]
    assert of(0.5, 0.2).corrected_deg == 0.0
    assert of(0.1, 0.01).corrected_deg == 0.0  # 0.06 pixels at the edge
    assert of(0.0, 0.01, 0.5).lean_corrected_deg == 0.5
    assert "rays that lean" in of(0.0, 0.01, 0.5).warnings[0]
    assert of(0.0, 0.01, 0.1).lean_corrected_deg == 0.0  # 0.07 pixels at the edge
    nan = float("nan")
    assert judged(TiltEstimate(0.0, 0.01, nan, nan, 0.0, 0.01, 40.0, 1), 64, 80, Fourier()).warnings == ()


@pytest.mark.parametrize(
    ("settings", "sigma", "lean", "said"),
    [
        (Fourier(lean="none"), 0.01, 0.0, "not corrected"),
        (Iterative(method="iterative"), 0.01, 0.0, 'only method = "fourier"'),
        (Fourier(), 0.05, 0.0, "give lean where it is known"),
        (Fourier(lean=0.8), 0.01, 0.8, "lean = 0.8 is given"),
        (Fourier(lean=0.49), 0.01, 0.49, None),
    ],
)
def test_a_lean_that_is_left_or_differs_from_what_is_given_is_told(settings, sigma, lean, said):
    known = judged(TiltEstimate(0.0, 0.01, 0.5, sigma, 0.0, 0.01, 40.0, 1), 64, 80, settings)
    assert known.lean_corrected_deg == lean
    assert (said in known.warnings[0]) if said else known.warnings == ()


@pytest.mark.parametrize(("lift", "told", "sigma"), [(0.05, True, 0.07), (2.0, False, 0.86)])
def test_a_lean_that_a_lift_may_pass_for_is_within_its_error(lift, told, sigma):
    known = judged(TiltEstimate(0.0, 0.01, -0.95, 0.07, lift, 0.01, 40.0, 1), 64, 80, Fourier())
    assert known.found is not None
    assert known.found.lean_sigma == pytest.approx(sigma, abs=0.01)
    assert any("leans along the beam" in said for said in known.warnings) is told
    assert any("moved by" in said for said in known.warnings) is not told
    clear = judged(TiltEstimate(0.0, 0.01, 2.5, 0.07, 0.3, 0.01, 40.0, 1), 64, 80, Fourier())
    assert clear.lean_corrected_deg == 2.5  # far beyond what the lift makes


def test_only_the_fourier_method_takes_a_lean():
    with pytest.raises(ValueError, match='method = "fourier" alone'):
        Iterative(method="iterative", lean=0.3)
    with pytest.raises(ValueError, match="at most 3 degrees"):
        Fourier(lean=4.0)


FRAME = Frame(len(HALF), ROWS, COLUMNS, 0, 1)


def turned(p, tilt, rows=slice(0, ROWS)):
    op = upright_op(FRAME, tilt)
    regions = regions_of((op,), (slice(0, len(p)), rows, slice(0, COLUMNS)))
    return apply_ops((op,), p[regions[0]], regions)[0]


def sharpness(volume, rows):
    """How steep the faces are in a band of rows."""
    band = volume[rows]
    return np.sqrt(np.mean(np.gradient(band, axis=1) ** 2 + np.gradient(band, axis=2) ** 2))


@pytest.mark.parametrize("tilt", [0.3, -1.0])
def test_the_corrected_volume_is_as_sharp_at_both_edges_as_in_the_middle(tilt):
    straight = fourier.reconstruct(views(HALF), HALF, center=CENTER, pixel_size_um=10.0)
    tilted = views(HALF, tilt)
    upright = fourier.reconstruct(turned(tilted, tilt), HALF, center=CENTER, pixel_size_um=10.0)
    bands = [slice(3, 15), slice(26, 38), slice(49, 61)]
    upper, middle, lower = (sharpness(upright, band) / sharpness(straight, band) for band in bands)
    assert upper == pytest.approx(middle, rel=0.05)
    assert lower == pytest.approx(middle, rel=0.05)
    assert upright[3:-3].sum() == pytest.approx(straight[3:-3].sum(), rel=2e-3)
    off = [np.std(v[4:16] - straight[4:16]) for v in (upright, fourier.reconstruct(tilted, HALF, center=CENTER))]
    assert off[0] < off[1] / 2


def test_turning_gives_the_same_bits_whatever_the_block():
    p = views(HALF, 0.7)[:5]
    whole = turned(p, 0.7)
    parts = [turned(p, 0.7, slice(first, first + 16)) for first in range(0, ROWS, 16)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


def test_nothing_is_done_without_a_tilt():
    assert upright_op(FRAME, 0.0) is None
