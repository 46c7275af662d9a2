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
    field = _turned(np.nan_to_num(values), rotation, size)
    strength = ((np.abs(field) - threshold) / max(limit - threshold, 1e-12)).clip(0, 1)
    colours = matplotlib.colormaps[DIVERGING]
    opacity = DENSITY * strength**0.8
    light = _lit(strength) if strength.any() else strength
    hint = np.zeros_like(opacity) if ghost is None else _surface(_turned(ghost.astype(np.float32), rotation, size))
    picture, through = np.zeros((*field.shape[1:], 3)), np.ones(field.shape[1:])
    for k in range(size):
        a, g = opacity[k], 0.03 * hint[k]
        seen = a > 0  # the least part of a volume
        colour = colours(0.5 + 0.5 * (field[k][seen] / limit).clip(-1, 1))[..., :3]
        picture[seen] += (through * a)[seen][..., None] * (colour * light[k][seen][..., None])
        picture += (through * (1 - a) * g)[..., None] * 0.55
        through = through * (1 - a) * (1 - g)
    alpha = 1 - through
    rgba = np.concatenate([picture / np.maximum(alpha, 1e-6)[..., None], alpha[..., None]], axis=-1)
    return np.asarray(rgba.clip(0, 1))


def _turned(volume: Array, rotation: Array, size: int) -> Array:
    """Resample a volume on a cube of `size` along depth, up and right."""
    inverse = rotation.T
    offset = (np.array(volume.shape) - 1) / 2 - inverse @ np.full(3, (size - 1) / 2)
    turned = scipy.ndimage.affine_transform(volume.astype(np.float32), inverse, offset, (size,) * 3, order=1, cval=0.0)
    return np.asarray(turned)


def _lit(strength: Array) -> Array:
    """Return how bright each voxel's surface is, 0.72 to 1."""
    slope = np.stack(np.gradient(scipy.ndimage.gaussian_filter(strength, 1.0)))
    norm = np.sqrt((slope**2).sum(axis=0)) + 1e-6
    towards = LIGHT / np.linalg.norm(LIGHT)
    return np.asarray(0.72 + 0.28 * (-(np.tensordot(towards, slope, 1)) / norm).clip(0, 1))


def _surface(body: Array) -> Array:
    slope = np.stack(np.gradient(scipy.ndimage.gaussian_filter(body, 1.0)))
    return np.asarray((2 * np.sqrt((slope**2).sum(axis=0))).clip(0, 1))


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
