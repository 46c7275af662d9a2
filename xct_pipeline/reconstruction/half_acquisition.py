"""Scans over a full turn whose axis lies near one edge of the detector: both halves make one wide view.

Projections half a turn apart are mirror images about the axis, so a detector that sees little more than one
side of the sample measures the other side half a turn later. Around the axis lies a part that is measured
twice, in which a smooth ramp blends the two. ``weigh`` leaves the columns where they are and serves methods
that are linear in the projections (Fourier, FBP); ``stitch`` makes projections of the wide view, which
iterative methods need.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from xct_pipeline.device import Array, array_namespace, ndimage_of
from xct_pipeline.reconstruction.filters import angular_weights, missing_range

Side = Literal["left", "right"]


def center_of_overlap(overlap: float, side: Side, n_columns: int) -> float:
    """Column of the axis from the width of the columns that lie symmetric about it (pixels)."""
    return 0.5 * (overlap - 1) if side == "left" else n_columns - 1 - 0.5 * (overlap - 1)


def full_size(n_columns: int, center: float, side: Side) -> int:
    """Columns of the stitched view, and so pixels of an image that shows all that was measured."""
    reach = n_columns - 1 - center if side == "left" else center
    return int(np.floor(2 * reach)) + 1


def ramp_weights(n_columns: int, center: float, side: Side) -> np.ndarray[Any, Any]:
    """Blending weight of each column (float64): those of columns mirrored about the axis sum to 1.

    The ramp is the square of a sine over the overlap, which keeps the weighted projections smooth.

    Raises
    ------
    ValueError
        If the axis is not on the detector, or nearer to the other side.
    """
    near = center if side == "left" else n_columns - 1 - center
    if side not in ("left", "right"):
        raise ValueError(f"unknown side {side!r}: left or right")
    if not 1.0 <= near <= 0.5 * (n_columns - 1):
        raise ValueError(
            f"the axis at column {center} of {n_columns} is not near the {side} edge with an overlap: "
            "give the edge it is nearest to"
        )
    return _weights_at(np.arange(n_columns), n_columns, center, side)


def weigh(
    sinograms: Array, angles: np.ndarray[Any, Any], *, center: float, side: Side
) -> tuple[Any, np.ndarray[Any, Any], float]:
    """Weight the rays so that a linear reconstruction over the full turn counts each of them once.

    Works for any angles that cover a full turn and any centre, without interpolation. The factors include
    what turns the weights modulo half a turn, which reconstruction applies, into those modulo a full one.

    Parameters
    ----------
    sinograms : (angle, row, column) float32, numpy or CuPy
    angles : (angle,) radians
    center : float
        Column of the axis.
    side : {'left', 'right'}
        Edge of the detector that the axis is near.

    Returns
    -------
    sinograms, angles, center
        Input of ``fourier.reconstruct``, whose `size` is best ``full_size(...)``.

    Raises
    ------
    ValueError
        If the angles do not cover a full turn, or the axis is not near that side.
    """
    xp = array_namespace(sinograms)
    columns = ramp_weights(sinograms.shape[2], center, side)
    angles = np.asarray(angles, np.float64)
    whole = angular_weights(angles, period=2 * np.pi)
    covered = 2 * np.pi - missing_range(angles, period=2 * np.pi)
    if covered < 0.97 * 2 * np.pi:
        raise ValueError(f"the angles cover {np.degrees(covered):.0f} degrees: half acquisition needs a full turn")
    factor = (whole / angular_weights(angles))[:, None] * columns
    return sinograms * xp.asarray(factor.astype(np.float32))[:, None], angles, center


def stitch(
    sinograms: Array,
    angles: np.ndarray[Any, Any],
    *,
    side: Side,
    overlap: float | None = None,
    center: float | None = None,
) -> tuple[Any, np.ndarray[Any, Any], float]:
    """Join projections half a turn apart to projections of the wide view over half a turn.

    The partner of a projection is interpolated linearly between the two angles around the opposite one
    (exactly it where angles are even in number and spacing) and mirrored about the axis with a cubic spline.

    Parameters
    ----------
    sinograms : (angle, row, column) float32, numpy or CuPy
    angles : (angle,) radians, over a full turn
    side : {'left', 'right'}
        Edge of the detector that the axis is near.
    overlap, center : float
        One of the two: columns symmetric about the axis, or the axis' column.

    Returns
    -------
    sinograms : (angle, row, wide column) float32
    angles : (angle,) radians, ascending from the first over half a turn
    center : float
        Column of the axis in the wide view.

    Raises
    ------
    ValueError
        If the angles do not cover a full turn, or the axis is not near that side.
    """
    n = sinograms.shape[2]
    if (center is None) == (overlap is None):
        raise ValueError("give either the overlap or the center")
    axis = center_of_overlap(overlap, side, n) if overlap is not None else float(center)  # type: ignore[arg-type]
    weights = ramp_weights(n, axis, side)
    first, before, after, share, out_angles = _partners(np.asarray(angles, np.float64))
    width = full_size(n, axis, side)
    start = width - n if side == "left" else 0
    xp = array_namespace(sinograms)
    out = xp.zeros((first.size, sinograms.shape[1], width), np.float32)
    out[:, :, start : start + n] = sinograms[xp.asarray(first)] * xp.asarray(weights.astype(np.float32))
    # Column j of the wide view shows what column 2 axis - j (both counted on the detector) sees half a turn
    # later: the reversed detector, moved by a whole number of pixels and a fraction.
    move = 2 * axis - (n - 1) + start
    whole = round(move)
    source, target = max(0, -whole), max(0, whole)
    kept = min(n - source, width - target)
    ndimage = ndimage_of(sinograms)
    mirrored = 1.0 - _weights_at(np.arange(width) - start, n, axis, side)
    part = xp.asarray(mirrored[target : target + kept].astype(np.float32))
    for i in range(first.size):
        partner = float(1 - share[i]) * sinograms[int(before[i])] + float(share[i]) * sinograms[int(after[i])]
        reverse = partner[:, ::-1].astype(np.float32)
        if move != whole:
            reverse = ndimage.shift(reverse, (0, move - whole), order=3, mode="nearest")
        out[i, :, target : target + kept] += reverse[:, source : source + kept] * part
    return out, out_angles, axis + start


def _weights_at(column: np.ndarray[Any, Any], n: int, axis: float, side: Side) -> np.ndarray[Any, Any]:
    """``ramp_weights`` continued beyond the detector, where it is 0 or 1."""
    near = axis if side == "left" else n - 1 - axis
    outward = column - axis if side == "left" else axis - column
    return np.asarray(np.sin(0.25 * np.pi * (1.0 + np.clip(outward / near, -1.0, 1.0))) ** 2)


def _partners(angles: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], ...]:
    """Projections of the first half turn and, for each, those before and after its opposite and the share."""
    turn = 2 * np.pi
    phase = np.mod(angles - angles.min() + 1e-9, turn)
    order = np.argsort(phase, kind="stable")
    phase = phase[order]
    gaps = np.diff(phase, append=phase[0] + turn)
    if gaps.max() > 0.03 * turn:
        raise ValueError(
            f"the angles leave a gap of {np.degrees(gaps.max()):.1f} degrees: half acquisition needs a full turn"
        )
    # 0 and 360 degrees are one angle: the wrap-around of the tolerance above keeps only its first copy.
    first = np.flatnonzero(phase < np.pi * (1 - 1e-9))
    opposite = phase[first] + np.pi
    after = np.searchsorted(phase, opposite - 1e-7)
    before = after - 1
    high = np.where(after < phase.size, phase[after % phase.size], phase[0] + turn)
    low = phase[before]
    share = np.clip((opposite - low) / np.maximum(high - low, 1e-12), 0.0, 1.0)
    return order[first], order[before], order[after % phase.size], share, angles.min() + phase[first]
