"""The Fourier core against closed forms, exact filtered back-projection, and its own identities."""

import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import closed_form as cf

from xct_pipeline.reconstruction import fourier, truncation
from xct_pipeline.reconstruction.filters import angular_weights


def half_turn(n):
    return np.arange(n) * np.pi / n


def sinograms(ellipses, angles, n, center, rows=1):
    return np.repeat(cf.sinogram(ellipses, angles, n, center)[:, None].astype(np.float32), rows, axis=1)


@pytest.mark.parametrize(("n", "center"), [(96, 46.3), (97, 48.0), (96, 56.77)])
def test_no_worse_than_exact_filtered_back_projection(n, center):
    angles, ellipses = half_turn(141), cf.phantom(0.38 * n)
    data, truth, disc = sinograms(ellipses, angles, n, center), cf.image(ellipses, n), cf.disc(n)
    exact = cf.exact_fbp(data[:, 0].astype(float), angles, center, n)
    # the limits are twice what was measured
    for width, limit in ((4, 1.2e-3), (6, 3e-4)):
        image = fourier.reconstruct(data, angles, center=center, kernel_width=width)[0]
        assert cf.rmse(image, truth, disc) <= 1.02 * cf.rmse(exact, truth, disc)
        assert cf.rmse(image, exact, disc) < limit


@pytest.mark.slow
@pytest.mark.parametrize(("n", "n_angles", "center"), [(1024, 901, 510.7), (2048, 1801, 1030.4)])
def test_no_worse_than_exact_at_full_size(n, n_angles, center):
    pytest.importorskip("ducc0", reason="the exact reference at this size needs ducc0's non-uniform FFT")
    angles, ellipses = half_turn(n_angles), cf.phantom(0.49 * n)
    data, truth, disc = sinograms(ellipses, angles, n, center), cf.image(ellipses, n), cf.disc(n)
    exact = cf.exact_fbp(data[:, 0].astype(float), angles, center, n)
    image = fourier.reconstruct(data, angles, center=center, fft="scipy")[0]
    assert cf.rmse(image, truth, disc) <= 1.02 * cf.rmse(exact, truth, disc)


@pytest.mark.parametrize(("n", "size"), [(64, 64), (65, 80), (70, 51)])
@pytest.mark.parametrize("pad", ["edge", "zero"])
def test_fast_path_equals_the_plain_formulation(n, size, pad):
    rng = np.random.default_rng(0)
    angles = rng.uniform(-4, 9, 50)
    data = rng.standard_normal((50, 7, n), dtype=np.float32) + 1
    fast = fourier.reconstruct(data, angles, center=n / 2 - 3.3, size=size, pad=pad, fft="scipy")
    plan = fourier._make_plan(
        angles,
        n,
        size,
        n / 2 - 3.3,
        lambda padded: fourier._response(padded, name="ram-lak", cutoff=1.0, order=8.0, scale=1.0),
        pad,
        4,
        None,
    )
    plain = fourier._group_plain(data, plan)[:7]
    # both sum in float32, in another order
    assert np.abs(fast - plain).max() < 2e-5 * np.abs(plain).max()


def test_a_disc_has_its_attenuation_in_every_unit():
    n, angles = 96, half_turn(151)
    data = sinograms([cf.Ellipse(0.02, 5, -4, 30, 30)], angles, n, 46.2)
    grid = np.arange(n) - (n - 1) / 2
    core = (grid[None] - 5) ** 2 + (grid[:, None] + 4) ** 2 < 25**2
    image = fourier.reconstruct(data, angles, center=46.2)[0]
    assert image[core].mean() == pytest.approx(0.02, rel=5e-4)
    scaled = fourier.reconstruct(data, angles, center=46.2, pixel_size_um=2.5)[0]
    np.testing.assert_allclose(scaled, image * 4000, atol=5e-3)
    for name in ("shepp-logan", "cosine", "hann", "hamming", "butterworth"):
        smooth = fourier.reconstruct(data, angles, center=46.2, filter=name, cutoff=0.8)[0]
        assert smooth[core].mean() == pytest.approx(0.02, rel=5e-3), name


def test_rows_of_the_image_follow_y():
    n, angles = 64, half_turn(91)
    image = fourier.reconstruct(sinograms([cf.Ellipse(1, 10, -15, 4, 4)], angles, n, 31.5), angles, center=31.5)
    y, x = np.unravel_index(image[0].argmax(), (n, n))
    assert abs(x - 41.5) < 5
    assert abs(y - 16.5) < 5


def test_adding_a_quarter_turn_rotates_the_image():
    n, angles = 64, half_turn(90)
    data = sinograms(cf.phantom(28), angles, n, 30.6)
    image = fourier.reconstruct(data, angles, center=30.6)
    turned = fourier.reconstruct(data, angles + np.pi / 2, center=30.6)
    # x -> y: what was along x now lies along y
    np.testing.assert_allclose(turned[0], np.rot90(image[0], -1), atol=3e-3)


def test_moving_the_detector_moves_nothing():
    n, angles = 80, half_turn(90)
    ellipses = cf.phantom(30)
    a = fourier.reconstruct(sinograms(ellipses, angles, n, 39.5), angles, center=39.5)
    b = fourier.reconstruct(sinograms(ellipses, angles, n, 42.5), angles, center=42.5)
    np.testing.assert_allclose(a, b, atol=2e-4)


def test_order_and_turns_of_the_angles_do_not_matter():
    n, angles = 64, half_turn(80)
    data = sinograms(cf.phantom(28), angles, n, 30.6)
    image = fourier.reconstruct(data, angles, center=30.6)
    np.testing.assert_allclose(fourier.reconstruct(data[::-1], angles[::-1], center=30.6), image, atol=1e-4)
    turns = 2 * np.pi * np.random.default_rng(0).integers(-3, 4, 80)
    np.testing.assert_allclose(fourier.reconstruct(data, angles + turns, center=30.6), image, atol=1e-4)
    # with the axis on the middle, the second half turn sees the same bins mirrored
    whole = np.arange(160) * np.pi / 80
    half, full = (fourier.reconstruct(sinograms(cf.phantom(28), a, n, 31.5), a, center=31.5) for a in (angles, whole))
    np.testing.assert_allclose(full, half, atol=1e-4)


def test_jittered_angles():
    n, rng = 72, np.random.default_rng(0)
    angles = half_turn(151) + rng.uniform(-0.3, 0.3, 151) * np.pi / 151
    ellipses = cf.phantom(33)
    data, truth, disc = sinograms(ellipses, angles, n, 35.1), cf.image(ellipses, n), cf.disc(n)
    exact = cf.exact_fbp(data[:, 0].astype(float), angles, 35.1, n, angular_weights(angles))
    image = fourier.reconstruct(data, angles, center=35.1)[0]
    assert cf.rmse(image, truth, disc) <= 1.02 * cf.rmse(exact, truth, disc)


@pytest.mark.parametrize("fft", ["scipy", "ducc0"])
def test_bits_depend_only_on_the_whole_group(fft):
    if fft == "ducc0":
        pytest.importorskip("ducc0")
    rng = np.random.default_rng(0)
    angles = half_turn(40)
    data = rng.standard_normal((40, 40, 48), dtype=np.float32)
    whole = fourier.reconstruct(data, angles, center=23.1, fft=fft)
    for first in (0, 16, 32):
        copy = np.ascontiguousarray(data[:, first : first + 16])
        np.testing.assert_array_equal(
            fourier.reconstruct(copy, angles, center=23.1, fft=fft), whole[first : first + 16]
        )
    np.testing.assert_array_equal(fourier.reconstruct(data, angles, center=23.1, fft=fft), whole)


def test_slices_do_not_leak_into_their_partners():
    n, angles = 64, half_turn(60)
    data = np.zeros((60, 16, n), np.float32)
    data[:, 4] = cf.sinogram(cf.phantom(28), angles, n, 31.5)
    image = fourier.reconstruct(data, angles, center=31.5)
    assert image[4].max() > 1
    assert np.abs(np.delete(image, 4, axis=0))[:, cf.disc(n)].max() < 1e-5


def test_samples_wider_than_the_detector():
    n, angles = 128, half_turn(200)
    grid = np.arange(n) - (n - 1) / 2
    inner = grid[:, None] ** 2 + grid[None] ** 2 < (0.4 * n) ** 2
    # mean interior bias of a body of about 1, by how much wider the sample is than the detector
    for wider, limit in ((1.1, 0.02), (1.35, 0.04), (2.0, 0.06)):
        ellipses = cf.phantom(n / 2 * wider / 0.92)
        data, truth = sinograms(ellipses, angles, n, 63.8), cf.image(ellipses, n)
        assert truncation.is_truncated(data).all()
        edge, zero = (fourier.reconstruct(data, angles, center=63.8, pad=p)[0] - truth for p in ("edge", "zero"))
        print(f"{wider} wide: bias {edge[inner].mean():.4f} with edge, {zero[inner].mean():.4f} with zero")
        assert abs(edge[inner].mean()) < limit
        assert cf.rmse(edge, 0 * edge, cf.disc(n)) < 0.5 * cf.rmse(zero, 0 * zero, cf.disc(n))


def test_a_sample_inside_the_detector_is_not_flagged_and_not_changed():
    n, angles = 96, half_turn(90)
    data = sinograms(cf.phantom(40), angles, n, 47.1, rows=3)
    data[:, 1] = np.random.default_rng(0).normal(0, 0.02, data[:, 1].shape)
    assert not truncation.is_truncated(data).any()
    edge, zero = (fourier.reconstruct(data[:, :1], angles, center=47.1, pad=p) for p in ("edge", "zero"))
    np.testing.assert_array_equal(edge, zero)


def test_columns_that_were_interpolated_do_not_hide_the_noise_of_an_edge():
    """A defect beside the edge is filled from its neighbour: the two are alike, and no less noisy for that."""
    for seed in range(20):
        data = np.random.default_rng(seed).normal(0, 0.045, (150, 3, 96)).astype(np.float32)
        data[..., 40:60] += 0.1
        data[..., 0], data[..., -2] = data[..., 1], data[..., -1]
        assert not truncation.is_truncated(data, least=0.1).any()
        data[..., :10] += 0.3
        assert truncation.is_truncated(data, least=0.1).all()


def test_circle_mask():
    volume = np.ones((2, 8, 8), np.float32)
    masked = fourier.mask_circle(volume)
    assert masked[0, 0, 0] == 0
    assert masked[:, 3, 0].all()
    data = np.ones((20, 1, 32), np.float32)
    image = fourier.reconstruct(data, half_turn(20), center=15.5, circle=True)
    assert not image[0][~cf.disc(32)].any()


def test_scratch_is_an_upper_bound_and_not_twice_the_truth():
    angles, n = half_turn(300), 256
    data = np.ones((300, 16, n), np.float32)
    fourier.reconstruct(data[:5], angles[:5], center=127.0, fft="scipy")
    tracemalloc.start()
    fourier.reconstruct(data, angles, center=127.0, fft="scipy")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= fourier.scratch_bytes(300, n) <= 2 * peak


def test_bad_input():
    data, angles = np.zeros((20, 2, 32), np.float32), half_turn(20)
    with pytest.raises(ValueError, match="do not match 19 angles"):
        fourier.reconstruct(data, angles[:-1], center=15.0)
    with pytest.raises(ValueError, match="outside the detector's 32 columns"):
        fourier.reconstruct(data, angles, center=40.0)
    with pytest.raises(ValueError, match="4 or 6"):
        fourier.reconstruct(data, angles, center=15.0, kernel_width=5)
    with pytest.raises(ValueError, match="edge or zero"):
        fourier.reconstruct(data, angles, center=15.0, pad="mirror")
    with pytest.raises(ValueError, match="unknown FFT"):
        fourier.reconstruct(data, angles, center=15.0, fft="fftw")
    with pytest.raises(ValueError, match="pixel size"):
        fourier.reconstruct(data, angles, center=15.0, pixel_size_um=0.0)
    for bad in (np.nan, np.inf):
        data[3, 1, 4] = bad
        with pytest.raises(ValueError, match=r"rows \[1\] of the group are not finite"):
            fourier.reconstruct(data, angles, center=15.0)
