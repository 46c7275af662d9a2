"""Values of a B-spline at the positions of a rigidly moved grid, compiled: runs of voxels of a row at a time.

Under a small turn the taps of one voxel after the other begin one after the other in the same row of the coefficients,
so that sums over taps are vectors along x. A value is the same sum in the same order wherever its row is cut.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xct_pipeline.compiled import empty, njit
from xct_pipeline.device import Array

EDGE = 1e-6  # voxels: positions this far outside the last centre are rounding, not extrapolation

SHORT = 8  # voxels of a run that is not worth vectors
VECTOR = 16  # voxels


@njit(inline="always")
def _set_weights(n_taps: int, fractions: Array, w: Array) -> None:
    """Set the weights (taps, x) of the positions of a row."""
    for x in range(len(fractions)):
        f = fractions[x]
        g = 1.0 - f
        if n_taps == 2:
            w[0, x] = np.float32(g)
            w[1, x] = np.float32(f)
        elif n_taps == 4:
            w[0, x] = np.float32(g * g * g / 6.0)
            w[1, x] = np.float32(2.0 / 3.0 - f * f * (1.0 - 0.5 * f))
            w[2, x] = np.float32(2.0 / 3.0 - g * g * (1.0 - 0.5 * g))
            w[3, x] = np.float32(f * f * f / 6.0)
        else:
            f2, g2 = f * f, g * g
            w[0, x] = np.float32(g2 * g2 * g / 120.0)
            w[5, x] = np.float32(f2 * f2 * f / 120.0)
            w[2, x] = np.float32(11.0 / 20.0 - f2 / 2.0 + f2 * f2 * (0.25 - f / 12.0))
            w[3, x] = np.float32(11.0 / 20.0 - g2 / 2.0 + g2 * g2 * (0.25 - g / 12.0))
            a, b = 1.0 + f, 1.0 + g
            w[1, x] = np.float32(
                17.0 / 40.0 + a * (5.0 / 8.0 + a * (-7.0 / 4.0 + a * (5.0 / 4.0 + a * (-3.0 / 8.0 + a / 24.0))))
            )
            w[4, x] = np.float32(
                17.0 / 40.0 + b * (5.0 / 8.0 + b * (-7.0 / 4.0 + b * (5.0 / 4.0 + b * (-3.0 / 8.0 + b / 24.0))))
            )


@njit(inner=True, forceinline=True)
def _line(row: Array, u: int, w: Any) -> Any:
    return (((np.float32(0) + w[0] * row[u]) + w[1] * row[u + 1]) + w[2] * row[u + 2]) + w[3] * row[u + 3]


@njit(inner=True, forceinline=True)
def _plane(rows: Any, u: int, wy: Any, wx: Any) -> Any:
    plane = (np.float32(0) + wy[0] * _line(rows[0], u, wx)) + wy[1] * _line(rows[1], u, wx)
    return (plane + wy[2] * _line(rows[2], u, wx)) + wy[3] * _line(rows[3], u, wx)


@njit(inner=True, forceinline=True)
def _rows_of(plane: Array, iy: int, low: int, high: int) -> Any:
    return plane[iy, low:high], plane[iy + 1, low:high], plane[iy + 2, low:high], plane[iy + 3, low:high]


@njit(inner=True, forceinline=True)
def _weights_of(w: Array, start: int) -> Any:
    return w[0, start:], w[1, start:], w[2, start:], w[3, start:]


@njit(inner=True, forceinline=True)
def _at(w: Any, u: int) -> Any:
    return w[0][u], w[1][u], w[2][u], w[3][u]


@njit(inner=True)
def _cubic_run(coefficients: Array, iz: int, iy: int, ix: int, w: Array, start: int, out: Array) -> None:
    """Set positions one after the other in one sweep over their 16 rows, which loads each weight once."""
    high = ix + len(out) + 3
    a, b = _rows_of(coefficients[iz], iy, ix, high), _rows_of(coefficients[iz + 1], iy, ix, high)
    c, d = _rows_of(coefficients[iz + 2], iy, ix, high), _rows_of(coefficients[iz + 3], iy, ix, high)
    wz, wy, wx = _weights_of(w[0], start), _weights_of(w[1], start), _weights_of(w[2], start)
    for u in range(len(out)):
        z, y, x = _at(wz, u), _at(wy, u), _at(wx, u)
        total = (np.float32(0) + z[0] * _plane(a, u, y, x)) + z[1] * _plane(b, u, y, x)
        out[u] = (total + z[2] * _plane(c, u, y, x)) + z[3] * _plane(d, u, y, x)


@njit(inline="always")
def _add_line(n_taps: int, row: Array, wx: Array, start: int, wy: Array, plane: Array) -> None:
    """Add the weighted sums along a row of coefficients, for positions one after the other, to those of a plane."""
    if n_taps == 2:
        w0, w1 = wx[0, start:], wx[1, start:]
        for u in range(len(plane)):
            plane[u] += wy[u] * ((np.float32(0) + w0[u] * row[u]) + w1[u] * row[u + 1])
    else:
        w0, w1, w2, w3 = wx[0, start:], wx[1, start:], wx[2, start:], wx[3, start:]
        w4, w5 = wx[4, start:], wx[5, start:]
        for u in range(len(plane)):
            line = ((np.float32(0) + w0[u] * row[u]) + w1[u] * row[u + 1]) + w2[u] * row[u + 2]
            line = ((line + w3[u] * row[u + 3]) + w4[u] * row[u + 4]) + w5[u] * row[u + 5]
            plane[u] += wy[u] * line


@njit(inline="always")
def _single(n_taps: int, coefficients: Array, iz: int, iy: int, ix: int, w: Array, x: int) -> np.float32:
    """Return the value at one position, the same sum in the same order."""
    total = np.float32(0)
    for i in range(n_taps):
        plane = np.float32(0)
        for j in range(n_taps):
            line = np.float32(0)
            for k in range(n_taps):
                line += w[2, k, x] * coefficients[iz + i, iy + j, ix + k]
            plane += w[1, j, x] * line
        total += w[0, i, x] * plane
    return total


@njit(inline="always")
def _add_plane(plane: Array, wz: Array, total: Array) -> None:
    for u in range(len(total)):
        total[u] += wz[u] * plane[u]


@njit(inline="always")
def _any_gone(gone: Array, n_taps: int, iz: int, iy: int, ix: int) -> bool:
    for i in range(n_taps):
        for j in range(n_taps):
            for k in range(n_taps):
                if gone[iz + i, iy + j, ix + k]:
                    return True
    return False


def _interpolator(n_taps: int) -> Any:
    """Compile the interpolation for a number of taps known to the compiler."""
    half = n_taps // 2

    @njit
    def interpolate(
        coefficients: Array, gone: Array, transform: Array, corner: Array, first: Array, size: Array, out: Array
    ) -> None:
        nz, ny, nx = out.shape
        w = empty((3, n_taps, nx), np.float32)
        fraction, place = empty((3, nx), np.float64), empty((3, nx), np.int64)
        seen, plane = empty(nx, np.bool_), empty(nx, np.float32)
        for z in range(nz):
            for y in range(ny):
                # absolute indices: a position is the same bits from whatever block it is reached
                pz, py = float(z + corner[0]), float(y + corner[1])
                seen[:] = True
                for axis in range(3):
                    base = transform[axis, 0] * pz + transform[axis, 1] * py + transform[axis, 3]
                    along, top, shift = transform[axis, 2], size[axis] - 1 + EDGE, 1 - half - first[axis]
                    _locate(base, along, corner[2], top, shift, fraction[axis], place[axis], seen)
                    _set_weights(n_taps, fraction[axis], w[axis])
                _interpolate_row(n_taps, coefficients, place, seen, w, plane, out[z, y])
                if gone.size > 0:
                    for x in range(nx):
                        if seen[x] and _any_gone(gone, n_taps, place[0, x], place[1, x], place[2, x]):
                            out[z, y, x] = np.float32(np.nan)

    return interpolate


@njit(inline="always")
def _locate(
    base: float, along: float, corner: int, top: float, shift: int, fraction: Array, place: Array, seen: Array
) -> None:
    """Set where the taps of each voxel of a row begin along an axis, and tell which voxels lie in the volume."""
    for x in range(len(place)):
        q = base + along * float(x + corner)
        whole = np.floor(q)
        fraction[x] = q - whole
        place[x] = int(whole) + shift
        seen[x] &= -EDGE <= q <= top


@njit(inner=True)
def cubic_row(coefficients: Array, place: Array, seen: Array, w: Array, out: Array) -> None:
    """Interpolate a row by four taps along each axis, as `_interpolate_row` says."""
    nx, columns = len(out), coefficients.shape[2]
    start = np.int64(0)  # of a literal what is called would be compiled once more
    while start < nx:
        if not seen[start]:
            out[start] = np.float32(np.nan)
            start += 1
            continue
        iz, iy, ix = place[0, start], place[1, start], place[2, start]
        stop = _end_of_run(place, seen, start)
        # whole vectors: what is set beyond the run is set again by the next one
        size = min((stop - start + VECTOR - 1) // VECTOR * VECTOR, nx - start, columns - 3 - ix)
        _cubic_run(coefficients, iz, iy, ix, w, start, out[start : start + size])
        start = stop


@njit(inner=True)
def _end_of_run(place: Array, seen: Array, start: int) -> int:
    """Return where the run ends that begins at a voxel: its taps begin one after the other in one row."""
    stop, nx = start + 1, len(seen)
    iz, iy, ix = place[0, start], place[1, start], place[2, start] - start
    while stop < nx and seen[stop] and place[0, stop] == iz and place[1, stop] == iy and place[2, stop] - stop == ix:
        stop += 1
    return stop


@njit(inline="always")
def _interpolate_row(
    n_taps: int, coefficients: Array, place: Array, seen: Array, w: Array, plane: Array, out: Array
) -> None:
    """Interpolate runs of voxels whose taps begin one after the other in one row of the coefficients."""
    if n_taps == 4:
        cubic_row(coefficients, place, seen, w, out)
        return
    out[:] = np.float32(np.nan)
    start = np.int64(0)
    while start < len(out):
        if not seen[start]:
            start += 1
            continue
        iz, iy, ix = place[0, start], place[1, start], place[2, start]
        stop = _end_of_run(place, seen, start)
        if stop - start < SHORT:
            for x in range(start, stop):
                out[x] = _single(n_taps, coefficients, iz, iy, ix + x - start, w, x)
        else:
            _run(n_taps, coefficients, iz, iy, ix, w, plane, start, out[start:stop])
        start = stop


@njit(inline="always")
def _run(
    n_taps: int, coefficients: Array, iz: int, iy: int, ix: int, w: Array, plane: Array, start: int, out: Array
) -> None:
    stop, sums = start + len(out), plane[start : start + len(out)]
    out[:] = np.float32(0)
    for i in range(n_taps):
        sums[:] = np.float32(0)
        for j in range(n_taps):
            row = coefficients[iz + i, iy + j, ix : ix + len(out) + n_taps - 1]
            _add_line(n_taps, row, w[2], start, w[1, j, start:stop], sums)
        _add_plane(sums, w[0, i, start:stop], out)


INTERPOLATE = {"linear": _interpolator(2), "cubic": _interpolator(4), "quintic": _interpolator(6)}
