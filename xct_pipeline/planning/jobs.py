"""What the jobs of a run take on a cluster, by its forecast: one for each scan, then one for the series."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from xct_pipeline.engine.resources import Need, Resources
from xct_pipeline.planning.one_scan import part_of
from xct_pipeline.planning.plan import Plan
from xct_pipeline.planning.scan import ScanPlan, estimating_steps

START_S = 120.0  # until a job's process computes: libraries from a shared file system, kernels that are compiled


@dataclass(frozen=True)
class Job:
    """What a job takes.

    Attributes
    ----------
    cores : int
    memory : int
        Bytes that its run is limited to: its predicted peak.
    seconds : float
        Predicted, its start included.
    """

    cores: int
    memory: int
    seconds: float


def scan_jobs(plan: Plan, items: Sequence[ScanPlan]) -> Job:
    """Return what each of some scans takes at most."""
    jobs = [job_of([step.need for step in part_of(plan, item).steps], plan.limits) for item in items]
    return Job(max(job.cores for job in jobs), max(job.memory for job in jobs), max(job.seconds for job in jobs))


def series_job(plan: Plan) -> Job:
    """Return what the stages over the series take; estimates of scans that failed are tried once more."""
    over = [step.need for stage in plan.stages[1:] for step in stage.steps]
    job = job_of([*(step.need for step in estimating_steps(plan.config, plan.scans)), *over], plan.limits)
    least = max(need.peak_bytes(_one(plan.limits)) for need in _needs(plan))
    return Job(job.cores, max(job.memory, least), job.seconds)  # a run is refused that has no memory for a step of its


def job_of(needs: Sequence[Need], limits: Resources) -> Job:
    """Return what steps take one after the other, with as many tasks at a time as the limits allow."""
    if not needs:
        needs = [Need("", 1, 0)]
    cores = max(need.workers(limits) for need in needs)
    memory = max(need.peak_bytes(limits) for need in needs)
    return Job(cores, memory, START_S + sum(need.cpu_s / need.workers(limits) for need in needs))


def _one(limits: Resources) -> Resources:
    return Resources(1, limits.memory)


def _needs(plan: Plan) -> Iterable[Need]:
    return (step.need for step in plan.steps)
