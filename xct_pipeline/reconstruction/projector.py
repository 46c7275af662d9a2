"""A matched pair of projection and back-projection, sixteen slices at a time.

Lines are integrated by linear interpolation between the two pixels that they pass in each row or column of the
image, whichever they cross more steeply (Joseph, IEEE Trans. Med. Imaging 1, 192 (1982)). The slices of a group lie
innermost: the weights of a line are worked out once for sixteen slices, and each of its steps is one vector operation.
Weights are made for a tile's width at a time, and four steps are added in one, which loads and stores the sum once.
The image is worked through in tiles that stay in the cache. The back-projection is the transpose of the projection, as
conjugate gradients need it.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from xct_pipeline.compiled import empty, njit
from xct_pipeline.reconstruction.gridding import GROUP

Floats = npt.NDArray[np.float32]
Angles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

TILE = 64
"""Pixels along the edge of a tile: 256 KiB of sixteen slices, which a core's second cache holds."""

TOGETHER = 4
"""Steps of a line, or angles of a pixel, that are added together; `_gather` and `_spread` are written for it."""


def project(image: Floats, angles: Angles, *, center: float, columns: int) -> Floats:
    """Integrate sixteen slices along the rays of a parallel beam.

    Parameters
    ----------
    image : (y, x, 16) float32
        Slices innermost; the axis of rotation falls on ((N - 1) / 2, (N - 1) / 2).
    angles : (angle,) radians
    center : float
        Column of the axis on the detector.
    columns : int
        Of the detector, which is as wide as a pixel of the image for each.

    Returns
    -------
    (angle, column, 16) float32
        In the unit of the image times one pixel.
    """
    _check(image, angles)
    padded = np.zeros((image.shape[0] + 2, image.shape[1] + 2, GROUP), np.float32)
    padded[1:-1, 1:-1] = image
    out = np.zeros((len(angles), columns, GROUP), np.float32)
    _forward(padded.reshape(-1), out, padded.shape[0], padded.shape[1], np.cos(angles), np.sin(angles), center)
    return out


def project_slices(images: Floats, angles: Angles, *, center: float, columns: int) -> Floats:
    """Project any number of slices.

    Parameters
    ----------
    images : (slice, y, x) float32
    angles, center, columns
        See `project`.

    Returns
    -------
    (slice, angle, column) float32
    """
    parts = []
    for first in range(0, len(images), GROUP):
        part = images[first : first + GROUP]
        lanes = np.zeros((*images.shape[1:], GROUP), np.float32)
        lanes[..., : len(part)] = np.moveaxis(part, 0, -1)
        parts.append(np.moveaxis(project(lanes, angles, center=center, columns=columns), -1, 0)[: len(part)])
    return np.concatenate(parts) if parts else np.zeros((0, len(angles), columns), np.float32)


def back_project(sinograms: Floats, angles: Angles, *, center: float, size: int) -> Floats:
    """Spread sixteen sinograms over an image with the transposed weights of `project`.

    Parameters
    ----------
    sinograms : (angle, column, 16) float32
    angles : (angle,) radians
    center : float
        Column of the axis on the detector.
    size : int
        Pixels of the image along x and y.

    Returns
    -------
    (y, x, 16) float32
    """
    _check(sinograms, angles)
    if len(sinograms) != len(angles):
        raise ValueError(f"sinograms of shape {sinograms.shape} do not match {len(angles)} angles")
    padded = np.zeros((len(angles), sinograms.shape[1] + 2, GROUP), np.float32)
    padded[:, 1:-1] = sinograms
    out = np.zeros((size, size, GROUP), np.float32)
    _back(out, padded.reshape(-1), sinograms.shape[1] + 2, np.cos(angles), np.sin(angles), center + 1)
    return out


def _check(array: Floats, angles: Angles) -> None:
    if array.ndim != 3 or array.shape[2] != GROUP:
        raise ValueError(f"an array of shape {array.shape}: give {GROUP} slices, innermost")
    if np.ndim(angles) != 1:
        raise ValueError(f"angles of shape {np.shape(angles)}: give one each projection")


@njit(fastmath=True)
def _forward(image: Floats, data: Floats, ny: int, nx: int, cosines: Angles, sines: Angles, center: float) -> None:
    """Take every ray through the image (flat, padded by a pixel), tile by tile."""
    columns = data.shape[1]
    middle_y, middle_x = (ny - 1) / 2.0, (nx - 1) / 2.0
    places, weights = empty(TILE, np.int64), empty((2, TILE), np.float32)
    for y0 in range(0, ny, TILE):
        y1 = min(y0 + TILE, ny)
        for x0 in range(0, nx, TILE):
            x1 = min(x0 + TILE, nx)
            for a in range(len(cosines)):
                c, s = cosines[a], sines[a]
                steep = abs(c) >= abs(s)
                # the tile's shadow on the detector, and the pixel before it that its first samples lean on
                far = max(abs((x0 - 1 - middle_x) * c - (x0 - middle_x) * c), 0.0) + abs(s)
                low = min((x0 - middle_x) * c, (x1 - middle_x) * c) + min((y0 - middle_y) * s, (y1 - middle_y) * s)
                high = max((x0 - middle_x) * c, (x1 - middle_x) * c) + max((y0 - middle_y) * s, (y1 - middle_y) * s)
                first = max(0, math.floor(low - far + center))
                last = min(columns - 1, math.ceil(high + far + center))
                along, across = (nx * GROUP, GROUP) if steep else (GROUP, nx * GROUP)
                slope, length = (-s / c, 1.0 / abs(c)) if steep else (-c / s, 1.0 / abs(s))
                lines = (y0, y1, x0, min(x1, nx - 1)) if steep else (x0, x1, y0, min(y1, ny - 1))
                for k in range(first, last + 1):
                    u = k - center
                    start = middle_x + u / c - middle_y * slope if steep else middle_y + u / s - middle_x * slope
                    n = _steps(places, weights, along, across, start, slope, lines, length)
                    _gather(image, data[a, k], places, weights, n, across)


@njit(inner=True, fastmath=True)
def _steps(
    places: Integers,
    weights: Floats,
    along: int,
    across: int,
    start: float,
    slope: float,
    lines: tuple[int, int, int, int],
    length: float,
) -> int:
    """Find where a ray passes the lines of a tile, where it lies on their pixels, and return how many it passes."""
    low, high, first, last = lines
    if slope > 1e-12:
        low = max(low, math.ceil((first - start) / slope))
        high = min(high, math.ceil((last - start) / slope))
    elif slope < -1e-12:
        low = max(low, math.floor((last - start) / slope) + 1)
        high = min(high, math.floor((first - start) / slope) + 1)
    elif start < first or start >= last:
        return 0
    for m in range(high - low):
        place = start + (low + m) * slope
        i = min(max(int(place), first), last - 1)
        w = np.float32((place - i) * length)
        weights[0, m] = np.float32(length) - w
        weights[1, m] = w
        places[m] = (low + m) * along + i * across
    return max(high - low, 0)


@njit(inner=True, fastmath=True)
def _gather(image: Floats, value: Floats, places: Integers, weights: Floats, n: int, across: int) -> None:
    """Add `n` steps of a ray to its sixteen values."""
    # Unsigned indices spare the test for negative ones, without which the loops do not vectorise.
    step, whole = np.uintp(across), n - n % TOGETHER
    v, w = weights[0], weights[1]
    for m in range(0, whole, TOGETHER):
        a, b, c, d = np.uintp(places[m]), np.uintp(places[m + 1]), np.uintp(places[m + 2]), np.uintp(places[m + 3])
        va, vb, vc, vd = v[m], v[m + 1], v[m + 2], v[m + 3]
        wa, wb, wc, wd = w[m], w[m + 1], w[m + 2], w[m + 3]
        for lane in range(GROUP):
            j = np.uintp(lane)
            value[j] += (
                (va * image[a + j] + wa * image[a + step + j])
                + (vb * image[b + j] + wb * image[b + step + j])
                + (vc * image[c + j] + wc * image[c + step + j])
                + (vd * image[d + j] + wd * image[d + step + j])
            )
    for m in range(whole, n):
        a = np.uintp(places[m])
        for lane in range(GROUP):
            j = np.uintp(lane)
            value[j] += v[m] * image[a + j] + w[m] * image[a + step + j]


@njit(fastmath=True)
def _back(image: Floats, data: Floats, columns: int, cosines: Angles, sines: Angles, center: float) -> None:
    """Gather what the rays left and right of each pixel's middle carry (flat, padded by a column), tile by tile."""
    ny, nx, _ = image.shape
    middle_y, middle_x = (ny - 1) / 2.0, (nx - 1) / 2.0
    places, weights = empty((TOGETHER, TILE), np.int64), empty((TOGETHER, 2, TILE), np.float32)
    for y0 in range(0, ny, TILE):
        for x0 in range(0, nx, TILE):
            n = min(x0 + TILE, nx) - x0
            for first in range(0, len(cosines), TOGETHER):
                for y in range(y0, min(y0 + TILE, ny)):
                    for b in range(TOGETHER):
                        a = min(first + b, len(cosines) - 1)
                        start = (y - middle_y) * sines[a] + (x0 - middle_x) * cosines[a] + center
                        _rays(places[b], weights[b], n, a, columns, cosines[a], sines[a], start)
                        if first + b > a:  # beyond the last angle
                            weights[b] = 0
                    _spread(image[y, x0 : x0 + n], data, places, weights)


@njit(inner=True, fastmath=True)
def _rays(
    places: Integers, weights: Floats, n: int, angle: int, columns: int, c: float, s: float, start: float
) -> None:
    """Find the two rays of an angle beside each of `n` pixels, from the column at which the first is seen."""
    reach = max(abs(c), abs(s))  # a ray this far away passes the pixel beside this one
    weight, slope = np.float32(1.0 / reach), np.float32(1.0 / reach**2)
    for m in range(n):
        u = start + m * c
        seen = (u >= 0) & (u < columns - 1)
        k = int(min(max(u, 0.0), columns - 2.0))
        fraction = np.float32(u - k)
        v = max(np.float32(0), weight - fraction * slope)
        w = max(np.float32(0), weight - (np.float32(1) - fraction) * slope)
        weights[0, m] = v if seen else np.float32(0)
        weights[1, m] = w if seen else np.float32(0)
        places[m] = (angle * columns + k) * GROUP


@njit(inner=True, fastmath=True)
def _spread(pixels: Floats, data: Floats, places: Integers, weights: Floats) -> None:
    """Add the rays of four angles to a line of pixels."""
    step = np.uintp(GROUP)
    for m in range(len(pixels)):
        a, b, c, d = np.uintp(places[0, m]), np.uintp(places[1, m]), np.uintp(places[2, m]), np.uintp(places[3, m])
        va, vb, vc, vd = weights[0, 0, m], weights[1, 0, m], weights[2, 0, m], weights[3, 0, m]
        wa, wb, wc, wd = weights[0, 1, m], weights[1, 1, m], weights[2, 1, m], weights[3, 1, m]
        for lane in range(GROUP):
            j = np.uintp(lane)
            pixels[m, lane] += (
                (va * data[a + j] + wa * data[a + step + j])
                + (vb * data[b + j] + wb * data[b + step + j])
                + (vc * data[c + j] + wc * data[c + step + j])
                + (vd * data[d + j] + wd * data[d + step + j])
            )
