"""The routes to the mass of each scan side by side, from the sums over the volume and those over detector rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from xct_pipeline.engine.blocks import Array
from xct_pipeline.engine.execution import load_kept
from xct_pipeline.variation import budget, routes
from xct_pipeline.variation.row_totals import RowTotals, level_error, row_totals
from xct_pipeline.variation.steps.pairs import Study
from xct_pipeline.variation.steps.physics import errors_of

if TYPE_CHECKING:
    import pandas as pd

SAME_ANGLE = 1e-4  # radian


Fitted = Mapping[int, tuple[float, float]]
"""Change of attenuation of a scan (1/cm times voxels) by least squares on projections, and its error."""


def by_projections(study: Study, changes: Sequence[budget.Change | None], fitted: Fitted) -> list[budget.Change | None]:
    """Return the changes with the totals that least squares on projections found in place of the sums over voxels."""
    found = list(changes)
    for k, (total, sigma) in fitted.items():
        change = changes[k]
        if change is None:
            continue
        slope, base_mg = _closure_of(study, k, change)
        voxel_mg = (study.voxel_um * 1e-4) ** 3 * 1e3
        mass_mg = base_mg + slope * total * voxel_mg
        ratio = abs(mass_mg / change.mass_mg) if change.mass_mg else 1.0
        terms = {name: term * ratio for name, term in change.terms_mg.items()}  # in proportion to the mass
        terms |= {"registration": change.terms_mg["registration"], "closure": change.terms_mg["closure"]}
        # the fit's error holds what columns are off by, and no grey scale is used
        terms |= {"noise": abs(slope) * sigma * voxel_mg, "rings": 0.0, "calibration": 0.0}
        apparent_mg = total * voxel_mg / study.physics.anode.k_species
        found[k] = replace(change, mass_mg=mass_mg, apparent_mg=apparent_mg, terms_mg=terms)
    return found


def write_routes(
    study: Study, changes: Sequence[budget.Change | None], fitted: Sequence[budget.Change | None]
) -> list[str]:
    """Write the tables of the routes to the mass and of the mass per detector row; return warnings.

    `changes` are sums over the volume, `fitted` those by least squares on projections where they differ.
    Nothing is written where the series was not made from projections, or where two energies are solved together.
    """
    import pandas as pd

    series = study.series
    if not any(series.row_sums) or study.second is not None:
        return []
    reference = _row_sums(study, series.reference)
    found: list[routes.Route] = []
    rows: list[pd.DataFrame] = []
    for k, change in enumerate(changes):
        if k in (series.reference, *series.failed) or change is None or reference is None:
            continue
        found.append(_route_of(series.names[k], routes.VOLUME, change))
        other = fitted[k]
        if other is not None and other is not change:
            found.append(_route_of(series.names[k], routes.PROJECTIONS, other))
        sums = _row_sums(study, k)
        if sums is not None:
            more, table = _of_rows(study, k, change, sums, reference)
            found += more
            rows.append(table)
    if not rows:
        return []
    study.store.write_table("mass_routes", routes.routes_table(found))
    study.store.write_table("row_totals", pd.concat(rows, ignore_index=True))
    return routes.warnings_of(found)


def _route_of(scan: str, route: str, change: budget.Change) -> routes.Route:
    """Return a change as a route, with the errors that other routes need not share."""
    return routes.Route(
        scan, route, change.mass_mg, change.null_sigma_mg, registration_mg=change.terms_mg["registration"]
    )


def _row_sums(study: Study, scan: int) -> dict[str, Array] | None:
    """Return what the store keeps of the sums of a scan's sinograms, None where it keeps none."""
    digest = study.series.row_sums[scan]
    return None if digest is None else load_kept(study.store, f"{study.series.names[scan]}/row_sums", digest)


def _of_rows(
    study: Study, scan: int, change: budget.Change, moving: Mapping[str, Array], fixed: Mapping[str, Array]
) -> tuple[list[routes.Route], pd.DataFrame]:
    """Return the change in the rows of the region and in all rows, and the table of rows, of one scan."""
    import pandas as pd

    series, name = study.series, study.series.names[scan]
    count, planes = fixed["sums"].shape[1], study.region.bounds()[0]
    to_mg, base_mg = _scale(study, scan, change)
    whole, scaled = _compared(study, scan, moving, fixed, slice(0, count))
    region, region_scaled = _compared(study, scan, moving, fixed, planes)
    level = level_error(moving["air"], fixed["air"]) * int(fixed["columns"])
    shift = math.sqrt(2) * errors_of(study.settings, study.physics, series, (scan, series.reference)).shift_voxel
    found = []
    for route, part, totals, other in (
        (routes.ROWS, planes, region, region_scaled),
        (routes.ALL_ROWS, slice(0, count), whole, scaled),
    ):
        # a drift that the flats' noise explains is not told, but it is an error of the mass all the same
        trend_sigma = routes.error_of_trend(totals.trend_sigma, totals.fixed, level * totals.seen)
        drift, jump = (
            routes.drift_of(totals.trend, totals.trend_sigma),
            _jump(fixed["sums"], part),
        )  # either way an error
        causes = (totals.scatter, totals.fixed, level * totals.seen, drift, shift * jump)
        scatter_mg, fixed_mg, level_mg, drift_mg, motion_mg = (abs(to_mg) * error for error in causes)
        complete = totals.seen == part.stop - part.start or route == routes.ALL_ROWS
        found.append(
            routes.Route(
                name,
                route,
                base_mg + to_mg * totals.total if complete else math.nan,
                math.hypot(scatter_mg, fixed_mg, level_mg, drift_mg, motion_mg),
                scatter_mg,
                fixed_mg,
                level_mg,
                drift_mg,
                motion_mg,
                base_mg + to_mg * other.total if complete else math.nan,
                to_mg * totals.trend,
                abs(to_mg) * trend_sigma,
                totals.seen,
                _truncated(moving, fixed, part),
            )
        )
    z = np.arange(count)
    columns = {
        "scan": name,
        "z": z,
        "mass_change_mg": to_mg * whole.rows,
        "sigma_mg": abs(to_mg) * np.hypot(whole.sigma, level),
    }
    return found, pd.DataFrame(columns).assign(in_region=(z >= planes.start) & (z < planes.stop))


def _compared(
    study: Study, scan: int, moving: Mapping[str, Array], fixed: Mapping[str, Array], part: slice
) -> tuple[RowTotals, RowTotals]:
    """Return the change of the sums over some rows as measured, and with the gain of the series applied."""
    motion, middle = study.series.motions[scan], [(n - 1) / 2 for n in study.series.frame[1:]]
    places = np.array([motion.transform[0] @ [z, *middle, 1.0] for z in range(fixed["sums"].shape[1])])
    paired = moving["angles"].shape == fixed["angles"].shape and bool(
        np.allclose(moving["angles"], fixed["angles"], atol=SAME_ANGLE)
    )
    raw, scaled = (
        row_totals(gain * moving["sums"], fixed["sums"], places, part, paired=paired) for gain in (1.0, motion.gain)
    )
    return raw, scaled


def _scale(study: Study, scan: int, change: budget.Change) -> tuple[float, float]:
    """Return mg per sum of line integrals over columns, and what a curved closure adds at the change of the region."""
    slope, base_mg = _closure_of(study, scan, change)
    return slope * (study.voxel_um * 1e-4) ** 2 * 1e3, base_mg


def _closure_of(study: Study, scan: int, change: budget.Change) -> tuple[float, float]:
    """Return g/cm3 of the species per 1/cm, and the mg that a curved closure adds at the change of the region."""
    slope = study.physics.slopes(study.compositions[scan]).species[0]
    of_region = change.apparent_mg * study.physics.anode.k_species  # its change of attenuation, 1/cm times mg per g/cm3
    return slope, change.mass_mg - slope * of_region


def _jump(sums: Array, part: slice) -> float:
    """Return what enters and leaves the sum over some rows where they are shifted by one."""
    mean = np.asarray(sums, np.float64).mean(axis=0)
    ends = [mean[end] - mean[end - 1] for end in (part.start, part.stop) if 0 < end < len(mean)]
    return float(np.hypot.reduce(ends)) if ends else 0.0


def _truncated(moving: Mapping[str, Array], fixed: Mapping[str, Array], part: slice) -> int:
    """Return the rows in which the sample reaches beyond the detector in one of the two scans."""
    here = fixed["truncated"][part]
    there = moving["truncated"][part] if moving["truncated"].shape == fixed["truncated"].shape else here
    return int((here | there).sum())
