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
from xct_pipeline.correction.flatfield import _fill_lines
from xct_pipeline.correction.running_median import running_median
from xct_pipeline.segmentation.components import label_runs
from xct_pipeline.segmentation.isosurface import _collect_undecided

median = running_median(np.arange(12, dtype=np.float32).reshape(3, 4), 3)
lines = np.ones((3, 2, 4), np.float32)
_fill_lines(lines, np.array([[False, True], [True, False], [False, False]]))
labels, count = label_runs(np.ones((2, 2, 2), bool), 1)
_collect_undecided(np.zeros((3, 3, 3), np.float32), 0.5, np.zeros(256, np.int64), np.zeros((1, 2, 2, 2), np.float32))
print(median[0, 1], lines.min(), count, len(Names.names) > 0, *{n for n in Names.names if "unicode" in n})
"""


def in_a_process(folder: Path, before: str = "") -> tuple[str, str]:
    module = folder / "kernels.py"
    module.write_text(MODULE.format(before=before))
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
