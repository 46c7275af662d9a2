from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage

from xct_pipeline.segmentation.denoise import denoise, denoise_halo, fill_missing
from xct_pipeline.segmentation.gaps import parts_near_gaps

METHODS = [
    ("none", {}),
    ("gaussian", {"sigma": 0.8}),
    ("median", {"radius": 1}),
    ("tv", {"weight": 0.3, "iterations": 5}),
]


@pytest.fixture(scope="module")
def volume() -> np.ndarray:
    rng = np.random.default_rng(4)
    _, y, x = np.indices((48, 50, 40))
    volume = 2.0 * (x + y > 45) + 0.3 * rng.standard_normal(x.shape)
    return volume.astype(np.float32)


@pytest.mark.parametrize(("method", "options"), METHODS)
@pytest.mark.parametrize("gaps", [False, True])
def test_a_block_with_its_halo_gives_the_same_bits(volume: np.ndarray, method: str, options: dict, gaps: bool) -> None:
    volume = volume.copy()
    if gaps:
        volume[:4] = np.nan
        volume[20:23, 11, 12:15] = np.nan
    whole = denoise(volume, method, **options)
    halo = denoise_halo(method, **{k: v for k, v in options.items() if k != "weight"})
    for region in [
        (slice(0, 16), slice(16, 32), slice(0, 40)),
        (slice(18, 30), slice(3, 17), slice(9, 21)),
        (slice(40, 48), slice(40, 50), slice(30, 40)),
    ]:
        outer = tuple(
            slice(max(0, r.start - halo), min(n, r.stop + halo)) for r, n in zip(region, volume.shape, strict=True)
        )
        core = tuple(slice(r.start - o.start, r.stop - o.start) for r, o in zip(region, outer, strict=True))
        np.testing.assert_array_equal(denoise(volume[outer], method, **options)[core], whole[region])
        np.testing.assert_array_equal(denoise(volume[outer], method, **options, core=core), whole[region])
    np.testing.assert_array_equal(np.isnan(whole), np.isnan(volume))
    assert whole.dtype == np.float32


@pytest.mark.parametrize(("method", "options"), METHODS[1:])
def test_noise_falls_and_the_step_stays(volume: np.ndarray, method: str, options: dict) -> None:
    found = denoise(volume, method, **options)
    y, x = np.indices(volume.shape[1:])
    flat = x + y < 40
    assert found[:, flat].std() < 0.6 * volume[:, flat].std()
    assert found[:, x + y > 52].mean() - found[:, flat].mean() == pytest.approx(2, abs=0.05)


def test_gaussian_is_that_of_scipy_and_leaves_gaps_out(volume: np.ndarray) -> None:
    np.testing.assert_allclose(
        denoise(volume, "gaussian", sigma=1.5), scipy.ndimage.gaussian_filter(volume, 1.5, mode="nearest"), atol=1e-5
    )
    constant = np.full((20, 20, 20), 3.0, np.float32)
    constant[5:9, 4:8, 3:7] = np.nan
    for method, options in METHODS:
        np.testing.assert_allclose(denoise(constant, method, **options)[np.isfinite(constant)], 3, rtol=1e-5)
    np.testing.assert_allclose(fill_missing(constant), 3, rtol=1e-5)
    assert not fill_missing(np.full((3, 3, 3), np.nan, np.float32)).any()


def test_wrong_options_are_named(volume: np.ndarray) -> None:
    with pytest.raises(ValueError, match="'bilateral' is unknown"):
        denoise(volume, "bilateral")
    with pytest.raises(ValueError, match="sigma = 0"):
        denoise(volume, "gaussian", sigma=0)
    with pytest.raises(ValueError, match="iterations = -1"):
        denoise(volume, "tv", iterations=-1)


@pytest.mark.parametrize("reach", [0, 3])
def test_boxes_at_gaps_hold_all_that_is_near_one_and_little_else(reach: int) -> None:
    finite = np.ones((40, 70, 130), bool)
    finite[:, 0], finite[20:23, 50:54, 60:70], finite[39, 69, 129] = False, False, False
    part = (slice(1, 40), slice(0, 66), slice(5, 130))
    near = scipy.ndimage.binary_dilation(~finite, np.ones((3, 3, 3)), reach) if reach else ~finite
    seen = np.zeros(finite.shape, int)
    block = np.where(finite, 1.0, np.nan).astype(np.float32)
    for box in parts_near_gaps(block, part, reach):
        seen[box] += 1
    assert seen.max() == 1
    assert seen[part][near[part]].all()
    seen[part] = 0
    assert not seen.any()
    looked = sum(seen[box].size for box in parts_near_gaps(block, part, reach))
    assert looked < 0.25 * finite.size
    assert not list(parts_near_gaps(np.ones_like(block), part, reach))
