"""Scatter and non-linearity of each scan of a series: a step for each, their table, and what errors they make."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from xct_pipeline.config import Config
from xct_pipeline.engine.blocks import Array
from xct_pipeline.engine.execution import estimated, image_identity
from xct_pipeline.engine.resources import Need, Resources
from xct_pipeline.engine.scheduling import call_each
from xct_pipeline.engine.steps import Estimate, Steps, needs_of, of_each, path_name
from xct_pipeline.reconstruction.fourier import reconstruct
from xct_pipeline.reconstruction.projector import project_slices
from xct_pipeline.region import RegionMask
from xct_pipeline.registration.steps.stage import PATH
from xct_pipeline.store import layout
from xct_pipeline.store.store import Store
from xct_pipeline.store.stored_array import StoredArray
from xct_pipeline.store.tables import TABLES
from xct_pipeline.variation.dark_level import DarkLevel
from xct_pipeline.variation.grey_scale import KINDS, Distortion, GreyScale, Optics, Scene, judge
from xct_pipeline.variation.steps import dark_level
from xct_pipeline.variation.steps.series import PREFIX, Materials, RegisteredSeries

if TYPE_CHECKING:
    import pandas as pd

VERSION = 8
MOST_COLUMNS = 160  # of the level of the pyramid that is looked at: cupping is slow
ANGLES = 1.6  # per column, of the projections that distortions are computed on
BLUR = 0.7  # voxels, where segmentation does not say otherwise
BYTES, SECONDS = 120, 1e-6  # per voxel of the level
SURE, SURER = 3.0, 5.0  # standard errors from which on a distortion is told: of both kinds, or of one of them
SMALL = 0.01  # of a change of mass: less is told of by nothing but the table
GAS_SHARE = 0.1  # of the uniform material's attenuation, below which the darkest material counts as gas


def grey_scale_steps(series: RegisteredSeries, materials: Materials | None) -> list[Estimate]:
    """Return the steps that judge the grey values of each scan; none without labels."""
    if materials is None:
        return []
    return [*_judging_steps(series), *dark_level.dark_level_steps(series)]


def _judging_steps(series: RegisteredSeries) -> list[Estimate]:
    """Return the steps that judge each scan by itself, side by side."""
    return of_each([_step(series, k, {}) for k in series.good], len(series.good))


def _step(series: RegisteredSeries, scan: int, inputs: Mapping[str, Any]) -> Estimate:
    voxels = math.prod(n >> level_of(series) for n in series.frame)
    need = Need("", 1, BYTES * voxels, alone=True, cpu_s=SECONDS * voxels)
    return Estimate(f"{PREFIX}grey_scale/{path_name(series.names[scan])}", VERSION, need, inputs)


def level_of(series: RegisteredSeries) -> int:
    """Return the level of the pyramid that is looked at."""
    return max(0, math.ceil(math.log2(series.frame[2] / MOST_COLUMNS)))


def grey_scales(
    config: Config,
    series: RegisteredSeries,
    store: Store,
    region: RegionMask,
    materials: Materials | None,
    k_species: float,
    limits: Resources,
    steps: Steps | None = None,
) -> tuple[RegisteredSeries, list[str]]:
    """Judge the grey values of all scans and write their table; return the series with what was found, and warnings.

    `k_species` (cm2/g) makes a mass of a change of attenuation.
    """
    if materials is None:
        if steps is not None:
            unknown = [*_judging_steps(series), *dark_level.dark_level_steps(series)]
            steps.leave_out([step.name for step in unknown if step.name in steps])
        if (store.path / layout.TABLE(table="grey_scale")).exists():  # of an earlier run, with labels
            store.write_table("grey_scale", table_of([], [], [], [], []))
        return series, []
    uniform, blur = uniform_label(config, materials), blur_of(config)

    def judged(k: int, _: Resources) -> dict[str, Array]:
        return _of_scan(series, store, k, region, materials, uniform, blur, steps)

    needs = needs_of(_judging_steps(series), steps)
    values = dict(zip(series.good, call_each(judged, series.good, needs, limits), strict=True))
    problems = [str(values.get(k, {}).get("problem", "")) for k in range(len(series.names))]
    found = [
        None if k in series.failed or problem else grey_scale_from(values[k]) for k, problem in enumerate(problems)
    ]
    darks = dark_level.dark_levels(series, store, region, materials, uniform, limits, steps)
    effects = _effects(series, region, found, darks, k_species)
    store.write_table("grey_scale", table_of(series.names, found, problems, darks, effects))
    told = warnings_of(series.names, found, materials.names[uniform])
    told += dark_level.warnings_of(series.names, darks, effects)
    return replace(series, grey=tuple(found), dark=darks), told


def _effects(
    series: RegisteredSeries,
    region: RegionMask,
    found: Sequence[GreyScale | None],
    darks: Sequence[DarkLevel | None],
    k_species: float,
) -> list[float]:
    """Return by how many mg the dark level puts the mass of each scan off, NaN where it is not known."""
    level = level_of(series)
    whole = tuple(slice(0, n >> level) for n in series.frame)
    edge_cm = (series.volume.voxel_um or 1.0) * 2**level * 1e-4
    cm3 = float(region.box(whole, level).sum()) * edge_cm**3
    effects = []
    for grey, dark in zip(found, darks, strict=True):
        if grey is None or dark is None:
            effects.append(math.nan)
        else:
            effects.append(dark.level * grey.dark_offset * cm3 / k_species * 1e3)
    return effects


def blur_of(config: Config) -> float:
    """Return the standard deviation of the point spread, voxels, as far as segmentation tells it."""
    return float(getattr(config.segmentation, "blur", BLUR))


def uniform_label(config: Config, materials: Materials) -> int:
    """Return the label of the material taken for uniform: the ceramic, the brightest unless it is named."""
    name = None if config.segmentation is None else config.segmentation.ceramic
    return next((value for value, each in materials.names.items() if each == name), max(materials.names))


def _of_scan(
    series: RegisteredSeries,
    store: Store,
    scan: int,
    region: RegionMask,
    materials: Materials,
    uniform: int,
    blur: float,
    steps: Steps | None,
) -> dict[str, Array]:
    level = level_of(series)
    inputs = {
        "registered": image_identity(store, PATH),
        "labels": materials.identity,
        "region": region.identity_of(),
        "scan": scan,
        "level": level,
        "uniform": uniform,
        "blur": blur,
        "transform": np.round(series.motions[scan].transform, 4),
    }

    def search() -> dict[str, Array]:
        volume = np.asarray(StoredArray(store.path / PATH / str(level))[scan], np.float32)
        labels = np.asarray(StoredArray(f"{materials.folder}/{level}")[scan])
        scale = 2**level
        gas = gas_label(volume, labels, min(materials.names), uniform)
        inside = region.box(tuple(slice(0, n) for n in volume.shape), level)
        planes = np.flatnonzero((labels == uniform).any(axis=(1, 2)))
        height = (float(planes.mean()) if planes.size else 0.0) * scale
        y, x = ((place - (scale - 1) / 2) / scale for place in axis_of(series, scan, height))
        um = (series.volume.voxel_um or 1.0) * scale
        try:
            scene = Scene(volume, labels, uniform, gas, inside, (y, x), blur / scale)
            return as_arrays(judge(scene, optics_of(volume.shape[2], um)))
        except ValueError as error:
            return {"problem": np.array(str(error))}

    return estimated(store, _step(series, scan, inputs), search, steps)


def gas_label(volume: Array, labels: Array, darkest: int, uniform: int) -> int:
    """Return the label of gas: the darkest material where it attenuates next to nothing, else 0, no label."""
    means = []
    for label in (darkest, uniform):
        values = volume[(labels == label) & np.isfinite(volume)]
        means.append(float(np.median(values)) if values.size else np.nan)
    return darkest if means[0] < GAS_SHARE * means[1] else 0


def optics_of(size: int, voxel_um: float) -> Optics:
    """Return a parallel beam over half a turn, a pixel for each voxel along x."""
    angles = np.arange(max(24, round(ANGLES * size))) * np.pi / max(24, round(ANGLES * size))
    middle = (size - 1) / 2

    def forward(model: Array) -> Array:
        found = project_slices(np.asarray(model, np.float32), angles, center=middle, columns=size)
        return found * np.float32(voxel_um * 1e-4)

    def back(paths: Array) -> Array:
        rows = np.ascontiguousarray(np.moveaxis(paths, 1, 0))
        return np.asarray(reconstruct(rows, angles, center=middle, pixel_size_um=voxel_um, pad="zero"))

    return Optics(forward, back, len(angles))


def axis_of(series: RegisteredSeries, scan: int, height: float) -> tuple[float, float]:
    """Return where (y, x) the rotation axis of a scan lies in the frame of the reference, voxels, at a height."""
    motion = series.motions[scan].transform
    middle = np.array([(n - 1) / 2 for n in series.frame[1:]])
    y, x = np.linalg.solve(motion[1:, 1:3], middle - motion[1:, 3] - motion[1:, 0] * height)
    return float(y), float(x)


def as_arrays(found: GreyScale) -> dict[str, Array]:
    """Return what was found as arrays that the store keeps."""
    numbers = {name: np.array(value) for name, value in found._asdict().items() if name not in KINDS}
    return numbers | {kind: np.array(getattr(found, kind)) for kind in KINDS}


def grey_scale_from(values: Mapping[str, Array]) -> GreyScale:
    """Return what `as_arrays` made arrays of."""
    scatter, nonlinearity = (Distortion(*(float(v) for v in values[kind])) for kind in KINDS)
    cupping, cupping_sigma, air, air_sigma, dark = (
        float(values[name]) for name in ("cupping", "cupping_sigma", "air", "air_sigma", "dark_offset")
    )
    return GreyScale(scatter, nonlinearity, cupping, cupping_sigma, air, air_sigma, int(values["voxels"]), dark)


def table_of(
    names: Sequence[str],
    found: Sequence[GreyScale | None],
    problems: Sequence[str],
    darks: Sequence[DarkLevel | None],
    effects: Sequence[float],
) -> pd.DataFrame:
    """Return one row per scan."""
    import pandas as pd

    rows = []
    for name, grey, problem, dark, effect in zip(names, found, problems, darks, effects, strict=True):
        row: dict[str, object] = {"scan": name}
        if grey is not None:
            for kind in KINDS:
                one: Distortion = getattr(grey, kind)
                row |= {kind: one.amplitude, f"sigma_{kind}": one.sigma}
                row[f"mass_{kind}"] = one.amplitude * one.mass
            row |= {"cupping": grey.cupping, "sigma_cupping": grey.cupping_sigma}
            row |= {"air": grey.air, "sigma_air": grey.air_sigma, "voxels": grey.voxels}
        if dark is not None:
            row |= {"dark": dark.level, "sigma_dark": dark.sigma, "mass_dark_mg": effect}
        rows.append(row | {"problem": problem})
    return pd.DataFrame(rows, columns=[column.name for column in TABLES["grey_scale"].columns])


def significance(grey: GreyScale) -> float:
    """Return how surely grey values are distorted, from 1 on.

    Rings of some scans look like one kind, hence both are asked; no light is scattered by less than nothing, hence a
    middle that is too bright, as only a response makes it, has to be surer.
    """
    less, more = sorted(abs(one.amplitude) / one.sigma for one in (grey.scatter, grey.nonlinearity))
    return max(less / SURE if grey.scatter.amplitude > 0 else 0.0, more / SURER)


def warnings_of(names: Sequence[str], found: Sequence[GreyScale | None], uniform: str) -> list[str]:
    """Say in which scans grey values do not follow the attenuation, and what that means for the mass."""
    told = [(significance(grey), name, grey) for name, grey in zip(names, found, strict=True) if grey is not None]
    sure = [entry for entry in told if entry[0] >= 1 and _effect(entry[2]) >= SMALL]
    if not sure:
        return []
    _, name, grey = max(sure, key=lambda entry: entry[0])
    s, n = grey.scatter, grey.nonlinearity
    return [
        f"{name}: grey values of {uniform} rise by {grey.cupping:.2%} +- {grey.cupping_sigma:.2%} from its middle to "
        f"its surface ({len(sure)} of {len(told)} scans): scattered light of {s.amplitude:.1%} +- {s.sigma:.1%} does "
        f"so and puts a change of mass off by {s.amplitude * s.mass:+.1%}, a response {n.amplitude:.1%} +- "
        f"{n.sigma:.1%} from linear by {n.amplitude * n.mass:+.1%}, a spectrum by as much; part of "
        "sigma_linearity_mg, see tables/grey_scale.csv"
    ]


def _effect(grey: GreyScale) -> float:
    """Return the largest share that a change of mass may be off by."""
    return max(abs(one.amplitude * one.mass) for one in (grey.scatter, grey.nonlinearity))


def relative_error(series: RegisteredSeries, pair: tuple[int, int]) -> float:
    """Return the relative error of a change of mass from distortions that both scans share.

    What is found beyond its own error, of the kind that matters more: the sign of its effect is not known.
    """
    seen = [series.grey[k] for k in pair if k < len(series.grey)]
    errors = [0.0]
    for kind in KINDS:
        each = [_excess(one.amplitude, one.sigma) * one.mass for one in _of_kind(seen, kind)]
        errors.append(math.sqrt(sum(e**2 for e in each) / len(each)) if each else 0.0)
    return max(errors)


def offset_error(series: RegisteredSeries, pair: tuple[int, int]) -> float:
    """Return the error of grey values in the anode, 1/cm, where the two scans are surely distorted differently.

    Of the dark level what is found beyond its own error counts; it looks like a difference in scatter too, so that the
    larger of both is taken.
    """
    seen = [series.grey[k] for k in pair if k < len(series.grey)]
    errors = [_dark_error(series, pair)]
    for kind in KINDS:
        each = _of_kind(seen, kind)
        if len(each) == 2:
            apart, sigma = each[0].amplitude - each[1].amplitude, math.hypot(each[0].sigma, each[1].sigma)
            mean = (each[0].offset + each[1].offset) / 2
            errors.append(abs(apart * mean) if abs(apart) > SURE * sigma else 0.0)
    return max(errors)


def _dark_error(series: RegisteredSeries, pair: tuple[int, int]) -> float:
    darks = [series.dark[k] for k in pair if k < len(series.dark)]
    offsets = [grey.dark_offset for grey in (series.grey[k] for k in pair if k < len(series.grey)) if grey is not None]
    if len(darks) < 2 or darks[0] is None or darks[1] is None or not offsets:
        return 0.0
    apart = _excess(darks[0].level - darks[1].level, math.hypot(darks[0].sigma, darks[1].sigma))
    return apart * abs(sum(offsets) / len(offsets))


def _of_kind(seen: Sequence[GreyScale | None], kind: str) -> list[Distortion]:
    return [getattr(grey, kind) for grey in seen if grey is not None]


def _excess(amplitude: float, sigma: float) -> float:
    return math.sqrt(max(amplitude**2 - sigma**2, 0.0))
