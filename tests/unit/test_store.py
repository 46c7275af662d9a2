"""The store's own rules: ownership, atomic writes, images that are continued or made anew, readable coordinates."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import zarr

from xct_pipeline.engine.execution import write_block
from xct_pipeline.store.files import RefusedError, StoreError, write_atomic
from xct_pipeline.store.holder import holder_of
from xct_pipeline.store.image import Image, level_count
from xct_pipeline.store.marker import digest_of
from xct_pipeline.store.opened import open_image
from xct_pipeline.store.store import Store
from xct_pipeline.store.stored_array import StoredArray

IMAGE = Image("scans/a/volume", ("z", "y", "x"), (20, 70, 70), "float32", "1/cm", 16, 1, 2.5, (8.0, 0.0, 0.0))


def test_refusing_writes_nothing(tmp_path):
    store = Store(tmp_path / "s.zarr")
    store.refuse_foreign({"a": ["../a.nxs"]})
    assert not store.path.exists()


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    file = tmp_path / "a.json"
    write_atomic(file, b"old")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*/a\.json'"):
        write_atomic(file, b"new")
    assert file.read_bytes() == b"old"
    assert [f.name for f in tmp_path.iterdir()] == ["a.json"]


def test_equal_image_is_continued_and_another_made_anew(tmp_path):
    store = Store(tmp_path / "s.zarr")
    assert store.prepare(IMAGE)
    marker = store.path / IMAGE.path / "0" / "c"
    marker.mkdir()
    assert not store.prepare(replace(IMAGE, attributes={"time_s": 1}))
    assert marker.exists()
    assert store.prepare(replace(IMAGE, shape=(10, 70, 70)))
    assert not marker.exists()


def test_coordinates_are_those_of_the_detector(tmp_path):
    store = Store(tmp_path / "s.zarr")
    store.prepare(IMAGE)
    volume = open_image(store.path / IMAGE.path)
    np.testing.assert_allclose(volume.z, 2.5 * np.arange(8, 28))
    assert volume.attrs["units"] == "1/cm"
    assert {volume[axis].attrs["units"] for axis in volume.dims} == {"µm"}
    with pytest.raises(StoreError, match="levels 0 to 0"):
        open_image(store.path / IMAGE.path, 3)
    with pytest.raises(StoreError, match="no OME-Zarr image"):
        open_image(store.path)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 64, 64), (48, 96, 96), (64, 300, 300), (7, 1000, 1000)])
@pytest.mark.parametrize("thickness", [1, 16, 48, 64])
def test_levels_keep_whole_shards(shape, thickness):
    levels = level_count(shape, thickness)
    image = Image("a", ("z", "y", "x"), shape, "float32", "", thickness, levels)
    for level in range(levels):
        assert min(image.level_shape(level)) >= 1
        assert image.shard_shape(level)[0] * 2**level == thickness
        assert all(s % c == 0 for s, c in zip(image.shard_shape(level), image.chunk_shape(level), strict=True))


def test_tables_keep_units_and_meanings(tmp_path):
    store = Store(tmp_path / "s.zarr")
    store.write_table("mass_balance", pd.DataFrame({"scan": ["x"], "mass_change_mg": [1 / 3]}))
    store.write_table("voids", pd.DataFrame({"count": [1]}))
    known = json.loads((store.path / "tables/README.json").read_text())
    assert set(known) == {"mass_balance.csv", "voids.csv"}
    assert known["mass_balance.csv"]["mass_change_mg"]["unit"] == "mg"
    assert known["mass_balance.csv"]["mass_change_mg"]["meaning"].startswith("change of mass")
    assert known["mass_balance.csv"]["scan"] == {"kind": "text", "unit": "", "meaning": "name of the scan"}
    assert known["voids.csv"]["count"]["kind"] == "count"
    assert store.read_table("mass_balance").mass_change_mg[0] == pytest.approx(1 / 3, rel=1e-9)
    with pytest.raises(StoreError, match="no table c; it has: mass_balance, voids"):
        store.read_table("c")


def test_lock_names_the_process_and_ends(tmp_path):
    store = Store(tmp_path / "s.zarr")
    with store.lock(), pytest.raises(RefusedError, match=r"in use by process \d+ on "), Store(store.path).lock():
        pass
    with store.lock():
        pass
    assert not (store.state / "lock.json").exists()
    assert holder_of(store.path) is None


def test_who_holds_a_store_is_told_by_the_lock_and_not_by_what_is_written(tmp_path):
    store = Store(tmp_path / "s.zarr")
    image = Image("a/b", ("z", "y", "x"), (4, 4, 4), "float32", "1/cm", 4)
    with store.lock():
        store.prepare(image)
        note = (store.state / "lock.json").read_bytes()
        found = holder_of(store.path)
        assert found is not None
        assert (found.pid, found.held) == (os.getpid(), True)
        with pytest.raises(StoreError, match=f"is being computed by process {os.getpid()} on .*; wait for it"):
            StoredArray(store.path / "a/b/0")[...]
    (store.state / "lock.json").write_bytes(note)  # as kill -9 leaves it
    found = holder_of(store.path)
    assert found is not None
    assert not found.held
    with pytest.raises(StoreError, match="was killed; xct run goes on"):
        StoredArray(store.path / "a/b/0")[...]
    for ruined in (b"[]", b"{", b'{"pid": "x", "host": 1}', b"[" * 100_000):
        (store.state / "lock.json").write_bytes(ruined)
        assert holder_of(store.path) is None


def test_damaged_metadata_says_what_to_do(tmp_path):
    store = Store(tmp_path / "s.zarr")
    store.claim({"a": ["a.nxs"]})
    (store.path / "zarr.json").write_text("{")
    with pytest.raises(StoreError, match=r"s\.zarr/zarr\.json: damaged metadata .* xct run writes it anew"):
        store.attributes()
    store.claim({"a": ["a.nxs"]})
    assert store.attributes()["scans"] == {"a": ["a.nxs"]}


@pytest.mark.parametrize(("shard", "planes"), [((0, 0, 0), 16), ((1, 0, 0), 4)])  # the second reaches beyond the end
@pytest.mark.parametrize("damaged", [False, True])
def test_a_shard_takes_the_place_of_the_old_one_without_a_gap(tmp_path, monkeypatch, damaged, shard, planes):
    """Also of one that zarr could not decode: tools that read the arrays by themselves meet the old or the new."""
    store = Store(tmp_path / "s.zarr")
    store.prepare(IMAGE)
    old, new = np.random.default_rng(0).normal(size=(2, planes, 70, 70)).astype("f4")
    write_block(store.path, IMAGE, shard, old)
    file = store.path / IMAGE.path / "0/c" / "/".join(map(str, shard))
    if damaged:
        file.write_bytes(file.read_bytes()[:100])
    before, replaced, rename = file.read_bytes(), [], os.replace
    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", pytest.fail)
        patched.setattr(os, "replace", lambda a, b: (replaced.append(Path(b).read_bytes()), rename(a, b)))
        (made,) = write_block(store.path, IMAGE, shard, new)
    assert replaced == [before]
    assert made.digest == digest_of(file)
    read = zarr.open_array(str(store.path / IMAGE.path / "0"), mode="r")
    np.testing.assert_array_equal(read[16 * shard[0] : 16 * shard[0] + planes], new)
