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

_making = threading.RLock()
_watches: list[Watch] = []


class Kernel:
    """A function that is compiled for the types of its arguments when they are first met.

    To numba, which types what a kernel calls by the attributes of its dispatcher, it is that dispatcher.
    """

    def __init__(self, function: Callable[..., Any], cache: bool, options: dict[str, Any]) -> None:
        functools.update_wrapper(self, function)
        self._cache, self._options, self._made = cache, options, None

    def __call__(self, *arguments: Any) -> Any:
        """Call what was compiled."""
        return (self._made or self._dispatcher())(*arguments)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._dispatcher(), name)

    def __reduce__(self) -> str:
        return str(self.__qualname__)  # pickled as functions are, by name

    def _dispatcher(self) -> Any:
        with _making:
            if self._made is None:
                self._made = _kept().dispatcher(self.__wrapped__, self._cache, self._options)
        return self._made


def njit(function: Callable[..., Any] | None = None, *, cache: bool = True, nogil: bool = True, **options: Any) -> Any:
    """Compile a function at its first call, as ``numba.njit`` does, and keep the result for later processes.

    Parameters
    ----------
    function : callable
        Called with positional arguments.
    cache : bool
        Keep it where numba finds a folder that can be written; elsewhere it lasts as long as the process.
    nogil : bool
        Let other threads work meanwhile.
    **options
        Of ``numba.njit``.
    """
    if function is None:
        return lambda later: njit(later, cache=cache, nogil=nogil, **options)
    return Kernel(function, cache, {"nogil": nogil, "no_cfunc_wrapper": True, **options})  # called from Python alone


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


@functools.cache
def _kept() -> Any:
    from xct_pipeline.compiled import kept

    kept.listen(_watches)
    return kept
