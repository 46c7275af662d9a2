"""The Fourier core on a CUDA device against the same function with numpy."""

import numpy as np
import pytest

from xct_pipeline.device import cuda_problem
from xct_pipeline.reconstruction import fourier, half_acquisition, truncation

cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(cuda_problem() is not None, reason=str(cuda_problem()))]


def scan(n_rows, n=96, n_angles=120):
    rng = np.random.default_rng(0)
    data = rng.standard_normal((n_angles, n_rows, n), dtype=np.float32) + 1
    return data, np.arange(n_angles) * np.pi / n_angles + rng.uniform(-0.005, 0.005, n_angles)


@pytest.mark.parametrize("width", [4, 6])
@pytest.mark.parametrize("pad", ["edge", "zero"])
@pytest.mark.parametrize("n_rows", [5, 21])
def test_reconstruct(width, pad, n_rows):
    data, angles = scan(n_rows)
    options = {"center": 45.3, "kernel_width": width, "pad": pad, "pixel_size_um": 3.0, "circle": True}
    on_host = fourier.reconstruct(data, angles, **options)
    on_device = fourier.reconstruct(cupy.asarray(data), angles, **options)
    assert isinstance(on_device, cupy.ndarray)
    assert np.abs(on_device.get() - on_host).max() < 1e-4 * np.abs(on_host).max()
    again = fourier.reconstruct(cupy.asarray(data), angles, **options)
    assert (again == on_device).all()


def test_truncation():
    data, _ = scan(4)
    data[:, :2, :8] = data[:, :2, -8:] = 0
    flags = truncation.is_truncated(cupy.asarray(data))
    np.testing.assert_array_equal(flags.get(), truncation.is_truncated(data))


def test_half_acquisition():
    data, _ = scan(3)
    angles = np.arange(120) * np.pi / 60
    for function in (half_acquisition.weigh, half_acquisition.stitch):
        on_host, _, _ = function(data, angles, center=20.3, side="left")
        on_device, _, _ = function(cupy.asarray(data), angles, center=20.3, side="left")
        np.testing.assert_allclose(on_device.get(), on_host, atol=1e-4 * np.abs(on_host).max())
