"""Boxes of sharded arrays, read straight from the files of their shards, and what such a file holds.

What the standard reader and writer spend on a chunk beside decoding or encoding it (tasks of an event loop, copies,
codecs one by one) takes more time than that, and holds up other threads. Of a chunk that is read only those blocks of
the compressor are decoded that hold planes of the box. Arrays that are stored in any other way are left to the standard
reader.
"""

from __future__ import annotations

import functools
import itertools
import math
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import numpy.typing as npt
from numcodecs import blosc

from xct_pipeline.store.image import Codec

Span = tuple[int, int]
ABSENT = 2**64 - 1  # offset of a chunk that was never written
HEADER = struct.Struct("<4B3I")  # of blosc: versions, flags, bytes of an item; bytes of all, of a block, compressed
SHUFFLES = {"noshuffle": blosc.NOSHUFFLE, "bitshuffle": blosc.BITSHUFFLE}
KEYS = {  # of an array's zarr.json; what has others is read as they say, or not at all
    *("shape", "data_type", "chunk_grid", "chunk_key_encoding", "fill_value", "codecs", "attributes"),
    *("dimension_names", "zarr_format", "node_type", "storage_transformers"),
}
AS_THEY_ARE = 0x2  # flag of blosc: values were not compressed
UNIFORM_BYTES = 6000  # below which a chunk may hold one value only: 64^3 of float32 take 5300 bytes
KEPT = 256  # chunks of one value, of which others need not be encoded and decoded again


@dataclass(frozen=True)
class ShardedArray:
    """An array of shards of chunks, each compressed by blosc and followed by its checksum.

    Attributes
    ----------
    folder : Path
    shape, shards, chunks : tuple of int
    dtype : dtype
    fill : scalar
        Value of what was never written.
    """

    folder: Path
    shape: tuple[int, ...]
    shards: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[Any]
    fill: Any

    def read(self, box: Sequence[Span]) -> npt.NDArray[Any]:
        """Return the values of a box, given as first index and the one after the last along each axis.

        Raises
        ------
        ValueError, OSError
            A checksum does not match, or a shard is no such file.
        """
        out = np.empty([stop - start for start, stop in box], self.dtype)
        buffer = np.empty(self.chunks, self.dtype)
        for shard in _cells(box, self.shards):
            place = [k * size for k, size in zip(shard, self.shards, strict=True)]
            here = _common(box, place, self.shards)
            try:
                with open(self.folder.joinpath("c", *map(str, shard)), "rb", buffering=0) as file:
                    self._read_shard(file, place, here, box, buffer, out)
            except FileNotFoundError:
                out[_within(here, [start for start, _ in box])] = self.fill
        return out

    def _read_shard(
        self,
        file: FileIO,
        place: Sequence[int],
        here: Sequence[Span],
        box: Sequence[Span],
        buffer: npt.NDArray[Any],
        out: npt.NDArray[Any],
    ) -> None:
        grid = [size // chunk for size, chunk in zip(self.shards, self.chunks, strict=True)]
        size = 16 * math.prod(grid) + 4
        index = np.frombuffer(_checked(file, os.fstat(file.fileno()).st_size - size, size), "<u8").reshape(*grid, 2)
        axes = [
            [_piece(k, a, b, p, n, start) for k in range((a - p) // n, -(-(b - p) // n))]
            for (a, b), p, n, (start, _) in zip(here, place, self.chunks, box, strict=True)
        ]
        for pieces in itertools.product(*axes):
            chunk, wanted, target = zip(*pieces, strict=True)
            offset, length = index[chunk].tolist()
            if offset == ABSENT:
                out[target] = self.fill
                continue
            data = _checked(file, offset, length)
            value = _uniform(data, self.chunks, self.dtype) if length < UNIFORM_BYTES else None
            if value is None:
                _decode(data, buffer, wanted)
            out[target] = buffer[wanted] if value is None else value


def sharded(folder: Path, data: Any) -> ShardedArray | None:
    """Return what reads an array as this package stores it, of its ``zarr.json``; None where it is stored otherwise."""
    try:
        return _sharded(folder, data)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _sharded(folder: Path, data: Mapping[str, Any]) -> ShardedArray | None:
    codecs, dtype, fill = data["codecs"], np.dtype(str(data["data_type"])), data["fill_value"]
    if (data["zarr_format"], data["node_type"]) != (3, "array") or data.get("storage_transformers"):
        return None
    if not set(data) <= KEYS or dtype.kind not in "biuf" or not (fill == "NaN" or isinstance(fill, int | float)):
        return None
    if len(codecs) != 1 or codecs[0]["name"] != "sharding_indexed" or data["chunk_grid"]["name"] != "regular":
        return None
    inner = codecs[0]["configuration"]
    checked = [("bytes", "little"), ("crc32c", None)]
    plain = _named(inner["index_codecs"]) == checked and inner.get("index_location", "end") == "end"
    names = _named(inner["codecs"])
    if not plain or [name for name, _ in names] != ["bytes", "blosc", "crc32c"] or names[0][1] not in ("little", None):
        return None
    if dict(data["chunk_key_encoding"]) != {"name": "default", "configuration": {"separator": "/"}}:
        return None
    shards = data["chunk_grid"]["configuration"]["chunk_shape"]
    shape, shards, chunks = (tuple(map(int, sizes)) for sizes in (data["shape"], shards, inner["chunk_shape"]))
    if any(shard % chunk for shard, chunk in zip(shards, chunks, strict=True)):
        return None
    return ShardedArray(folder, shape, shards, chunks, dtype, dtype.type(fill))


def encoded(
    block: npt.NDArray[Any], shard: Sequence[int], chunks: Sequence[int], codec: Codec, fill: Any
) -> Iterator[bytes]:
    """Yield what the file of a shard holds, one part after the other: its chunks with their checksums, and the index.

    Parameters
    ----------
    block : array
        All values of the shard that lie in the array, from its first one on.
    shard, chunks : sequence of int
        Shape of a shard, and of the chunks inside it.
    codec : (str, int, str)
        Of blosc, its level and shuffle.
    fill : scalar
        What the rest of a chunk is filled with that the end of the array cuts.
    """
    grid = [size // chunk for size, chunk in zip(shard, chunks, strict=True)]
    index, place = np.full((*grid, 2), ABSENT, "<u8"), 0
    box = [(0, n) for n in block.shape]
    for chunk in _cells(box, chunks):
        first = [k * n for k, n in zip(chunk, chunks, strict=True)]
        values = block[_within(_common(box, first, chunks), [0] * block.ndim)]
        if values.shape != tuple(chunks):
            whole = np.full(chunks, fill, block.dtype)
            whole[tuple(slice(0, n) for n in values.shape)] = values
            values = whole
        data = _compressed(values, codec)
        index[chunk] = place, len(data) + 4
        place += len(data) + 4
        yield data
        yield _checksum(data)
    yield index.tobytes()
    yield _checksum(index.tobytes())


def _compressed(values: npt.NDArray[Any], codec: Codec) -> bytes:
    """Return a chunk as blosc stores it; most of labels and of what surrounds a sample is one value throughout."""
    bits = values.view(f"u{values.dtype.itemsize}")
    first, middle, last = bits[(0,) * bits.ndim], bits[tuple(n // 2 for n in bits.shape)], bits[(-1,) * bits.ndim]
    if first == middle == last and (bits == first).all():
        return _one_value(first.tobytes(), bits.dtype, bits.size, codec)
    return _squeezed(np.ascontiguousarray(values), codec)


@functools.lru_cache(KEPT)
def _one_value(value: bytes, dtype: np.dtype[Any], count: int, codec: Codec) -> bytes:
    return _squeezed(np.full(count, np.frombuffer(value, dtype)[0]), codec)


def _squeezed(values: npt.NDArray[Any], codec: Codec) -> bytes:
    name, level, shuffle = codec
    return bytes(blosc.compress(values, name.encode(), level, SHUFFLES[shuffle]))


@functools.lru_cache(KEPT)
def _uniform(data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """Return the value of all voxels of a chunk, None where they differ, as those do of other chunks."""
    values = np.empty(shape, dtype)
    _decode(data, values, tuple(slice(0, n) for n in shape))
    flat = values.reshape(-1)
    return flat[0] if (flat == flat[0]).all() else None


def _checksum(data: bytes) -> bytes:
    return int(google_crc32c.value(data)).to_bytes(4, "little")


def _named(codecs: Sequence[Any]) -> list[tuple[str, Any]]:
    found = []
    for codec in codecs:
        found.append((codec["name"], (codec.get("configuration") or {}).get("endian")))
    return found


def _cells(box: Sequence[Span], sizes: Sequence[int]) -> itertools.product[tuple[int, ...]]:
    """Return the indices of all cells of a grid that a box meets; none where it is empty."""
    spans = [range(a // size, -(-b // size)) if b > a else range(0) for (a, b), size in zip(box, sizes, strict=True)]
    return itertools.product(*spans)


def _common(box: Sequence[Span], first: Sequence[int], sizes: Sequence[int]) -> list[Span]:
    """Return what a box and a cell that begins at `first` have in common."""
    return [(max(a, f), min(b, f + size)) for (a, b), f, size in zip(box, first, sizes, strict=True)]


def _piece(k: int, start: int, stop: int, place: int, size: int, origin: int) -> tuple[int, slice, slice]:
    """Return along an axis what a span has in common with chunk `k` of a shard, in indices of the chunk and of a box.

    The shard begins at `place` and the box at `origin`.
    """
    first = place + k * size
    low, high = max(start, first), min(stop, first + size)
    return k, slice(low - first, high - first), slice(low - origin, high - origin)


def _within(box: Sequence[Span], origin: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(a - o, b - o) for (a, b), o in zip(box, origin, strict=True))


def _checked(file: FileIO, offset: int, length: int) -> bytes:
    """Return bytes of a file without the checksum that they end with, which must be theirs."""
    if offset < 0 or length < 4:
        raise ValueError("the file is shorter than its index")
    stored = os.pread(file.fileno(), length, offset)
    if len(stored) != length:
        raise ValueError("the file ends within a chunk")
    data, check = stored[:-4], stored[-4:]
    if google_crc32c.value(data) != int.from_bytes(check, "little"):
        raise ValueError("stored and computed checksum do not match")
    return data


def _decode(data: bytes, buffer: npt.NDArray[Any], wanted: tuple[slice, ...]) -> None:
    """Decode the blocks of a chunk that hold the wanted planes into their place in a buffer of the whole chunk."""
    axis = next((k for k, n in enumerate(buffer.shape) if n > 1), 0)
    plane = buffer.nbytes // buffer.shape[axis]
    first, last = wanted[axis].start * plane, wanted[axis].stop * plane
    *versions, flags, item, total, block, size = HEADER.unpack_from(data)
    if total != buffer.nbytes or size != len(data):
        raise ValueError(f"a chunk of {total} bytes where there should be {buffer.nbytes}")
    flat = buffer.reshape(-1).view(np.uint8)
    if flags & AS_THEY_ARE or not block or total % block:  # a last block that is smaller is decoded with all others
        blosc.decompress(data, flat)
        return
    one, end = first // block, -(-last // block)
    if end - one == total // block:
        blosc.decompress(data, flat)
        return
    starts = struct.unpack_from(f"<{total // block}i", data, HEADER.size)
    order = [*sorted(starts), len(data)]
    ends = dict(itertools.pairwise(order))
    parts = [data[start : ends[start]] for start in starts[one:end]]
    places = itertools.accumulate(map(len, parts), initial=HEADER.size + 4 * len(parts))
    *begins, size = places
    values = flat[one * block : end * block]
    header = HEADER.pack(*versions, flags, item, len(values), block, size)
    blosc.decompress(b"".join([header, struct.pack(f"<{len(begins)}i", *begins), *parts]), values)
