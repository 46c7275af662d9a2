"""Compiled kernels run whatever becomes of the folders they are kept in."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xct_pipeline.reconstruction import packing

MODULE = """
import logging, sys
logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(message)s")
{before}
from xct_pipeline.compiled import njit, watched

@njit
def double(x):
    return 2 * x

@njit
def triple(x):
    return 3 * x

names = []
with watched(names.append) as watch:
    print(double(21), triple(14), watch.count, names[:3])
"""
NOWHERE = """
from numba.core import caching
for locator in caching.CacheImpl._locator_classes:  # a site-packages and a home that cannot be written
    locator.from_function = classmethod(lambda cls, *source: None)
"""
FULL = """
from numba.core import caching
def refuse(self, *written):
    raise OSError(28, "No space left on device")
caching.IndexDataCacheFile._save_data = refuse
"""


LEAN = """
import numpy as np
from numba.core.event import Listener, register

class Names(Listener):
    names = []
    def on_start(self, event):
        self.names.append(event.data["dispatcher"].py_func.__module__)
    def on_end(self, event):
        pass

register("numba:compile", Names())
from xct_pipeline.correction.lost import fill_lines
from xct_pipeline.correction.running_median import running_median
from xct_pipeline.segmentation.components import label_runs
from xct_pipeline.segmentation.isosurface import surface_area

median = running_median(np.arange(12, dtype=np.float32).reshape(3, 4), 3)
lines = np.ones((3, 2, 4), np.float32)
fill_lines(lines, np.array([[False, True], [True, False], [False, False]]))
labels, count = label_runs(np.ones((2, 2, 2), bool), 1)
surface_area(np.zeros((3, 3, 3), np.float32), 0.5)
print(median[0, 1], lines.min(), count, len(Names.names) > 0, *{n for n in Names.names if "unicode" in n})
"""


ONCE = """
import logging, sys
from collections import defaultdict
from pathlib import Path

from numba.core.event import Listener, register

met = defaultdict(set)

class Signatures(Listener):
    def on_start(self, event):
        kernel = event.data["dispatcher"].py_func
        of = (kernel.__module__, kernel.__qualname__, kernel.__closure__ and kernel.__closure__[0].cell_contents)
        met[of].add(str(event.data["args"]))
    def on_end(self, event):
        pass

register("numba:compile", Signatures())
from xct_pipeline import pipeline
from xct_pipeline.config.file import load_config
from xct_pipeline.demo import simulate_folder
from xct_pipeline.engine.resources import resources

config = load_config(simulate_folder(Path(sys.argv[1]), scans=2, columns=64, rows=40))
needless = {"distributed", "xarray", "matplotlib", "sklearn", "dask.array"}
for name in needless:  # what the simulation has loaded
    sys.modules.pop(name, None)
pipeline.run(pipeline.plan(config, resources(2, None)))
ours = {of: args for of, args in met.items() if of[0].startswith("xct_pipeline")}
print(len(ours), len(met) - len(ours), [of for of, args in ours.items() if len(args) > 1])
print(sorted({of[1] for of in met} & {"ol_np_empty.<locals>.impl", "ol_np_zeros.<locals>.impl"}))
print(sorted(needless & set(sys.modules)))
"""


def in_a_process(folder: Path, before: str = "") -> tuple[str, str]:
    module = folder / "kernels.py"
    text = MODULE.format(before=before)
    if not module.exists() or module.read_text() != text:  # some versions of numba look at a file's time
        module.write_text(text)
    ended = subprocess.run([sys.executable, module], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout, ended.stderr


def test_kept_for_the_next_process(tmp_path: Path) -> None:
    assert in_a_process(tmp_path) == ("42 42 2 ['double', None, 'triple']\n", "")
    assert in_a_process(tmp_path) == ("42 42 0 []\n", "")


@pytest.mark.parametrize("before", [NOWHERE, FULL])
def test_compiled_in_memory_where_nothing_can_be_kept(tmp_path: Path, before: str) -> None:
    for _ in range(2):  # the second finds nothing either
        out, told = in_a_process(tmp_path, before)
        assert out.startswith("42 42 2")
        assert told.count("cannot be kept") == 1
        assert "NUMBA_CACHE_DIR" in told


def test_no_kernel_compiles_the_words_of_an_error_message(tmp_path: Path) -> None:
    """Rows are copied value by value: an array that is assigned to a slice takes a second for what it would say."""
    command, where = [sys.executable, "-c", LEAN], {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, env=where)
    assert ended.stdout.split() == ["1.0", "1.0", "1", "True"], ended.stderr


@pytest.mark.slow
def test_a_first_run_compiles_every_kernel_once(tmp_path: Path) -> None:
    """One kernel for each layout, dtype or constant that it is called with would double what a first run waits for."""
    command = [sys.executable, "-c", ONCE, tmp_path / "run"]
    where = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "NUMBA_OPT": "0"}  # which kernels, not how fast they are
    ended = subprocess.run(command, capture_output=True, text=True, timeout=900, env=where)
    assert ended.returncode == 0, ended.stderr
    counts, allocations, loaded = ended.stdout.splitlines()[-3:]
    kernels, helpers, several = counts.split(" ", 2)
    assert several == "[]"
    assert 60 < int(kernels) <= 115
    assert int(helpers) <= 15
    assert allocations == "[]"
    assert loaded == "[]"  # each a tenth of a second or more that no step of it needs


ALLOCATES = """
import numpy as np
from xct_pipeline.compiled import empty, njit, zeros

@njit(cache=False)
def fill(n, kind):
    line, plane = empty(n, np.int32), empty((2, n), kind.dtype)
    block = zeros((n, 2, np.uint8(3)), np.float64)
    for k in range(n):
        line[k], plane[0, k], plane[1, k] = k, k, 2 * k
    return line, plane, block

line, plane, block = fill(5, np.ones(1, np.float32))
print(line.dtype, line.tolist(), plane.dtype, plane[1].tolist(), block.dtype, block.shape, block.any())
print(empty(3, np.int8).shape, zeros((2, 2), np.int8).sum())
"""


def test_arrays_made_inside_of_a_kernel() -> None:
    ended = subprocess.run([sys.executable, "-c", ALLOCATES], capture_output=True, text=True, timeout=120, check=True)
    inside, outside = ended.stdout.splitlines()
    assert inside == "int32 [0, 1, 2, 3, 4] float32 [0.0, 2.0, 4.0, 6.0, 8.0] float64 (5, 2, 3) False"
    assert outside == "(3,) 0"


TYPED = """
import numpy as np
from numba.core.types.functions import BaseFunction
from xct_pipeline.compiled import kept, njit

plain = BaseFunction.get_call_type

@njit(cache=False)
def total(values, n, share):
    found = 0
    for k in range(n):
        found += values[k] * share + (k > 2) - max(k, 1)
    return found

print(total(np.ones(4, np.float32), 4, 0.5), total(np.arange(4), 4, 2), total(np.ones(4, np.int8), 4, True))
told = [(function.typing_key.__name__, found) for function, found in kept._signatures.values()]
for (_, context, args), (function, found) in kept._signatures.items():
    assert found == plain(function, context, args, {}), (function, args)
print(BaseFunction.get_call_type is plain, sorted({name for name, _ in told} & {"getitem", "gt", "iadd", "max", "mul"}))
"""


def test_types_from_memory_are_those_of_numba() -> None:
    """An overload, as `max` is one, is compiled with the options of the kernel that calls it: it is not remembered."""
    ended = subprocess.run([sys.executable, "-c", TYPED], capture_output=True, text=True, timeout=120, check=True)
    results, remembered = ended.stdout.splitlines()
    assert [float(x) for x in results.split()] == [-4.0, 6.0, -2.0]
    assert remembered == "True ['getitem', 'gt', 'iadd', 'mul']"


SIGNED = """
import sys
import numpy as np
from xct_pipeline.compiled import njit

@njit(cache=False, inner=True)
def twice(x):
    return 2 * x

@njit(cache=False, signature="(f4[:, :], i8)")
def total(values, n):
    found = 0.0
    for row in values:
        for x in row[:n]:
            found += twice(x)
    return found

values = np.ones((4, 6), np.float32)
print(total(values, 6), total(values[:, ::2], 3), len(total.signatures))
for call in (lambda: total(values.astype(np.float64), 6), lambda: twice(2.0)):  # the second would crash
    try:
        call()
    except TypeError:
        print("refused")
"""


def test_a_signature_is_the_only_one_compiled() -> None:
    ended = subprocess.run([sys.executable, "-c", SIGNED], capture_output=True, text=True, timeout=120, check=True)
    assert ended.stdout.split() == ["48.0", "24.0", "1", "refused", "refused"]


def test_declaring_a_kernel_loads_no_compiler() -> None:
    loads = "import sys; from xct_pipeline import pipeline; print('numba' in sys.modules, 'scipy.fft' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", loads], capture_output=True, text=True, timeout=120, check=True)
    assert ended.stdout.split() == ["False", "False"]


@pytest.mark.parametrize("name", ["pack", "multiply"])
def test_a_kernel_is_pickled_by_its_name(name: str) -> None:
    kernel = getattr(packing, name)
    assert pickle.loads(pickle.dumps(kernel)) is kernel


@pytest.mark.slow
@settings(max_examples=4, deadline=None)
@given(share=st.floats(0, 1), junk=st.binary(max_size=8))
def test_damaged_files_are_compiled_anew(tmp_path_factory: pytest.TempPathFactory, share: float, junk: bytes) -> None:
    folder = tmp_path_factory.mktemp("kernels")
    in_a_process(folder)
    for file in (folder / "__pycache__").glob("kernels.*.nb*"):
        whole = file.read_bytes()
        file.write_bytes(whole[: int(share * len(whole))] + junk)
    assert in_a_process(folder)[0].startswith("42 42")
    assert in_a_process(folder) == ("42 42 0 []\n", "")
