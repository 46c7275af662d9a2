"""A phantom of ellipses with its exact image and its exact, bin-averaged sinogram, and exact FBP.

Shares no code with the package: lengths are in pixels, the origin is the rotation axis, x runs along the
columns and y along the rows, p(theta, u) integrates over x cos(theta) + y sin(theta) = u.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]


class Ellipse(NamedTuple):
    """One ellipse: the value it adds, its centre, semi-axes and the angle of the first axis (radians)."""

    value: float
    x: float
    y: float
    a: float
    b: float
    angle: float = 0.0


def phantom(radius: float) -> list[Ellipse]:
    """A dozen ellipses within `radius` pixels: a body of 1 with inclusions from 0 to 2, none concentric."""
    unit = [
        Ellipse(1.0, 0.00, 0.00, 0.92, 0.80, 0.3),
        Ellipse(-0.6, 0.02, -0.03, 0.82, 0.70, 0.3),
        Ellipse(0.5, 0.30, 0.20, 0.30, 0.18, 1.1),
        Ellipse(-0.3, 0.33, 0.22, 0.12, 0.08, 0.2),
        Ellipse(0.9, -0.40, 0.10, 0.15, 0.25, -0.4),
        Ellipse(-0.4, -0.10, -0.40, 0.28, 0.16, 0.7),
        Ellipse(0.3, -0.12, -0.38, 0.10, 0.06, 0.0),
        Ellipse(1.2, 0.45, -0.25, 0.05, 0.05, 0.0),
        Ellipse(0.8, 0.10, 0.45, 0.04, 0.09, -0.9),
        Ellipse(-0.4, -0.30, 0.42, 0.09, 0.05, 0.5),
        Ellipse(0.6, 0.05, -0.02, 0.03, 0.03, 0.0),
        Ellipse(0.2, -0.55, -0.22, 0.08, 0.14, 0.9),
    ]
    return [Ellipse(e.value, *(radius * v for v in e[1:5]), e.angle) for e in unit]


def sinogram(ellipses: list[Ellipse], angles: Array, n_columns: int, center: float) -> Array:
    """Line integrals averaged over each detector bin, (angle, column) float64, in value times pixel."""
    edges = np.arange(n_columns + 1) - 0.5 - center
    total = np.zeros((len(angles), n_columns))
    for e in ellipses:
        shift = e.x * np.cos(angles) + e.y * np.sin(angles)
        half = np.sqrt((e.a * np.cos(angles - e.angle)) ** 2 + (e.b * np.sin(angles - e.angle)) ** 2)
        t = np.clip((edges[None] - shift[:, None]) / half[:, None], -1.0, 1.0)
        # The integral of the chord length up to t, in units in which the whole area is pi a b.
        total += e.value * e.a * e.b * np.diff(t * np.sqrt(1.0 - t**2) + np.arcsin(t), axis=1)
    return total


def image(ellipses: list[Ellipse], size: int, *, samples: int = 4) -> Array:
    """Mean over each pixel, by samples**2 points of it, (y, x) float64, axis at (size - 1) / 2."""
    fine = (np.arange(size * samples) + 0.5) / samples - 0.5 - (size - 1) / 2
    total = np.zeros((size, size))
    for e in ellipses:
        reach = max(e.a, e.b) + 2
        rows = _span(e.y, reach, size)
        columns = _span(e.x, reach, size)
        x = fine[columns.start * samples : columns.stop * samples][None] - e.x
        y = fine[rows.start * samples : rows.stop * samples][:, None] - e.y
        c, s = np.cos(e.angle), np.sin(e.angle)
        inside = ((x * c + y * s) / e.a) ** 2 + ((y * c - x * s) / e.b) ** 2 <= 1.0
        shape = (rows.stop - rows.start, samples, columns.stop - columns.start, samples)
        total[rows, columns] += e.value * inside.reshape(shape).mean(axis=(1, 3))
    return total


def away_from_edges(ellipses: list[Ellipse], size: int, distance: float = 6.0) -> Array:
    """Mask of the pixels farther than about `distance` pixels from the outline of every ellipse."""
    grid = np.arange(size) - (size - 1) / 2
    mask = np.ones((size, size), bool)
    for e in ellipses:
        x, y = grid[None] - e.x, grid[:, None] - e.y
        c, s = np.cos(e.angle), np.sin(e.angle)
        along, across = x * c + y * s, y * c - x * s
        grown = (along / (e.a + distance)) ** 2 + (across / (e.b + distance)) ** 2 <= 1.0
        if min(e.a, e.b) <= distance:
            mask &= ~grown
            continue
        shrunk = (along / (e.a - distance)) ** 2 + (across / (e.b - distance)) ** 2 <= 1.0
        mask &= ~(grown & ~shrunk)
    return mask


def exact_fbp(sinograms: Array, angles: Array, center: float, size: int, weights: Array | None = None) -> Array:
    """Filtered back-projection in float64 without interpolation, (size, size), of one sinogram.

    The ramp is the transform of its exact samples over twice the width; the trigonometric polynomial of
    each filtered projection is evaluated at every pixel, by a matrix product per angle, or above 300 pixels
    by ducc0's non-uniform FFT at 1e-12.
    """
    n_angles, n_columns = sinograms.shape
    padded = 2 * n_columns
    weights = np.full(n_angles, np.pi / n_angles) if weights is None else weights
    j = np.arange(1, n_columns + 1, 2)
    spatial = np.zeros(padded)
    spatial[0] = 0.25
    spatial[j] = spatial[padded - j] = -1.0 / (np.pi * j) ** 2
    m = np.arange(1 - n_columns, n_columns)
    spectrum = np.fft.fft(sinograms, padded, axis=1) * np.fft.fft(spatial).real / padded
    spectrum = spectrum[:, m] * np.exp(2j * np.pi * m * center / padded) * weights[:, None]
    grid = np.arange(size) - (size - 1) / 2
    wave = 2j * np.pi / padded
    if size > 300:
        return _nufft(spectrum, angles, m / padded, size)
    total = np.zeros((size, size))
    for values, angle in zip(spectrum, angles, strict=True):
        along_x = np.exp(wave * np.cos(angle) * np.outer(m, grid)) * values[:, None]
        along_y = np.exp(wave * np.sin(angle) * np.outer(grid, m))
        total += (along_y @ along_x).real
    return total


def _nufft(spectrum: Array, angles: Array, frequency: Array, size: int) -> Array:
    import ducc0

    kx = (np.cos(angles)[:, None] * frequency).ravel()
    ky = (np.sin(angles)[:, None] * frequency).ravel()
    # ducc0 numbers pixels from -(size // 2); an even image's centre lies half a pixel off.
    half = 0.5 * (size % 2 == 0)
    values = spectrum.ravel() * np.exp(2j * np.pi * half * (kx + ky))
    out = np.zeros((size, size), np.complex128)
    ducc0.nufft.nu2u(
        points=values, coord=2 * np.pi * np.stack([ky, kx], axis=1), forward=False, epsilon=1e-12, out=out, nthreads=1
    )
    return out.real


def _span(middle: float, reach: float, size: int) -> slice:
    first = int(np.floor(middle - reach + (size - 1) / 2))
    last = int(np.ceil(middle + reach + (size - 1) / 2)) + 1
    return slice(max(0, first), min(size, last))


def rmse(a: Array, b: Array, mask: Array) -> float:
    """Root mean square difference within a mask."""
    return float(np.sqrt(np.mean((a[mask].astype(np.float64) - b[mask]) ** 2)))


def disc(size: int) -> Array:
    """Mask of the inscribed circle."""
    square = (np.arange(size) - (size - 1) / 2) ** 2
    return np.asarray(square[:, None] + square[None] <= (size / 2) ** 2)
