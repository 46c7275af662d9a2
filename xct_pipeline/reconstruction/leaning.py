"""Reconstruction about an axis that leans along the beam: what lies farther along a ray is seen at another row.

A voxel a distance d farther along the ray is seen ``d sin(lean)`` rows higher, so no row of the detector belongs to one
slice. Projections are taken sector by sector of the angle. Within a sector d is nearly the distance along the ray of
its middle, which does not depend on the angle, less what grows with the distance from the axis and the angle from the
middle: the second is taken out of the projections, as a shift of rows that grows along the columns, and the first
out of what the sector's projections alone reconstruct to, as a shift of voxels along z. What is left falls with the
square of the sector's width, which is chosen by it.

Rays that lean see no frequency whose direction lies within the lean of the axis, so that a wide horizontal face would
lose its jump. What varies as slowly across a slice is taken from a reconstruction as if the axis were upright: such a
face stays as blurred along z as it is in the projections. Over half a turn some other frequencies are never seen, too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

from xct_pipeline.compiled import empty, njit
from xct_pipeline.reconstruction import fourier
from xct_pipeline.reconstruction.filters import angular_weights
from xct_pipeline.reconstruction.gridding import GROUP
from xct_pipeline.scan import Axis

Floats = npt.NDArray[np.float32]
Angles = npt.NDArray[np.float64]

TAPS = 6  # rows that a value between rows is taken from: the polynomial of degree five through them
LEFT = 0.05  # voxels along z that may be left of the lean at the edge of a slice
FEWEST = 3  # sectors of half a turn
FINE = 4  # means of an image that make a standard deviation of a Gaussian


def sectors_of(size: int, lean_deg: float) -> int:
    """Return in how many sectors half a turn is taken for a slice of `size` pixels a side."""
    rim, n = size / 2 * abs(math.sin(math.radians(lean_deg))), FEWEST
    while rim * (1 / math.cos(math.pi / (2 * n)) - 1) / 2 > LEFT:
        n += 1
    return n


def reach(n_columns: int, size: int, center: float, lean_deg: float) -> int:
    """Return how many detector rows beyond sixteen slices they are made of, on either side."""
    half = math.pi / (2 * sectors_of(size, lean_deg))
    sine, widest = abs(math.sin(math.radians(lean_deg))), max(center, n_columns - 1 - center)
    return math.ceil(sine * (size / 2 / math.cos(half) + widest * math.tan(half))) + TAPS // 2


def scratch_bytes(n_angles: int, n_columns: int, size: int, center: float, lean_deg: float) -> int:
    """Return an upper bound of the memory that one group of sixteen slices takes, its result included."""
    rows = GROUP + 2 * reach(n_columns, size, center, lean_deg)
    one = fourier.scratch_bytes(n_angles, n_columns, size, center=center)
    return one + 4 * n_angles * rows * n_columns + 4 * (rows + 3 * GROUP) * size * size


def reconstruct(
    sinograms: Floats,
    angles: Angles,
    axis: Axis,
    size: int,
    pixel_size_um: float | None,
    options: Mapping[str, Any],
    first_row: int,
    rows: slice,
) -> Floats:
    """Reconstruct slices about an axis that leans along the beam.

    Parameters
    ----------
    sinograms : (angle, row, column) float32
        Line integrals of the detector rows from `first_row` on: `reach` beyond the groups of sixteen, counted from
        the detector's first row, that the wanted ones lie in, or as many as the detector has; beyond it, its first
        and last row are repeated. Results are the same to the last bit, whatever is computed at a time.
    angles : (angle,) radians
        Any order, spacing and range.
    axis : Axis
        Its column falls on (size - 1) / 2. A slice is perpendicular to it, and meets it where its detector row does.
    size : int
        Pixels of a slice along x and y.
    pixel_size_um : float or None
    options : mapping
        Further ones of `fourier.reconstruct`.
    first_row : int
        Detector row of the first row of the sinograms.
    rows : slice
        Detector rows at which slices are wanted.

    Returns
    -------
    (z, y, x) float32
        1/cm (1/pixel without `pixel_size_um`). Slices are taken to be as far apart as rows, by the cosine of the lean
        more than they are (0.06 % at two degrees).

    Raises
    ------
    ValueError
        See `fourier.reconstruct`.
    """
    far = reach(sinograms.shape[2], size, axis.column, axis.lean)
    angles = np.asarray(angles, np.float64)
    weights = angular_weights(angles) * math.cos(math.radians(axis.lean))
    options = {**options, "center": axis.column, "size": size, "pixel_size_um": pixel_size_um}
    out = np.empty((rows.stop - rows.start, size, size), np.float32)
    for first in range(rows.start // GROUP * GROUP, rows.stop, GROUP):
        there = np.clip(np.arange(first - far, first + GROUP + far) - first_row, 0, sinograms.shape[1] - 1)
        group = np.zeros((GROUP, size, size), np.float32)
        upright = fourier.reconstruct(sinograms[:, there[far:-far]], angles, weights=weights, **options)
        for chosen, middle in _sectors(angles, sectors_of(size, axis.lean)):
            _add_sector(group, sinograms[chosen][:, there], angles[chosen], middle, weights[chosen], axis.lean, options)
        for one, other in zip(group, upright, strict=True):
            one += _smooth(other - one, 1 / (math.pi * abs(math.sin(math.radians(axis.lean)))))
        low, high = max(first, rows.start), min(first + GROUP, rows.stop)
        out[low - rows.start : high - rows.start] = group[low - first : high - first]
    return out


def _sectors(angles: Angles, per_half_turn: int) -> list[tuple[npt.NDArray[np.intp], float]]:
    """Return the projections of each sector that has some, and the angle in its middle."""
    width = np.pi / per_half_turn
    number = np.floor(angles / width).astype(int)
    return [(np.flatnonzero(number == k), (k + 0.5) * width) for k in np.unique(number)]


def _add_sector(
    group: Floats,
    sinograms: Floats,
    angles: Angles,
    middle: float,
    weights: Angles,
    lean_deg: float,
    options: dict[str, Any],
) -> None:
    """Add to sixteen slices what the projections of one sector say, of as many rows beyond them on either side."""
    sine, size = math.sin(math.radians(lean_deg)), options["size"]
    off, far = angles - middle, (sinograms.shape[1] - GROUP) // 2
    across = np.arange(sinograms.shape[2]) - options["center"]
    upright = np.empty_like(sinograms)
    _shift(sinograms, -sine * np.tan(off)[:, None] * across, 0, upright)
    part = fourier.reconstruct(upright, angles, weights=weights, **options)
    place = np.arange(size) - (size - 1) / 2
    along = np.clip(place[:, None] * math.cos(middle) - place * math.sin(middle), -size / 2, size / 2)
    moved = np.empty_like(group).reshape(1, GROUP, -1)
    shift = sine * along * float(np.mean(1 / np.cos(off)))
    _shift(np.asarray(part, np.float32).reshape(1, len(part), -1), shift.reshape(1, -1), far, moved)
    group += moved.reshape(group.shape)


def _smooth(image: Floats, sigma: float) -> Floats:
    """Smooth a slice with a Gaussian of `sigma` pixels, on means of so many pixels as are still fine beside it."""
    bins = max(1, math.floor(sigma / FINE))
    left = -len(image) % bins
    wide = np.pad(image, (0, left), mode="edge")
    n = len(wide) // bins
    means = wide.reshape(n, bins, n, bins).mean(axis=(1, 3))
    smooth = scipy.ndimage.gaussian_filter(means, sigma / bins, mode="nearest")
    fine = scipy.ndimage.zoom(smooth, bins, order=1, mode="nearest", grid_mode=True)
    return np.asarray(fine[: len(image), : len(image)], np.float32)


@njit(fastmath=True)
def _shift(block: Floats, shift: Angles, first: int, out: Floats) -> None:
    """Fill (k, row, column) with what lies `first` and `shift` (k, column) rows farther, at the edge the edge's."""
    count, rows, columns = block.shape
    whole, weights = empty(columns, np.int64), empty((TAPS, columns), np.float32)
    for k in range(count):
        _interpolate(shift[k], whole, weights)
        start = 0
        while start < columns:  # neighbours that take the same rows are one loop over what lies side by side
            stop = start + 1
            while stop < columns and whole[stop] == whole[start]:
                stop += 1
            for row in range(out.shape[1]):
                at = row + first + whole[start] + 1 - TAPS // 2
                target = out[k, row, start:stop]
                target[:] = np.float32(0)
                for tap in range(TAPS):
                    source = block[k, min(max(at + tap, 0), rows - 1), start:stop]
                    weight = weights[tap, start:stop]
                    for c in range(stop - start):
                        target[c] += weight[c] * source[c]
            start = stop


@njit(inner=True, fastmath=True)
def _interpolate(shift: Angles, whole: npt.NDArray[np.int64], weights: Floats) -> None:
    """Find whole rows, and the weights of the rows around by Lagrange's polynomials."""
    for c in range(len(shift)):
        whole[c] = int(np.floor(shift[c]))
        f = np.float32(shift[c] - whole[c])
        for tap in range(TAPS):
            value = np.float32(1)
            for other in range(TAPS):
                if other != tap:
                    value *= (f - np.float32(other + 1 - TAPS // 2)) / np.float32(tap - other)
            weights[tap, c] = value
