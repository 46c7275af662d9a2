"""The change of mass of each scan by least squares on its sinograms, slab by slab of detector rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from xct_pipeline.boxes import Region
from xct_pipeline.engine.blocks import Array, Reduction
from xct_pipeline.engine.execution import image_identity, measure
from xct_pipeline.engine.steps import Steps, path_name
from xct_pipeline.reconstruction.projector import project_slices
from xct_pipeline.reconstruction.steps.row_sums import Rays
from xct_pipeline.region import RegionMask
from xct_pipeline.registration import transform as tf
from xct_pipeline.registration import warp
from xct_pipeline.store.stored_array import StoredArray
from xct_pipeline.variation import projection_fit
from xct_pipeline.variation.steps.pairs import Study
from xct_pipeline.variation.steps.series import PREFIX

VERSION = 1
ROWS = 8  # detector rows of a slab, which are averaged: what is fitted changes little over them
BINS = 24  # unknowns of a slab, about
LEAST_EDGE = 4  # pixels along a bin
RAY_S, VOXEL_S = 4e-8, 1e-7  # CPU-seconds per bin and ray, and per voxel that is moved
SAME_ANGLE = 1e-4  # radian


@dataclass(frozen=True)
class PairOfRays:
    """Reads the sinograms of a scan and of the reference, averaged over the rows of a slab; (z,) of the reference.

    Attributes
    ----------
    moving, fixed : Rays
    places : numpy.ndarray
        Row of the moving scan's volume in which each row of the reference is seen.
    """

    moving: Rays
    fixed: Rays
    places: Array

    def read(self, region: Region) -> Array:
        """Return (2, angle, column): the moving scan, between its rows, and the reference."""
        at, rows = self.places[region[0]], self._rows(region)
        first = rows.start - self.moving.first_row
        weights = np.zeros(rows.stop - rows.start)
        for place in at - first:
            low = min(math.floor(place), len(weights) - 1)
            weights[low] += 1 - (place - low)
            weights[min(low + 1, len(weights) - 1)] += place - low
        there = self.moving.integrals.read(self.moving.region(rows))
        here = self.fixed.integrals.read(self.fixed.region(self._fixed(region)))
        mean = np.tensordot(there, weights / len(at), axes=(1, 0))
        return np.stack([mean, here.mean(axis=1, dtype=np.float64)]).astype(np.float32)

    def nbytes(self, region: Region) -> int:
        """Return the bytes of both blocks of sinograms."""
        parts = ((self.moving, self._rows(region)), (self.fixed, self._fixed(region)))
        return sum(rays.integrals.nbytes(rays.region(rows)) for rays, rows in parts)

    def _fixed(self, region: Region) -> slice:
        return slice(region[0].start + self.fixed.first_row, region[0].stop + self.fixed.first_row)

    def _rows(self, region: Region) -> slice:
        """Return the detector rows of the moving scan that a slab needs."""
        at = self.places[region[0]]
        last = self.moving.first_row + self.moving.rows
        low = self.moving.first_row + max(0, math.floor(at.min()))
        return slice(min(low, last - 1), min(last, self.moving.first_row + math.ceil(at.max()) + 1))


@dataclass(frozen=True)
class Slab:
    """Fits slabs: the reference and the region are brought to the pose of the moving scan and projected there.

    Attributes
    ----------
    moving, fixed : Rays
    places : numpy.ndarray
        See `PairOfRays`.
    folder : str
        Of the reference's volume.
    mask : RegionMask
    inverse : numpy.ndarray
        3 x 4, voxels of the moving scan's volume to voxels of the reference.
    edge_cm : float
        Of a voxel.
    """

    moving: Rays
    fixed: Rays
    places: Array
    folder: str
    mask: RegionMask
    inverse: Array
    edge_cm: float

    def fit(self, block: Array, region: Region) -> dict[str, Array]:
        """Return the change of the slab, 1/cm times voxels, its error, and what was fitted along."""
        z = region[0]
        still = np.asarray(StoredArray(self.folder)[z.start : z.stop], np.float32).mean(axis=0)
        moved, cover = self._moved(z)
        bins = projection_fit.bins_of(np.where(cover > 0.02, cover, 0), bin_edge(float(cover.sum())))
        if len(bins) == 0:
            return _result(0.0, 0.0, 0, math.nan, math.nan)
        rays, angles = self.moving, self.moving.geometry.angles
        center, columns = rays.geometry.axis.column, rays.geometry.columns
        there = project_slices(_line_integrals(moved, self.edge_cm), angles, center=center, columns=columns)[0]
        own = self.fixed.geometry.axis.column
        here = project_slices(_line_integrals(still, self.edge_cm), angles, center=own, columns=columns)[0]
        projector = partial(project_slices, center=center, columns=columns)
        found = projection_fit.fit_bins(block[0] - block[1] - (there - here), there, bins, angles, projector)
        total, sigma = found.total(bins.sum(axis=(1, 2), dtype=np.float64))
        scale = (z.stop - z.start) / self.edge_cm
        return _result(total * scale, sigma * scale, len(bins), found.spread, found.column)

    def _moved(self, z: slice) -> tuple[Array, Array]:
        """Return the mean over a slab of the reference and of the region, in the pose of the moving scan."""
        middle = (z.start + z.stop - 1) / 2
        shift = float(np.interp(middle, np.arange(len(self.places)), self.places)) - middle
        transform = tf.compose(self.inverse, tf.translation((shift, 0.0, 0.0)))
        size, frame = self.moving.geometry.size, self.mask.frame
        box = (z, slice(0, size), slice(0, size))
        needed = warp.required_input_box(box, transform, frame)
        if needed is None:
            return np.zeros((size, size), np.float32), np.zeros((size, size), np.float32)
        origin = [part.start for part in needed]
        volume = np.asarray(StoredArray(self.folder)[needed], np.float32)
        moved = warp.warp_block(volume, transform, box, shape=frame, origin=origin)
        inside = self.mask.box(needed).astype(np.float32)
        cover = warp.warp_block(inside, transform, box, shape=frame, origin=origin, order="linear")
        return np.nan_to_num(moved).mean(axis=0), np.nan_to_num(cover).mean(axis=0)


def _line_integrals(plane: Array, edge_cm: float) -> npt.NDArray[np.float32]:
    return np.asarray(plane[None] * edge_cm, np.float32)


def bin_edge(area: float) -> int:
    """Return the pixels along a bin that make about `BINS` of a region of some pixels."""
    return max(LEAST_EDGE, math.ceil(math.sqrt(area / BINS)))


def _result(total: float, sigma: float, bins: int, spread: float, column: float) -> dict[str, Array]:
    values = {"total": total, "variance": sigma**2, "bins": bins, "spread": spread, "column": column}
    return {name: np.array([value], np.float64) for name, value in values.items()}


def _joined(parts: list[dict[str, Array]]) -> dict[str, Array]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def check_rays(names: Sequence[str], angles: Sequence[Array | None], reference: int) -> None:
    """Raise ValueError where the sinograms of two scans cannot be subtracted: their angles differ."""
    fixed = angles[reference]
    for name, own in zip(names, angles, strict=True):
        if own is None or fixed is None:
            continue
        if own.shape != fixed.shape or not np.allclose(own, fixed, atol=SAME_ANGLE):
            raise ValueError(
                f'variation.estimator = "projections": {name} has other angles than {names[reference]} '
                f'({len(own)} and {len(fixed)} projections); give estimator = "volume"'
            )


def projections_step(study: Study, scan: int, known: bool = True) -> Reduction | None:
    """Return the step that fits a scan's change against the reference; None for the reference, or without rays."""
    series, rays = study.series, study.series.rays
    if scan in (series.reference, *series.failed) or not rays:
        return None
    moving, fixed = rays[scan], rays[series.reference]
    if moving is None or fixed is None:
        return None
    name = f"{PREFIX}projections/{path_name(series.names[scan])}"
    assert study.settings.region is not None
    motion, mask = series.motions[scan], study.region if known else RegionMask(study.settings.region, series.frame)
    middle, planes = [(n - 1) / 2 for n in series.frame[1:]], mask.planes()
    places = np.array([motion.transform[0] @ [z, *middle, 1.0] for z in range(series.frame[0])])
    slabs = [(slice(z, min(z + ROWS, planes.stop)),) for z in range(planes.start, planes.stop, ROWS)]
    folder = str(study.store.path.resolve() / series.volume.path / "0")
    slab = Slab(moving, fixed, places, folder, mask, tf.invert(motion.transform), study.voxel_um * 1e-4)
    geometry = moving.geometry
    voxels, seen = 2 * 2 * ROWS * geometry.size**2, len(geometry.angles) * geometry.columns
    return Reduction(
        name,
        VERSION,
        partial(_fit, slab=slab),
        _joined,
        source=PairOfRays(moving, fixed, places),
        regions=slabs,
        inputs=_inputs(study, moving, fixed, motion.transform, mask) if known else {},
        scratch=2.0,
        cpu_s=len(slabs) * (voxels * VOXEL_S + seen * (BINS + projection_fit.BEAM) * RAY_S),
    )


def _fit(block: Array, region: Region, *, slab: Slab) -> dict[str, Array]:
    return slab.fit(block, region)


def _inputs(study: Study, moving: Rays, fixed: Rays, transform: Array, mask: RegionMask) -> Mapping[str, object]:
    return {
        "moving": moving.identity,
        "fixed": fixed.identity,
        "volume": image_identity(study.store, study.series.volume.path),
        "transform": transform,
        "region": mask.identity_of(),
        "voxel_um": study.voxel_um,
    }


def projection_routes(study: Study, steps: Steps | None) -> dict[int, tuple[float, float]]:
    """Return the change of attenuation (1/cm times voxels) of each scan and its error, where projections are fitted."""
    if study.settings.estimator != "projections":
        return {}
    series = study.series
    if not any(series.rays):
        raise ValueError('variation.estimator = "projections": there are no projections; give estimator = "volume"')
    if any(rays.geometry.side for rays in series.rays if rays is not None):
        raise ValueError('variation.estimator = "projections": not for half acquisition; give estimator = "volume"')
    angles = [None if rays is None else rays.geometry.angles for rays in series.rays]
    check_rays(series.names, angles, series.reference)
    found = {}
    for k in range(len(study.series.names)):
        step = projections_step(study, k)
        if step is not None:
            sums = measure(study.store, step, study.limits, steps)
            found[k] = float(sums["total"].sum()), math.sqrt(float(sums["variance"].sum()))
    return found
