"""The dark level of each scan against the reference: from what the store keeps of their sinograms, a step for each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

from xct_pipeline.engine.blocks import Array
from xct_pipeline.engine.execution import estimated, image_identity, load_kept
from xct_pipeline.engine.resources import Need, Resources
from xct_pipeline.engine.scheduling import call_each
from xct_pipeline.engine.steps import Estimate, Steps, needs_of, of_each, path_name
from xct_pipeline.reconstruction.coarse_rays import factor_of
from xct_pipeline.reconstruction.projector import project_slices
from xct_pipeline.region import RegionMask
from xct_pipeline.registration import transform as tf
from xct_pipeline.registration import warp
from xct_pipeline.registration.steps.stage import PATH
from xct_pipeline.store.store import Store
from xct_pipeline.store.stored_array import StoredArray
from xct_pipeline.variation.dark_level import NOTHING, DarkLevel, dark_level
from xct_pipeline.variation.steps.series import PREFIX, VERSION, Materials, RegisteredSeries

MARGIN = 3  # pixels (of those that are kept) between rows that are looked at and faces of the material or the region
FULL = 0.5  # share of the fullest plane that a plane of the material holds
SMOOTH = 0.8  # pixels: so smooth a volume moves without a loss that depends on where voxels fall
SAME_ANGLE = 1e-4  # radian
SURE = 3.0  # standard errors from which on a level is told
BYTES, SECONDS = 400, 3e-6  # per voxel of the level of the pyramid

Kept = Mapping[str, Array]


def dark_level_steps(series: RegisteredSeries) -> list[Estimate]:
    """Return the steps that compare the dark level of each scan with the reference's."""
    moved = [k for k in series.good if k != series.reference]
    return of_each([_step(series, k, {}) for k in moved], len(moved))


def _step(series: RegisteredSeries, scan: int, inputs: Mapping[str, Any]) -> Estimate:
    voxels = math.prod(n // factor_of(series.frame[2]) for n in series.frame)
    need = Need("", 1, BYTES * voxels, alone=True, cpu_s=SECONDS * voxels)
    return Estimate(f"{PREFIX}dark_level/{path_name(series.names[scan])}", VERSION, need, inputs)


def dark_levels(
    series: RegisteredSeries,
    store: Store,
    region: RegionMask,
    materials: Materials,
    uniform: int,
    limits: Resources,
    steps: Steps | None = None,
) -> tuple[DarkLevel | None, ...]:
    """Compare the dark level of all scans with the reference's; None where it is not known."""
    reference = _kept(series, store, series.reference)
    kept = {k: _kept(series, store, k) for k in series.good if k != series.reference and reference is not None}
    known = [k for k, sums in kept.items() if sums is not None]

    def compare(k: int, _: Resources) -> DarkLevel | None:
        sums = kept[k]
        assert sums is not None
        assert reference is not None
        return _of_scan(series, store, k, region, materials, uniform, (sums, reference), steps)

    found = dict(zip(known, call_each(compare, known, needs_of(dark_level_steps(series), steps), limits), strict=True))
    if steps is not None:
        names = [
            _step(series, k, {}).name for k in range(len(series.names)) if k != series.reference and k not in known
        ]
        steps.leave_out([name for name in names if name in steps])
    if reference is not None:
        found[series.reference] = NOTHING
    return tuple(found.get(k) for k in range(len(series.names)))


def _kept(series: RegisteredSeries, store: Store, scan: int) -> Kept | None:
    digest = series.row_sums[scan] if scan < len(series.row_sums) else None
    return None if digest is None else load_kept(store, f"{series.names[scan]}/row_sums", digest)


def _of_scan(
    series: RegisteredSeries,
    store: Store,
    scan: int,
    region: RegionMask,
    materials: Materials,
    uniform: int,
    kept: tuple[Kept, Kept],
    steps: Steps | None,
) -> DarkLevel | None:
    motion = series.motions[scan].transform
    inputs = {
        "registered": image_identity(store, PATH),
        "labels": materials.identity,
        "region": region.identity_of(),
        "scans": [series.row_sums[scan], series.row_sums[series.reference]],
        "uniform": uniform,
        "transform": np.round(motion, 4),
    }

    def search() -> dict[str, Array]:
        level = int(math.log2(factor_of(series.frame[2])))
        if not (store.path / PATH / str(level)).is_dir():
            return {"problem": np.array("the volume has too few rows for a level of the pyramid as coarse as that")}
        volume = np.asarray(StoredArray(store.path / PATH / str(level))[series.reference], np.float32)
        labels = np.asarray(StoredArray(f"{materials.folder}/{level}")[series.reference])
        planes = unchanging_planes(labels == uniform, region.planes(), 2**level)
        try:
            found = compared(np.nan_to_num(volume), motion, planes, kept, series.volume.voxel_um or 1.0, series.frame)
        except ValueError as error:
            return {"problem": np.array(str(error))}
        return {"found": np.array(found)}

    values = estimated(store, _step(series, scan, inputs), search, steps)
    return None if "found" not in values else DarkLevel(*(float(v) for v in values["found"]))


def unchanging_planes(uniform: npt.NDArray[np.bool_], region: range, scale: int) -> npt.NDArray[np.bool_]:
    """Return which planes of a level hold the uniform material and lie off its faces and off the region."""
    count = uniform.sum(axis=(1, 2))
    full = count >= FULL * max(int(count.max(initial=0)), 1)
    inner = scipy.ndimage.binary_erosion(full, iterations=MARGIN - 1)
    z = np.arange(len(count))
    return np.asarray(inner & ((z + MARGIN < region.start / scale) | (z - MARGIN > region.stop / scale)))


def compared(
    volume: Array,
    motion: Array,
    planes: npt.NDArray[np.bool_],
    kept: tuple[Kept, Kept],
    voxel_um: float,
    frame: Sequence[int],
) -> DarkLevel:
    """Compare the sinograms of two scans, the reference's volume being seen in the pose of both.

    Parameters
    ----------
    volume : (z, y, x) float32
        Of the reference, 1/cm, as large as the kept sinograms have columns.
    motion : 3 x 4
        Voxels of the reference to those of the moving scan, at full size.
    planes : (z,)
        Those of the volume in which a dense material does not change.
    kept : (moving, reference)
        See `row_sums_step`.
    voxel_um : float
    frame : (z, y, x)
        Of the volume at full size.

    Raises
    ------
    ValueError
        Sinograms that cannot be compared, or that tell too little.
    """
    moving, fixed = kept
    factor = factor_of(frame[2])
    if not (len(moving["coarse"]) and len(fixed["coarse"])) or int(moving["columns"]) != int(fixed["columns"]):
        raise ValueError("a half acquisition, or another detector")
    if factor_of(int(moving["columns"])) != factor:
        raise ValueError("volumes of another width than the detector's")
    angles = moving["coarse_angles"]
    if angles.shape != fixed["coarse_angles"].shape or not np.allclose(angles, fixed["coarse_angles"], atol=SAME_ANGLE):
        raise ValueError("other angles than the reference's")
    volume = scipy.ndimage.gaussian_filter(volume, SMOOTH)
    inverse, scale = tf.to_level(tf.invert(motion), factor), voxel_um * factor * 1e-4
    there = _projected(volume, inverse, moving, factor, frame, scale)
    here = _projected(volume, tf.identity(), fixed, factor, frame, scale)
    middle = [(n - 1) / 2 for n in volume.shape[1:]]
    rows = np.array([inverse[0] @ [(row - (factor - 1) / 2) / factor, *middle, 1.0] for row in moving["coarse_rows"]])
    own = (fixed["coarse_rows"] - (factor - 1) / 2) / factor
    rest = _smoothed(fixed) - here
    at = np.interp(rows, own, np.arange(len(own)))
    difference = _smoothed(moving) - there - _at_rows(rest, at)
    seen = planes[np.clip(np.round(rows).astype(int), 0, len(planes) - 1)] & (rows >= own[0]) & (rows <= own[-1])
    seen &= ~_truncated(moving) & ~_truncated(fixed)[np.clip(np.round(at).astype(int), 0, len(own) - 1)]
    if not seen.any():
        raise ValueError("no detector row holds the uniform material and nothing of the region")
    chosen = _longest(seen)
    return dark_level(difference, there, angles, chosen)


def _smoothed(kept: Kept) -> npt.NDArray[np.float64]:
    """Return sinograms of the volume smoothed by `SMOOTH`: a projection of that is the projection smoothed."""
    lines = np.asarray(kept["coarse"], np.float64)
    return np.asarray(scipy.ndimage.gaussian_filter(lines, (SMOOTH, 0.0, SMOOTH), mode="nearest"))


def _projected(
    volume: Array, transform: Array, kept: Kept, factor: int, frame: Sequence[int], scale: float
) -> npt.NDArray[np.float64]:
    """Return what the kept sinograms (row, angle, column) of a scan would be of a volume brought to its pose."""
    columns, z = kept["coarse"].shape[2], volume.shape[0]
    # the projector takes the axis to be in the middle of the slice that it is given
    off = [((n - 1) / 2 - (factor - 1) / 2) / factor - (columns - 1) / 2 for n in frame[1:]]
    placed = tf.compose(transform, tf.translation((0.0, *off)))
    box = (slice(0, z), slice(0, columns), slice(0, columns))
    moved = np.nan_to_num(np.asarray(warp.warp_block(volume, placed, box, shape=volume.shape)))
    center = (float(kept["center"]) - (factor - 1) / 2) / factor
    lines = project_slices(moved * np.float32(scale), kept["coarse_angles"], center=center, columns=columns)
    at = np.clip((kept["coarse_rows"] - (factor - 1) / 2) / factor, 0, z - 1)
    return _at_rows(lines, at)


def _at_rows(lines: Array, at: Array) -> npt.NDArray[np.float64]:
    """Return sinograms (row, angle, column) at places between their rows."""
    low = np.clip(np.floor(at).astype(int), 0, max(len(lines) - 2, 0))
    part = (at - low)[:, None, None]
    return np.asarray(lines[low] * (1 - part) + lines[np.minimum(low + 1, len(lines) - 1)] * part, np.float64)


def _truncated(kept: Kept) -> npt.NDArray[np.bool_]:
    """Tell in which of the kept rows the sample reaches beyond the detector."""
    rows = np.asarray(kept["coarse_rows"])
    half = (rows[1] - rows[0]) / 2 if len(rows) > 1 else 0.5
    flags = np.asarray(kept["truncated"], bool)
    return np.array([bool(flags[max(0, math.ceil(row - half)) : math.floor(row + half) + 1].any()) for row in rows])


def _longest(seen: npt.NDArray[np.bool_]) -> slice:
    """Return the longest run of rows."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], seen.astype(int), [0]])))
    runs = edges.reshape(-1, 2)
    first, stop = runs[np.argmax(runs[:, 1] - runs[:, 0])]
    return slice(int(first), int(stop))


def warnings_of(names: Sequence[str], found: Sequence[DarkLevel | None], effects: Sequence[float]) -> list[str]:
    """Say in which scan the dark level differs most, and what that does to its mass.

    Parameters
    ----------
    effects : (scan,)
        By how many mg the mass of each scan is off; NaN where that is not known.
    """
    told = [
        (abs(dark.level) / dark.sigma, name, dark, effect)
        for name, dark, effect in zip(names, found, effects, strict=True)
        if dark is not None and abs(dark.level) > SURE * dark.sigma > 0
    ]
    if not told:
        return []
    _, name, dark, effect = max(told, key=lambda entry: entry[0])
    known = [one for one in found if one is not None and one is not NOTHING]
    mass = f", which puts its mass off by {effect:+.2g} mg" if math.isfinite(effect) else ""
    return [
        f"{name}: the dark level is {dark.level:+.2%} +- {dark.sigma:.2%} of the light off that of the reference "
        f"({len(told)} of {len(known)} scans){mass}: darks that no longer fit (an afterglow, a camera that warmed up), "
        "or another energy of the beam; part of sigma_calibration_mg, see tables/grey_scale.csv"
    ]
