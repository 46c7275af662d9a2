"""Rings of each pair of scans: where their axes lie in the registered frame, and how strong they are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from xct_pipeline.config import Registration
from xct_pipeline.engine.blocks import Array
from xct_pipeline.registration import transform as tf
from xct_pipeline.registration import warp
from xct_pipeline.scan import AnyScan, Scan
from xct_pipeline.variation.ring_arcs import SURE, ColumnErrors, Frame, column_errors, kept_share, leak
from xct_pipeline.variation.rings import Rings
from xct_pipeline.variation.steps.series import RegisteredSeries

if TYPE_CHECKING:
    import pandas as pd

Pair = tuple[int, int]
Axes = tuple[tuple[Frame, tuple[float, float] | None], ...]
"""Frames of rings, each with the place (y, x) of the other axis from its own"""

POINTS = 8  # along each axis, at which what resampling does is averaged
APART = 0.7  # share of other rings in those about an axis, from which the two are not told apart
SHARED = 0.5  # voxels between two axes, up to which rings about both are taken for rings about one
HALF_TURN = 0.2  # radian that the range of the angles may be off it
STEADY = 2.0  # standard errors, from which errors of a column in rows apart are told to be alike


def frames_of(series: RegisteredSeries, registration: Registration) -> tuple[Frame | None, ...]:
    """Return where the rings of each scan lie in the registered frame; None where its axis is not known."""
    axis = series.volume.axis if registration.axis is None else registration.axis
    if axis is None:
        return (None,) * len(series.names)
    found = []
    for k, (motion, scan) in enumerate(zip(series.motions, series.scans, strict=True)):
        frame = _frame(motion.transform, axis, scan)
        if k != series.reference and not np.array_equal(motion.transform, np.eye(3, 4)):
            at = warp.positions(motion.transform, series.frame, POINTS).reshape(-1, 3)[:, 1:]
            frame = replace(frame, kept=kept_share(warp.cardinal_weights(at, registration.order), frame.half))
        found.append(frame)
    return tuple(found)


def _frame(transform: Array, axis: tuple[float, float], scan: AnyScan | None) -> Frame:
    """Return the frame of a scan; rings go all the way round where nothing is known of its angles."""
    start = half_turn(scan.angles) if isinstance(scan, Scan) else None
    c, s = math.cos(start or 0.0), math.sin(start or 0.0)
    y, x = axis
    turned = np.array([[1, 0, 0, 0], [0, c, -s, s * x - c * y], [0, s, c, -s * y - c * x]])
    return Frame(tuple(tf.compose(turned, transform).ravel().tolist()), start is not None)


def half_turn(angles: Array) -> float | None:
    """Return where the angles of a scan over half a turn begin, None for another range; radians."""
    first, last = float(np.min(angles)), float(np.max(angles))
    step = (last - first) / max(len(angles) - 1, 1)
    return first if abs(last - first + step - math.pi) < HALF_TURN else None


def frames_of_pair(frames: Sequence[Frame | None], pair: Pair, plane: float) -> tuple[Frame, ...]:
    """Return about which axes the rings of a difference are looked for: that of each scan, or one that they share.

    None at all where an axis is not known. `plane` is the height at which axes are compared.
    """
    moving, fixed = (frames[k] for k in pair) if frames else (None, None)
    if moving is None or fixed is None:
        return ()
    together = moving.half == fixed.half and distance(moving, fixed, plane) <= SHARED
    return (replace(fixed, kept=(moving.kept + fixed.kept) / 2),) if together else (moving, fixed)


def axis_at(frame: Frame, plane: float) -> Array:
    """Return the place (y, x) of the axis in a plane of the registered frame."""
    m = frame.matrix[1:]
    return np.asarray(np.linalg.solve(m[:, 1:3], -(m[:, 0] * plane + m[:, 3])))


def distance(one: Frame, other: Frame, plane: float) -> float:
    """Return how far two axes lie apart in a plane, voxels."""
    return float(np.linalg.norm(axis_at(one, plane) - axis_at(other, plane)))


def axes_of(frames: tuple[Frame, ...], plane: float) -> Axes:
    """Return frames of rings with where the other axis lies from each."""
    if len(frames) < 2:
        return tuple((frame, None) for frame in frames)
    places = [axis_at(frame, plane) for frame in frames]
    others = (places[1] - places[0], places[0] - places[1])
    return tuple((frame, (float(y), float(x))) for frame, (y, x) in zip(frames, others, strict=True))


def rings_of(axes: Axes, sums: Array, seen: Array, plane: float) -> list[tuple[Rings, ColumnErrors]]:
    """Return the rings about each axis.

    As they are in a difference that was not resampled: sums are taken over many voxels.

    Parameters
    ----------
    axes : sequence of (Frame, place)
    sums, seen : array
        Of `ring_arcs.arc_products` (axis, ...).
    plane : float
        Height of the region, at which the axes' places are taken.
    """
    found = [column_errors(part, frame.half) for part, (frame, _) in zip(sums, axes, strict=False)]
    if len(found) == 2:
        found = apart(found, float(np.mean([leak(part) for part in seen])))
    result = []
    for (frame, _), seen_errors in zip(axes, found, strict=True):
        errors = ColumnErrors(seen_errors.variance / frame.kept, seen_errors.sigma / frame.kept)
        m = frame.matrix[1:]
        place = np.column_stack([m[:, 1:3], m[:, 0] * plane + m[:, 3]])
        result.append((Rings(_steady(errors), tuple(place.ravel().tolist()), frame.half), errors))
    return result


def apart(found: Sequence[ColumnErrors], share: float) -> list[ColumnErrors]:
    """Take from the rings about each of two axes the share of the other's that is seen there.

    Where most of it is, both see the sum of the two, which is then halved.
    """
    one, other = found
    total, sigma = (one.variance + other.variance) / (1 + share), np.hypot(one.sigma, other.sigma)
    if share > APART:
        return [ColumnErrors(total / 2, sigma / (1 + share) / 2)] * 2
    between = (one.variance - other.variance) / (1 - share)
    errors = sigma * math.sqrt(1 + share**2) / (1 - share**2) / math.sqrt(2)
    return [ColumnErrors((total + sign * between) / 2, errors) for sign in (1, -1)]


def _steady(errors: ColumnErrors) -> tuple[float, ...]:
    """Return the covariance of a column's errors by rows apart, up to the last that is more than chance."""
    sure = np.abs(errors.variance) > STEADY * errors.sigma
    sure[0] = True
    values = np.where(sure, errors.variance, 0.0)
    return tuple(values[: int(np.flatnonzero(sure).max()) + 1].tolist())


# ------------------------------------------------------------------------------------------------------- table


def ring_rows(
    names: Sequence[str],
    reference: int,
    frames: Sequence[Frame | None],
    found: Mapping[Pair, Sequence[tuple[Rings, ColumnErrors]]],
    voxel_um: float,
) -> list[dict[str, Any]]:
    """Return, for each scan against the reference, how far a column of the detector is off.

    Over what is measured of both scans together; the variances of rings about two axes are added.
    """
    rows = []
    for k, name in enumerate(names):
        parts = found.get((k, reference))
        if parts is None:
            continue
        row: dict[str, Any] = {"scan": name, "column_error": np.nan, "column_error_sigma": np.nan}
        if frames[k] is None or frames[reference] is None:
            row["rings"] = "axis not known: registration.axis"
        elif not parts or not all(np.isfinite(errors.sigma[0]) for _, errors in parts):
            row["rings"] = "too little that is quiet"
        else:
            total = sum(max(float(errors.variance[0]), 0.0) for _, errors in parts)
            sigma = math.sqrt(sum(float(errors.sigma[0]) ** 2 for _, errors in parts))
            value, scale = math.sqrt(total), voxel_um * 1e-4
            row["column_error"] = value * scale
            row["column_error_sigma"] = scale * (sigma / (2 * value) if total > sigma else math.sqrt(sigma))
            used = sum(errors.found for _, errors in parts)
            axes = "one axis" if len(parts) == 1 else "both axes" if used == len(parts) else "one of two axes"
            row["rings"] = f"in the errors, about {axes}" if used else f"not beyond {SURE:g} standard errors"
        rows.append(row)
    return rows


def ring_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return the rows as a table, with its columns where there are none."""
    import pandas as pd

    return pd.DataFrame(rows, columns=["scan", "column_error", "column_error_sigma", "rings"])
