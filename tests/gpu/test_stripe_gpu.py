"""Stripe kernels, running median and pixel repairs: CuPy against numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from xct_pipeline.correction.running_median import running_median
from xct_pipeline.correction.stripes import vo as stripe_vo
from xct_pipeline.correction.stripes.titarenko import remove_stripe_titarenko
from xct_pipeline.correction.stripes.wavelet import remove_stripe_fourier_wavelet
from xct_pipeline.correction.zinger import interpolate_pixels, remove_zingers
from xct_pipeline.device import cuda_problem, to_host

cupy = pytest.importorskip("cupy")
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(cuda_problem() is not None, reason=str(cuda_problem()))]


@pytest.fixture
def block() -> np.ndarray[Any, Any]:
    """Smooth sinograms with noise, offset columns, one dead and one wide stripe; no equal values."""
    rng = np.random.default_rng(0)
    theta, u = np.linspace(0, np.pi, 121)[:, None, None], np.linspace(-1, 1, 160)
    clean = 2 + np.cos(3 * u + 0.3 * np.cos(theta)) + np.zeros((1, 2, 1))
    noisy = clean + 0.01 * rng.standard_normal(clean.shape) + 0.03 * rng.standard_normal(160)
    noisy[:, 0, 50] += 0.6 * rng.standard_normal(121)
    noisy[:, 1, 90:96] += 0.7
    return noisy.astype(np.float32)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        (stripe_vo.remove_stripe_sorting, {"size": 11}),
        (stripe_vo.remove_stripe_filtering, {"size": 11}),
        (stripe_vo.remove_stripe_fitting, {}),
        (stripe_vo.remove_stripe_fitting, {"model": "gain"}),
        (stripe_vo.remove_large_stripe, {"size": 31}),
        (stripe_vo.remove_dead_stripe, {"size": 31}),
        (stripe_vo.remove_all_stripe, {"large_size": 31, "small_size": 11}),
        (stripe_vo.remove_all_stripe, {"model": "gain"}),
        (remove_stripe_fourier_wavelet, {}),
        (remove_stripe_titarenko, {"blocks": 2}),
        (remove_stripe_titarenko, {"order": "product"}),
    ],
)
def test_stripe_kernels(block: np.ndarray[Any, Any], method: Any, options: dict[str, Any]) -> None:
    result = method(cupy.asarray(block), **options)
    assert isinstance(result, cupy.ndarray)
    np.testing.assert_allclose(to_host(result), method(block, **options), rtol=1e-4, atol=1e-4)


def test_detectors(block: np.ndarray[Any, Any]) -> None:
    device = cupy.asarray(block)
    for detect in (stripe_vo.detect_dead_stripes, stripe_vo.detect_large_stripes):
        assert np.array_equal(detect(device, size=31), detect(block, size=31))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_running_median(block: np.ndarray[Any, Any], axis: int) -> None:
    result = to_host(running_median(cupy.asarray(block), 5, axis=axis))
    assert np.array_equal(result, running_median(block, 5, axis=axis))


@pytest.mark.parametrize("plane", ["projection", "sinogram"])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_zingers(block: np.ndarray[Any, Any], plane: Any, dtype: type) -> None:
    counts = (block * 10_000).clip(0, 65_000).astype(dtype)
    counts[3, 1, 7] = 65_000
    expected, expected_count = remove_zingers(counts, plane=plane)
    result, count = remove_zingers(cupy.asarray(counts), plane=plane)
    assert np.array_equal(to_host(result), expected)
    assert np.array_equal(count, expected_count)


def test_dead_pixels(block: np.ndarray[Any, Any]) -> None:
    mask = np.zeros(block.shape[1:], bool)
    mask[0, 5:8] = mask[1, :] = True
    expected, _ = interpolate_pixels(block, mask)
    result, count = interpolate_pixels(cupy.asarray(block), cupy.asarray(mask))
    assert count == mask.sum()
    np.testing.assert_allclose(to_host(result), expected, rtol=1e-6)
