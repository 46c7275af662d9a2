"""Sinograms into groups of sixteen slices that lie innermost, and slices out of them."""

from __future__ import annotations

import numpy as np

from xct_pipeline.compiled import empty, njit, zeros
from xct_pipeline.device import Array
from xct_pipeline.reconstruction.gridding import GROUP

COLUMNS = 16
"""Image columns transformed together: their cache lines are whole."""


@njit(signature="(f4[:, :, :], i8)")  # of a group of rows, or of all
def mean_edges(sinograms: Array, n: int) -> Array:
    """Mean projection (side, row, n) float64 from either edge inward, summed in the order of the angles."""
    n_angles, n_rows, n_columns = sinograms.shape
    out = zeros((2, n_rows, n), np.float64)
    for a in range(n_angles):
        for s in range(n_rows):
            for c in range(n):
                out[0, s, c] += sinograms[a, s, c]
                out[1, s, c] += sinograms[a, s, n_columns - 1 - c]
    mean: Array = out / n_angles
    return mean


@njit(signature="(f4[:, :, :], f4[:, :, ::1], i8, f4[:, :, ::1])")
def pack(sinograms: Array, extension: Array, n_edge: int, out: Array) -> bool:
    """Interleave rows as (angle, column, 16) and pad; returns False where a value is not finite."""
    n_angles, n_rows, n_columns = sinograms.shape
    padded = out.shape[1]
    finite = True
    for a in range(n_angles):
        out[a, n_columns:] = 0
        if n_rows < GROUP:
            out[a] = 0
        for s in range(n_rows):
            total = np.float32(0)
            for c in range(n_columns):
                value = sinograms[a, s, c]
                total += value * np.float32(0)
                out[a, c, s] = value
            # zero times infinity or NaN is NaN, so the sum says whether all were finite
            finite = finite and total == 0
            left = np.float32(0)
            right = np.float32(0)
            for c in range(n_edge):
                left += sinograms[a, s, c] / np.float32(n_edge)
                right += sinograms[a, s, n_columns - 1 - c] / np.float32(n_edge)
            for c in range(extension.shape[2]):
                out[a, n_columns + c, s] += right * extension[1, s, c]
                out[a, padded - 1 - c, s] += left * extension[0, s, c]
    return finite


@njit
def multiply(spectrum: Array, response: Array, shift: Array, weights: Array, out: Array) -> None:
    """Filter, weight and move the axis to the origin; zero frequency goes to the middle."""
    n_angles, padded, _ = spectrum.shape
    half = padded // 2
    # exp(i m t) as a product of two short tables: a sine for each m would cost as much as the FFT.
    fine = empty(64, np.complex128)
    for a in range(n_angles):
        turn = 2.0 * np.pi * shift[a] / padded
        for j in range(64):
            fine[j] = np.exp(1j * turn * j) * weights[a]
        for coarse in range(0, padded, 64):
            phase = np.exp(1j * turn * (coarse - half))
            for j in range(min(64, padded - coarse)):
                m = coarse + j
                factor = phase * fine[j] * response[m]
                re, im = np.float32(factor.real), np.float32(factor.imag)
                source = spectrum[a, m + half if m < half else m - half]
                target = out[a, m]
                for s in range(GROUP // 2):
                    x, y = source[2 * s], source[2 * s + 1]
                    target[2 * s] = x * re - y * im
                    target[2 * s + 1] = x * im + y * re


@njit
def keep_columns(rows: Array, first_column: int, size: int, first_row: int, out: Array) -> None:
    """Copy the columns of the image, so that one block of them is contiguous for the second transform."""
    for r in range(rows.shape[0]):
        for block in range(out.shape[0]):
            target = out[block, first_row + r]
            n = min(COLUMNS, size - block * COLUMNS)
            for c in range(n):
                source = rows[r, first_column + block * COLUMNS + c]
                for s in range(GROUP):
                    target[c * GROUP + s] = source[s]
            target[n * GROUP :] = 0


@njit
def unpack(image: Array, first_row: int, deapodise: Array, first_column: int, out: Array) -> None:
    """Crop the rows, divide by the kernel's transform and write the slices."""
    _, size, _ = out.shape
    n = min(COLUMNS, size - first_column)
    factor = empty(COLUMNS, np.float32)
    for y in range(size):
        line = image[first_row + y]
        for c in range(n):
            factor[c] = deapodise[y] * deapodise[first_column + c]
        if n < COLUMNS:
            for c in range(n):
                for s in range(GROUP):
                    out[s, y, first_column + c] = line[c * GROUP + s] * factor[c]
            continue
        for s in range(GROUP):
            target = out[s, y, first_column : first_column + COLUMNS]
            for c in range(COLUMNS):  # a length known to the compiler: with any length it took two seconds to compile
                target[c] = line[c * GROUP + s] * factor[c]
