"""A raw kernel, compiled as C++ and run on the host thread by thread."""

from __future__ import annotations

import ctypes
import hashlib
import pathlib
import re
import shutil
import subprocess
import tempfile
from typing import Any

import numpy as np

SHIM = pathlib.Path(__file__).resolve().parents[1] / "shim.hpp"


class RawKernel:
    """A kernel whose arguments are device arrays and numpy scalars of exactly its types."""

    def __init__(self, code: str, name: str, options: Any = (), **others: Any) -> None:
        found = re.search(rf"__global__\s+void\s+{name}\s*\(([^)]*)\)", code)
        if found is None:
            raise ValueError(f"no kernel {name} in the source")
        self.name = name
        self.types = [re.sub(r"\s*\w+\s*$", "", part.strip()) for part in found[1].split(",")]
        calls = ", ".join(f"*({kind}*)args[{k}]" for k, kind in enumerate(self.types))
        self.code = f'#include "{SHIM}"\n{code}\nstatic void call_kernel(void** args) {{ {name}({calls}); }}\n'

    def _compile(self) -> Any:
        compiler = shutil.which("g++")
        if compiler is None:
            raise RuntimeError("no g++ to compile the kernel with")
        digest = hashlib.sha256((self.code + SHIM.read_text()).encode()).hexdigest()[:16]
        folder = pathlib.Path(tempfile.mkdtemp(prefix="xct-kernel-"))
        source, library = folder / f"{digest}.cpp", folder / f"{digest}.so"
        source.write_text(self.code)
        subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-std=c++17", "-o", library, source], check=True)
        loaded = ctypes.CDLL(str(library))
        shutil.rmtree(folder)
        return loaded

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...], **options: Any) -> None:
        if len(args) != len(self.types):
            raise TypeError(f"{self.name} takes {len(self.types)} arguments, not {len(args)}")
        if not hasattr(self, "compiled"):
            self.compiled = self._compile()
        held = [_boxed(value, kind) for value, kind in zip(args, self.types, strict=True)]
        pointers = (ctypes.c_void_p * len(held))(*(box.ctypes.data for box in held))
        sizes = [np.array([*size, 1, 1][:3], np.uint32) for size in (grid, block)]
        if int(sizes[1].prod()) > 1024:
            raise ValueError("more than 1024 threads in a block")
        self.compiled.launch(*(ctypes.c_void_p(size.ctypes.data) for size in sizes), pointers)


SCALARS = {"int": np.int32, "float": np.float32, "double": np.float64, "long long": np.int64, "bool": np.bool_}
ITEMS = {**SCALARS, "float2": np.complex64, "unsigned short": np.uint16, "unsigned char": np.uint8}


def _boxed(value: Any, kind: str) -> Any:
    if kind.endswith("*"):
        wanted = np.dtype(ITEMS[kind.replace("const", "").replace("*", "").strip()])
        if value.dtype != wanted or not value.flags.c_contiguous:
            raise TypeError(f"an array of {wanted}, C-contiguous, is wanted, not {value.dtype}")
        return np.array([value.values.ctypes.data], np.uint64)
    if type(value) is not SCALARS[kind]:
        raise TypeError(f"a {SCALARS[kind].__name__} is wanted for {kind}, not {type(value).__name__}")
    return np.array([value])
