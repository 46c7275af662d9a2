"""A halo of scattered light is taken off again, as far as one pass can."""

from __future__ import annotations

import numpy as np
import pytest
import scipy

from xct_pipeline.correction.scatter import remove_halo, smoothing

SHAPE = (2, 60, 90)


def transmissions():
    """A disc and an edge, air at both sides."""
    y, x = np.indices(SHAPE[1:])
    path = 0.05 * np.sqrt(np.clip(30.0**2 - (x - 44) ** 2, 0, None)) * (y > 20)
    return np.exp(-np.stack([path, 0.5 * path]))


def with_halo(light, share, width):
    """The light as it is seen: with the halo, over flats that have it, scaled to air at the edges."""
    seen = light + share * scipy.ndimage.gaussian_filter(light, (0, width, width), mode="nearest")
    edges = np.concatenate([seen[..., :3], seen[..., -3:]], axis=-1).mean(axis=(1, 2), keepdims=True)
    return seen / edges, seen / (1 + share)


@pytest.mark.parametrize("air", [True, False])
@pytest.mark.parametrize(("share", "left"), [(0.03, 1e-3), (0.1, 8e-3)])
def test_the_halo_is_removed(air, share, left):
    light = transmissions()
    seen = with_halo(light, share, 20.0)[0 if air else 1]
    found = np.exp(-remove_halo(-np.log(seen).astype(np.float32), share=share, width=20.0, air=air))
    truth = light
    assert np.abs(found - truth).max() < left
    assert np.abs(found - truth).max() < 0.25 * np.abs(seen - truth).max()
    assert found.dtype == np.float32


def test_smoothing_is_that_of_a_gaussian():
    rough = np.random.default_rng(0).normal(size=200).cumsum()
    between, smooth = smoothing(200, 15.0)
    expected = scipy.ndimage.gaussian_filter1d(rough, 15.0, mode="nearest")
    assert np.abs(between @ (smooth @ rough) - expected).max() < 0.02 * np.ptp(expected)
    np.testing.assert_allclose(between @ (smooth @ np.ones(200)), 1, atol=1e-5)


def test_each_projection_is_corrected_by_itself():
    p = -np.log(with_halo(transmissions(), 0.03, 20.0)[0]).astype(np.float32)
    whole = remove_halo(p, share=0.03, width=20.0, air=True)
    np.testing.assert_allclose(whole[1:], remove_halo(p[1:], share=0.03, width=20.0, air=True), rtol=1e-5, atol=1e-6)


def test_what_is_opaque_stays_finite():
    p = np.zeros(SHAPE, np.float32)
    p[:, 20:40, 30:60] = 12.0
    found = remove_halo(p, share=0.05, width=30.0, air=True)
    assert np.isfinite(found).all()
    assert found.max() <= 12.0 - np.log(0.1) + 1e-3


@pytest.mark.parametrize(
    "wrong", [{"share": -0.1, "width": 5.0}, {"share": 1.0, "width": 5.0}, {"share": 0.1, "width": 0}]
)
def test_a_halo_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match="halo"):
        remove_halo(np.zeros(SHAPE, np.float32), air=True, **wrong)
