"""One slice or one estimate of each scan, with the code of a run and without a store: what is looked at before it.

What is slow to get (estimates, rows out of compressed frames) is kept for the next call, see `preview_cache`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from xct_pipeline.acquisition.steps import scan_identity
from xct_pipeline.config import Config, NoMethod
from xct_pipeline.config.correction import StripeDefects
from xct_pipeline.correction.steps.fields import measure_fields, sound, whole_frames
from xct_pipeline.correction.steps.stage import ComputedProjections
from xct_pipeline.engine.blocks import Array, Pass
from xct_pipeline.engine.execution import is_complete
from xct_pipeline.engine.resources import Resources
from xct_pipeline.planning.estimates import prepare
from xct_pipeline.planning.plan import STAGES, Plan, plan
from xct_pipeline.planning.preview_cache import KeptRows, estimates_of
from xct_pipeline.planning.scan import ScanPlan
from xct_pipeline.reconstruction.center.find import CenterEstimate
from xct_pipeline.reconstruction.steps import stage as reconstruction
from xct_pipeline.reconstruction.steps.upright import find_tilt
from xct_pipeline.scan import Axis, ScanError
from xct_pipeline.store.store import Store

log = logging.getLogger("xct")


def preview(
    config: Config, z: int, scans: Sequence[str] | None = None, limits: Resources | None = None
) -> dict[str, Array]:
    """Reconstruct one slice of each scan with the code of a run, to the last bit.

    Parameters
    ----------
    config : Config
    z : int
        Row of the (binned) detector.
    scans : sequence of str, optional
        Names; all by default.

    Returns
    -------
    dict
        Name of the scan to a slice (y, x), 1/cm (1/pixel where no pixel size is known).

    Raises
    ------
    ScanError
        The row is outside the detector, a scan that was named cannot be used, or none can be.
    """
    layout = plan(_single_row(config, z), limits, STAGES[0])
    chosen = _with_projections(_chosen(layout, scans), scans)
    together = isinstance(config.correction.stripe, StripeDefects) or config.reconstruction.center == "common"
    prepared = prepare(
        layout.config, layout.scans if together else chosen, layout.limits, estimates_of(config), log.debug
    )
    store, slices = Store(config.store_path), {}
    for entry in prepared:
        if entry.item.name not in {item.name for item in chosen}:
            continue
        if entry.problem is not None:
            _skip(entry.item.name, entry.problem, scans)
            continue
        *before, last = entry.passes(layout.config, layout.limits, store)
        slices[entry.item.name] = _one_slice(store, entry.item, before, last)
    if not slices:
        raise ScanError("no scan can be used")
    return slices


def slices_at_centers(config: Config, z: int, centers: Mapping[str, Sequence[float]]) -> dict[str, list[Array]]:
    """Reconstruct one slice of some scans with several centres each, stripes left in, to choose by eye.

    Parameters
    ----------
    config : Config
    z : int
        Row of the (binned) detector.
    centers : mapping
        Name of a scan to detector columns.

    Returns
    -------
    dict
        Name to slices (y, x), one for each centre.
    """
    single = _single_row(config, z)
    single = single.model_copy(
        update={
            "correction": config.correction.model_copy(update={"stripe": NoMethod()}),
            "reconstruction": config.reconstruction.model_copy(update={"center": next(iter(centers.values()))[0]}),
        }
    )
    layout = plan(single, until=STAGES[0])
    store, found = Store(config.store_path), {}
    for entry in prepare(single, _chosen(layout, list(centers)), layout.limits, estimates_of(config), log.debug):
        if entry.problem is not None:
            raise ScanError(entry.problem)
        tried = [replace(entry, center=reconstruction.given_center(Axis(c))) for c in centers[entry.item.name]]
        passes = [other.passes(single, layout.limits, store) for other in tried]
        found[entry.item.name] = [_one_slice(store, entry.item, before, last) for *before, last in passes]
    return found


def _single_row(config: Config, z: int) -> Config:
    rows = (z * config.acquisition.binning, (z + 1) * config.acquisition.binning)
    return config.model_copy(update={"acquisition": config.acquisition.model_copy(update={"rows": rows})})


def _skip(name: str, problem: str, asked: Sequence[str] | None) -> None:
    """Report a scan that cannot be used; that is an error where it was asked for by name."""
    if asked is not None:
        raise ScanError(problem)
    log.error("%s: skipped: %s", name, problem)


def _one_slice(store: Store, item: ScanPlan, before: Sequence[Pass], last: Pass) -> Array:
    """Compute a pass of one plane in memory, its projections too where they are not stored."""
    assert item.scan is not None
    assert item.frame is not None
    if before and not is_complete(store, before[0]):
        last = replace(last, source=KeptRows(ComputedProjections(before[0]), before[0].identity()))
    elif not before and whole_frames(item.scan, item.frame):
        last = replace(last, source=KeptRows(last.source, {**scan_identity(item.scan), "frame": vars(item.frame)}))
    values, _ = last.compute(tuple(slice(0, n) for n in last.image.shape))
    return np.asarray(values[0])


def find_centers(config: Config, scans: Sequence[str] | None = None) -> dict[str, CenterEstimate]:
    """Find the centre of rotation of each scan, without reconstructing.

    Parameters
    ----------
    config : Config
    scans : sequence of str, optional
        Names; all by default.

    Returns
    -------
    dict
        Name to CenterEstimate, in detector columns.

    Raises
    ------
    ScanError
        A scan that was named cannot be used or its centre cannot be found, or that of none can be.
    """
    layout = plan(config, until=STAGES[0])
    store = estimates_of(config)
    found = {}
    for item in _with_projections(_chosen(layout, scans), scans):
        if item.scan is None or item.frame is None:
            _skip(item.name, item.problem or "cannot be used", scans)
            continue
        try:
            most = config.acquisition.most_left_out
            fields = measure_fields(config.correction, item.scan, item.frame, store, most_left_out=most)
            scan, frame = sound(item.scan, item.frame, fields)
            tilt = find_tilt(config.reconstruction, scan, frame, fields, store, None)
            found[item.name] = reconstruction.estimate_center(config, scan, frame, fields, store, None, tilt)
        except ValueError as error:
            _skip(item.name, str(error), scans)
    if not found:
        raise ScanError("the centre of no scan can be found")
    return found


def _with_projections(chosen: Sequence[ScanPlan], asked: Sequence[str] | None) -> tuple[ScanPlan, ...]:
    """Leave scans out that start from volumes, or refuse where nothing else is there or one was asked for by name."""
    left = tuple(item for item in chosen if item.volume is None)
    if len(left) < len(chosen) and (asked is not None or not left):
        name = next(item.name for item in chosen if item.volume is not None)
        raise ScanError(f"{name} starts from a volume: there are no projections to find a centre in or to reconstruct")
    return left


def _chosen(layout: Plan, scans: Sequence[str] | None) -> tuple[ScanPlan, ...]:
    chosen = tuple(item for item in layout.scans if scans is None or item.name in scans)
    if not chosen or (scans is not None and len(chosen) < len(set(scans))):
        names = ", ".join(item.name for item in layout.scans)
        unknown = ", ".join(sorted(set(scans or ()) - {item.name for item in chosen}))
        raise ScanError(f"no scan is called {unknown}; there are {names}")
    return chosen
