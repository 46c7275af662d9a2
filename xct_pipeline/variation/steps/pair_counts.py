"""How many pairs of voxels of a region lie each lag apart: what turns an autocovariance into the noise of a sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from xct_pipeline.boxes import Region, inside, size_of, widen
from xct_pipeline.engine.blocks import Array, Reduction
from xct_pipeline.engine.execution import measure
from xct_pipeline.engine.resources import Resources
from xct_pipeline.engine.steps import Steps
from xct_pipeline.region import RegionMask
from xct_pipeline.store.store import Store
from xct_pipeline.variation import cells, lags, mass
from xct_pipeline.variation.steps.noise import LAG, LEVEL_BIN
from xct_pipeline.variation.steps.series import PREFIX, VERSION, add_up, boxes_of

PAIRS_RATE = 60e6  # voxels per CPU-second


@dataclass(frozen=True)
class MaskSource:
    """Reads nothing: masks read their labels themselves, with what a lag reaches."""

    def read(self, region: Region) -> Array:
        """Return nothing."""
        del region
        return np.empty(0)

    def nbytes(self, region: Region) -> int:
        """Return the bytes of a mask and of counting its pairs."""
        return 10 * size_of(tuple(slice(p.start, p.stop + 2 * n) for p, n in zip(region, LAG, strict=True)))


def pairs_step(masks: Sequence[RegionMask], name: str) -> Reduction:
    """Return the step that counts voxel pairs of sets of voxels at each lag, and their voxels per column block."""
    bounds = masks[0].bounds()
    inputs = {
        "frame": masks[0].frame,
        "masks": [[m.region.model_dump(), m.values] for m in masks],
        "labels": masks[0].identity,
        "lag": LAG,
    }
    return Reduction(
        f"{PREFIX}pairs/{name}",
        VERSION,
        partial(_pairs_chunk, masks=tuple(masks)),
        add_up,
        fold=True,
        source=MaskSource(),
        regions=boxes_of(bounds),
        inputs=inputs,
        scratch=1.0,
        cpu_s=len(masks) * size_of(bounds) / PAIRS_RATE,
    )


def measure_pairs(
    store: Store, masks: Sequence[RegionMask], limits: Resources, name: str, steps: Steps | None = None
) -> cells.Pairs:
    """Count the voxel pairs of sets of voxels at each lag, and their voxels per column block."""
    found = measure(store, pairs_step(masks, name), limits, steps)
    return cells.Pairs(found["pairs"], found["columns"], LEVEL_BIN)


def _pairs_chunk(block: Array, region: Region, *, masks: tuple[RegionMask, ...]) -> dict[str, Array]:
    del block
    frame = masks[0].frame
    wide = widen(region, LAG, frame)
    wide = (slice(region[0].start, wide[0].stop), *wide[1:])  # what comes first in a pair lies in the region
    own = inside(wide, region)
    pairs, columns = [], []
    for mask in masks:
        wanted = mask.box(wide)
        first = np.zeros_like(wanted)
        first[own] = wanted[own]
        pairs.append(lags.pair_counts(wanted, first, LAG))
        count = wanted[own].sum(axis=0, dtype=np.float64)[None]
        offset = (0, region[1].start, region[2].start)
        sums = mass.bin_sums(count, np.ones(count.shape, bool), offset, (1, LEVEL_BIN, LEVEL_BIN))
        columns.append(sums.full((1, *(-(-n // LEVEL_BIN) for n in frame[1:]))).total[0])
    return {"pairs": np.stack(pairs), "columns": np.stack(columns)}
