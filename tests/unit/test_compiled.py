"""Compiled kernels run whatever becomes of the folders they are kept in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
