"""Images that are computed from the registered series where they are read."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xct_pipeline.store.derived import DerivedArray
from xct_pipeline.store.files import StoreError

SHAPE = (4, 5, 6, 7)
PLANES = ((), ((1, 0, 1.0, 0.0),), None, ((3, 0, 2.0, 0.5), (1, 0, -1.5, -0.25)))
VALUES = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)


class Series(SimpleNamespace):
    """Values with what an array of zarr has."""

    def __getitem__(self, index: Any) -> np.ndarray:
        return VALUES[index]


def array(planes: Any = PLANES) -> DerivedArray:
    return DerivedArray(Series(shape=SHAPE, shards=None, chunks=(1, 5, 6, 7)), planes, "density")


def expected() -> np.ndarray:
    v = VALUES
    whole = np.zeros(SHAPE, np.float32)
    whole[1] = v[1] - v[0]
    whole[2] = np.nan
    whole[3] = 2 * (v[3] - v[0]) + np.float32(0.5) - np.float32(1.5) * (v[1] - v[0]) - np.float32(0.25)
    return whole


@st.composite
def part(draw: st.DrawFn, n: int) -> int | slice:
    if draw(st.booleans()):
        return draw(st.integers(-n, n - 1))
    ends = st.none() | st.integers(-n, n)
    return slice(draw(ends), draw(ends), draw(st.sampled_from([None, 1, 2])))


@settings(max_examples=200, deadline=None)
@given(data=st.data(), axes=st.integers(1, 4), dots=st.booleans())
def test_it_is_indexed_as_an_array_is(data: st.DataObject, axes: int, dots: bool) -> None:
    index: tuple[Any, ...] = tuple(data.draw(part(SHAPE[k])) for k in range(axes))
    index = (*index, ...) if dots else index
    found, there = array()[index], expected()[index]
    assert found.dtype == np.float32
    assert np.allclose(found, there, atol=1e-6, equal_nan=True)
    assert found.shape == there.shape


def test_one_plane_is_read_without_a_tuple() -> None:
    assert np.array_equal(array()[1], expected()[1])


def test_another_number_of_scans_is_told() -> None:
    with pytest.raises(StoreError, match="described for 2 scans and the registered series holds 4"):
        array(PLANES[:2])
