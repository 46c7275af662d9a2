"""Gaussian smoothing and gradients of a block in one compiled sweep over its planes.

Both equal `scipy.ndimage.gaussian_filter` with ``mode="nearest"`` to 2e-6 of the largest value. A plane is filtered
along z into a buffer that stays in the second-level cache, its rows along y and x from there, so no intermediate volume
is written. A voxel's value is the same sum in the same order wherever its block begins.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from xct_pipeline.boxes import Region
from xct_pipeline.compiled import empty, njit

Array = npt.NDArray[Any]

TRUNCATE = 4.0  # of Gaussians, standard deviations
FUSED = 4  # weights on either side that are added up in one sweep
STRIP = 64  # rows that are filtered through all planes: what is looked at again is still in the second-level cache


def gaussian_reach(sigma: float, truncate: float = TRUNCATE) -> int:
    """Return the voxels that a Gaussian of this standard deviation looks at on each side."""
    return int(truncate * sigma + 0.5)


def gaussian_taps(sigma: float, truncate: float = TRUNCATE) -> tuple[Array, Array]:
    """Return the weights of a Gaussian and of its derivative at 0, 1, ... voxels, float32 (reach + 1,)."""
    x = np.arange(gaussian_reach(sigma, truncate) + 1)
    bell = np.exp(-0.5 * (x / sigma) ** 2)
    bell /= bell[0] + 2 * bell[1:].sum()
    return bell.astype(np.float32), (bell * x / sigma**2).astype(np.float32)


def smooth_block(block: Array, sigma: float, core: Region | None = None, truncate: float = TRUNCATE) -> Array:
    """Smooth a block with a Gaussian.

    Parameters
    ----------
    block : array (z, y, x)
        Without gaps, with a halo of `gaussian_reach` clipped to the volume.
    sigma : float
        Standard deviation, voxels.
    core : tuple of slice, optional
        The part of the block that is wanted: what lies outside it is looked at, but not computed.
    truncate : float
        Where the Gaussian ends, standard deviations.

    Returns
    -------
    float32 array (z, y, x)
    """
    bell, _ = gaussian_taps(sigma, truncate)
    values = np.ascontiguousarray(block, np.float32)
    first, smooth = _room(values, core)
    _smooth(values, bell, first, smooth)
    return smooth


def gradient_block(block: Array, sigma: float, core: Region | None = None) -> Array:
    """Return the magnitude of the gradient of a block smoothed with a Gaussian; arguments as for `smooth_block`."""
    bell, slope = gaussian_taps(sigma)
    values = np.ascontiguousarray(block, np.float32)
    first, gradient = _room(values, core)
    _gradient(values, bell, slope, first, gradient)
    return gradient


def _room(block: Array, core: Region | None) -> tuple[tuple[int, int, int], Array]:
    """Return the first voxel of what is wanted of a block, and an array for it."""
    core = core or tuple(slice(0, n) for n in block.shape)
    z, y, x = core
    return (z.start, y.start, x.start), np.empty([part.stop - part.start for part in core], np.float32)


@njit(inner=True)
def _even_sum(rows: Array, at: int, column: int, taps: Array, out: Array) -> None:
    """Filter rows (n, columns, x) along their first axis around row `at`, with weights that are even about it.

    Rows are taken out one by one: what is known to be contiguous is added up in vectors. The first nine go in one
    sweep, in the order in which they would be added one by one.
    """
    last, done = rows.shape[0] - 1, 0
    if len(taps) > FUSED:
        done = FUSED
        _add_four_even(
            rows[at, column],
            rows[max(at - 1, 0), column],
            rows[min(at + 1, last), column],
            rows[max(at - 2, 0), column],
            rows[min(at + 2, last), column],
            rows[max(at - 3, 0), column],
            rows[min(at + 3, last), column],
            rows[max(at - 4, 0), column],
            rows[min(at + 4, last), column],
            taps,
            out,
        )
    else:
        _scale(rows[at, column], taps[0], out)
    for k in range(done + 1, len(taps)):
        _add_even(rows[max(at - k, 0), column], rows[min(at + k, last), column], taps[k], out)


@njit(inner=True)
def _odd_sum(rows: Array, at: int, column: int, taps: Array, out: Array) -> None:
    """Filter as `_even_sum` does, with weights of opposite sign on the two sides."""
    last, done = rows.shape[0] - 1, 0
    if len(taps) > FUSED:
        done = FUSED
        _add_four_odd(
            rows[max(at - 1, 0), column],
            rows[min(at + 1, last), column],
            rows[max(at - 2, 0), column],
            rows[min(at + 2, last), column],
            rows[max(at - 3, 0), column],
            rows[min(at + 3, last), column],
            rows[max(at - 4, 0), column],
            rows[min(at + 4, last), column],
            taps,
            out,
        )
    else:
        out[:] = np.float32(0)
    for k in range(done + 1, len(taps)):
        _add_odd(rows[max(at - k, 0), column], rows[min(at + k, last), column], taps[k], out)


@njit(inline="always")
def _scale(row: Array, tap: np.float32, out: Array) -> None:
    for x in range(out.shape[0]):
        out[x] = tap * row[x]


@njit(inline="always")
def _add_even(low: Array, high: Array, tap: np.float32, out: Array) -> None:
    for x in range(out.shape[0]):
        out[x] += tap * (low[x] + high[x])


@njit(inline="always")
def _add_odd(low: Array, high: Array, tap: np.float32, out: Array) -> None:
    for x in range(out.shape[0]):
        out[x] += tap * (high[x] - low[x])


@njit(inline="always")
def _add_four_even(
    middle: Array,
    low1: Array,
    high1: Array,
    low2: Array,
    high2: Array,
    low3: Array,
    high3: Array,
    low4: Array,
    high4: Array,
    taps: Array,
    out: Array,
) -> None:
    tap0, tap1, tap2, tap3, tap4 = taps[0], taps[1], taps[2], taps[3], taps[4]
    for x in range(out.shape[0]):
        total = tap0 * middle[x]
        total += tap1 * (low1[x] + high1[x])
        total += tap2 * (low2[x] + high2[x])
        total += tap3 * (low3[x] + high3[x])
        total += tap4 * (low4[x] + high4[x])
        out[x] = total


@njit(inline="always")
def _add_four_odd(
    low1: Array,
    high1: Array,
    low2: Array,
    high2: Array,
    low3: Array,
    high3: Array,
    low4: Array,
    high4: Array,
    taps: Array,
    out: Array,
) -> None:
    tap1, tap2, tap3, tap4 = taps[1], taps[2], taps[3], taps[4]
    for x in range(out.shape[0]):
        total = np.float32(0)
        total += tap1 * (high1[x] - low1[x])
        total += tap2 * (high2[x] - low2[x])
        total += tap3 * (high3[x] - low3[x])
        total += tap4 * (high4[x] - low4[x])
        out[x] = total


@njit(inline="always")
def take_bend_off(
    padded: Array,
    down: Array,
    up: Array,
    front: Array,
    back: Array,
    strength: np.float32,
    least_bend: np.float32,
    sharp: Array,
) -> None:
    """Take `strength` times the Laplacian off a row where that is at least `least_bend`.

    `padded` has one value more at either end; the other rows are the row's neighbours along z and y.
    """
    for x in range(len(sharp)):
        value = padded[x + 1]
        bend = (((down[x] + up[x]) + front[x]) + back[x]) - np.float32(6) * value
        bent = strength * ((bend + padded[x]) + padded[x + 2])
        sharp[x] = value - bent if abs(bent) >= least_bend else value


@njit(inner=True)
def _pad(row: Array, reach: int) -> None:
    """Repeat the first and last value of what stands between two margins."""
    stop = len(row) - reach
    for k in range(reach):
        row[k] = row[reach]
        row[stop + k] = row[stop - 1]


@njit(inner=True)
def _even_row(padded: Array, first: int, taps: Array, out: Array) -> None:
    """Filter a row that stands between margins as `_even_sum` does its rows, from its value `first` on."""
    middle, n, done = first + len(taps) - 1, out.shape[0], 0
    if len(taps) > FUSED:
        done = FUSED
        _add_four_even(
            padded[middle : middle + n],
            padded[middle - 1 : middle - 1 + n],
            padded[middle + 1 : middle + 1 + n],
            padded[middle - 2 : middle - 2 + n],
            padded[middle + 2 : middle + 2 + n],
            padded[middle - 3 : middle - 3 + n],
            padded[middle + 3 : middle + 3 + n],
            padded[middle - 4 : middle - 4 + n],
            padded[middle + 4 : middle + 4 + n],
            taps,
            out,
        )
    else:
        _scale(padded[middle : middle + n], taps[0], out)
    for k in range(done + 1, len(taps)):
        _add_even(padded[middle - k : middle - k + n], padded[middle + k : middle + k + n], taps[k], out)


@njit(inner=True)
def _odd_row(padded: Array, first: int, taps: Array, out: Array) -> None:
    middle, n, done = first + len(taps) - 1, out.shape[0], 0
    if len(taps) > FUSED:
        done = FUSED
        _add_four_odd(
            padded[middle - 1 : middle - 1 + n],
            padded[middle + 1 : middle + 1 + n],
            padded[middle - 2 : middle - 2 + n],
            padded[middle + 2 : middle + 2 + n],
            padded[middle - 3 : middle - 3 + n],
            padded[middle + 3 : middle + 3 + n],
            padded[middle - 4 : middle - 4 + n],
            padded[middle + 4 : middle + 4 + n],
            taps,
            out,
        )
    else:
        out[:] = np.float32(0)
    for k in range(done + 1, len(taps)):
        _add_odd(padded[middle - k : middle - k + n], padded[middle + k : middle + k + n], taps[k], out)


@njit
def _smooth(block: Array, bell: Array, first: tuple[int, int, int], smooth: Array) -> None:
    ny, nx = block.shape[1:]
    reach, only = len(bell) - 1, np.int64(0)
    plane = empty((ny, 1, nx), np.float32)
    padded = empty(nx + 2 * reach, np.float32)
    for start in range(0, smooth.shape[1], STRIP):
        stop = min(start + STRIP, smooth.shape[1])
        rows = range(max(0, first[1] + start - reach), min(ny, first[1] + stop + reach))
        for z in range(smooth.shape[0]):
            for y in rows:
                _even_sum(block, first[0] + z, y, bell, plane[y, 0])
            for y in range(start, stop):
                _even_sum(plane, first[1] + y, only, bell, padded[reach : reach + nx])
                _pad(padded, reach)
                _even_row(padded, first[2], bell, smooth[z, y])


@njit
def _gradient(block: Array, bell: Array, slope: Array, first: tuple[int, int, int], gradient: Array) -> None:
    ny, nx = block.shape[1:]
    reach, only = len(bell) - 1, np.int64(0)
    plane, plane_z = empty((ny, 1, nx), np.float32), empty((ny, 1, nx), np.float32)
    padded = empty(nx + 2 * reach, np.float32)
    inner = padded[reach : reach + nx]
    along = empty(gradient.shape[2], np.float32)
    for start in range(0, gradient.shape[1], STRIP):
        stop = min(start + STRIP, gradient.shape[1])
        rows = range(max(0, first[1] + start - reach), min(ny, first[1] + stop + reach))
        for z in range(gradient.shape[0]):
            for y in rows:
                _even_sum(block, first[0] + z, y, bell, plane[y, 0])
                _odd_sum(block, first[0] + z, y, slope, plane_z[y, 0])
            for y in range(start, stop):
                total = gradient[z, y]
                _even_sum(plane, first[1] + y, only, bell, inner)
                _pad(padded, reach)
                _odd_row(padded, first[2], slope, along)
                _square(along, total)
                _odd_sum(plane, first[1] + y, only, slope, inner)
                _pad(padded, reach)
                _even_row(padded, first[2], bell, along)
                _add_square(along, total)
                _even_sum(plane_z, first[1] + y, only, bell, inner)
                _pad(padded, reach)
                _even_row(padded, first[2], bell, along)
                _add_square(along, total)
                for x in range(len(total)):
                    total[x] = np.sqrt(total[x])


@njit(inline="always")
def _square(row: Array, out: Array) -> None:
    for x in range(out.shape[0]):
        out[x] = row[x] * row[x]


@njit(inline="always")
def _add_square(row: Array, out: Array) -> None:
    for x in range(out.shape[0]):
        out[x] += row[x] * row[x]
