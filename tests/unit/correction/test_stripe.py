"""Every stripe method on a sinogram known in closed form, with stripes that are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from xct_pipeline.correction.stripes import vo as stripe_vo
from xct_pipeline.correction.stripes.common import default_windows, detect_stripes, each_row
from xct_pipeline.correction.stripes.titarenko import remove_stripe_titarenko
from xct_pipeline.correction.stripes.wavelet import remove_stripe_fourier_wavelet

WIDTH, ANGLES, NOISE = 256, 361, 0.01
SINGLE = np.arange(30, 230, 17)  # isolated defective columns
METHODS: dict[str, Callable[[Any], Any]] = {
    "sorting": lambda block: stripe_vo.remove_stripe_sorting(block, size=11),
    "filtering": lambda block: stripe_vo.remove_stripe_filtering(block, size=11),
    "fitting": stripe_vo.remove_stripe_fitting,
    "large": lambda block: stripe_vo.remove_large_stripe(block, size=31),
    "dead": lambda block: stripe_vo.remove_dead_stripe(block, size=31),
    "all": lambda block: stripe_vo.remove_all_stripe(block, large_size=31, small_size=11),
    "all, own windows": stripe_vo.remove_all_stripe,
    "wavelet": lambda block: remove_stripe_fourier_wavelet(block, level=3),
    "titarenko": remove_stripe_titarenko,
    "titarenko, product": lambda block: remove_stripe_titarenko(block, order="product"),
}


def clean_sinogram() -> np.ndarray[Any, Any]:
    """Bin-averaged line integrals of four discs off the axis, of 2.6 at most."""
    theta = np.linspace(0, np.pi, ANGLES)[:, None]
    edges = np.arange(WIDTH + 1) - WIDTH / 2
    result = np.zeros((ANGLES, WIDTH))
    for x, y, r, mu in [(20, -15, 80, 0.01), (-30, 20, 25, 0.02), (45, -40, 12, -0.01), (10, 50, 8, 0.03)]:
        u = np.clip(edges - (x * np.cos(theta) + y * np.sin(theta)), -r, r)
        result += mu * np.diff(u * np.sqrt(r * r - u * u) + r * r * np.arcsin(u / r), axis=1)
    return result


def noisy_sinogram() -> np.ndarray[Any, Any]:
    clean = clean_sinogram()
    return clean + NOISE * np.random.default_rng(3).standard_normal(clean.shape)


def with_stripes(kind: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """A noisy sinogram with one kind of stripe, and the columns that have it."""
    rng = np.random.default_rng(5)
    sinogram = noisy_sinogram()
    if kind == "gain":
        sinogram[:, SINGLE] += rng.choice([-1, 1], SINGLE.size) * rng.uniform(0.05, 0.3, SINGLE.size)
        return sinogram, SINGLE
    if kind == "partial":
        sinogram[100:260, SINGLE] += 0.2
        return sinogram, SINGLE
    if kind == "dead":
        sinogram[:, 120], sinogram[:, 170] = 0.7, 2.0
        return sinogram, np.array([120, 170])
    if kind == "fluctuating":
        sinogram[:, 120] += 0.5 * rng.standard_normal(ANGLES)
        return sinogram, np.array([120])
    sinogram[:, 100:109] += 0.3
    return sinogram, np.arange(100, 109)


# Share of the stripes' energy that may be left, and rms that may be done to the other columns (the noise is
# 0.01, line integrals reach 2.6), for each method on what it is made for.
@pytest.mark.parametrize(
    ("method", "kind", "left", "harm"),
    [
        ("sorting", "gain", 0.10, 0.020),
        ("sorting", "partial", 0.40, 0.015),
        ("filtering", "gain", 0.10, 0.020),
        ("fitting", "gain", 0.05, 0.040),
        ("large", "gain", 0.15, 0.040),
        ("large", "wide", 0.25, 0.045),
        ("dead", "dead", 0.02, 0.040),
        ("dead", "fluctuating", 0.02, 0.040),
        ("all", "gain", 0.15, 0.040),
        ("all", "partial", 0.30, 0.040),
        ("all", "dead", 0.02, 0.040),
        ("all", "fluctuating", 0.02, 0.040),
        ("all", "wide", 0.25, 0.045),
        ("all, own windows", "gain", 0.10, 0.025),
        ("all, own windows", "partial", 0.20, 0.020),
        ("all, own windows", "dead", 0.02, 0.020),
        ("wavelet", "gain", 0.15, 0.040),
        ("titarenko", "gain", 0.20, 0.020),
        ("titarenko, product", "gain", 0.20, 0.025),
    ],
)
def test_known_stripes_go_and_the_object_stays(method: str, kind: str, left: float, harm: float) -> None:
    truth = noisy_sinogram()
    striped, columns = with_stripes(kind)
    result = np.asarray(METHODS[method](striped[:, None].astype(np.float32)))[:, 0]
    others = np.setdiff1d(np.arange(WIDTH), columns)
    energy = np.square(result - truth)[:, columns].mean() / np.square(striped - truth)[:, columns].mean()
    distortion = np.sqrt(np.square(result - truth)[:, others].mean())
    print(f"{method}, {kind}: {energy:.4f} of the energy left, {distortion:.4f} done to other columns")
    assert energy < left
    assert distortion < harm


@pytest.mark.parametrize(
    ("method", "rms"),
    [
        ("sorting", 0.010),
        ("filtering", 0.010),
        ("fitting", 0.035),
        ("large", 0.0),
        ("dead", 0.0),
        ("all", 0.010),
        ("all, own windows", 0.004),
        ("wavelet", 0.02),
        ("titarenko", 1e-3),
        ("titarenko, product", 1e-3),
    ],
)
def test_what_each_method_does_to_an_object_without_stripes_or_noise(method: str, rms: float) -> None:
    clean = clean_sinogram().astype(np.float32)
    change = np.asarray(METHODS[method](clean[:, None]))[:, 0] - clean
    print(f"{method}: {np.sqrt(np.square(change).mean()):.5f}")
    assert np.sqrt(np.square(change).mean()) <= rms


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (2, 1, 1), (1, 2, 5), (2, 2, 3), (3, 1, 4), (5, 1, 7), (4, 0, 9), (0, 1, 9), (9, 1, 0)]
)
def test_tiny_blocks_are_never_an_error(method: str, shape: tuple[int, ...]) -> None:
    block = np.random.default_rng(0).random(shape, dtype=np.float32)
    result = METHODS[method](block)
    assert result.shape == shape
    assert result.dtype == np.float32
    assert np.isfinite(result).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [0.0, 1.0, -2.5])
def test_constant_rows_come_back_unchanged(method: str, value: float) -> None:
    block = np.full((30, 2, 40), value, np.float32)
    expected = np.abs(block) if method == "titarenko, product" and value < 0 else block
    if method == "titarenko, product" and value:
        expected = np.full_like(block, abs(value) * np.sqrt(2.5))  # what its shift by 1.5 times the minimum does
    assert np.allclose(METHODS[method](block), expected, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_rows_are_independent_and_the_input_is_left_alone(method: str) -> None:
    rows = [with_stripes("gain")[0], with_stripes("dead")[0], clean_sinogram()]
    block = np.stack(rows, axis=1).astype(np.float32)[:, :, 60:160]
    copy = block.copy()
    whole = METHODS[method](block)
    assert np.array_equal(block, copy)
    for row in range(3):
        assert np.array_equal(METHODS[method](block[:, row : row + 1]), whole[:, row : row + 1])


@pytest.mark.parametrize("method", METHODS)
def test_non_finite_values_stay_and_harm_nobody(method: str) -> None:
    sinogram = with_stripes("gain")[0].astype(np.float32)
    block = np.stack([sinogram, sinogram, np.full_like(sinogram, np.nan)], axis=1)
    block[10, 0, 20], block[11, 0, 21], block[:, 0, 77] = np.nan, np.inf, np.nan
    result = np.asarray(METHODS[method](block))
    assert np.array_equal(np.isfinite(result), np.isfinite(block))
    far = np.r_[120:WIDTH]
    assert np.allclose(result[:, 0, far], result[:, 1, far], atol=0.1)


def test_detection_finds_what_stands_out_on_either_side() -> None:
    profile = 1 + 0.01 * np.random.default_rng(0).uniform(-1, 1, 200)
    profile[50], profile[120:123] = 1.4, 0.7
    assert np.flatnonzero(detect_stripes(profile)).tolist() == [50, 120, 121, 122]
    assert not detect_stripes(profile, snr=100).any()


@pytest.mark.parametrize(
    "profile", [np.ones(50), np.zeros(50), np.full(50, np.nan), np.ones(3), np.empty(0), np.r_[np.ones(49), 5]]
)
def test_detection_on_degenerate_profiles_finds_nothing(profile: np.ndarray[Any, Any]) -> None:
    mask = detect_stripes(profile)
    assert mask.shape == profile.shape
    assert not mask.any()


def test_masks_name_the_columns_that_were_changed() -> None:
    dead, columns = with_stripes("dead")
    wide, wide_columns = with_stripes("wide")
    block = np.stack([dead, wide, noisy_sinogram()], axis=1).astype(np.float32)
    found = stripe_vo.detect_dead_stripes(block, size=31)
    assert found[0, columns].all()
    assert found[0].sum() <= 6  # with one neighbour on either side
    assert not found[1:].any()
    large = stripe_vo.detect_large_stripes(block, size=31)
    assert large[1, wide_columns].all()
    result, dead_mask, large_mask = stripe_vo.remove_all_stripe_masks(block, large_size=31, small_size=11)
    assert np.array_equal(dead_mask, found)
    assert large_mask[1, wide_columns].all()
    assert np.array_equal(result, stripe_vo.remove_all_stripe(block, large_size=31, small_size=11))


def test_a_row_without_large_stripes_is_left_alone() -> None:
    block = clean_sinogram()[:, None].astype(np.float32)
    assert not stripe_vo.detect_large_stripes(block, size=31).any()
    assert np.array_equal(stripe_vo.remove_large_stripe(block, size=31), block)
    assert np.array_equal(stripe_vo.remove_dead_stripe(block, snr=1e6), block)


def test_windows_follow_width_and_noise() -> None:
    rng = np.random.default_rng(1)
    profile = 2 * np.sin(np.linspace(0, np.pi, 2048)) ** 2
    block = (profile + 0.03 * rng.standard_normal((1801, 1, 2048))).astype(np.float32)
    large, small = default_windows(block)
    assert (large, small) == pytest.approx((53, 21), abs=2)
    narrow = default_windows(block[..., ::8])
    assert narrow[0] < large
    assert narrow[1] == 5
    noisier = default_windows((block + 0.3 * rng.standard_normal(block.shape)).astype(np.float32))
    assert noisier[0] > large
    assert noisier[1] > small
    assert default_windows(np.broadcast_to(profile, (90, 1, 2048))) == (13, 5)
    assert default_windows(np.zeros((5, 1, 30))) == default_windows(np.full((5, 1, 30), np.nan)) == (11, 5)
    assert all(size % 2 == 1 for size in (*noisier, *narrow))


def test_refuses_nonsense() -> None:
    block = np.zeros((5, 2, 9), np.float32)
    with pytest.raises(ValueError, match="angle, row, column"):
        each_row(block[0], lambda sinogram: sinogram)
    with pytest.raises(ValueError, match="odd"):
        stripe_vo.remove_stripe_sorting(block, size=4)
    with pytest.raises(ValueError, match="odd"):
        stripe_vo.remove_all_stripe(block, large_size=50)
    with pytest.raises(ValueError, match="drop"):
        stripe_vo.remove_large_stripe(block, drop=0.9)
    with pytest.raises(ValueError, match="sigma"):
        stripe_vo.remove_stripe_filtering(block, sigma=0)
    with pytest.raises(ValueError, match="sigma"):
        stripe_vo.remove_stripe_fitting(block, sigma=-1)
    with pytest.raises(ValueError, match="order"):
        stripe_vo.remove_stripe_fitting(block, order=-1)
    with pytest.raises(ValueError, match="level"):
        remove_stripe_fourier_wavelet(block, level=0)
    with pytest.raises(ValueError, match="sigma"):
        remove_stripe_fourier_wavelet(block, sigma=0)
    with pytest.raises(ValueError, match="order"):
        remove_stripe_titarenko(block, order=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="blocks"):
        remove_stripe_titarenko(block, blocks=0)
    with pytest.raises(ValueError, match="regularization"):
        remove_stripe_titarenko(block, regularization=0.0)
