"""One opened series: the order that a run kept, whatever the names sort like; what is absent is said."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import xct_pipeline as xct
from xct_pipeline.store import layout
from xct_pipeline.store.files import StoreError
from xct_pipeline.store.image import Image
from xct_pipeline.store.series import Series
from xct_pipeline.store.store import Store

NAMES = st.lists(
    st.one_of(
        st.integers(0, 20).map(lambda k: f"scan_{k}"),
        st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,7}", fullmatch=True).filter(lambda name: not name.endswith(".")),
        st.sampled_from(["1", "01", "1e3", "NA", "nan"]),
    ),
    min_size=1,
    max_size=8,
    unique_by=str.lower,
)


def store_of(folder, names, noted=True):
    store = Store(folder / "s.zarr")
    store.claim({name: [f"../{name}.nxs"] for name in names})
    if noted:
        store.update({"order": names})
    more = {"time_s": [10.0 * k for k in range(len(names))]} | ({"scans": names} if noted else {})
    image = Image(layout.REGISTERED, ("t", "z", "y", "x"), (len(names), 2, 3, 3), "float32", "1/cm", 2, attributes=more)
    store.prepare(image)
    return store


@settings(max_examples=25, deadline=None)
@given(NAMES, st.booleans())
def test_scans_stand_in_the_order_of_the_run(tmp_path_factory, names, noted):
    store = store_of(tmp_path_factory.mktemp("order"), names, noted)
    if not noted:  # as earlier versions left it
        store.write_table("registration", pd.DataFrame({"scan": names, "gain": 1.0, "problem": None}))
    series = Series.open(store.path)
    assert list(series.scans) == names
    assert list(series.times_s) == [10.0 * k for k in range(len(names))]
    assert xct.open_volume(store.path)["scan"].values.tolist() == names
    assert [series.plane(layout.REGISTERED, name) for name in names] == list(range(len(names)))
    assert series.failed == ()


def test_scans_that_failed_are_known_by_their_problem(tmp_path):
    store = store_of(tmp_path, ["b", "c", "a"])
    store.write_table("reconstruction", pd.DataFrame({"scan": ["b", "c", "a"], "problem": [None, None, "torn file"]}))
    store.write_table("registration", pd.DataFrame({"scan": ["b", "c", "a"], "problem": [None, "no overlap", "torn"]}))
    series = Series.open(store)
    assert series.failed == (1, 2)
    assert series.problems == {"c": "no overlap", "a": "torn"}


@pytest.mark.parametrize(("chosen", "position"), [(0, 0), (2, 2), ("a", 2), ("b", 0)])
def test_the_reference_is_that_of_the_configuration(tmp_path, chosen, position):
    store = store_of(tmp_path, ["b", "c", "a"])
    assert Series.open(store).reference == 0
    store.update({"config": {"registration": {"reference": chosen}}})
    assert Series.open(store).reference == position


@pytest.mark.parametrize("chosen", [3, "scan_1"])
def test_a_reference_that_is_no_scan_is_told_and_not_replaced(tmp_path, chosen):
    store = store_of(tmp_path, ["b", "c", "a"])
    store.update({"config": {"registration": {"reference": chosen}}})
    with pytest.raises(StoreError, match=str(chosen)):
        _ = Series.open(store).reference


def test_an_image_of_fewer_scans_keeps_its_own_names(tmp_path):
    store = store_of(tmp_path, ["b", "a"])
    store.update({"order": ["c", "b", "a"]})
    series = Series.open(store)
    assert series.along(layout.REGISTERED) == ("b", "a")
    assert series.plane(layout.REGISTERED, "a") == 1
    assert np.isnan(series.times_s[0])
    with pytest.raises(StoreError, match="holds b, a, not c"):
        series.plane(layout.REGISTERED, "c")


def test_what_was_not_measured_is_none(tmp_path):
    store = store_of(tmp_path, ["b", "c", "a"])
    assert Series.open(store).noise_ratio("c") is None
    rows = [{"scan": "c", "bin_pixels": k, "noise_ratio": 1 / k, "noise_voxels": 9000} for k in (1, 2, 3)]
    store.write_table("areal_noise", pd.DataFrame([*rows, {**rows[0], "scan": "a"}]))
    series = Series.open(store)
    np.testing.assert_allclose(series.noise_ratio("c"), [1, 1 / 2, 1 / 3])
    np.testing.assert_array_equal(series.noise_ratio("b"), [1, 1, 1])  # the reference, without noise
    assert series.noise_ratio("a") is None
    assert series.center("b") == {}
    assert series.holder is None


def test_a_store_that_was_only_begun_has_no_scans(tmp_path):
    Store(tmp_path / "begun.zarr").state.mkdir(parents=True)
    assert Series.open(tmp_path / "begun.zarr").scans == ()
    with pytest.raises(StoreError, match="no store of xct"):
        Series.open(tmp_path / "none.zarr")
