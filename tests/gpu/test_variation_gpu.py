"""The kernels of the mass variation give the same on a CUDA device (relative 1e-4)."""

import numpy as np
import pytest

from xct_pipeline import device
from xct_pipeline.config import RegionOfInterest
from xct_pipeline.region import RegionMask
from xct_pipeline.variation import mass, noise, uncertainty
from xct_pipeline.variation.anode import Anode
from xct_pipeline.variation.closures import CLOSURES, Given

cupy = pytest.importorskip("cupy")
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(device.cuda_problem() is not None, reason=str(device.cuda_problem()))]


@pytest.fixture(scope="module")
def volume():
    return np.random.default_rng(0).standard_normal((20, 24, 22)).astype(np.float32)


@pytest.mark.parametrize("name", ["na_only", "const_k", "same_composition", "filled", "well_mixed"])
def test_closures(volume, name):
    anode = Anode(0.2804, 0.8678, 0.5)
    host = CLOSURES[name].change(volume, anode, Given(0.6))
    there = CLOSURES[name].change(cupy.asarray(volume), anode, Given(0.6))
    assert there.species.dtype == np.float32
    np.testing.assert_allclose(there.species.get(), host.species, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(there.flags.get(), host.flags)


def test_sums(volume):
    there = cupy.asarray(volume)
    region = RegionOfInterest.model_validate({"cylinder": {"z": [3, 17], "radius": 9.0}})
    mask = RegionMask(region, volume.shape).slab(slice(0, len(volume)))
    device_mask = cupy.asarray(mask)
    pairs = [
        (mass.areal_sums(a, m, (0, 0, 0)), mass.bin_sums(a, m, (1, 2, 3), (4, 5, 6)), mass.region_sums(a, m))
        for a, m in ((volume, mask), (there, device_mask))
    ]
    for host, found in zip(*pairs, strict=True):
        np.testing.assert_allclose(found.total, host.total, rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(found.count, host.count)


def test_noise_and_errors(volume):
    there = cupy.asarray(volume)
    mask = np.ones(volume.shape, bool)
    device_mask = cupy.asarray(mask)
    host = noise.lag_sums(volume, mask, lag=(2, 2, 2))
    found = noise.lag_sums(there, device_mask, lag=(2, 2, 2))
    np.testing.assert_allclose(found.products, host.products, rtol=1e-6, atol=1e-6)
    size = (20, 8, 8)
    np.testing.assert_allclose(
        noise.level_sums(there, device_mask, (0, 0, 0), size).total,
        noise.level_sums(volume, mask, (0, 0, 0), size).total,
        rtol=1e-4,
    )
    np.testing.assert_array_equal(
        uncertainty.edge_shell(there, threshold=0.5).get(), uncertainty.edge_shell(volume, threshold=0.5)
    )
