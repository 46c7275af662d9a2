"""Images of a registered series, written as a run would write them, for the tests of the stages over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xct_pipeline.boxes import Region, inside, size_of
from xct_pipeline.engine.blocks import BlockOp, Pass
from xct_pipeline.engine.execution import run_passes
from xct_pipeline.engine.resources import Resources
from xct_pipeline.registration.steps.stage import Volume, series_image
from xct_pipeline.store.store import Store

VOXEL = 10.0
LIMITS = Resources(workers=2, memory=4 * 10**9)


@dataclass(frozen=True)
class Planes:
    """A series in memory."""

    series: tuple[np.ndarray, ...]

    def read(self, region: Region) -> np.ndarray:
        return self.series[region[0].start][region[1:]][None]

    def nbytes(self, region: Region) -> int:
        return size_of(region) * 4


def same(block: np.ndarray, before: Region, after: Region) -> np.ndarray:
    return block[inside(before, after)]


def reference_volume(shape: Sequence[int]) -> Volume:
    return Volume("scan_00", "scans/scan_00/volume", tuple(shape), 1, VOXEL, "1/cm", "x")


def write_image(
    store: Store,
    path: str,
    values: Sequence[np.ndarray],
    unit: str,
    inputs: Mapping[str, Any] | None = None,
    limits: Resources = LIMITS,
    **more: Any,
) -> None:
    """Write one volume per scan, in the frame of the first."""
    shape = values[0].shape
    image = series_image(path, reference_volume(shape), len(values), str(values[0].dtype), unit, {}, **more)
    step = Pass(image, Planes(tuple(values)), (BlockOp("copy", 1, same),), (1, *shape), (0,) * 4, inputs or {})
    (done,) = run_passes(store, [step], limits)
    assert done.problem is None
