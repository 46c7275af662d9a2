"""What averaging intensities takes from the line integrals at a face of high contrast, from the projections themselves.

A pixel that a face crosses sees f of its light through the dense side (line integral c) and the rest through the other
(a), and its logarithm is less than f c + (1 - f) a: the exponential edge-gradient effect (Glover and Pelc, Med. Phys.
7, 238 (1980); Joseph and Spital, Phys. Med. Biol. 26, 473 (1981)). A face along the detector's rows is so seen nearer
to the dense side, in proportion to the path through it: a flat face becomes a dome. Whatever the blur and wherever the
pixels lie, the shares f follow from the intensities of the rows about the face and of both sides, and with them the
line integrals that a detector without the effect would have seen.

Along a ray that meets the face at a slope, paths through both materials add up before the intensities do: of a face
whose height varies evenly by w along the ray, the shares of the light hold more of the dense side than those of the
path, by w (1 / (1 - exp(-p)) - 1 / p - 1 / 2) rows, p = c - a. How much a face rises is told by the shares themselves,
as the height at which each ray meets it on average: in a volume the effect bends and tilts it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

SIDE = 3.0  # rows on either side of a face that tell its sides
APART = 1.5  # rows further off from which they are told a second time, to continue them: half of those rows
LEAST = 0.02  # difference of line integrals below which nothing is missing
ANGLES = 32  # that are worked on together
FITS, FAR = 10, 4.5  # rounds of a fit of a plane, and median deviations beyond which heights are left out
LEAST_SHARE = 0.05  # of the heights of a face, from which on what lies beside them counts as a material
SECTORS = 8  # of the half turn, each left out in turn for the error of a slope
WIDE = 5  # voxels that deviations of a face are averaged over, against noise
TINY = 1e-6


class Plane(NamedTuple):
    """A face: its height at a point, and its slopes.

    Attributes
    ----------
    height, y, x : float
        A point on it, voxels; y and x from the axis of rotation.
    slope_y, slope_x : float
        Voxels along z per voxel.
    """

    height: float
    y: float
    x: float
    slope_y: float
    slope_x: float

    def moved(self, transform: npt.ArrayLike, middle: float, own_middle: float) -> Plane:
        """Return the plane in another frame.

        Parameters
        ----------
        transform : (3, 4)
            Voxels (z, y, x) of this frame to voxels of the other.
        middle, own_middle : float
            Voxel of the axis along y and x in this frame and in the other.
        """
        m = np.asarray(transform, np.float64)
        point = m @ [self.height, self.y + middle, self.x + middle, 1.0]
        along = m[:, :3] @ np.array([[self.slope_y, 1.0, 0.0], [self.slope_x, 0.0, 1.0]]).T
        slopes = np.linalg.solve(along[1:].T, along[0])
        z, y, x = point.tolist()
        return Plane(z, y - own_middle, x - own_middle, *slopes.tolist())

    def across(self, angles: Floats, u: Floats) -> Floats:
        """Return the mean height (angle, column) that rays at places `u` from the axis meet it at."""
        sine, cosine = np.sin(angles)[:, None], np.cos(angles)[:, None]
        return self.height + (u - self.y * sine - self.x * cosine) * (self.slope_y * sine + self.slope_x * cosine)

    def along(self, angles: Floats) -> Floats:
        """Return its slope along the rays of each angle, without sign."""
        return np.abs(self.slope_y * np.cos(angles) - self.slope_x * np.sin(angles))


def fit_plane(heights: npt.ArrayLike, middle: float, beside: npt.ArrayLike | None = None) -> tuple[Plane, float]:
    """Fit a plane to the heights of a face; pores that are open count as little as what lies on it.

    Heights are told from grey values, and what lies beside the face has its part in them: an anode off the axis would
    tilt it. So those beside each material are off by a constant of their own, and all are by a dome, as which
    averaging intensities shows a face.

    Parameters
    ----------
    heights : (y, x)
        Voxels, NaN where there is none.
    middle : float
        Voxel of the axis along y and x.
    beside : (y, x), optional
        Label of what lies beside the face.

    Returns
    -------
    Plane
    float
        Root mean square by which the face deviates from it, over a few voxels along y and x.

    Raises
    ------
    ValueError
        Fewer than three heights.
    """
    whole = np.asarray(heights, np.float64)
    known, apart = _materials(np.isfinite(whole), None if beside is None else np.asarray(beside))
    if known.sum() < 3:
        raise ValueError("a plane needs three heights")
    z, (y, x) = whole[known], (i - middle for i in np.nonzero(known))
    at_y, at_x = float(y.mean()), float(x.mean())
    y, x = y - at_y, x - at_x
    plane = np.column_stack([np.ones_like(z), y, x])
    offsets = apart[:, known].T - apart[:, known].mean(axis=1)
    dome = np.column_stack([values - values.mean() for values in (y * y, y * x, x * x)])
    design = np.hstack([plane, offsets, dome])
    used = np.ones(len(z), bool)
    for _ in range(FITS):
        fit, *_ = np.linalg.lstsq(design[used], z[used], rcond=None)
        left = z - design @ fit
        kept = np.abs(left) <= FAR * max(float(np.median(np.abs(left))), TINY)
        if kept.sum() < 3:
            break
        used = kept
    count = plane.shape[1] + offsets.shape[1]
    rough = _roughness(known, used, z - design[:, :count] @ fit[:count])
    return Plane(float(fit[0]), at_y, at_x, float(fit[1]), float(fit[2])), rough


def _materials(known: Mask, beside: npt.NDArray[np.integer] | None) -> tuple[Mask, Mask]:
    """Return where heights lie beside a material that fills enough, and all such materials but the most frequent."""
    if beside is None or not known.any():
        return known, np.zeros((0, *known.shape), bool)
    labels, counts = np.unique(beside[known], return_counts=True)
    labels = labels[np.argsort(-counts, kind="stable")][: int((counts >= LEAST_SHARE * counts.sum()).sum())]
    each = beside == labels.reshape(-1, 1, 1)
    return known & each.any(axis=0), each[1:]


def _roughness(known: Mask, used: Mask, left: Floats) -> float:
    """Return the root mean square of what is left of the heights that were used, over a few voxels."""
    rest, there = np.zeros(known.shape), np.zeros(known.shape)
    rest[known], there[known] = np.where(used, left, 0.0), used
    smooth, share = (scipy.ndimage.uniform_filter(v, WIDE, mode="constant") for v in (rest, there))
    waves = smooth[share > 0.5] / share[share > 0.5]
    return float(np.sqrt((waves**2).mean())) if waves.size else 0.0


def slopes_of_face(
    seen: Floats, other: Floats, angles: Floats, spread: npt.ArrayLike
) -> tuple[tuple[float, float], float]:
    """Return the slopes of a face from how much it is seen to rise across the rays of each angle.

    A ray meets the face on average where the middle of its path through the dense side lies, which follows u as the
    covariance of the face's area says: straight, if the face is an ellipse.

    Parameters
    ----------
    seen, other, angles : (angle,)
        Voxels along z per voxel across the rays, as `missing` tells them with either kind of sides; radians.
    spread : (2, 2)
        Covariance of the places (y, x) of the face's area.

    Returns
    -------
    (slope_y, slope_x) : tuple of float
        Voxels along z per voxel.
    float
        Standard error of one of them, by a jackknife over sectors of the angle and from the difference of both kinds.
    """
    across = np.column_stack([np.sin(angles), np.cos(angles)])
    follows = across @ np.asarray(spread, np.float64)
    design = follows / np.maximum((follows * across).sum(axis=1), TINY)[:, None]
    sector = np.argsort(np.argsort(np.mod(angles, np.pi))) * SECTORS // len(angles)
    (y, x), unlike = (np.linalg.lstsq(design, values, rcond=None)[0].tolist() for values in (seen, seen - other))
    left = [np.linalg.lstsq(design[k != sector], seen[k != sector], rcond=None)[0] for k in range(SECTORS)]
    scatter = (SECTORS - 1) * np.var(left, axis=0).mean()
    return (y, x), float(np.sqrt(scatter + np.square(unlike).mean()))


def shares_of_angles(columns: Mask, angles: Floats, weights: Floats, turn: npt.ArrayLike = ((1, 0), (0, 1))) -> Floats:
    """Return how much each projection counts in the sum of a slice over some columns; 1 on average.

    Each counts as the part of the half turn that it stands for. What is not the same at all angles is filtered back
    into all of the slice, and over an ellipse counts as the ellipse's area over pi times the square of half its width
    at that angle: the ramp filter makes of its chords a constant.

    Parameters
    ----------
    columns : (y, x)
        Those summed over, of which the ellipse has the second moments.
    angles, weights : (angle,)
        Radians, and the part of the half turn that each stands for.
    turn : (2, 2), optional
        Directions (y, x) of these columns to those that the angles are of.

    Raises
    ------
    ValueError
        No columns.
    """
    places = np.argwhere(columns).astype(np.float64)
    if not len(places):
        raise ValueError("a sum needs columns")
    spread = np.cov(places.T, bias=True) + np.eye(2) / 12
    across = np.column_stack([np.sin(angles), np.cos(angles)]) @ np.asarray(turn, np.float64)
    shares = weights / np.einsum("ai,ij,aj->a", across, spread, across)
    return np.asarray(shares / shares.mean())


def reach_of(blur: float, ramp: float) -> float:
    """Return the rows about a face that it is seen in, from the blur and the range of its heights along a ray."""
    return 3 * blur + ramp / 2


def rows_about(plane: Plane, angles: Floats, u: Floats, reach: float) -> tuple[int, int]:
    """Return the first row and the one after the last of those that tell a face and both of its sides."""
    height, wide = plane.across(angles, u), reach + SIDE + APART
    return int(np.floor(height.min() - wide)), int(np.ceil(height.max() + wide)) + 1


def missing(block: npt.ArrayLike, first: int, height: Floats, dense_below: bool, reach: float) -> dict[str, Floats]:
    """Sum what averaging intensities takes from line integrals about a face.

    Parameters
    ----------
    block : (angle, row, column)
        Line integrals.
    first : int
        Its first row, as `height` counts them.
    height : (angle, column)
        Where the face lies.
    dense_below : bool
        The dense side is at smaller rows.
    reach : float
        Rows on either side of the face that it is seen in.

    Returns
    -------
    dict
        (angle,): ``missing``, line integrals times pixels, with both sides continued straight to where the face begins
        to be seen; ``other``, the same with sides as they are on average; ``ramp``, by which these are too large where
        the height varies along a ray: times the slope along the rays over the difference of attenuation per voxel;
        ``missing_slope`` and ``other_slope``, with either kind of sides the rows per column by which the face is seen
        to rise across the rays, weighted by the paths through the dense side.
    """
    p = np.asarray(block)
    names, upward = ("missing", "other", "ramp", "missing_slope", "other_slope"), 1 if dense_below else -1
    found: dict[str, list[Floats]] = {name: [] for name in names}
    for k in range(0, len(p), ANGLES):
        part = slice(k, k + ANGLES)
        rows = np.arange(first, first + p.shape[1])[None, :, None]
        off = (rows - height[part, None]) * upward  # on the dense side, negative
        values, inside = p[part].astype(np.float64), _part(np.abs(off), -reach, reach)
        near, far = (np.stack([_side(values, sign * off, reach + more) for sign in (-1, 1)]) for more in (0.0, APART))
        for name, (dense, light) in (("missing", 2 * near - far), ("other", near)):
            step = _step(dense, light)
            share = _share(values, light, step)
            lost = np.where((step > 0)[:, None], light[:, None] + share * step[:, None] - values, 0.0)
            found[name].append((lost * inside).sum(axis=(1, 2)))
            further = (share * inside).sum(axis=1) - reach  # than expected, the dense side reaches
            found[f"{name}_slope"].append(_rise(height[part] + upward * further, step))
            if name == "missing":
                found["ramp"].append((step**2 * _excess(step)).sum(axis=1))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _part(off: Floats, first: float, stop: float) -> Floats:
    """Return how much of each row lies between two distances: nothing jumps as a face moves."""
    return np.asarray(np.clip(np.minimum(off - first, stop - off) + 0.5, 0, 1))


def _side(values: Floats, out: Floats, least: float) -> Floats:
    """Return the mean of the rows next to a face on one side."""
    part = _part(out, least, least + SIDE)
    return np.asarray((values * part).sum(axis=1) / np.maximum(part.sum(axis=1), TINY))


def _step(dense: Floats, light: Floats) -> Floats:
    """Return the difference of line integrals across a face, 0 where there is none to speak of."""
    return np.where(dense - light > LEAST, dense - light, 0.0)


def _share(values: Floats, light: Floats, step: Floats) -> Floats:
    """Return the share of the light that comes through the dense side; 0 where there is no step."""
    there = (step > 0)[:, None]
    share = np.expm1(light[:, None] - values) / np.expm1(-np.where(there, step[:, None], 1.0))
    return np.where(there, share, 0.0)


def _rise(heights: Floats, weights: Floats) -> Floats:
    """Return the slope over the columns at each angle by weighted least squares; 0 where there is nothing to fit."""
    u = np.arange(heights.shape[1], dtype=np.float64)
    whole = np.maximum(weights.sum(axis=1, keepdims=True), TINY)
    away = u - (weights * u).sum(axis=1, keepdims=True) / whole
    spread = (weights * away**2).sum(axis=1)
    return np.asarray((weights * away * heights).sum(axis=1) / np.maximum(spread, TINY))


def _excess(step: Floats) -> Floats:
    """Return by how much the shares of light exceed those of the path, per row by which a face rises along a ray."""
    p = np.maximum(step, 1e-3)
    return np.where(step < 0.02, step / 12, -1 / np.expm1(-p) - 1 / p - 0.5)
