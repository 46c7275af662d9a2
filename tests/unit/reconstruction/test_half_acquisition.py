"""Full-turn scans with the axis off the middle against the closed form of the wide view."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import closed_form as cf

from xct_pipeline.reconstruction import fourier, half_acquisition

N = 100


def scan(side, center, jitter=0.0, n_angles=400):
    rng = np.random.default_rng(0)
    angles = (np.arange(n_angles) + jitter * rng.uniform(-0.5, 0.5, n_angles)) * 2 * np.pi / n_angles
    size = half_acquisition.full_size(N, center, side)
    ellipses = cf.phantom(0.46 * size)
    return cf.sinogram(ellipses, angles, N, center)[:, None].astype(np.float32), angles, ellipses, size


def full_view(ellipses, size, n_angles=200):
    """What a detector as wide as the joined view would give over half a turn."""
    angles, center = np.arange(n_angles) * np.pi / n_angles, (size - 1) / 2 + 0.2
    data = cf.sinogram(ellipses, angles, size, center)[:, None].astype(np.float32)
    return fourier.reconstruct(data, angles, center=center)[0]


@pytest.mark.parametrize(("side", "center"), [("left", 12.3), ("right", 82.6), ("right", 80.0), ("left", 15.75)])
@pytest.mark.parametrize("jitter", [0.0, 0.2])
def test_both_ways_match_a_wide_detector(side, center, jitter):
    data, angles, ellipses, size = scan(side, center, jitter)
    truth, disc = cf.image(ellipses, size), cf.disc(size)
    wide = cf.rmse(full_view(ellipses, size), truth, disc)
    weighted, out_angles, axis = half_acquisition.weigh(data, angles, center=center, side=side)
    image = fourier.reconstruct(weighted, out_angles, center=axis, size=size)[0]
    assert cf.rmse(image, truth, disc) < 1.05 * wide
    assert abs((image - truth)[disc].mean()) < 2e-3
    stitched, out_angles, axis = half_acquisition.stitch(data, angles, center=center, side=side)
    assert stitched.shape[2] == size
    image = fourier.reconstruct(stitched, out_angles, center=axis, size=size)[0]
    assert cf.rmse(image, truth, disc) < 1.10 * wide
    assert abs((image - truth)[disc].mean()) < 2e-3


def test_stitching_even_angles_about_a_column_is_exact():
    data, angles, ellipses, _ = scan("right", 80.0)
    stitched, out_angles, axis = half_acquisition.stitch(data, angles, overlap=39, side="right")
    assert axis == 80.0
    np.testing.assert_allclose(out_angles, np.arange(200) * np.pi / 200, atol=1e-8)
    expected = cf.sinogram(ellipses, out_angles, stitched.shape[2], axis)
    np.testing.assert_allclose(stitched[:, 0], expected, atol=1e-3)


def test_descending_angles_give_the_same_view():
    data, angles, _, _ = scan("left", 15.5)
    a, angles_a, _ = half_acquisition.stitch(data, angles, center=15.5, side="left")
    b, angles_b, _ = half_acquisition.stitch(data[::-1], angles[::-1], center=15.5, side="left")
    np.testing.assert_allclose(angles_a, angles_b)
    np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.mark.parametrize("side", ["left", "right"])
def test_ramp_weights_of_mirrored_columns_sum_to_one(side):
    center = 20.5 if side == "left" else 78.5
    weights = half_acquisition.ramp_weights(N, center, side)
    column = np.arange(N)
    partner = np.round(2 * center - column).astype(int)
    both = (partner >= 0) & (partner < N)
    np.testing.assert_allclose(weights[both] + weights[partner[both]], 1.0)
    assert (weights[~both] == 1.0).all()


def test_overlap_and_center_agree():
    assert half_acquisition.center_of_overlap(41, "left", 100) == 20
    assert half_acquisition.center_of_overlap(41, "right", 100) == 79


def test_bad_input():
    data, angles, _, _ = scan("left", 15.5)
    with pytest.raises(ValueError, match="not near the right edge"):
        half_acquisition.weigh(data, angles, center=15.5, side="right")
    with pytest.raises(ValueError, match="left or right"):
        half_acquisition.stitch(data, angles, center=15.5, side="top")
    with pytest.raises(ValueError, match="full turn"):
        half_acquisition.weigh(data[:200], angles[:200], center=15.5, side="left")
    with pytest.raises(ValueError, match="full turn"):
        half_acquisition.stitch(data[:200], angles[:200], center=15.5, side="left")
    with pytest.raises(ValueError, match="either the overlap or the center"):
        half_acquisition.stitch(data, angles, side="left")
