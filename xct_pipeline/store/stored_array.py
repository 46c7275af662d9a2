"""Arrays of a store, read so that damage, absence and what is being computed are told by the file, never as values."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import operator
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from xct_pipeline.inputs import read_bytes
from xct_pipeline.store import seal
from xct_pipeline.store.files import HEALED, StoreError, marker_file, out_of_memory, read_attributes, store_root
from xct_pipeline.store.holder import holder_of
from xct_pipeline.store.marker import Marker, is_of_image, problem_of, read_marker
from xct_pipeline.store.shards import ShardedArray, sharded

Shard = tuple[int, ...]
State = tuple[int, int, int, int]  # of a file
ABSENT: State = (0, 0, 0, 0)


class StoredArray:
    """One level of an image of a store, for reading.

    Of an image that a run wrote, every shard that is read must be finished and be the file that its marker vouches
    for: anything else raises StoreError with the name of the file, as does a chunk whose checksum does not match.
    The marker of a damaged shard is removed, so that the next run computes it again. Images of other writers, and
    of earlier versions, have no such markers; of them only damaged chunks are told.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._root = store_root(self.folder)
        files = (self.folder / "zarr.json", self.folder.parent / "zarr.json")
        states = [_state(file) for file in files]
        opened = _opened if states[0] != ABSENT else _opened.__wrapped__  # of another format, its files are not known
        self._guarded, self._form = opened(self.folder, self._root is not None, *states)
        self.shape: tuple[int, ...] = self._form.shape
        self.dtype: np.dtype[Any] = self._form.dtype
        self.shards: tuple[int, ...] | None = self._form.shards
        self.chunks: tuple[int, ...] = self._form.chunks

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __getitem__(self, index: Any) -> npt.NDArray[Any]:
        files = [self._checked(shard) for shard in self._touched(index)] if self._guarded else []
        before = [_state(file)[:-1] for file in files]  # a link or another owner is no other file
        try:
            values = self._read(index)
        except IndexError:
            raise
        except Exception as error:
            if out_of_memory(error):
                raise
            raise self._told(error) from error
        for file, state in zip(files, before, strict=True):
            if _state(file)[:-1] != state:
                raise StoreError(f"{file} was computed anew while it was read; read it again")
        return values

    @functools.cached_property
    def _array(self) -> Any:
        """What the standard reader makes of it."""
        return _standard(self.folder) if isinstance(self._form, ShardedArray) else self._form

    def _read(self, index: Any) -> npt.NDArray[Any]:
        parts = tuple(self._whole(index))
        plain = len(parts) == self.ndim and all(_is_plain(part) for part in parts)
        if not isinstance(self._form, ShardedArray) or not plain:
            return np.asarray(self._array[index])
        box = [_box_span(part, n) for part, n in zip(parts, self.shape, strict=True)]
        values = self._form.read(box)
        return np.asarray(values[tuple(slice(None) if isinstance(part, slice) else 0 for part in parts)])

    def _told(self, error: Exception) -> StoreError:
        damaged = self._damaged()
        for shard in damaged:
            self._forget(shard)
        file = self._file(damaged[0]) if damaged else self.folder
        more = f" (and {len(damaged) - 1} more)" if len(damaged) > 1 else ""
        reason = " ".join(str(error).split()) or type(error).__name__
        return StoreError(f"{file}{more}: damaged on the disk ({reason}); xct run computes it anew")

    @property
    def _name(self) -> str:
        assert self._root is not None
        return self.folder.parent.relative_to(self._root).as_posix()

    def _marker(self, shard: Shard) -> Marker | None:
        assert self._root is not None
        return read_marker(self._root, self._name, shard)

    def _checked(self, shard: Shard) -> Path:
        """Return the file of a shard that is finished and what its marker vouches for."""
        file, marker = self._file(shard), self._marker(shard)
        assert self._root is not None
        level = int(self.folder.name)
        if marker is None or marker.files is None or level >= len(marker.files):
            raise StoreError(f"{file}: {self._unfinished()}")
        problem = problem_of(file, marker.files[level])
        if problem:  # its marker stays: the next run compares as well
            raise StoreError(f"{file}: damaged on the disk (it {problem}); xct run computes it anew")
        if not is_of_image(self._root, self._name, shard, marker):
            raise StoreError(f"{file}: was written for another image, as its marker says; xct run computes it anew")
        return file

    def _unfinished(self) -> str:
        """Say that a shard is not finished, and who is at it."""
        assert self._root is not None
        holder = holder_of(self._root)
        if holder is None:
            return "is not computed; xct run computes it"
        if holder.held:
            return f"is being computed by {holder}; wait for it"
        return f"is not computed, for {holder} was killed; xct run goes on"

    def _grid(self) -> Iterator[Shard]:
        sizes = self.shards or self.chunks
        return itertools.product(*(range(-(-n // size)) for n, size in zip(self.shape, sizes, strict=True)))

    def _touched(self, index: Any) -> Iterator[Shard]:
        """Yield the shards that an index reads; all of them where it is none of whole numbers and slices."""
        spans = []
        for part, n, size in zip(self._whole(index), self.shape, self.shards or self.chunks, strict=False):
            span = _span(part, n)
            if span is None:
                return self._grid()
            spans.append(range(span[0] // size, -(-span[1] // size)) if span[1] > span[0] else range(0))
        return itertools.product(*spans)

    def _whole(self, index: Any) -> tuple[Any, ...]:
        """Return an index with a part for every axis."""
        parts = index if isinstance(index, tuple) else (index,)
        if Ellipsis in [part for part in parts if part is Ellipsis]:
            k = next(k for k, part in enumerate(parts) if part is Ellipsis)
            parts = (*parts[:k], *[slice(None)] * (self.ndim - len(parts) + 1), *parts[k + 1 :])
        return (*parts, *[slice(None)] * (self.ndim - len(parts)))

    def _damaged(self) -> list[Shard]:
        """Return the shards that cannot be read."""
        sizes = self.shards or self.chunks
        found = []
        for shard in self._grid():
            try:
                self._array[tuple(slice(k * size, (k + 1) * size) for k, size in zip(shard, sizes, strict=True))]
            except Exception as error:
                if out_of_memory(error):
                    raise
                found.append(shard)
        return found

    def _file(self, shard: Shard) -> Path:
        return self.folder.joinpath("c", *map(str, shard))

    def _forget(self, shard: Shard) -> None:
        """Remove the marker that calls a shard finished."""
        if self._root is not None:
            with contextlib.suppress(OSError):
                marker_file(self._root, self._name, shard).unlink()


@functools.lru_cache(maxsize=256)
def _opened(folder: Path, ours: bool, *_states: State) -> tuple[bool, Any]:
    """Open an array, once for each state of its metadata: tell whether markers vouch for it, and how it is read."""
    guarded, document = ours and _is_guarded(folder), None
    with contextlib.suppress(OSError, ValueError):  # which the standard reader tells in its words
        document = json.loads(read_bytes(folder / "zarr.json"))
    return guarded, sharded(folder, document) or _standard(folder)


def _standard(folder: Path) -> Any:
    import zarr  # here because that takes half a second, and a store of this package needs none of it

    try:
        return zarr.open_array(str(folder), mode="r")
    except FileNotFoundError:
        raise StoreError(f"{folder} is not there; {HEALED}") from None


def _is_guarded(folder: Path) -> bool:
    """Tell whether markers vouch for the image's shards; StoreError where the array's metadata are damaged."""
    xct = read_attributes(folder.parent).get("xct", {})
    known = xct.get("arrays")
    if known is None or not folder.name.isdecimal() or int(folder.name) >= len(known):
        return False
    file = folder / "zarr.json"
    try:
        data = read_bytes(file)
    except FileNotFoundError:
        raise StoreError(f"{file} is missing; {HEALED}") from None
    except (OSError, ValueError) as error:
        raise StoreError(f"{file}: damaged metadata ({error}); {HEALED}") from None
    if seal.digest(data) != known[int(folder.name)]:
        raise StoreError(f"{file}: damaged metadata (its checksum does not match); {HEALED}")
    return True


def _span(part: Any, n: int) -> tuple[int, int] | None:
    """Return the first index that is read along an axis and the one after the last, None where that is not plain."""
    if isinstance(part, slice):
        chosen = range(*part.indices(n))
        return (min(chosen), max(chosen) + 1) if len(chosen) else (0, 0)
    try:
        k = operator.index(part)
    except TypeError:
        return None
    k += n if k < 0 else 0
    return (k, k + 1) if 0 <= k < n else (0, 0)


def _is_plain(part: Any) -> bool:
    """Tell whether a part of an index is a whole number or a slice without a step."""
    if isinstance(part, slice):
        return part.step in (None, 1)
    return isinstance(part, int | np.integer) and not isinstance(part, bool | np.bool_)


def _box_span(part: Any, n: int) -> tuple[int, int]:
    """Return what a plain part of an index reads along an axis; IndexError where it is beyond the end."""
    if isinstance(part, slice):
        start, stop, _ = part.indices(n)
        return start, max(start, stop)
    k = int(part) + (n if part < 0 else 0)
    if not 0 <= k < n:
        raise IndexError(f"index {int(part)} is out of bounds for an axis of {n}")
    return k, k + 1


def _state(file: Path) -> State:
    try:
        status = file.stat()
    except OSError:
        return ABSENT
    return status.st_ino, status.st_mtime_ns, status.st_size, status.st_ctime_ns
