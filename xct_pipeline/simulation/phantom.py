"""Bodies with closed-form line integrals, their exact parallel projections and their voxel averages.

Coordinates are (z, y, x) in voxels: z is the detector row, y and x are counted from the rotation axis, which
falls at index (N-1)/2 of a volume. The ray of (theta, u, z) is the line x cos(theta) + y sin(theta) = u at
height z. A body is the image of the unit ball or of the unit cylinder under an affine map, so it stays of the
same kind under any motion, and a ray's chord in it is the solution of one quadratic equation (cut by two planes
for a cylinder). Nothing here is shared with reconstruction: the two check each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from xct_pipeline.compiled import njit, zeros

Array = npt.NDArray[np.float64]

FACE_SUBROWS = 32  # rays in height where the integral jumps
FLAT = 0.5 / FACE_SUBROWS  # rows by which a face may rise or fall over a body that lies along them


@dataclass(frozen=True, eq=False)
class Body:
    """A ball or a finite cylinder under an affine map, with the value it adds inside.

    Attributes
    ----------
    kind : {"ellipsoid", "cylinder"}
        Image of the unit ball, or of the unit cylinder of axis z (radius 1, from -1 to 1).
    centre : numpy.ndarray
        (z, y, x), voxels; y and x from the rotation axis.
    axes : numpy.ndarray
        3 x 3; columns are the images of the unit z, y and x vectors (semi-axes), voxels.
    value : float
        What the body adds to what surrounds it, so nested bodies carry differences (1/cm, or g/cm3).
    """

    kind: Literal["ellipsoid", "cylinder"]
    centre: Array
    axes: Array
    value: float

    @property
    def volume(self) -> float:
        """Volume in cubic voxels."""
        unit = 4.0 / 3.0 * math.pi if self.kind == "ellipsoid" else 2.0 * math.pi
        return unit * abs(float(np.linalg.det(self.axes)))

    def half_width(self, direction: npt.ArrayLike) -> float:
        """Half the body's extent along a unit vector (z, y, x), voxels."""
        along, *across = np.asarray(direction, float) @ self.axes
        if self.kind == "ellipsoid":
            return math.hypot(along, *across)
        return abs(float(along)) + math.hypot(*across)


def ellipsoid(
    centre: Sequence[float], semi_axes: Sequence[float], value: float, *, rotation: Array | None = None
) -> Body:
    """Return an ellipsoid; `semi_axes` along (z, y, x) before `rotation` (3 x 3)."""
    return _body("ellipsoid", centre, semi_axes, value, rotation)


def cylinder(
    centre: Sequence[float], semi_axes: Sequence[float], value: float, *, rotation: Array | None = None
) -> Body:
    """Return a finite cylinder of axis z before `rotation`; `semi_axes` are (half height, radius y, radius x)."""
    return _body("cylinder", centre, semi_axes, value, rotation)


def disc(z_from: float, z_to: float, radius: float, value: float) -> Body:
    """Return a circular cylinder on the rotation axis between two heights."""
    return cylinder((0.5 * (z_from + z_to), 0.0, 0.0), (0.5 * (z_to - z_from), radius, radius), value)


def rotation_matrix(vector: Sequence[float]) -> Array:
    """Return the 3 x 3 rotation in (z, y, x) by ``|vector|`` radians about `vector` (Rodrigues' formula).

    The sense is that of increasing angle from x to y for a vector along +z.
    """
    angle = math.hypot(*vector)
    if angle == 0.0:
        return np.eye(3)
    z, y, x = (float(v) / angle for v in vector)
    cross = np.array([[0.0, x, -y], [-x, 0.0, z], [y, -z, 0.0]])
    return np.asarray(np.eye(3) + math.sin(angle) * cross + (1.0 - math.cos(angle)) * cross @ cross)


def transform(body: Body, matrix: npt.ArrayLike, offset: npt.ArrayLike) -> Body:
    """Return the body whose points are ``matrix @ p + offset`` for the points p of `body`."""
    m = np.asarray(matrix, float)
    return Body(body.kind, m @ body.centre + np.asarray(offset, float), m @ body.axes, body.value)


def project(
    bodies: Sequence[Body],
    angles: npt.ArrayLike,
    *,
    rows: int,
    columns: int,
    center: float,
    pixel_size_um: float,
    supersample: int = 2,
    average: Literal["intensity", "integral"] = "intensity",
    axis_tilt: float = 0.0,
    axis_lean: float = 0.0,
) -> Array:
    """Project bodies in parallel geometry, averaging over each pixel as a detector does.

    Parameters
    ----------
    bodies : sequence of Body
        Values in 1/cm.
    angles : array_like
        Radians, one per projection.
    rows, columns : int
        Size of the detector.
    center : float
        Column of the rotation axis, pixels, at the middle of the rows.
    pixel_size_um : float
        Pixel (and voxel), micrometre.
    supersample : int
        Rays per pixel in each direction. Rows that the end face of a lying disc crosses get at least
        `FACE_SUBROWS` rays in height, because there the integral jumps; where it lies along the rows, a ray ends at
        it, so that it is where it should be.
    average : {"intensity", "integral"}
        Average exp(-p) over the rays of a pixel, or p itself.
    axis_tilt : float
        Radians by which the axis leans to larger columns with growing row.
    axis_lean : float
        Radians by which it leans along the beam, about the middle of the rows: what lies farther along the ray of
        angle 0 (at larger y) is seen at larger rows.

    Returns
    -------
    numpy.ndarray of float64
        Line integrals (angle, row, column), dimensionless.

    Raises
    ------
    ValueError
        Where there are no angles or a size, the pixel or the number of rays is not positive.
    """
    theta = np.atleast_1d(np.asarray(angles, float))
    if theta.ndim != 1 or theta.size == 0:
        raise ValueError(f"angles must be a list of at least one, not of shape {theta.shape}")
    if min(rows, columns, supersample) < 1 or pixel_size_um <= 0:
        raise ValueError(
            f"rows {rows}, columns {columns}, supersample {supersample} and pixel size {pixel_size_um} um "
            "must be positive"
        )
    out = np.zeros((theta.size, rows, columns))
    if not bodies:
        return out
    upright = list(bodies)
    packed = _pack(bodies)
    values = packed.value * pixel_size_um * 1e-4
    edges = _ray_edges(bodies, rows, columns, center, supersample, axis_tilt)
    for frame, angle in zip(out, theta, strict=True):
        u_direction = (0.0, math.sin(angle), math.cos(angle))
        if axis_lean:
            bodies = _leaning(upright, axis_lean, u_direction, 0.5 * (rows - 1))
            packed = _pack(bodies)
            edges = _ray_edges(bodies, rows, columns, center, supersample, axis_tilt)
        half = np.array([body.half_width(u_direction) for body in bodies])
        _project_frame(
            frame,
            packed.kind,
            packed.centre,
            packed.inverse,
            values,
            packed.half_height,
            half,
            math.cos(angle),
            math.sin(angle),
            center,
            axis_tilt,
            edges.rays,
            edges.at,
            supersample,
            average == "intensity",
        )
    return out


def rasterize(bodies: Sequence[Body], shape: tuple[int, int, int], *, subsamples: int = 4) -> npt.NDArray[np.float32]:
    """Average bodies over voxels.

    Parameters
    ----------
    bodies : sequence of Body
        Values are added where bodies overlap.
    shape : tuple of int
        (z, y, x); the rotation axis falls at index (N-1)/2 in y and x.
    subsamples : int
        Vertical lines per voxel in y and in x; along each the average is exact.

    Returns
    -------
    numpy.ndarray of float32
        (z, y, x), in the unit of the bodies' values.

    Raises
    ------
    ValueError
        Where a size or the number of points is not positive.
    """
    if min(*shape, subsamples) < 1:
        raise ValueError(f"shape {shape} and subsamples {subsamples} must be positive")
    out = np.zeros(shape)
    origin = np.array([0.0, 0.5 * (shape[1] - 1), 0.5 * (shape[2] - 1)])
    for body in bodies:
        half = np.array([body.half_width(direction) for direction in np.eye(3)])
        middle = body.centre + origin
        low = np.clip(np.floor(middle - half - 0.5), 0, shape).astype(np.int64)
        high = np.clip(np.ceil(middle + half + 1.5), 0, shape).astype(np.int64)
        inverse = np.linalg.inv(body.axes)
        _add_voxels(out, body.kind == "cylinder", middle, inverse, body.value, low, high, subsamples)
    return out.astype(np.float32)


class _Packed(NamedTuple):
    """Bodies as arrays, for the compiled loops."""

    kind: npt.NDArray[np.bool_]
    centre: Array
    inverse: Array
    value: Array
    half_height: Array


def _body(
    kind: Literal["ellipsoid", "cylinder"],
    centre: Sequence[float],
    semi_axes: Sequence[float],
    value: float,
    rotation: Array | None,
) -> Body:
    axes = np.diag(np.asarray(semi_axes, float))
    if axes.shape != (3, 3) or np.any(np.diag(axes) <= 0):
        raise ValueError(f"three positive semi-axes are needed, not {tuple(semi_axes)}")
    return Body(kind, np.asarray(centre, float), axes if rotation is None else rotation @ axes, float(value))


def _pack(bodies: Sequence[Body]) -> _Packed:
    return _Packed(
        kind=np.array([body.kind == "cylinder" for body in bodies]),
        centre=np.array([body.centre for body in bodies]),
        inverse=np.array([np.linalg.inv(body.axes) for body in bodies]),
        value=np.array([body.value for body in bodies]),
        half_height=np.array([body.half_width((1.0, 0.0, 0.0)) for body in bodies]),
    )


def _leaning(bodies: Sequence[Body], lean: float, across: Sequence[float], height: float) -> list[Body]:
    """Lean bodies about a line across the beam (a unit vector) at a height on the axis."""
    turn = rotation_matrix([lean * part for part in across])
    pivot = np.array([height, 0.0, 0.0])
    return [transform(body, turn, pivot - turn @ pivot) for body in bodies]


class _RayEdges(NamedTuple):
    """Rays in height of each row, and the heights between which each lies, from the row's middle."""

    rays: npt.NDArray[np.int64]
    at: Array


def _ray_edges(
    bodies: Sequence[Body], rows: int, columns: int, center: float, supersample: int, axis_tilt: float
) -> _RayEdges:
    """Part each row into rays in height: many where a lying disc's end face crosses it, with an end at the face."""
    count = np.full(rows, supersample, np.int64)
    lean = abs(math.sin(axis_tilt)) * max(abs(center), abs(columns - 1 - center))
    index = np.arange(rows)
    flat = set()
    for body in bodies:
        along, across = body.axes[0, 0], math.hypot(*body.axes[0, 1:])
        if body.kind != "cylinder" or across > abs(along):  # its faces stand upright: no jump in height
            continue
        for face in (body.centre[0] - along, body.centre[0] + along):
            crossed = np.abs(index - face) <= 0.5 + across + lean
            count[crossed] = max(supersample, FACE_SUBROWS)
            if across + lean <= FLAT:
                flat.add(float(face))
    at = np.arange(count.max() + 1) / count[:, None] - 0.5
    for row in range(rows):
        _end_at(at[row, 1 : count[row]], sorted(face - row for face in flat if abs(face - row) < 0.5))
    return _RayEdges(count, at)


def _end_at(edges: Array, faces: Sequence[float]) -> None:
    """Move the nearest edge between rays to each face (both ascending)."""
    free = 0
    for face in faces:
        if free < len(edges):
            nearest = free + int(np.argmin(np.abs(edges[free:] - face)))
            edges[nearest] = face
            free = nearest + 1


@njit(inner=True)
def _interval(
    is_cylinder: bool, q0: float, q1: float, q2: float, v0: float, v1: float, v2: float
) -> tuple[float, float]:
    """Return the values of t between which the line q + t v lies inside the unit body (last <= first: nowhere)."""
    if is_cylinder:
        a = v1 * v1 + v2 * v2
        b = q1 * v1 + q2 * v2
        c = q1 * q1 + q2 * q2 - 1.0
    else:
        a = v0 * v0 + v1 * v1 + v2 * v2
        b = q0 * v0 + q1 * v1 + q2 * v2
        c = q0 * q0 + q1 * q1 + q2 * q2 - 1.0
    if is_cylinder and a < 1e-20:  # along the axis
        first, last = (-math.inf, math.inf) if c < 0.0 else (0.0, 0.0)
    else:
        discriminant = b * b - a * c
        if discriminant <= 0.0:
            return 0.0, 0.0
        root = math.sqrt(discriminant)
        first, last = (-b - root) / a, (-b + root) / a
    if is_cylinder:
        if abs(v0) < 1e-12:
            return (first, last) if abs(q0) < 1.0 else (0.0, 0.0)
        lower, upper = (-1.0 - q0) / v0, (1.0 - q0) / v0
        first = max(first, min(lower, upper))
        last = min(last, max(lower, upper))
    return first, last


@njit
def _project_frame(
    frame: Array,
    kind: npt.NDArray[np.bool_],
    centre: Array,
    inverse: Array,
    values: Array,
    half_height: Array,
    half_width: Array,
    cosine: float,
    sine: float,
    center: float,
    tilt: float,
    subrows: npt.NDArray[np.int64],
    edges: Array,
    subcolumns: int,
    intensity: bool,
) -> None:
    rows, columns = frame.shape
    roll_c, roll_s = math.cos(tilt), math.sin(tilt)
    middle = 0.5 * (rows - 1)
    reach = abs(roll_s) * max(abs(center), abs(columns - 1 - center))
    rays = zeros((subrows.max(), columns * subcolumns), np.float64)
    for row in range(rows):
        count = subrows[row]
        rays[:count] = 0.0
        height = middle + (row - middle) * roll_c
        lean = (row - middle) * roll_s
        for n in range(len(kind)):
            if abs(height - centre[n, 0]) > half_height[n] + reach + 1.0:
                continue
            u_body = centre[n, 1] * sine + centre[n, 2] * cosine
            from_column = math.floor(center + lean + (u_body - half_width[n]) / roll_c - 1.0 - abs(roll_s))
            to_column = math.ceil(center + lean + (u_body + half_width[n]) / roll_c + 2.0 + abs(roll_s))
            m = inverse[n]
            v0 = m[0, 1] * cosine - m[0, 2] * sine
            v1 = m[1, 1] * cosine - m[1, 2] * sine
            v2 = m[2, 1] * cosine - m[2, 2] * sine
            for i in range(count):
                down = row - middle + 0.5 * (edges[row, i] + edges[row, i + 1])
                for j in range(max(0, from_column) * subcolumns, min(columns, to_column) * subcolumns):
                    across = (j + 0.5) / subcolumns - 0.5 - center
                    u = across * roll_c - down * roll_s
                    dz = middle + across * roll_s + down * roll_c - centre[n, 0]
                    dy = u * sine - centre[n, 1]
                    dx = u * cosine - centre[n, 2]
                    q0 = m[0, 0] * dz + m[0, 1] * dy + m[0, 2] * dx
                    q1 = m[1, 0] * dz + m[1, 1] * dy + m[1, 2] * dx
                    q2 = m[2, 0] * dz + m[2, 1] * dy + m[2, 2] * dx
                    first, last = _interval(kind[n], q0, q1, q2, v0, v1, v2)
                    rays[i, j] += values[n] * max(last - first, 0.0)
        for column in range(columns):
            total = 0.0
            for i in range(count):
                share = edges[row, i + 1] - edges[row, i]
                for j in range(column * subcolumns, (column + 1) * subcolumns):
                    total += share * (math.exp(-rays[i, j]) if intensity else rays[i, j])
            total /= subcolumns
            frame[row, column] = -math.log(total) if intensity else total


@njit
def _add_voxels(
    out: Array,
    is_cylinder: bool,
    middle: Array,
    m: npt.NDArray[np.floating[Any]],
    value: float,
    low: npt.NDArray[np.int64],
    high: npt.NDArray[np.int64],
    points: int,
) -> None:
    """Spread the vertical chords of `points` x `points` lines per column over the voxels they cross."""
    depth = out.shape[0]
    for y in range(low[1], high[1]):
        for x in range(low[2], high[2]):
            for j in range(points):
                dy = y + (j + 0.5) / points - 0.5 - middle[1]
                for k in range(points):
                    dx = x + (k + 0.5) / points - 0.5 - middle[2]
                    first, last = _interval(
                        is_cylinder,
                        m[0, 1] * dy + m[0, 2] * dx,
                        m[1, 1] * dy + m[1, 2] * dx,
                        m[2, 1] * dy + m[2, 2] * dx,
                        m[0, 0],
                        m[1, 0],
                        m[2, 0],
                    )
                    if last <= first:
                        continue
                    first, last = first + middle[0], last + middle[0]
                    for z in range(max(0, math.floor(first + 0.5)), min(depth, math.ceil(last + 0.5))):
                        inside = min(last, z + 0.5) - max(first, z - 0.5)
                        out[z, y, x] += value * max(inside, 0.0) / points**2
