"""Whatever the shape, the shards and where granules begin: every voxel is computed once, whole, and the same."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xct_pipeline.boxes import Region, inside, size_of, widen
from xct_pipeline.engine import execution
from xct_pipeline.engine.blocks import BlockOp, Pass, regions_of
from xct_pipeline.engine.resources import Resources
from xct_pipeline.store.image import Image, level_count
from xct_pipeline.store.opened import open_image
from xct_pipeline.store.store import Store

LIMITS = Resources(2, 2 * 10**9)


@dataclass(frozen=True)
class Noise:
    """A source of fixed random numbers."""

    values: np.ndarray

    def read(self, region: Region) -> np.ndarray:
        return self.values[region]

    def nbytes(self, region: Region) -> int:
        return size_of(region) * 4


def box_op(frame: tuple[int, int, int], halo: int) -> BlockOp:
    """Return a running sum over rows, edges repeated: its halo is clipped at the frame."""

    def function(block, source, target):
        rows = np.arange(target[0].start, target[0].stop)[:, None] + np.arange(-halo, halo + 1)
        rows = np.clip(rows, 0, frame[0] - 1) - source[0].start
        return block[rows].sum(axis=1, dtype=np.float64).astype(np.float32), {"voxels": size_of(target)}

    return BlockOp("box", 1, function, {"halo": halo}, lambda region: widen(region, (halo, 0, 0), frame))


def make(shape, thickness: int, granule: int, offset: int, halo: int, values) -> Pass:
    image = Image("a", ("z", "y", "x"), shape, "float32", "1", thickness, level_count(shape, thickness))
    return Pass(image, Noise(values), (box_op(shape, halo),), (granule, 10**6, 10**6), (offset, 0, 0), {})


cases = st.tuples(
    st.tuples(st.integers(1, 40), st.integers(1, 12), st.integers(1, 70)),
    st.sampled_from([1, 2, 4, 16, 24, 32]),
    st.integers(1, 20),
    st.integers(0, 40),
    st.integers(0, 3),
)


@given(cases)
@settings(max_examples=200, deadline=None)
def test_shards_and_granules_tile_the_image(case):
    shape, thickness, granule, offset, halo = case
    step = make(shape, thickness, granule, offset, halo, np.zeros(shape, np.float32))
    seen = np.zeros(shape, np.int8)
    for shard in step.shards():
        region = step.region(shard)
        for part in step.granules(region):
            assert all(a.start <= b.start < b.stop <= a.stop for a, b in zip(region, part, strict=True))
            first, last = part[0].start + offset, part[0].stop - 1 + offset
            assert first // granule == last // granule  # within one granule of the frame
            before, after = regions_of(step.ops, part)
            assert after == part
            assert all(
                0 <= p.start <= q.start < q.stop <= p.stop <= n for p, q, n in zip(before, part, shape, strict=True)
            )
            seen[part] += 1
            assert inside(before, part)[0].stop - inside(before, part)[0].start == part[0].stop - part[0].start
    assert (seen == 1).all()


@given(cases, st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_result_is_that_of_the_whole(tmp_path_factory, case, seed):
    shape, thickness, granule, offset, halo = case
    values = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    step = make(shape, thickness, granule, offset, halo, values)
    store = Store(tmp_path_factory.mktemp("s") / "s.zarr")
    (result,) = execution.run_passes(store, [step], LIMITS)
    assert result.problem is None
    assert result.counts == {"voxels": values.size}
    everything = tuple(slice(0, n) for n in shape)
    whole, _ = step.ops[0].function(values, everything, everything)
    np.testing.assert_array_equal(open_image(store.path / "a").values, whole)
    for level in range(1, step.image.levels):
        z, y, x = step.image.level_shape(level)
        n = 2**level
        means = whole[: z * n, : y * n, : x * n].astype(float).reshape(z, n, y, n, x, n).mean(axis=(1, 3, 5))
        np.testing.assert_allclose(open_image(store.path / "a", level).values, means, atol=1e-5)
    (again,) = execution.run_passes(store, [replace(step)], LIMITS)
    assert (again.computed, again.reused) == (0, len(step.shards()))
