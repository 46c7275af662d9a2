"""The engine on a small pass: whole shards, markers, resume, exact pyramids, reported failures."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import zarr

from xct_pipeline.boxes import Region, inside, size_of, widen
from xct_pipeline.engine import blocks, execution
from xct_pipeline.engine.blocks import BlockOp, ImageSource, Pass, Reduction
from xct_pipeline.engine.resources import Resources, resources
from xct_pipeline.store.files import RefusedError, StoreError, marker_file
from xct_pipeline.store.image import Image, level_count
from xct_pipeline.store.opened import open_image
from xct_pipeline.store.store import Store
from xct_pipeline.store.stored_array import StoredArray

SHAPE = (37, 40, 90)
LIMITS = Resources(workers=2, memory=2 * 10**9)


@dataclass(frozen=True)
class Numbers:
    """A source whose value is a function of the position."""

    seed: int = 1

    def read(self, region: Region) -> np.ndarray:
        z, y, x = np.meshgrid(*(np.arange(p.start, p.stop) for p in region), indexing="ij")
        return np.sin(self.seed + z * 0.7 + y * 0.31 + x * 0.11).astype(np.float32)

    def nbytes(self, region: Region) -> int:
        return size_of(region) * 4


def smooth_op(frame: tuple[int, ...] = SHAPE, version: int = 1, weight: float = 0.5) -> BlockOp:
    def needs(region: Region) -> Region:
        return widen(region, (1, 0, 0), frame)

    def function(block, source, target):
        padded = np.pad(
            block, ((source[0].start == target[0].start, source[0].stop == target[0].stop), (0, 0), (0, 0)), "edge"
        )
        return (weight * (padded[:-2] + padded[2:])).astype(np.float32), {"seen": size_of(target)}

    return BlockOp("smooth", version, function, {"weight": weight}, needs)


def make_pass(thickness: int = 16, **changes) -> Pass:
    image = Image(
        "scans/a/volume", ("z", "y", "x"), SHAPE, "float32", "1/cm", thickness, level_count(SHAPE, thickness), 2.0
    )
    return replace(Pass(image, Numbers(), (smooth_op(),), (16, 10**9, 10**9), (0, 0, 0), {"data": 1}), **changes)


def expected(weight: float = 0.5) -> np.ndarray:
    data = Numbers().read(tuple(slice(0, n) for n in SHAPE))
    padded = np.pad(data, ((1, 1), (0, 0), (0, 0)), "edge")
    return (weight * (padded[:-2] + padded[2:])).astype(np.float32)


@pytest.mark.parametrize("thickness", [16, 32, 48, 64])
def test_values_do_not_depend_on_the_shard(tmp_path, thickness):
    store = Store(tmp_path / "s.zarr")
    (result,) = execution.run_passes(store, [make_pass(thickness)], LIMITS)
    assert result.problem is None
    assert result.counts == {"seen": int(np.prod(SHAPE))}
    np.testing.assert_array_equal(open_image(store.path / "scans/a/volume").values, expected())


def test_levels_are_exact_means(tmp_path):
    store = Store(tmp_path / "s.zarr")
    execution.run_passes(store, [make_pass()], LIMITS)
    full = open_image(store.path / "scans/a/volume").values.astype(float)
    level = open_image(store.path / "scans/a/volume", 1)
    n = level.shape
    mean = full[: 2 * n[0], : 2 * n[1], : 2 * n[2]].reshape(n[0], 2, n[1], 2, n[2], 2).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(level.values, mean, atol=2e-7)
    assert level.z.values[0] == 1.0  # half a voxel of 2 um


def test_second_run_reuses_everything_and_a_parameter_recomputes(tmp_path):
    store = Store(tmp_path / "s.zarr")
    execution.run_passes(store, [make_pass()], LIMITS)
    (again,) = execution.run_passes(store, [make_pass()], LIMITS)
    assert (again.computed, again.reused, again.changed) == (0, 3, ())
    assert again.counts == {"seen": int(np.prod(SHAPE))}
    (other,) = execution.run_passes(store, [make_pass(ops=(smooth_op(weight=0.25),))], LIMITS)
    assert (other.computed, other.reused) == (3, 0)
    assert other.changed == ("ops.smooth.weight: 0.5 -> 0.25",)
    np.testing.assert_array_equal(open_image(store.path / "scans/a/volume").values, expected(0.25))


def test_version_of_an_operation_recomputes(tmp_path):
    store = Store(tmp_path / "s.zarr")
    execution.run_passes(store, [make_pass()], LIMITS)
    (other,) = execution.run_passes(store, [make_pass(ops=(smooth_op(version=2),))], LIMITS)
    assert other.computed == 3


def test_lost_shard_and_torn_marker_are_recomputed(tmp_path):
    store = Store(tmp_path / "s.zarr")
    step = make_pass()
    execution.run_passes(store, [step], LIMITS)
    store.shard_files(step.image, (0, 0, 0))[1].unlink()
    marker_file(store.path, step.name, (2, 0, 0)).write_text('{"finger')
    (again,) = execution.run_passes(store, [step], LIMITS)
    assert (again.computed, again.reused) == (2, 1)
    np.testing.assert_array_equal(open_image(store.path / "scans/a/volume").values, expected())


def test_an_emptied_shard_is_computed_anew(tmp_path):
    store, step = Store(tmp_path / "s.zarr"), make_pass()
    execution.run_passes(store, [step], LIMITS)
    store.shard_files(step.image, (1, 0, 0))[0].write_bytes(b"")  # as a loss of power may leave it
    assert not execution.is_complete(store, step)
    assert execution.run_passes(store, [step], LIMITS)[0].computed == 1
    np.testing.assert_array_equal(open_image(store.path / "scans/a/volume").values, expected())


@pytest.mark.parametrize("how", ["flipped byte", "cut short"])
def test_a_damaged_shard_is_named_and_computed_anew(tmp_path, how):
    store, step = Store(tmp_path / "s.zarr"), make_pass()
    execution.run_passes(store, [step], LIMITS)
    file = store.shard_files(step.image, (1, 0, 0))[0]
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 0x10
    file.write_bytes(data if how == "flipped byte" else data[: len(data) // 2])
    with pytest.raises(StoreError, match=r"volume/0/c/1/0/0: damaged on the disk .* xct run computes it anew$"):
        open_image(store.path / "scans/a/volume").compute()
    with pytest.raises(StoreError, match="damaged on the disk"):
        ImageSource(str(store.path / "scans/a/volume/0"), SHAPE, 4).read((slice(10, 20), slice(0, 40), slice(0, 90)))
    again = execution.run_passes(store, [step], LIMITS)[0]
    assert (again.computed, again.reused) == (1, 2)
    np.testing.assert_array_equal(open_image(store.path / "scans/a/volume").values, expected())


def test_want_of_memory_is_no_damage(tmp_path, monkeypatch):
    store, step = Store(tmp_path / "s.zarr"), make_pass()
    execution.run_passes(store, [step], LIMITS)
    array = StoredArray(store.path / "scans/a/volume/0")

    def full(index):
        raise MemoryError

    monkeypatch.setattr(array, "_read", full)
    with pytest.raises(MemoryError):
        array[5]
    assert execution.is_complete(store, step)
    monkeypatch.undo()
    np.testing.assert_array_equal(array[5], expected()[5])


def test_flipped_byte_is_an_error_at_reading(tmp_path):
    store = Store(tmp_path / "s.zarr")
    step = make_pass()
    execution.run_passes(store, [step], LIMITS)
    file = store.shard_files(step.image, (1, 0, 0))[0]
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 0x10
    file.write_bytes(data)
    with pytest.raises(Exception, match=r"(?i)crc|checksum"):
        open_image(store.path / "scans/a/volume").compute()


def test_failure_of_one_pass_leaves_the_other(tmp_path):
    def broken(block, source, target):
        raise ValueError("row 3 is strange")

    good = make_pass()
    bad = make_pass(image=replace(good.image, path="scans/b/volume"), ops=(BlockOp("broken", 1, broken),))
    first, second = execution.run_passes(Store(tmp_path / "s.zarr"), [bad, good], LIMITS)
    assert first.problem == "row 3 is strange (3 of 3 shards failed)"
    assert second.problem is None
    assert second.computed == 3


def test_memory_is_refused_before_anything_is_computed(tmp_path):
    with pytest.raises(RefusedError, match="raise --memory"):
        execution.run_passes(Store(tmp_path / "s.zarr"), [make_pass()], Resources(2, 10**6))


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_shards_of_nothing_but_the_fill_value_are_written_once(tmp_path, value):
    def blank(block, source, target):
        return np.full_like(block, value)

    store = Store(tmp_path / "s.zarr")
    step = make_pass(ops=(BlockOp("blank", 1, blank),))
    execution.run_passes(store, [step], LIMITS)
    assert all(f.exists() for shard in step.shards() for f in store.shard_files(step.image, shard))
    np.testing.assert_array_equal(open_image(store.path / "scans/a/volume").values, value)
    (again,) = execution.run_passes(store, [step], LIMITS)
    assert (again.computed, again.reused) == (0, 3)


def test_a_store_that_can_only_be_read_gives_its_estimates_and_takes_none(tmp_path, monkeypatch):
    store = Store(tmp_path / "s.zarr")
    store.state.mkdir(parents=True)
    execution.save_estimate(store, "a/fields", {"k": 1}, {"v": np.arange(3)})
    monkeypatch.setattr(execution.os, "access", lambda path, mode: False)
    execution.save_estimate(store, "a/fields", {"k": 2}, {"v": np.arange(4)})
    assert execution.load_estimate(store, "a/fields", {"k": 2}) is None
    np.testing.assert_array_equal(execution.load_estimate(store, "a/fields", {"k": 1})["v"], np.arange(3))


def test_measure_combines_in_order_and_is_cached(tmp_path):
    store = Store(tmp_path / "s.zarr")
    store.state.mkdir(parents=True)
    seen = []

    def chunk(block, region):
        seen.append(region[0].start)
        return {"start": np.array([region[0].start]), "sum": block.sum(dtype=float)}

    def combine(parts):
        return {"start": np.concatenate([p["start"] for p in parts]), "sum": np.array(sum(p["sum"] for p in parts))}

    regions = [(slice(k, k + 1), slice(0, 40), slice(0, 90)) for k in range(20)]
    step = Reduction("sum", 1, chunk, combine, source=Numbers(), regions=regions)
    run = lambda: execution.measure(store, step, resources())  # noqa: E731
    result = run()
    np.testing.assert_array_equal(result["start"], np.arange(20))
    again = run()
    assert len(seen) == 20
    assert again["sum"] == result["sum"]


def test_regions_share_tasks_where_they_are_many(monkeypatch):
    monkeypatch.setattr(blocks, "MOST_TASKS", 3)
    regions = [(slice(k, k + 1), slice(0, 40), slice(0, 90)) for k in range(20)]
    reduction = Reduction(
        "start",
        1,
        lambda block, region: {"start": np.array([region[0].start])},
        lambda parts: {"start": np.concatenate([p["start"] for p in parts])},
        source=Numbers(),
        regions=regions,
    )
    assert reduction.need.tasks == 3
    found = execution.measure(None, reduction, resources())
    np.testing.assert_array_equal(found["start"], np.arange(20))


def test_passes_that_run_together_share_the_workers():
    first, second = blocks.side_by_side([make_pass(), make_pass(32)])
    tasks = len(first.shards()) + len(second.shards())
    assert first.need.tasks + first.need.beside == second.need.tasks + second.need.beside == tasks
    together = execution.passes_need([first, second])
    assert (together.tasks, together.beside) == (tasks, 0)
    assert together.task_bytes == max(first.memory(), second.memory())
    assert together.workers(Resources(64, 10**12)) == first.need.workers(Resources(64, 10**12)) == tasks


def test_granules_follow_the_frame_not_the_image():
    step = make_pass(offset=(5, 0, 0))
    cuts = [(g[0].start, g[0].stop) for g in step.granules((slice(0, 37), slice(0, 40), slice(0, 90)))]
    assert cuts == [(0, 11), (11, 27), (27, 37)]


def test_inside_cuts_a_block():
    assert inside((slice(3, 9),), (slice(4, 6),)) == (slice(1, 3),)


def test_two_runs_do_not_share_a_store(tmp_path):
    store = Store(tmp_path / "s.zarr")
    with store.lock(), pytest.raises(RefusedError, match="in use by process"), Store(store.path).lock():
        pass


def test_other_experiment_is_refused_and_unborn_store_is_taken(tmp_path):
    store = Store(tmp_path / "s.zarr")
    store.state.mkdir(parents=True)  # killed before its first metadata
    store.claim({"a": ["../a.nxs"]})
    store.claim({"a": ["../a.nxs"], "b": ["../b.nxs"]})
    assert set(store.attributes()["scans"]) == {"a", "b"}
    with pytest.raises(RefusedError, match="another experiment"):
        store.claim({"c": ["../c.nxs"]})
    with pytest.raises(RefusedError, match="another experiment"):
        store.claim({"a": ["../elsewhere/a.nxs"]})
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    with pytest.raises(RefusedError, match="not a store"):
        Store(tmp_path / "photos").claim({"a": ["a"]})


def test_array_is_sharded_and_checksummed(tmp_path):
    store = Store(tmp_path / "s.zarr")
    step = make_pass()
    execution.run_passes(store, [step], LIMITS)
    array = zarr.open_array(str(store.path / "scans/a/volume/0"), mode="r")
    assert array.shards == (16, 40, 128)
    assert array.chunks == (16, 40, 64)
    assert any(type(codec).__name__ == "Crc32cCodec" for codec in array.compressors)
