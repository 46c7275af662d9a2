"""Canonical text and hashes: equal for equal values, in every process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xct_pipeline.store import provenance

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(plain)
def test_no_difference_from_itself(value):
    assert provenance.differences(value, value) == []
    assert provenance.fingerprint(value) == provenance.fingerprint(value)


@given(st.dictionaries(st.text(), st.integers(), min_size=2))
def test_order_of_keys_does_not_matter(value):
    assert provenance.fingerprint(value) == provenance.fingerprint(dict(reversed(value.items())))


def test_arrays_count_by_value_shape_and_type():
    a = np.arange(6, dtype=np.float32)
    same = provenance.fingerprint({"a": a}) == provenance.fingerprint({"a": a.copy()})
    assert same
    others = [a + 1, a.reshape(2, 3), a.astype(np.float64)]
    assert len({provenance.fingerprint({"a": x}) for x in (a, *others)}) == 4


def test_another_process_hashes_alike():
    value = "{'b': {3, 1}, 'a': (1.5, 'x', None)}"
    code = f"from xct_pipeline.store.provenance import fingerprint; print(fingerprint({value}))"
    out = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert out.stdout.strip() == provenance.fingerprint({"a": (1.5, "x", None), "b": {1, 3}})


def test_what_has_no_text_is_refused():
    with pytest.raises(TypeError, match="object has no canonical text"):
        provenance.fingerprint(object())


def test_differences_name_the_place():
    old = {"a": {"b": [1, 2], "c": 3}, "gone": 1}
    new = {"a": {"b": [1, 5], "c": 3}, "new": "x"}
    assert provenance.differences(old, new) == ["a.b[1]: 2 -> 5", "gone: 1 -> (gone)", 'new: (new) "x"']


def test_a_rewritten_file_is_another(tmp_path: Path):
    file = tmp_path / "a.nxs"
    file.write_bytes(b"12")
    before = provenance.file_identity([file])
    os.utime(file, ns=(1, 1))
    assert provenance.file_identity([file]) != before
    assert {"python", "numpy", "zarr"} <= set(provenance.versions())
