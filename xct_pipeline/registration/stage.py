"""Volumes in time to one frame: the motion and grey scale of each scan, and the pass that resamples all of them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import zarr

from xct_pipeline.blocks import Array, BlockOp, Pass, Region, size_of
from xct_pipeline.config import LocalDisplacement, MaskSettings, Registration
from xct_pipeline.execution import (
    PassResult,
    Progress,
    image_identity,
    load_estimate,
    release_memory,
    run_passes,
    save_estimate,
    silent,
)
from xct_pipeline.registration import calibration, local, masks, warp
from xct_pipeline.registration import transform as tf
from xct_pipeline.registration.levels import Level, RegistrationError
from xct_pipeline.registration.rigid import register
from xct_pipeline.resources import Resources, fitting_workers
from xct_pipeline.store import CHUNK, Image, Store, level_count, read_attributes

log = logging.getLogger("xct")

VERSION = 1
FINEST_VOXELS = 48_000_000  # levels of more voxels are not matched on: their grain adds cost, not accuracy
MATCHING_COPIES = 10  # of a matched level; 9.2 measured at 4 x 640^3, while gas is looked for in one of two volumes
GRANULE = (64, 256, 256)
SHARD_COPIES = 3.4  # a shard, its pyramid and its encoded chunks, while it is being written
PATH = "registered"


@dataclass(frozen=True)
class Volume:
    """A scan's volume in the store."""

    name: str
    path: str
    shape: tuple[int, int, int]
    levels: int
    voxel_um: float | None
    unit: str
    identity: str

    def array(self, store: Store, level: int = 0) -> Any:
        """Open one level."""
        return zarr.open_array(str(store.path / self.path / str(level)), mode="r")


@dataclass(frozen=True)
class Motion:
    """How one scan lies to the reference, and its grey scale.

    Attributes
    ----------
    transform : numpy.ndarray
        3 x 4, voxels (z, y, x) of the reference volume to voxels of the scan's own.
    gain, offset : float
        Applied: mu_reference = gain * mu + offset (1/cm).
    """

    name: str
    transform: Array
    gain: float = 1.0
    offset: float = 0.0
    gain_sigma: float = 0.0
    offset_sigma: float = 0.0
    residual: float = 0.0
    tre_self: float = 0.0
    iterations: int = 0
    check: float = np.nan
    check_sigma: float = np.nan
    kept: float = 1.0
    variance_factor: float = 1.0
    warnings: tuple[str, ...] = ()
    problem: str | None = None


def find_volume(store: Store, name: str) -> Volume:
    """Return a scan's finished volume."""
    path = f"scans/{name}/volume"
    xct = read_attributes(store.path / path).get("xct", {})
    if "identity" not in xct:
        raise RegistrationError(f"{name}: {store.path / path} is not there; run the reconstruction first")
    identity = xct["identity"]
    shape = tuple(identity["shape"])
    return Volume(name, path, shape, xct["layout"][1], identity["voxel_um"], xct["unit"], image_identity(store, path))


def reference_index(settings: Registration, names: Sequence[str]) -> int:
    """Return the position of the reference scan.

    Raises
    ------
    RegistrationError
        It is not in the series.
    """
    chosen = settings.reference
    if isinstance(chosen, str):
        if chosen not in names:
            raise RegistrationError(f"registration.reference = {chosen!r} is no scan; there are {', '.join(names)}")
        return list(names).index(chosen)
    if chosen >= len(names):
        raise RegistrationError(f"registration.reference = {chosen} but there are {len(names)} scans, counted from 0")
    return chosen


# ------------------------------------------------------------------------------------------------- motions


def estimate_motion(
    settings: Registration, reference: Volume, moving: Volume, store: Store, limits: Resources
) -> Motion:
    """Find a scan's motion against the reference and its grey scale; cached in the store.

    Raises
    ------
    RegistrationError
        Volumes that do not fit together, an unusable mask, no convergence; the message names the scan.
    """
    if reference.name == moving.name:
        return Motion(moving.name, tf.identity())
    key = {
        "version": VERSION, "settings": settings.model_dump(mode="json", exclude={"order", "local"}),
        "reference": reference.identity, "moving": moving.identity,
    }  # fmt: skip
    cached = load_estimate(store, f"{moving.name}/motion", key)
    if cached is None:
        try:
            cached = _register(settings, reference, moving, store, limits)
        except ValueError as error:
            raise RegistrationError(f"{moving.name}: {error}") from None
        save_estimate(store, f"{moving.name}/motion", key, cached)
        release_memory()
    values: dict[str, Any] = {name: a.item() if a.ndim == 0 else a for name, a in cached.items()}
    factor = warp.mean_variance_factor(values["transform"], reference.shape, settings.order)
    return Motion(
        moving.name, **{**values, "warnings": tuple(str(w) for w in cached["warnings"])}, variance_factor=factor
    )


def _register(
    settings: Registration, reference: Volume, moving: Volume, store: Store, limits: Resources
) -> dict[str, Array]:
    _require_alike(reference, moving)
    fitting_workers(matching_bytes(reference.shape, reference.levels), 1, limits, "registration")
    with ThreadPoolExecutor(limits.workers) as pool:
        found = register(
            _levels(settings, reference, moving, store), model=settings.method, smoothing=settings.smoothing,
            max_shift=settings.max_shift, max_rotation=settings.max_rotation, memory=0.3 * limits.memory,
            parallel_map=pool.map,
        )  # fmt: skip
    grey = _grey_scale(settings, found, reference, moving, store)
    return {
        "transform": found.transform, "residual": np.array(found.residual), "tre_self": np.array(found.tre_self),
        "iterations": np.array(found.iterations), "kept": np.array(found.kept), **grey,
    }  # fmt: skip


def _require_alike(reference: Volume, moving: Volume) -> None:
    for what, a, b in (
        ("shape", reference.shape, moving.shape),
        ("voxel size", reference.voxel_um, moving.voxel_um),
        ("unit", reference.unit, moving.unit),
    ):
        if a != b:
            raise RegistrationError(f"its {what} is {b} but that of the reference {reference.name} is {a}")


def finest_level(volume: Volume) -> int:
    """Return the finest pyramid level that is matched on."""
    return _matched_level(volume.shape, volume.levels)


def _matched_level(shape: Sequence[int], levels: int) -> int:
    level = 0
    while np.prod([n >> level for n in shape]) > FINEST_VOXELS and level < levels - 1:
        level += 1
    return level


def matching_bytes(shape: Sequence[int], levels: int) -> int:
    """Return the memory that finding one scan's motion and grey scale takes, whatever the number of scans.

    Both volumes of the finest matched level, smoothed or resampled, and what finding the gas in one of them takes.
    """
    level = _matched_level(shape, levels)
    return int(MATCHING_COPIES * 4 * np.prod([n >> level for n in shape]))


def _levels(settings: Registration, reference: Volume, moving: Volume, store: Store) -> Iterator[Level]:
    finest = finest_level(reference)
    for level in reversed(range(finest, min(reference.levels, finest + 4))):
        fixed = reference.array(store, level)
        if min(fixed.shape) < 8 and level > finest:
            continue
        mask = None if settings.mask == "auto" else Mask(settings.mask, fixed, level, store)
        yield Level(fixed, moving.array(store, level), mask, float(2**level))


class Mask:
    """The mask of one pyramid level, computed by slabs when it is read: ``mask[z0:z1]``."""

    def __init__(self, settings: MaskSettings, volume: Any, level: int, store: Store) -> None:
        self.settings, self.volume, self.level, self.store = settings, volume, level, store
        self.shape: tuple[int, ...] = volume.shape

    def __getitem__(self, key: Any) -> Array:
        """Return planes of the mask as bool, every plane the same whatever slab it is read in."""
        part = key[0] if isinstance(key, tuple) else key
        start, stop, _ = part.indices(self.shape[0])
        halo = self.settings.grow + 5  # what smoothing and growing reach
        low, high = max(0, start - halo), min(self.shape[0], stop + halo)
        mask = self._slab(low, high)[start - low : stop - low]
        return mask if not isinstance(key, tuple) else mask[(slice(None), *key[1:])]

    def _slab(self, low: int, high: int) -> Array:
        s = self.settings
        mask = np.ones((high - low, *self.shape[1:]), bool)
        if s.min_attenuation is not None or s.max_attenuation is not None:
            lower = -np.inf if s.min_attenuation is None else s.min_attenuation
            upper = np.inf if s.max_attenuation is None else s.max_attenuation
            mask &= masks.attenuation_mask(self.volume[low:high], minimum=lower, maximum=upper, grow=s.grow)
        if s.label is not None:
            mask &= masks.label_mask(*self._labels(low, high), grow=s.grow)
        return mask & self._shapes(low, high)

    def _labels(self, low: int, high: int) -> tuple[Array, list[int]]:
        from xct_pipeline.segmentation.stage import label_values, labels_path

        path = self.store.path / labels_path() / str(self.level)
        if not path.is_dir():
            raise RegistrationError(
                f"mask label {self.settings.label}: no labels yet; segment first, or mask otherwise"
            )
        planes = zarr.open_array(str(path), mode="r")[0, low:high]
        return np.asarray(planes), label_values(self.store, [str(self.settings.label)])

    def _shapes(self, low: int, high: int) -> Array:
        """Return what cylinder and box leave of a slab, their voxels at full resolution."""
        scale, s = 2**self.level, self.settings
        z, y, x = (np.arange(n) * scale + (scale - 1) / 2 for n in self.shape)
        inside = np.ones((high - low, *self.shape[1:]), bool)
        if s.cylinder is not None:
            full = [n * scale for n in self.shape]
            disc = np.hypot(*np.meshgrid(y - (full[1] - 1) / 2, x - (full[2] - 1) / 2, indexing="ij"))
            inside &= _between(z[low:high], s.cylinder.z)[:, None, None] & (disc <= s.cylinder.radius)
        if s.box is not None:
            inside &= (
                _between(z[low:high], s.box.z)[:, None, None] & _between(y, s.box.y)[:, None] & _between(x, s.box.x)
            )
        return inside


def _between(centres: Array, span: tuple[int, int]) -> Array:
    return np.asarray((centres >= span[0] - 0.5) & (centres < span[1] - 0.5))


# ---------------------------------------------------------------------------------------------- grey scale


def _grey_scale(
    settings: Registration, found: Any, reference: Volume, moving: Volume, store: Store
) -> dict[str, Array]:
    """Return gain and offset, their errors, and the residual on what was not fitted."""
    method = settings.calibration.method
    fallback = {
        "gain": 1.0,
        "offset": 0.0,
        "gain_sigma": 0.0,
        "offset_sigma": 0.0,
        "check": np.nan,
        "check_sigma": np.nan,
    }
    warnings: list[str] = []
    if method == "none":
        return _arrays(fallback, warnings)
    from_match = {**fallback, "gain": found.gain, "offset": found.offset}
    single = isinstance(settings.mask, MaskSettings) and (settings.mask.min_attenuation or settings.mask.label)
    if method == "registration" or (method == "auto" and not single):
        return _arrays(from_match, warnings)
    try:
        return _arrays(_from_materials(settings, found, reference, moving, store), warnings)
    except ValueError as error:
        if method == "regions":
            raise
        warnings.append(f"grey scale from the matched parts, not from gas and mask: {error}")
        return _arrays(from_match, warnings)


def _arrays(values: Mapping[str, float], warnings: list[str]) -> dict[str, Array]:
    return {
        **{name: np.array(value, float) for name, value in values.items()},
        "warnings": np.array(warnings, dtype=str),
    }


def _from_materials(
    settings: Registration, found: Any, reference: Volume, moving: Volume, store: Store
) -> dict[str, float]:
    """Calibrate on materials, measured on the finest matched level with the moving volume in the reference's frame."""
    level = finest_level(reference)
    fixed = np.asarray(reference.array(store, level)[:])
    box: Any = tuple(slice(0, n) for n in fixed.shape)
    moved = warp.warp_block(
        np.asarray(moving.array(store, level)[:]), tf.to_level(found.transform, float(2**level)), box,
        shape=fixed.shape, order="linear",
    )  # fmt: skip
    regions, fitted = _regions(settings, fixed, level, store)
    values = [{name: calibration.region_mean(v, mask & np.isfinite(moved)) for name, mask in regions.items()}
              for v in (fixed, moved)]  # fmt: skip
    grey = calibration.calibrate(values[0], values[1], fitted)
    check, check_sigma = next(iter(grey.checks.values()), (np.nan, np.nan))
    return {
        "gain": grey.gain, "offset": grey.offset, "gain_sigma": grey.gain_sigma, "offset_sigma": grey.offset_sigma,
        "check": check, "check_sigma": check_sigma,
    }  # fmt: skip


def _regions(settings: Registration, fixed: Array, level: int, store: Store) -> tuple[dict[str, Array], list[str]]:
    named = settings.calibration.regions
    if named:
        regions = {}
        for name, region in named.items():
            mask = MaskSettings(cylinder=region.cylinder, box=region.box, label=region.label, grow=0)
            regions[name] = Mask(mask, fixed, level, store)[0 : fixed.shape[0]]
        return regions, settings.calibration.fitted or list(named)[:2]
    assert isinstance(settings.mask, MaskSettings)
    plain = settings.mask.model_copy(update={"grow": 0})
    matched = Mask(plain, fixed, level, store)[0 : fixed.shape[0]]
    gas = calibration.gas_mask(fixed) & ~matched
    regions = {"mask": matched, "gas": gas}
    rest = np.isfinite(fixed) & ~masks.label_mask((matched | gas).astype(np.uint8), [1], grow=3)
    if rest.sum() > 4096:
        regions["rest"] = rest
    return regions, ["mask", "gas"]


# --------------------------------------------------------------------------------------------------- warp


def whole_chunks(region: Region) -> Region:
    """Return the region that the chunks of a box cover: that much is read and held encoded, whatever is kept of it."""
    return tuple(slice(part.start // CHUNK * CHUNK, -(-part.stop // CHUNK) * CHUNK) for part in region)


@dataclass(frozen=True)
class SeriesSource:
    """Reads, for each scan, what its transform needs of its own volume; (1, z, y, x) regions of the reference frame."""

    folders: tuple[str, ...]
    boxes: tuple[Any, ...]
    shape: tuple[int, int, int]
    order: str

    def box(self, region: Region) -> tuple[slice, ...] | None:
        """Return the voxels of the scan's volume that a region needs, None where it sees nothing of it."""
        transform = self.boxes[region[0].start]
        if transform is None or transform == "copy":
            return None if transform is None else region[1:]
        return warp.required_input_box(region[1:], np.asarray(transform), self.shape, self.order)  # type: ignore[arg-type]

    def read(self, region: Region) -> Array:
        """Read the box; empty where there is nothing to read."""
        box = self.box(region)
        if box is None:
            return np.zeros((0, 0, 0), np.float32)
        return np.asarray(zarr.open_array(self.folders[region[0].start], mode="r")[box])

    def nbytes(self, region: Region) -> int:
        """Return the bytes of the largest box that any scan needs, and of its encoded chunks."""
        largest = 0
        for t in range(len(self.folders)):
            box = self.box((slice(t, t + 1), *region[1:]))
            largest = max(largest, size_of(box) + size_of(whole_chunks(box)) if box is not None else 0)
        return largest * 4


def series_pass(
    settings: Registration, volumes: Sequence[Volume | None], motions: Sequence[Motion], reference: int,
    times_s: Sequence[float | None], store: Store, limits: Resources,
) -> Pass:  # fmt: skip
    """Return the pass that resamples every scan into the reference's frame, and copies the reference."""
    fixed = volumes[reference]
    assert fixed is not None
    transforms: list[Any] = []
    for k, (volume, motion) in enumerate(zip(volumes, motions, strict=True)):
        failed = volume is None or motion.problem is not None
        transforms.append(None if failed else "copy" if k == reference else motion.transform.tolist())
    folders = tuple("" if v is None else str(store.path.resolve() / v.path / "0") for v in volumes)
    source = SeriesSource(folders, tuple(transforms), fixed.shape, settings.order)
    image = series_image(
        PATH, fixed, len(volumes), "float32", fixed.unit, limits, {"time_s": list(times_s)}, store=store
    )
    op = BlockOp(
        f"warp.{settings.order}", VERSION,
        partial(_resample, source=source, scales=tuple((m.gain, m.offset) for m in motions), shape=fixed.shape),
        {"order": settings.order}, scratch=partial(_warp_scratch, source=source),
    )  # fmt: skip
    planes = tuple(
        {"volume": v.identity if v else None, "transform": t, "gain": m.gain, "offset": m.offset}
        for v, t, m in zip(volumes, transforms, motions, strict=True)
    )
    return Pass(image, source, (op,), (1, *GRANULE), (0, 0, 0, 0), {}, planes=planes)


def series_image(
    path: str, fixed: Volume, count: int, dtype: str, unit: str, limits: Resources, attributes: Mapping[str, Any],
    labels: bool = False, store: Store | None = None,
) -> Image:  # fmt: skip
    """Return a (t, z, y, x) image in the reference's frame.

    The shards' thickness is that of the image in the store where there is one: other shards would write to the same
    files. Else it is the largest for which every worker has work and a few shards fit in the memory.
    """
    existing = store.existing_layout(path) if store is not None else None
    thickness = existing[0] if existing is not None else 64
    plane = 4.0 * fixed.shape[1] * fixed.shape[2]
    while existing is None and thickness > 16:
        shards = -(-fixed.shape[0] // thickness) * count
        if shards >= 2 * limits.workers and SHARD_COPIES * thickness * plane * limits.workers < 0.6 * limits.memory:
            break
        thickness //= 2
    return Image(
        path, ("t", "z", "y", "x"), (count, *fixed.shape), dtype, unit, thickness,
        level_count(fixed.shape, thickness), fixed.voxel_um, labels=labels, attributes=attributes,
    )  # fmt: skip


def _warp_scratch(region: Region, source: SeriesSource) -> int:
    return 2 * source.nbytes(region) + 8 * size_of(region)


def _box3(region: Region) -> tuple[slice, slice, slice]:
    z, y, x = region
    return z, y, x


def _resample(
    block: Any, before: Region, region: Region, *, source: SeriesSource, scales: Sequence[tuple[float, float]],
    shape: tuple[int, int, int],
) -> tuple[Any, dict[str, int]]:  # fmt: skip
    del before
    t = region[0].start
    transform, box = source.boxes[t], source.box(region)
    size = tuple(part.stop - part.start for part in region[1:])
    if transform is None or box is None:
        values = np.full(size, np.nan, np.float32)
    elif transform == "copy":
        values = block
    else:
        origin = tuple(part.start for part in box)
        values = warp.warp_block(
            block,
            np.asarray(transform),
            _box3(region[1:]),
            shape=shape,
            origin=origin,
            order=source.order,
        )
        gain, offset = scales[t]
        values = (values * np.float32(gain) + np.float32(offset)).astype(np.float32)
    return values[None], {"without_data": int(np.isnan(values).sum())}


# ----------------------------------------------------------------------------------------------------- run


@dataclass(frozen=True)
class RegistrationResult:
    """How the stage ended.

    Attributes
    ----------
    motions : tuple of Motion
        One per scan; those that failed carry their problem.
    volume : Volume
        The reference's.
    reference : int
    passes : tuple of PassResult
    """

    motions: tuple[Motion, ...]
    volume: Volume
    reference: int
    passes: tuple[PassResult, ...]


def run(
    settings: Registration, names: Sequence[str], problems: Sequence[str | None], times_s: Sequence[float | None],
    store: Store, limits: Resources, progress: Progress = silent,
) -> RegistrationResult:  # fmt: skip
    """Register every scan of a series with its reference, resample it, write the table of motions.

    Raises
    ------
    RegistrationError
        The reference cannot be used; a problem of any other scan is in its Motion.
    """
    reference = reference_index(settings, names)
    if problems[reference] is not None:
        raise RegistrationError(f"the reference {names[reference]} cannot be used: {problems[reference]}")
    fixed = find_volume(store, names[reference])
    volumes: list[Volume | None] = []
    motions: list[Motion] = []
    for name, problem in zip(names, problems, strict=True):
        volume, motion = _one_motion(settings, name, problem, fixed, store, limits)
        for warning in motion.warnings:
            log.warning("%s: %s", name, warning)
        volumes.append(volume)
        motions.append(motion)
    step = series_pass(settings, volumes, motions, reference, times_s, store, limits)
    done = run_passes(store, [step], limits, progress)
    store.write_table("registration", motion_table(motions, fixed.voxel_um, {}), UNITS)
    failed = [k for k, motion in enumerate(motions) if motion.problem]
    if settings.local is not None:
        table = displacement_table(settings.local, store, names, reference, failed)
        store.write_table("displacement", table, DISPLACEMENT_UNITS)
    return RegistrationResult(tuple(motions), fixed, reference, tuple(done))


def _one_motion(
    settings: Registration, name: str, problem: str | None, fixed: Volume, store: Store, limits: Resources
) -> tuple[Volume | None, Motion]:
    if problem is not None:
        return None, Motion(name, tf.identity(), problem=problem)
    try:
        volume = find_volume(store, name)
        return volume, estimate_motion(settings, fixed, volume, store, limits)
    except RegistrationError as error:
        return None, Motion(name, tf.identity(), problem=str(error))


# -------------------------------------------------------------------------------------------------- tables

UNITS = {
    "gain": "1", "offset": "1/cm", "gain_sigma": "1", "offset_sigma": "1/cm", "residual": "1/cm", "tre_self": "voxel",
    "check": "1/cm", "check_sigma": "1/cm", "variance_factor": "1", "kept": "1", "without_data": "voxels",
    **{f"m{i}{j}": "micrometre" if j == 3 else "1" for i in range(3) for j in range(4)},
}  # fmt: skip


def motion_table(motions: Sequence[Motion], voxel_um: float | None, without_data: Mapping[int, int]) -> pd.DataFrame:
    """Return one row per scan, transforms in micrometre (voxels where the voxel size is unknown)."""
    rows = []
    for k, motion in enumerate(motions):
        matrix = tf.voxels_to_um(motion.transform, voxel_um or 1.0)
        rows.append(
            {
                "scan": motion.name, "gain": motion.gain, "offset": motion.offset, "residual": motion.residual,
                "tre_self": motion.tre_self, "iterations": motion.iterations, **tf.to_row(matrix),
                "gain_sigma": motion.gain_sigma, "offset_sigma": motion.offset_sigma, "check": motion.check,
                "check_sigma": motion.check_sigma, "kept": motion.kept, "variance_factor": motion.variance_factor,
                "without_data": without_data.get(k, 0), "problem": motion.problem,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def displacement_table(
    settings: LocalDisplacement, store: Store, names: Sequence[str], reference: int, failed: Sequence[int]
) -> pd.DataFrame:
    """Correlate windows of each registered scan with the reference on a grid of nodes; a diagnostic.

    Returns
    -------
    DataFrame
        scan, z, y, x (voxel of the node), dz, dy, dx (voxels), correlation, residual, status.
    """
    series = zarr.open_array(str(store.path / PATH / "0"), mode="r")
    grid = local.node_grid(series.shape[1:], settings.spacing, settings.window)
    rows = []
    reach = settings.window // 2 + 8
    for t, name in enumerate(names):
        if t == reference or t in failed:
            continue
        for layer in grid:
            low = max(0, int(layer[0, 0, 0]) - reach)
            high = min(series.shape[1], int(layer[0, 0, 0]) + reach)
            nodes = layer.reshape(-1, 3) - [low, 0, 0]
            found = local.correlate_nodes(
                series[reference, low:high], series[t, low:high], nodes, window=settings.window
            )
            for k, node in enumerate(layer.reshape(-1, 3)):
                dz, dy, dx = found.vector[k]
                rows.append(
                    {
                        "scan": name, "z": node[0], "y": node[1], "x": node[2], "dz": dz, "dy": dy, "dx": dx,
                        "correlation": found.correlation[k], "residual": found.residual[k],
                        "status": local.STATUS[found.status[k]],
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)


DISPLACEMENT_UNITS = {
    **dict.fromkeys(("z", "y", "x", "dz", "dy", "dx"), "voxel"),
    "correlation": "1",
    "residual": "1/cm",
}
