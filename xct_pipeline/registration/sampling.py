"""Values of a smoothed volume along rows of another: what every sum over samples of a match begins with."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from xct_pipeline.compiled import empty, njit
from xct_pipeline.device import Array
from xct_pipeline.registration.interpolation import cubic_row


@njit(inner=True)
def row_room(nx: int) -> Any:
    """Return what `sample_row` works in: weights of the taps, where they begin, how far past it, what is seen."""
    return (empty((3, 4, nx), np.float32), empty((3, nx), np.int64), empty((3, nx), np.float32), empty(nx, np.bool_))


@njit(inner=True)
def sample_row(
    moving: Array,
    transform: Array,
    pz: float,
    py: float,
    used: Array,
    first: int,
    size: int,
    margin: int,
    room: Any,
    out: Array,
) -> None:
    """Evaluate the cubic B-spline with coefficients `moving` along one row; clears `used` where there is no value.

    `room` is what `row_room` makes for a row of this length.
    """
    weights, place, fraction, seen = room
    start, stop = ends_of(used)
    for x in range(len(seen)):  # an array assigned to a slice compiles the words of an error message
        seen[x] = used[x]
    low = max(margin, 1)
    for axis in range(3):
        base = transform[axis, 0] * pz + transform[axis, 1] * py + transform[axis, 3]
        top = (size if axis == 0 else moving.shape[axis]) - 1 - low
        before, last = (first if axis == 0 else 0) + 1, moving.shape[axis] - 4
        part, along = fraction[axis, start:stop], transform[axis, 2]
        _locate(base, along, start, low, top, before, last, seen[start:stop], place[axis, start:stop], part)
        w = weights[axis]
        _set_weights(part, w[0, start:stop], w[1, start:stop], w[2, start:stop], w[3, start:stop])
    cubic_row(moving, place, seen, weights, out)
    for x in range(out.size):
        used[x] = not np.isnan(out[x])
        out[x] = out[x] if used[x] else np.float32(0.0)


@njit(inner=True)
def ends_of(used: Array) -> Any:
    """Return the first voxel of a row that is used, and the last + 1."""
    start, stop = 0, len(used)
    while start < stop and not used[start]:
        start += 1
    while stop > start and not used[stop - 1]:
        stop -= 1
    return start, stop


@njit(inline="always")
def _locate(
    base: float,
    along: float,
    start: int,
    low: int,
    top: int,
    before: int,
    last: int,
    seen: Array,
    place: Array,
    fraction: Array,
) -> None:
    for u in range(len(fraction)):
        q = base + along * (start + u)
        whole = np.floor(q)
        at = int(whole) - before
        fraction[u] = np.float32(q - whole)
        place[u] = at
        seen[u] &= (low <= q) & (q < top) & (at >= 0) & (at <= last)


@njit(inline="always")
def _set_weights(fraction: Array, w0: Array, w1: Array, w2: Array, w3: Array) -> None:
    sixth, two_thirds, half, one = np.float32(1 / 6), np.float32(2 / 3), np.float32(0.5), np.float32(1.0)
    for u in range(len(fraction)):
        a = fraction[u]
        b = one - a
        w0[u] = b * b * b * sixth
        w1[u] = two_thirds - a * a * (one - half * a)
        w2[u] = two_thirds - b * b * (one - half * b)
        w3[u] = a * a * a * sixth


class Samples(NamedTuple):
    """Rows of samples: what is none of them has 0 in all rows."""

    good: Array
    gz: Array
    """the gradient of the reference, and gy, gx"""
    gy: Array
    gx: Array
    here: Array
    """the reference"""
    plain: Array
    """the residual"""
    left: Array
    """the residual less the changes that are expected"""
    energy: Array
    """the squared gradient"""
    weight: Array
    """Tukey's"""


@njit(inner=True)
def samples_room(nx: int) -> Any:
    """Return the rows that `weigh_row` fills."""
    wide = empty((7, nx), np.float64)
    here = empty(nx, np.float32)
    return Samples(empty(nx, np.bool_), wide[0], wide[1], wide[2], here, wide[3], wide[4], wide[5], wide[6])


@njit(inner=True)
def weigh_row(
    reference: Array,
    z: int,
    y: int,
    start: int,
    stop: int,
    values: Array,
    used: Array,
    change: Array,
    scale: Any,
    inverse_cut: float,
    room: Any,
) -> Any:
    """Return the samples start:stop of a row of a slab, in `room`: a loop for each, which becomes one of vectors."""
    all_of = Samples(
        room.good[start:stop],
        room.gz[start:stop],
        room.gy[start:stop],
        room.gx[start:stop],
        room.here[start:stop],
        room.plain[start:stop],
        room.left[start:stop],
        room.energy[start:stop],
        room.weight[start:stop],
    )
    good, gz, gy, gx, here, plain, left, energy, weight = all_of
    own, given, (gain, offset) = values[start:stop], used[start:stop], scale
    constant, slope = change[0, start:stop], change[1, start:stop]
    _slopes(reference[z + 2, y, start:stop], reference[z, y, start:stop], gz)
    _slopes(reference[z + 1, y + 1, start:stop], reference[z + 1, y - 1, start:stop], gy)
    _slopes(reference[z + 1, y, start + 1 : stop + 1], reference[z + 1, y, start - 1 : stop - 1], gx)
    for u in range(len(here)):
        here[u] = reference[z + 1, y, start + u]
    for u in range(len(energy)):
        energy[u] = gz[u] * gz[u] + gy[u] * gy[u] + gx[u] * gx[u]
    for u in range(len(plain)):
        plain[u] = float(here[u]) - gain * float(own[u]) - offset
    for u in range(len(left)):
        left[u] = plain[u] - constant[u] - slope[u] * (float(here[u]) - 0.5 * plain[u])
    for u in range(len(good)):
        good[u] = given[u] & (left[u] == left[u]) & (energy[u] == energy[u])
    for u in range(len(good)):
        if not good[u]:
            gz[u], gy[u], gx[u], here[u], plain[u], left[u], energy[u] = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for u in range(len(weight)):
        t = max(1.0 - left[u] * left[u] * inverse_cut, 0.0)
        weight[u] = t * t * good[u]
    return all_of


@njit(inline="always")
def _slopes(after: Array, before: Array, out: Array) -> None:
    for u in range(len(out)):
        out[u] = np.float32(0.5) * (after[u] - before[u])


@njit
def residual_slab(
    reference: Array,
    moving: Array,
    transform: Array,
    z_start: int,
    first: int,
    size: int,
    gain: float,
    offset: float,
    every: int,
) -> Any:
    """Return ``R - gain M(T p) - offset`` on a slab of the reference, NaN without data.

    As in `normal_equations.accumulate`; only on every `every`-th plane, NaN on the others.
    """
    nz, ny, nx = reference.shape
    out, nan = empty((nz, ny, nx), np.float32), np.float32(np.nan)
    values = empty(nx, np.float32)
    used, room = empty(nx, np.bool_), row_room(nx)
    for z in range(nz):
        for y in range(ny):
            used[:] = z % every == 0
            sample_row(moving, transform, float(z + z_start), float(y), used, first, size, np.int64(1), room, values)
            for x in range(nx):
                out[z, y, x] = reference[z, y, x] - gain * values[x] - offset if used[x] else nan
    return out
