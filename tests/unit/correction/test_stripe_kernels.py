"""The wavelet and regularised stripe kernels against independent plain formulations, and their parts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from xct_pipeline.correction import running_median
from xct_pipeline.correction.stripes import columns as stripe_columns
from xct_pipeline.correction.stripes import vo as stripe_vo
from xct_pipeline.correction.stripes.titarenko import remove_stripe_titarenko
from xct_pipeline.correction.stripes.wavelet import remove_stripe_fourier_wavelet


def fourier_wavelet_by_definition(
    sinogram: np.ndarray[Any, Any], level: int, sigma: float, wavelet: str
) -> np.ndarray[Any, Any]:
    """Muench 2009 as written: full 2-D transform, damp the vertical details along the angle, transform back."""
    import pywt

    image, shapes, bands = sinogram.astype(float), [], []
    for _ in range(level):
        shapes.append(image.shape)
        image, (horizontal, vertical, diagonal) = pywt.dwt2(image, wavelet)
        frequency = np.fft.fftfreq(len(vertical), 1 / len(vertical))
        damping = 1 - np.exp(-(frequency**2) / (2 * sigma**2))
        vertical = np.fft.ifft(np.fft.fft(vertical, axis=0) * damping[:, None], axis=0).real
        bands.append((horizontal, vertical, diagonal))
    for shape, band in zip(reversed(shapes), reversed(bands), strict=True):
        image = pywt.idwt2((image, band), wavelet)[: shape[0], : shape[1]]
    return image


@pytest.mark.parametrize(
    ("shape", "level", "sigma", "wavelet"),
    [
        ((181, 256), 8, 2.0, "db5"),
        ((91, 161), 5, 3.0, "sym4"),
        ((32, 21), 6, 1.0, "haar"),
        ((100, 57), 3, 20.0, "db9"),
        ((5, 3), 3, 2.0, "db5"),
        ((2, 3), 2, 2.0, "db2"),
        ((64, 64), 4, 2.0, "bior3.5"),
    ],
)
def test_fourier_wavelet_equals_its_definition(shape: tuple[int, int], level: int, sigma: float, wavelet: str) -> None:
    rng = np.random.default_rng(0)
    sinogram = (1 + 0.1 * rng.normal(size=shape).cumsum(axis=1)).astype(np.float32)
    result = remove_stripe_fourier_wavelet(sinogram[:, None], level=level, sigma=sigma, wavelet=wavelet)
    expected = fourier_wavelet_by_definition(sinogram, level, sigma, wavelet)
    np.testing.assert_allclose(result[:, 0], expected, atol=1e-5)  # the fast path's stated tolerance


def test_an_unknown_wavelet_is_refused() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        remove_stripe_fourier_wavelet(np.ones((4, 1, 4), np.float32), wavelet="nonsense")


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("columns", [3, 4, 40])
def test_titarenko_offsets_solve_the_minimisation(order: int, columns: int) -> None:
    rng = np.random.default_rng(order)
    sinogram = rng.random((20, columns)).astype(np.float32)
    weight = 0.3
    result = remove_stripe_titarenko(sinogram[:, None], order=order, regularization=weight)[:, 0]  # type: ignore[arg-type]
    difference = np.diff(np.eye(columns), order, axis=0)
    normal = difference.T @ difference
    mean = sinogram.mean(axis=0, dtype=np.float64)
    offsets = np.linalg.solve(normal + weight * np.eye(columns), -normal @ mean)
    np.testing.assert_allclose(result, sinogram + offsets, atol=1e-6)


def test_titarenko_in_blocks_follows_partial_stripes() -> None:
    rng = np.random.default_rng(1)
    smooth = 1 + 0.01 * rng.standard_normal((120, 1)) + np.zeros((120, 64))
    striped = smooth.copy()
    striped[60:, 30] += 0.5
    whole = remove_stripe_titarenko(striped[:, None].astype(np.float32), regularization=0.01)[:, 0]
    parts = remove_stripe_titarenko(striped[:, None].astype(np.float32), regularization=0.01, blocks=2)[:, 0]
    assert np.square(parts - smooth).sum() < 0.1 * np.square(whole - smooth).sum()


def test_titarenko_weak_regularization_flattens_and_strong_leaves_alone() -> None:
    rng = np.random.default_rng(2)
    block = rng.random((30, 1, 50)).astype(np.float32)
    flat = remove_stripe_titarenko(block, regularization=1e-9).mean(axis=0)
    assert np.ptp(flat) < 1e-4
    assert np.allclose(remove_stripe_titarenko(block, regularization=1e9), block, atol=1e-6)


def test_columns_are_interpolated_along_straight_lines() -> None:
    ramp = (np.arange(12.0) * np.array([[1.0], [-2.0]])).astype(np.float32)
    mask = np.zeros(12, bool)
    mask[[3, 4, 8]] = True
    spoilt = np.where(mask, 99, ramp).astype(np.float32)
    assert np.allclose(stripe_columns.interpolate_columns(spoilt, mask), ramp)
    mask[:] = False
    mask[[0, 1, 11]] = True
    filled = stripe_columns.interpolate_columns(ramp, mask)
    assert filled[:, 0].tolist() == filled[:, 1].tolist() == ramp[:, 2].tolist()
    assert filled[:, 11].tolist() == ramp[:, 10].tolist()
    assert np.array_equal(stripe_columns.interpolate_columns(ramp, np.ones(12, bool)), ramp)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 500, 7), (40, 5, 300), (17, 33, 129), (0, 4, 3)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_product_equals_a_matrix_product(shape: tuple[int, int, int], dtype: type) -> None:
    rng = np.random.default_rng(0)
    left, right = rng.random(shape[:2]).astype(dtype), rng.random(shape[1:]).astype(dtype)
    np.testing.assert_allclose(stripe_columns.product(left, right), left @ right, rtol=1e-5)


def test_activity_of_constant_and_flickering_columns() -> None:
    sinogram = np.full((100, 3), 7.3, np.float32)
    sinogram[:, 1] += np.tile([0.5, -0.5], 50)
    activity = stripe_columns.angular_activity(sinogram, 10)
    assert activity[[0, 2]].tolist() == [0, 0]  # rounding is not activity
    assert activity[1] == pytest.approx(50, rel=0.02)


@pytest.mark.parametrize("model", ["offset", "gain"])
def test_vo_fast_path_equals_the_plain_formulation(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The array formulation that CuPy takes, run with numpy: to 1e-6, the rounding of different sums."""
    rng = np.random.default_rng(4)
    block = 2 + np.linspace(0, 1, 90) + 0.05 * rng.standard_normal((61, 2, 90))
    block[:, 0, 30:34] += 0.8
    block[:, 1, 60] = 1.0
    block = block.astype(np.float32)
    options: dict[str, Any] = {"large_size": 21, "small_size": 5, "model": model}
    fast = stripe_vo.remove_all_stripe_masks(block, **options)
    monkeypatch.setattr(stripe_columns, "is_cupy", lambda array: True)
    monkeypatch.setattr(running_median, "is_cupy", lambda array: True)
    plain = stripe_vo.remove_all_stripe_masks(block, **options)
    np.testing.assert_allclose(fast[0], plain[0], atol=1e-6)
    assert np.array_equal(fast[1:], plain[1:])
    assert fast[1][1, 60]
    assert fast[2][0, 30:34].all()
