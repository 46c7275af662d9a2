"""Patterns find what `glob` finds, and end where links lead round."""

from __future__ import annotations

import glob
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xct_pipeline import inputs

PARTS = st.sampled_from(["a", "b", "ab", "x.nxs", "y.nxs", ".hidden", "[1]"])
PATTERNS = st.lists(st.sampled_from(["**", "*", "a", "?", "*.nxs", "[[]1]", "a*"]), min_size=1, max_size=4).filter(
    lambda parts: parts[-1] != "**"  # there `glob` finds the folders that it looks through as well
)


@given(files=st.lists(st.lists(PARTS, min_size=1, max_size=4), max_size=6), pattern=PATTERNS)
def test_it_finds_what_glob_finds(files, pattern):
    with tempfile.TemporaryDirectory() as name:
        for parts in files:
            file = Path(name, *parts)
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.touch()
            except (FileExistsError, NotADirectoryError):
                continue
        whole = os.path.join(glob.escape(name), *pattern)
        found = {os.path.normpath(path) for path in inputs.matching(whole)}
        known = {os.path.normpath(path) for path in glob.glob(whole, recursive=True)}
        assert found == known


def test_links_that_lead_round_are_followed_once(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/x.nxs").touch()
    for k in range(9):
        (tmp_path / f"a/b/up{k}").symlink_to(tmp_path)
    assert inputs.matching(f"{tmp_path}/**/*.nxs") == [f"{tmp_path}/a/b/x.nxs"]


def test_there_is_an_end_to_looking(tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "MOST_FOLDERS", 3)
    (tmp_path / "a/b/c/d").mkdir(parents=True)
    with pytest.raises(ValueError, match="more than 3 folders"):
        inputs.matching(f"{tmp_path}/**/*.nxs")
