"""The one place where numpy and CuPy meet: which namespace an array belongs to, and how it moves."""

from __future__ import annotations

import functools
import importlib.resources
import sys
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


def to_host(array: Any) -> np.ndarray[Any, Any]:
    """Copy an array back to the host; a numpy array is returned as it is."""
    if is_cupy(array):
        return array.get()  # type: ignore[no-any-return]
    return np.asarray(array)
