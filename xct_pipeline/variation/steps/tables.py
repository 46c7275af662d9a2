"""Sums and errors of all pairs of scans to areal maps and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from xct_pipeline.config import Registration
from xct_pipeline.engine.blocks import Array, Reduction
from xct_pipeline.engine.execution import PassResult, Progress, measure, run_passes, silent
from xct_pipeline.engine.resources import Need
from xct_pipeline.engine.steps import Estimate, Step, Steps, path_name
from xct_pipeline.region import RegionMask
from xct_pipeline.variation import areal_noise, budget, cells, mass
from xct_pipeline.variation.near_face import NearFace
from xct_pipeline.variation.steps.charge import offset_note
from xct_pipeline.variation.steps.edge_gradient import edges_step
from xct_pipeline.variation.steps.near_face import (
    ZONES,
    edges_beside,
    faces_table,
    is_whole,
    is_zone,
    named_masks,
    with_faces,
)
from xct_pipeline.variation.steps.near_face import warnings_of as faces_told
from xct_pipeline.variation.steps.null import apply_null
from xct_pipeline.variation.steps.pair_counts import measure_pairs, pairs_step
from xct_pipeline.variation.steps.pairs import EVALUATE_BYTES, EVALUATE_S, PairOfScans, Study, areal_passes
from xct_pipeline.variation.steps.physics import interpolation_of
from xct_pipeline.variation.steps.projections import projection_routes, projections_step
from xct_pipeline.variation.steps.routes import by_projections, write_routes
from xct_pipeline.variation.steps.series import KINDS, PREFIX, VERSION, Materials, materials_of, pairs_of, region_mask
from xct_pipeline.variation.steps.sums import measure_surface
from xct_pipeline.variation.steps.told import largest_part

if TYPE_CHECKING:
    import pandas as pd

WHOLE = "region"  # the region that mass is mapped in


def region_pairs(
    study: Study,
    mask: RegionMask,
    name: str,
    consecutive: bool,
    whole: cells.Pairs | None = None,
    surface: Array | None = None,
    materials: Materials | None = None,
) -> list[PairOfScans | None]:
    """Return the pair of each scan over a region, None for a scan that failed."""
    given, cells_too = None if whole is None else whole.pairs[0], not consecutive
    common = PairOfScans(
        study,
        mask,
        (0, 0),
        name,
        consecutive,
        surface if cells_too else None,
        materials if cells_too else None,
        cells_too and name == WHOLE,
        given,
    )
    return [
        None if k in study.series.failed else replace(common, pair=pair)
        for k, pair in enumerate(pairs_of(study.series, consecutive))
    ]


def mass_steps(study: Study, surface: Reduction | None, materials: Materials | None) -> list[Step]:
    """Return the steps from sums to maps and tables in their order, before any of their data is known."""
    steps: list[Step] = [] if surface is None else [surface]
    assert study.settings.region is not None
    mask = region_mask(study.series, study.store, study.settings.region, known=False)
    steps += pairs_steps(mask, materials, WHOLE)
    for consecutive in KINDS:
        pairs = region_pairs(study, mask, WHOLE, consecutive, None, None, materials)
        steps += [sums.step(known=False) for pair in pairs if pair is not None for sums in pair.sums]
        steps += areal_passes(study, pairs, consecutive, known=False)
        for name in ZONES if is_whole(study.settings.region) else ():
            zone = region_pairs(study, mask, name, consecutive)
            steps += [sums.step(known=False) for pair in zone if pair is not None for sums in pair.sums]
    if is_whole(study.settings.region):
        looks = [edges_step(study, k, None) for k in range(len(study.series.names))]
        steps += [step for step in looks if step is not None]
    for name, mask in named_masks(study, known=False):
        part = part_name(name)
        steps += pairs_steps(mask, materials, part)
        pairs = region_pairs(study, mask, part, False, None, None, materials)
        steps += [sums.step(known=False) for pair in pairs if pair is not None for sums in pair.sums]
    if study.settings.estimator == "projections":
        fits = [projections_step(study, k, known=False) for k in range(len(study.series.names))]
        steps += [step for step in fits if step is not None]
    return [*steps, tables_step(study)]


def tables_step(study: Study) -> Estimate:
    """Return the step that turns sums and noise into tables, one pair after the other."""
    columns = study.series.frame[1] * study.series.frame[2]
    cpu_s = EVALUATE_S * columns * 2 * len(study.series.names)
    return Estimate(f"{PREFIX}tables", VERSION, Need("", 1, EVALUATE_BYTES * columns, alone=True, cpu_s=cpu_s))


def part_name(region: str) -> str:
    """Return the name of a named region in those of steps."""
    return f"regions/{path_name(region)}"


def pairs_steps(mask: RegionMask, materials: Materials | None, name: str) -> list[Reduction]:
    """Return the steps that count voxel pairs of a region that labels cut, and of the materials in a region."""
    steps = [] if mask.region.label is None else [pairs_step([mask], name)]
    return steps if materials is None else [*steps, pairs_step(_parts(mask, materials), f"{name}/materials")]


def write_maps_and_tables(
    study: Study, progress: Progress = silent, steps: Steps | None = None
) -> tuple[list[PassResult], list[str]]:
    """Measure sums and errors of all pairs, write the areal maps and the tables; return the passes and warnings."""
    import pandas as pd

    series, store, settings, limits = study.series, study.store, study.settings, study.limits
    mask, materials = study.region, materials_of(series, store)
    surface = measure_surface(series, store, settings, study.config.registration or Registration(), limits, steps)
    results: dict[bool, list[budget.Change | None]] = {}
    profiles: list[Mapping[str, pd.DataFrame] | None] = []
    parts: list[pd.DataFrame] = []
    ratios: list[dict[str, object]] = []
    done: list[PassResult] = []
    faces: list[tuple[str, NearFace | None]] = []
    whole, labelled = pairs_in(study, mask, materials, WHOLE, steps)
    against = region_pairs(study, mask, WHOLE, False)[series.reference]
    edges = edges_beside(study, against, steps) if is_whole(settings.region) else {}
    for consecutive in KINDS:
        pairs = region_pairs(study, mask, WHOLE, consecutive, whole, surface, materials)
        done += _write_maps(study, pairs, consecutive, progress, steps)
        results[consecutive] = []
        for k, pair in enumerate(pairs):
            if pair is None:
                results[consecutive].append(None)
                profiles += [] if consecutive else [None]
                continue
            measured = pair.measured()
            change, face = with_faces(study, pair, pair.change(measured), measured, edges, steps)
            results[consecutive].append(budget.without_maps(change))
            faces += [] if consecutive else [(series.names[k], face)]
            if not consecutive:
                density = pair.density(measured)
                ratios += areal_noise.rows(series.names[k], measured)
                profiles.append(cells.region_tables(measured, density, study.voxel_um, series.frame[0], settings.bins))
                parts += material_rows(study, k, WHOLE, measured, labelled, materials)
    study.store.write_table("areal_noise", pd.DataFrame(ratios, columns=areal_noise.COLUMNS))
    totals, more = named_regions(study, materials, steps)
    changes = results[False]
    fitted = by_projections(study, changes, projection_routes(study, steps))
    judged, null, notes = apply_null(study, fitted)
    if len(null):
        study.store.write_table("null", null)
    warnings = write_tables(study, results | {False: judged}, profiles, totals, parts + more)
    if is_whole(settings.region):
        store.write_table("near_face", faces_table(faces))
        warnings += faces_told(faces, totals, changes, series.names)
        if steps is not None:  # of a scan with itself, and of a face that is not in view
            steps.leave_out([step.name for step in steps.planned if is_zone(step.name)])
    warnings += [*notes, *write_routes(study, changes, fitted)]
    if steps is not None:
        steps.note(steps.bind(tables_step(study)), "executed")
    return done, warnings


def _write_maps(
    study: Study, pairs: Sequence[PairOfScans | None], consecutive: bool, progress: Progress, steps: Steps | None
) -> list[PassResult]:
    """Sum all pairs of scans, then write their areal maps."""
    for pair in pairs:
        for sums in [] if pair is None else pair.sums:
            measure(study.store, sums.step(), study.limits, steps)
    done = run_passes(study.store, areal_passes(study, pairs, consecutive), study.limits, progress, steps)
    for result in done:
        if result.problem:
            raise ValueError(f"{result.name}: {result.problem}")
    return done


def write_tables(
    study: Study,
    results: Mapping[bool, Sequence[budget.Change | None]],
    profiles: Sequence[Mapping[str, pd.DataFrame] | None],
    totals: pd.DataFrame,
    materials: Sequence[pd.DataFrame],
) -> list[str]:
    """Write the tables of the stage; return warnings."""
    import pandas as pd

    store, names, settings = study.store, study.series.names, study.settings
    factors = interpolation_of(study.config, study.series, study.region.planes())
    known = None if study.beside is None else study.beside.charge
    table = budget.balance_table(names, study.times, known, results[False], results[True], factors)
    store.write_table("mass_balance", table)
    for name, rows in cells.joined(names, profiles).items():
        store.write_table(name, rows)
    if len(totals):
        store.write_table("region_totals", totals)
    if materials:
        store.write_table("material_totals", pd.concat(materials, ignore_index=True))
    warnings = largest_part(table)
    if study.beside is not None:
        charge, record = study.beside.charge, study.beside.record
        warnings += budget.write_balance(store, table, settings, study.config, study.physics)
        if record is not None:
            scale = budget.shared_scale(settings, study.physics)
            warnings += offset_note(table, record, study.series.reference, settings.species, scale)
        good = [k for k in range(len(names)) if k not in study.series.failed]
        outside = [names[k] for k in good if not np.isfinite(charge.charge_C[k])]
        if outside:
            lacking = "the charges given lack" if record is None else "the cycler's log does not reach"
            warnings.append(f"{lacking} {', '.join(outside)}: no charge for it")
        source = "electrochemistry.charges" if record is None else "cycler's log"
        warnings += [f"{source}: {note}" for note in study.beside.notes]
    return warnings


def pairs_in(
    study: Study, mask: RegionMask, materials: Materials | None, name: str, steps: Steps | None
) -> tuple[cells.Pairs | None, cells.Pairs | None]:
    """Count voxel pairs of a region that labels cut, and of the materials in a region; None where there are none."""
    count = partial(measure_pairs, study.store, limits=study.limits, steps=steps)
    whole = None if mask.labels_folder is None else count(masks=[mask], name=name)
    return whole, None if materials is None else count(masks=_parts(mask, materials), name=f"{name}/materials")


def _parts(mask: RegionMask, materials: Materials) -> list[RegionMask]:
    return [materials.mask(mask, value) for value in range(materials.size)]


def named_regions(
    study: Study, materials: Materials | None, steps: Steps | None
) -> tuple[pd.DataFrame, list[pd.DataFrame]]:
    """Return the change of mass in each region that is named, and of each material in it, scan by scan."""
    import pandas as pd

    series = study.series
    totals: list[dict[str, object]] = []
    parts: list[pd.DataFrame] = []
    for name, mask in named_masks(study):
        whole, labelled = pairs_in(study, mask, materials, part_name(name), steps)
        for k, pair in enumerate(region_pairs(study, mask, part_name(name), False, whole, None, materials)):
            if pair is None:
                continue
            measured = pair.measured(steps)
            change = pair.change(measured)
            totals.append(
                {
                    "scan": series.names[k],
                    "region": name,
                    "voxels": int(measured[0].sums["count"].sum()),
                    "mass_change_mg": change.mass_mg,
                    "sigma_mg": change.sigma_mg,
                }
            )
            parts += material_rows(study, k, name, measured, labelled, materials)
    return pd.DataFrame(totals), parts


def material_rows(
    study: Study,
    scan: int,
    region: str,
    measured: Sequence[budget.Measured],
    labelled: cells.Pairs | None,
    materials: Materials | None,
) -> list[pd.DataFrame]:
    """Return the change of mass of each material of the reference scan in a region; nothing without labels."""
    if materials is None or labelled is None:
        return []
    found = [m.noise for m in measured if m.noise is not None]
    noises = [labelled.noise(n) for n in found] if len(found) == len(measured) else None
    table = cells.cell_table(measured, "material", noises, study.density(scan), study.voxel_um)
    names = [materials.names.get(int(value), "unlabelled") for value in table["cell"]]
    table = table.assign(scan=study.series.names[scan], region=region, material=names)
    return [table[["scan", "region", "material", "voxels", "mass_change_mg", "sigma_mg"]]]


def check_regions(study: Study) -> None:
    """Raise ValueError where a region holds no voxel, before anything is measured."""
    series, store, settings = study.series, study.store, study.settings
    assert settings.region is not None
    for name, region in {"region": settings.region, **settings.regions}.items():
        mask = region_mask(series, store, region)
        planes = mask.planes()
        found = any(mask.slab(slice(z, min(z + 16, planes.stop))).any() for z in range(planes.start, planes.stop, 16))
        mass.check_not_empty(int(found), f"variation.{name if name == 'region' else f'regions.{name}'}")
