"""The tilt of the rotation axis, in the detector's plane and along the beam, from views half a turn apart.

Seen half a turn later and mirrored, a sample whose axis stands upright looks the same. To first order in small angles
half the difference of the two views is a sum of known images: the slope along the columns times the centre's error;
``u dP/dz - z dP/du`` times the tilt in the detector's plane; ``-dM/dz`` times the tilt along the beam, where M is the
first moment of the attenuation along the ray, from a coarse reconstruction; and, as what stands in their way, the
slope along the rows (the sample moved up between the views) and the view itself (the beam's level moved). Least
squares over all rows and columns tells all five at once; views are turned by what was found and compared again.
Errors come from blocks of the detector, so they hold whatever the residuals are made of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy

from xct_pipeline.reconstruction import fourier, leaning
from xct_pipeline.reconstruction.center.half_turns import half_turns
from xct_pipeline.reconstruction.center.pair import coarse_center
from xct_pipeline.reconstruction.center.rows import clean, outlying_columns, unlike_mirror_image, values_of_rows
from xct_pipeline.reconstruction.projector import project_slices
from xct_pipeline.scan import Axis

Floats = npt.NDArray[np.floating[Any]]

BLUR = 1.0  # pixels, before slopes are taken
MARGIN = 4  # pixels at the edges of the detector that are not compared
EDGE = 3  # columns at the detector's edges whose defects neighbours cannot tell
FLOOR = 3e-5  # radians, and pixels: the method's own error on noise-free data
LIFT_FLOOR = 0.01  # pixels: the mean of the lift that is found where there is none, over drawn samples with noise
SECOND_ORDER = 0.02  # share of a lean that first moments miss
WORTH = 0.1  # pixels at the edge by which a lean must change for a new reconstruction
BLOCK = 8  # pixels along the edge of the blocks that the error is taken from
ROUNDS = 6
GAP = 3.0  # degrees that two views may be off half a turn
LEAST = 24  # columns seen from both sides
LEAST_ROWS = 2 * MARGIN + BLOCK
FOURTH_ORDER = (1 / 12, -8 / 12, 0.0, 8 / 12, -1 / 12)  # weights of neighbours in a slope
CLIP = 5.0  # standard deviations from which a residual counts less


class TiltError(ValueError):
    """The views do not tell the tilt; the message says why."""


@dataclass(frozen=True)
class TiltEstimate:
    """How the rotation axis leans.

    Attributes
    ----------
    tilt_deg, tilt_sigma : float
        Angle to the detector's columns, degrees, positive where the axis's column grows with the row; standard error.
    lean_deg, lean_sigma : float
        Angle along the beam, degrees, positive where what lies farther along the ray of angle 0 (at larger y) is seen
        at larger rows; nan where only the overlap of a half acquisition is seen.
    lift, lift_sigma : float
        Rows by which the sample moved to larger rows in half a turn.
    center : float
        Column of the axis at the middle row.
    pairs : int
        Views half a turn apart that were compared.
    """

    tilt_deg: float
    tilt_sigma: float
    lean_deg: float
    lean_sigma: float
    lift: float
    lift_sigma: float
    center: float
    pairs: int


def chosen_angles(angles: npt.ArrayLike, most: int) -> npt.NDArray[np.intp]:
    """Choose projections evenly over the scan, each of a whole turn with its partner half a turn later.

    Parameters
    ----------
    angles : (angle,) radians
    most : int
        Projections, about.

    Returns
    -------
    (n,) int
        Increasing, without repeats.
    """
    theta = np.asarray(angles, np.float64)
    turns = half_turns(theta)
    if turns.kind != "full":
        even = np.unique(np.linspace(0, len(theta) - 1, min(most, len(theta))).round().astype(int))
        return np.unique(turns.order[even])
    first = np.flatnonzero(turns.theta < np.pi)
    first = first[np.unique(np.linspace(0, len(first) - 1, min(most // 2, len(first))).round().astype(int))]
    partner = [int(np.argmin(np.abs(turns.theta - turns.theta[k] - np.pi))) for k in first]
    return np.unique(turns.order[np.concatenate([first, partner])])


def opposite_views(angles: npt.ArrayLike, most: int = 16) -> list[tuple[int, int]]:
    """Pair projections that lie half a turn apart, or as near to it as there are.

    Raises
    ------
    TiltError
        No two come within three degrees of half a turn.
    """
    turns = half_turns(np.asarray(angles, np.float64))
    theta, order = turns.theta, turns.order
    if turns.kind == "full":
        first = np.flatnonzero(theta < np.pi)
        first = first[np.unique(np.linspace(0, len(first) - 1, min(most, len(first))).round().astype(int))]
    else:
        first = np.array([0])
    partner = [int(np.argmin(np.abs(theta - theta[k] - np.pi))) for k in first]
    near = [(k, m) for k, m in zip(first, partner, strict=True) if abs(theta[m] - theta[k] - np.pi) < np.radians(GAP)]
    if not near:
        raise TiltError("no two projections lie half a turn apart")
    return [(int(order[k]), int(order[m])) for k, m in near]


def estimate_tilt(projections: Floats, angles: npt.ArrayLike) -> TiltEstimate:
    """Find how the rotation axis leans.

    Parameters
    ----------
    projections : (angle, row, column) float32
        Line integrals of all rows, binned where they are many; enough angles for a coarse reconstruction.
    angles : (angle,) radians

    Returns
    -------
    TiltEstimate
        In pixels of what was given.

    Raises
    ------
    TiltError
        No projections lie half a turn apart, their images do not match, or they hold no structure.
    """
    theta = np.asarray(angles, np.float64)
    if projections.ndim != 3 or len(projections) != len(theta):
        raise TiltError(f"{len(theta)} angles do not fit projections of shape {projections.shape}")
    if projections.shape[1] < LEAST_ROWS or projections.shape[2] < LEAST:
        raise TiltError(
            f"{projections.shape[1]} rows of {projections.shape[2]} columns are too few: it takes at least "
            f"{LEAST_ROWS} of {LEAST}"
        )
    data = np.nan_to_num(np.asarray(projections, np.float32), posinf=0, neginf=0)
    data[:, :, :EDGE], data[:, :, -EDGE:] = data[:, :, EDGE, None], data[:, :, -EDGE - 1, None]
    pairs, columns = opposite_views(theta), data.shape[2]
    first, second = (data[[pair[side] for pair in pairs]] for side in (0, 1))
    values = values_of_rows(data[half_turns(theta).order])
    bad = [outlying_columns(row) for row in values]
    one, two = (clean(half, bad).reshape(-1, columns) for half in (first, second))
    center, match, chance = coarse_center(one, two)
    if match < max(0.2, 5 * chance):
        raise TiltError(f"views half a turn apart match at most {match:.2f} of 1")
    data = clean(data, unlike_mirror_image(values, first, second, center))  # an edge about the axis is no defect
    whole = abs(center - (columns - 1) / 2) <= columns / 8
    views = [scipy.ndimage.gaussian_filter(data[list(pair)], (0, BLUR, BLUR), mode="nearest") for pair in pairs]
    full = half_turns(theta).kind == "full"  # half a turn does not tell the volume at the ends of the turn any better
    turn, lean, known = 0.0, 0.0, 0.0
    moments: Moments | None = None
    for rounds in range(ROUNDS):
        again = full and abs(lean - known) * columns / 2 > WORTH
        if whole and rounds >= ROUNDS // 2 and (moments is None or again):
            moments, known = _first_moments(data, theta, pairs, center, turn, lean), lean
        found, covariance = _solve(_system(views, center, turn, moments))
        center, turn = center + found[0], turn + found[1]
        lean = float(found[4]) if moments is not None else 0.0
    sigma = np.hypot(np.sqrt(np.diag(covariance)), FLOOR)
    lean_sigma = float(np.hypot(sigma[4], SECOND_ORDER * lean)) if moments is not None else np.nan
    return TiltEstimate(
        tilt_deg=float(np.degrees(turn)),
        tilt_sigma=float(np.degrees(sigma[1])),
        lean_deg=float(np.degrees(lean)) if moments is not None else np.nan,
        lean_sigma=float(np.degrees(lean_sigma)),
        lift=float(2 * found[2]),
        lift_sigma=float(np.hypot(2 * sigma[2], LIFT_FLOOR)),
        center=float(center),
        pairs=len(pairs),
    )


class Moments(NamedTuple):
    """Projections of two reconstructions, (pair, row, column), blurred as the views are, columns from the axis.

    Their first moments along the ray, and half the difference of opposite views, which lie not quite half a turn apart.
    """

    first: Floats
    second: Floats
    off: Floats


def _grid(rows: int, columns: int, center: float) -> tuple[Floats, Floats]:
    """Heights and distances from the axis, whole pixels, at which opposite views are compared."""
    reach = int(min(center, columns - 1 - center)) - MARGIN // 2
    if 2 * reach < LEAST or rows < LEAST_ROWS:
        raise TiltError(f"only {max(2 * reach, 0)} columns of {rows} rows are seen from both sides")
    return np.arange(rows) - (rows - 1) / 2, np.arange(-reach, reach + 1.0)


def _upright(view: Floats, center: float, turn: float, z: Floats, u: Floats) -> Floats:
    """Sample a projection at heights along an axis that is tilted and distances across it."""
    cosine, sine = np.cos(turn), np.sin(turn)
    row = (view.shape[0] - 1) / 2 + z[:, None] * cosine - u * sine
    column = center + z[:, None] * sine + u * cosine
    return _sampled(view, row, column)


def _slope(image: Floats) -> Floats:
    """Return the slope along z to fourth order: a difference of two rows is too small by 7 % for small grains."""
    return np.asarray(scipy.ndimage.correlate1d(image, FOURTH_ORDER, axis=0, mode="nearest"))


def _sampled(image: Floats, row: Floats, column: Floats) -> Floats:
    return np.asarray(scipy.ndimage.map_coordinates(image, [row, column], np.float64, order=3, mode="nearest"))


def _first_moments(
    data: Floats,
    theta: npt.NDArray[np.float64],
    pairs: Sequence[tuple[int, int]],
    center: float,
    turn: float,
    lean: float,
) -> Moments:
    """Project two reconstructions, of every other projection each: their noise is not the same."""
    _, rows, columns = data.shape
    z, u = np.arange(rows) - (rows - 1) / 2, np.arange(columns) - (columns - 1) / 2
    straight = np.stack([_upright(view, center, turn, z, u) for view in data]).astype(np.float32)
    middle, order = (columns - 1) / 2, half_turns(theta).order
    y, x = u[:, None], u[None, :]
    inside = x**2 + y**2 < (middle - MARGIN) ** 2
    moments, off = [], []
    for half in (order[::2], order[1::2]):
        if lean:
            axis, options = Axis(middle, lean=float(np.degrees(lean))), {"fft": "scipy"}
            every = slice(0, rows)
            volume = leaning.reconstruct(straight[half], theta[half], axis, columns, None, options, 0, every)
        else:
            volume = np.asarray(fourier.reconstruct(straight[half], theta[half], center=middle, fft="scipy"))
        volume = np.clip(volume, 0, np.quantile(volume[:, inside], 0.9995)) * inside
        along = [(y * np.cos(theta[k]) - x * np.sin(theta[k])).astype(np.float32) for k, _ in pairs]
        of_half = [
            project_slices(volume * part, theta[[k]], center=middle, columns=columns)[:, 0]
            for part, (k, _) in zip(along, pairs, strict=True)
        ]
        moments.append(np.stack(of_half))
        both = [project_slices(volume, theta[list(pair)], center=middle, columns=columns) for pair in pairs]
        off.append(np.stack([(b[:, 0] - b[:, 1, ::-1]) / 2 for b in both]))
    first, second, wrong = (
        scipy.ndimage.gaussian_filter(a, (0, BLUR, BLUR)) for a in (moments[0], moments[1], (off[0] + off[1]) / 2)
    )
    return Moments(first, second, wrong)


class System(NamedTuple):
    """Half the differences of opposite views, what they are made of (twice), and the block of each pixel."""

    rest: Floats
    sides: Floats
    again: Floats
    block: npt.NDArray[np.intp]


def _system(views: Sequence[Floats], center: float, turn: float, moments: Moments | None) -> System:
    """Return the equations for what is missing to the centre and the tilt, and for all else that differs."""
    rows, columns = views[0].shape[1:]
    z, u = _grid(rows, columns, center)
    sides, others, rests, blocks = [], [], [], []
    kept = (slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
    block = np.arange(rows)[:, None] // BLOCK * columns + np.abs(u).astype(int) // BLOCK
    at = [np.arange(rows)[:, None] + 0 * u, 0 * z[:, None] + u + (columns - 1) / 2]
    for n, (first, second) in enumerate(views):
        one = _upright(first, center, turn, z, u)
        two = _upright(second, center, turn, z, u)[:, ::-1]
        both, rest = (one + two) / 2, (one - two) / 2
        slope_z, slope_u = (np.asarray(np.gradient(both, axis=axis)) for axis in (0, 1))
        parts = [-slope_u, u * slope_z - z[:, None] * slope_u, slope_z, both]
        again = list(parts)
        if moments is not None:
            a, b, wrong = (_sampled(image[n], *at) for image in moments)
            parts.append(-_slope(a))
            again.append(-_slope(b))
            rest = rest - wrong
        sides.append(np.stack([part[kept].ravel() for part in parts], axis=1))
        others.append(np.stack([part[kept].ravel() for part in again], axis=1))
        rests.append(rest[kept].ravel())
        blocks.append((block + n * rows * columns)[kept].ravel())
    number = np.unique(np.concatenate(blocks), return_inverse=True)[1]
    return System(np.concatenate(rests), np.concatenate(sides), np.concatenate(others), number)


def _solve(system: System) -> tuple[Floats, Floats]:
    """Least squares, outliers held down; the covariance by a jackknife over blocks.

    What the differences are made of is known twice with independent noise: one serves as the instrument of the other,
    so that noise does not make what is found too small.
    """
    rest, sides, again, _ = system
    weight: Floats = np.ones(len(rest))
    found: Floats = np.zeros(sides.shape[1])
    for _ in range(4):
        normal = again.T @ (sides * weight[:, None])
        normal = normal + normal.T
        if not np.isfinite(normal).all() or np.linalg.cond(normal) > 1e14:
            raise TiltError("the views hold too little structure along rows and columns")
        found = np.asarray(np.linalg.solve(normal, (again + sides).T @ (rest * weight)))
        left = np.abs(rest - (sides + again) / 2 @ found)
        limit = CLIP * 1.4826 * float(np.median(left)) + 1e-12
        weight = np.asarray(np.minimum(1.0, limit / np.maximum(left, limit * 1e-3)))
    return found, _jackknife(system, weight)


def _jackknife(system: System, weight: Floats) -> Floats:
    """Return the covariance from how far what is found moves when one block of the detector after another is left out.

    A few blocks hold most of what a sample tells, and what is left of those that they fit closely is too small to
    take the error from.
    """
    rest, sides, again, block = system
    count, size = int(block.max()) + 1, sides.shape[1]
    normals, products = np.zeros((count, size, size)), np.zeros((count, size))
    for k in range(size):
        products[:, k] = np.bincount(block, (again[:, k] + sides[:, k]) * rest * weight, count)
        for m in range(size):
            both = (again[:, k] * sides[:, m] + sides[:, k] * again[:, m]) * weight
            normals[:, k, m] = np.bincount(block, both, count)
    without = np.linalg.solve(normals.sum(axis=0) - normals, (products.sum(axis=0) - products)[..., None])[..., 0]
    moved = without - without.mean(axis=0)
    return np.asarray(moved.T @ moved * (count - 1) / count)
