"""Motions between two volumes as 3 x 4 affine matrices: made, composed, inverted, changed of unit and compared.

A transform is a float64 array ``[A | t]`` of shape (3, 4) that takes a point (z, y, x) of the reference volume to the
point ``A p + t`` (z, y, x) of the moving scan's own volume. The origin is the centre of voxel (0, 0, 0); the unit is
the voxel inside the kernels and the micrometre in tables. A rotation vector lives in the same (z, y, x) coordinates:
its direction is the axis, its length the angle in radians, and a positive one about z takes y towards x.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Matrix = NDArray[np.float64]
Points = NDArray[np.float64]

MODELS = {"translation": 3, "rigid": 6, "affine": 12}


def identity() -> Matrix:
    """Return the transform that moves nothing."""
    return np.eye(3, 4)


def translation(shift: ArrayLike) -> Matrix:
    """Return the transform ``p -> p + shift`` (z, y, x)."""
    moved = np.eye(3, 4)
    moved[:, 3] = np.asarray(shift, np.float64)
    return moved


def rotation_matrix(vector: ArrayLike) -> NDArray[np.float64]:
    """Return the 3 x 3 rotation of a rotation vector (z, y, x), radians (Rodrigues' formula)."""
    v = np.asarray(vector, np.float64)
    angle = float(np.linalg.norm(v))
    cross = np.array([[0.0, -v[2], v[1]], [v[2], 0.0, -v[0]], [-v[1], v[0], 0.0]])
    if angle < 1e-8:  # the series: the quotients below would lose their digits
        return np.asarray(np.eye(3) + cross + 0.5 * cross @ cross, dtype=np.float64)
    turned = np.eye(3) + np.sin(angle) / angle * cross + (1.0 - np.cos(angle)) / angle**2 * cross @ cross
    return np.asarray(turned, dtype=np.float64)


def rotation_vector(matrix: ArrayLike) -> NDArray[np.float64]:
    """Return the rotation vector (radians) of the rotation part of a transform or a 3 x 3 matrix.

    The nearest rotation (polar decomposition) is taken where the matrix also stretches.
    """
    u, _, vt = np.linalg.svd(np.asarray(matrix, np.float64)[:, :3])
    rotation = u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt
    axis = np.array([rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]])
    sine = float(np.linalg.norm(axis)) / 2.0
    angle = float(np.arctan2(sine, (np.trace(rotation) - 1.0) / 2.0))
    return axis / 2.0 if sine < 1e-8 else axis / (2.0 * sine) * angle


def about(linear: ArrayLike, center: ArrayLike, shift: ArrayLike = (0.0, 0.0, 0.0)) -> Matrix:
    """Return ``p -> linear (p - center) + center + shift``.

    Rotating about the middle of what is matched, not about a corner, keeps rotation and shift nearly independent.
    """
    a = np.asarray(linear, np.float64)
    c = np.asarray(center, np.float64)
    return np.column_stack([a, c + np.asarray(shift, np.float64) - a @ c])


def rigid(rotation: ArrayLike, shift: ArrayLike, center: ArrayLike = (0.0, 0.0, 0.0)) -> Matrix:
    """Return the rotation by a rotation vector (radians) about `center`, followed by `shift`."""
    return about(rotation_matrix(rotation), center, shift)


def compose(second: ArrayLike, first: ArrayLike) -> Matrix:
    """Return the transform that applies `first` and then `second`."""
    a, b = np.asarray(second, np.float64), np.asarray(first, np.float64)
    return np.column_stack([a[:, :3] @ b[:, :3], a[:, :3] @ b[:, 3] + a[:, 3]])


def invert(transform: ArrayLike) -> Matrix:
    """Return the transform that undoes `transform`; ValueError for one that flattens space."""
    a = np.asarray(transform, np.float64)
    if abs(float(np.linalg.det(a[:, :3]))) < 1e-9:
        raise ValueError(
            f"the transform has determinant {np.linalg.det(a[:, :3]):.2g} and cannot be inverted; "
            "check its matrix m00 .. m22"
        )
    inverse = np.linalg.inv(a[:, :3])
    return np.column_stack([inverse, -inverse @ a[:, 3]])


def apply(transform: ArrayLike, points: ArrayLike) -> Points:
    """Take points (..., 3), each (z, y, x), through a transform."""
    a = np.asarray(transform, np.float64)
    return np.asarray(np.asarray(points, np.float64) @ a[:, :3].T + a[:, 3], dtype=np.float64)


def voxels_to_um(transform: ArrayLike, voxel_size: float | Sequence[float]) -> Matrix:
    """Change a transform from voxels to micrometre (`voxel_size` in um, one number or (z, y, x))."""
    size = np.broadcast_to(np.asarray(voxel_size, np.float64), (3,))
    a = np.asarray(transform, np.float64)
    return np.column_stack([a[:, :3] * size[:, None] / size[None, :], a[:, 3] * size])


def to_level(transform: ArrayLike, scale: float) -> Matrix:
    """Change a transform of full-size voxels into one of voxels `scale` times larger (a pyramid level).

    A voxel of the level is the mean of ``scale**3`` full-size voxels, so its centre lies at
    ``scale * index + (scale - 1) / 2``.
    """
    a = np.asarray(transform, np.float64)
    middle = np.full(3, (scale - 1.0) / 2.0)
    return np.column_stack([a[:, :3], (a[:, :3] @ middle + a[:, 3] - middle) / scale])


def from_level(transform: ArrayLike, scale: float) -> Matrix:
    """Change a transform of a pyramid level's voxels into one of full-size voxels (undoes `to_level`)."""
    a = np.asarray(transform, np.float64)
    middle = np.full(3, (scale - 1.0) / 2.0)
    return np.column_stack([a[:, :3], scale * a[:, 3] + middle - a[:, :3] @ middle])


def largest_distance(a: ArrayLike, b: ArrayLike, points: ArrayLike) -> float:
    """Return the largest distance between where two transforms take the same points (unit of the points)."""
    return float(np.linalg.norm(apply(a, points) - apply(b, points), axis=-1).max())


def to_row(transform: ArrayLike) -> dict[str, float]:
    """Return a transform as the columns ``m00 .. m23`` of a table."""
    a = np.asarray(transform, np.float64)
    return {f"m{i}{j}": float(a[i, j]) for i in range(3) for j in range(4)}
