"""What averaging intensities takes from the sinograms of each scan at the faces of the ceramic."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from xct_pipeline.boxes import Region
from xct_pipeline.engine.blocks import Array, Reduction, unbound
from xct_pipeline.engine.execution import measure
from xct_pipeline.engine.steps import Steps, path_name
from xct_pipeline.reconstruction.steps.row_sums import Rays
from xct_pipeline.variation import edge_gradient
from xct_pipeline.variation.edge_gradient import Plane
from xct_pipeline.variation.near_face import Missed
from xct_pipeline.variation.steps.grey_scale import blur_of
from xct_pipeline.variation.steps.pairs import Study
from xct_pipeline.variation.steps.series import PREFIX
from xct_pipeline.whole_body import SolidFace

VERSION = 2
PLANNED_ROWS = 32  # of a face, before it is known where it lies
RAY_S = 1e-7  # CPU-seconds per value that is read
FACES = 2  # of the ceramic, at the most
LEAST_COLUMNS = 100  # of a face
SUMS = ("missing", "other", "ramp", "missing_slope", "other_slope")
TINY = 1e-6  # 1/cm


class FittedFace(NamedTuple):
    """A face of the ceramic.

    Attributes
    ----------
    plane : Plane
    rough : float
        Root mean square by which the face deviates from it, voxels.
    dense_below : bool
    width : float
        Diameter of a disc of its area, voxels.
    step : float
        Of attenuation across it in the reference, 1/cm.
    spread : numpy.ndarray
        Covariance of the places (y, x) of its area, voxels squared.
    """

    plane: Plane
    rough: float
    dense_below: bool
    width: float
    step: float
    spread: Array


@dataclass(frozen=True)
class SeenFace:
    """A face as one scan sees it.

    Attributes
    ----------
    face : FittedFace
        In the scan's own frame.
    reach : float
        Rows on either side that it is seen in.
    rows : slice
        Detector rows that are read.
    """

    face: FittedFace
    reach: float
    rows: slice


@dataclass(frozen=True)
class Edges:
    """What one scan misses at the faces of the ceramic, and how they lie.

    Attributes
    ----------
    faces : tuple of SeenFace
        The one beside the body first.
    angles : numpy.ndarray
        Radians.
    missing, other, ramp, missing_slope, other_slope : numpy.ndarray
        (face, angle), see `edge_gradient.missing`.
    """

    faces: tuple[SeenFace, ...]
    angles: Array
    missing: Array
    other: Array
    ramp: Array
    missing_slope: Array
    other_slope: Array

    def missed(self, face: int, voxel_cm: float, shares: Array) -> Missed:
        """Return what is missed at a face, 1/cm times voxels, in a sum that angles have those `shares` of."""
        seen, ramp = self.faces[face].face, self.ramp[face] * shares
        rises = self.missing_slope[face], self.other_slope[face]
        slopes, sigma = edge_gradient.slopes_of_face(*rises, self.angles, seen.spread)
        plane = seen.plane._replace(slope_y=slopes[0], slope_x=slopes[1])
        per_step = 1 / (max(seen.step, TINY) * voxel_cm) / voxel_cm
        return Missed(
            self.missing[face] * shares / voxel_cm,
            plane.along(self.angles) * ramp * per_step,
            float((self.other[face] * shares).mean()) / voxel_cm,
            float(ramp.mean()) * 2 / math.pi * per_step * sigma,
            seen.rough,
        )


def edges_step(study: Study, scan: int, planes: Sequence[FittedFace] | None) -> Reduction | None:
    """Return the step that looks at the faces in a scan's sinograms; None where there are none to look at.

    `planes` are those of the reference; None before they are known.
    """
    series = study.series
    rays = series.rays[scan] if series.rays else None
    if rays is None or scan in series.failed or rays.geometry.side is not None or study.second is not None:
        return None
    geometry = rays.geometry
    faces = () if planes is None else seen_faces(study, scan, rays, planes)
    if planes is not None and not faces:
        return None
    planned = [slice(rays.first_row, rays.first_row + min(PLANNED_ROWS, rays.rows))] * FACES
    return Reduction(
        f"{PREFIX}edges/{path_name(series.names[scan])}",
        VERSION,
        unbound if planes is None else partial(_look, rays=rays, faces=faces),
        _joined,
        {"faces": [[list(f.face.plane), f.face.dense_below, f.reach] for f in faces]},
        source=rays.integrals,
        regions=[rays.region(rows) for rows in (planned if planes is None else [f.rows for f in faces])],
        inputs={} if planes is None else {"rays": rays.identity},
        scratch=1.5,
        cpu_s=FACES * PLANNED_ROWS * len(geometry.angles) * geometry.columns * RAY_S,
    )


def edges_of_series(study: Study, planes: Sequence[FittedFace], steps: Steps | None) -> dict[int, Edges]:
    """Return what each scan misses, of scans whose sinograms show all faces of the ceramic beside a whole body."""
    found, left = {}, []
    for k in range(len(study.series.names)):
        step, planned = edges_step(study, k, planes), edges_step(study, k, None)
        if step is None:
            left += [] if planned is None else [planned.name]
            continue
        rays = study.series.rays[k]
        assert rays is not None
        values = measure(study.store, step, study.limits, steps)
        faces, angles = seen_faces(study, k, rays, planes), np.asarray(rays.geometry.angles)
        found[k] = Edges(faces, angles, *(values[name] for name in SUMS))
    if steps is not None:
        steps.leave_out([name for name in left if name in steps])
    return found


def fitted_faces(study: Study, sums: Sequence[Mapping[str, Array]]) -> list[FittedFace]:
    """Return the faces of the ceramic in the reference; none where one of them cannot be told.

    `sums` are those of the reference over the layers about each face, per column.
    """
    body = study.region.body
    assert body is not None
    middle, found = (study.series.frame[1] - 1) / 2, []
    for face, zone in zip(body.faces, sums, strict=True):
        heights = heights_of(face, zone)
        there = np.isfinite(heights)
        if there.sum() < LEAST_COLUMNS:
            return []
        plane, rough = edge_gradient.fit_plane(
            heights, middle, _on_voxels(face.beside, 1 << face.zone.level, heights.shape)
        )
        width = 2 * math.sqrt(float(there.sum()) / math.pi)
        spread = np.cov(np.argwhere(there).T.astype(np.float64))
        found.append(FittedFace(plane, rough, face.dense_below, width, step_of(zone, there), spread))
    return found


def heights_of(face: SolidFace, sums: Mapping[str, Array]) -> Array:
    """Return the height (y, x) of a face, between planes by the sum over the layers about it; NaN off the face.

    Where more of the layers of a column is dense, the face lies higher by that over the step; its mean is the labels'.
    """
    edge, count = 1 << face.zone.level, sums["count"]
    labelled = _on_voxels(face.heights, edge, count.shape)
    known = np.isfinite(labelled) & (count == count.max())
    if not known.any():
        return np.full(count.shape, np.nan)
    dense, step = sums["fixed"], step_of(sums, known)
    ends = _on_voxels(
        np.asarray(face.zone.first if face.dense_below else face.zone.stop, np.float64), edge, count.shape
    )
    heights = np.where(known, ends + (1 if face.dense_below else -1) * dense / max(step, TINY), np.nan)
    return np.asarray(heights + float((labelled - heights)[known].mean()))


def step_of(sums: Mapping[str, Array], columns: Array) -> float:
    """Return the step of attenuation across a face, 1/cm: what a shift by a voxel changes in columns of its layers."""
    return abs(float(np.median(sums["motions"][0][columns])))


def _on_voxels(pixels: Array, edge: int, shape: tuple[int, ...]) -> Array:
    """Return a map of a level on full-size columns, NaN beyond."""
    whole = np.full(shape, np.nan)
    wide = pixels.repeat(edge, axis=0).repeat(edge, axis=1)[: shape[0], : shape[1]]
    whole[: wide.shape[0], : wide.shape[1]] = wide
    return whole


def seen_faces(study: Study, scan: int, rays: Rays, planes: Sequence[FittedFace]) -> tuple[SeenFace, ...]:
    """Return the faces of the ceramic as a scan sees them; none where the detector does not show both sides of one."""
    series, geometry = study.series, rays.geometry
    middle, own = (series.frame[1] - 1) / 2, (geometry.size - 1) / 2
    u = np.arange(geometry.columns, dtype=np.float64) - geometry.axis.column
    angles, blur = np.asarray(geometry.angles, np.float64), blur_of(study.config)
    found = []
    for face in planes:
        plane = face.plane.moved(series.motions[scan].transform, middle, own)
        plane = plane._replace(height=plane.height + rays.first_row)
        reach = edge_gradient.reach_of(blur, math.hypot(plane.slope_y, plane.slope_x) * face.width)
        first, stop = edge_gradient.rows_about(plane, angles, u, reach)
        if first < rays.first_row or stop > rays.first_row + rays.rows:
            return ()
        turn = np.asarray(series.motions[scan].transform)[1:, 1:3]
        turned = face._replace(plane=plane, spread=turn @ face.spread @ turn.T)
        found.append(SeenFace(turned, reach, slice(first, stop)))
    return tuple(found)


def _look(block: Array, region: Region, *, rays: Rays, faces: tuple[SeenFace, ...]) -> dict[str, Array]:
    geometry, rows = rays.geometry, region[1]
    face, reach = next((f.face, f.reach) for f in faces if f.rows == rows)
    u = np.arange(geometry.columns, dtype=np.float64) - geometry.axis.column
    height = face.plane.across(np.asarray(geometry.angles, np.float64), u)
    return edge_gradient.missing(block, rows.start, height, face.dense_below, reach)


def _joined(parts: list[dict[str, Array]]) -> dict[str, Array]:
    return {name: np.stack([part[name] for part in parts]) for name in parts[0]}
