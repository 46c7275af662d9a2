"""Pictures of a signed volume without a 3-D engine: lit, half-transparent, seen from above at an angle.

Both signs are composited front to back, because a maximum projection would drop the negative ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy

from xct_pipeline.report.contents import Array
from xct_pipeline.report.drawing import DIVERGING

AZIMUTH, ELEVATION = 35.0, 28.0
LIGHT = np.array([-0.45, 0.75, -0.45])
"""Towards the lamp along depth, up and right: from above on the left, behind the eye."""
DENSITY = 0.22
"""Opacity of one voxel at full scale."""
RIM = 3
"""Voxels of nothing about a volume, in which its surface fades."""


def view(azimuth: float = AZIMUTH, elevation: float = ELEVATION) -> Array:
    """Return the rotation whose rows are depth (away from the eye), up and right, in (z, y, x)."""
    a, e = np.radians([azimuth, elevation])
    right = np.array([0.0, np.sin(a), np.cos(a)])
    depth = np.array([-np.sin(e), np.cos(e) * np.cos(a), -np.cos(e) * np.sin(a)])
    up = np.array([np.cos(e), np.sin(e) * np.cos(a), -np.sin(e) * np.sin(a)])
    return np.stack([depth, up, right])


def paint(values: Array, limit: float, threshold: float, ghost: Array | None = None) -> Array:
    """Return an RGBA picture (row 0 at the bottom) of a small volume of changes.

    Parameters
    ----------
    values : array, (z, y, x)
        At most about 100 voxels along a side; nan is nothing.
    limit, threshold : float
        Colour is full at `limit`; what is smaller than `threshold` is transparent.
    ghost : array of bool, optional
        A body whose surface is hinted at in grey.
    """
    import matplotlib

    rotation = view()
    size = int(np.ceil(np.linalg.norm(values.shape)))
    field = np.pad(np.nan_to_num(values).astype(np.float32), RIM)
    ray, places = _samples(field.shape, rotation, size)
    change = _at(field, places)
    a = DENSITY * _strength(change, limit, threshold) ** 0.8
    g = np.zeros_like(a) if ghost is None else 0.03 * _at(_surface(np.pad(ghost.astype(np.float32), RIM)), places)
    dimmed = np.log1p(-a) + np.log1p(-g)
    through = np.exp(np.cumsum(dimmed) - dimmed - _before(ray, dimmed))
    seen = np.flatnonzero(a)  # the least part of a volume
    colour = matplotlib.colormaps[DIVERGING](0.5 + 0.5 * (change[seen] / limit).clip(-1, 1))[:, :3]
    light = _at(_lit(_strength(field, limit, threshold), rotation), places[:, seen])
    colour *= (light * through[seen] * a[seen])[:, None]
    sums = [np.bincount(ray[seen], band, size**2) for band in colour.T]
    hint = np.bincount(ray, through * (1 - a) * g, size**2)
    alpha = -np.expm1(np.bincount(ray, dimmed, size**2))
    picture = np.stack([*((band + 0.55 * hint) / np.maximum(alpha, 1e-6) for band in sums), alpha], axis=-1)
    return np.asarray(picture.reshape(size, size, 4).clip(0, 1))


def _samples(shape: tuple[int, ...], rotation: Array, size: int) -> tuple[Array, Array]:
    """Return where rays meet a volume, front to back: the pixel of each sample, and its place (z, y, x; samples).

    The volume's middle is seen in the middle of a picture of `size` pixels squared; samples are a voxel apart.
    """
    up, right = np.divmod(np.arange(size * size), size)
    middle = (size - 1) / 2
    begin = (rotation[1][:, None] * (up - middle) + rotation[2][:, None] * (right - middle)).T
    begin += (np.array(shape) - 1) / 2 - rotation[0] * middle
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = np.sort([-begin / rotation[0], (np.array(shape) - 1 - begin) / rotation[0]], axis=0)
    first, last = np.ceil(ends[0].max(axis=1)).astype(int), np.floor(ends[1].min(axis=1)).astype(int)
    count = np.maximum(last - first + 1, 0)
    ray = np.repeat(np.arange(size * size), count)
    depth = np.arange(len(ray)) + np.repeat(first - (np.cumsum(count) - count), count)
    return ray, begin.T[:, ray] + rotation[0][:, None] * depth


def _at(volume: Array, places: Array) -> Array:
    return np.asarray(scipy.ndimage.map_coordinates(volume, places, order=1, prefilter=False))


def _before(ray: Array, values: Array) -> Array:
    """Return for each sample the sum over all rays before its own."""
    first = np.searchsorted(ray, ray)
    return np.concatenate([[0.0], np.cumsum(values)])[first]


def _strength(field: Array, limit: float, threshold: float) -> Array:
    return np.asarray(((np.abs(field) - threshold) / max(limit - threshold, 1e-12)).clip(0, 1))


def _lit(strength: Array, rotation: Array) -> Array:
    """Return how bright each voxel's surface is, 0.72 to 1."""
    slope = np.gradient(scipy.ndimage.gaussian_filter(strength, 1.0))
    norm = np.sqrt(sum(s**2 for s in slope)) + 1e-6
    towards = LIGHT @ rotation / np.linalg.norm(LIGHT)
    facing = sum(t * s for t, s in zip(towards, slope, strict=True))
    return np.asarray(0.72 + 0.28 * (-facing / norm).clip(0, 1), np.float32)


def _surface(body: Array) -> Array:
    slope = np.gradient(scipy.ndimage.gaussian_filter(body, 1.0))
    return np.asarray((2 * np.sqrt(sum(s**2 for s in slope))).clip(0, 1))


def box_edges(shape: tuple[int, ...]) -> list[tuple[Array, bool]]:
    """Return the edges of a volume's box as 2 x 2 (right, up) ends in pixels of `paint`, and whether each is hidden."""
    rotation, size = view(), int(np.ceil(np.linalg.norm(shape)))
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * (np.array(shape) - 1)
    seen = (corners - (np.array(shape) - 1) / 2) @ rotation.T + (size - 1) / 2
    back = int(seen[:, 0].argmax())
    edges = []
    for a in range(8):
        for bit in (1, 2, 4):
            b = a | bit
            if b != a:
                edges.append((seen[[a, b]][:, [2, 1]], back in (a, b)))
    return edges


def window(shape: tuple[int, ...]) -> tuple[float, float, float, float]:
    """Return left, right, bottom and top of what the volume's box covers, with a margin."""
    ends = np.concatenate([edge for edge, _ in box_edges(shape)])
    (left, bottom), (right, top) = ends.min(axis=0) - 3, ends.max(axis=0) + 3
    return float(left), float(right), float(bottom), float(top)


def surface_mesh(field: Array, level: float, step: float, origin: Array) -> tuple[Array, Array] | None:
    """Return vertices (n, 3; z, y, x) and triangles (m, 3) where a field crosses a level, None where it never does."""
    from skimage.measure import marching_cubes

    padded = np.pad(field, 1, constant_values=min(0.0, float(level) - 1.0))
    if not (padded.max() > level > padded.min()):
        return None
    find: Any = marching_cubes
    vertices, triangles, _, _ = find(padded, level)
    return ((vertices - 1) * step + origin).astype(np.float32), triangles.astype(np.int32)
