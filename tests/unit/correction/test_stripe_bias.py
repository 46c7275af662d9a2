"""What every stripe method takes from a cell that is concentric with the rotation axis, without any defect.

Hollow cylinders about the axis give line integrals that are constant in angle: to a stripe filter, stripes.
The sinogram is exact (bin-averaged chords); the reconstruction is the filtered backprojection of a sinogram
that is constant in angle, which is a one-dimensional sum. The table that this file prints (pytest -s) is the
one in docs/stripes.md.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xct_pipeline.correction.defects import find as defects
from xct_pipeline.correction.stripes import vo as stripe_vo
from xct_pipeline.correction.stripes.titarenko import remove_stripe_titarenko
from xct_pipeline.correction.stripes.wavelet import remove_stripe_fourier_wavelet

WIDTH, ANGLES = 512, 361
PIXEL_CM = 1e-3
# Inner and outer radius as a share of the half width, attenuation in 1/cm.
MATERIALS = {
    "anode": (0.00, 0.20, 0.3),
    "ceramic": (0.20, 0.35, 7.5),
    "metal": (0.35, 0.70, 0.5),
    "sleeve": (0.70, 0.72, 3.0),
    "housing": (0.86, 0.92, 1.0),
}
Method = Callable[[Any], Any]


def correct_what_is_found(block: Any) -> Any:
    found = defects.find_defects([defects.column_statistics(block)], centers=[(WIDTH - 1) / 2])
    return defects.correct_defects(block, found.offset, found.dead)


METHODS: dict[str, Method] = {
    "defects": correct_what_is_found,
    "sorting, 5": lambda block: stripe_vo.remove_stripe_sorting(block, size=5),
    "sorting, 21": lambda block: stripe_vo.remove_stripe_sorting(block, size=21),
    "filtering, 21": lambda block: stripe_vo.remove_stripe_filtering(block, size=21),
    "fitting": stripe_vo.remove_stripe_fitting,
    "large, 51": lambda block: stripe_vo.remove_large_stripe(block, size=51),
    "large, 51, not normalized": lambda block: stripe_vo.remove_large_stripe(block, size=51, normalize=False),
    "dead, no residual": lambda block: stripe_vo.remove_dead_stripe(block, residual=False),
    "all, windows from the data": stripe_vo.remove_all_stripe,
    "all, 61 and 21": lambda block: stripe_vo.remove_all_stripe(block, large_size=61, small_size=21),
    "all, 61 and 21, gain": lambda block: stripe_vo.remove_all_stripe(
        block, large_size=61, small_size=21, model="gain"
    ),
    "Fourier-wavelet, level 3": lambda block: remove_stripe_fourier_wavelet(block, level=3),
    "Fourier-wavelet, level 9": lambda block: remove_stripe_fourier_wavelet(block, level=9),
    "Titarenko": remove_stripe_titarenko,
    "Titarenko, regularization 0.01": lambda block: remove_stripe_titarenko(block, regularization=0.01),
    "Titarenko, product": lambda block: remove_stripe_titarenko(block, order="product"),
}


def concentric_profile() -> np.ndarray[Any, Any]:
    """Bin-averaged line integrals of the cell, exact: chords integrated over each pixel."""
    edges = np.arange(WIDTH + 1) - WIDTH / 2
    profile = np.zeros(WIDTH)
    for inner, outer, mu in MATERIALS.values():
        for radius, sign in ((outer, 1), (inner, -1)):
            r = radius * WIDTH / 2
            if r > 0:
                u = np.clip(edges, -r, r)
                area = u * np.sqrt(r * r - u * u) + r * r * np.arcsin(u / r)
                profile += sign * mu * PIXEL_CM * np.diff(area)
    return profile


def radial_reconstruction(profile: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Filtered backprojection, in 1/cm, of a sinogram that is `profile` at every angle, at radii 0, 1, ... pixels."""
    lag = np.arange(-(WIDTH - 1), WIDTH)
    ramp = np.zeros(lag.size)
    ramp[lag == 0] = 0.25
    ramp[lag % 2 == 1] = -1 / (np.pi * lag[lag % 2 == 1]) ** 2
    filtered = np.convolve(profile, ramp)[WIDTH - 1 : 2 * WIDTH - 1]
    angles = (np.arange(2000) + 0.5) * np.pi / 2000
    places = np.arange(WIDTH // 2)[:, None] * np.cos(angles) + (WIDTH - 1) / 2
    return np.pi * np.interp(places, np.arange(WIDTH), filtered).mean(axis=1) / PIXEL_CM


def material_means(profile: np.ndarray[Any, Any]) -> dict[str, float]:
    """Area-weighted mean attenuation of each material, two pixels away from its faces."""
    radii = np.arange(WIDTH // 2)
    image = radial_reconstruction(profile)
    means = {}
    for name, (inner, outer, _) in MATERIALS.items():
        margin = min(2.0, (outer - inner) * WIDTH / 8)
        inside = (radii >= inner * WIDTH / 2 + margin * (inner > 0)) & (radii <= outer * WIDTH / 2 - margin)
        weight = (radii + 1e-3)[inside]
        means[name] = float((image[inside] * weight).sum() / weight.sum())
    return means


def measure_bias(method: Method, noise: float = 0.0) -> dict[str, float]:
    """Change of each material's mean attenuation by a method, in per cent of its true value.

    The reconstruction at a radius, averaged over the polar angle, depends on the mean over angles alone; noise
    of standard deviation `noise` on the line integrals is the same before and after, so what it does to the
    mean itself cancels. Four detector rows of noise are averaged.
    """
    rng = np.random.default_rng(7)
    profile = np.broadcast_to(concentric_profile(), (ANGLES, 4 if noise else 1, WIDTH))
    block = (profile + noise * rng.standard_normal(profile.shape)).astype(np.float32)
    before = material_means(block.mean(axis=(0, 1), dtype=np.float64))
    after = material_means(np.asarray(method(block)).mean(axis=(0, 1), dtype=np.float64))
    return {name: 100 * (after[name] - before[name]) / mu for name, (_, _, mu) in MATERIALS.items()}


@pytest.fixture(scope="module", params=[0.0, 0.02], ids=["noise-free", "noise 0.02"])
def table(request: pytest.FixtureRequest) -> tuple[float, dict[str, dict[str, float]]]:
    return request.param, {name: measure_bias(method, request.param) for name, method in METHODS.items()}


def test_reconstruction_of_the_cell_is_right() -> None:
    means = material_means(concentric_profile())
    for name, (_, _, mu) in MATERIALS.items():
        assert means[name] == pytest.approx(mu, rel=0.02, abs=0.02), name


def documented(noise: float) -> dict[str, list[float]]:
    """The table of docs/stripes.md for a noise: percentages in the order of `MATERIALS`."""
    page = (Path(__file__).parents[3] / "docs" / "stripes.md").read_text()
    section = page.split(f"### Noise {noise:g}\n")[1].split("\n#")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if "|" in line]
    return {row[0]: [float(cell) for cell in row[1:]] for row in cells[2:]}


def test_every_method_takes_what_the_documentation_says(table: tuple[float, dict[str, Any]]) -> None:
    noise, rows = table
    print(f"\n### Noise {noise:g}\n\n| method, windows | " + " | ".join(MATERIALS) + " |")
    print("| --- |" + " ---: |" * len(MATERIALS))
    for method, row in rows.items():
        print(f"| {method} | " + " | ".join(f"{row[name] + 0:.1f}" for name in MATERIALS) + " |")
    expected = documented(noise)
    assert set(expected) == set(rows)
    assert max(abs(change) for change in rows["defects"].values()) < 0.2
    for method, row in rows.items():
        assert list(row.values()) == pytest.approx(expected[method], rel=0.03, abs=0.3), method
