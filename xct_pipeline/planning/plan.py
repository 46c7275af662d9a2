"""What a run would do: the scans opened, their passes laid out, what is wrong with the settings, and what it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from xct_pipeline.acquisition.steps import UnopenedError, open_scans
from xct_pipeline.config import Config, Registration
from xct_pipeline.engine.resources import Resources, local_processes, resources
from xct_pipeline.engine.steps import Stage, Step, Steps
from xct_pipeline.inputs import first_of
from xct_pipeline.planning.scan import ScanPlan, held_bytes, plan_scan, rays_of_scan, reconstruction_steps, with_held
from xct_pipeline.planning.series import of_one_series
from xct_pipeline.registration import transform as tf
from xct_pipeline.registration.steps import stage as registration
from xct_pipeline.scan import ScanError
from xct_pipeline.segmentation.steps import stage as segmentation
from xct_pipeline.store.files import RefusedError
from xct_pipeline.store.store import Store
from xct_pipeline.variation.steps import stage as variation

STAGES = ("reconstruction", "registration", "segmentation", "variation")
THREADS = 8  # tasks at a time up to which one process has them all
THREADS_EACH = 4  # of several processes
LONG_S = 60.0  # of a run: a process takes some 10 CPU-seconds to load libraries and kernels


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes
    ----------
    config : Config
    limits : Resources
    until : str or None
        The last stage.
    scans : tuple of ScanPlan
    stages : tuple of Stage
        The steps of each, as they are executed.
    """

    config: Config
    limits: Resources
    until: str | None
    scans: tuple[ScanPlan, ...]
    stages: tuple[Stage, ...]

    @property
    def good(self) -> tuple[ScanPlan, ...]:
        """The scans that can be used."""
        return tuple(item for item in self.scans if item.taken is not None)

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps of all stages, in the order they are executed."""
        return tuple(step for stage in self.stages for step in stage.steps)

    @property
    def workers(self) -> int:
        """Tasks at a time, while volumes are reconstructed."""
        return self.stages[0].needs[-1].workers(self.limits)

    @property
    def processes(self) -> int:
        """Worker processes of this machine; 0 where tasks are threads of one, or run elsewhere."""
        return local_processes(self.limits.cluster) or 0

    @property
    def memory_bytes(self) -> int:
        """The peak memory that the run is predicted to take; RefusedError where one task does not fit."""
        return max(stage.peak_bytes(self.limits) for stage in self.stages)

    @property
    def disk_bytes(self) -> int:
        """Size of all images, uncompressed."""
        return sum(stage.disk_bytes for stage in self.stages)


def plan(config: Config, limits: Resources | None = None, until: str | None = None) -> Plan:
    """Open the scans of a configuration and lay out what a run would compute.

    Parameters
    ----------
    config : Config
    limits : Resources, optional
        The machine's own by default.
    until : str, optional
        Last stage; the last one configured by default.

    Returns
    -------
    Plan
        Nothing has been written.

    Raises
    ------
    ScanError
        No scan can be used at all.
    ValueError
        Unknown stage, or a list of centres of the wrong length.
    """
    if until is not None and until not in STAGES:
        raise ValueError(f"--until {until}: stages are {', '.join(STAGES)}")
    limits = limits or resources()
    try:
        opened = open_scans(config)
    except UnopenedError as error:
        some = of_one_series([plan_scan(config, item, k, limits) for k, item in enumerate(error.opened)])
        raise EveryError([*str(error).splitlines(), *_setting_errors(config, until, None)], some) from None
    scans = of_one_series([plan_scan(config, item, k, limits) for k, item in enumerate(opened)])
    errors = _setting_errors(config, until, scans)
    if errors:
        raise EveryError([*errors, *(item.problem for item in scans if item.problem)], scans)
    if not any(item.taken is not None for item in scans):
        raise EveryError([item.problem or "" for item in scans], scans)
    stages = STAGES[: last_stage(config, until) + 1]
    planned = Plan(config, limits, until, scans, tuple(_stages(config, scans, limits, stages)))
    Steps(planned.steps)  # refuses two of one name
    return planned


def spread(plan: Plan) -> Plan:
    """Return a plan whose tasks are shared out to processes of this machine, where threads would hold each other up.

    A thread holds the interpreter's lock for a tenth of its time. So more than `THREADS` tasks at a time are those of
    several processes, if the run is long enough for them to begin, and if there is memory for as many tasks.
    """
    limits, needs = plan.limits, [step.need for step in plan.steps]
    if limits.cluster is not None or limits.workers <= THREADS:
        return plan
    try:
        most = max(need.workers(limits) for need in needs)
        wider = replace(limits, workers=most, cluster=f"local:{-(-most // THREADS_EACH)}")
        fits = all(need.workers(wider) >= need.workers(limits) for need in needs)
    except RefusedError:  # told where it is refused
        return plan
    long = sum(stage.seconds(limits) for stage in plan.stages) >= LONG_S
    return replace(plan, limits=wider) if most > THREADS and fits and long else plan


def _stages(config: Config, scans: Sequence[ScanPlan], limits: Resources, stages: Sequence[str]) -> Iterator[Stage]:
    """Yield the steps of each of `stages` that is configured, from the scans that can be used."""
    yield Stage("reconstruction", reconstruction_steps(config, scans, sums="variation" in stages))
    good = [item for item in scans if item.taken is not None]
    if "registration" not in stages or not good:
        return
    # where projections are looked at again, what corrects them is held to the end
    again = "variation" in stages and variation.reads_projections(config)
    held = held_bytes(config, scans) if again else 0
    store, settings = Store(config.store_path), config.registration or Registration()
    names = tuple(item.name for item in scans)
    reference = registration.reference_index(settings, names)
    volume = _planned_volume(next((item for item in good if item.name == names[reference]), good[0]))
    matching = registration.plan_steps(settings, volume, names, reference, store, limits, config.store.noise_share)
    yield Stage("registration", _holding(matching, held))
    if "segmentation" in stages and config.segmentation is not None:
        facts = segmentation.Facts(names, (), reference, volume, (None,) * len(names))
        yield Stage("segmentation", _holding(segmentation.plan_steps(config, facts, store, limits), held))
    if "variation" in stages and config.variation is not None:
        raw = tuple(item.taken for item in scans)
        motions = tuple(registration.Motion(name, tf.identity()) for name in names)
        rays = tuple(rays_of_scan(config, item) for item in scans) if again else ()
        series = variation.RegisteredSeries(names, (), reference, volume, motions, raw, rays=rays)
        known = volume.unit == "1/cm" and not variation.check(config, raw, volume.shape)
        yield Stage("variation", _holding(variation.plan_steps(config, series, store, limits, known), held))


def _holding(steps: Sequence[Step], held: int) -> tuple[Step, ...]:
    """Return steps beside which memory is held."""
    return tuple(with_held(step, held) for step in steps) if held else tuple(steps)


def _planned_volume(item: ScanPlan) -> registration.Volume:
    """Return the volume that a scan will have."""
    image = item.passes[-1].image
    z, y, x = image.shape
    return registration.Volume(item.name, image.path, (z, y, x), image.levels, image.voxel_um, image.unit, "")


class EveryError(ScanError):
    """Everything that hinders a run: `problems` lists it, `scans` are those that were opened."""

    def __init__(self, problems: Sequence[str], scans: tuple[ScanPlan, ...] | None = None) -> None:
        self.problems = list(dict.fromkeys(problems))
        self.scans = scans
        lines = first_of(self.problems) or [""]
        super().__init__(lines[0] if len(lines) == 1 else "\n  ".join([f"{len(self.problems)} errors", *lines]))


def _setting_errors(config: Config, until: str | None, scans: Sequence[ScanPlan] | None) -> list[str]:
    """Return what is wrong with settings that hold for all scans; without the scans, what can be told before them."""
    errors: list[str] = []

    def attempt(check: Callable[[], object]) -> None:
        try:
            check()
        except ValueError as error:
            errors.append(str(error))

    attempt(lambda: segmentation.check(config))
    if scans is None:
        return errors
    settings, center = config.registration, config.reconstruction.center
    if isinstance(center, tuple) and len(center) != len(scans):
        errors.append(f"reconstruction.center lists {len(center)} columns for {len(scans)} scans; give one per scan")
    if settings is not None:
        attempt(lambda: registration.check(settings, [item.name for item in scans]))
    shape = next((item.passes[-1].image.shape for item in scans if item.taken is not None), None)
    if last_stage(config, until) >= STAGES.index("registration") and shape is not None:
        attempt(lambda: registration.check_files(config, shape))
    if config.variation is not None and last_stage(config, until) == STAGES.index("variation") and shape is not None:
        attempt(lambda: variation.check(config, [item.taken for item in scans], shape))  # type: ignore[arg-type]
    return errors


def last_stage(config: Config, until: str | None) -> int:
    """Return the position in STAGES of the last stage that is asked for and configured."""
    configured = 0
    if config.registration is not None:
        configured = STAGES.index("registration")
    if config.segmentation is not None:
        configured = STAGES.index("segmentation")
    if config.variation is not None:
        configured = STAGES.index("variation")
    return configured if until is None else min(STAGES.index(until), configured)
