"""The noise of the differences between scans, measured brick by brick where nothing changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from xct_pipeline.boxes import Region, inside, size_of
from xct_pipeline.engine.blocks import Array, Reduction, unbound
from xct_pipeline.engine.execution import image_identity, measure
from xct_pipeline.engine.resources import Resources
from xct_pipeline.engine.steps import Steps
from xct_pipeline.region import RegionMask
from xct_pipeline.registration.steps.stage import PATH
from xct_pipeline.store.store import Store
from xct_pipeline.store.stored_array import StoredArray
from xct_pipeline.variation import lags, mass
from xct_pipeline.variation import noise as noises
from xct_pipeline.variation import ring_arcs as arcs
from xct_pipeline.variation import windows as window_sums
from xct_pipeline.variation.ring_terms import ring_autocovariance
from xct_pipeline.variation.rings import Rings
from xct_pipeline.variation.steps.quiet import (
    ENOUGH,
    HALO,
    QuietMask,
    bricks_of,
    chosen_bricks,
    sample,
    survey,
    survey_step,
)
from xct_pipeline.variation.steps.rings import Axes, axes_of, frames_of_pair, rings_of
from xct_pipeline.variation.steps.series import (
    KINDS,
    PREFIX,
    VERSION,
    BoxSource,
    RegisteredSeries,
    add_up,
    box_source,
    pairs_of,
)

Pair = tuple[int, int]


@dataclass(frozen=True)
class MeasuredNoise:
    """Noise of a difference, and rings about each axis with what tells whether there are any."""

    noise: noises.Noise
    rings: tuple[tuple[Rings, arcs.ColumnErrors], ...] = ()


PRODUCTS_VERSION = 7
AXES = 2  # about which the rings of a difference lie at most
LAG = (6, 4, 4)
LEVEL_BIN = 16
LEAST = 1000  # quiet voxels
USED = 3  # voxels that are read for each quiet one
MEAN_RATE, NOISE_RATE, LEVEL_RATE = 200e6, 12e6, 20e6  # voxels per CPU-second
ABOUT = 1_000_000  # quiet voxels, of whose mean the deviations are taken


def noise_steps(
    quiet: QuietMask, series: RegisteredSeries, store: Store, mask: RegionMask, prefix: str
) -> list[Reduction]:
    """Return the steps that measure the noise of a series, in their order: those in the ceramic only where needed."""
    pairs = sorted({pair for kind in KINDS for pair in pairs_of(series, kind) if pair[0] != pair[1]})
    if not pairs:
        return []
    bricks = bricks_of(quiet.bounds())
    used = min(1.0, USED * ENOUGH / size_of(quiet.bounds()))
    few = bricks[:: max(1, int(1 / used))]
    windows = _windows(mask)
    steps = [survey_step(quiet, series, store, prefix), level_step(series, store, mask, prefix)]
    for part in (quiet, *([replace(quiet, inside_solid=True)] if quiet.tells_solid else [])):
        steps += [mean_step(part, series, store, pairs, few, prefix)]
        steps += [products_step(part, series, store, pairs, few, windows, None, prefix)]
    return steps


def noise_of_series(
    series: RegisteredSeries,
    store: Store,
    mask: RegionMask,
    quiet: QuietMask,
    limits: Resources,
    kept: Store | None = None,
    steps: Steps | None = None,
    prefix: str = PREFIX,
    frames: Sequence[arcs.Frame | None] = (),
    uneven: Mapping[Pair, Sequence[tuple[int, Rings]]] | None = None,
) -> dict[Pair, MeasuredNoise]:
    """Measure the noise of the difference of every pair of scans, in planes without ceramic.

    In the ceramic for pairs that have no such planes in common.

    Parameters
    ----------
    kept : Store, optional
        That keeps the results; the one that is read by default.
    prefix : str
        Of the names of the steps.
    frames : sequence of Frame or None
        Where the rings of each scan lie; no rings are looked for where it is not known.
    uneven : mapping, optional
        Rings of light that no longer fits the flats, of pairs that have any: see `steps.uneven_light`.

    Raises
    ------
    ValueError
        Too few voxels are quiet.
    """
    pairs = sorted({p for kind in KINDS for p in pairs_of(series, kind) if p[0] != p[1] and good(series, p)})
    kept = store if kept is None else kept
    found: dict[Pair, MeasuredNoise] = {}
    surveyed = survey(quiet, series, store, limits, kept, steps, prefix) if pairs else {}
    level = None
    for part in (quiet, *([replace(quiet, inside_solid=True)] if quiet.tells_solid else [])):
        left = [pair for pair in pairs if pair not in found]
        known, bricks, counts = chosen_bricks(part, series, surveyed) if left else (part, [], [])
        if left and sum(counts) >= LEAST:
            level = level_of_region(series, store, mask, limits, kept, steps, prefix) if level is None else level
            run = partial(measure, kept, limits=limits, steps=steps)
            of = measure_noise(series, store, mask, known, left, (bricks, counts), level, run, prefix, frames, uneven)
            found |= of
        _leave_out(steps, [f"{prefix}noise/{_place(part)}_mean", f"{prefix}noise/{_place(part)}"])
    if len(found) < len(pairs):
        raise ValueError(
            f"fewer than {LEAST} voxels are far from faces and changes in some of the scans: "
            "give variation.noise_region"
        )
    _leave_out(steps, [f"{prefix}noise/ceramic_mean", f"{prefix}noise/ceramic"])
    return found


def _leave_out(steps: Steps | None, names: Sequence[str]) -> None:
    """Note that steps were not needed, of those that were planned and not executed."""
    if steps is not None:
        steps.leave_out(name for name in names if name in steps)


def good(series: RegisteredSeries, pair: Pair) -> bool:
    """Tell whether both scans of a pair are there."""
    return not {*pair} & {*series.failed}


def measure_noise(
    series: RegisteredSeries,
    store: Store,
    mask: RegionMask,
    quiet: QuietMask,
    pairs: Sequence[Pair],
    where: tuple[list[Region], list[int]],
    level: mass.Sums,
    run: Callable[[Reduction], dict[str, Array]],
    prefix: str = PREFIX,
    frames: Sequence[arcs.Frame | None] = (),
    uneven: Mapping[Pair, Sequence[tuple[int, Rings]]] | None = None,
) -> dict[Pair, MeasuredNoise]:
    """Measure the noise of pairs of scans in bricks, and how it varies over the region; pairs without voxels are left.

    Parameters
    ----------
    where : (bricks, quiet voxels)
        From `chosen_bricks`.
    level : Sums
        From `level_of_region`.
    run : callable
        Runs a step.
    """
    windows = _windows(mask)
    planes = mask.planes()
    plane = (planes.start + planes.stop - 1) / 2
    about_axes = [axes_of(frames_of_pair(frames, pair, plane), plane) for pair in pairs]
    inputs = {
        "registered": image_identity(store, PATH),
        "pairs": pairs,
        "quiet": quiet.identity(),
        "lag": LAG,
        "inside_solid": quiet.inside_solid,
        "windows": windows,
        "rings": [[(vars(frame), other) for frame, other in parts] for parts in about_axes],
        "bricks": [[(part.start, part.stop) for part in brick] for brick in where[0]],
    }
    step = mean_step(quiet, series, store, pairs, sample(*where, ABOUT), prefix)
    mean = run(replace(step, inputs=inputs))
    about = mean["total"] / np.maximum(mean["count"], 1)
    step = products_step(quiet, series, store, pairs, where[0], windows, about, prefix, about_axes)
    found = run(replace(step, inputs=inputs))
    pooled = noises.pooled_level(mass.Sums((0,), found["level"], found["level_count"]))
    spread = noises.spread(noises.noise_level(level, least=200)[0], (LEVEL_BIN, LEVEL_BIN), series.frame[1:]) / pooled
    measured, floors = {}, []
    for k, pair in enumerate(pairs):
        sums = noises.about_mean(noises.LagSums(found["products"][k], found["pairs"][k]), found["total"][k])
        if sums.pairs[LAG] < LEAST:
            continue
        covariance = noises.autocovariance(sums)
        rings = rings_of(about_axes[k], found["arcs"][k], found["seen"][k], plane)
        used = [(one, found["azimuths"][k, n]) for n, (one, errors) in enumerate(rings) if errors.found]
        seen = [one.times(about_axes[k][n][0].kept) for n, (one, errors) in enumerate(rings) if errors.found]
        still = covariance - ring_autocovariance(seen, [count for _, count in used], LAG)
        around = [(one, found["around"][k, n]) for n, (one, errors) in enumerate(rings) if errors.found]
        wide = [] if uneven is None else uneven.get(pair, [])
        used += [(one, found["azimuths"][k, n]) for n, one in wide]
        around += [(one, found["around"][k, n]) for n, one in wide]
        checks = [
            (found[f"window{w}"][k], size, _of_rings(size, by_radius))
            for w, (size, by_radius) in enumerate(zip(windows, (used, around), strict=True))
        ]
        floors.append(window_sums.floor_of(still, *checks[1]))
        measured[pair] = (still, checks, int(sums.pairs[LAG]), rings)
    # what the noise of a reconstruction leaves in large sums is the same in all of a series
    known = [floor for floor in floors if np.isfinite(floor)]
    floor = float(np.clip(np.median(known), 0.0, 1.0)) if known else 1.0
    result = {}
    for pair, (still, checks, voxels, rings) in measured.items():
        column, whole = (window_sums.inflation(still, *check, floor) for check in checks)
        wide = [] if uneven is None else uneven.get(pair, [])
        found_rings = (*(one for one, errors in rings if errors.found), *(one for _, one in wide))
        noise = noises.Noise(still, spread, column, whole, voxels, pooled, found_rings, floor)
        result[pair] = MeasuredNoise(noise, tuple(rings))
    return result


def _of_rings(size: tuple[int, int, int], rings: Sequence[tuple[Rings, Array]]) -> float:
    """Return the variance of sums over windows by rings, each with what is counted by radius about it."""
    return sum((float(one.of_heights(size[0])) * one.mean_of_boxes(size[1:], count) for one, count in rings), 0.0)


def _windows(mask: RegionMask) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    height = next(n for n in (8, 4, 2, 1) if n <= max(len(mask.planes()), 1))
    return (height, 1, 1), (height, LEVEL_BIN, LEVEL_BIN)


def _place(quiet: QuietMask) -> str:
    return "ceramic" if quiet.inside_solid else "quiet"


def mean_step(
    quiet: QuietMask, series: RegisteredSeries, store: Store, pairs: Sequence[Pair], regions: list[Region], prefix: str
) -> Reduction:
    """Return the step that finds the mean change of pairs of scans in bricks."""
    source = box_source(series, store, [series.reference], HALO)
    return Reduction(
        f"{prefix}noise/{_place(quiet)}_mean",
        VERSION,
        partial(_mean_chunk, source=source, quiet=quiet, pairs=tuple(pairs)),
        add_up,
        fold=True,
        source=source,
        regions=regions,
        scratch=1.0,
        cpu_s=sum(map(size_of, regions)) * len(pairs) / MEAN_RATE,
    )


def products_step(
    quiet: QuietMask,
    series: RegisteredSeries,
    store: Store,
    pairs: Sequence[Pair],
    regions: list[Region],
    windows: Sequence[tuple[int, int, int]],
    about: Array | None,
    prefix: str,
    frames: Sequence[Axes] = (),
) -> Reduction:
    """Return the step that sums products over pairs of voxels of bricks; means and axes are known in the run."""
    source = box_source(series, store, [series.reference], HALO)
    about_axes = tuple(frames) if frames else ((),) * len(pairs)
    chunk = partial(_noise_chunk, source=source, quiet=quiet, pairs=tuple(pairs), windows=windows, frames=about_axes)
    return Reduction(
        f"{prefix}noise/{_place(quiet)}",
        PRODUCTS_VERSION,
        unbound if about is None else partial(chunk, about=about),
        add_up,
        fold=True,
        source=source,
        regions=regions,
        scratch=1.0,
        partial_bytes=pairs_bytes(len(pairs), series.frame),
        cpu_s=sum(map(size_of, regions)) * len(pairs) / NOISE_RATE,
    )


def pairs_bytes(pairs: int, frame: tuple[int, int, int]) -> int:
    """Return the bytes of the sums of some pairs of scans."""
    of_arcs = arcs.GROUPS * arcs.ROWS * arcs.RADII * 3 + (arcs.DIRECTIONS + 1) * _radii(frame)
    return 8 * pairs * (2 * int(np.prod([2 * n + 1 for n in LAG])) + AXES * of_arcs)


def _radii(frame: tuple[int, int, int]) -> int:
    """Return the radii that voxels are counted by, one apart."""
    return int(np.hypot(*frame[1:])) + 2


def level_step(series: RegisteredSeries, store: Store, mask: RegionMask, prefix: str) -> Reduction:
    """Return the step that sums the high-frequency noise of the reference scan over blocks of columns of a region."""
    source, bounds = box_source(series, store, [series.reference]), mask.bounds()
    return Reduction(
        f"{prefix}noise/level",
        VERSION,
        partial(_level_chunk, source=source, mask=mask),
        add_up,
        fold=True,
        source=source,
        regions=bricks_of(bounds),
        scratch=1.0,
        cpu_s=size_of(bounds) / LEVEL_RATE,
    )


def level_of_region(
    series: RegisteredSeries,
    store: Store,
    mask: RegionMask,
    limits: Resources,
    kept: Store,
    steps: Steps | None = None,
    prefix: str = PREFIX,
) -> mass.Sums:
    """Sum the high-frequency noise of the reference scan over blocks of columns of a region."""
    inputs = {"registered": image_identity(store, PATH), "reference": series.reference, "region": mask.identity_of()}
    found = measure(kept, replace(level_step(series, store, mask, prefix), inputs=inputs), limits, steps)
    return mass.Sums((0, 0, 0), found["total"], found["count"])


def _level_chunk(block: Array, region: Region, *, source: BoxSource, mask: RegionMask) -> dict[str, Array]:
    wide = source.wide(region)
    # a voxel's noise is that of its differences with those that follow
    part = tuple(slice(p.start, min(p.stop + 1, w.stop)) for p, w in zip(region, wide, strict=True))
    values, offset = np.nan_to_num(block[0][inside(wide, part)]), (0, part[1].start, part[2].start)
    sums = noises.level_sums(values, mask.box(part), offset, (len(values), LEVEL_BIN, LEVEL_BIN))
    sums = sums.full((1, *(-(-n // LEVEL_BIN) for n in mask.frame[1:])))
    return {"total": sums.total, "count": sums.count}


def _changes(source: BoxSource, pairs: Sequence[Pair], region: Region, still: Array) -> Iterator[tuple[Array, Array]]:
    """Yield the change of each pair of scans, and where it is known among the voxels of a mask; each scan read once."""
    scans, held = StoredArray(source.folder), {}
    for k, pair in enumerate(pairs):
        for scan in pair:
            if scan not in held:
                held[scan] = np.asarray(scans[(scan, *region)])
        change = held[pair[0]] - held[pair[1]]
        yield change, still & np.isfinite(change)
        held = {scan: values for scan, values in held.items() if any(scan in later for later in pairs[k + 1 :])}


def _mean_chunk(
    block: Array, region: Region, *, source: BoxSource, quiet: QuietMask, pairs: Sequence[Pair]
) -> dict[str, Array]:
    wide = source.wide(region)
    still = quiet.box(block[0], wide)[inside(wide, region)]
    found = [(change[use].sum(dtype=np.float64), use.sum()) for change, use in _changes(source, pairs, region, still)]
    return {"total": np.array([t for t, _ in found]), "count": np.array([n for _, n in found], np.int64)}


def _noise_chunk(
    block: Array,
    region: Region,
    *,
    source: BoxSource,
    quiet: QuietMask,
    pairs: Sequence[Pair],
    about: Array,
    windows: Sequence[tuple[int, int, int]],
    frames: Sequence[Axes],
) -> dict[str, Array]:
    """Sum products over pairs of voxels and of arcs, deviations over windows, and the reference's own noise."""
    wide = source.wide(region)
    core, mask = inside(wide, region), quiet.box(block[0], wide)
    still = mask[core]
    further = tuple(slice(part.start, part.stop + 1) for part in core)
    level = noises.level_sums(np.nan_to_num(block[0][further]), mask[further], (0, 0, 0), mask.shape)
    names = ("products", "pairs", "total", "window0", "window1", "arcs", "azimuths", "seen", "around")
    found: dict[str, list[Array]] = {name: [] for name in names}
    counted: Array | None = None
    changes = _changes(source, pairs, region, still)
    for mean, axes, (change, use) in zip(about, frames, changes, strict=True):
        values = np.where(use, change - np.float32(mean), np.float32(0))
        whole = np.array_equal(use, still)
        number = counted if whole and counted is not None else lags.pair_counts(use, use, LAG)
        counted = number if whole else counted
        found["pairs"].append(number)
        found["products"].append(lags.products(values, use, LAG))
        found["total"].append(values.sum(dtype=np.float64))
        for k, size in enumerate(windows):
            found[f"window{k}"].append(lags.window_sums(values, use, size))
        origin = tuple(part.start for part in region)
        radii = _radii(source.frame)
        of_arcs = [arcs.arc_products(values, use, origin, frame, radii, other) for frame, other in axes]
        of_arcs += [arcs.no_products(radii)] * (AXES - len(of_arcs))
        for name, part in (("arcs", "sums"), ("azimuths", "counts"), ("seen", "seen")):
            found[name].append(np.stack([getattr(one, part) for one in of_arcs]))
        places = [frame.from_block(origin)[1:] for frame, _ in axes]
        around = [window_sums.window_radii(use, windows[1], place, radii) for place in places]
        found["around"].append(np.stack(around + [np.zeros(radii)] * (AXES - len(around))))
    result = {name: np.stack(parts) for name, parts in found.items()}
    return result | {"level": level.total.ravel(), "level_count": level.count.ravel()}
