"""The data of the benchmark: exact sinograms, and what a detector makes of them."""

from __future__ import annotations

from typing import Any

import closed_form as cf
import numpy as np
from entry import Problem

Array = np.ndarray[Any, Any]
SCALE = 2.0  # largest line integral


def angles(problem: Problem) -> Array:
    """Return half a turn in radians, its end left out."""
    return np.arange(problem.angles) * np.pi / problem.angles


def bodies(problem: Problem) -> list[cf.Ellipse]:
    """Return the phantom, which leaves a margin of air."""
    return cf.phantom(0.47 * problem.columns)


def exact(problem: Problem) -> Array:
    """Return the sinogram of one slice (angle, column), float32, largest value SCALE."""
    file = problem.folder / "sinogram.npy"
    if not file.exists():
        data = cf.sinogram(bodies(problem), angles(problem), problem.columns, problem.center)
        np.save(file, data.astype(np.float32))
    data = np.load(file)
    return data * np.float32(SCALE / data.max())


def centred(problem: Problem, center: float) -> Array:
    """Return the exact sinogram with its axis at `center`, for packages that cannot be told where it lies."""
    data = cf.sinogram(bodies(problem), angles(problem), problem.columns, center)
    return (data * attenuation(problem)).astype(np.float32)


def sinograms(problem: Problem, rows: int | None = None) -> Array:
    """Return (angle, row, column); rows differ by up to a tenth in scale."""
    n = problem.rows if rows is None else rows
    scale = (1 - 0.1 * np.arange(n, dtype=np.float32) / max(n, 2))[:, None]
    return exact(problem)[:, None, :] * scale


def attenuation(problem: Problem) -> float:
    """Return the factor from the phantom's values to those of `sinograms`."""
    data = np.load(problem.folder / "sinogram.npy")
    return SCALE / float(data.max())


def truth(problem: Problem, shift: tuple[float, float] = (0.0, 0.0)) -> Array:
    """Return the exact image of the first slice, moved by (y, x) pixels."""
    file = problem.folder / f"truth_{shift[0]:+.1f}_{shift[1]:+.1f}.npy"
    if not file.exists():
        moved = [e._replace(x=e.x + shift[1], y=e.y + shift[0]) for e in bodies(problem)]
        np.save(file, cf.image(moved, problem.columns).astype(np.float32))
    image: Array = np.load(file)
    return image


def image_error(problem: Problem, image: Array) -> float:
    """Return the RMSE in the inscribed circle, in units of the phantom, in the best of the orientations in use.

    Packages differ in the direction of y and in where the axis falls, (N - 1) / 2 or N / 2.
    """
    inside = cf.disc(problem.columns)
    image = np.asarray(image, np.float32) / np.float32(attenuation(problem))
    shifts = [(0.0, 0.0), *((a, b) for a in (0.5, -0.5) for b in (0.5, -0.5))]
    return min(cf.rmse(view, truth(problem, shift), inside) for view in (image, image[::-1]) for shift in shifts)


def stripes(problem: Problem) -> Array:
    """Return offsets (row, column) of a detector: weak ones everywhere, a few large, a few wide."""
    rng = np.random.default_rng(1)
    found = 0.004 * rng.standard_normal((problem.rows, problem.columns)).astype(np.float32)
    for _ in range(max(4, problem.columns // 60)):
        column, width = int(rng.integers(10, problem.columns - 30)), int(rng.integers(1, 12))
        found[:, column : column + width] += np.float32(rng.normal(0, 0.08))
    return found


def noisy(problem: Problem) -> Array:
    """Return `sinograms` with noise and stripes, (angle, row, column)."""
    rng = np.random.default_rng(0)
    clean = sinograms(problem)
    return clean + stripes(problem) + 0.01 * rng.standard_normal(clean.shape, dtype=np.float32)


def counts(problem: Problem, rows: int | None = None) -> tuple[Array, Array, Array]:
    """Return raw frames uint16 (angle, row, column) with stripes and zingers, and flat and dark (row, column)."""
    n = problem.rows if rows is None else rows
    rng = np.random.default_rng(2)
    flat = (30000 * (1 + 0.1 * rng.standard_normal((n, problem.columns)))).clip(15000, 60000).astype(np.float32)
    dark = np.full(flat.shape, 100, np.float32)
    raw = np.empty((problem.angles, n, problem.columns), np.uint16)
    gain = np.exp(-np.resize(stripes(problem), flat.shape))
    line = exact(problem)
    scale = (1 - 0.1 * np.arange(n, dtype=np.float32) / max(n, 2))[:, None]
    for k in range(problem.angles):
        light = (flat - dark) * gain * np.exp(-line[k] * scale)
        light += np.sqrt(light) * rng.standard_normal(light.shape, dtype=np.float32)
        raw[k] = (light + dark).clip(0, 65535)
    hits = rng.integers(0, raw.size, raw.size // 20000)
    raw.reshape(-1)[hits] = np.minimum(raw.reshape(-1)[hits].astype(np.int64) + 20000, 65535)
    return raw, flat, dark
