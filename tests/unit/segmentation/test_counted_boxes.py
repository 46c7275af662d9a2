"""What is read of a box whose values and gradients are counted."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stored_series import reference_volume

from xct_pipeline.boxes import Region
from xct_pipeline.config.file import parse_config
from xct_pipeline.segmentation.steps import thresholds
from xct_pipeline.segmentation.steps.series import BoxSource, Facts
from xct_pipeline.store.store import Store

SHAPE = (1, 40, 52, 60)


@dataclass
class Volume:
    """Reads a volume, and keeps how large the boxes were."""

    values: np.ndarray
    shape: tuple[int, ...] = SHAPE
    seen: list[int] = field(default_factory=list)

    def read(self, region: Region) -> np.ndarray:
        self.seen.append(self.values[region].size)
        return self.values[region]

    def nbytes(self, region: Region) -> int:
        return 4 * self.values[region].size


def _settings(folder: Path, method: str) -> Any:
    options = {"method": method, "classes": 2}
    raw = {"output": "a.zarr", "acquisition": {"scans": ["a"]}, "segmentation": options}
    return parse_config(raw, folder).segmentation


def test_more_is_read_around_boxes_that_lack_data_alone(tmp_path: Path) -> None:
    settings = _settings(tmp_path, "watershed")
    values = np.random.default_rng(5).normal(1, 0.1, SHAPE).astype(np.float32)
    values[0, 20:24, 30:33, 35:50] = np.nan
    volume = Volume(values)
    reach = thresholds.denoise_reach(settings)
    narrow, wide = (
        BoxSource(volume, (reach + thresholds.watershed.gradient_halo(1.0, gaps=gaps),) * 3) for gaps in (False, True)
    )
    options = {"denoising": thresholds.denoising_of(settings), "gradient": 1.0}
    read = []
    for z, y, x in np.ndindex(3, 4, 4):
        region = (slice(0, 1), slice(12 * z, 12 * z + 12), slice(13 * y, 13 * y + 13), slice(15 * x, 15 * x + 15))
        block = narrow.read(region)
        volume.seen.clear()
        found = thresholds._smoothed(block, region, source=narrow, wide=wide, **options)
        read.append(len(volume.seen))
        assert read[-1] == np.isnan(block).any()
        expected = thresholds._smoothed(wide.read(region), region, source=wide, wide=wide, **options)
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert 0 < sum(read) < len(read)


@pytest.mark.parametrize("method", ["otsu", "watershed"])
def test_the_memory_of_a_box_that_is_read_twice_is_planned(tmp_path: Path, method: str) -> None:
    facts = Facts(("a",), (), 0, reference_volume((128, 300, 300)), (0.0,))
    step = thresholds.histogram_step(_settings(tmp_path, method), facts, Store(tmp_path / "a"))
    wide = replace(step.source, halo=tuple(h + 8 * (method == "watershed") for h in step.source.halo))
    most = max(wide.nbytes(region) for region in step.regions)
    assert step.need.task_bytes >= 6.5 * most
