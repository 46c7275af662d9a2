"""What a look at the raw frames adds to a plan: the same questions as a run asks, of a reading of each scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from xct_pipeline.config import Config
from xct_pipeline.correction.steps.look import Look, look_at
from xct_pipeline.planning.plan import STAGES, Plan, last_stage
from xct_pipeline.planning.scan import ScanPlan
from xct_pipeline.registration.steps.motions import unlike
from xct_pipeline.registration.steps.stage import reference_index


def inspected(plan: Plan) -> tuple[Plan, dict[str, Look]]:
    """Look at the frames of every scan of a plan.

    Parameters
    ----------
    plan : Plan

    Returns
    -------
    plan : Plan
        With what was seen among the warnings of each scan, and the problem that a run would meet.
    looks : dict
        Of the scans whose frames can be used, by name.
    """
    scans, looks = inspected_scans(plan.config, plan.scans)
    return _registrable(replace(plan, scans=scans)), looks


def inspected_scans(config: Config, planned: Sequence[ScanPlan]) -> tuple[tuple[ScanPlan, ...], dict[str, Look]]:
    """Look at the frames of scans, as `inspected` does of a plan's."""
    looks, scans = dict[str, Look](), []
    for item in planned:
        if item.scan is None or item.frame is None:
            scans.append(item)
            continue
        try:
            look = look_at(config.correction, item.scan, item.frame, config.acquisition.most_left_out)
        except (ValueError, OSError) as error:
            text = str(error)
            scans.append(replace(item, problem=text if item.name in text else f"{item.name}: {text}"))
            continue
        looks[item.name] = look
        scans.append(replace(item, warnings=tuple(dict.fromkeys((*item.warnings, *look.warnings)))))
    return tuple(scans), looks


def _registrable(plan: Plan) -> Plan:
    """Note which scans cannot be matched to the reference, as their volumes will be."""
    settings = plan.config.registration
    if settings is None or last_stage(plan.config, plan.until) < STAGES.index("registration"):
        return plan
    reference = plan.scans[reference_index(settings, tuple(item.name for item in plan.scans))]
    if not reference.passes:
        return plan
    scans = [replace(item, problem=item.problem or _unlike(reference, item)) for item in plan.scans]
    return replace(plan, scans=tuple(scans))


def _unlike(reference: ScanPlan, item: ScanPlan) -> str | None:
    if item is reference or not item.passes:
        return None
    fixed, moving = reference.passes[-1].image, item.passes[-1].image
    problem = unlike(
        reference.name, (fixed.shape, fixed.voxel_um, fixed.unit), (moving.shape, moving.voxel_um, moving.unit)
    )
    return problem and f"{item.name}: {problem}"
