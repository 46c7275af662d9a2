"""The one place where numpy and CuPy meet: which namespace an array belongs to, and how it moves."""

from __future__ import annotations

import contextlib
import functools
import importlib.resources
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import ModuleType
from typing import Any, Protocol, TypeGuard, TypeVar

import numpy as np
import numpy.typing as npt
import scipy

Array = npt.NDArray[Any]
"""A numpy array, or a CuPy array of the same kind: what a kernel takes. Type checkers know no CuPy."""

Item = TypeVar("Item")


class Sliced(Protocol):
    """What is sliced like an array without being in memory: an array of a store, for instance, or a numpy array."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        ...

    def __getitem__(self, index: slice | tuple[int | slice, ...], /) -> Array:
        """Return a part."""
        ...


def is_cupy(array: object) -> TypeGuard[Any]:
    """Tell whether `array` lives on a CUDA device, without importing CuPy for a numpy array."""
    cupy = sys.modules.get("cupy")
    return cupy is not None and isinstance(array, cupy.ndarray)


def array_namespace(array: object) -> ModuleType:
    """Return ``cupy`` for a CuPy array and ``numpy`` for anything else."""
    return sys.modules["cupy"] if is_cupy(array) else np


def ndimage_of(array: object) -> ModuleType:
    """Return the ``ndimage`` module (scipy's or CuPy's) that works on `array`."""
    if is_cupy(array):
        import cupyx.scipy.ndimage as cupyx_ndimage

        return cupyx_ndimage  # type: ignore[no-any-return]
    return scipy.ndimage  # type: ignore[no-any-return]


def fft_of(array: object) -> ModuleType:
    """Return the ``fft`` module (scipy's or CuPy's) that works on `array` and keeps single precision."""
    if is_cupy(array):
        import cupyx.scipy.fft as cupyx_fft

        return cupyx_fft  # type: ignore[no-any-return]
    return scipy.fft  # type: ignore[no-any-return]


@functools.cache
def cuda_problem() -> str | None:
    """Say why no CUDA device can be used, or None where one can."""
    try:
        import cupy
    except ImportError:
        return "CuPy is not installed (pip install 'xct-pipeline[gpu]')"
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"no CUDA device: {error}"
    return None if count else "no CUDA device"


@functools.cache
def cuda_kernel(package: str, file: str, name: str) -> Any:
    """Return a kernel of a CUDA source file that lies beside the modules of `package`; compiled when first called."""
    import cupy

    source = importlib.resources.files(package).joinpath(file).read_text()
    return cupy.RawKernel(source, name)


def to_device(array: Array) -> Any:
    """Copy a numpy array to the current CUDA device."""
    import cupy

    return cupy.asarray(array)


class Uploads(contextlib.AbstractContextManager["Uploads"]):
    """Copies to the current CUDA device, one ahead of the work on it: a thread, a stream and pinned memory.

    What a copy returns must be held until the work that reads it has ended, because its memory is taken from, and goes
    back to, this stream's own pool.
    """

    def __init__(self) -> None:
        import cupy

        self._stream = cupy.cuda.Stream(non_blocking=True)
        self._thread = ThreadPoolExecutor(1)

    def __exit__(self, *error: object) -> None:
        self._thread.shutdown(cancel_futures=True)

    def one_ahead(self, read: Callable[[Item], Array], items: Iterable[Item]) -> Iterator[Any]:
        """Yield the device's copy of ``read(item)`` for each item, the next one under way meanwhile."""
        waiting: deque[Future[Any]] = deque()
        for item in items:
            waiting.append(self._thread.submit(self._copy, read, item))
            if len(waiting) > 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _copy(self, read: Callable[[Item], Array], item: Item) -> Any:
        import cupy
        import cupyx

        values = read(item)
        pinned = cupyx.empty_pinned(values.shape, values.dtype)
        pinned[...] = values
        with self._stream:
            there = cupy.empty(values.shape, values.dtype)
            there.set(pinned)
            self._stream.synchronize()  # of this thread only; the work on the device goes on
        return there


def to_host(array: npt.ArrayLike) -> Array:
    """Copy an array back to the host; a numpy array is returned as it is."""
    if is_cupy(array):
        return array.get()  # type: ignore[no-any-return]
    return np.asarray(array)


def download(array: npt.ArrayLike) -> Array:
    """Copy a large array back to the host through pinned memory, which the result keeps."""
    if not is_cupy(array):
        return np.asarray(array)
    import cupyx

    pinned = cupyx.empty_pinned(array.shape, array.dtype)
    result: Array = array_namespace(array).ascontiguousarray(array).get(out=pinned)
    return result
