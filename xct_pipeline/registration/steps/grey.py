"""The grey scale of one scan: gain and offset from the matching, or from materials whose regions are named or found."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, assert_never

import numpy as np

from xct_pipeline.config import Registration
from xct_pipeline.engine.blocks import Array
from xct_pipeline.registration import calibration, masks, warp
from xct_pipeline.registration import transform as tf
from xct_pipeline.registration.rigid import Registration as Found
from xct_pipeline.registration.steps.masks import Mask, region_key
from xct_pipeline.registration.steps.volumes import Volume, finest_level
from xct_pipeline.store.store import Store
from xct_pipeline.threads import Shared

Regions = tuple[dict[str, Array], list[str]]
FOUND = Shared(1)  # the reference's regions, a bit per voxel: all scans of a series are measured in them


def grey_scale(
    settings: Registration, found: Found, reference: Volume, moving: Volume, store: Store
) -> dict[str, Array]:
    """Return gain and offset, their errors, and the residual on what was not fitted."""
    method = settings.calibration.method
    fallback = {
        "gain": 1.0,
        "offset": 0.0,
        "gain_sigma": 0.0,
        "offset_sigma": 0.0,
        "check": np.nan,
        "check_sigma": np.nan,
    }
    warnings: list[str] = []
    from_match = {**fallback, "gain": found.gain, "offset": found.offset}
    single = settings.mask == "auto" or settings.mask.min_attenuation or settings.mask.label
    match method:
        case "none":
            return _arrays(fallback, warnings)
        case "registration":
            return _arrays(from_match, warnings)
        case "auto":
            if not single:
                return _arrays(from_match, warnings)
        case "regions":
            pass
        case _:
            assert_never(method)
    try:
        return _arrays(_from_materials(settings, found, reference, moving, store), warnings)
    except ValueError as error:
        if method == "regions":
            raise
        warnings.append(f"grey scale from the matched parts, not from gas and mask: {error}")
        if settings.mask == "auto":
            # what changed was matched too: the correction itself is how far it may be off
            from_match |= {"gain_sigma": abs(found.gain - 1), "offset_sigma": abs(found.offset)}
        return _arrays(from_match, warnings)


def _arrays(values: Mapping[str, float], warnings: list[str]) -> dict[str, Array]:
    return {
        **{name: np.array(value, float) for name, value in values.items()},
        "warnings": np.array(warnings, dtype=str),
    }


def _from_materials(
    settings: Registration, found: Found, reference: Volume, moving: Volume, store: Store
) -> dict[str, float]:
    """Calibrate on materials, measured on the finest matched level with the moving volume in the reference's frame."""
    level = finest_level(reference)
    fixed = np.asarray(reference.array(store, level)[:])
    box: Any = tuple(slice(0, n) for n in fixed.shape)
    moved = warp.warp_block(
        np.asarray(moving.array(store, level)[:]),
        tf.to_level(found.transform, float(2**level)),
        box,
        shape=fixed.shape,
        order=settings.order,
    )
    regions, fitted = _found_once(
        region_key(settings, reference, level, store), lambda: _regions(settings, reference, fixed, level, store)
    )
    known = np.isfinite(moved)
    values = {name: _means(name, (fixed, moved), mask & known) for name, mask in regions.items()}
    of_fixed, of_moved = ({name: means[k] for name, means in values.items()} for k in (0, 1))
    grey = calibration.calibrate(of_fixed, of_moved, fitted)
    check, check_sigma = next(iter(grey.checks.values()), (np.nan, np.nan))
    return {
        "gain": grey.gain,
        "offset": grey.offset,
        "gain_sigma": grey.gain_sigma,
        "offset_sigma": grey.offset_sigma,
        "check": check,
        "check_sigma": check_sigma,
    }


def _means(name: str, volumes: Sequence[Array], mask: Array) -> list[calibration.RegionMean]:
    try:
        return calibration.region_means(volumes, mask)
    except ValueError as error:
        raise ValueError(f"grey value of {name}: {error}") from None


def _found_once(key: tuple[object, ...], find: Callable[[], Regions]) -> Regions:
    def packed() -> tuple[dict[str, tuple[Array, tuple[int, ...]]], list[str]]:
        regions, fitted = find()
        return {name: (np.packbits(mask), mask.shape) for name, mask in regions.items()}, fitted

    kept, fitted = FOUND.get(key, packed)
    masks_of = {
        name: np.unpackbits(bits, count=math.prod(shape)).view(bool).reshape(shape)
        for name, (bits, shape) in kept.items()
    }
    return masks_of, fitted


def _regions(settings: Registration, reference: Volume, fixed: Array, level: int, store: Store) -> Regions:
    named = settings.calibration.regions
    if named:
        regions = {}
        for name, region in named.items():
            regions[name] = Mask(region, reference, fixed, level, store)[0 : fixed.shape[0]]
        return regions, settings.calibration.fitted or list(named)[:2]
    if settings.mask == "auto":
        matched = masks.attenuation_mask(fixed, minimum=calibration.dense_threshold(fixed), grow=0)
    else:
        matched = Mask(settings.mask, reference, fixed, level, store, grow=0)[0 : fixed.shape[0]]
    gas = calibration.gas_mask(fixed) & ~matched
    regions = {"mask": matched, "gas": gas}
    rest = np.isfinite(fixed) & ~masks.dilated(matched | gas, 3)
    if rest.sum() > 4096:
        regions["rest"] = rest
    return regions, ["mask", "gas"]
