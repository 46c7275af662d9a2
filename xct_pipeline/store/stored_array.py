"""Arrays of a store, read so that damage on the disk is told by its file, and computed anew by the next run."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from xct_pipeline.store.files import StoreError, marker_file


class StoredArray:
    """One level of an image of a store, for reading.

    A chunk whose checksum does not match, or that cannot be decoded, raises StoreError with the name of the file.
    The marker of that shard is removed, so that the next run computes it again.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._array: Any = zarr.open_array(str(folder), mode="r")
        self.shape: tuple[int, ...] = self._array.shape
        self.dtype: np.dtype[Any] = self._array.dtype
        self.shards: tuple[int, ...] | None = self._array.shards
        self.chunks: tuple[int, ...] = self._array.chunks

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __getitem__(self, index: Any) -> npt.NDArray[Any]:
        try:
            return np.asarray(self._array[index])
        except (IndexError, MemoryError):
            raise
        except Exception as error:
            damaged = self._damaged()
            for shard in damaged:
                self._forget(shard)
            file = self._file(damaged[0]) if damaged else self.folder
            more = f" (and {len(damaged) - 1} more)" if len(damaged) > 1 else ""
            reason = " ".join(str(error).split()) or type(error).__name__
            raise StoreError(f"{file}{more}: damaged on the disk ({reason}); xct run computes it anew") from error

    def _grid(self) -> Iterator[tuple[int, ...]]:
        sizes = self.shards or self.chunks
        return itertools.product(*(range(-(-n // size)) for n, size in zip(self.shape, sizes, strict=True)))

    def _damaged(self) -> list[tuple[int, ...]]:
        """Return the shards that cannot be read."""
        sizes = self.shards or self.chunks
        found = []
        for shard in self._grid():
            try:
                self._array[tuple(slice(k * size, (k + 1) * size) for k, size in zip(shard, sizes, strict=True))]
            except MemoryError:
                raise
            except Exception:
                found.append(shard)
        return found

    def _file(self, shard: tuple[int, ...]) -> Path:
        return self.folder.joinpath("c", *map(str, shard))

    def _forget(self, shard: tuple[int, ...]) -> None:
        """Remove the marker that calls a shard finished."""
        image = self.folder.parent.resolve()
        root = next((folder for folder in image.parents if (folder / ".xct").is_dir()), None)
        if root is not None:
            with contextlib.suppress(OSError):
                marker_file(root, str(image.relative_to(root)), shard).unlink()
