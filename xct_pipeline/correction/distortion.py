"""Radial distortion of the detector's lens.

Vo, Atwood and Drakopoulos, Opt. Express 23 (2015) 32859: a point at distance r from the centre of distortion
in the undistorted image is found at r (k0 + k1 r + k2 r^2 + ...) in the recorded one (the backward model).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from xct_pipeline.compiled import njit
from xct_pipeline.device import Array, array_namespace, is_cupy

Floats = npt.NDArray[np.float64]


def source_positions(
    rows: npt.ArrayLike, n_columns: int, coefficients: Sequence[float], center: tuple[float, float]
) -> tuple[Floats, Floats]:
    """Where in the recorded image each pixel of the corrected one comes from.

    Parameters
    ----------
    rows : sequence of int
        Detector rows of the corrected image.
    n_columns : int
        Detector columns.
    coefficients : sequence of float
        k0, k1, ... in 1, 1/pixel, 1/pixel^2 ...; (1.0,) is no distortion.
    center : (row, column)
        Centre of distortion in pixels, 0 = centre of the first pixel.

    Returns
    -------
    row, column : float64 arrays (row, column)
    """
    k = np.asarray(coefficients, np.float64)
    if k.ndim != 1 or k.size == 0 or not np.isfinite(k).all() or not np.isfinite(center).all():
        raise ValueError(f"distortion needs finite coefficients k0, k1, ... and a center: {coefficients}, {center}")
    y = np.asarray(rows, np.float64)[:, None] - center[0]
    x = np.arange(n_columns)[None] - center[1]
    factor = np.polynomial.polynomial.polyval(np.hypot(x, y), k)
    return center[0] + y * factor, center[1] + x * factor


def row_reach(n_rows: int, n_columns: int, coefficients: Sequence[float], center: tuple[float, float]) -> int:
    """Rows that a block needs beyond its own on either side: the largest vertical shift and two for the kernel."""
    rows = np.arange(n_rows)
    y, _ = source_positions(rows, n_columns, coefficients, center)
    return int(np.ceil(np.abs(np.clip(y, 0, n_rows - 1) - rows[:, None]).max())) + 2


def correct_distortion(
    projections: Array,
    coefficients: Sequence[float],
    center: tuple[float, float],
    *,
    first_row: int = 0,
    order: Literal[1, 3] = 3,
) -> Any:
    """Resample projections as a lens without radial distortion would have recorded them.

    Parameters
    ----------
    projections : float32 array (angle, row, column)
        Counts or line integrals; numpy or CuPy. Whole projections, or rows with a halo of `row_reach` (the
        halo's own rows then are not valid).
    coefficients, center
        As for `source_positions`; `center` is (row, column) of the whole detector.
    first_row : int
        Detector row of the block's first row.
    order : 1 or 3
        Bilinear, or bicubic convolution (Keys, IEEE Trans. ASSP 29 (1981) 1153: a = -1/2).

    Returns
    -------
    float32 array (angle, row, column)
        What comes from beyond the image is the nearest edge pixel.
    """
    if projections.ndim != 3 or order not in (1, 3):
        raise ValueError(f"projections must be (angle, row, column) and order 1 or 3: {projections.shape}, {order}")
    _, n_rows, n_columns = projections.shape
    y, x = source_positions(np.arange(first_row, first_row + n_rows), n_columns, coefficients, center)
    y = np.clip(y - first_row, 0, n_rows - 1)
    x = np.clip(x, 0, n_columns - 1)
    rows, row_weight = _taps(y, n_rows, order)
    columns, column_weight = _taps(x, n_columns, order)
    if is_cupy(projections):
        return _plain(projections, rows, columns, row_weight, column_weight)
    out = np.empty(projections.shape, np.float32)
    _resample(np.ascontiguousarray(projections), rows, columns, row_weight, column_weight, out)
    return out


def resample(projections: Array, y: Floats, x: Floats, *, first_row: int, n_rows: int) -> Any:
    """Resample rows of projections at positions of the whole detector, by bicubic convolution.

    Parameters
    ----------
    projections : float32 array (angle, row, column)
        The detector's rows from `first_row`, numpy or CuPy: all that the positions lie between, and two beyond them.
    y, x : float64 arrays (row, column)
        Where in the detector each value of the result comes from; beyond the detector it is the nearest edge pixel.
    first_row, n_rows : int
        Detector row of the block's first row, and the detector's rows. Weights depend on the detector alone, so the
        result is the same bits whatever the block.

    Returns
    -------
    float32 array (angle, row, column)
        Of the shape of the positions.
    """
    rows, row_weight = _taps(np.clip(y, 0, n_rows - 1), n_rows, 3)
    rows = np.clip(rows - first_row, 0, projections.shape[1] - 1).astype(np.int32)
    columns, column_weight = _taps(np.clip(x, 0, projections.shape[2] - 1), projections.shape[2], 3)
    if is_cupy(projections):
        return _plain(projections, rows, columns, row_weight, column_weight)
    out = np.empty((len(projections), *y.shape), np.float32)
    _resample(np.ascontiguousarray(projections), rows, columns, row_weight, column_weight, out)
    return out


def _taps(position: Floats, size: int, order: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Index (clamped) and weight of the 2 or 4 samples around each position, (row, column, tap)."""
    base = np.floor(position).astype(np.int32)
    t = position - base
    if order == 1:
        weight, shift = np.stack((1 - t, t), axis=-1), np.arange(2, dtype=np.int32)
    else:
        shift = np.arange(-1, 3, dtype=np.int32)
        weight = np.stack(
            (
                -0.5 * t + t**2 - 0.5 * t**3,
                1 - 2.5 * t**2 + 1.5 * t**3,
                0.5 * t + 2 * t**2 - 1.5 * t**3,
                -0.5 * t**2 + 0.5 * t**3,
            ),
            axis=-1,
        )
    return np.clip(base[..., None] + shift, 0, size - 1).astype(np.int32), weight.astype(np.float32)


@njit
def _resample(
    projections: Array, rows: Array, columns: Array, row_weight: Array, column_weight: Array, out: Array
) -> None:
    """Weighted sum of the samples around each source position."""
    taps = rows.shape[2]
    for a in range(out.shape[0]):
        image = projections[a]
        for r in range(out.shape[1]):
            for c in range(out.shape[2]):
                total = np.float32(0)
                for i in range(taps):
                    line = image[rows[r, c, i]]
                    part = np.float32(0)
                    for j in range(taps):
                        part += column_weight[r, c, j] * np.float32(line[columns[r, c, j]])
                    total += row_weight[r, c, i] * part
                out[a, r, c] = total


def _plain(projections: Array, rows: Array, columns: Array, row_weight: Array, column_weight: Array) -> Any:
    """The same sum by gathering: for CuPy, and the reference of the fast path (rel 1e-6)."""
    xp = array_namespace(projections)
    total = xp.zeros((len(projections), *rows.shape[:2]), xp.float32)
    for i in range(rows.shape[2]):
        y, wy = xp.asarray(rows[..., i]), xp.asarray(row_weight[..., i])
        for j in range(columns.shape[2]):
            x, wx = xp.asarray(columns[..., j]), xp.asarray(column_weight[..., j])
            total += (wy * wx) * projections[:, y, x].astype(xp.float32)
    return total
