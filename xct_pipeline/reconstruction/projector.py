"""A matched pair of projection and back-projection, sixteen slices at a time.

Lines are integrated by linear interpolation between the two pixels that they pass in each row or column of the
image, whichever they cross more steeply (Joseph, IEEE Trans. Med. Imaging 1, 192 (1982)). The slices of a group lie
innermost: the weights of a line are worked out once for sixteen slices, and each of its steps is one vector operation.
The image is worked through in tiles that stay in the cache. The back-projection is the transpose of the projection, as
conjugate gradients need it.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from xct_pipeline.compiled import njit
from xct_pipeline.reconstruction.gridding import GROUP

Floats = npt.NDArray[np.float32]
Angles = npt.NDArray[np.float64]

TILE = 64
"""Pixels along the edge of a tile: 256 KiB of sixteen slices, which a core's second cache holds."""


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
                for k in range(first, last + 1):
                    u = k - center
                    if steep:
                        start = middle_x + u / c - middle_y * slope
                        _ray(image, data[a, k], along, across, start, slope, y0, y1, x0, min(x1, nx - 1), length)
                    else:
                        start = middle_y + u / s - middle_x * slope
                        _ray(image, data[a, k], along, across, start, slope, x0, x1, y0, min(y1, ny - 1), length)


@njit(fastmath=True, inline="always")
def _ray(
    image: Floats,
    value: Floats,
    along: int,
    across: int,
    start: float,
    slope: float,
    low: int,
    high: int,
    first: int,
    last: int,
    length: float,
) -> None:
    """Take one ray through the lines `low` to `high` where it lies on pixels `first` to `last` of them."""
    if slope > 1e-12:
        low = max(low, math.ceil((first - start) / slope))
        high = min(high, math.ceil((last - start) / slope))
    elif slope < -1e-12:
        low = max(low, math.floor((last - start) / slope) + 1)
        high = min(high, math.floor((first - start) / slope) + 1)
    elif start < first or start >= last:
        return
    for line in range(low, high):
        place = start + line * slope
        i = min(max(int(place), first), last - 1)
        w = np.float32((place - i) * length)
        v = np.float32(length) - w
        at = line * along + i * across
        near = image[at : at + GROUP]
        next_ = image[at + across : at + across + GROUP]
        for j in range(GROUP):
            value[j] += v * near[j] + w * next_[j]


@njit(fastmath=True)
def _back(image: Floats, data: Floats, columns: int, cosines: Angles, sines: Angles, center: float) -> None:
    """Gather what the rays left and right of each pixel's middle carry (flat, padded by a column), tile by tile."""
    ny, nx, _ = image.shape
    middle_y, middle_x = (ny - 1) / 2.0, (nx - 1) / 2.0
    for y0 in range(0, ny, TILE):
        for x0 in range(0, nx, TILE):
            for a in range(len(cosines)):
                c, s = cosines[a], sines[a]
                reach = max(abs(c), abs(s))  # a ray this far away passes the pixel beside this one
                weight, slope = np.float32(1.0 / reach), np.float32(1.0 / reach**2)
                for y in range(y0, min(y0 + TILE, ny)):
                    start = (y - middle_y) * s - middle_x * c + center
                    for x in range(x0, min(x0 + TILE, nx)):
                        u = start + x * c
                        k = int(u)
                        if u < 0 or k >= columns - 1:
                            continue
                        fraction = np.float32(u - k)
                        v = max(np.float32(0), weight - fraction * slope)
                        w = max(np.float32(0), weight - (np.float32(1) - fraction) * slope)
                        at = (a * columns + k) * GROUP
                        rays = data[at : at + 2 * GROUP]
                        pixel = image[y, x]
                        for j in range(GROUP):
                            pixel[j] += v * rays[j] + w * rays[GROUP + j]
