"""Registered volumes to changes of mass: the images, the sums over regions, and the tables of a series."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr

from xct_pipeline.blocks import Array, BlockOp, Pass, Reduction, Region, inside, size_of, widen
from xct_pipeline.config import Config, RegionOfInterest, Registration, Variation
from xct_pipeline.execution import PassResult, Progress, image_identity, measure, run_passes, silent
from xct_pipeline.registration.stage import GRANULE, PATH, Motion, Volume, series_image, whole_chunks
from xct_pipeline.resources import Resources
from xct_pipeline.scan import Scan
from xct_pipeline.store import Image, Store
from xct_pipeline.variation import alloy, budget, closure, mass, uncertainty
from xct_pipeline.variation import noise as noises
from xct_pipeline.variation.anode import Anode
from xct_pipeline.variation.attenuation import coefficients, energy_sensitivity
from xct_pipeline.variation.cycler import CyclerLog, read_log
from xct_pipeline.variation.electrochemistry import ScanCharge, ScanTimes, at_scans, scan_times

log = logging.getLogger("xct")

VERSION = 3
SLAB = 32
PIECE = 8  # planes of a slab that are summed together
STRIP = 64  # rows of a slab whose noise is measured together; a multiple of LEVEL_BIN
LAG = (6, 4, 4)
LEVEL_BIN = 16
ATTENUATION, DENSITY, FLAGS = "variation/attenuation", "variation/density", "variation/flags"


@dataclass(frozen=True)
class Series:
    """What the stage works on.

    Attributes
    ----------
    names : tuple of str
        Scans in the order of the configuration.
    failed : tuple of int
        Positions of those without a registered volume.
    reference : int
    volume : Volume
        The reference's.
    motions : tuple of Motion
    scans : tuple of Scan or None
        For energy and times.
    """

    names: tuple[str, ...]
    failed: tuple[int, ...]
    reference: int
    volume: Volume
    motions: tuple[Motion, ...]
    scans: tuple[Scan | None, ...]

    @property
    def frame(self) -> tuple[int, int, int]:
        """(z, y, x)."""
        return self.volume.shape


@dataclass(frozen=True)
class Physics:
    """What turns attenuation into mass."""

    closure: closure.ClosureName
    anode: Anode
    energy_keV: float | None
    percent_per_keV: float


# ------------------------------------------------------------------------------------------------ checking


def check(config: Config, scans: Sequence[Scan | None], frame: tuple[int, int, int]) -> list[str]:
    """Return everything in the configuration that would make mass impossible, before anything is computed.

    Raises
    ------
    ValueError
        A log, column, unit, formula, energy or region that is wrong: an error, where what is returned is a refusal.
    """
    settings = config.variation
    assert settings is not None
    for name, region in {"region": settings.region, **settings.regions, "noise_region": settings.noise_region}.items():
        if region is not None:
            check_region(name, region, frame)
    missing = refusals(settings, scans, config.acquisition.pixel_size_um)
    if not missing:
        physics_of(settings, scans)
    if config.electrochemistry is not None:
        charge_of_series(config, [s.name if s else "?" for s in scans], scans, 0)
    return missing


def refusals(settings: Variation, scans: Sequence[Scan | None], pixel_um: float | None) -> list[str]:
    """Return why mass cannot be written."""
    good = [scan for scan in scans if scan is not None]
    reasons = []
    if settings.closure is None:
        reasons.append("no variation.closure is given, and a change of attenuation is not a mass without one")
    if settings.region is None:
        reasons.append("no variation.region says where the anode is")
    if pixel_um is None and any(scan.pixel_size_um is None for scan in good):
        reasons.append("the pixel size is unknown (acquisition.pixel_size_um)")
    energy = settings.energy_keV or (good[0].energy_keV if good else None)
    if energy is None and settings.species not in settings.measured:
        reasons.append("the photon energy is unknown (acquisition.energy_keV, or variation.measured)")
    return reasons


def check_region(name: str, region: RegionOfInterest, frame: tuple[int, int, int]) -> None:
    """Raise ValueError where a region is empty or leaves the volume."""
    try:
        if region.cylinder is not None:
            mass.check_cylinder(frame, region.cylinder.z, region.cylinder.radius)
        if region.box is not None:
            mass.check_box(frame, (region.box.z, region.box.y, region.box.x))
    except ValueError as error:
        raise ValueError(f"variation.{name}: {error}") from None


def physics_of(settings: Variation, scans: Sequence[Scan | None]) -> Physics:
    """Look up attenuation coefficients and describe the anode.

    Raises
    ------
    ValueError
        A formula that does not parse, an energy outside the tables, or a closure that lacks what it needs.
    """
    assert settings.closure is not None
    energy = settings.energy_keV or next((s.energy_keV for s in scans if s is not None and s.energy_keV), None)
    a = settings.anode
    materials = (settings.species, a.host) if a.w_host is not None else (settings.species,)
    k = coefficients(materials, energy, settings.measured)
    anode = Anode(
        k[settings.species], k.get(a.host, 0.0), a.w_host, a.density, a.filling, a.carbon_fraction, a.temperature_C,
        a.density_model, None if a.density_table is None else tuple(a.density_table), a.boundaries,
    )  # fmt: skip
    if settings.closure not in ("na_only", "dual_energy"):
        if a.w_host is None:
            raise ValueError(
                f"closure {settings.closure} needs variation.anode.w_host, the initial mass fraction of {a.host}"
            )
        closure.sensitivity(settings.closure, anode)
    if settings.closure == "well_mixed" and a.loading_mg is None:
        raise ValueError("closure well_mixed needs variation.anode.loading_mg, the mass of alloy in the anode")
    if settings.closure == "dual_energy" and (settings.second_store is None or settings.second_energy_keV is None):
        raise ValueError("closure dual_energy needs variation.second_store and second_energy_keV")
    per_keV = (
        energy_sensitivity(settings.species, energy) if energy and settings.species not in settings.measured else 0.0
    )
    return Physics(settings.closure, anode, energy, per_keV)


# ---------------------------------------------------------------------------------------- electrochemistry


def charge_of_series(
    config: Config, names: Sequence[str], scans: Sequence[Scan | None], reference: int
) -> tuple[CyclerLog, ScanTimes, ScanCharge]:
    """Read the cycler's log and bring it to the times of the scans.

    Raises
    ------
    ValueError
        What is wrong with the log, its columns, units or times.
    """
    settings = config.electrochemistry
    assert settings is not None
    record = read_log(
        config.resolve(settings.log), time=settings.time, charge=settings.charge, current=settings.current,
        voltage=settings.voltage, absolute_time=settings.absolute_time, units=settings.units,
        charge_sign=settings.charge_sign,
    )  # fmt: skip
    starts = [scan.start if scan else None for scan in scans]
    ends = [scan.end if scan else None for scan in scans]
    times = scan_times(names, starts, ends, log_start=record.start, offset_s=settings.offset_s)
    species = config.variation.species if config.variation else "Na"
    return record, times, at_scans(record, times, names, species=species, reference=reference)


def series_times(scans: Sequence[Scan | None]) -> Array:
    """Return the midpoint (the start where no end is known) of each scan in seconds since the first scan's start."""
    starts = [scan.start for scan in scans if scan is not None and scan.start is not None]
    result = np.full(len(scans), np.nan)
    for k, scan in enumerate(scans):
        if scan is not None and scan.start is not None:
            begin = (scan.start - starts[0]).total_seconds()
            length = (scan.end - scan.start).total_seconds() if scan.end is not None else 0.0
            result[k] = begin + length / 2
    return result


# -------------------------------------------------------------------------------------------------- images


@dataclass(frozen=True)
class PairSource:
    """Reads the difference of two planes in time of the registered series; (1, z, y, x) regions."""

    folder: str
    pairs: tuple[tuple[int, int], ...]

    def read(self, region: Region) -> Array:
        """Return moving - reference, zeros where they are one scan."""
        series: Any = zarr.open_array(self.folder, mode="r")
        moving, fixed = self.pairs[region[0].start]
        later = np.asarray(series[(moving, *region[1:])])
        if moving == fixed:
            return np.zeros_like(later)[None]
        return np.asarray(mass.change(np.asarray(series[(fixed, *region[1:])]), later))[None]

    def nbytes(self, region: Region) -> int:
        """Return the bytes of both planes, the difference, and the encoded chunks of one."""
        return size_of(region) * 12 + size_of(whole_chunks(region[1:])) * 4


def pairs_of(series: Series, consecutive: bool) -> tuple[tuple[int, int], ...]:
    """Return (moving, fixed) for each scan; a scan that failed, and the first, is paired with itself."""
    good = [k for k in range(len(series.names)) if k not in series.failed]
    pairs = []
    for k in range(len(series.names)):
        earlier = [g for g in good if g < k]
        before = (earlier[-1] if earlier else k) if consecutive else series.reference
        pairs.append((k, k if k in series.failed and not consecutive else before))
    return tuple(pairs)


def _same(block: Any, before: Region, after: Region) -> Any:
    del before, after
    return block


def change_pass(
    series: Series, store: Store, limits: Resources, times: Sequence[float | None], consecutive: bool
) -> Pass:
    """Return the pass that writes the change of attenuation."""
    path = ATTENUATION + "_consecutive" * consecutive
    pairs = pairs_of(series, consecutive)
    image = series_image(
        path, series.volume, len(series.names), "float32", series.volume.unit, limits, {"time_s": list(times)}
    )
    source = PairSource(str(store.path.resolve() / PATH / "0"), pairs)
    inputs = {"registered": image_identity(store, PATH)}
    return Pass(image, source, (BlockOp("change", VERSION, _same),), (1, *GRANULE), (0,) * 4, inputs, planes=pairs)


@dataclass(frozen=True)
class ChangeSource:
    """Reads a (t, z, y, x) image of the store, and with it that of a second store for two energies."""

    folder: str
    second: str | None = None

    def read(self, region: Region) -> Array:
        """Return (1 or 2, z, y, x)."""
        parts = [np.asarray(zarr.open_array(f, mode="r")[region]) for f in (self.folder, self.second) if f is not None]
        return np.concatenate(parts)

    def nbytes(self, region: Region) -> int:
        """Return the bytes of one or two blocks."""
        return int(size_of(region) * 4 * 1.3 * (1 if self.second is None else 2))


def density_passes(
    series: Series, settings: Variation, physics: Physics, compositions: Sequence[float | None], store: Store,
    limits: Resources, times: Sequence[float | None], second: str | None, consecutive: bool,
) -> list[Pass]:  # fmt: skip
    """Return the passes that write the change of density of the species, and its flags."""
    suffix = "_consecutive" * consecutive
    source = ChangeSource(str(store.path.resolve() / (ATTENUATION + suffix) / "0"), second)
    inputs = {"attenuation": image_identity(store, ATTENUATION + suffix), "second": second}
    attributes = {"time_s": list(times), "closure": physics.closure, "species": settings.species}
    faces = Faces(
        str(store.path.resolve() / PATH / "0"), series.reference, series.frame, face_gradient(series, store),
        settings.shell_width,
    )  # fmt: skip
    parameters = {"closure": physics.closure, "anode": vars(physics.anode), "second_keV": settings.second_energy_keV}
    passes = []
    for path, dtype, unit, flags in ((DENSITY + suffix, "float32", "g/cm3", False), (FLAGS, "uint8", "1", True)):
        if flags and consecutive:
            continue
        more = {"flags": {str(bit): text for bit, text in FLAG_MEANING.items()}} if flags else {}
        image = series_image(
            path, series.volume, len(series.names), dtype, unit, limits, {**attributes, **more}, labels=flags
        )
        function = partial(
            _density,
            physics=physics,
            compositions=tuple(compositions),
            faces=faces if flags else None,
            k=_two(settings),
        )
        shell = {"face_gradient": faces.threshold, "shell_width": faces.width} if flags else {}
        op = BlockOp(
            f"closure.{physics.closure}", VERSION, function, {**parameters, **shell}, scratch=partial(_times, factor=60)
        )
        passes.append(Pass(image, source, (op,), (1, *GRANULE), (0,) * 4, inputs, planes=tuple(compositions)))
    return passes


FACE = 64
FLAG_MEANING = {**closure.FLAGS, FACE: "within a few voxels of a strong face, where motion and blur leave a dipole"}


@dataclass(frozen=True)
class Faces:
    """The shell at strong faces of the reference scan, read by a task with its halo."""

    folder: str
    reference: int
    frame: tuple[int, int, int]
    threshold: float
    width: int

    def shell(self, region: Region) -> Array:
        """Return the voxels of a (z, y, x) region that lie in the shell."""
        halo = (uncertainty.shell_halo(self.width),) * 3
        wide = widen(region, halo, self.frame)
        series: Any = zarr.open_array(self.folder, mode="r")
        block = np.nan_to_num(np.asarray(series[(self.reference, *wide)]))
        marked = uncertainty.edge_shell(block, threshold=self.threshold, width=self.width)
        return np.asarray(marked[inside(wide, region)])


def _times(region: Region, factor: int) -> int:
    return size_of(region) * factor


def _two(settings: Variation) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """Return the coefficients (species, host) at both energies for the closure of two energies."""
    if settings.closure != "dual_energy":
        return None
    pair = (settings.species, settings.anode.host)
    first, second = (coefficients(pair, e) for e in (settings.energy_keV, settings.second_energy_keV))
    return (first[pair[0]], first[pair[1]]), (second[pair[0]], second[pair[1]])


def _density(
    block: Any, before: Region, region: Region, *, physics: Physics, compositions: tuple[float | None, ...],
    faces: Faces | None, k: Any,
) -> Any:  # fmt: skip
    del before
    second = block[1:] if len(block) > 1 else None
    found = closure.density_change(
        physics.closure, block[:1], physics.anode, w_host=compositions[region[0].start], second=second, k=k
    )
    if faces is None:
        return found.species
    shell = faces.shell(region[1:])[None]
    counts = {"impossible": int(np.count_nonzero(found.flags)), "near_face": int(shell.sum())}
    return np.asarray(found.flags) | np.where(shell, np.uint8(FACE), np.uint8(0)), counts


# ---------------------------------------------------------------------------------------- sums over regions


@dataclass(frozen=True)
class SlabSource:
    """Reads slabs (z) of two scans of the registered series, with a halo, for the sums and the noise."""

    folder: str
    moving: int
    fixed: int
    halo: int
    depth: int

    def read(self, region: Region) -> Array:
        """Return (2, z + halo, y, x): the fixed and the moving scan; the halo is clipped at the frame."""
        part = self.span(region)
        series = zarr.open_array(self.folder, mode="r")
        block = np.empty((2, part.stop - part.start, *series.shape[2:]), series.dtype)
        for k, scan in enumerate((self.fixed, self.moving)):
            block[k] = series[scan, part]
        return block

    def span(self, region: Region) -> slice:
        """Return the planes that are read for a region."""
        return slice(max(0, region[0].start - self.halo), min(self.depth, region[0].stop + self.halo))

    def nbytes(self, region: Region) -> int:
        """Return the bytes of both slabs, and of the encoded chunks of one while it is being read."""
        part = self.span(region)
        return size_of((part, *region[1:])) * 8 + size_of(whole_chunks((part, *region[1:]))) * 4


@dataclass(frozen=True)
class RegionMask:
    """The voxels of a region, and the labels it may be cut by."""

    region: RegionOfInterest
    frame: tuple[int, int, int]
    labels_folder: str | None = None
    values: tuple[int, ...] = ()
    time: int = 0

    def slab(self, z: slice) -> Array:
        """Return the mask of planes (z, y, x)."""
        offset, shape = (z.start, 0, 0), (z.stop - z.start, *self.frame[1:])
        mask: Array = np.ones(shape, bool)
        if self.region.cylinder is not None:
            cylinder = self.region.cylinder
            mask &= mass.cylinder_mask(self.frame, offset, shape, z=cylinder.z, radius=cylinder.radius)
        if self.region.box is not None:
            box = self.region.box
            mask &= mass.box_mask(offset, shape, (box.z, box.y, box.x))
        if self.labels_folder is not None:
            mask &= mass.label_mask(
                np.asarray(zarr.open_array(self.labels_folder, mode="r")[self.time, z]), self.values
            )
        return mask

    def planes(self) -> range:
        """Return the planes that the region can touch."""
        low, high = 0, self.frame[0]
        for part in (self.region.cylinder, self.region.box):
            if part is not None:
                low, high = max(low, part.z[0]), min(high, part.z[1])
        return range(low, max(low, high))


def region_mask(series: Series, store: Store, region: RegionOfInterest) -> RegionMask:
    """Return a region's mask on the reference scan.

    Raises
    ------
    ValueError
        Its label does not exist.
    """
    if region.label is None:
        return RegionMask(region, series.frame)
    from xct_pipeline.segmentation.stage import label_values, labels_path

    values = tuple(label_values(store, [region.label]))
    return RegionMask(region, series.frame, str(store.path.resolve() / labels_path() / "0"), values, series.reference)


def _slabs(planes: range, frame: tuple[int, int, int]) -> list[Region]:
    first = planes.start // SLAB * SLAB
    cuts = [(max(planes.start, z), min(planes.stop, z + SLAB)) for z in range(first, planes.stop, SLAB)]
    return [(slice(a, b), slice(0, frame[1]), slice(0, frame[2])) for a, b in cuts if b > a]


def measure_sums(
    series: Series, store: Store, settings: Variation, mask: RegionMask, pair: tuple[int, int], surface: Array | None,
    limits: Resources, name: str,
) -> dict[str, Array]:  # fmt: skip
    """Sum one pair of scans over a region: maps along z, motions, profiles, attenuation of both scans."""
    moving, fixed = pair
    source = SlabSource(str(store.path.resolve() / PATH / "0"), moving, fixed, 1, series.frame[0])
    chunk = partial(
        _sums_chunk, source=source, mask=mask, surface=surface, above=settings.anode_above, bins=settings.bins
    )
    inputs = {
        "registered": image_identity(store, PATH), "pair": pair, "region": mask.region.model_dump(),
        "labels": _labels_identity(store, mask), "surface": surface, "above": settings.anode_above,
        "bins": settings.bins,
    }  # fmt: skip
    reduction = Reduction(
        f"sums/{name}_{series.names[moving]}_{series.names[fixed]}", VERSION, chunk, _add_up, fold=True
    )
    maps = 80 * series.frame[1] * series.frame[2]  # ten maps in double precision
    slabs = _slabs(mask.planes(), series.frame)
    return measure(store, reduction, source, slabs, inputs, limits, scratch=1, partial_bytes=maps)


def _labels_identity(store: Store, mask: RegionMask) -> str | None:
    if mask.labels_folder is None:
        return None
    from xct_pipeline.segmentation.stage import labels_path

    return image_identity(store, labels_path())


def _sums_chunk(block: Array, region: Region, *, source: SlabSource, **options: Any) -> dict[str, Array]:
    """Sum a slab a few planes at a time: what is summed in double precision takes many times the slab's bytes."""
    span = source.span(region)
    total: dict[str, Array] = {}
    for z in range(region[0].start, region[0].stop, PIECE):
        piece = (slice(z, min(z + PIECE, region[0].stop)), *region[1:])
        part = source.span(piece)
        found = _sums_piece(block[:, part.start - span.start : part.stop - span.start], piece, source=source, **options)
        for name, value in found.items():
            total[name] = total[name] + value if name in total else value
    return total


def _sums_piece(
    block: Array, region: Region, *, source: SlabSource, mask: RegionMask, surface: Array | None, above: bool,
    bins: tuple[int, int, int] | None,
) -> dict[str, Array]:  # fmt: skip
    z, span = region[0], source.span(region)
    core = slice(z.start - span.start, z.stop - span.start)
    fixed, moving = block[0][core], block[1][core]
    change = mass.change(fixed, moving)
    inside = mask.slab(z) & np.isfinite(change)
    offset = (z.start, 0, 0)
    edge = [(1 - core.start, 1 - (block.shape[1] - core.stop)), (1, 1), (1, 1)]
    padded = np.pad(np.nan_to_num(block[0]), edge, mode="edge")
    found = {
        "change": mass.areal_sums(change, inside, offset).total,
        "count": inside.sum(axis=0, dtype=np.int64),
        "fixed": mass.areal_sums(fixed, inside, offset).total,
        "moving": mass.areal_sums(moving, inside, offset).total,
        "motions": uncertainty.registration_sums(padded, inside, offset, mask.frame).total,
        "lost": np.array(int((mask.slab(z) & ~np.isfinite(change)).sum())),
    }
    radial = mass.radial_index(mask.frame, offset, change.shape)
    cells = int(np.hypot(*mask.frame[1:]) / 2) + 1
    sums = mass.index_sums(change, radial, cells, inside)
    found |= {"radial": sums.total, "radial_count": sums.count}
    if surface is not None:
        depth = mass.depth_index(surface, offset, change.shape, upward=above)
        sums = mass.index_sums(change, depth, mask.frame[0], inside)
        found |= {"depth": sums.total, "depth_count": sums.count}
    if bins is not None:
        shape = tuple(-(-n // b) for n, b in zip(mask.frame, bins, strict=True))
        sums = mass.bin_sums(change, inside, offset, bins).full(shape)
        found |= {"bins": sums.total, "bins_count": sums.count}
    return found


def _add_up(parts: list[dict[str, Array]]) -> dict[str, Array]:
    """Add partial sums in the order of the slabs, in double precision."""
    total = {name: np.array(value, copy=True) for name, value in parts[0].items()}
    for part in parts[1:]:
        for name, value in part.items():
            total[name] = total[name] + value
    return total


def measure_surface(
    series: Series, store: Store, settings: Variation, registration: Registration, limits: Resources
) -> Array | None:
    """Return the height of the ceramic's surface in the reference scan (y, x), NaN where there is none."""
    threshold = settings.surface_attenuation
    if threshold is None and registration.mask != "auto":
        threshold = registration.mask.min_attenuation
    if threshold is None:
        return None
    source = SlabSource(str(store.path.resolve() / PATH / "0"), series.reference, series.reference, 1, series.frame[0])
    chunk = partial(_surface_chunk, source=source, threshold=threshold, above=settings.anode_above)
    inputs = {"registered": image_identity(store, PATH), "threshold": threshold, "above": settings.anode_above}
    combine = partial(_highest, above=settings.anode_above)
    slabs = _slabs(range(series.frame[0]), series.frame)
    found = measure(store, Reduction("surface", VERSION, chunk, combine), source, slabs, inputs, limits, scratch=1)
    return np.where(found["count"] > 0, found["total"], np.nan)


def _surface_chunk(
    block: Array, region: Region, *, source: SlabSource, threshold: float, above: bool
) -> dict[str, Array]:
    from scipy.ndimage import median_filter

    span = source.span(region)
    core = slice(region[0].start - span.start, region[0].stop - span.start)
    solid = median_filter(np.nan_to_num(block[0]), size=3, mode="nearest")[core] > threshold  # pores and noise
    sums = mass.surface_heights(solid, (region[0].start, 0, 0), upward=above)
    return {"total": sums.total, "count": sums.count}


def _highest(parts: list[dict[str, Array]], above: bool) -> dict[str, Array]:
    result = mass.Sums((0, 0), parts[0]["total"], parts[0]["count"])
    for part in parts[1:]:
        result = mass.merge_surface(result, mass.Sums((0, 0), part["total"], part["count"]), upward=above)
    return {"total": result.total, "count": result.count}


# --------------------------------------------------------------------------------------------------- noise


@dataclass(frozen=True)
class QuietMask:
    """Voxels where nothing changes and no face is near: where the noise of a difference is measured.

    Attributes
    ----------
    region : RegionMask or None
        Where the user says so.
    avoid : RegionMask
        Where the mass changes.
    threshold : float
        Gradient of a face, 1/cm per voxel.
    solid : float or None
        Attenuation from which a voxel belongs to the ceramic.
    inside_solid : bool
        Measure in the ceramic; else in the planes without any, whose noise is more like the anode's.
    """

    region: RegionMask | None
    avoid: RegionMask
    threshold: float
    solid: float | None
    inside_solid: bool = False

    halo = 8

    def slab(self, fixed: Array, span: slice) -> Array:
        """Return the mask of the planes `span` of the reference scan, good inside a halo at either end."""
        from scipy.ndimage import binary_dilation, binary_erosion, gaussian_filter

        known = np.nan_to_num(fixed)
        quiet = np.isfinite(fixed) & ~uncertainty.edge_shell(known, threshold=self.threshold, width=3)
        quiet &= _radius(self.avoid.frame) < min(self.avoid.frame[1:]) / 2 - 3
        if self.region is not None:
            return np.asarray(quiet & self.region.slab(span))
        if self.solid is not None:
            solid = gaussian_filter(known, 1.0, truncate=3.0) >= self.solid
            if self.inside_solid:
                quiet &= binary_erosion(solid, iterations=2, border_value=1)
            else:
                crowded = solid.mean(axis=(1, 2)) > 0.005
                quiet &= ~binary_dilation(crowded, np.ones(3, bool))[:, None, None]
        ball = np.ones((5, 5, 5), bool)
        return np.asarray(quiet & ~binary_dilation(self.avoid.slab(span), ball))


def _radius(frame: tuple[int, int, int]) -> Array:
    y = np.arange(frame[1])[:, None] - (frame[1] - 1) / 2
    x = np.arange(frame[2])[None, :] - (frame[2] - 1) / 2
    return np.asarray(np.hypot(y, x))


@dataclass(frozen=True)
class Noise:
    """Noise of one difference.

    Attributes
    ----------
    covariance : numpy.ndarray
        Autocovariance in the quiet part, (1/cm)^2.
    level : numpy.ndarray
        (y, x), of the noise in the region over that in the quiet part.
    column_inflation, region_inflation : float
        Scatter of sums over windows over what the autocovariance predicts, at least 1.
    """

    covariance: Array
    level: Array
    column_inflation: float
    region_inflation: float


def measure_noise(
    series: Series, store: Store, mask: RegionMask, quiet: QuietMask, pair: tuple[int, int], limits: Resources
) -> Noise:
    """Measure the noise of the difference of two scans where nothing changes, and how it varies over the region.

    Raises
    ------
    ValueError
        Too few voxels are quiet.
    """
    moving, fixed = pair
    halo = max(LAG[0], quiet.halo) + 1
    source = SlabSource(str(store.path.resolve() / PATH / "0"), moving, fixed, halo, series.frame[0])
    slabs = _slabs(range(series.frame[0]), series.frame)
    height = next(n for n in (8, 4, 2, 1) if n <= max(len(mask.planes()), 1))  # divides SLAB: no slab cuts a window
    windows = (height, 1, 1), (height, LEVEL_BIN, LEVEL_BIN)
    bins = (series.frame[0], LEVEL_BIN, LEVEL_BIN)
    inputs = {
        "registered": image_identity(store, PATH), "pair": pair, "region": mask.region.model_dump(),
        "labels": _labels_identity(store, mask), "quiet": [quiet.threshold, quiet.solid, quiet.inside_solid],
        "noise_region": None if quiet.region is None else quiet.region.region.model_dump(), "lag": LAG,
    }  # fmt: skip
    tag = f"{series.names[moving]}_{series.names[fixed]}"
    mean = measure(
        store, Reduction(f"noise/mean_{tag}", VERSION, partial(_mean_chunk, source=source, quiet=quiet), _add_up),
        source, slabs, inputs, limits, scratch=1,
    )  # fmt: skip
    if mean["count"] < 1000:
        raise ValueError(
            f"only {int(mean['count'])} voxels are far from faces and changes: give variation.noise_region"
        )
    chunk = partial(
        _noise_chunk, source=source, quiet=quiet, mask=mask, mean=float(mean["total"] / mean["count"]), windows=windows,
        bins=bins,
    )  # fmt: skip
    found = measure(store, Reduction(f"noise/{tag}", VERSION, chunk, _add_up), source, slabs, inputs, limits, scratch=1)
    covariance = noises.autocovariance(noises.LagSums(found["products"], found["pairs"]))
    zero = (0, 0, 0)
    pooled = noises.pooled_level(mass.Sums(zero, found["quiet_level"], found["quiet_level_count"]))
    bin_level = noises.noise_level(mass.Sums(zero, found["level"], found["level_count"]), least=200)
    level = noises.spread(bin_level[0], bins[1:], series.frame[1:]) / pooled
    inflations = [_inflation(covariance, found[f"window{k}"], size) for k, size in enumerate(windows)]
    return Noise(covariance, level, *inflations)


def _inflation(covariance: Array, windows: Array, size: tuple[int, int, int]) -> float:
    ratio, error, _ = noises.window_check(covariance, windows, size)
    return float(ratio) if np.isfinite(ratio) and ratio > 1 + 2 * error else 1.0


def _mean_chunk(block: Array, region: Region, *, source: SlabSource, quiet: QuietMask) -> dict[str, Array]:
    z, span = region[0], source.span(region)
    core = slice(z.start - span.start, z.stop - span.start)
    mask = quiet.slab(block[0], span)[core] & np.isfinite(block[1][core])
    change = (block[1] - block[0])[core]
    return {"total": np.array(change[mask].sum(dtype=np.float64)), "count": np.array(int(mask.sum()))}


def _noise_chunk(
    block: Array, region: Region, *, source: SlabSource, quiet: QuietMask, mask: RegionMask, mean: float,
    windows: tuple[tuple[int, int, int], ...], bins: tuple[int, int, int],
) -> dict[str, Array]:  # fmt: skip
    z, span = region[0], source.span(region)
    core = slice(z.start - span.start, z.stop - span.start)
    change = block[1] - block[0]
    still = quiet.slab(block[0], span) & np.isfinite(change)
    np.nan_to_num(change, copy=False)
    stop = min(block.shape[1], core.stop + 1)
    fixed = np.nan_to_num(block[0][core.start : stop])
    wanted = mask.slab(slice(z.start, z.start + len(fixed)))
    shape = tuple(-(-n // s) for n, s in zip(mask.frame, bins, strict=True))
    total: dict[str, Array] = {}
    for y in range(0, mask.frame[1], STRIP):
        rows = slice(y, min(y + STRIP, mask.frame[1]))
        wide = slice(max(0, rows.start - LAG[1]), min(mask.frame[1], rows.stop + LAG[1]))
        own = (core, slice(rows.start - wide.start, rows.stop - wide.start), slice(None))
        lags = noises.lag_sums(change[:, wide], still[:, wide], lag=LAG, mean=mean, core=own)
        found: dict[str, Array] = {"products": lags.products, "pairs": lags.pairs}
        offset = (z.start, y, 0)
        for k, size in enumerate(windows):
            sums = mass.bin_sums(change[core, rows] - np.float32(mean), still[core, rows], offset, size)
            found[f"window{k}"] = noises.whole_windows(sums, size)
        more = slice(rows.start, min(rows.stop + 1, mask.frame[1]))
        for name, where in (("quiet_level", still[core.start : stop]), ("level", wanted)):
            sums = noises.level_sums(fixed[:, more], where[:, more], offset, bins).full(shape)
            found |= {name: sums.total, f"{name}_count": sums.count}
        for name, value in found.items():
            total[name] = total[name] + value if name in total else value
    return total


# ----------------------------------------------------------------------------------------------------- run


@dataclass(frozen=True)
class VariationResult:
    """How the stage ended.

    Attributes
    ----------
    passes : tuple of PassResult
    refused : tuple of str
        Why no mass was written; empty where it was.
    warnings : tuple of str
    """

    passes: tuple[PassResult, ...]
    refused: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def run(
    config: Config, series: Series, store: Store, limits: Resources, progress: Progress = silent
) -> VariationResult:
    """Write the images and tables of the change of a registered series.

    Raises
    ------
    ValueError
        A region, log, formula or label that is wrong.
    """
    settings = config.variation
    assert settings is not None
    frame = series.frame
    reasons = check(config, series.scans, frame)
    if series.volume.unit != "1/cm":
        reasons = reasons or [f"the volumes are in {series.volume.unit}"]
    times = series_times(series.scans)
    charge = None
    if config.electrochemistry is not None:
        _, stamps, charge = charge_of_series(config, series.names, series.scans, series.reference)
        times = stamps.time_s
    stamps_s = [float(t) if np.isfinite(t) else None for t in times]
    kinds = (False, True)
    passes = [change_pass(series, store, limits, stamps_s, kind) for kind in kinds]
    done = run_passes(store, passes, limits, progress)
    if reasons:
        return VariationResult(tuple(done), tuple(reasons))
    physics = physics_of(settings, series.scans)
    compositions = compositions_of(settings, physics, charge, len(series.names))
    second = _second(config)
    for kind in kinds:
        steps = density_passes(
            series,
            settings,
            physics,
            compositions,
            store,
            limits,
            stamps_s,
            second,
            kind,
        )
        done += run_passes(store, steps, limits, progress)
    warnings = budget_tables(config, series, store, limits, physics, compositions, times, charge)
    return VariationResult(tuple(done), (), tuple(warnings))


def _second(config: Config) -> str | None:
    settings = config.variation
    if settings is None or settings.closure != "dual_energy" or settings.second_store is None:
        return None
    folder = config.resolve(settings.second_store) / ATTENUATION / "0"
    if not Path(folder).is_dir():
        raise ValueError(f"variation.second_store: {folder} is not there; run the series of the second energy first")
    return str(folder)


def compositions_of(settings: Variation, physics: Physics, charge: ScanCharge | None, count: int) -> list[float | None]:
    """Return the composition of the alloy at each scan for the closure that needs it.

    Raises
    ------
    ValueError
        The charge is unknown.
    """
    if physics.closure != "well_mixed":
        return [None] * count
    if charge is None:
        raise ValueError("closure well_mixed needs [electrochemistry]: the composition follows from the charge")
    loading, start = settings.anode.loading_mg, settings.anode.w_host
    assert loading is not None
    assert start is not None
    return [
        None if not np.isfinite(out) else float(alloy.composition_after(start, loading, max(0.0, -float(out))))
        for out in charge.faraday_mg
    ]


def budget_tables(
    config: Config, series: Series, store: Store, limits: Resources, physics: Physics,
    compositions: Sequence[float | None], times: Array, charge: ScanCharge | None,
) -> list[str]:  # fmt: skip
    """Measure sums and errors of all pairs, write the areal maps and the tables; return warnings."""
    settings, registration = config.variation, config.registration or Registration()
    assert settings is not None
    assert settings.region is not None
    mask = region_mask(series, store, settings.region)
    surface = measure_surface(series, store, settings, registration, limits)
    quiet = _quiet(settings, registration, series, store, mask)
    convert = partial(_to_density, physics=physics)
    warnings: list[str] = []
    results: dict[bool, list[budget.Change | None]] = {}
    for consecutive in (False, True):
        maps = map_arrays(series, store, physics, settings, times, consecutive)
        results[consecutive] = []
        for k, pair in enumerate(pairs_of(series, consecutive)):
            if k in series.failed:
                results[consecutive].append(None)
                continue
            sums = measure_sums(series, store, settings, mask, pair, surface, limits, "region")
            mass.check_not_empty(int(sums["count"].sum()), "variation.region")
            noise = None
            if pair[0] != pair[1]:
                noise = _noise_of(series, store, mask, quiet, pair, limits)
            change = budget.evaluate(
                sums, noise, _errors(settings, physics, series, pair), partial(convert, w=compositions[k]),
                _slope(physics, settings, compositions[k]), series.volume.voxel_um or 1.0, physics.anode.k_species,
            )  # fmt: skip
            for name, array in maps.items():
                array[k] = getattr(change, name).astype(np.float32)
            results[consecutive].append(budget.without_maps(change))
    warnings += write_tables(config, series, store, limits, physics, times, charge, results)
    return warnings


def _slope(physics: Physics, settings: Variation, w: float | None) -> float:
    if physics.closure == "dual_energy":
        k = _two(settings)
        assert k is not None
        return float(np.hypot(*closure.dual_energy_inverse(k)[0]))
    return closure.sensitivity(physics.closure, physics.anode, w_host=w)


def _to_density(change: Array, *, physics: Physics, w: float | None) -> Array:
    """Return the change of density of mean changes of attenuation."""
    if physics.closure == "dual_energy":
        return np.asarray(change / physics.anode.k_species)
    return np.asarray(closure.density_change(physics.closure, change, physics.anode, w_host=w).species)


def _errors(settings: Variation, physics: Physics, series: Series, pair: tuple[int, int]) -> budget.Errors:
    moving, fixed = (series.motions[k] for k in pair)
    shift = float(np.hypot(np.hypot(moving.tre_self, fixed.tre_self), settings.registration_error_voxel))
    reach = min(series.frame[1:]) / 3
    return budget.Errors(
        shift_voxel=shift, rotation_rad=shift / reach,
        gain=float(np.hypot(moving.gain_sigma, fixed.gain_sigma)),
        offset=float(np.hypot(moving.offset_sigma, fixed.offset_sigma)),
        table=settings.table_error, energy=abs(physics.percent_per_keV) / 100 * settings.energy_error_keV,
        alternatives=tuple(closure.sensitivity(name, physics.anode) for name in settings.alternatives),
    )  # fmt: skip


def _quiet(
    settings: Variation, registration: Registration, series: Series, store: Store, mask: RegionMask
) -> QuietMask:
    """Return where noise is measured: the region named, else away from faces, ceramic and the anode."""
    minimum = None if registration.mask == "auto" else registration.mask.min_attenuation
    named = None if settings.noise_region is None else region_mask(series, store, settings.noise_region)
    return QuietMask(named, mask, face_gradient(series, store), minimum)


def face_gradient(series: Series, store: Store) -> float:
    """Return the gradient (1/cm per voxel) from which a voxel of the reference scan lies at a strong face."""
    array: Any = zarr.open_array(str(store.path / PATH / "0"), mode="r")
    planes = np.unique(np.linspace(0, series.frame[0] - 1, 16).astype(int))
    sample = np.concatenate([np.asarray(array[series.reference, z])[::2, ::2].ravel() for z in planes.tolist()])
    low, high = np.nanpercentile(sample, [1, 99])
    return float(high - low) / 5


def _noise_of(
    series: Series, store: Store, mask: RegionMask, quiet: QuietMask, pair: tuple[int, int], limits: Resources
) -> Noise:
    """Measure noise in planes without ceramic; in the ceramic where there are no such planes."""
    try:
        return measure_noise(series, store, mask, quiet, pair, limits)
    except ValueError:
        if quiet.region is not None or quiet.solid is None:
            raise
        return measure_noise(series, store, mask, replace(quiet, inside_solid=True), pair, limits)


AREAL = {"areal": "mg/cm2", "areal_sigma": "mg/cm2"}


def map_arrays(
    series: Series, store: Store, physics: Physics, settings: Variation, times: Array, consecutive: bool
) -> dict[str, Any]:
    """Prepare the images (t, y, x) of the areal maps and their errors, NaN throughout; return their arrays."""
    arrays = {}
    shape = (len(series.names), *series.frame[1:])
    for name, unit in AREAL.items():
        image = Image(
            f"variation/{name}{'_consecutive' * consecutive}", ("t", "y", "x"), shape, "float32", unit, 1,
            voxel_um=series.volume.voxel_um,
            attributes={
                "time_s": [float(t) for t in times], "closure": physics.closure, "species": settings.species
            },
        )  # fmt: skip
        store.prepare(image)
        arrays[name] = zarr.open_array(str(store.path / image.path / "0"), mode="r+")
        for k in series.failed:
            arrays[name][k] = np.nan
    return arrays


def write_tables(
    config: Config, series: Series, store: Store, limits: Resources, physics: Physics, times: Array,
    charge: ScanCharge | None, results: Mapping[bool, Sequence[budget.Change | None]],
) -> list[str]:  # fmt: skip
    """Write the tables of the stage; return warnings."""
    settings = config.variation
    assert settings is not None
    voxel = series.volume.voxel_um or 1.0
    table = budget.balance_table(series.names, times, charge, results[False], results[True])
    store.write_table("mass_balance", table, budget.BALANCE_UNITS)
    for name, rows in budget.profiles(series.names, results[False], voxel).items():
        if len(rows):
            store.write_table(name, rows, budget.PROFILE_UNITS)
    if settings.bins is not None:
        store.write_table("bins", budget.bin_table(series.names, results[False], settings.bins), budget.PROFILE_UNITS)
    totals = _region_totals(config, series, store, limits, physics)
    if len(totals):
        store.write_table("region_totals", totals, budget.BALANCE_UNITS)
    warnings = []
    if charge is not None:
        record, _, _ = charge_of_series(config, series.names, series.scans, series.reference)
        thin = max(1, len(record.time_s) // 5000)
        columns = {"time_s": record.time_s[::thin], "charge_C": record.charge_C[::thin]}
        if record.voltage_V is not None:
            columns["voltage_V"] = record.voltage_V[::thin]
        store.write_table("cycler", pd.DataFrame(columns), budget.BALANCE_UNITS)
        warnings += budget.write_balance(store, table, settings, config, physics)
        outside = [n for n, c in zip(series.names, charge.charge_C, strict=True) if not np.isfinite(c)]
        if outside:
            warnings.append(f"the cycler's log does not reach {', '.join(outside)}: no charge for it")
    return warnings


def _region_totals(config: Config, series: Series, store: Store, limits: Resources, physics: Physics) -> pd.DataFrame:
    """Return the change of mass in every region that is named, scan by scan."""
    settings = config.variation
    assert settings is not None
    rows = []
    voxel = series.volume.voxel_um or 1.0
    for name, region in settings.regions.items():
        mask = region_mask(series, store, region)
        for k, pair in enumerate(pairs_of(series, False)):
            if k in series.failed:
                continue
            sums = measure_sums(series, store, settings, mask, pair, None, limits, name)
            count = int(sums["count"].sum())
            mass.check_not_empty(count, f"variation.regions.{name}")
            density = _to_density(np.array(sums["change"].sum() / count), physics=physics, w=None)
            rows.append(
                {
                    "scan": series.names[k], "region": name, "voxels": count,
                    "mass_change_mg": float(density) * count * (voxel * 1e-4) ** 3 * 1e3,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)
