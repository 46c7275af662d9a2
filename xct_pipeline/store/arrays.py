"""Arrays of a store: their metadata, and shards that are written whole and digested on their way to the disk."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from xct_pipeline.store import seal
from xct_pipeline.store.files import write_parts
from xct_pipeline.store.image import Image
from xct_pipeline.store.marker import Written
from xct_pipeline.store.shards import encoded

LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}
CHECKED = {"name": "crc32c"}


def array_bytes(image: Image, level: int) -> bytes:
    """Return the metadata of one level's array, its ``zarr.json``, as zarr would, which takes long to load."""
    name, effort, shuffle = image.codec
    size = np.dtype(image.dtype).itemsize
    packed = {"typesize": size, "cname": name, "clevel": effort, "shuffle": shuffle, "blocksize": 0}
    fill = fill_value(image)
    inner = {
        "chunk_shape": image.chunk_shape(level),
        "codecs": [LITTLE if size > 1 else {"name": "bytes"}, {"name": "blosc", "configuration": packed}, CHECKED],
        "index_codecs": [LITTLE, CHECKED],
        "index_location": "end",
    }
    document = {
        "shape": image.level_shape(level),
        "data_type": str(np.dtype(image.dtype)),
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": image.shard_shape(level)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": "NaN" if np.isnan(fill) else fill,
        "codecs": [{"name": "sharding_indexed", "configuration": inner}],
        "attributes": {},
        "dimension_names": image.axes,
        "zarr_format": 3,
        "node_type": "array",
        "storage_transformers": [],
    }
    return json.dumps(document, indent=2).encode()


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
    kind = np.dtype(image.dtype).kind
    return False if kind == "b" else 0 if kind in "iu" else np.nan
