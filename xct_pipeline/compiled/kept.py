"""What numba compiles: kept on the disk where that can be written, and told of while it is made.

numba looks for a folder beside the source, then in the user's cache, and gives up an import where neither can be
written, as in a container. A cache is a convenience: without one, with a full disk or with a damaged file in it,
kernels are compiled in memory, and that is said once.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numba
from numba import types
from numba.core import cgutils, imputils
from numba.core.caching import FunctionCache
from numba.core.compiler_lock import global_compiler_lock
from numba.core.dispatcher import Dispatcher
from numba.core.event import Event, Listener, register
from numba.core.registry import cpu_target
from numba.core.types.functions import BaseFunction
from numba.extending import intrinsic
from numba.np import arrayobj

if TYPE_CHECKING:
    from xct_pipeline.compiled import Watch

log = logging.getLogger("xct")
HINT = "every run compiles them again; set NUMBA_CACHE_DIR to a folder that can be written"
lock = global_compiler_lock
_PLAIN = (types.Number, types.Boolean, types.Literal, types.Array, types.BaseTuple, types.SliceType)
_state: dict[str, Any] = {"unkept": None, "told": False}


class _KeptWhereItCan(FunctionCache):
    """A cache of which no failure reaches who calls the kernel."""

    def load_overload(self, sig: object, target_context: object) -> Any:
        """Return what is kept for a signature, None where nothing is or it cannot be read."""
        try:
            return super().load_overload(sig, target_context)
        except OSError as error:
            _cannot_keep(error)
        except Exception as error:  # a torn file, or one of another version: as good as none
            log.debug("%s: unreadable compiled kernels (%s)", self.cache_path, error)
            with contextlib.suppress(OSError):
                self.flush()
        return None

    def save_overload(self, sig: object, data: object) -> None:
        """Keep what was compiled for a signature, if that can be done."""
        try:
            super().save_overload(sig, data)
        except Exception as error:  # the disk is full, the folder gone, its files damaged
            _cannot_keep(error)


def dispatcher(function: Callable[..., Any], cache: bool, options: dict[str, Any], signature: str | None = None) -> Any:
    """Return what compiles a function for the types that it is called with; the function where numba is disabled.

    Where a signature is given it is compiled for that alone.
    """
    made = numba.njit(**options)(function)
    if cache and isinstance(made, Dispatcher):  # not where NUMBA_DISABLE_JIT is set
        try:
            setattr(made, "_cache", _KeptWhereItCan(function))  # noqa: B010  (as enable_caching does)
        except (RuntimeError, OSError) as error:  # no locator: told once a kernel is compiled, not when it is declared
            _state["unkept"] = _state["unkept"] or str(error)
    if signature is not None and isinstance(made, Dispatcher):
        made.compile(signature)
        made.disable_compile()
    return made


def allocation(name: str) -> Any:
    """Return numba's type of what allocates arrays within kernels: ``empty`` or ``zeros``."""
    return cpu_target.typing_context.resolve_value_type(_ALLOCATIONS[name])


def _array_type(shape: Any, dtype: Any) -> Any:
    """Return the type of an array of this type of shape and dtype."""
    scalar = dtype.dtype if isinstance(dtype, types.DType) else dtype.instance_type
    return types.Array(scalar, len(shape) if isinstance(shape, types.BaseTuple) else 1, "C")


def _allocate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Emit the allocation of an array, as numba does for functions of numpy that return one."""
    shape, kind = arguments[0], signature.args[0]
    count = len(kind) if isinstance(kind, types.BaseTuple) else 0
    given: Any = [(builder.extract_value(shape, k), kind[k]) for k in range(count)] or [(shape, kind)]
    lengths = [context.cast(builder, length, its, types.intp) for length, its in given]
    return arrayobj._empty_nd_impl(context, builder, signature.return_type, lengths)


@intrinsic
def _empty(_context: Any, shape: Any, dtype: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        made = _allocate(context, builder, signature, arguments)
        return imputils.impl_ret_new_ref(context, builder, signature.return_type, made._getvalue())

    return _array_type(shape, dtype)(shape, dtype), emit


@intrinsic
def _zeros(_context: Any, shape: Any, dtype: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        made = _allocate(context, builder, signature, arguments)
        cgutils.memset(builder, made.data, builder.mul(made.itemsize, made.nitems), 0)
        return imputils.impl_ret_new_ref(context, builder, signature.return_type, made._getvalue())

    return _array_type(shape, dtype)(shape, dtype), emit


_ALLOCATIONS = {"empty": _empty, "zeros": _zeros}


_typed: Any = BaseFunction.get_call_type
_signatures: dict[Any, Any] = {}


def _typed_once(function: Any, context: Any, args: Any, kws: Any) -> Any:
    """Return the signature of a call as numba's `get_call_type` does, of an operator on numbers or arrays from memory.

    A call that numba answers by compiling an overload is left to it: what it compiles depends on options of the kernel.
    """
    key = (id(function), context, args) if not kws and all(isinstance(kind, _PLAIN) for kind in args) else None
    if key in _signatures:
        return _signatures[key][1]
    found = _typed(function, context, args, kws)
    if key is not None and function.get_impl_key(found) is function.typing_key:
        _signatures[key] = function, found  # which keeps its id from being another's
    return found


def listen(watches: Sequence[Watch]) -> None:
    """Tell `watches`, which may come and go, of kernels that are compiled."""
    register("numba:compile", _Compilations(watches))


def _cannot_keep(error: Exception) -> None:
    """Tell, once in a process, that compiled kernels are not kept."""
    if not _state["told"]:
        _state["told"] = True
        log.warning("compiled kernels cannot be kept (%s): %s", " ".join(str(error).split()), HINT)


class _Compilations(Listener):
    """Tells of the outermost kernel that is compiled, and spares all of them the collection of garbage.

    The compiler makes millions of small objects that it soon lets go of; looking for cycles among them took an eighth
    of its time. Another seventh went into asking all forty ways of typing a ``+`` for every one of them.
    """

    def __init__(self, watches: Sequence[Watch]) -> None:
        self.watches, self.depth, self._since, self._collects = watches, 0, 0.0, True
        self._thread = threading.Lock()

    def on_start(self, event: Event) -> None:
        """Take note of a kernel that begins to be compiled."""
        with self._thread:
            self.depth += 1
            if self.depth > 1:
                return
            self._since, self._collects = time.monotonic(), gc.isenabled()
            gc.disable()
            setattr(BaseFunction, "get_call_type", _typed_once)  # noqa: B010  (mypy takes methods for constants)
        if _state["unkept"] is not None:
            _cannot_keep(RuntimeError(_state["unkept"]))
        function = event.data["dispatcher"].py_func
        for watch in tuple(self.watches):
            watch.count += 1
            watch.told(function.__name__.strip("_"))

    def on_end(self, event: object) -> None:
        """Take note of one that is ready."""
        del event
        with self._thread:
            self.depth -= 1
            if self.depth:
                return
            setattr(BaseFunction, "get_call_type", _typed)  # noqa: B010
            if self._collects:
                gc.enable()
            seconds = time.monotonic() - self._since
        for watch in tuple(self.watches):
            watch.seconds += seconds
            watch.told(None)
