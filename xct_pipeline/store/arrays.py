"""Arrays of a store: their metadata, and shards that are written whole and digested on their way to the disk."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.abc.store import Store as ZarrStore
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import MemoryStore

from xct_pipeline.store import seal
from xct_pipeline.store.files import write_parts
from xct_pipeline.store.image import Image
from xct_pipeline.store.marker import Written
from xct_pipeline.store.shards import encoded


def array_bytes(image: Image, level: int) -> bytes:
    """Return the metadata of one level's array, its ``zarr.json``."""
    store = MemoryStore()
    _create(store, image, level)
    found = sync(store.get("zarr.json", default_buffer_prototype()))
    assert found is not None
    return bytes(found.to_bytes())


def _create(store: ZarrStore, image: Image, level: int) -> None:
    name, effort, shuffle = image.codec
    zarr.create_array(
        store=store,
        shape=image.level_shape(level),
        shards=image.shard_shape(level),
        chunks=image.chunk_shape(level),
        dtype=image.dtype,
        dimension_names=image.axes,
        fill_value=fill_value(image),
        compressors=[
            BloscCodec(cname=name, clevel=effort, shuffle=shuffle, typesize=np.dtype(image.dtype).itemsize),
            Crc32cCodec(),
        ],
    )


def write_level(root: Path, image: Image, level: int, shard: Sequence[int], block: npt.NDArray[Any]) -> Written:
    """Write the part of one level that a shard covers, as one file, and return what was written.

    Parameters
    ----------
    block : array
        All values of the shard that lie in the level.
    """
    file = (root / image.path / str(level) / "c").joinpath(*map(str, shard))
    file.parent.mkdir(parents=True, exist_ok=True)
    block = np.asarray(block, np.dtype(image.dtype).newbyteorder("<"))
    digest = seal.hasher()
    parts = encoded(block, image.shard_shape(level), image.chunk_shape(level), image.codec, fill_value(image))
    write_parts(file, _digested(parts, digest))
    status = file.stat()
    return Written(status.st_size, status.st_mtime_ns, digest.hexdigest())


def _digested(parts: Iterable[bytes], digest: Any) -> Iterator[bytes]:
    for part in parts:
        digest.update(part)
        yield part


def fill_value(image: Image) -> float:
    """Return the value of voxels that were never written."""
    return 0 if np.dtype(image.dtype).kind in "iub" else math.nan
