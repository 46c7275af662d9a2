"""Scans spoilt at random: never an error beyond what noise makes without a warning that names its kind."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
import zarr
from cases import Raw
from corruptions import CORRUPTIONS
from hypothesis import given, settings
from hypothesis import strategies as st

from xct_pipeline import pipeline
from xct_pipeline.config.file import load_config
from xct_pipeline.engine.resources import Resources
from xct_pipeline.scan import ScanError

SIGMAS = 3.0


def outcome(raw: Raw, form: str, folder: Path) -> tuple[list[str], np.ndarray | None]:
    """Run a scan; return what was told, and the means of body, insert and void (None where it was refused)."""
    lines = raw.write(folder, form)
    head = "" if form == "tiff" else "[acquisition]"
    text = f'output = "store.zarr"\n[reconstruction]\ncenter = {json.dumps(raw.center)}\n{head}\n{lines}'
    (folder / "run.toml").write_text(text)
    try:
        plan = pipeline.plan(load_config(folder / "run.toml"), Resources(1, 2_000_000_000))
        (result,) = pipeline.run(plan).scans
    except ScanError as error:
        return [str(error)], None
    if result.problem:
        return [*result.warnings, result.problem], None
    return list(result.warnings), parts_of(zarr.open(str(folder / "store.zarr/scans/scan/volume/0"))[:])


def parts_of(volume: np.ndarray) -> np.ndarray:
    """Return the means of body, insert and void of every row, (row, part)."""
    y, x = np.mgrid[: volume.shape[1], : volume.shape[2]] - (volume.shape[2] - 1) / 2
    masks = (
        (np.hypot(x, y) > 19.5) & (np.hypot(x, y) < 27),
        np.hypot(x - 9, y - 5) < 4.5,
        np.hypot(x + 10, y - 4) < 3.5,
    )
    return np.stack([volume[:, mask].mean(axis=1) for mask in masks], axis=1)


@pytest.fixture(scope="module")
def sound() -> tuple[np.ndarray, np.ndarray]:
    """Return the parts of the sound scan, and the standard deviation that noise gives each row's."""
    found = []
    for seed in (7, 11, 12, 13):
        with tempfile.TemporaryDirectory() as folder:
            told, parts = outcome(Raw.make(seed=seed), "nxtomo", Path(folder))
        assert not told
        found.append(parts)
    return found[0], np.concatenate(found).std(axis=0, ddof=1)


def never_silent(sound: tuple[np.ndarray, np.ndarray], data: st.DataObject) -> None:
    expected, sigma = sound
    corruption = data.draw(st.sampled_from(CORRUPTIONS), label="kind")
    form = data.draw(st.sampled_from(["nxtomo", "dxchange", "tiff"]), label="format")
    raw = Raw.make()
    raw = corruption.spoil(raw, data.draw) or raw
    with tempfile.TemporaryDirectory() as folder:
        told, parts = outcome(raw, form, Path(folder))
    if any(re.search(corruption.named, text, re.IGNORECASE | re.DOTALL) for text in told):
        return
    assert parts is not None, f"refused for something else: {told}"
    error = np.abs(parts - expected)
    assert np.all(error <= SIGMAS * sigma), (corruption.name, error.max(axis=0), sigma, told)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(data=st.data())
def test_never_an_error_without_a_word(sound: tuple[np.ndarray, np.ndarray], data: st.DataObject) -> None:
    never_silent(sound, data)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_never_an_error_without_a_word_in_200(sound: tuple[np.ndarray, np.ndarray], data: st.DataObject) -> None:
    never_silent(sound, data)
