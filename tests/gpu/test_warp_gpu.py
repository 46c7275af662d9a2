"""The warp on a CUDA device against the same on the host."""

import numpy as np
import pytest

from xct_pipeline.device import cuda_problem
from xct_pipeline.registration import transform as tf
from xct_pipeline.registration.masks import attenuation_mask, unchanged_mask
from xct_pipeline.registration.warp import warp_block

cupy = pytest.importorskip("cupy")
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(cuda_problem() is not None, reason=str(cuda_problem()))]


@pytest.mark.parametrize("order", ["linear", "cubic", "quintic"])
@pytest.mark.parametrize("holes", [False, True])
def test_warp_agrees_with_the_host(order, holes):
    image = np.random.default_rng(0).normal(size=(40, 41, 42)).astype(np.float32)
    if holes:
        image[10:12, 20, 5:9] = np.nan
    motion = tf.rigid([0.03, -0.05, 0.1], [1.3, -2.2, 0.4], [20, 20, 20])
    box = (slice(5, 35), slice(0, 41), slice(3, 42))
    host = warp_block(image, motion, box, shape=image.shape, order=order)
    device = warp_block(cupy.asarray(image), motion, box, shape=image.shape, order=order)
    assert isinstance(device, cupy.ndarray)
    assert device.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(device.get()), np.isnan(host))
    np.testing.assert_allclose(device.get(), host, atol=1e-4 * np.nanmax(np.abs(host)), equal_nan=True)


def test_masks_agree_with_the_host():
    image = np.random.default_rng(1).normal(size=(30, 31, 32)).astype(np.float32)
    image[8:20, 8:20, 8:20] += 5
    for mask in (lambda v: attenuation_mask(v, minimum=4.0), unchanged_mask):
        differing = mask(cupy.asarray(image)).get() != mask(image)
        assert differing.mean() < 1e-3  # voxels within rounding of the limit
