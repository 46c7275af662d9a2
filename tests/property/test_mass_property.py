import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xct_pipeline.config import RegionOfInterest
from xct_pipeline.region import RegionMask
from xct_pipeline.variation import mass

SHAPE = (70, 45, 66)


@pytest.fixture(scope="module")
def volume():
    rng = np.random.default_rng(3)
    values = rng.standard_normal(SHAPE).astype(np.float32)
    ceramic = rng.random(SHAPE) > 0.98
    return values, ceramic


def blocks(chunk):
    for corner in itertools.product(*(range(0, n, c) for n, c in zip(SHAPE, chunk, strict=True))):
        yield corner, tuple(slice(o, min(o + c, n)) for o, c, n in zip(corner, chunk, SHAPE, strict=True))


def measures(values, ceramic, chunk):
    region = RegionMask(RegionOfInterest.model_validate({"cylinder": {"z": [10, 61], "radius": 21.0}}), SHAPE)
    parts = {}

    def add(name, sums, merge=mass.merge):
        parts[name] = merge(parts[name], sums) if name in parts else sums

    for offset, box in blocks(chunk):
        v = values[box]
        mask = region.box(box)
        add("areal", mass.areal_sums(v, mask, offset))
        add("bins", mass.bin_sums(v, mask, offset, (7, 5, 9)))
        add("total", mass.region_sums(v, mask))
        add("surface", mass.surface_heights(ceramic[box], offset), mass.merge_surface)
    return parts


@given(st.tuples(st.integers(9, 70), st.integers(9, 70), st.integers(9, 70)), st.sampled_from([None, 32, 64]))
@settings(max_examples=8, deadline=None)
def test_measures_do_not_depend_on_the_blocks(volume, chunk, cube):
    whole = measures(*volume, SHAPE)
    parts = measures(*volume, chunk if cube is None else (cube,) * 3)
    for name, sums in whole.items():
        assert parts[name].origin == sums.origin
        np.testing.assert_array_equal(parts[name].count, sums.count)
        np.testing.assert_allclose(parts[name].total, sums.total, rtol=1e-9, atol=1e-9)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_merging_commutes_and_keeps_the_total(seed):
    rng = np.random.default_rng(seed)
    parts = [
        mass.Sums(tuple(int(i) for i in rng.integers(0, 5, 2)), rng.standard_normal((3, 4)), rng.integers(0, 9, (3, 4)))
        for _ in range(3)
    ]
    a = mass.merge(mass.merge(parts[0], parts[1]), parts[2])
    b = mass.merge(parts[0], mass.merge(parts[2], parts[1]))
    assert a.origin == b.origin
    np.testing.assert_allclose(a.total, b.total, atol=1e-12)
    assert a.count.sum() == sum(p.count.sum() for p in parts)
    full = a.full((12, 12))
    assert full.total.shape == (12, 12)
    assert full.total.sum() == pytest.approx(sum(p.total.sum() for p in parts))
