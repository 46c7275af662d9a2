"""Values rounded to a share of their noise: the error that is stated, for any noise, and what must not change."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from xct_pipeline.boxes import Region, size_of
from xct_pipeline.engine.blocks import Pass
from xct_pipeline.engine.execution import run_passes
from xct_pipeline.engine.resources import Resources
from xct_pipeline.engine.rounding import SHARE, at_precision, rounded, step_of, voxel_noise
from xct_pipeline.store.image import Image, level_count
from xct_pipeline.store.opened import open_image
from xct_pipeline.store.store import Store

SHAPE = (16, 48, 48)
VALUES = np.random.default_rng(3).normal(1, 0.05, (48, 72, 72)).astype(np.float32)


def scene(noise: float, seed: int = 0) -> np.ndarray:
    """A bright cylinder with a gradient along z, and white noise."""
    z, y, x = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]].astype(np.float32)
    still = 3.0 * ((y - 24) ** 2 + (x - 24) ** 2 < 200) + 0.05 * z
    return (still + np.random.default_rng(seed).normal(0, noise, SHAPE)).astype(np.float32)


@settings(max_examples=30, deadline=None)
@given(exponent=st.floats(-9, 6), seed=st.integers(0, 100))
def test_the_step_is_at_most_a_quarter_of_the_noise_and_at_least_a_twelfth(exponent: float, seed: int) -> None:
    noise = 10.0**exponent
    block = np.random.default_rng(seed).normal(0, noise, SHAPE).astype(np.float32)
    result, step = rounded(block)
    assert noise / 12 < step <= 1.1 * SHARE * noise
    assert np.log2(step) % 1 == 0
    assert np.abs(result - block).max() <= step / 2
    assert np.array_equal(result / np.float32(step), np.rint(result / np.float32(step)))
    assert result.std() == pytest.approx(block.std(), rel=0.004)  # what is stated, and its own scatter


def test_structure_is_not_taken_for_noise() -> None:
    assert voxel_noise(scene(0.05)) == pytest.approx(0.05, rel=0.1)


def test_sums_keep_their_value() -> None:
    block = scene(0.05)
    result, step = rounded(block)
    error = (result.astype(np.float64) - block).sum()
    assert abs(error) < 5 * step / np.sqrt(12) * np.sqrt(block.size)


def test_the_noise_that_is_shared_by_neighbours_makes_the_step_smaller_only() -> None:
    block = scene(0.05)
    smooth = (block[1:] + block[:-1]) / 2
    assert voxel_noise(smooth) <= 0.05 / np.sqrt(2) * 1.05


@pytest.mark.parametrize(
    "block",
    [
        np.zeros(SHAPE, np.float32),
        np.full(SHAPE, 1.7, np.float32),
        np.full(SHAPE, np.nan, np.float32),
        scene(0.0),
        np.ones((1, 2, 2), np.float32),
    ],
    ids=["zeros", "constant", "nan", "no noise", "two rows"],
)
def test_what_has_no_noise_stays_to_the_last_bit(block: np.ndarray) -> None:
    result, step = rounded(block)
    assert step < 1e-6
    assert np.allclose(result, block, rtol=0, atol=1e-6, equal_nan=True)


def test_what_is_no_number_stays() -> None:
    block = scene(0.05)
    block[3, 4, 5:9] = np.nan, np.inf, -np.inf, 0.0
    result, step = rounded(block[None])
    assert step
    assert np.array_equal(result[0, 3, 4, 5:9], block[3, 4, 5:9], equal_nan=True)


def test_one_slice_is_judged_along_its_rows() -> None:
    block = scene(0.05)[:1]
    assert 0 < rounded(block)[1] <= SHARE * 0.05


def test_no_step_is_made_of_no_noise() -> None:
    assert step_of(0.0) == 0
    assert step_of(4.0) == 1.0


@dataclass(frozen=True)
class Noisy:
    """White noise that is a function of the place alone."""

    def read(self, region: Region) -> np.ndarray:
        return VALUES[region]

    def nbytes(self, region: Region) -> int:
        return size_of(region) * 4


def stored(folder: Path, workers: int) -> Store:
    store = Store(folder / "s.zarr")
    levels = level_count(VALUES.shape, 16)
    image = Image("scans/a/volume", ("z", "y", "x"), VALUES.shape, "float32", "1/cm", 16, levels, 2.0)
    step = at_precision(Pass(image, Noisy(), (), (16, 10**9, 10**9), (0, 0, 0), {}), SHARE)
    (result,) = run_passes(store, [step], Resources(workers=workers, memory=2 * 10**9))
    assert result.problem is None
    assert result.counts == {"steps of 0.0078125 1/cm": 3}
    return store


def test_a_stored_image_is_rounded_smaller_and_the_same_whatever_the_workers(tmp_path: Path) -> None:
    one, two = (stored(tmp_path / str(n), n) for n in (1, 2))
    full = open_image(one.path / "scans/a/volume")
    assert np.abs(full.values - VALUES).max() <= 2**-8
    assert full.attrs["rounding"]["most_of_noise"] == SHARE
    files = sorted(f.relative_to(one.path) for f in (one.path / "scans").rglob("c/*/*/*"))
    assert files
    assert all((one.path / f).read_bytes() == (two.path / f).read_bytes() for f in files)
    assert sum((one.path / f).stat().st_size for f in files) < 0.4 * VALUES.nbytes
    mean = full.values.astype(np.float64).reshape(24, 2, 36, 2, 36, 2).mean(axis=(1, 3, 5))
    np.testing.assert_array_equal(open_image(one.path / "scans/a/volume", 1).values, mean)
    read = zarr.open_array(str(one.path / "scans/a/volume/0"), mode="r")  # any reader sees plain float32
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read[...], full.values)


def test_another_precision_is_another_image(tmp_path: Path) -> None:
    image = Image("scans/a/volume", ("z", "y", "x"), VALUES.shape, "float32", "1/cm", 16)
    step = Pass(image, Noisy(), (), (16, 10**9, 10**9), (0, 0, 0), {})
    assert at_precision(step, None) == step
    coarse = at_precision(step, SHARE)
    assert coarse.digests() != step.digests()
    assert Image.from_identity(image.path, coarse.image.identity()).noise_share == SHARE
    labels = replace(step, image=replace(image, dtype="uint8", labels=True))
    assert at_precision(labels, SHARE) == labels
