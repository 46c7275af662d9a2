"""The parameters of a motion by name, and the Gauss-Newton step in those that are searched.

Shifts are those of the middle of what is matched, turns go about it: a parameter that is held stays where it began.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from xct_pipeline.registration import transform as tf
from xct_pipeline.registration.levels import RegistrationError
from xct_pipeline.registration.normal_equations import Sums

SHIFTS = ("shift_z", "shift_y", "shift_x")
TURNS = ("turn_z", "turn_y", "turn_x")
_AFFINE = tuple(
    f"shift_{a}" if b == "" else f"stretch_{a}" if a == b else f"shear_{a}{b}"
    for a in "zyx"
    for b in ("z", "y", "x", "")
)
_SINGULAR = 1e-7  # least condition of the normal equations, scaled to a unit diagonal


def names(model: str) -> tuple[str, ...]:
    """Return the names of a model's parameters, in their order."""
    return {"translation": SHIFTS, "rigid": SHIFTS + TURNS, "affine": _AFFINE}[model]


def words(name: str) -> str:
    """Return a parameter in words, "shift along z"."""
    kind, _, axes = name.partition("_")
    if kind == "shear":
        return f"shear of {axes[0]} along {axes[1]}"
    return f"{kind} {'about' if kind == 'turn' else 'along'} {axes}"


def projection(model: str) -> NDArray[np.float64]:
    """Return the (12, n) matrix from a model's parameters to the affine ones."""
    if model == "affine":
        return np.eye(12)
    columns = np.zeros((tf.MODELS[model], 3, 4))
    for axis in range(3):
        columns[axis, axis, 3] = 1.0
    if model == "rigid":
        for axis, (i, j) in enumerate([(2, 1), (0, 2), (1, 0)]):  # rotation about z, y, x
            columns[3 + axis, i, j], columns[3 + axis, j, i] = 1.0, -1.0
    return columns.reshape(-1, 12).T


def motion(parameters: NDArray[np.float64], model: str, center: NDArray[np.float64]) -> tf.Matrix:
    """Return the transform that parameters about a centre mean."""
    if model == "translation":
        return tf.translation(parameters)
    if model == "rigid":
        return tf.rigid(parameters[3:], parameters[:3], center)
    change = parameters.reshape(3, 4)
    return tf.about(np.eye(3) + change[:, :3], center, change[:, 3])


def parameters_of(transform: tf.Matrix, model: str, center: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the parameters about a centre that make a transform (undoes `motion`)."""
    shift = tf.apply(transform, center) - center
    if model == "translation":
        return shift
    if model == "rigid":
        return np.concatenate([shift, tf.rotation_vector(transform)])
    return np.column_stack([transform[:, :3] - np.eye(3), shift]).ravel()


def put_back(
    transform: tf.Matrix, origin: tf.Matrix, model: str, center: NDArray[np.float64], held: Collection[str]
) -> tf.Matrix:
    """Return a transform without what it moved along the parameters `held` since `origin`."""
    moved = parameters_of(tf.compose(tf.invert(transform), origin), model, center)
    moved[[name in held for name in names(model)]] = 0.0
    return tf.compose(origin, tf.invert(motion(moved, model, center)))


def solve(sums: Sums, model: str, held: Collection[str] = ()) -> NDArray[np.float64]:
    """Return the parameters of the step; 0 for those that are held and along what the samples say nothing of.

    Raises
    ------
    RegistrationError
        There is no gradient along any of the parameters.
    """
    free = np.array([name not in held for name in names(model)])
    matrix = projection(model)[:, free]
    hessian, gradient = matrix.T @ sums.hessian @ matrix, matrix.T @ sums.gradient
    scale = np.sqrt(np.diag(hessian))
    if not np.any(scale > 0.0):
        raise RegistrationError("the mask has no texture: no gradient along any parameter of the motion")
    flat = scale <= 0.0
    scale[flat] = 1.0
    normal = hessian / scale[:, None] / scale[None, :]
    values, vectors = np.linalg.eigh(normal)
    step = np.zeros(free.size)
    if values[0] >= _SINGULAR:
        step[free] = -np.linalg.solve(normal, gradient / scale) / scale
    else:
        known = values >= _SINGULAR
        step[free] = -(vectors[:, known] / values[known]) @ (vectors[:, known].T @ (gradient / scale)) / scale
    return step
