"""Kernels compiled by numba: declared here, and made when one is first called.

Loading numba takes a quarter of a second, so that modules with kernels do without: a command that computes nothing
never loads it.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

_loading = threading.RLock()
_watches: list[Watch] = []


class Kernel:
    """A function that is compiled for the types of its arguments when they are first met.

    To numba, which types what a kernel calls by the attributes of its dispatcher, it is that dispatcher.
    """

    def __init__(
        self, function: Callable[..., Any], cache: bool, options: dict[str, Any], signature: str | None = None
    ) -> None:
        functools.update_wrapper(self, function)
        self._cache, self._options, self._signature, self._made = cache, options, signature, None

    def __call__(self, *arguments: Any) -> Any:
        """Call what was compiled."""
        made = self._made or self._dispatcher()
        if self._options["no_cpython_wrapper"] and made is not self.__wrapped__:  # as it is where numba is disabled
            raise TypeError(f"{self.__qualname__} is called by kernels only: without a wrapper Python would crash")
        return made(*arguments)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._dispatcher(), name)

    def __reduce__(self) -> str:
        return str(self.__qualname__)  # pickled as functions are, by name

    def _dispatcher(self) -> Any:
        kept = _kept()
        with kept.lock:  # numba's own: whoever compiles what calls this kernel holds it already
            if self._made is None:
                self._made = kept.dispatcher(self.__wrapped__, self._cache, self._options, self._signature)
        return self._made


def njit(
    function: Callable[..., Any] | None = None,
    *,
    cache: bool = True,
    nogil: bool = True,
    inner: bool = False,
    signature: str | None = None,
    **options: Any,
) -> Any:
    """Compile a function at its first call, as ``numba.njit`` does, and keep the result for later processes.

    Parameters
    ----------
    function : callable
        Called with positional arguments.
    cache : bool
        Keep it where numba finds a folder that can be written; elsewhere it lasts as long as the process.
    nogil : bool
        Let other threads work meanwhile.
    inner : bool
        Called by kernels only: what Python would call it by is not made.
    signature : str, optional
        The only types of arguments it is compiled for, in numba's notation, where several would be met: a contiguous
        array is taken for one that is not (``f4[:, :]``), but nothing of another dtype.
    **options
        Of ``numba.njit``.
    """
    if function is None:
        return lambda later: njit(later, cache=cache, nogil=nogil, inner=inner, signature=signature, **options)
    # no wrapper for C, and divisions as numpy has them: one that may raise costs branches that are never taken
    given = {"nogil": nogil, "no_cfunc_wrapper": True, "no_cpython_wrapper": inner, "error_model": "numpy", **options}
    return Kernel(function, cache, given, signature)


class Allocation:
    """Makes an array inside a kernel, where `numpy.empty` costs a compilation for each dtype and number of axes.

    Called as those are, with an integer or a tuple of them, and a dtype.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, shape: Any, dtype: Any) -> Any:
        """Make an array outside of compiled code."""
        return self._function(shape, dtype)

    @property
    def _numba_type_(self) -> Any:
        return _kept().allocation(self._function.__name__)


empty, zeros = Allocation(np.empty), Allocation(np.zeros)


class Watch:
    """Counts the kernels that are compiled, those inside others with them, and tells of the outermost.

    Attributes
    ----------
    count : int
        How many were compiled so far.
    seconds : float
        How long that took.
    """

    def __init__(self, told: Callable[[str | None], None]) -> None:
        self.told, self.count, self.seconds = told, 0, 0.0


@contextlib.contextmanager
def watched(told: Callable[[str | None], None]) -> Iterator[Watch]:
    """Tell of every kernel that this process compiles: its name when it begins, None when it is ready."""
    watch = Watch(told)
    _watches.append(watch)
    try:
        yield watch
    finally:
        _watches.remove(watch)


def _kept() -> Any:
    with _loading:
        return _load()


@functools.cache
def _load() -> Any:
    from xct_pipeline.compiled import kept

    kept.listen(_watches)
    return kept
