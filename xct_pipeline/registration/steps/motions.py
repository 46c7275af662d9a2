"""The motion and grey scale of one scan, from the levels of two volumes in the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from xct_pipeline.config import Registration, StartMotion
from xct_pipeline.engine.blocks import Array
from xct_pipeline.engine.execution import estimated
from xct_pipeline.engine.resources import Need, Resources
from xct_pipeline.engine.scheduling import release_memory, share_one_heap
from xct_pipeline.engine.steps import Estimate, Steps
from xct_pipeline.registration import parameters, warp
from xct_pipeline.registration import transform as tf
from xct_pipeline.registration.levels import Level, RegistrationError
from xct_pipeline.registration.rigid import register
from xct_pipeline.registration.steps.grey import grey_scale
from xct_pipeline.registration.steps.masks import drawn_mask, matching_key
from xct_pipeline.registration.steps.volumes import Motion, Volume, finest_level, matched_level
from xct_pipeline.store.store import Store

VERSION = 13
FAR_GAIN = 0.02  # of the grey scale from 1, that sound scans of one detector and energy do not show
MATCHING_RATE = 2e6  # voxels of the matched level per CPU-second
MATCHING_COPIES = 9  # of a matched level; 8.6 measured, while gas is looked for in one of two volumes

Alike = tuple[tuple[int, ...], float | None, str]


def motion_step(name: str, shape: Sequence[int], levels: int, inputs: Mapping[str, Any] | None = None) -> Estimate:
    """Return the step that finds the motion and grey scale of a scan."""
    return Estimate(f"{name}/motion", VERSION, matching_need(shape, levels), inputs or {})


def estimate_motion(
    settings: Registration,
    reference: Volume,
    moving: Volume,
    store: Store,
    limits: Resources,
    steps: Steps | None = None,
) -> Motion:
    """Find a scan's motion against the reference and its grey scale; cached in the store.

    Raises
    ------
    RegistrationError
        Volumes that do not fit together, an unusable mask, no convergence; the message names the scan.
    """
    if reference.name == moving.name:
        return Motion(moving.name, tf.identity())
    step = motion_step(moving.name, reference.shape, reference.levels, _key(settings, reference, moving))

    def search() -> dict[str, Array]:
        try:
            return _register(settings, reference, moving, store, limits)
        except ValueError as error:
            raise RegistrationError(f"{moving.name}: {error}") from None
        finally:
            release_memory()

    cached = estimated(store, step, search, steps)
    values: dict[str, Any] = {name: a.item() if a.ndim == 0 else a for name, a in cached.items()}
    factor = warp.mean_variance_factor(values["transform"], reference.shape, settings.order)
    left = undetermined_range(settings, tuple(map(str, cached["undetermined"])), reference.shape)
    warnings = (
        *(str(w) for w in cached["warnings"]),
        *gain_warning(values["gain"], values["gain_sigma"]),
        *undetermined_warning(**left),
    )
    return Motion(moving.name, **{**values, **left, "warnings": warnings}, variance_factor=factor)


def undetermined_range(settings: Registration, names: tuple[str, ...], shape: Sequence[int]) -> dict[str, Any]:
    """Return the entries of a Motion that say what was not determined.

    Nothing is known of it but the range of the search, within which every value is as likely: its standard deviation is
    half the range over the square root of 3.
    """
    kinds = {name.partition("_")[0] for name in names}
    shift = (settings.max_shift or 0.25 * max(shape)) / np.sqrt(3)
    turn = settings.max_rotation / np.sqrt(3)
    return {
        "undetermined": names,
        "undetermined_shift": float(shift) if "shift" in kinds else np.nan,
        "undetermined_turn": float(turn) if "turn" in kinds else np.nan,
    }


def undetermined_warning(
    undetermined: Sequence[str], undetermined_shift: float, undetermined_turn: float
) -> tuple[str, ...]:
    """Say in a sentence what was not determined, within which limits it is known, and what to write."""
    if not undetermined:
        return ()
    known = [f"{undetermined_shift:.2g} voxels"] if np.isfinite(undetermined_shift) else []
    known += [f"{undetermined_turn:.2g} degrees"] if np.isfinite(undetermined_turn) else []
    fixed = [f'"{name}"' for name in undetermined if name in parameters.SHIFTS + parameters.TURNS]
    advice = f"registration.fix = [{', '.join(fixed)}] leaves it there" if len(fixed) == len(undetermined) else ""
    return (
        f"what is matched does not determine its {', '.join(map(parameters.words, undetermined))} above the noise: "
        f"left at the start{', standard error ' if known else ''}{' and '.join(known)}; "
        f"{advice or 'a method with fewer parameters, rigid or translation, does without'}, "
        "a mask with texture that way would find it",
    )


def gain_warning(gain: float, sigma: float) -> tuple[str, ...]:
    """Say that the grey scale of a scan is far from the reference's, where that is no matter of its error `sigma`."""
    if abs(gain - 1) <= max(FAR_GAIN, 2 * sigma):
        return ()
    return (
        f"grey values are multiplied by {gain:.3f} to match the reference, more than {100 * FAR_GAIN:g} % from 1: "
        "a frame that does not belong (lit darks, other flats), another energy, or a material that was taken for "
        "unchanged; its masses stand on that correction",
    )


def _key(settings: Registration, reference: Volume, moving: Volume) -> dict[str, Any]:
    """Return everything that the motion of a scan depends on."""
    start = {"start": settings.start[moving.name].model_dump()} if moving.name in settings.start else {}
    return {"reference": reference.identity, "moving": moving.identity} | matching_key(settings) | start


def common_axis(settings: Registration, reference: Volume, moving: Volume) -> tuple[float, float] | None:
    """Return where both volumes have their rotation axis (y, x), None where that is not known."""
    if settings.axis is not None:
        return settings.axis
    return reference.axis if reference.axis == moving.axis else None


def start_transform(motion: StartMotion, shape: Sequence[int]) -> tf.Matrix:
    """Return the transform (voxels of the reference to voxels of the scan) that a start in the configuration means."""
    middle = (np.array(shape) - 1) / 2
    return tf.invert(tf.rigid(np.radians(motion.rotation), motion.shift, middle))


def _register(
    settings: Registration, reference: Volume, moving: Volume, store: Store, limits: Resources
) -> dict[str, Array]:
    _require_alike(reference, moving)
    share_one_heap()
    matching_need(reference.shape, reference.levels).workers(limits)  # refuses what does not fit
    given = settings.start.get(moving.name)
    start = None if given is None else start_transform(given, reference.shape)
    with ThreadPoolExecutor(limits.workers) as pool:
        found = register(
            _levels(settings, reference, moving, store, pool.map),
            model=settings.method,
            fix=tuple(dict.fromkeys(settings.fix)),
            smoothing=settings.smoothing,
            start=start,
            search=start is None,
            max_shift=settings.max_shift,
            max_rotation=settings.max_rotation,
            memory=0.3 * limits.memory,
            axis=common_axis(settings, reference, moving),
            parallel_map=pool.map,
        )
    grey = grey_scale(settings, found, reference, moving, store)
    return {
        "transform": found.transform,
        "residual": np.array(found.residual),
        "tre_self": np.array(found.tre_self),
        "rings": np.array(found.rings),
        "iterations": np.array(found.iterations),
        "kept": np.array(found.kept),
        "undetermined": np.array(found.undetermined, dtype=str),
        **grey,
    }


def unlike(name: str, reference: Alike, moving: Alike) -> str | None:
    """Say why a volume cannot be matched to the reference called `name`; None where it can.

    Parameters
    ----------
    name : str
    reference, moving : (shape, edge of a voxel in micrometre, unit of the values)
    """
    for what, a, b in zip(("shape", "voxel size", "unit"), reference, moving, strict=True):
        if a != b:
            return f"its {what} is {b} but that of the reference {name} is {a}"
    return None


def _require_alike(reference: Volume, moving: Volume) -> None:
    problem = unlike(
        reference.name,
        (reference.shape, reference.voxel_um, reference.unit),
        (moving.shape, moving.voxel_um, moving.unit),
    )
    if problem:
        raise RegistrationError(problem)


def matching_need(shape: Sequence[int], levels: int) -> Need:
    """Return what finding the motion and grey scale of a scan takes.

    Both volumes of the finest matched level, smoothed or resampled, and what finding the gas in one of them takes.
    """
    level = matched_level(shape, levels)
    voxels = float(np.prod([n >> level for n in shape]))
    return Need("matching", 1, int(MATCHING_COPIES * 4 * voxels), alone=True, cpu_s=voxels / MATCHING_RATE)


def _levels(
    settings: Registration, reference: Volume, moving: Volume, store: Store, parallel_map: Callable[..., Iterable[Any]]
) -> Iterator[Level]:
    finest = finest_level(reference)
    for level in reversed(range(finest, min(reference.levels, finest + 4))):
        fixed = reference.array(store, level)
        if min(fixed.shape) < 8 and level > finest:
            continue
        given = settings.mask != "auto"
        mask = drawn_mask(settings, reference, fixed, level, store, parallel_map) if given else None
        yield Level(fixed, moving.array(store, level), mask, float(2**level))
