"""Arrays of a store: their metadata, and shards that are written whole and digested on their way to the disk."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.abc.store import ByteRequest
from zarr.abc.store import Store as ZarrStore
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import LocalStore, MemoryStore

from xct_pipeline.store import seal
from xct_pipeline.store.image import Image
from xct_pipeline.store.marker import Written, digest_of

SHARDS = "c/"


def array_bytes(image: Image, level: int) -> bytes:
    """Return the metadata of one level's array, its ``zarr.json``."""
    store = MemoryStore()
    _create(store, image, level)
    found = sync(store.get("zarr.json", default_buffer_prototype()))
    assert found is not None
    return bytes(found.to_bytes())


def _create(store: ZarrStore, image: Image, level: int) -> None:
    name, effort = image.codec
    zarr.create_array(
        store=store,
        shape=image.level_shape(level),
        shards=image.shard_shape(level),
        chunks=image.chunk_shape(level),
        dtype=image.dtype,
        dimension_names=image.axes,
        fill_value=0 if np.dtype(image.dtype).kind in "iub" else math.nan,
        compressors=[
            BloscCodec(cname=name, clevel=effort, shuffle="bitshuffle", typesize=np.dtype(image.dtype).itemsize),
            Crc32cCodec(),
        ],
    )


class _Digesting(LocalStore):
    """A folder of files that keeps the digest of each shard that was written to it, over one that is not looked at.

    What lies in the place of a shard may be damaged, and stays there until the new one takes its name: whoever reads
    the folder by itself meets the one or the other.
    """

    def __init__(self, root: Path | str, *, read_only: bool = False) -> None:
        super().__init__(root, read_only=read_only)
        self.digests: dict[str, str] = {}

    def with_read_only(self, read_only: bool = False) -> _Digesting:
        """Return the same folder, and the same digests."""
        other = type(self)(self.root, read_only=read_only)
        other.digests = self.digests
        return other

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return a file of metadata; there are no shards."""
        return None if key.startswith(SHARDS) else await super().get(key, prototype, byte_range)

    def get_sync(
        self, key: str, *, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return a file of metadata; there are no shards."""
        return None if key.startswith(SHARDS) else super().get_sync(key, prototype=prototype, byte_range=byte_range)

    async def set(self, key: str, value: Buffer) -> None:
        """Write a file whole."""
        self.digests[key] = seal.digest(value.as_buffer_like())  # type: ignore[arg-type]
        await super().set(key, value)

    def set_sync(self, key: str, value: Buffer) -> None:
        """Write a file whole."""
        self.digests[key] = seal.digest(value.as_buffer_like())  # type: ignore[arg-type]
        super().set_sync(key, value)


def write_level(
    root: Path, image: Image, level: int, shard: Sequence[int], start: Sequence[int], block: npt.NDArray[Any]
) -> Written:
    """Write the part of one level that a shard covers, as one file, and return what was written.

    Parameters
    ----------
    start : sequence of int
        Of the block in the level.
    block : array
        All values of the shard that lie in the level.
    """
    folder = root / image.path / str(level)
    key = SHARDS + "/".join(map(str, shard))
    file = folder / key
    store = _Digesting(folder)
    array: Any = zarr.open_array(store=store, mode="r+")
    array = array.with_config({"write_empty_chunks": True})  # a finished shard is a file, whatever it holds
    array[tuple(slice(a, a + n) for a, n in zip(start, block.shape, strict=True))] = block
    status = file.stat()
    return Written(status.st_size, status.st_mtime_ns, store.digests.get(key) or digest_of(file))
