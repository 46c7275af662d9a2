"""The part of a run that is one scan's: what several machines compute, a scan each, before one goes on with all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import xct_pipeline
from xct_pipeline.acquisition.steps import scan_identity
from xct_pipeline.config import StripeDefects
from xct_pipeline.engine.execution import PassResult, finished_pass, is_complete
from xct_pipeline.engine.record import read_ended, read_record
from xct_pipeline.engine.steps import Stage, Step, Steps
from xct_pipeline.planning.estimates import Prepared
from xct_pipeline.planning.plan import STAGES, Plan, last_stage
from xct_pipeline.planning.scan import ScanPlan, estimating_steps, held_bytes, reconstruction_steps, with_held
from xct_pipeline.scan import ScanError
from xct_pipeline.store import provenance
from xct_pipeline.store.store import Store

NOT_RECONSTRUCTED = "it is not reconstructed: the run of this scan ended before; the same command goes on"


def scan_named(plan: Plan, name: str) -> ScanPlan:
    """Return a scan of a plan.

    Raises
    ------
    ValueError
        It has none of that name.
    """
    found = next((item for item in plan.scans if item.name == name), None)
    if found is None:
        raise ValueError(f"there is no scan {name}; there are {', '.join(item.name for item in plan.scans)}")
    return found


def shares_estimates(plan: Plan) -> bool:
    """Tell whether the volume of a scan depends on what is estimated of the others."""
    config = plan.config
    return config.reconstruction.center == "common" or isinstance(config.correction.stripe, StripeDefects)


def part_of(plan: Plan, item: ScanPlan) -> Plan:
    """Return a plan of which only one scan is brought to its volume, with what it takes."""
    sums = last_stage(plan.config, plan.until) == STAGES.index("variation")
    own = reconstruction_steps(plan.config, [item], sums)
    steps: tuple[Step, ...] = own
    if shares_estimates(plan):
        every = estimating_steps(plan.config, plan.scans)
        known = {step.name for step in every}
        others = held_bytes(plan.config, plan.scans) - held_bytes(plan.config, [item])
        steps = (*every, *(with_held(step, others) for step in own if step.name not in known))
    return replace(plan, stages=(Stage("reconstruction", steps),))


def scan_key(plan: Plan, item: ScanPlan) -> str:
    """Return a hash that changes with everything that the volume of a scan is made from, the code included."""
    config = plan.config
    sources = plan.scans if shares_estimates(plan) else (item,)
    return provenance.fingerprint(
        {
            "code": provenance.file_identity(Path(xct_pipeline.__file__).parent.rglob("*.py")),
            "config": [
                config.acquisition.model_dump(mode="json"),
                config.correction.model_dump(mode="json"),
                config.reconstruction.model_dump(mode="json"),
                config.store.model_dump(mode="json"),
            ],
            "on_device": plan.limits.on_device,
            "scans": {s.name: None if s.scan is None else scan_identity(s.scan) for s in sources},
            "volumes": {s.name: s.volume.identity for s in sources if s.volume is not None},
            "steps": [[step.name, step.digests()] for step in part_of(plan, item).steps],
        }
    )


def unfinished(plan: Plan, store: Store, run_key: str) -> list[ScanPlan]:
    """Return the scans whose volumes are not known to be finished, those that cannot be used left out."""
    record = read_record(store)
    found = []
    for item in plan.good:
        ended = read_ended(store, item.name)
        known = ended is not None and ended.problem is None and ended.key == scan_key(plan, item)
        digests = ended.digests if known and ended is not None else {}
        if not known and record is not None and record.key == run_key:
            digests = record.digests
        if finished_images(store, item, digests) is None:
            found.append(item)
    return found


def leave_out_unfinished(plan: Plan, prepared: Sequence[Prepared], store: Store) -> None:
    """Let the scans fail whose volumes are not finished, with the problem that their own runs met."""
    for entry in prepared:
        if entry.problem is not None:
            continue
        try:
            done = all(is_complete(store, step) for step in entry.passes(plan.config, plan.limits, store))
        except (ScanError, ValueError):  # told where its passes are laid out to be run
            continue
        if not done:
            ended = read_ended(store, entry.item.name)
            known = ended is not None and ended.key == scan_key(plan, entry.item)
            entry.problem = (ended.problem if known and ended is not None else None) or NOT_RECONSTRUCTED


def finished_images(store: Store, item: ScanPlan, digests: dict[str, list[str]]) -> tuple[PassResult, ...] | None:
    """Return the images of a scan where all of them are there under these digests."""
    images = []
    for step in item.passes:
        image = finished_pass(store, step, digests.get(step.name, ()))
        if image is None:
            return None
        images.append(image)
    return tuple(images)


def digests_of(steps: Steps, names: Sequence[str]) -> dict[str, list[str]]:
    """Return under which the results of some steps are kept."""
    return {name: list(steps.digests[name]) for name in names if name in steps.digests}
