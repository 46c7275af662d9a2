"""Electrodes of a real cylindrical cell against a mask made by others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

from xct_pipeline.segmentation.denoise import denoise
from xct_pipeline.segmentation.threshold import (
    apply_thresholds,
    combine_histograms,
    histogram,
    multi_otsu,
    span_of,
    without_clipped,
)


def electrode(volume: np.ndarray, blocks: int = 1) -> np.ndarray:
    """Brightest of three classes by multi-Otsu over the histogram of all blocks."""
    parts = np.array_split(volume, blocks, axis=1)
    found = combine_histograms([histogram(part, bins=[256]) for part in parts], [256])
    low, high = span_of(found)
    return apply_thresholds(volume, multi_otsu(found["counts"], low=low, high=high, classes=3)) == 2


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * float((a & b).sum()) / float(a.sum() + b.sum())


def test_electrodes_by_multi_otsu(data_folder: Path) -> None:
    folder = data_folder / "battery_jelly_roll"
    image = tifffile.imread(folder / "im_1.tif")[None]
    truth = tifffile.imread(folder / "mask_1.tif")[None] > 0
    found = electrode(without_clipped(image))
    assert dice(found, truth) >= 0.96
    # even where the steel can, which the scan does not resolve from electrodes, is left in
    assert dice(electrode(image.astype(np.float32)), truth) >= 0.90
    np.testing.assert_array_equal(electrode(without_clipped(image), blocks=5), found)
    smooth = denoise(without_clipped(image), "median")
    assert dice(electrode(smooth), truth) >= 0.93
