"""The projector pair and what iterates with it, against exact chords, ASTRA and each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xct_pipeline.reconstruction.methods import astra
from xct_pipeline.reconstruction.methods.iterative import reconstruct_iterative
from xct_pipeline.reconstruction.projector import back_project, project

N = 64
ANGLES = np.linspace(0, np.pi, 48, endpoint=False)


def group(image: np.ndarray) -> np.ndarray:
    """Repeat an image sixteen times, each a little brighter than the one before."""
    return (image[..., None] * (1 + np.arange(16) / 16)).astype(np.float32)


def disc(radius: float = 20.0, y0: float = 4.0, x0: float = -7.0, fine: int = 8) -> np.ndarray:
    """Disc of 1 with soft edges: the share of each pixel that it covers."""
    at = (np.arange(N * fine) + 0.5) / fine - N / 2
    inside = ((at[:, None] - y0) ** 2 + (at[None] - x0) ** 2 < radius**2).astype(float)
    return inside.reshape(N, fine, N, fine).mean((1, 3))


def chords(angles: np.ndarray, center: float, columns: int, radius: float = 20.0) -> np.ndarray:
    """Exact line integrals of the disc."""
    u = np.arange(columns) - center
    middle = -7.0 * np.cos(angles) + 4.0 * np.sin(angles)
    return 2 * np.sqrt(np.clip(radius**2 - (u - middle[:, None]) ** 2, 0, None))


def sinograms(rows: int = 3, center: float = 31.5, angles: np.ndarray = ANGLES) -> np.ndarray:
    p = chords(angles, center, N)[:, None, :] * (1 + np.arange(rows) / 4)[:, None]
    return p.astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(5, 90),
    st.integers(5, 120),
    st.floats(-0.4, 1.4),
    st.lists(st.floats(-7, 7), min_size=1, max_size=9),
    st.integers(0, 10**6),
)
def test_back_projection_is_the_transpose(size: int, columns: int, share: float, turns: list[float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    angles, center = np.array(turns), share * columns
    x = rng.standard_normal((size, size, 16)).astype(np.float32)
    y = rng.standard_normal((len(angles), columns, 16)).astype(np.float32)
    there = project(x, angles, center=center, columns=columns)
    back = back_project(y, angles, center=center, size=size)
    left, right = np.vdot(there.astype(float), y), np.vdot(x, back.astype(float))
    assert abs(left - right) < 1e-5 * np.linalg.norm(there) * np.linalg.norm(y) + 1e-6


def test_projections_of_a_disc_are_its_chords() -> None:
    angles = np.concatenate([ANGLES, [0.0, np.pi / 4, np.pi / 2, np.pi, 3 * np.pi / 2]])
    found = project(group(disc()), angles, center=35.25, columns=70)
    exact = chords(angles, 35.25, 70)
    assert np.abs(found[..., 0] - exact).mean() < 0.1
    np.testing.assert_allclose(found[..., 0].sum(1), disc().sum(), rtol=0.01)
    np.testing.assert_allclose(found[..., 8], found[..., 0] * 1.5, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("algorithm", ["SIRT", "CGLS"])
def test_iterations_are_those_of_astra(algorithm: str) -> None:
    pytest.importorskip("astra", reason="ASTRA is not installed")
    rng = np.random.default_rng(3)
    data = sinograms(2) + 0.1 * rng.standard_normal((len(ANGLES), 2, N)).astype(np.float32)
    ours = reconstruct_iterative(data, ANGLES, center=30.2, pixel_size_um=5.0, algorithm=algorithm, iterations=12)  # type: ignore[arg-type]
    theirs = astra.reconstruct_astra(
        data,
        ANGLES,
        center=30.2,
        pixel_size_um=5.0,
        algorithm=algorithm,  # type: ignore[arg-type]
        iterations=12,
    )
    assert np.abs(ours - theirs).max() < 2e-3 * np.abs(theirs).max()


def test_values_have_their_unit_and_a_start_is_a_start() -> None:
    data = sinograms()
    found = reconstruct_iterative(data, ANGLES, center=31.5, pixel_size_um=2.0, iterations=60)
    inside = disc(14) == 1
    np.testing.assert_allclose(found[0][inside].mean(), 1e4 / 2.0, rtol=0.02)
    np.testing.assert_allclose(found[2][inside].mean(), 1.5e4 / 2.0, rtol=0.02)
    first = reconstruct_iterative(data, ANGLES, center=31.5, pixel_size_um=2.0, iterations=20)
    more = reconstruct_iterative(data, ANGLES, center=31.5, pixel_size_um=2.0, iterations=40, start=first)
    np.testing.assert_allclose(more, found, rtol=1e-3, atol=1e-3 * found.max())


def test_a_slice_does_not_depend_on_its_group() -> None:
    data = sinograms(19)
    whole = reconstruct_iterative(data, ANGLES, center=31.5, iterations=5)
    np.testing.assert_array_equal(
        reconstruct_iterative(data[:, 16:17], ANGLES, center=31.5, iterations=5)[0], whole[16]
    )


def test_total_variation_beats_filtering_at_few_noisy_projections() -> None:
    rng = np.random.default_rng(5)
    few = np.linspace(0, np.pi, 15, endpoint=False)
    data = sinograms(1, angles=few)
    data += 0.8 * rng.standard_normal(data.shape).astype(np.float32)
    truth = disc()

    def error(image: np.ndarray) -> float:
        return float(np.sqrt(np.mean((image - truth) ** 2)))

    plain = reconstruct_iterative(data, few, center=31.5, algorithm="CGLS", iterations=30)[0]
    smooth = reconstruct_iterative(data, few, center=31.5, algorithm="TV", iterations=200, regularization=3.0)[0]
    assert error(smooth) < 0.3 * error(plain)
    assert error(smooth) < 0.07
    kept = reconstruct_iterative(
        data, few, center=31.5, algorithm="TV", iterations=50, regularization=3.0, nonnegative=True
    )
    assert kept.min() >= 0


def test_total_variation_reaches_the_minimum() -> None:
    data = sinograms(1)[:, :, :]
    image = reconstruct_iterative(data, ANGLES, center=31.5, algorithm="TV", iterations=600, regularization=0.5)[0]

    def cost(f: np.ndarray) -> float:
        left = project(group(f), ANGLES, center=31.5, columns=N)[..., 0] - data[:, 0]
        gy, gx = np.zeros_like(f), np.zeros_like(f)
        gy[:-1], gx[:, :-1] = np.diff(f, axis=0), np.diff(f, axis=1)
        return float(0.5 * (left.astype(float) ** 2).sum() + 0.5 * np.sqrt(gy**2 + gx**2).sum())

    least = cost(image)
    rng = np.random.default_rng(1)
    for step in (0.01, -0.01):
        assert cost(image + step * rng.standard_normal(image.shape)) > least
        assert cost(image * (1 + step)) > least


def test_rays_without_weight_have_no_influence() -> None:
    data = sinograms(1)
    spoiled = data.copy()
    spoiled[:, :, 40:43] += 7
    weights = np.ones_like(data)
    weights[:, :, 40:43] = 0
    for algorithm, regularization in (("SIRT", 0.0), ("CGLS", 0.0), ("TV", 0.5)):
        found, clean = (
            reconstruct_iterative(
                p,
                ANGLES,
                center=31.5,
                iterations=10,
                algorithm=algorithm,  # type: ignore[arg-type]
                regularization=regularization,
                weights=weights,
            )
            for p in (spoiled, data)
        )
        np.testing.assert_allclose(found, clean, atol=1e-4)
        assert np.abs(clean).max() > 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"algorithm": "ART"}, "unknown algorithm"),
        ({"algorithm": "TV"}, "regularization above 0"),
        ({"regularization": 1.0}, "only TV"),
        ({"algorithm": "CGLS", "nonnegative": True}, "CGLS"),
        ({"center": 99.0}, "outside the detector"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        reconstruct_iterative(sinograms(), ANGLES, **{"center": 31.5, **options})  # type: ignore[arg-type]
    bad = sinograms()
    bad[3, 1, 5] = np.nan
    with pytest.raises(ValueError, match="finite"):
        reconstruct_iterative(bad, ANGLES, center=31.5)
