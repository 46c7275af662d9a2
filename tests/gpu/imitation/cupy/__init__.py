"""An imitation of CuPy on numpy arrays that is stricter than CuPy, for machines without a device.

It refuses what CuPy refuses (an implicit copy to the host, numpy arrays among device arrays, functions that CuPy lacks)
and numpy arrays as indices besides. Raw kernels are compiled as C++ and run on the host. It knows nothing of speed.
"""

from __future__ import annotations

import contextlib
import pathlib
from typing import Any

import numpy as _np

from . import cuda
from ._raw import RawKernel

__version__ = "0+imitation"
_FOLDER = pathlib.Path(__file__).resolve().parents[1]
NAMES = {line.split()[0]: frozenset(line.split()[1:]) for line in (_FOLDER / "names.txt").read_text().splitlines()}
OPTIONS = {line.split()[0]: frozenset(line.split()[1:]) for line in (_FOLDER / "options.txt").read_text().splitlines()}
_FROM_HOST = {"array", "asarray", "ascontiguousarray", "asanyarray", "copyto"}


def unwrap(value: Any) -> Any:
    """Return the numpy array within, or raise where a host array stands among device arrays."""
    if isinstance(value, ndarray):
        return value.values
    if isinstance(value, _np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    if isinstance(value, (list, tuple)):
        items = [unwrap(item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, dict):
        return {key: unwrap(item) for key, item in value.items()}
    if isinstance(value, slice):
        return slice(*(unwrap(part) for part in (value.start, value.stop, value.step)))
    return value


def wrap(value: Any) -> Any:
    """Return device arrays for numpy arrays and scalars."""
    if isinstance(value, (_np.ndarray, _np.generic)):
        return ndarray(_np.asarray(value))
    if isinstance(value, (list, tuple)):
        items = [wrap(item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


def strict(function: Any, name: str = "") -> Any:
    """Return a function of device arrays from one of numpy arrays; `name` is what CuPy calls it."""

    def call(*args: Any, **options: Any) -> Any:
        unknown = set(options) - OPTIONS.get(name, frozenset(options))
        if unknown:
            raise TypeError(f"{name}() got an unexpected keyword argument {unknown.pop()!r}")
        with _np.errstate(all="ignore"):
            return wrap(function(*unwrap(args), **unwrap(options)))

    return call


class ndarray:
    """A device array."""

    def __init__(self, values: Any) -> None:
        self.values = values

    def get(self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True) -> Any:
        if out is None:
            return _np.array(self.values, order="C")
        out[...] = self.values
        return out

    def set(self, values: Any, stream: Any = None) -> None:
        if self.values.shape != values.shape or self.values.dtype != values.dtype:
            raise TypeError("shape or dtype differs")
        self.values[...] = values

    def __array__(self, *args: Any, **options: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if method != "__call__":
            return NotImplemented
        return strict(_known("cupy", ufunc.__name__, ufunc), f"cupy.{ufunc.__name__}")(*inputs, **options)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        return strict(_known("cupy", function.__name__, function), f"cupy.{function.__name__}")(*args, **options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in NAMES["cupy.ndarray"]:
            raise AttributeError(f"'cupy.ndarray' object has no attribute {name!r}")
        value = getattr(self.values, name)
        if callable(value) and not isinstance(value, _np.ndarray):
            return strict(value, f"cupy.ndarray.{name}")
        return wrap(value) if isinstance(value, _np.ndarray) else value

    def __getitem__(self, index: Any) -> Any:
        return wrap(self.values[unwrap(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        self.values[unwrap(index)] = unwrap(value)

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Any:
        return (wrap(item) for item in self.values)

    def __repr__(self) -> str:
        return f"cupy {self.values!r}"

    __hash__ = None  # type: ignore[assignment]


def _operator(name: str) -> Any:
    def apply(self: ndarray, *others: Any) -> Any:
        with _np.errstate(all="ignore"):
            result = getattr(self.values, name)(*unwrap(others))
        if name.startswith("__i") and name not in ("__int__", "__index__", "__invert__"):
            return self if result is self.values else wrap(result)
        return result if name in ("__bool__", "__int__", "__float__", "__index__", "__complex__") else wrap(result)

    return apply


_COMPARE = ("lt", "le", "eq", "ne", "gt", "ge")
_BINARY = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor")
_UNARY = ("lshift", "rshift", "neg", "pos", "abs", "invert", "bool", "int", "float", "index", "complex")
for _name in (*_COMPARE, *_BINARY, *(f"r{n}" for n in _BINARY), *(f"i{n}" for n in _BINARY if n != "matmul"), *_UNARY):
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__"))


def _known(module: str, name: str, function: Any) -> Any:
    if name not in NAMES[module]:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    return function


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    value = _known("cupy", name, getattr(_np, name))
    if isinstance(value, type) or not callable(value):
        return value
    if name in _FROM_HOST:
        return lambda source, *args, **options: wrap(
            getattr(_np, name)(source.values if isinstance(source, ndarray) else unwrap_list(source), *args, **options)
        )
    return strict(value, f"cupy.{name}")


def unwrap_list(source: Any) -> Any:
    """Return what an array is made from: numpy arrays are welcome here."""
    if isinstance(source, (list, tuple)):
        return [item.values if isinstance(item, ndarray) else item for item in source]
    return source


def asnumpy(array: Any, stream: Any = None, order: str = "C", out: Any = None, *, blocking: bool = True) -> Any:
    """Copy to the host."""
    return array.get(out=out) if isinstance(array, ndarray) else _np.asarray(array)


errstate = contextlib.nullcontext
__all__ = ["RawKernel", "cuda", "ndarray"]
