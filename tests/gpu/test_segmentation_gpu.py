"""Segmentation kernels: CuPy against numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.ndimage

from xct_pipeline.device import cuda_problem, is_cupy, to_host
from xct_pipeline.engine.blocks import Reduction
from xct_pipeline.engine.execution import measure
from xct_pipeline.engine.resources import Resources
from xct_pipeline.segmentation import classifier, denoise, label, threshold, watershed

cupy = pytest.importorskip("cupy")
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(cuda_problem() is not None, reason=str(cuda_problem()))]


@pytest.fixture
def volume() -> np.ndarray[Any, Any]:
    """Two materials with noise and a gap."""
    rng = np.random.default_rng(0)
    smooth = scipy.ndimage.gaussian_filter(rng.standard_normal((32, 40, 48)), 3)
    volume = (smooth > 0) * 2.0 + 0.3 * rng.standard_normal(smooth.shape)
    volume[:3, :4, :5] = np.nan
    return volume.astype(np.float32)


def test_histogram_and_labels(volume: np.ndarray[Any, Any]) -> None:
    on_device = cupy.asarray(volume)
    found, there = threshold.histogram(volume, bins=[512]), threshold.histogram(on_device, bins=[512])
    for key, value in found.items():
        np.testing.assert_array_equal(there[key], value)
    low, high = threshold.span_of(found)
    limits = threshold.multi_otsu(found["counts"], low=low, high=high, classes=3)
    labels = threshold.apply_thresholds(on_device, limits)
    assert is_cupy(labels)
    np.testing.assert_array_equal(to_host(labels), threshold.apply_thresholds(volume, limits))


@pytest.mark.parametrize("method", ["none", "gaussian", "median", "tv"])
def test_denoising(volume: np.ndarray[Any, Any], method: denoise.Method) -> None:
    found = denoise.denoise(cupy.asarray(volume), method, iterations=10)
    assert is_cupy(found)
    np.testing.assert_allclose(to_host(found), denoise.denoise(volume, method, iterations=10), rtol=1e-4, atol=1e-4)


def test_components(volume: np.ndarray[Any, Any]) -> None:
    mask, region = volume > 1.5, tuple(slice(0, n) for n in volume.shape)
    for connectivity in (6, 18, 26):
        merged = label.merge_labels(
            [label.label_partial(mask, region, mask.shape, connectivity=connectivity)], connectivity=connectivity
        )
        on_device = label.label_partial(cupy.asarray(mask), region, mask.shape, connectivity=connectivity)
        numbered = label.merge_labels([on_device], connectivity=connectivity)
        np.testing.assert_array_equal(
            to_host(label.relabel_block(cupy.asarray(mask), region, numbered, connectivity=connectivity)),
            label.relabel_block(mask, region, merged, connectivity=connectivity),
        )


def test_features_classes_and_gradient(volume: np.ndarray[Any, Any]) -> None:
    on_device = cupy.asarray(volume)
    expected = classifier.features(volume)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(to_host(classifier.features(on_device)), expected, atol=1e-4 * scale)
    np.testing.assert_allclose(
        to_host(watershed.gradient_magnitude(on_device)), watershed.gradient_magnitude(volume), rtol=1e-4, atol=1e-4
    )
    painted = np.zeros(volume.shape, np.uint8)
    painted[16] = 1 + (volume[16] > 1)
    forest = classifier.train_forest([classifier.training_samples(volume, painted)], seed=0, trees=10)
    whole = (slice(None),) * 3
    labels = classifier.classify(on_device, forest, core=whole)
    assert is_cupy(labels)
    assert (to_host(labels) == classifier.classify(volume, forest, core=whole)).mean() > 0.999


class Blocks:
    """A volume as a source."""

    def __init__(self, volume: np.ndarray[Any, Any]) -> None:
        self.volume = volume

    def read(self, region: tuple[slice, ...]) -> np.ndarray[Any, Any]:
        return self.volume[region]

    def nbytes(self, region: tuple[slice, ...]) -> int:
        return self.volume[region].nbytes


def count(block: Any, region: tuple[slice, ...]) -> Any:
    """Count pairs of a value and its gradient, and say where it was done."""
    del region
    slope = watershed.gradient_magnitude(block)
    return {**threshold.histogram(slope, block, bins=(16, 32)), "here": np.array([is_cupy(block)])}


def add_up(parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {**threshold.combine_histograms(parts, (16, 32)), "here": sum(part["here"].astype(int) for part in parts)}


def test_a_reduction_counts_on_the_device(volume: np.ndarray[Any, Any]) -> None:
    regions = [(slice(z, z + 8), slice(0, 40), slice(0, 48)) for z in range(0, 32, 8)]
    found = []
    for where in (False, True):
        reduction = Reduction("counts", 1, count, add_up, for_device=True, source=Blocks(volume), regions=regions)
        found.append(measure(None, reduction, Resources(2, 2**32, on_device=where)))
    assert [int(part["here"][0]) for part in found] == [0, 4]
    assert found[0]["counts"].sum() == found[1]["counts"].sum() > 0
    assert np.abs(found[0]["counts"] - found[1]["counts"]).sum() <= 1e-3 * found[0]["counts"].sum()
