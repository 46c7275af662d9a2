"""Gridding of polar samples of sixteen slices at once: the Kaiser-Bessel kernel and its three loops.

A sample is one (angle, frequency) with the values of sixteen slices next to each other, so that every
weight is computed once for sixteen slices and every addition is a vector addition. Grid index i stands for
the frequency i - n/2. Every grid point is multiplied by (-1)**(u + v), which moves the image to the middle
of the transform's output and so makes its crop contiguous.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from xct_pipeline.compiled import empty, njit
from xct_pipeline.device import Array, cuda_kernel, is_cupy

GROUP = 16
"""Slices that are computed together."""

STRIP = 64
"""Rows of the grid that are computed together; a tile of STRIP x STRIP samples stays in the L2 cache."""

DEGREE = 7
"""Degree of the polynomials that stand for the kernel."""


def kernel_shape(width: int, oversampling: float) -> float:
    """Shape parameter of the Kaiser-Bessel kernel (Beatty, Nishimura and Pauly 2005, eq. 5)."""
    return float(np.pi * np.sqrt((width / oversampling) ** 2 * (oversampling - 0.5) ** 2 - 0.8))


@functools.cache
def kernel_polynomials(width: int, beta: float) -> np.ndarray[Any, Any]:
    """Polynomial per tap, as float32 (tap, power), highest power first, that replaces the Bessel function.

    A sample at x = floor(x) + f touches the grid points floor(x) - width/2 + 1 + tap; each polynomial is in
    f, which lies in [0, 1). The fit is good to 1e-6 of the kernel's peak.
    """
    nodes = 0.5 - 0.5 * np.cos(np.pi * (np.arange(64) + 0.5) / 64)
    rows = []
    for tap in range(width):
        distance = nodes + width // 2 - 1 - tap
        root = np.sqrt(np.maximum(1.0 - (2.0 * distance / width) ** 2, 0.0))
        rows.append(np.polynomial.Polynomial.fit(nodes, np.i0(beta * root) / np.i0(beta), DEGREE, domain=[0, 1]))
    coefficients = np.array([row.convert().coef[::-1] for row in rows], np.float32)
    coefficients.flags.writeable = False
    return coefficients


def kernel_transform(offset: np.ndarray[Any, Any], width: int, beta: float, n_grid: int) -> np.ndarray[Any, Any]:
    """Fourier transform of the kernel at a pixel `offset` from the image's origin (float64)."""
    root = np.sqrt(beta**2 - (np.pi * width * np.asarray(offset, np.float64) / n_grid) ** 2)
    return np.asarray(width / np.i0(beta) * np.sinh(root) / root)


@njit(inline="always")
def _clip_range(first: int, last: int, low: float, high: float, step: float) -> tuple[int, int]:
    """Narrow [first, last] to the m with low <= m * step < high; neighbouring intervals share no m."""
    if step > 1e-9:
        first = max(first, int(np.ceil(low / step)))
        last = min(last, int(np.ceil(high / step)) - 1)
    elif step < -1e-9:
        first = max(first, int(np.floor(high / step)) + 1)
        last = min(last, int(np.floor(low / step)))
    elif low > 0 or high <= 0:
        last = first - 1
    return first, last


# The kernel's width reaches the loops below as the length of a tuple, which is part of its type and so a
# constant of the compiled code: only then are the taps of one grid row times sixteen slices one loop of
# fixed length without a remainder, which is what makes it as fast as C.


@njit(inner=True, fastmath=True)
def _weigh(
    first: int,
    n: int,
    steps: tuple[float, float],
    base: int,
    coefficients: Array,
    offset: Array,
    frac: Array,
    weight: Array,
    taps: tuple[int, ...],
) -> None:
    """Place in the tile and weights of the n samples from frequency index `first`, along one line."""
    columns = STRIP + len(taps) + 2
    for i in range(n):
        x = (first + i) * steps[0]
        y = (first + i) * steps[1]
        floor_x = np.floor(x)
        floor_y = np.floor(y)
        offset[i] = base + (np.int32(floor_y) * columns + np.int32(floor_x)) * GROUP
        frac[0, i] = np.float32(x - floor_x)
        frac[1, i] = np.float32(y - floor_y)
    for axis in range(2):
        for tap in range(len(taps)):
            for i in range(n):
                f = frac[axis, i]
                value = coefficients[tap, 0]
                for power in range(1, DEGREE + 1):
                    value = value * f + coefficients[tap, power]
                weight[axis, tap, i] = value
        # On a grid point the last tap has no mirror image, which would leak a slice into its partner.
        for i in range(n):
            if frac[axis, i] == 0:
                weight[axis, len(taps) - 1, i] = 0


@njit(inner=True, fastmath=True)
def _scatter(
    samples: Array, n: int, offset: Array, weight: Array, row: Array, tile: Array, taps: tuple[int, ...]
) -> None:
    """Add n consecutive samples of one angle to the tile."""
    # Unsigned indices spare the test for negative ones, without which the loops do not vectorise.
    stride = np.uintp((STRIP + len(taps) + 2) * GROUP)
    for i in range(n):
        for tap in range(len(taps)):
            w = weight[0, tap, i]
            for s in range(GROUP):
                row[tap * GROUP + s] = w * samples[i, s]
        place = np.uintp(offset[i])
        for tap in range(len(taps)):
            w = weight[1, tap, i]
            for j in range(len(taps) * GROUP):
                tile[place + np.uintp(j)] += w * row[j]
            place += stride


@njit(inner=True)
def _flush(tile: Array, first_row: int, first_column: int, strip: Array, taps: tuple[int, ...]) -> None:
    """Add the tile to the strip, columns modulo the grid, with the sign (-1)**(u + v)."""
    rows, n_grid, _ = strip.shape
    columns = STRIP + len(taps) + 2
    for r in range(rows):
        for c in range(columns):
            u = first_column + c
            sign = np.float32(1 - 2 * ((u + first_row + r) & 1))
            place = np.uintp(((r + len(taps)) * columns + c) * GROUP)
            target = strip[r, (u + n_grid // 2) % n_grid]
            for s in range(GROUP):
                target[s] += sign * tile[place + np.uintp(s)]


@njit
def grid_strip(
    samples: Array, steps: Array, first_row: int, coefficients: Array, tile: Array, strip: Array, taps: tuple[int, ...]
) -> None:
    """Fill one strip of the grid, serially.

    Parameters
    ----------
    samples : (angle, frequency, 16) float32, frequency 0 at half the length of its axis
    steps : (angle, 2) float64, grid distance in x and y between neighbouring frequencies
    first_row : int, frequency of the strip's first row, from -n_grid / 2
    coefficients : (tap, 8) float32, of ``kernel_polynomials``
    tile : float32 buffer of ``tile_floats(width)``
    strip : (row, n_grid, 16) float32, at most STRIP rows, overwritten
    taps : tuple of `width` integers, whatever their values
    """
    n_angles, n_frequencies, _ = samples.shape
    rows, n_grid, _ = strip.shape
    width = len(taps)
    half = n_frequencies // 2
    row = empty(width * GROUP, np.float32)
    offset = empty(n_frequencies, np.int64)
    frac = empty((2, n_frequencies), np.float32)
    weight = empty((2, width, n_frequencies), np.float32)
    strip[:] = 0
    for wrap in range(-1, 2):
        # Samples within half a kernel of the strip; those near the grid's edge also reach the other edge.
        low = first_row + wrap * n_grid
        bottom = low - width // 2 - 1e-6
        top = low + rows + width // 2 - 1 + 1e-6
        if bottom > n_grid // 2 or top < -(n_grid // 2):
            continue
        for left in range(-(n_grid // 2), n_grid // 2, STRIP):
            right = min(left + STRIP, n_grid // 2)
            base = ((width + 1 - width // 2 - low) * (STRIP + width + 2) + 1 - left) * GROUP
            untouched = True
            for a in range(n_angles):
                dx, dy = steps[a]
                # Half the extents of the tile, seen across the line: most lines miss most tiles.
                across = (right - left) * abs(dy) + (top - bottom) * abs(dx)
                if abs((left + right) * dy - (bottom + top) * dx) > across + 1e-6:
                    continue
                first, last = _clip_range(1 - half, half - 1, left, right, dx)
                first, last = _clip_range(first, last, bottom, top, dy)
                n = last - first + 1
                if n <= 0:
                    continue
                if untouched:
                    tile[:] = 0
                    untouched = False
                _weigh(first, n, (dx, dy), base, coefficients, offset, frac, weight, taps)
                _scatter(samples[a, first + half : last + half + 1], n, offset, weight, row, tile, taps)
            if not untouched:
                _flush(tile, first_row, left - width // 2, strip, taps)


def tile_floats(width: int) -> int:
    """Number of floats of the tile buffer that ``grid_strip`` works in."""
    return (STRIP + 2 * width) * (STRIP + width + 2) * GROUP


def grid_plain(samples: Array, steps: Array, coefficients: Array, n_grid: int) -> Any:
    """Return the whole grid (v, u, 8) complex64 of `samples` (angle, frequency, 8) complex64.

    The same sum as ``grid_strip`` without its tiles: on a CUDA device one thread gathers the samples of one
    grid point in the order of the angles, so that, unlike with atomic additions, equal inputs give equal
    bits; with numpy it is the reference of the tests.
    """
    if is_cupy(samples):
        return _grid_cuda(samples, steps, coefficients, n_grid)
    n_angles, n_frequencies, _ = samples.shape
    width = coefficients.shape[0]
    m = np.arange(1 - n_frequencies // 2, n_frequencies // 2)
    grid = np.zeros((n_grid, n_grid, GROUP // 2), np.complex64)
    for a in range(n_angles):
        place = m[:, None] * steps[a]
        floor = np.floor(place)
        frac = (place - floor).astype(np.float32)
        first = floor.astype(np.int64) + 1 - width // 2
        weight = np.stack([np.polyval(row[:, None, None], frac) for row in coefficients])
        weight[-1][frac == 0] = 0
        for j, i in np.ndindex(width, width):
            u, v = first[:, 0] + i, first[:, 1] + j
            value = (weight[i, :, 0] * weight[j, :, 1] * (1 - 2 * ((u + v) & 1)))[:, None] * samples[a, 1:]
            np.add.at(grid, ((v + n_grid // 2) % n_grid, (u + n_grid // 2) % n_grid), value)
    return grid


def _grid_cuda(samples: Array, steps: Array, coefficients: Array, n_grid: int) -> Any:
    """Gather on the current CUDA device; see ``grid_plain``."""
    import cupy

    grid = cupy.empty((n_grid, n_grid, GROUP // 2), cupy.complex64)
    blocks = -(-n_grid // 16)  # of 16 x 16 threads, as gridding.cu has them
    arguments = (
        cupy.ascontiguousarray(samples, dtype=cupy.complex64),
        cupy.asarray(steps, dtype=cupy.float64),
        cupy.asarray(coefficients, dtype=cupy.float32),
        grid,
        *(np.int32(n) for n in (*samples.shape[:2], n_grid, coefficients.shape[0], DEGREE)),
    )
    kernel = cuda_kernel("xct_pipeline.reconstruction", "gridding.cu", "gather")
    kernel((blocks, blocks), (16, 16), arguments)
    return grid
