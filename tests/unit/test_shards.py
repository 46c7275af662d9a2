"""Boxes of shards read straight from their files: what zarr reads, and damage told."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec, GzipCodec

from xct_pipeline.store import stored_array
from xct_pipeline.store.arrays import array_bytes, fill_value
from xct_pipeline.store.files import StoreError
from xct_pipeline.store.image import FAST, RUNS, SMALL, Image
from xct_pipeline.store.shards import ShardedArray, encoded, sharded
from xct_pipeline.store.store import Store
from xct_pipeline.store.stored_array import StoredArray

SHAPE = (2, 100, 90, 130)


def _values(dtype: str, noise: float) -> npt.NDArray[Any]:
    rng = np.random.default_rng(3)
    ramp = np.add.outer(np.arange(200), np.add.outer(np.arange(90), np.arange(130))).reshape(SHAPE)
    values = np.rint(8 * (ramp / 40 + noise * rng.standard_normal(SHAPE))) / 8
    return values.astype(dtype)


def _write(folder: Path, values: npt.NDArray[Any], compressor: Any, fill: Any = 0) -> Any:
    array = zarr.create_array(
        store=folder,
        shape=values.shape,
        shards=(1, 64, 128, 192),
        chunks=(1, 64, 64, 64),
        dtype=values.dtype,
        fill_value=fill,
        compressors=[compressor, Crc32cCodec()],
    )
    array[...] = values
    return array


def _straight(folder: Path) -> ShardedArray:
    found = sharded(folder, _document(folder))
    assert found is not None
    return found


def _document(folder: Path) -> Any:
    return json.loads((folder / "zarr.json").read_text())


@pytest.mark.parametrize("block", [0, 8192, 100_000])
@pytest.mark.parametrize("name", ["lz4", "zstd"])
@pytest.mark.parametrize("shuffle", ["bitshuffle", "noshuffle"])
@pytest.mark.parametrize("dtype", ["float32", "uint8", "int32"])
def test_boxes_are_what_zarr_reads(tmp_path: Path, dtype: str, shuffle: Any, name: Any, block: int) -> None:
    values = _values(dtype, 0.1)
    codec = BloscCodec(cname=name, clevel=3, shuffle=shuffle, typesize=np.dtype(dtype).itemsize, blocksize=block)
    _write(tmp_path / "a", values, codec)
    array, rng = _straight(tmp_path / "a"), np.random.default_rng(0)
    boxes = [tuple(np.sort(rng.integers(0, n + 1, 2)).tolist() for n in SHAPE) for _ in range(30)]
    for box in [*boxes, tuple((0, n) for n in SHAPE), tuple((n - 1, n) for n in SHAPE)]:
        part = tuple(slice(a, b) for a, b in box)
        assert np.array_equal(array.read([(int(a), int(b)) for a, b in box]), values[part])


@pytest.mark.parametrize(("dtype", "fill"), [("float32", math.nan), ("uint8", 0), ("int32", 0)])
@pytest.mark.parametrize("codec", [FAST, SMALL, RUNS])
def test_shards_hold_what_zarr_would_write(tmp_path: Path, dtype: str, fill: float, codec: Any) -> None:
    values = _values(dtype, 0.1)
    values[:, :64, :64, :64] = 3  # one value throughout: encoded once, for all such chunks
    shard, chunks = (1, 64, 128, 192), (1, 64, 64, 64)
    name, effort, shuffle = codec
    blosc = BloscCodec(cname=name, clevel=effort, shuffle=shuffle, typesize=np.dtype(dtype).itemsize)
    _write(tmp_path / "theirs", values, blosc, fill)
    ours = _write(tmp_path / "ours", values, blosc, fill)
    theirs = tmp_path / "theirs"
    for t, z in np.ndindex(2, 2):
        parts = list(encoded(values[t : t + 1, 64 * z : 64 * z + 64], shard, chunks, codec, fill))
        file = tmp_path / "ours" / "c" / str(t) / str(z) / "0" / "0"
        there = (theirs / file.relative_to(tmp_path / "ours")).read_bytes()
        assert sum(map(len, parts)) == len(there)
        assert all(part in there for part in parts[:-2])  # every chunk and checksum, in an order of their own
        file.write_bytes(b"".join(parts))
    np.testing.assert_array_equal(ours[...], values)
    whole = zarr.open_array(str(tmp_path / "ours"), mode="r")
    np.testing.assert_array_equal(whole[...], values)
    np.testing.assert_array_equal(_straight(tmp_path / "ours").read([(0, n) for n in SHAPE]), values)


def test_values_that_nothing_compresses(tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(0, 2**32, SHAPE, np.uint32)
    _write(tmp_path / "a", values, BloscCodec(cname="lz4", clevel=5, shuffle="noshuffle", typesize=4))
    assert np.array_equal(_straight(tmp_path / "a").read([(1, 2), (7, 70), (3, 60), (0, 130)]), values[1:2, 7:70, 3:60])


def test_what_was_never_written_holds_the_fill_value(tmp_path: Path) -> None:
    values = np.full(SHAPE, np.nan, np.float32)
    values[0, :64, :64, :64] = 1.5
    array = _write(tmp_path / "a", values, BloscCodec(cname="zstd", typesize=4), math.nan)
    assert not (tmp_path / "a/c/1").exists()  # zarr writes neither empty shards nor empty chunks
    found = _straight(tmp_path / "a").read([(0, n) for n in SHAPE])
    assert np.array_equal(found, array[...], equal_nan=True)
    assert np.nansum(found) == 1.5 * 64**3


def test_damage_is_told(tmp_path: Path) -> None:
    values = _values("float32", 0.1)
    _write(tmp_path / "a", values, BloscCodec(cname="zstd", typesize=4))
    file = tmp_path / "a/c/0/0/0/0"
    whole = file.read_bytes()
    box = [(0, 1), (0, 64), (0, 90), (0, 130)]
    for place in (len(whole) // 3, len(whole) - 2, len(whole) - 30):  # a chunk, the index's checksum, the index
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(ValueError, match="checksum"):
            _straight(tmp_path / "a").read(box)
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"checksum|file"):
        _straight(tmp_path / "a").read(box)
    file.write_bytes(b"")
    with pytest.raises(ValueError, match="file"):
        _straight(tmp_path / "a").read(box)


def test_arrays_of_other_kinds_are_left_to_zarr(tmp_path: Path) -> None:
    values = _values("float32", 0.1)
    _write(tmp_path / "gzip", values, GzipCodec())
    zarr.create_array(store=tmp_path / "plain", shape=SHAPE, chunks=(1, 64, 64, 64), dtype="float32")
    _write(tmp_path / "swapped", values.astype(">f4"), BloscCodec(typesize=4))
    for name, wanted in (("gzip", values), ("plain", 0 * values), ("swapped", values)):
        assert (sharded(tmp_path / name, _document(tmp_path / name)) is None) == (name != "swapped")
        assert np.array_equal(StoredArray(tmp_path / name)[:1, 5], wanted[:1, 5])
    _write(tmp_path / "a", values, BloscCodec(cname="lz4", typesize=4))
    document = _document(tmp_path / "a")
    assert sharded(tmp_path / "a", document) is not None
    for key, value in (("zarr_format", 2), ("extension", {}), ("fill_value", "0x7fc00000"), ("data_type", "complex64")):
        assert sharded(tmp_path / "a", {**document, key: value}) is None
    for broken in (None, [], {}, {**document, "codecs": None}, {**document, "shape": "all"}):
        assert sharded(tmp_path / "a", broken) is None


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "uint16", "int32", "bool"])
def test_metadata_are_those_that_zarr_would_write(tmp_path: Path, dtype: str) -> None:
    for image in (
        Image("a", ("t", "z", "y", "x"), (3, 70, 100, 90), dtype, "1/cm", 64, levels=2),
        Image("a", ("angle", "row", "column"), (3, 70, 100), dtype, "1", 64, chunks=(1, 32, 64)),
        Image("a", ("t", "y", "x"), (3, 70, 100), dtype, "1", 64, noise_share=0.1),
    ):
        for level in range(image.levels):
            name, effort, shuffle = image.codec
            size = np.dtype(dtype).itemsize
            made = zarr.create_array(
                store=tmp_path / "made",
                overwrite=True,
                shape=image.level_shape(level),
                shards=image.shard_shape(level),
                chunks=image.chunk_shape(level),
                dtype=dtype,
                dimension_names=image.axes,
                fill_value=fill_value(image),
                compressors=[BloscCodec(cname=name, clevel=effort, shuffle=shuffle, typesize=size), Crc32cCodec()],
            )
            (tmp_path / "own").mkdir(exist_ok=True)
            (tmp_path / "own" / "zarr.json").write_bytes(array_bytes(image, level))
            own = zarr.open_array(str(tmp_path / "own"), mode="r")
            assert str(own.metadata.to_dict()) == str(made.metadata.to_dict())


def test_an_index_of_any_kind_reads_what_numpy_would(tmp_path: Path) -> None:
    values = _values("float32", 0.1)
    _write(tmp_path / "a", values, BloscCodec(cname="lz4", typesize=4))
    array = StoredArray(tmp_path / "a")
    for index in (
        1,
        (1, slice(3, 50)),
        (0, 5, 6, 7),
        (slice(None), 99, ..., -1),
        (..., slice(-20, None)),
        (np.int64(1), slice(90, 20), slice(None, None, 1)),
        (1, slice(0, 100, 7)),
        ...,
    ):
        found, wanted = array[index], values[index]
        assert found.shape == wanted.shape
        assert np.array_equal(found, wanted)
    with pytest.raises(IndexError):
        array[2]
    with pytest.raises(IndexError):
        array[0, -101]


def test_images_of_a_store_are_read_straight(tmp_path: Path) -> None:
    store = Store(tmp_path / "sample.zarr")
    store.begin()
    for name, dtype in (("values", "float32"), ("things", "uint8")):
        image = Image(name, ("z", "y", "x"), (70, 40, 80), dtype, "", 64, 2, labels=dtype == "uint8")
        store.prepare(image)
        for level in range(2):
            folder = store.path / name / str(level)
            assert sharded(folder, _document(folder)) is not None


def test_metadata_are_read_again_once_they_have_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "sample.zarr")
    store.begin()
    store.prepare(Image("values", ("z", "y", "x"), (8, 8, 8), "float32", "", 8, 1))
    folder = store.path / "values" / "0"
    opened = []
    monkeypatch.setattr(stored_array, "sharded", lambda *given: opened.append(1) or sharded(*given))
    assert StoredArray(folder).shape == StoredArray(folder).shape == (8, 8, 8)
    assert len(opened) == 1
    file = folder / "zarr.json"
    file.write_bytes(file.read_bytes().replace(b"float32", b"float64"))
    with pytest.raises(StoreError, match="checksum does not match"):
        StoredArray(folder)
    file.unlink()
    with pytest.raises(StoreError, match="is missing"):
        StoredArray(folder)
