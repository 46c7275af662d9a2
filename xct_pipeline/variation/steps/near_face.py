"""The layers of a whole body next to the ceramic, pair by pair, and what lies around the body."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from xct_pipeline.config import RegionOfMass
from xct_pipeline.engine.steps import Steps
from xct_pipeline.reconstruction.filters import angular_weights
from xct_pipeline.region import RegionMask
from xct_pipeline.variation import budget, edge_gradient, near_face, uncertainty
from xct_pipeline.variation.near_face import Face, Missed, NearFace
from xct_pipeline.variation.steps.edge_gradient import Edges, edges_of_series, fitted_faces
from xct_pipeline.variation.steps.grey_scale import blur_of
from xct_pipeline.variation.steps.pairs import PairOfScans, Study
from xct_pipeline.variation.steps.series import region_mask
from xct_pipeline.whole_body import WholeBody, between

if TYPE_CHECKING:
    import pandas as pd

FACES = ("face", "opposite_face")
AROUND_FACES = tuple(f"{face}_and_around" for face in FACES)
CORE = "ceramic_core"  # between the layers about both faces
ZONES = (*FACES, *AROUND_FACES, CORE)
AROUND = "around the region"
SUMMED = ("change", "count", "fixed", "moving", "motions", "lost")
WIDTH = 4  # voxels around a whole body in which is looked for what it does not hold
TOLD, SURE = 0.02, 3.0  # share of the change, and standard errors, from which on what lies around is told


def is_whole(region: RegionOfMass | None) -> bool:
    """Tell whether a region is the whole body of a label."""
    return region is not None and region.whole is not None


def named_masks(study: Study, known: bool = True) -> list[tuple[str, RegionMask]]:
    """Return all regions that are summed beside that of the mass: those named, and what lies around a whole body."""
    settings = study.settings
    found = [(name, region_mask(study.series, study.store, r, known)) for name, r in settings.regions.items()]
    if settings.region is not None and is_whole(settings.region):
        mask = region_mask(study.series, study.store, settings.region, known)
        around = mask if mask.body is None else replace(mask, body=mask.body.grown(WIDTH), without=mask.body)
        found.append((AROUND, around))
    return found


def is_zone(step: str) -> bool:
    """Tell by its name whether a step sums the layers about a face."""
    return any(step.split("sums/")[-1].startswith(f"{zone}/") for zone in ZONES)


def zones(pair: PairOfScans) -> list[PairOfScans]:
    """Return a pair of scans over the layers about each face of the ceramic beside a whole body."""
    faces = () if pair.mask.body is None else pair.mask.body.faces
    return [_over(pair, face.zone, name) for face, name in zip(faces, FACES, strict=False)]


def _whole_ceramic(pair: PairOfScans, steps: Steps | None) -> tuple[list[budget.Measured], budget.Measured]:
    """Return a pair of scans over all that is seen of each face, and over what lies between."""
    assert pair.mask.body is not None
    faces = pair.mask.body.faces
    wide = [_over(pair, face.around, name).measured(steps)[0] for face, name in zip(faces, AROUND_FACES, strict=True)]
    core = between(*(face.around for face in faces))
    return wide, _over(pair, core, CORE).measured(steps)[0]


def _over(pair: PairOfScans, body: WholeBody, name: str) -> PairOfScans:
    """Return a pair of scans over another body."""
    mask = replace(pair.mask, body=body)
    return replace(pair, surface=None, materials=None, profiles=False, whole=None, mask=mask, name=name)


def edges_beside(study: Study, pair: PairOfScans | None, steps: Steps | None) -> dict[int, Edges]:
    """Return what averaging intensities takes from each scan at the faces of the ceramic beside a whole body.

    `pair` is the reference with itself; nothing is known without it, or where only one face is in view.
    """
    found = [] if pair is None else [zone.measured(steps)[0].sums for zone in zones(pair)]
    planes = fitted_faces(study, found) if len(found) == len(FACES) else []
    return edges_of_series(study, planes, steps)


def with_faces(
    study: Study,
    pair: PairOfScans,
    change: budget.Change,
    measured: Sequence[budget.Measured],
    edges: Mapping[int, Edges],
    steps: Steps | None,
) -> tuple[budget.Change, NearFace | None]:
    """Return a change with what left from the layers at the ceramic, in place of their continuation, and its error."""
    body = pair.mask.body
    if body is None or not body.near or measured[0].noise is None:
        return change, None
    seen = [zone.measured(steps) for zone in zones(pair)]
    both = len(seen) == len(FACES) and all(k in edges for k in pair.pair)
    across = _across_both(study, pair, [zone[0] for zone in seen], edges, steps) if both else None
    found = _near_face(study, pair, measured, seen[0], across)
    to_mass = (study.voxel_um * 1e-4) ** 3 * 1e3
    copied = sum(m.slope * float(m.sums["layers_change"][: body.near].sum()) / 2 for m in measured) * to_mass
    more, k = found.mass - copied, study.physics.anode.k_species
    terms = {**change.terms_mg, "faces": found.sigma}
    apparent = change.apparent_mg + more / (measured[0].slope * k)
    return replace(change, mass_mg=change.mass_mg + more, apparent_mg=apparent, terms_mg=terms), found


def _near_face(
    study: Study,
    pair: PairOfScans,
    measured: Sequence[budget.Measured],
    beside: Sequence[budget.Measured],
    both: tuple[float, float] | None,
) -> NearFace:
    """Return what is known of the layers at the ceramic; `both` is the change across both of its faces."""
    assert pair.mask.body is not None
    near, voxel_cm = pair.mask.body.near, study.voxel_um * 1e-4
    to_mass, blur = voxel_cm**3 * 1e3, blur_of(study.config)
    first = second = noise = bound = 0.0
    area = float((beside[0].sums["count"] > 0).sum())
    for m, zone in zip(measured, beside, strict=True):
        slope, sums = m.slope * to_mass, m.sums
        face = Face(float(zone.sums["motions"][0].sum()), area, blur, _tilt(study, pair), voxel_cm)
        share = _share(m, zone, near, face)
        change = [float(sums["layers_change"][n : n + near].sum()) / (2 if n == 0 else 1) for n in (0, near)]
        first, second = first + slope * change[0], second + slope * change[1]
        assert m.noise is not None
        noise = math.hypot(noise, slope * budget.region_noise(m.noise, np.minimum(sums["count"], near)))
        bound = math.hypot(bound, slope * face.sigma)
    after = near_face.continued(first, second, share, noise)
    if both is not None:
        return NearFace(*both, *after, faces=len(FACES))
    across, sigma = _across(study, pair, beside)
    return NearFace(across, math.hypot(sigma, bound), *after)


def _across(study: Study, pair: PairOfScans, seen: Sequence[budget.Measured]) -> tuple[float, float]:
    """Return the change in a zone, mg, and its error without what is in proportion to it."""
    found = budget.evaluate(seen, pair.density(seen), study.voxel_um, study.physics.anode.k_species)
    kept = {name: found.terms_mg[name] for name in budget.NULL_TERMS}
    return found.mass_mg, float(uncertainty.combine(kept))


def _across_both(
    study: Study, pair: PairOfScans, zone: Sequence[budget.Measured], edges: Mapping[int, Edges], steps: Steps | None
) -> tuple[float, float]:
    """Return the change across both faces of the ceramic, mg, with what averaging intensities took, and its error."""
    assert pair.mask.body is not None
    wide, core = _whole_ceramic(pair, steps)
    near, beside, beyond = pair.mask.body.near, wide[0], zone[1]
    mass_mg, sigma = _beside_core(study, pair, wide, core)
    voxel_cm = study.voxel_um * 1e-4
    slope = beside.slope * voxel_cm**3 * 1e3
    moving, fixed = (_missed(study, pair.mask.body, k, edges[k]) for k in pair.pair)
    given = near_face.averaging(moving, fixed)
    off = float(beyond.sums["layers_change"][:near].sum())  # what changes beyond the ceramic may reach its face
    assert beyond.noise is not None
    quiet = budget.region_noise(beyond.noise, np.minimum(beyond.sums["count"], near))
    aside = math.sqrt(max(off**2 - quiet**2, 0.0))
    return mass_mg + slope * given.total, math.hypot(sigma, slope * given.sigma, slope * aside)


def _missed(study: Study, body: WholeBody, scan: int, edges: Edges) -> list[Missed]:
    """Return what a scan misses in the sums over all that is seen of each face."""
    turn = np.asarray(study.series.motions[scan].transform)[1:, 1:3]
    around = [face.around.stop > face.around.first for face in body.faces]
    weights = angular_weights(edges.angles)
    shares = [edge_gradient.shares_of_angles(columns, edges.angles, weights, turn) for columns in around]
    return [edges.missed(n, study.voxel_um * 1e-4, share) for n, share in enumerate(shares)]


def _beside_core(
    study: Study, pair: PairOfScans, wide: Sequence[budget.Measured], core: budget.Measured
) -> tuple[float, float]:
    """Return the change across both faces on the grey scale of the ceramic between them, mg, and its error.

    The ceramic between is the same in both scans: by which share it seems to change, the grey scale is off.
    """
    joined = {name: np.asarray(wide[0].sums[name] + wide[1].sums[name]) for name in SUMMED}
    share = float(joined["fixed"].sum() / core.sums["fixed"].sum())
    level = {name: np.asarray(joined[name] - share * core.sums[name]) for name in SUMMED}
    found, own = (_change(study, pair, replace(wide[0], sums=s)) for s in (joined, core.sums))
    mass_mg = _change(study, pair, replace(wide[0], sums=level | {"count": joined["count"]})).mass_mg
    scatter = [math.hypot(found.terms_mg[t], share * own.terms_mg[t]) for t in ("noise", "rings")]
    return mass_mg, math.hypot(*scatter, *budget.grey_and_motion(wide[0], level, study.voxel_um))


def _change(study: Study, pair: PairOfScans, measured: budget.Measured) -> budget.Change:
    """Return the change in a zone."""
    return budget.evaluate([measured], pair.density([measured]), study.voxel_um, study.physics.anode.k_species)


def _share(m: budget.Measured, zone: budget.Measured, near: int, face: Face) -> float:
    """Return which share of the layers left out is no ceramic."""
    mean = zone.sums["layers_fixed"][: 2 * near] / np.maximum(zone.sums["layers_count"][: 2 * near], 1)
    after = float(m.sums["layers_fixed"][:near].sum() / max(m.sums["layers_count"][:near].sum(), 1))
    return near_face.left_out(float(mean[0]), after, mean.tolist(), face.displaced) / near


def _tilt(study: Study, pair: PairOfScans) -> float:
    """Return the angle about axes across the beam between two scans, radians."""
    turns = [study.series.motions[k].transform[0, 1:3] for k in pair.pair]
    return float(np.hypot(*(turns[0] - turns[1])))


def faces_table(rows: Sequence[tuple[str, NearFace | None]]) -> pd.DataFrame:
    """Return one row for each scan against the reference."""
    import pandas as pd

    found = [(name, face) for name, face in rows if face is not None]
    return pd.DataFrame(
        [
            {
                "scan": name,
                "faces": face.faces,
                "measured_mg": face.measured,
                "sigma_measured_mg": face.sigma_measured,
                "continued_mg": face.continued,
                "sigma_continued_mg": face.sigma_continued,
                "mass_change_mg": face.mass,
                "sigma_mg": face.sigma,
            }
            for name, face in found
        ]
    )


def warnings_of(
    rows: Sequence[tuple[str, NearFace | None]],
    totals: pd.DataFrame,
    changes: Sequence[budget.Change | None],
    names: Sequence[str],
) -> list[str]:
    """Say where the layers at the ceramic do not continue the region, and what changed around it."""
    told = []
    apart = [(name, face) for name, face in rows if face is not None and face.disagrees]
    if apart:
        name, face = apart[-1]
        told.append(
            f"{name}: at the ceramic {face.measured:+.2g} +- {face.sigma_measured:.1g} mg changed, where the layers "
            f"after it suggest {face.continued:+.2g} +- {face.sigma_continued:.1g} mg ({len(apart)} of {len(names)} "
            "scans): something thinner than them, or the face moved; see tables/near_face.csv"
        )
    around = totals[totals["region"] == AROUND] if len(totals) else totals
    for row in reversed(around.to_dict("records")):
        change = changes[names.index(str(row["scan"]))]
        mass, sigma = float(row["mass_change_mg"]), float(row["sigma_mg"])
        if change is not None and abs(mass) > max(SURE * sigma, TOLD * abs(change.mass_mg)):
            told.append(
                f"{row['scan']}: {mass:+.2g} +- {sigma:.1g} mg changed within {WIDTH} voxels around the region, which "
                f"holds {change.mass_mg:+.2g} mg: it is not the whole body; see tables/region_totals.csv"
            )
            break
    return told
