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
from typing import Any

import numpy as np
import scipy.fft
import scipy.ndimage


def is_cupy(array: object) -> bool:
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


def to_device(array: np.ndarray[Any, Any]) -> Any:
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

    def one_ahead(self, read: Callable[[Any], np.ndarray[Any, Any]], items: Iterable[Any]) -> Iterator[Any]:
        """Yield the device's copy of ``read(item)`` for each item, the next one under way meanwhile."""
        waiting: deque[Future[Any]] = deque()
        for item in items:
            waiting.append(self._thread.submit(self._copy, read, item))
            if len(waiting) > 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _copy(self, read: Callable[[Any], np.ndarray[Any, Any]], item: Any) -> Any:
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


def to_host(array: Any) -> np.ndarray[Any, Any]:
    """Copy an array back to the host; a numpy array is returned as it is."""
    if is_cupy(array):
        return array.get()  # type: ignore[no-any-return]
    return np.asarray(array)


def download(array: Any) -> np.ndarray[Any, Any]:
    """Copy a large array back to the host through pinned memory, which the result keeps."""
    if not is_cupy(array):
        return np.asarray(array)
    import cupyx

    pinned = cupyx.empty_pinned(array.shape, array.dtype)
    result: np.ndarray[Any, Any] = array_namespace(array).ascontiguousarray(array).get(out=pinned)
    return result
