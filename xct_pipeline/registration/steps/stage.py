"""Volumes in time to one frame: the motion and grey scale of each scan, and the pass that resamples all of them.

``stage_volumes`` finds what is in the store, ``stage_motions`` (with ``stage_masks`` and ``stage_grey``) estimates,
``stage_warp`` resamples, ``stage_local`` looks for what moved by itself and ``stage_tables`` writes down; other stages
use what is named in ``__all__`` here.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from xct_pipeline.config import Config, Registration
from xct_pipeline.engine.execution import PassResult, Progress, plane_counts, run_passes, silent
from xct_pipeline.engine.resources import Resources
from xct_pipeline.engine.rounding import at_precision
from xct_pipeline.engine.scheduling import call_each
from xct_pipeline.engine.steps import Estimate, Step, Steps, needs_of, of_each
from xct_pipeline.region import check_painted
from xct_pipeline.registration import transform as tf
from xct_pipeline.registration.levels import RegistrationError
from xct_pipeline.registration.steps.local import displacement_step, displacement_table, fragment_step, fragment_table
from xct_pipeline.registration.steps.masks import Mask
from xct_pipeline.registration.steps.motions import estimate_motion, motion_step
from xct_pipeline.registration.steps.tables import motion_table
from xct_pipeline.registration.steps.volumes import (
    Motion,
    Registered,
    Volume,
    ceramic_threshold,
    find_volume,
    finest_level,
    reference_index,
)
from xct_pipeline.registration.steps.warp import GRANULE, PATH, series_image, series_pass, whole_chunks
from xct_pipeline.store.store import Store

__all__ = [
    "GRANULE",
    "PATH",
    "Mask",
    "Motion",
    "Registered",
    "RegistrationError",
    "RegistrationResult",
    "Volume",
    "ceramic_threshold",
    "check",
    "check_files",
    "estimate_motion",
    "find_volume",
    "finest_level",
    "plan_steps",
    "reference_index",
    "run",
    "series_image",
    "series_pass",
    "whole_chunks",
]

log = logging.getLogger("xct")
NOMINAL_DEGREES = 1.0  # of the turn that the blocks to be read are predicted for; a larger one is met with less workers


@dataclass(frozen=True)
class RegistrationResult:
    """How the stage ended.

    Attributes
    ----------
    motions : tuple of Motion
        One per scan; those that failed carry their problem.
    volume : Volume
        The reference's.
    reference : int
    passes : tuple of PassResult
    """

    motions: tuple[Motion, ...]
    volume: Volume
    reference: int
    passes: tuple[PassResult, ...]


def check(settings: Registration, names: Sequence[str]) -> None:
    """Raise RegistrationError where the settings name scans that are not in the series."""
    reference = names[reference_index(settings, names)]
    unknown = sorted(set(settings.start) - set(names))
    if unknown:
        raise RegistrationError(f"registration.start names {', '.join(unknown)}; the scans are {', '.join(names)}")
    if reference in settings.start:
        raise RegistrationError(f"registration.start names {reference}, which is the reference and does not move")


def check_files(config: Config, shape: Sequence[int]) -> None:
    """Raise RegistrationError where a painted mask is missing or does not fit volumes of `shape`."""
    settings = config.registration or Registration()
    named = {f"calibration.regions.{name}": region for name, region in settings.calibration.regions.items()}
    named |= {f"fragments.{name}": region for name, region in settings.fragments.items()}
    named |= {} if settings.mask == "auto" else {"mask": settings.mask}
    for name, region in named.items():
        if region.painted is not None:
            try:
                check_painted(Path(region.painted), shape, f"registration.{name}.painted")
            except ValueError as error:
                raise RegistrationError(str(error)) from None


def plan_steps(
    settings: Registration,
    volume: Volume,
    names: Sequence[str],
    reference: int,
    store: Store,
    limits: Resources,
    noise_share: float | None = None,
) -> tuple[Step, ...]:
    """Return the steps that register scans like `volume`, in the order they are executed.

    Motions are not known yet: the boxes that are read are those of a turn of `NOMINAL_DEGREES`.
    """
    moving = [name for k, name in enumerate(names) if k != reference]
    middle = (np.array(volume.shape) - 1) / 2
    turned = tf.rigid(np.radians([NOMINAL_DEGREES] * 3) / np.sqrt(3), [2.0] * 3, middle)
    motions, count = [Motion(name, turned) for name in names], len(names)
    fixed = [replace(volume, name="")] * count
    warped = series_pass(settings, fixed, motions, -1, [None] * count, store, limits)
    warped = at_precision(warped, noise_share)
    steps: list[Step] = [*_motion_steps(names, reference, volume), warped]
    if settings.local is not None:
        steps += [displacement_step(settings.local, volume.shape, name) for name in moving]
    for fragment in settings.fragments:
        steps += [fragment_step(fragment, volume.shape, volume.levels, name) for name in moving]
    return tuple(steps)


def run(
    settings: Registration,
    names: Sequence[str],
    problems: Sequence[str | None],
    times_s: Sequence[float | None],
    store: Store,
    limits: Resources,
    progress: Progress = silent,
    steps: Steps | None = None,
    noise_share: float | None = None,
) -> RegistrationResult:
    """Register every scan of a series with its reference, resample it, write the table of motions.

    With `noise_share` the series is rounded to steps of at most this share of its noise.

    Raises
    ------
    RegistrationError
        The reference cannot be used; a problem of any other scan is in its Motion.
    """
    reference = reference_index(settings, names)
    if problems[reference] is not None:
        raise RegistrationError(f"the reference {names[reference]} cannot be used: {problems[reference]}")
    fixed = replace(find_volume(store, names[reference]), time=reference)
    settings = _in_known_units(settings, fixed)
    if settings.axis is None and fixed.axis is None:
        log.warning(
            "rings are not looked for in the match: volumes of another program do not say where their rotation axis "
            "is; registration.axis = [y, x] does"
        )
    needs = needs_of(_motion_steps(names, reference, fixed), steps)

    def matched(k: int, share: Resources) -> tuple[Volume | None, Motion]:
        return _one_motion(settings, names[k], problems[k], fixed, store, share, steps)

    found = list(call_each(matched, range(len(names)), needs, limits))
    volumes, motions = [volume for volume, _ in found], [motion for _, motion in found]
    for motion in motions:
        for warning in motion.warnings:
            log.warning("%s: %s", motion.name, warning)
    step = at_precision(series_pass(settings, volumes, motions, reference, times_s, store, limits), noise_share)
    done = run_passes(store, [step], limits, progress, steps)
    without_data = plane_counts(store, step, "without_data")
    store.write_table("registration", motion_table(motions, fixed.voxel_um, without_data))
    _look_locally(settings, volumes, motions, reference, store, limits, steps)
    return RegistrationResult(tuple(motions), fixed, reference, tuple(done))


def _motion_steps(names: Sequence[str], reference: int, volume: Volume) -> list[Estimate]:
    """Return the steps that match every scan to the reference, side by side."""
    moving = [name for k, name in enumerate(names) if k != reference]
    return of_each([motion_step(name, volume.shape, volume.levels) for name in moving], len(moving))


def _in_known_units(settings: Registration, fixed: Volume) -> Registration:
    """Return the settings without thresholds in 1/cm where the volumes have no unit of length."""
    mask = settings.mask
    if fixed.unit == "1/cm" or mask == "auto" or (mask.min_attenuation is None and mask.max_attenuation is None):
        return settings
    log.warning(
        "the voxel size is unknown: registration.mask cannot use an attenuation in 1/cm; what does not change is found "
        "automatically in its place"
    )
    left = any(part is not None for part in (mask.cylinder, mask.box, mask.label, mask.painted))
    new = mask.model_copy(update={"min_attenuation": None, "max_attenuation": None}) if left else "auto"
    return settings.model_copy(update={"mask": new})


def _look_locally(
    settings: Registration,
    volumes: Sequence[Volume | None],
    motions: Sequence[Motion],
    reference: int,
    store: Store,
    limits: Resources,
    steps: Steps | None,
) -> None:
    """Write the tables of displacement and of fragments, where they are asked for."""
    if settings.local is not None:
        failed = [k for k, motion in enumerate(motions) if motion.problem]
        names = [motion.name for motion in motions]
        table = displacement_table(settings.local, store, names, reference, failed, limits, steps)
        store.write_table("displacement", table)
    if settings.fragments:
        table = fragment_table(settings, store, volumes, motions, reference, limits, steps)
        for problem in table["problem"].dropna():
            log.warning("%s", problem)
        store.write_table("fragments", table)


def _one_motion(
    settings: Registration,
    name: str,
    problem: str | None,
    fixed: Volume,
    store: Store,
    limits: Resources,
    steps: Steps | None,
) -> tuple[Volume | None, Motion]:
    if problem is not None:
        return None, Motion(name, tf.identity(), problem=problem)
    try:
        volume = find_volume(store, name)
        return volume, estimate_motion(settings, fixed, volume, store, limits, steps)
    except RegistrationError as error:
        return None, Motion(name, tf.identity(), problem=str(error))
