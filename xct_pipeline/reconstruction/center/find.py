"""Centre of rotation of a scan: rows chosen, bad columns left out, two methods, an uncertainty and a tilt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from xct_pipeline.device import to_host
from xct_pipeline.reconstruction.center.half_turns import HalfTurns, half_turns
from xct_pipeline.reconstruction.center.matching import (
    PAIRS,
    WEAK_MATCH,
    WEAK_MISFIT,
    by_values_if_better,
    error_of_jitter,
    facing_pairs,
    register_despite_rings,
)
from xct_pipeline.reconstruction.center.metric import center_from_metric, excess_of_metric
from xct_pipeline.reconstruction.center.pair import PairCenter, coarse_center, small_sample
from xct_pipeline.reconstruction.center.rows import choose_rows, clean, outlying_columns, row_content, values_of_rows
from xct_pipeline.reconstruction.center.values import center_from_values
from xct_pipeline.scan import Axis
from xct_pipeline.threads import one_thread_each

__all__ = ["CenterEstimate", "center_from_overlap", "choose_rows", "find_center", "row_content"]

Array = npt.NDArray[Any]
METRIC_ROWS = 4
DISAGREEMENT = 0.5  # pixels; the metric alone is off by up to a third of one where a thin plate is seen edge on
EXCESS = 6.0  # standard errors, of four rows, by which the metric is to be larger at the centre of registration
LEAST_ANGLES, LEAST_COLUMNS = 3, 32


@dataclass(frozen=True)
class CenterEstimate:
    """Where the rotation axis meets the detector.

    Attributes
    ----------
    center : float
        Column in pixels (0 = centre of the first pixel) at detector row `row`.
    sigma : float
        Standard error of `center`, pixels.
    agreement : float
        Absolute difference of `center` and `metric_center`, pixels; nan where only one method worked.
    method : str
        "registration", "overlap" (axis far off the middle of a whole turn) or "metric".
    metric_center : float
        Centre from the second method (see `second_method`), nan where it failed.
    second_method : str
        "metric" (double wedge), "overlap" (normalised correlation of the overlap) or "none".
    tilt_deg, tilt_sigma : float
        Angle of the axis to the detector's columns, degrees, positive where the centre grows with the row, and its
        standard error; nan with fewer than four rows.
    tilted : bool
        Whether the tilt is significant and moves the centre over the rows used by more than 0.1 pixel.
    row : float
        Detector row that `center` belongs to.
    side : str
        Half acquisition: edge of the detector that the axis is nearer to, "left" or "right"; "" otherwise.
    overlap : float
        Width in pixels of the part of the detector seen from both sides, 2 min(center, W-1-center) + 1.
    rows, row_centers : numpy.ndarray
        Detector rows used and the centre of each.
    curve : numpy.ndarray
        (2, m): trial centres and the score of registration (maximum 1), or the metric where it decided.
    metric_curve : numpy.ndarray
        (2, m): trial centres and the metric (lowest is best); (2, 0) where it was not computed.
    warnings : tuple of str
        Sentences for the user.
    """

    center: float
    sigma: float
    agreement: float
    method: str
    metric_center: float
    second_method: str
    tilt_deg: float
    tilt_sigma: float
    tilted: bool
    row: float
    side: str
    overlap: float
    rows: Array
    row_centers: Array
    curve: Array
    metric_curve: Array
    warnings: tuple[str, ...]

    @property
    def axis(self) -> Axis:
        """The axis as it is used, in columns of the detector; a tilt is reported, not yet corrected for."""
        return Axis(self.center)


def center_from_overlap(sinograms: Array, angles: Array) -> tuple[float, str, float, float]:
    """Find the axis anywhere on the detector from a whole turn (half acquisition).

    Parameters
    ----------
    sinograms : array
        (angle, row, column) line integrals.
    angles : array
        Radians, a whole turn.

    Returns
    -------
    center, side, overlap, correlation
        Column to about 0.1 pixel; the edge of the detector the axis is nearer to, "left" or "right"; the
        width in pixels seen from both sides; the correlation of the overlap, at most 1.

    Raises
    ------
    ValueError
        Where the angles do not make a whole turn or the overlap does not match.
    """
    data = np.asarray(to_host(sinograms), np.float32)
    turns = half_turns(np.asarray(angles, np.float64))
    if turns.kind != "full":
        raise ValueError("finding the overlap takes a whole turn of angles; this scan covers less")
    data, turns = data[turns.order], replace(turns, order=np.arange(len(turns.order)))
    bad = [outlying_columns(row) for row in values_of_rows(data)]
    first, second = (clean(half, bad) for half in facing_pairs(data, turns, 32))
    columns = data.shape[-1]
    center, match, chance = coarse_center(first.reshape(-1, columns), second.reshape(-1, columns))
    if match < max(WEAK_MATCH, 5 * chance):
        values = center_from_values(first, second)
        if values.misfit < WEAK_MISFIT:
            center, match = values.center, 1 - values.misfit
    if match < max(WEAK_MATCH, 5 * chance):
        raise ValueError(
            f"no overlap found: projections half a turn apart match at most {match:.2f} of 1; give the centre"
        )
    return center, side_of(center, columns), overlap_of(center, columns), match


def side_of(center: float, columns: int) -> str:
    """Edge of the detector that the axis is nearer to."""
    return "left" if center < (columns - 1) / 2 else "right"


def overlap_of(center: float, columns: int) -> float:
    """Width of the part of the detector that is symmetric about the axis, pixels."""
    return 2 * min(center, columns - 1 - center) + 1


def check(sinograms: Array, angles: Array, rows: Array) -> None:
    """Raise ValueError on shapes or angles that no centre can be found from."""
    if sinograms.ndim != 3:
        raise ValueError(f"sinograms must be (angle, row, column), not an array of shape {sinograms.shape}")
    if len(angles) != len(sinograms):
        raise ValueError(f"{len(angles)} angles do not fit {len(sinograms)} projections")
    if len(rows) != sinograms.shape[1] or not len(rows):
        raise ValueError(f"{len(rows)} detector rows do not fit {sinograms.shape[1]} sinograms")
    if not np.isfinite(angles).all():
        raise ValueError(f"{int((~np.isfinite(angles)).sum())} angles are not finite; correct the angles")
    if len(angles) < LEAST_ANGLES or sinograms.shape[-1] < LEAST_COLUMNS:
        raise ValueError(
            f"{len(angles)} angles and {sinograms.shape[-1]} columns: "
            f"finding a centre takes at least {LEAST_ANGLES} angles and {LEAST_COLUMNS} columns"
        )


def find_center(
    sinograms: Array,
    angles: Array,
    rows: Array | None = None,
    *,
    search: tuple[float, float] | None = None,
    disagreement: float = DISAGREEMENT,
    known_tilt: tuple[float, float] | None = None,
) -> CenterEstimate:
    """Find the centre of rotation of a scan.

    Registration of the scan with its mirror image half a turn later decides; where the scan ends at or short of 180
    degrees it uses all angles. The sinogram metric (or, with the axis far off the middle, the correlation of the
    overlap) is the cross-check and is never averaged in.

    Parameters
    ----------
    sinograms : array
        (angle, row, column) line integrals of chosen rows (see `choose_rows`), before stripe removal.
    angles : array
        Radians, in any order, direction or wrap.
    rows : array of int, optional
        Detector row of each sinogram, 0, 1, 2 ... by default.
    search : (float, float), optional
        Columns between which the centre must lie; the whole detector by default.
    disagreement : float
        Difference of the two methods, pixels, from which a warning is given.
    known_tilt : (float, float), optional
        The axis's tilt and its standard error, degrees, where whole projections told them: these few rows tell it
        far less well, and are not asked.

    Returns
    -------
    CenterEstimate

    Raises
    ------
    ValueError
        On bad input, where nothing matches, or where the centre falls outside the detector or the search.
    """
    data = np.asarray(to_host(sinograms), np.float32)
    theta = np.asarray(to_host(angles), np.float64).ravel()
    where = np.arange(data.shape[1]) if rows is None and data.ndim == 3 else np.asarray(rows, np.float64)
    check(data, theta, where)
    with one_thread_each():  # the matrix products are small: threads of BLAS would mostly wait, at full load
        return _find(data, theta, where, search, disagreement, known_tilt)


def _find(
    data: Array,
    theta: Array,
    where: Array,
    search: tuple[float, float] | None,
    disagreement: float,
    known_tilt: tuple[float, float] | None,
) -> CenterEstimate:
    """Find the centre from what was checked; see `find_center`."""
    turns = half_turns(theta)
    data, theta = data[turns.order], theta[turns.order]
    turns = replace(turns, order=np.arange(len(theta)))
    if turns.kind == "short":
        bad = [outlying_columns(row) for row in values_of_rows(data)]
        return from_metric_alone(clean(data, bad), theta, where, search)
    found, table, warnings, rings = register_despite_rings(data, turns, search)
    columns = data.shape[-1]
    half_acquisition = turns.kind == "full" and abs(found.center - (columns - 1) / 2) > columns / 8
    second, curve = cross_check(table, theta, turns, found, half_acquisition, warnings)
    if half_acquisition and abs(found.center - second) > max(disagreement, 3 * found.sigma):
        found = by_values_if_better(found, *facing_pairs(table, turns, PAIRS))
    slope, slope_error, tilted, sigma, row = tilt_of(found, where)
    sigma = float(np.hypot(np.hypot(sigma, rings), error_of_jitter(table, turns, found)))
    apart = abs(found.center - second)
    if apart > max(disagreement, 3 * sigma) and (half_acquisition or is_other(table, theta, found, second, sigma)):
        warnings.append(disagreement_warning(found.center, second))
    tilt_deg, tilt_sigma = known_tilt or (float(np.degrees(np.arctan(slope))), float(np.degrees(slope_error)))
    if tilted and known_tilt is None:
        warnings.append(tilt_warning(slope, slope * float(np.ptp(where))))
    return CenterEstimate(
        center=found.center,
        sigma=sigma,
        agreement=abs(found.center - second),
        method="overlap" if half_acquisition else "registration",
        metric_center=second,
        second_method="none" if np.isnan(second) else "overlap" if half_acquisition else "metric",
        tilt_deg=tilt_deg,
        tilt_sigma=tilt_sigma,
        tilted=tilted,
        row=row,
        side=side_of(found.center, columns) if half_acquisition else "",
        overlap=overlap_of(found.center, columns),
        rows=where,
        row_centers=found.row_center,
        curve=found.curve,
        metric_curve=curve,
        warnings=tuple(warnings),
    )


def disagreement_warning(center: float, second: float) -> str:
    """Say that two methods disagree."""
    return (
        f"the second method puts the centre at {second:.2f}, {abs(center - second):.2f} pixels from the {center:.2f} "
        "that is used; look at both with `xct center`"
    )


def tilt_warning(slope: float, shift: float) -> str:
    """Say that the axis is tilted: the centre's slope with the row, and its move over the rows used, pixels."""
    return (
        f"the rotation axis is tilted by {np.degrees(np.arctan(slope)):.4f} degrees in the detector's plane: "
        f"the centre moves by {shift:.2f} pixels over the rows used"
    )


def cross_check(
    table: Array, angles: Array, turns: HalfTurns, found: PairCenter, half_acquisition: bool, warnings: list[str]
) -> tuple[float, Array]:
    """Centre by the second method (nan where it fails, with a warning) and its curve."""
    if half_acquisition:
        first, second = facing_pairs(table, turns, 32)
        columns = table.shape[-1]
        overlap, _, _ = coarse_center(first.reshape(-1, columns), second.reshape(-1, columns))
        return overlap, np.zeros((2, 0))
    best = np.sort(np.argsort(-found.row_weight, kind="stable")[:METRIC_ROWS])
    try:
        # searched around the middle of the detector on its own, not around the answer
        return center_from_metric(table[:, best], angles)
    except ValueError as error:
        warnings.append(f"no cross-check of the centre: {error}")
        return float("nan"), np.zeros((2, 0))


def is_other(table: Array, angles: Array, found: PairCenter, second: float, sigma: float) -> bool:
    """Tell whether the metric's centre is another one beyond noise: by its scatter, and in how far its rows agree.

    With few counts the lowest metric may lie anywhere: it is lowest for one row and not for the next.
    """
    if abs(found.center - second) <= 4 * np.hypot(sigma, scatter_of_metric(table, angles, found)):
        return False
    best = np.argsort(-found.row_weight, kind="stable")[:METRIC_ROWS]
    excess = np.array([excess_of_metric(table[:, [row]], angles, found.center, second) for row in best])
    error = float(np.std(excess, ddof=1)) / np.sqrt(len(excess)) if len(excess) > 2 else 0.0
    return float(excess.mean()) > EXCESS * error


def scatter_of_metric(table: Array, angles: Array, found: PairCenter) -> float:
    """Standard error of the metric's centre by the scatter between groups of rows; 0 where rows are too few.

    With few counts the metric is several times noisier than the registration, and its difference tells nothing.
    """
    best = np.sort(np.argsort(-found.row_weight, kind="stable")[:METRIC_ROWS])
    groups = min(4, len(best))
    centers = []
    for start in range(groups):
        try:
            centers.append(center_from_metric(table[:, best[start::groups]], angles)[0])
        except ValueError:  # a group without a minimum tells nothing
            continue
    return float(np.std(centers, ddof=1) / np.sqrt(len(centers))) if len(centers) > 2 else 0.0


def tilt_of(found: PairCenter, rows: Array) -> tuple[float, float, bool, float, float]:
    """Slope of the centre with the row, its error, whether it is significant; the centre's sigma and its row."""
    weight = found.row_weight
    row = float((weight * rows).sum() / weight.sum())
    lever = rows - row
    moment = float((weight * lever**2).sum())
    if len(rows) < 4 or moment <= 0:
        return float("nan"), float("nan"), False, found.sigma, row
    offset = found.row_center - found.center
    slope = float((weight * lever * offset).sum() / moment)
    rest = offset - slope * lever
    freedom = len(rows) - 2
    widen = small_sample(freedom)
    scatter = float((weight * rest**2).sum()) / freedom
    error = float(np.sqrt(scatter / moment)) * widen
    tilted = abs(slope) > 4 * error and abs(slope) * float(np.ptp(rows)) > 0.1
    if not tilted:
        return slope, error, False, found.sigma, row
    straight = widen * np.sqrt(scatter / float(weight.sum()))
    return slope, error, True, float(np.hypot(max(straight, found.sigma_of_noise), 0.002)), row


def from_metric_alone(table: Array, angles: Array, rows: Array, search: tuple[float, float] | None) -> CenterEstimate:
    """Centre of a scan too far from half a turn for registration; sigma from the spread over rows."""
    content = row_content(np.ascontiguousarray(table[:: max(1, len(table) // 16)]))
    best = np.sort(np.argsort(-content, kind="stable")[:METRIC_ROWS])
    center, curve = center_from_metric(table[:, best], angles, search=search)
    single = [center_from_metric(table[:, [r]], angles, search=(center - 10, center + 10))[0] for r in best]
    spread = float(np.std(single, ddof=1)) if len(single) > 1 else 1.0
    nan = float("nan")
    warning = (
        f"the angles do not come within {np.degrees(np.pi - half_turns(angles).theta[-1]):.1f} degrees of half a turn: "
        "the centre is from the sinogram metric alone, good to about a pixel; give it where it is known"
    )
    return CenterEstimate(
        center=center,
        sigma=max(0.5, small_sample(max(len(single) - 1, 1)) * spread / np.sqrt(len(single))),
        agreement=nan,
        method="metric",
        metric_center=center,
        second_method="none",
        tilt_deg=nan,
        tilt_sigma=nan,
        tilted=False,
        row=float(np.mean(rows[best])),
        side="",
        overlap=overlap_of(center, table.shape[-1]),
        rows=rows[best],
        row_centers=np.asarray(single),
        curve=curve,
        metric_curve=curve,
        warnings=(warning,),
    )
