"""Reductions over the same regions in one visit: equal results under equal hashes, every box read once."""

from __future__ import annotations

import pickle
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import zarr

from xct_pipeline.boxes import around, cut, inside
from xct_pipeline.engine import blocks, execution, reads
from xct_pipeline.engine.blocks import ImageSource, Reduction
from xct_pipeline.engine.resources import Resources
from xct_pipeline.engine.steps import Steps
from xct_pipeline.engine.visits import in_one_visit, measure_together
from xct_pipeline.segmentation.steps.series import BoxSource
from xct_pipeline.store.store import Store

LIMITS = Resources(workers=2, memory=2 * 10**9)
SHAPE = (1, 20, 12, 14)
REGIONS = [(slice(0, 1), *box) for box in cut(tuple(slice(0, n) for n in SHAPE[1:]), (8, 8, 8))]


def add(parts):
    return {"sum": np.sum([part["sum"] for part in parts], axis=0)}


def extremes(parts):
    return {"sum": np.array([min(part["low"] for part in parts), max(part["high"] for part in parts)])}


def summed(block, region, *, source, other):
    """Sum a box with its halo, and the same box of another image."""
    core = block[inside(around(region[1:], source.halo[0], SHAPE[1:]), region[1:])]
    return {"sum": np.array([core.sum(), block.sum(), other.read(region).sum()])}


def spanned(block, region, *, other):
    values = block + other.read(region)
    return {"low": values.min(), "high": values.max()}


def reduction(name, chunk, combine, source, **more):
    return Reduction(name, 1, chunk, combine, {"name": name}, source=source, regions=REGIONS, inputs={"a": 1}, **more)


@pytest.fixture
def store(tmp_path):
    found = Store(tmp_path / "s.zarr")
    found.state.mkdir(parents=True)
    for name, seed in (("a", 0), ("b", 1)):
        values = np.random.default_rng(seed).integers(0, 99, SHAPE)
        zarr.create_array(str(found.path / name), data=values, chunks=(1, 8, 8, 8))
    return found


@pytest.fixture
def steps(store):
    """Two reductions of one image, the first with a halo, that both look at another image as well."""
    a, b = (ImageSource(str(store.path / name), SHAPE, 8) for name in "ab")
    wide, plain, other = BoxSource(a, (2, 2, 2)), BoxSource(a), BoxSource(b)
    first = reduction("one/of_two", partial(summed, source=wide, other=other), add, wide, scratch=2.0)
    return [first, reduction("two", partial(spanned, other=other), extremes, plain, scratch=5.0)]


def test_results_and_hashes_are_those_of_each_alone_and_boxes_are_read_once(store, steps, monkeypatch):
    alone = [execution.measure(None, step, LIMITS) for step in steps]
    read = []
    monkeypatch.setattr(blocks, "StoredArray", lambda folder: read.append(folder) or zarr.open_array(folder, mode="r"))
    run = Steps(in_one_visit(steps))
    found = measure_together(store, in_one_visit(steps), LIMITS, run)
    for one, together in zip(alone, found, strict=True):
        assert list(one) == list(together)
        np.testing.assert_array_equal(one["sum"], together["sum"])
    assert len(read) == 2 * len(REGIONS)
    assert run.outcomes == {"one/of_two": "executed", "two": "executed"}
    assert [run.digests[step.name] for step in steps] == [step.digests() for step in steps]
    read.clear()
    again = Steps(steps)
    kept = [execution.measure(store, step, LIMITS, again) for step in steps]
    assert [k["sum"].tolist() for k in kept] == [f["sum"].tolist() for f in found]
    assert not read
    assert set(again.outcomes.values()) == {"reused"}


def test_what_the_store_keeps_is_not_made_again(store, steps):
    execution.measure(store, steps[1], LIMITS)
    run = Steps(steps)
    measure_together(store, in_one_visit(steps), LIMITS, run)
    assert run.outcomes == {"one/of_two": "executed", "two": "reused"}
    again = Steps(steps)
    measure_together(store, in_one_visit(steps), LIMITS, again)
    assert set(again.outcomes.values()) == {"reused"}


def test_the_memory_of_a_visit_holds_what_is_read_for_all(steps):
    """A task keeps the boxes of every step and works on one after the other."""
    alone, together = [step.need.task_bytes for step in steps], [step.need.task_bytes for step in in_one_visit(steps)]
    read = [max(step.source.nbytes(region) for region in REGIONS) for step in steps]
    assert together == pytest.approx([own + sum(read) - mine for own, mine in zip(alone, read, strict=True)], abs=2)


def test_a_task_is_told_of_its_own_regions_only(steps, monkeypatch):
    told, plain = [], execution.run_tasks

    def run_tasks(function, calls, *more):
        told.append(max(len(pickle.dumps(call)) for call in calls))
        return plain(function, calls, *more)

    monkeypatch.setattr(execution, "run_tasks", run_tasks)
    for times in (1, 20):
        many = [replace(step, regions=REGIONS * times) for step in steps]
        measure_together(None, in_one_visit(many), LIMITS)
    assert abs(told[1] - told[0]) < 50


def test_a_box_is_cut_out_of_a_larger_one_only_while_reads_are_kept():
    read = []

    def look(region):
        read.append(region)
        return np.arange(10)[region]

    small, large = (slice(3, 5),), (slice(2, 8),)
    assert reads.box("a", small, look).tolist() == [3, 4]
    with reads.once():
        assert reads.box("a", small, look).tolist() == [3, 4]
        assert reads.box("a", large, look).tolist() == [2, 3, 4, 5, 6, 7]
        assert reads.box("a", (slice(6, 8),), look).tolist() == [6, 7]
        assert reads.box("b", small, look).tolist() == [3, 4]
    assert read == [small, small, large, small]
    assert reads.box("a", small, look).tolist() == [3, 4]
    assert len(read) == 5
