"""Every step of a small registered series, for each method that there is: what golden values are taken of."""

from __future__ import annotations

import ast
import inspect
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, get_args, get_origin

import numpy as np
import scipy.ndimage
import tifffile
import zarr
from stored_series import LIMITS, VOXEL, reference_volume, write_image

import xct_pipeline
from xct_pipeline.config import Config, Registration, Segmentation
from xct_pipeline.config.file import parse_config
from xct_pipeline.engine.blocks import BlockOp, Pass, Reduction
from xct_pipeline.engine.execution import load_kept
from xct_pipeline.engine.steps import Steps
from xct_pipeline.reconstruction.projector import project_slices
from xct_pipeline.reconstruction.steps.halves import halves_step
from xct_pipeline.reconstruction.steps.row_sums import Integrals, Rays, row_sums_step
from xct_pipeline.reconstruction.steps.stage import Geometry, volume_pass
from xct_pipeline.registration.steps.stage import Motion, series_pass
from xct_pipeline.scan import Axis
from xct_pipeline.segmentation.steps import stage as segmentation
from xct_pipeline.store.store import Store
from xct_pipeline.variation.closures import CLOSURES, Closure
from xct_pipeline.variation.edge_gradient import Plane
from xct_pipeline.variation.steps import edge_gradient
from xct_pipeline.variation.steps import stage as variation
from xct_pipeline.variation.steps.images import density_passes
from xct_pipeline.variation.steps.physics import physics_of
from xct_pipeline.variation.steps.projections import projections_step

SHAPE = (40, 56, 60)
NAMES = ("scan_00", "scan_01", "scan_02")
SECOND = (slice(1, 2), *(slice(0, n) for n in SHAPE))  # the second scan
MAKERS = ("BlockOp", "Reduction", "block_op", "box_step")  # what makes an operation or a reduction
REGION = {"cylinder": {"z": [14, 26], "radius": 18.0}}
SEGMENT: Mapping[str, Mapping[str, Any]] = {
    "hysteresis": {"weak": 0.3, "strong": 0.5},
    "values": {"thresholds": [0.3, 3.5]},
    "otsu": {"classes": 3},
    "watershed": {"classes": 3},
    "classifier": {"labels": "painted.tif", "scan": "scan_00", "z": [8, 18], "trees": 5, "depth": 6, "sigmas": [1.0]},
}
MORE = {
    "interface": {"offsets": [2.0], "partners": ["ceramic"]},
    "thickness": {"materials": ["gas"], "largest": 8.0},
    "objects": {"materials": ["gas"]},
}


def methods(annotation: Any) -> list[str]:
    """Return the names of the methods of a union of sections, in their order."""
    found: list[str] = []
    for part in get_args(annotation):
        if inspect.isclass(part) and "method" in getattr(part, "model_fields", {}):
            found += [name for name in get_args(part.model_fields["method"].annotation) if name != "none"]
        else:
            found += methods(part)
    return list(dict.fromkeys(found))


def choices(annotation: Any) -> tuple[str, ...]:
    """Return the values of a literal, the first that an annotation holds."""
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return next((found for part in get_args(annotation) if (found := choices(part))), ())


def volumes() -> list[np.ndarray]:
    """Gas, metal and ceramic with noise; the metal loses mass from scan to scan."""
    state = np.random.Generator(np.random.PCG64(11))
    material = np.zeros(SHAPE)
    material[2:12, 4:52, 4:56] = 7.0
    material[12:28, 8:48, 8:52] = 0.6
    material[17:22, 20:28, 22:31] = 0.0
    found = []
    for k in range(len(NAMES)):
        now = material.copy()
        now[14:26, 18:38, 16:44] *= 1 - 0.1 * k
        smooth = scipy.ndimage.gaussian_filter(now, 0.6)
        found.append((smooth + 0.03 * state.normal(size=SHAPE)).astype(np.float32))
    return found


def stored(folder: Path) -> Store:
    """Return a store with the registered series, and painted labels beside it."""
    store = Store(folder / "store.zarr")
    store.claim({name: [name] for name in NAMES})
    write_image(store, "registered", volumes(), "1/cm")
    painted = np.zeros((2, *SHAPE[1:]), np.uint8)
    painted[0, 10:40, 10:40] = 3
    painted[1, 10:16, 10:40], painted[1, 50:, :] = 2, 1
    tifffile.imwrite(folder / "painted.tif", painted)
    return store


def config_of(store: Store, **tables: Any) -> Config:
    raw = {"output": "store.zarr", "acquisition": {"scans": ["a"], "pixel_size_um": VOXEL}, "seed": 3, **tables}
    raw["store"] = {"precision": "float32"}  # what operations give, not what is kept of it
    return parse_config(raw, store.path.parent)


class Noted(Steps):
    """Steps that keep what was executed of them."""

    def __init__(self, planned: Any) -> None:
        super().__init__(planned)
        self.bound: list[Any] = []

    def note(self, step: Any, outcome: Any) -> None:
        super().note(step, outcome)
        if outcome != "not needed":
            self.bound.append(step)


def results(store: Store, steps: Noted, tag: str) -> Iterator[tuple[str, int, np.ndarray]]:
    """Yield name, version and values of every pass and reduction that was executed."""
    for step in steps.bound:
        if isinstance(step, Pass):
            array = zarr.open_array(str(store.path / step.image.path / "0"), mode="r")[:]
            yield f"{tag}: {step.name}", max(op.version for op in step.ops), array
        elif isinstance(step, Reduction):
            kept = load_kept(store, step.name, step.digests()[0]) or {}
            parts = [np.nan_to_num(np.asarray(kept[key], np.float64)).ravel() for key in sorted(kept)]
            yield f"{tag}: {step.name}", step.version, np.concatenate(parts)


def all_results(folder: Path) -> Iterator[tuple[str, int, np.ndarray]]:
    """Yield name, version and values of every step of registration, segmentation and variation, by each method."""
    store = stored(folder)
    volume = reference_volume(SHAPE)
    for order in choices(Registration.model_fields["order"].annotation):
        yield from _warped(store, order)
    for method in methods(Segmentation):
        settings = {"method": method, "names": ["gas", "metal", "ceramic"], **SEGMENT[method]}
        settings |= {"names": ["gas", "metal"], "ceramic": "metal"} if method == "hysteresis" else {}
        settings |= MORE if method == "watershed" else {"interface": {"offsets": []}, "objects": {"materials": []}}
        config = config_of(store, segmentation=settings)
        facts = segmentation.Facts(NAMES, (), 0, volume, (0.0, 1.0, 2.0))
        steps = Noted(segmentation.plan_steps(config, facts, store, LIMITS))
        segmentation.run(config, facts, store, LIMITS, steps=steps)
        yield from results(store, steps, method)
    motions = tuple(Motion(name, np.eye(3, 4), tre_self=0.02, gain_sigma=1e-3) for name in NAMES)
    series = variation.RegisteredSeries(NAMES, (), 0, volume, motions, (None,) * len(NAMES))
    options = {"region": {"label": "metal"}, "energy_keV": 50.0, "regions": {"part": REGION}, "bins": [8, 16, 16]}
    options["keep"] = ["attenuation", "density", "attenuation_consecutive", "density_consecutive"]
    mask = {"mask": {"min_attenuation": 4.0}}
    config = config_of(store, registration=mask, variation={**options, "closure": "na_only"})
    steps = Noted(variation.plan_steps(config, series, store, LIMITS, mass_known=True))
    variation.run(config, series, store, LIMITS, steps=steps)
    yield from results(store, steps, "na_only")
    for closure in CLOSURES.values():
        yield from _closed(store, series, closure)
    yield from projected(folder)


def _warped(store: Store, order: str) -> Iterator[tuple[str, int, np.ndarray]]:
    """Yield the scans moved by a turn and a shift."""
    turn = np.array([[1.0, 0.01, 0.0, 0.3], [-0.01, 1.0, 0.02, -0.6], [0.0, -0.02, 1.0, 0.2]])
    motions = [Motion(NAMES[0], np.eye(3, 4)), *(Motion(name, turn, gain=1.01, offset=0.02) for name in NAMES[1:])]
    settings = config_of(store, registration={"order": order}).registration
    assert settings is not None
    folders = [reference_volume(SHAPE)] * len(NAMES)
    step = series_pass(settings, folders, motions, 0, [None] * len(NAMES), store, LIMITS)
    box = step.source.box(SECOND)
    values, _ = step.ops[0].function(volumes()[1][box], SECOND, SECOND)
    yield f"warp.{order}", step.ops[0].version, values


def _closed(
    store: Store, series: variation.RegisteredSeries, closure: Closure
) -> Iterator[tuple[str, int, np.ndarray]]:
    """Yield the change of density of the second scan by a closure, and its flags."""
    anode = {"w_host": 0.4, "loading_mg": 5.0, "filling": 0.6, "carbon_fraction": 0.1}
    second = {"second_store": "store.zarr", "second_energy_keV": 80.0} if closure.energies > 1 else {}
    settings = config_of(
        store, variation={"closure": closure.name, "region": REGION, "energy_keV": 50.0, "anode": anode, **second}
    ).variation
    assert settings is not None
    physics, compositions = physics_of(settings, series.scans), (0.4, 0.45, 0.5)
    other, times = (store if second else None), (None,) * len(NAMES)
    for step in density_passes(series, settings, physics, compositions, store, times, other, False):
        name = step.name.rsplit("/", 1)[-1]
        yield f"closure.{closure.name}: {name}", step.ops[0].version, np.asarray(step.compute(SECOND)[0])


class Rows:
    """Line integrals (angle, row, column) that are read, with what `row_sums` and `projections` ask of a pass."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.ops, self.offset, self.inputs = values, (None,), (0,), {}
        self.source, self.image = self, SimpleNamespace(shape=values.shape[1:])

    def read(self, region: Any) -> np.ndarray:
        return np.array(self.values[region])

    def nbytes(self, region: Any) -> int:
        return int(self.values[region].nbytes)


def projected(folder: Path) -> Iterator[tuple[str, int, np.ndarray]]:
    """Yield the sums of a scan's rows, and the change of a region that is fitted to the projections of two scans."""
    shape, edge = (6, 40, 40), VOXEL * 1e-4
    state = np.random.Generator(np.random.PCG64(12))
    y, x = np.indices(shape[1:]) - 19.5
    scans = [np.stack([(np.hypot(y, x) < 15) * (2.0 - 0.1 * k * (np.hypot(y, x - 2) < 8))] * shape[0]) for k in (0, 1)]
    angles = np.linspace(0, np.pi, 24, endpoint=False)
    geometry = Geometry(angles, shape[0], 48, Axis(23.5), VOXEL, shape[1])
    rows = []
    for scan in scans:
        lines = project_slices((scan * edge).astype(np.float32), angles, center=23.5, columns=48)
        noise = 1e-3 * state.normal(size=(len(angles), shape[0], 48))
        rows.append(Rows((np.moveaxis(lines, 0, 1) + noise).astype(np.float32)))
    sums = row_sums_step("golden", rows[0], geometry, (4, 4), 1.0)
    yield "row_sums", sums.version, _reduced(sums)
    settings = config_of(Store(folder / "rays.zarr"), reconstruction={"fft": "scipy"}).reconstruction
    whole = volume_pass("golden", rows[0], (), settings, geometry, (0, shape[0]), {}, LIMITS)
    split = halves_step("golden", whole, settings, geometry, (slice(10, 30), slice(10, 30)), 0.0)
    found = split.combine([split.chunk(split.source.read(region), region) for region in split.regions])
    yield "halves.correlation", split.version, found["correlation"]
    yield "halves.covariance", split.version, found["covariance"]
    store = Store(folder / "rays.zarr")
    store.claim({name: [name] for name in NAMES[:2]})
    fixed = str(store.path / reference_volume(shape).path / "0")
    zarr.create_array(fixed, data=scans[0].astype(np.float32), chunks=shape, shards=shape)
    rays = tuple(Rays(Integrals(each, ()), geometry, 0, shape[0], {}) for each in rows)
    motions = tuple(Motion(name, np.eye(3, 4)) for name in NAMES[:2])
    series = variation.RegisteredSeries(NAMES[:2], (), 0, reference_volume(shape), motions, (None, None), rays=rays)
    region = {"cylinder": {"z": [1, 5], "radius": 12.0}}
    settings = config_of(store, variation={"region": region, "energy_keV": 50.0, "closure": "na_only"}).variation
    step = projections_step(SimpleNamespace(series=series, settings=settings, store=store, voxel_um=VOXEL), 1, False)
    assert step is not None
    yield "projections", step.version, _reduced(step)
    yield from _edges(state)


def _edges(state: np.random.Generator) -> Iterator[tuple[str, int, np.ndarray]]:
    """Yield what averaging intensities takes at a face of a disc that is half as dense above it."""
    rows, u = np.arange(24)[None, :, None], np.arange(48) - 23.5
    angles = np.linspace(0, np.pi, 24, endpoint=False)
    share = np.clip(12.1 - rows + 0.02 * np.cos(angles)[:, None, None] * u, 0, 1)  # of light through the dense part
    chord = np.sqrt(np.clip(1 - (u / 20) ** 2, 0, None))
    light = share * np.exp(-0.8 * chord) + (1 - share) * np.exp(-0.1 * chord)
    lines = Rows((1e-3 * state.normal(size=light.shape) - np.log(light)).astype(np.float32))
    rays = Rays(Integrals(lines, ()), Geometry(angles, 24, 48, Axis(23.5), VOXEL, 48), 0, 24, {})
    motion, volume = Motion(NAMES[0], np.eye(3, 4)), reference_volume((24, 48, 48))
    series = variation.RegisteredSeries(NAMES[:1], (), 0, volume, (motion,), (None,), rays=(rays,))
    study = SimpleNamespace(series=series, second=None, config=SimpleNamespace(segmentation=None))
    plane = Plane(11.6, 0.5, -0.3, 0.002, 0.02)
    face = edge_gradient.FittedFace(plane, 0.02, True, 96 / math.sqrt(math.pi), 7.0, np.eye(2))
    step = edge_gradient.edges_step(study, 0, [face])
    assert step is not None
    yield "edges", step.version, _reduced(step)


def _reduced(step: Reduction) -> np.ndarray:
    found = step.combine([step.chunk(step.source.read(region), region) for region in step.regions])
    return np.concatenate([np.nan_to_num(np.asarray(found[key], np.float64)).ravel() for key in sorted(found)])


# ---------------------------------------------------------------------------------------------------- discovery


def places_of_makers() -> set[tuple[str, str]]:
    """Return module and function of every place in the package that makes an operation or a reduction."""
    root = Path(xct_pipeline.__file__).parent
    found: set[tuple[str, str]] = set()
    for file in root.rglob("*.py"):
        module = ".".join(["xct_pipeline", *file.relative_to(root).with_suffix("").parts])
        for function in ast.walk(ast.parse(file.read_text())):
            if isinstance(function, ast.FunctionDef):
                calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
                if any(isinstance(call.func, ast.Name) and call.func.id in MAKERS for call in calls):
                    found.add((module, function.name))
    return found


def spied(seen: set[tuple[str, str]], kind: type) -> Callable[..., None]:
    """Return an ``__init__`` that notes every function of the package on whose behalf an object is made."""
    made = kind.__init__

    def init(self: Any, *args: Any, **more: Any) -> None:
        frame = sys._getframe(1)
        while frame is not None:
            module = frame.f_globals.get("__name__", "")
            if module.startswith("xct_pipeline"):
                seen.add((module, frame.f_code.co_name))
            frame = frame.f_back
        made(self, *args, **more)

    return init


KINDS = (BlockOp, Reduction)
